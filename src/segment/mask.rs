//! Which rows of a segment are deleted, though they are in its object still?
//!
//! A segment is never changed. Rows that are deleted are listed in an object beside it, which the catalog
//! names; every reader leaves them out. Compaction then writes the segment again without them.
//!
//! ```text
//! segments/2026/11/21/{segment}.{mask}.mask
//!
//! magic "BLMK"   version:u32   crc32c(rows):u32   rows: a roaring bitmap, as all its implementations store it
//! ```
//!
//! A mask that cannot be read is an error of the query: deleted rows must not come back.

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
        text.parse().map(Self).map_err(|e| Error::invalid(format!("'{text}' is no mask id")).with_source(e))
    }
}

/// What the catalog knows of the deleted rows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Names the object that lists them.
    pub id: MaskId,
    /// How many they are.
    pub rows: u64,
    /// Size of the object.
    pub bytes: u64,
}

/// A mask that is not stored yet.
#[derive(Debug, Clone)]
pub struct NewMask {
    /// What the catalog will know.
    pub mask: Mask,
    /// The object.
    pub object: Bytes,
}

impl NewMask {
    /// The mask of the rows `deleted`, made at `now_ns`.
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

/// The deleted rows of a segment; none when it has no mask.
///
/// Fails with [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the mask is damaged or another one.
pub async fn deleted_rows(
    store: &Arc<dyn ObjectStore>,
    segment: &SegmentMeta,
) -> Result<Option<RoaringBitmap>> {
    let (Some(mask), Some(path)) = (&segment.mask, segment.mask_path()) else { return Ok(None) };
    let object = store.get(&Path::from(path.as_str())).await;
    let object = object.map_err(|e| Error::from(e).context(format!("the deleted rows in {path}")))?;
    let rows = parse(&object.bytes().await?).map_err(|error| error.context(&path))?;
    let fits = rows.len() == mask.rows && rows.max().is_none_or(|row| u64::from(row) < segment.rows);
    if fits { Ok(Some(rows)) } else { Err(Error::corrupt(format!("{path} is not the mask of its segment"))) }
}

/// The object with these `rows`.
pub(crate) fn seal(rows: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(HEADER_BYTES + rows.len());
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&VERSION.to_le_bytes());
    object.extend_from_slice(&crc32c::crc32c(rows).to_le_bytes());
    object.extend_from_slice(rows);
    object
}

/// The rows that a mask's object lists; [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when it is none.
pub fn parse(object: &[u8]) -> Result<RoaringBitmap> {
    let corrupt = |what: String| Err(Error::corrupt(what));
    let Some((header, rows)) = object.split_at_checked(HEADER_BYTES) else {
        return corrupt(format!("expected a header of {HEADER_BYTES} bytes, found {}", object.len()));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(MAGIC) {
        return corrupt("it does not begin as a mask does".to_owned());
    }
    let (version, crc, found) = (number(4), number(8), crc32c::crc32c(rows));
    if version != VERSION {
        return Err(Error::invalid(format!(
            "a mask of version {version}, this program reads {VERSION}: use the Broadloom that wrote it"
        )));
    }
    if crc != found {
        return corrupt(format!("checksum {found:08x} of its rows, expected {crc:08x}"));
    }
    RoaringBitmap::deserialize_from(rows).or_else(|e| corrupt(format!("its rows are no roaring bitmap: {e}")))
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
