//! How are many small blocks stored so that a reader can fetch a few?
//!
//! A segment may have a thousand columns, and a query needs three. Blocks are stored one after the other, each
//! with its own compression and checksum, and a table of names locates them. The table is searched in place,
//! without decoding, so its size hardly matters.
//!
//! ```text
//! blocks = (zstd of one block)*
//! names  = count:u32 entry × count name*                                       entries sorted by name
//! entry  = name-end:u32 offset:u64 length:u32 crc:u32 plain-length:u32         24 bytes
//!
//!          a name begins at the end of the previous one; offset and length locate the block within
//!          `blocks`, crc is the CRC-32C of its stored bytes
//! ```
//!
//! Both are sections of a [`Sidecar`]: `{section}` and `{section}.names`.

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use futures::future::try_join_all;

use super::sidecar::{Sidecar, SidecarWriter};
use crate::error::{Error, ErrorKind, Result};

const COUNT_BYTES: usize = 4;
const ENTRY_BYTES: usize = 24;
/// Largest block before compression: far more than one column of a catalog takes.
const PLAIN_BYTES_MAX: u32 = 256 << 20;
/// Most bytes reserved before decompression; the buffer grows with the actual data.
const PLAIN_BYTES_FIRST: usize = 1 << 20;
/// Compresses nearly as well as higher levels, at several hundred megabytes per second.
const ZSTD_LEVEL: i32 = 1;

/// Collects blocks in the order of their names.
#[derive(Debug, Default)]
pub struct BlocksWriter {
    blocks: Vec<u8>,
    entries: Vec<u8>,
    names: Vec<u8>,
}

impl BlocksWriter {
    /// Starts without blocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a block. Fails with [`ErrorKind::TooLarge`] if it has more than 256 MiB: a reader would take a
    /// block that is left out for one that is empty.
    ///
    /// # Panics
    /// If `name` does not sort after the previous name.
    pub fn add(&mut self, name: &str, plain: &[u8]) -> Result<()> {
        assert!(self.last_name().is_none_or(|last| last < name.as_bytes()), "{name} is out of order");
        let Some(plain_length) = u32::try_from(plain.len()).ok().filter(|n| *n <= PLAIN_BYTES_MAX) else {
            let bytes = plain.len();
            let message = format!("the block {name} has {bytes} bytes, at most {PLAIN_BYTES_MAX} are stored");
            return Err(Error::new(ErrorKind::TooLarge, message));
        };
        let stored = zstd::bulk::compress(plain, ZSTD_LEVEL)?;
        self.names.extend_from_slice(name.as_bytes());
        self.entries.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&(self.blocks.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&crc32c::crc32c(&stored).to_le_bytes());
        self.entries.extend_from_slice(&plain_length.to_le_bytes());
        self.blocks.extend_from_slice(&stored);
        Ok(())
    }

    /// Adds the blocks to an object as the section `section`, and their names as `{section}.names`.
    pub fn finish(self, section: &str, writer: &mut SidecarWriter) {
        let count = (self.entries.len() / ENTRY_BYTES) as u32;
        let names = [&count.to_le_bytes()[..], &self.entries, &self.names].concat();
        writer.section(names_section(section), names);
        writer.section(section, self.blocks);
    }

    fn last_name(&self) -> Option<&[u8]> {
        let last = self.entries.len().checked_sub(ENTRY_BYTES)?;
        let start = match last.checked_sub(ENTRY_BYTES) {
            Some(before) => u32_at(&self.entries, before)? as usize,
            None => 0,
        };
        self.names.get(start..)
    }
}

fn names_section(section: &str) -> String {
    format!("{section}.names")
}

/// Table of the blocks' names and places.
#[derive(Debug, Clone)]
pub struct BlockNames {
    bytes: Bytes,
    count: usize,
}

/// Location, checksum and size of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    bytes: Range<u64>,
    crc: u32,
    plain: u32,
}

