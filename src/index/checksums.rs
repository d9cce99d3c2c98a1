//! Is a segment's object intact?
//!
//! The Parquet pages have no checksums, and a page with a changed byte may still decode. So the side-car has
//! checksums of the whole object, in blocks:
//!
//! ```text
//! segments/…/{id}.index
//!   checksums    block-bytes:u32 (crc:u32)*      CRC-32C of each block of the segment's object; the last
//!                                                block is the rest
//! ```
//!
//! Older side-cars lack this section.

use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::cursor::Cursor;
use super::sidecar::{Sidecar, SidecarWriter};
use crate::error::Result;

pub(super) const CHECKSUMS: &str = "checksums";
/// Bytes of the object per checksum of four bytes: 1.6 kB for a segment of 100 MB.
const BLOCK_BYTES: usize = 256 << 10;

/// Adds the checksums of a segment's object to its side-car.
pub(super) fn put(writer: &mut SidecarWriter, object: &[u8]) {
    let mut section = (BLOCK_BYTES as u32).to_le_bytes().to_vec();
    for block in object.chunks(BLOCK_BYTES) {
        section.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
    }
    writer.section(CHECKSUMS, section);
}

/// A damaged block of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Byte range of the block; the damage is somewhere in it.
    pub bytes: Range<u64>,
    /// Checksum of the written bytes.
    pub expected: u32,
    /// Checksum of the bytes read.
    pub found: u32,
}

/// Checksums of the blocks of an object.
#[derive(Debug, Clone)]
pub struct Checksums {
    block_bytes: u64,
    bytes: u64,
    crcs: Vec<u32>,
}

impl Checksums {
    /// Reads the checksums of a segment's object of `bytes` bytes from its side-car; `None` if it has none.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if they are damaged, or belong to an object of another size.
    pub async fn read(sidecar: &Sidecar, bytes: u64) -> Result<Option<Self>> {
        let Some(section) = sidecar.read(CHECKSUMS).await? else { return Ok(None) };
        let mut cursor = Cursor::new(&section);
        let block_bytes = u64::from(cursor.u32().unwrap_or(0));
        let crcs: Vec<u32> = std::iter::from_fn(|| cursor.u32()).collect();
        if block_bytes == 0 || crcs.len() as u64 != bytes.div_ceil(block_bytes) || !cursor.is_empty() {
            return Err(sidecar.corrupt(
                CHECKSUMS,
                format_args!("the checksums do not belong to an object of {bytes} bytes"),
            ));
        }
        Ok(Some(Self { block_bytes, bytes, crcs }))
    }

    /// Blocks in order of their offset.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let starts = (0..).step_by(usize::try_from(self.block_bytes).unwrap_or(usize::MAX));
        let block = |(start, crc): (u64, &u32)| Block {
            bytes: start..(start + self.block_bytes).min(self.bytes),
            crc: *crc,
        };
        starts.zip(&self.crcs).map(block)
    }
}

/// A block of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Byte range in the object.
    pub bytes: Range<u64>,
    /// Checksum of the written bytes.
    pub crc: u32,
}

impl Block {
    /// Compares `bytes`, read from the block's range, with the checksum; returns the damage, if any.
    pub fn compare(&self, bytes: &[u8]) -> Option<Damaged> {
        let found = crc32c::crc32c(bytes);
        (found != self.crc).then(|| Damaged { bytes: self.bytes.clone(), expected: self.crc, found })
    }
}

/// Compares the object of `bytes` bytes at `path` with the checksums in its side-car, one block at a time;
/// `None` if there are no checksums.
///
/// Fails as [`Checksums::read`] does.
pub async fn verify(
    store: &Arc<dyn ObjectStore>,
    sidecar: &Sidecar,
    path: &str,
    bytes: u64,
) -> Result<Option<Vec<Damaged>>> {
    let Some(checksums) = Checksums::read(sidecar, bytes).await? else { return Ok(None) };
    let path = Path::from(path);
    let mut damaged = Vec::new();
    for block in checksums.blocks() {
        damaged.extend(block.compare(&store.get_range(&path, block.bytes.clone()).await?));
    }
    Ok(Some(damaged))
}
