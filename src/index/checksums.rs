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

pub(super) const CHECKSUMS: &str = "checksums";
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

/// Checksums of the blocks of an object.
#[derive(Debug, Clone)]
pub struct Checksums {
    block_bytes: u64,
    bytes: u64,
    crcs: Vec<u32>,
}

impl Checksums {
    /// Those of a segment's object of `bytes` bytes, from its side-car; none when it has none.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) when they are damaged, or of an object of another size.
    pub async fn read(sidecar: &Sidecar, bytes: u64) -> Result<Option<Self>> {
        let Some(section) = sidecar.read(CHECKSUMS).await? else { return Ok(None) };
        let mut cursor = Cursor::new(&section);
        let block_bytes = u64::from(cursor.u32().unwrap_or(0));
        let crcs: Vec<u32> = std::iter::from_fn(|| cursor.u32()).collect();
        if block_bytes == 0 || crcs.len() as u64 != bytes.div_ceil(block_bytes) || !cursor.is_empty() {
            return Err(sidecar.corrupt(CHECKSUMS, format_args!("they are not those of {bytes} bytes")));
        }
        Ok(Some(Self { block_bytes, bytes, crcs }))
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let starts = (0..).step_by(usize::try_from(self.block_bytes).unwrap_or(usize::MAX));
        let block = |(start, crc): (u64, &u32)| Block {
            bytes: start..(start + self.block_bytes).min(self.bytes),
            crc: *crc,
        };
        starts.zip(&self.crcs).map(block)
    }
}

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it is.
    pub bytes: Range<u64>,
    /// Checksum of what was written.
    pub crc: u32,
}

impl Block {
    /// What is wrong with the block if these are its bytes.
    pub fn compare(&self, bytes: &[u8]) -> Option<Damaged> {
        let found = crc32c::crc32c(bytes);
        (found != self.crc).then(|| Damaged { bytes: self.bytes.clone(), expected: self.crc, found })
    }
}

/// Compares the object of `bytes` bytes at `path` with the checksums in its side-car, a block at a time;
/// none when there are no checksums.
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
