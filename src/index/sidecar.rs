//! Which container holds an index?
//!
//! A container of named sections, each of which can be read by itself. The parts that every reader needs are at
//! the end, so opening takes a single read, and a lookup one more:
//!
//! ```text
//! object    = "BLIX" version:u32  section*  resident section*  directory  trailer
//! directory = (name-length:varint name:utf8 offset:varint length:varint crc:u32)*     sorted by name
//! trailer   = resident:u32 directory:u32 crc:u32 version:u32 "BLIX"                   20 bytes
//!
//!             resident  = bytes of the resident sections
//!             directory = bytes of the directory
//!             trailer.crc = CRC-32C of the directory and of the trailer before the crc
//!             section crc = CRC-32C of the section
//! ```
//!
//! Resident sections are in memory while the object is open, so they must be small. Other sections are read
//! whole and checked, or by range: then their contents need checksums of their own.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutPayload};

use super::cursor::{Cursor, put_varint};
use crate::error::{Error, Result};

/// First and last bytes of every index object.
pub const MAGIC: &[u8; 4] = b"BLIX";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 8;
const TRAILER_BYTES: usize = 20;
/// Bytes first read from the end: the resident part of most objects fits. Objects of at most this size are
/// kept whole.
const TAIL_BYTES: u64 = 16 << 10;

/// Collects sections, in any order.
#[derive(Debug, Default)]
pub struct SidecarWriter {
    sections: Vec<(String, Bytes)>,
    resident: Vec<(String, Bytes)>,
}

impl SidecarWriter {
    /// Starts without sections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a section that is read when it is needed. Names must be unique.
    pub fn section(&mut self, name: impl Into<String>, bytes: impl Into<Bytes>) {
        self.sections.push((name.into(), bytes.into()));
    }

    /// Adds a section that is in memory while the object is open.
    pub fn resident(&mut self, name: impl Into<String>, bytes: impl Into<Bytes>) {
        self.resident.push((name.into(), bytes.into()));
    }

    /// Returns the encoded object.
    ///
    /// # Panics
    /// If two sections have the same name, or the resident ones have 4 GiB or more.
    pub fn finish(self) -> PutPayload {
        let mut parts = vec![Bytes::from([&MAGIC[..], &VERSION.to_le_bytes()].concat())];
        let mut at = HEADER_BYTES;
        let mut entries = Vec::new();
        let resident: usize = self.resident.iter().map(|(_, bytes)| bytes.len()).sum();
        for (name, bytes) in self.sections.into_iter().chain(self.resident) {
            entries.push((name, at, bytes.len() as u64, crc32c::crc32c(&bytes)));
            at += bytes.len() as u64;
            parts.push(bytes);
        }
        entries.sort();
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "names of sections are unique");
        let mut end = Vec::new();
        for (name, offset, length, crc) in entries {
            put_varint(&mut end, name.len() as u64);
            end.extend_from_slice(name.as_bytes());
            put_varint(&mut end, offset);
            put_varint(&mut end, length);
            end.extend_from_slice(&crc.to_le_bytes());
        }
        let directory = u32::try_from(end.len()).expect("a directory is smaller than what it lists");
        end.extend_from_slice(&u32::try_from(resident).expect("resident sections are small").to_le_bytes());
        end.extend_from_slice(&directory.to_le_bytes());
        let crc = crc32c::crc32c(&end);
        end.extend_from_slice(&crc.to_le_bytes());
        end.extend_from_slice(&VERSION.to_le_bytes());
        end.extend_from_slice(MAGIC);
        parts.push(end.into());
        parts.into_iter().collect()
    }
}

/// An open index object.
#[derive(Debug)]
pub struct Sidecar {
    store: Arc<dyn ObjectStore>,
    path: Path,
    sections: Vec<Section>,
    /// Bytes in memory: the object from `kept_at` up to the directory.
    kept: Bytes,
    kept_at: u64,
    /// Offset of the first resident section.
    resident_at: u64,
}