impl BlockNames {
    /// Reads the table of the section `section`; `None` if the object has no such section.
    pub async fn read(sidecar: &Sidecar, section: &str) -> Result<Option<Self>> {
        let names = names_section(section);
        let Some(bytes) = sidecar.read(&names).await? else { return Ok(None) };
        match Self::parse(bytes) {
            Some(table) => Ok(Some(table)),
            None => Err(sidecar.corrupt(&names, "too short for its number of entries")),
        }
    }

    fn parse(bytes: Bytes) -> Option<Self> {
        let count = u32_at(&bytes, 0)? as usize;
        let entries = count.checked_mul(ENTRY_BYTES)?;
        (bytes.len() - COUNT_BYTES >= entries).then_some(Self { bytes, count })
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there is no block.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names of the blocks, sorted. Names that are not UTF-8 are skipped.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.count).filter_map(|i| std::str::from_utf8(self.name(i)?).ok())
    }

    /// True if there is a block of this name. O(log n).
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Reads the blocks `names` in their order, and skips those that do not exist.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if one is damaged.
    pub async fn read_blocks<'n>(
        &self,
        sidecar: &Sidecar,
        section: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<(&'n str, Bytes)>> {
        let found = names.into_iter().filter_map(|name| Some((name, self.find(name)?)));
        let read = found.map(async |(name, place)| {
            let stored = sidecar.read_range(section, place.bytes.clone()).await?;
            Ok((name, place.open(&stored).map_err(|what| damaged(sidecar, section, name, what))?))
        });
        try_join_all(read).await
    }

    /// Extracts a block from `blocks`, the bytes of the whole section; `None` if there is no such block.
    pub fn block(
        &self,
        sidecar: &Sidecar,
        section: &str,
        blocks: &[u8],
        name: &str,
    ) -> Result<Option<Bytes>> {
        let Some(place) = self.find(name) else { return Ok(None) };
        let range = usize::try_from(place.bytes.start).ok().zip(usize::try_from(place.bytes.end).ok());
        let stored =
            range.and_then(|(start, end)| blocks.get(start..end)).ok_or("it lies outside the section");
        let plain = stored.and_then(|stored| place.open(stored));
        plain.map(Some).map_err(|what| damaged(sidecar, section, name, what))
    }

    fn find(&self, name: &str) -> Option<Place> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle)?.cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.place(middle),
            }
        }
        None
    }

    fn name(&self, i: usize) -> Option<&[u8]> {
        let at = COUNT_BYTES + i * ENTRY_BYTES;
        let start = if i == 0 { 0 } else { u32_at(&self.bytes, at - ENTRY_BYTES)? as usize };
        let names = &self.bytes[COUNT_BYTES + self.count * ENTRY_BYTES..];
        names.get(start..u32_at(&self.bytes, at)? as usize)
    }

    fn place(&self, i: usize) -> Option<Place> {
        let at = COUNT_BYTES + i * ENTRY_BYTES;
        let field = |offset: usize| u32_at(&self.bytes, at + offset);
        let start = u64::from(field(4)?) | u64::from(field(8)?) << 32;
        let end = start.checked_add(u64::from(field(12)?))?;
        Some(Place { bytes: start..end, crc: field(16)?, plain: field(20)? })
    }
}

impl Place {
    /// Checks and decompresses the block's stored bytes.
    fn open(&self, stored: &[u8]) -> std::result::Result<Bytes, &'static str> {
        if crc32c::crc32c(stored) != self.crc {
            return Err("its checksum does not match");
        }
        if self.plain > PLAIN_BYTES_MAX {
            return Err("its stated size exceeds 256 MiB");
        }
        let mut plain = Vec::with_capacity((self.plain as usize).min(PLAIN_BYTES_FIRST));
        let limit = u64::from(self.plain) + 1;
        let decoder =
            zstd::stream::read::Decoder::with_buffer(stored).map_err(|_| "it is not a zstd frame")?;
        decoder.take(limit).read_to_end(&mut plain).map_err(|_| "it is not a zstd frame")?;
        if plain.len() == self.plain as usize {
            Ok(plain.into())
        } else {
            Err("its decompressed size differs from the stated one")
        }
    }
}

