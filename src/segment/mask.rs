//! Which rows of a segment are deleted but still in its object?
//!
//! A segment is never changed. Its deleted rows are listed in a *mask*, an object beside it that the catalog
//! names. Every reader skips them. Compaction later rewrites the segment without them.
//!
//! ```text
//! segments/2026/11/21/{segment}.{mask}.mask
//!
//! magic "BLMK"   version:u32   crc32c(rows):u32   rows: a roaring bitmap in its portable format
//! ```
//!
//! A query fails if it cannot read a mask: deleted rows must not reappear.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::meta::SegmentMeta;
use crate::error::{Error, Result};

/// First bytes of every mask.
pub const MAGIC: &[u8; 4] = b"BLMK";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;

/// Identifies a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MaskId(Uuid);

impl fmt::Display for MaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl From<MaskId> for String {
    fn from(id: MaskId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for MaskId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
            .map(Self)
            .map_err(|e| Error::invalid(format!("'{text}' is not a mask id (a UUID)")).with_source(e))
    }
}

/// The catalog's entry for a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Id of the mask, part of the object's name.
    pub id: MaskId,
    /// Number of deleted rows.
    pub rows: u64,
    /// Size of the object in bytes.
    pub bytes: u64,
}

/// A mask that is not stored yet.
#[derive(Debug, Clone)]
pub struct NewMask {
    /// The catalog's entry for it.
    pub mask: Mask,
    /// Bytes to store.
    pub object: Bytes,
}

impl NewMask {
    /// Encodes the rows `deleted` as a mask with an id from `now_ns`.
    pub fn new(deleted: &RoaringBitmap, now_ns: i64) -> Result<Self> {
        let mut rows = Vec::with_capacity(deleted.serialized_size());
        deleted.serialize_into(&mut rows)?;
        let object = seal(&rows);
        let ms = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
        let id = MaskId(uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid());
        let mask = Mask { id, rows: deleted.len(), bytes: object.len() as u64 };
        Ok(Self { mask, object: object.into() })
    }
}

/// Reads the deleted rows of a segment; `None` if it has no mask.
///
/// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the mask is damaged or does not fit the segment.
pub async fn deleted_rows(
    store: &Arc<dyn ObjectStore>,
    segment: &SegmentMeta,
) -> Result<Option<RoaringBitmap>> {
    let (Some(mask), Some(path)) = (&segment.mask, segment.mask_path()) else { return Ok(None) };
    let object = store.get(&Path::from(path.as_str())).await;
    let object =
        object.map_err(|e| Error::from(e).context(format!("cannot read the deleted rows in {path}")))?;
    let rows = parse(&object.bytes().await?).map_err(|error| error.context(&path))?;
    let fits = rows.len() == mask.rows && rows.max().is_none_or(|row| u64::from(row) < segment.rows);
    if fits {
        Ok(Some(rows))
    } else {
        Err(Error::corrupt(format!(
            "{path} does not fit its segment: it lists another number of rows, or rows beyond the end"
        )))
    }
}

/// Encodes a mask object with the serialized bitmap `rows`.
pub(crate) fn seal(rows: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(HEADER_BYTES + rows.len());
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&VERSION.to_le_bytes());
    object.extend_from_slice(&crc32c::crc32c(rows).to_le_bytes());
    object.extend_from_slice(rows);
    object
}

/// Decodes a mask object. Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if it is damaged.
pub fn parse(object: &[u8]) -> Result<RoaringBitmap> {
    let corrupt = |what: String| Err(Error::corrupt(what));
    let Some((header, rows)) = object.split_at_checked(HEADER_BYTES) else {
        return corrupt(format!("expected a header of {HEADER_BYTES} bytes, found {}", object.len()));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(MAGIC) {
        return corrupt("expected a mask, which begins with BLMK".to_owned());
    }
    let (version, crc, found) = (number(4), number(8), crc32c::crc32c(rows));
    if version != VERSION {
        return Err(Error::invalid(format!(
            "mask format version {version}, this program reads version {VERSION}: use the Broadloom that wrote it"
        )));
    }
    if crc != found {
        return corrupt(format!("expected checksum {crc:08x} of the rows, found {found:08x}"));
    }
    RoaringBitmap::deserialize_from(rows)
        .or_else(|e| corrupt(format!("the rows are not a roaring bitmap: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_reads_back_and_damage_is_noticed() {
        let rows: RoaringBitmap = (0..1000).chain(70_000..70_010).collect();
        let NewMask { mask, object } = NewMask::new(&rows, 1_700_000_000_000_000_000).unwrap();
        assert_eq!((mask.rows, mask.bytes), (1010, object.len() as u64));
        assert_eq!(parse(&object).unwrap(), rows);
        for at in 0..object.len() {
            parse(&object[..at]).unwrap_err();
            let mut harmed = object.to_vec();
            harmed[at] ^= 0x20;
            assert!(parse(&harmed).is_err(), "byte {at}");
        }
    }
}
