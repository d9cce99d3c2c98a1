//! Is a segment's object what was written?
//!
//! Parquet's pages have no checksums here, and a changed byte of a page may well decode. So the side-car has
//! those of the whole object, in blocks:
//!
//! ```text
//! segments/…/{id}.index
//!   checksums    block-bytes:u32 (crc:u32)*      CRC-32C of each block of the segment's object; the last
//!                                                block is what is left
//! ```
//!
//! Side-cars that were written before there was this section do without.

use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::cursor::Cursor;
use super::sidecar::{Sidecar, SidecarWriter};
use crate::error::Result;

const CHECKSUMS: &str = "checksums";
/// Four bytes for each: 1.6 kB for a segment of 100 MB.
const BLOCK_BYTES: usize = 256 << 10;

/// Adds the checksums of a segment's object to its side-car.
pub(super) fn put(writer: &mut SidecarWriter, object: &[u8]) {
    let mut section = (BLOCK_BYTES as u32).to_le_bytes().to_vec();
    for block in object.chunks(BLOCK_BYTES) {
        section.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
    }
    writer.section(CHECKSUMS, section);
}

/// A part of an object that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it is; the damage is somewhere in it.
    pub bytes: Range<u64>,
    /// Checksum of what was written.
    pub expected: u32,
    /// Checksum of what is there.
    pub found: u32,
}

/// Compares the object of `bytes` bytes at `path` with the checksums in its side-car, a block at a time;
/// none when there are no checksums.
///
/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) when the checksums are damaged, or of an object of
/// another size.
pub async fn verify(
    store: &Arc<dyn ObjectStore>,
    sidecar: &Sidecar,
    path: &str,
    bytes: u64,
) -> Result<Option<Vec<Damaged>>> {
    let Some(section) = sidecar.read(CHECKSUMS).await? else { return Ok(None) };
    let mut cursor = Cursor::new(&section);
    let block_bytes = u64::from(cursor.u32().unwrap_or(0));
    let blocks =
        bytes.checked_div(block_bytes).map(|full| full + u64::from(!bytes.is_multiple_of(block_bytes)));
    if blocks.is_none_or(|blocks| cursor.left() as u64 != 4 * blocks) {
        return Err(sidecar.corrupt(CHECKSUMS, format_args!("they are not those of {bytes} bytes")));
    }
    let path = Path::from(path);
    let mut damaged = Vec::new();
    let mut start = 0;
    while let Some(expected) = cursor.u32() {
        let block = start..(start + block_bytes).min(bytes);
        start = block.end;
        let found = crc32c::crc32c(&store.get_range(&path, block.clone()).await?);
        if found != expected {
            damaged.push(Damaged { bytes: block, expected, found });
        }
    }
    Ok(Some(damaged))
}