fn damaged(sidecar: &Sidecar, section: &str, name: &str, what: &str) -> crate::Error {
    sidecar.corrupt(section, format_args!("block {name}: {what}"))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};
    use proptest::prelude::*;

    use super::*;

    async fn object(bytes: Bytes) -> (Arc<dyn ObjectStore>, u64) {
        let store = Arc::new(InMemory::new());
        let length = bytes.len() as u64;
        store.put(&Path::from("x"), bytes.into()).await.unwrap();
        (store, length)
    }

    fn written(names: &[String]) -> Bytes {
        let mut blocks = BlocksWriter::new();
        for name in names {
            blocks.add(name, name.repeat(3).as_bytes()).unwrap();
        }
        let mut writer = SidecarWriter::new();
        blocks.finish("s", &mut writer);
        let parts: Vec<Bytes> = writer.finish().into_iter().collect();
        parts.concat().into()
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        futures::executor::block_on(future)
    }

    async fn all(bytes: Bytes, names: &[String]) -> Result<Vec<(String, Bytes)>> {
        let (store, length) = object(bytes).await;
        let sidecar = Sidecar::open(store, "x", length).await?;
        let table = BlockNames::read(&sidecar, "s").await?.ok_or_else(|| crate::Error::internal("none"))?;
        let mut found: Vec<(String, Bytes)> = Vec::new();
        for (name, block) in table.read_blocks(&sidecar, "s", names.iter().map(String::as_str)).await? {
            found.push((name.to_owned(), block));
        }
        let whole = sidecar.read("s").await?.unwrap_or_default();
        for (name, block) in &found {
            assert_eq!(table.block(&sidecar, "s", &whole, name)?.as_ref(), Some(block));
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn blocks_are_found_by_name(names in prop::collection::btree_set(".{0,5}", 0..40), other in ".{0,5}") {
            let names: Vec<String> = names.into_iter().collect();
            let found = block_on(all(written(&names), &names)).unwrap();
            let expected: Vec<_> = names.iter().map(|n| (n.clone(), Bytes::from(n.repeat(3)))).collect();
            prop_assert_eq!(found, expected);
            let found = block_on(all(written(&names), std::slice::from_ref(&other))).unwrap();
            prop_assert_eq!(found.len(), usize::from(names.contains(&other)));
        }

        #[test]
        fn damage_is_an_error_or_harmless(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
            let names: Vec<String> = (0..20).map(|i| format!("column {i:03}")).collect();
            let mut bytes = written(&names).to_vec();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            match block_on(all(bytes.into(), &names)) {
                Ok(found) => prop_assert!(found.iter().all(|(name, block)| name.repeat(3).as_bytes() == block)),
                Err(error) => prop_assert!(error.kind() != crate::ErrorKind::Internal, "{}", error),
            }
        }

        #[test]
        fn any_bytes_make_a_table_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_u32..9) {
            let hostile = [&count.to_le_bytes()[..], &bytes].concat();
            for bytes in [bytes, hostile] {
                if let Some(table) = BlockNames::parse(bytes.into()) {
                    let _ = (table.iter().count(), table.find("a"), table.find("zz"));
                    for place in (0..table.len()).filter_map(|i| table.place(i)) {
                        let _ = place.open(b"abc");
                    }
                }
            }
        }
    }

    #[test]
    fn a_block_that_grows_beyond_what_it_says_is_refused() {
        let stored = zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap();
        let crc = crc32c::crc32c(&stored);
        for plain in [10, (1 << 20) + 1, u32::MAX] {
            assert!(Place { bytes: 0..0, crc, plain }.open(&stored).is_err());
        }
        assert_eq!(Place { bytes: 0..0, crc, plain: 1 << 20 }.open(&stored).unwrap().len(), 1 << 20);
    }
}