#[derive(Debug)]
struct Section {
    name: Box<str>,
    bytes: Range<u64>,
    crc: u32,
}

/// Reads a range with `get_ranges`, the call for which the cache of a remote store keeps copies.
/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if the object ends before the range does: stores then return what
/// there is.
async fn read(store: &Arc<dyn ObjectStore>, path: &Path, range: Range<u64>) -> Result<Bytes> {
    let (at, expected) = (range.start, range.end - range.start);
    let bytes = store.get_ranges(path, &[range]).await?.into_iter().next().unwrap_or_default();
    let found = bytes.len();
    if found as u64 != expected {
        let message = format!("{path}: expected {expected} bytes from offset {at}, found {found}");
        return Err(Error::corrupt(message));
    }
    Ok(bytes)
}

impl Sidecar {
    /// Reads the end of the object at `path`, which has `bytes` bytes.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged or not an index object, and with
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if a newer program wrote it.
    pub async fn open(store: Arc<dyn ObjectStore>, path: &str, bytes: u64) -> Result<Self> {
        let path = Path::from(path);
        let corrupt = |what: String| Error::corrupt(format!("{path} is not an index: {what}"));
        if bytes < HEADER_BYTES + TRAILER_BYTES as u64 {
            return Err(corrupt(format!("it has only {bytes} bytes")));
        }
        let mut kept_at = bytes.saturating_sub(TAIL_BYTES);
        let mut tail = read(&store, &path, kept_at..bytes).await?;
        let trailer = Trailer::read(&tail).map_err(|e| e.context(&path))?;
        let needed = trailer.directory + trailer.resident + TRAILER_BYTES as u64;
        if needed > bytes - HEADER_BYTES {
            return Err(corrupt(format!(
                "its trailer states {needed} bytes of directory and resident sections, the object has {bytes}"
            )));
        }
        if bytes - needed < kept_at {
            kept_at = bytes - needed;
            tail = read(&store, &path, kept_at..bytes).await?;
        } else if bytes > TAIL_BYTES {
            // Copied, so that only the needed bytes stay in memory.
            tail = Bytes::copy_from_slice(&tail[tail.len() - needed as usize..]);
            kept_at = bytes - needed;
        }
        let directory_at = tail.len() - TRAILER_BYTES - trailer.directory as usize;
        let directory = &tail[directory_at..];
        let found = crc32c::crc32c(&directory[..directory.len() - 12]);
        if found != trailer.crc {
            return Err(corrupt(format!(
                "expected checksum {:08x} of its directory, found {found:08x}",
                trailer.crc
            )));
        }
        let directory = &directory[..trailer.directory as usize];
        let sections = sections(directory, kept_at + directory_at as u64).ok_or_else(|| {
            corrupt("its directory is malformed, or has sections outside the object".to_owned())
        })?;
        let kept = tail.slice(..directory_at);
        Ok(Self { store, path, sections, kept, kept_at, resident_at: bytes - needed })
    }

    /// Path of the object.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the sections, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|section| &*section.name)
    }

    /// Sections with their byte range in the object; true if a section is resident.
    pub fn sections(&self) -> impl Iterator<Item = (&str, Range<u64>, bool)> {
        let sections = self.sections.iter();
        sections.map(|s| (&*s.name, s.bytes.clone(), s.bytes.start >= self.resident_at))
    }

    /// Size of a section in bytes; `None` if there is no such section. O(log sections), like the lookups below.
    pub fn length(&self, name: &str) -> Option<u64> {
        self.find(name).map(|section| section.bytes.end - section.bytes.start)
    }

    /// Reads a whole section and checks it; a resident one needs no read. `None` if there is no such section.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let Some(section) = self.find(name) else { return Ok(None) };
        let bytes = self.fetch(section.bytes.clone()).await?;
        self.check(section, &bytes)?;
        Ok(Some(bytes))
    }

    /// Returns a resident section, checked; `None` if there is no such section or it is not resident.
    pub fn resident(&self, name: &str) -> Result<Option<Bytes>> {
        let Some((section, bytes)) = self.find(name).and_then(|s| Some((s, self.kept(&s.bytes)?))) else {
            return Ok(None);
        };
        self.check(section, &bytes)?;
        Ok(Some(bytes))
    }

    /// Reads the whole object; returns its damage.
    pub async fn verify(&self) -> Vec<Error> {
        let mut wrong = Vec::from_iter(self.verify_header().await.err());
        for name in self.names() {
            wrong.extend(self.read(name).await.err());
        }
        wrong
    }

    /// Checks the bytes before the first section.
    pub async fn verify_header(&self) -> Result<()> {
        let header = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        if self.fetch(0..HEADER_BYTES).await? == header {
            return Ok(());
        }
        Err(Error::corrupt(format!(
            "{}: expected an index, which begins with BLIX and the version",
            self.path
        )))
    }

    /// Reads a range of a section without checking it: the caller must.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if the section does not have this range.
    pub async fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let within = self.find(name).and_then(|section| {
            let start = section.bytes.start.checked_add(range.start)?;
            let end = section.bytes.start.checked_add(range.end)?;
            (start <= end && end <= section.bytes.end).then_some(start..end)
        });
        match within {
            Some(bytes) => self.fetch(bytes).await,
            None => {
                Err(self
                    .corrupt(name, format_args!("it does not have the bytes {}..{}", range.start, range.end)))
            }
        }
    }

    /// Makes an error that names the object and the section.
    pub(super) fn corrupt(&self, section: &str, what: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("{}, section {section}: {what}", self.path))
    }

    /// Memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        let names: usize = self.sections.iter().map(|section| section.name.len()).sum();
        size_of::<Self>() + self.kept.len() + self.sections.len() * size_of::<Section>() + names
    }

    fn find(&self, name: &str) -> Option<&Section> {
        let found = self.sections.binary_search_by(|section| (*section.name).cmp(name));
        found.ok().map(|i| &self.sections[i])
    }

    fn check(&self, section: &Section, bytes: &[u8]) -> Result<()> {
        let found = crc32c::crc32c(bytes);
        if found == section.crc {
            return Ok(());
        }
        Err(self
            .corrupt(&section.name, format_args!("expected checksum {:08x}, found {found:08x}", section.crc)))
    }

    fn kept(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.kept_at)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.kept_at)?).ok()?;
        (end <= self.kept.len()).then(|| self.kept.slice(start..end))
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        match self.kept(&range) {
            Some(bytes) => Ok(bytes),
            None => Ok(read(&self.store, &self.path, range).await?),
        }
    }
}

struct Trailer {
    resident: u64,
    directory: u64,
    crc: u32,
}

impl Trailer {
    fn read(tail: &[u8]) -> Result<Self> {
        let not_ours = || Error::corrupt("expected an index, which ends with a trailer and BLIX");
        let start = tail.len().checked_sub(TRAILER_BYTES).ok_or_else(not_ours)?;
        let mut cursor = Cursor::new(&tail[start..]);
        let mut number = || cursor.u32().ok_or_else(not_ours);
        let (resident, directory, crc, version) = (number()?, number()?, number()?, number()?);
        if cursor.array() != Some(*MAGIC) {
            return Err(not_ours());
        }
        if version != VERSION {
            return Err(Error::invalid(format!(
                "index format version {version}, this program reads version {VERSION}: use the Broadloom that wrote it"
            )));
        }
        Ok(Self { resident: resident.into(), directory: directory.into(), crc })
    }
}

/// Decodes a directory; `None` if it is malformed or has a section that ends after `end`.
fn sections(directory: &[u8], end: u64) -> Option<Vec<Section>> {
    let mut cursor = Cursor::new(directory);
    let mut sections: Vec<Section> = Vec::new();
    while !cursor.is_empty() {
        let length = usize::try_from(cursor.varint()?).ok()?;
        let name: Box<str> = std::str::from_utf8(cursor.take(length)?).ok()?.into();
        let start = cursor.varint()?;
        let bytes = start..start.checked_add(cursor.varint()?)?;
        let crc = cursor.u32()?;
        let in_order = sections.last().is_none_or(|last| last.name < name);
        if !in_order || bytes.start < HEADER_BYTES || bytes.end > end {
            return None;
        }
        sections.push(Section { name, bytes, crc });
    }
    Some(sections)
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::ErrorKind;

    fn object(large: usize) -> Vec<u8> {
        let mut writer = SidecarWriter::new();
        writer.section("large", vec![7; large]);
        writer.resident("head", vec![1, 2, 3]);
        writer.section("empty", Vec::new());
        Bytes::from(writer.finish()).to_vec()
    }

    async fn open(object: Vec<u8>) -> Result<Sidecar> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let bytes = object.len() as u64;
        store.put(&Path::from("x.index"), object.into()).await.unwrap();
        Sidecar::open(store, "x.index", bytes).await
    }

    #[tokio::test]
    async fn sections_read_back_whole_and_in_part() {
        for large in [10, 100_000] {
            let sidecar = open(object(large)).await.unwrap();
            assert_eq!(sidecar.names().collect::<Vec<_>>(), ["empty", "head", "large"]);
            assert_eq!(sidecar.read("large").await.unwrap().unwrap(), vec![7; large]);
            assert_eq!(sidecar.read("empty").await.unwrap().unwrap(), "");
            assert_eq!(sidecar.resident("head").unwrap().unwrap(), [1, 2, 3][..]);
            assert_eq!(sidecar.read_range("large", 3..5).await.unwrap(), [7, 7][..]);
            assert_eq!(sidecar.read("other").await.unwrap(), None);
            let beyond = sidecar.read_range("large", 0..large as u64 + 1).await.unwrap_err();
            assert_eq!(beyond.kind(), ErrorKind::Corrupt);
        }
    }

    #[tokio::test]
    async fn only_the_resident_part_of_a_large_object_is_held() {
        let sidecar = open(object(100_000)).await.unwrap();
        assert!(sidecar.memory_bytes() < 1000, "{}", sidecar.memory_bytes());
        assert_eq!(sidecar.resident("large").unwrap(), None);
    }

    #[tokio::test]
    async fn a_resident_part_longer_than_the_first_read_is_read_all_the_same() {
        let mut writer = SidecarWriter::new();
        writer.resident("head", vec![5; 50_000]);
        let sidecar = open(Bytes::from(writer.finish()).to_vec()).await.unwrap();
        assert_eq!(sidecar.resident("head").unwrap().unwrap(), vec![5; 50_000]);
    }

    #[tokio::test]
    async fn whatever_the_bytes_are_the_answer_is_right_or_an_error() {
        let whole = object(40);
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(damaged).await;
        }
        for end in 0..whole.len() {
            check(whole[..end].to_vec()).await;
        }
    }

    #[tokio::test]
    async fn an_object_that_is_shorter_than_the_catalog_says_is_corrupt() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for large in [10, 100_000] {
            let object = object(large);
            let bytes = object.len() as u64;
            store.put(&Path::from("x.index"), object.into()).await.unwrap();
            for more in [1, 500] {
                let error = Sidecar::open(Arc::clone(&store), "x.index", bytes + more).await.unwrap_err();
                assert!(error.message().contains("found"), "{error}");
            }
        }
    }

    async fn check(damaged: Vec<u8>) {
        let Ok(sidecar) = open(damaged).await else { return };
        for (name, expected) in [("large", &[7_u8; 40][..]), ("head", &[1, 2, 3]), ("empty", &[])] {
            match sidecar.read(name).await {
                Ok(Some(found)) => assert_eq!(found, expected, "{name}"),
                Ok(None) => panic!("the directory was checked"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
    }

    #[tokio::test]
    async fn a_newer_version_is_refused_by_name() {
        let mut newer = object(1);
        let at = newer.len() - 8;
        newer[at] = 9;
        let error = open(newer).await.unwrap_err();
        assert!(error.message().contains("version 9"), "{error}");
    }
}
