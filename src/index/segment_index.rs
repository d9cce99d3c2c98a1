//! What does the side-car of a segment say?
//!
//! ```text
//! segments/…/{id}.index = side-car with these sections
//!   segment         resident   id: 16 bytes, rows:u64, page rows:u32
//!   head:{column}   resident   postings of pages: head     column = physical name
//!   lookup:{column}            postings of pages: body
//!   columns, overflow          see `footers`
//!   checksums                  see `checksums`
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::{ObjectStore, PutPayload};

use super::cursor::Cursor;
use super::hash::ValueHash;
use super::postings::{Postings, PostingsReader};
use super::sidecar::{Sidecar, SidecarWriter};
use crate::error::{Error, Result};
use crate::segment::{SegmentId, SegmentMeta};

const SEGMENT: &str = "segment";
const HEAD: &str = "head:";
const LOOKUP: &str = "lookup:";

/// Adds the postings of a column to an index object.
pub(super) fn put_lookup(writer: &mut SidecarWriter, column: &str, postings: Postings) {
    writer.resident(format!("{HEAD}{column}"), postings.head);
    writer.section(format!("{LOOKUP}{column}"), postings.body);
}

/// Name of the section with the body of a column's postings.
pub(super) fn lookup_section(column: &str) -> String {
    format!("{LOOKUP}{column}")
}

/// The postings of every lookup column of an index object.
pub(super) fn lookups(sidecar: &Sidecar) -> Result<BTreeMap<Box<str>, PostingsReader>> {
    let columns = sidecar.names().filter_map(|name| Some((name, name.strip_prefix(HEAD)?)));
    let open = |(section, column): (&str, &str)| {
        let head = sidecar.resident(section)?;
        let reader = head.and_then(|head| PostingsReader::open(&head));
        // An entry has two bytes at least: what is made of it later can be sized by their number.
        let fits = |reader: &PostingsReader, body: u64| reader.entries() <= body / 2;
        let body = sidecar.length(&lookup_section(column));
        match reader.filter(|reader| body.is_some_and(|body| fits(reader, body))) {
            Some(reader) => Ok((column.into(), reader)),
            None => Err(sidecar.corrupt(section, "no head of postings, or no body")),
        }
    };
    columns.map(open).collect()
}

/// The postings of `hash` in the column `column`, whose head is `reader`.
pub(super) async fn lookup(
    sidecar: &Sidecar,
    column: &str,
    reader: &PostingsReader,
    hash: ValueHash,
) -> Result<Vec<u32>> {
    let section = lookup_section(column);
    let damaged = || sidecar.corrupt(&section, format_args!("damaged at hash {:012x}", hash.get()));
    let range = reader.range(hash).ok_or_else(damaged)?;
    let bytes = sidecar.read_range(&section, range).await?;
    reader.find(hash, &bytes).ok_or_else(damaged)
}

/// The section that says whose index it is.
pub(super) fn put_segment(writer: &mut SidecarWriter, segment: SegmentId, rows: u64, page_rows: u32) {
    let mut bytes = segment.as_bytes().to_vec();
    bytes.extend_from_slice(&rows.to_le_bytes());
    bytes.extend_from_slice(&page_rows.to_le_bytes());
    writer.resident(SEGMENT, bytes);
}

/// Whose index it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) segment: SegmentId,
    pub(super) rows: u64,
    pub(super) page_rows: u32,
}

/// What the object says of whose index it is; none when it is not that of a segment.
pub(super) fn about(sidecar: &Sidecar) -> Result<Option<About>> {
    let Some(bytes) = sidecar.resident(SEGMENT)? else { return Ok(None) };
    let mut cursor = Cursor::new(&bytes);
    let fields =
        (cursor.array(), cursor.array().map(u64::from_le_bytes), cursor.u32().filter(|rows| *rows > 0));
    let (Some(id), Some(rows), Some(page_rows)) = fields else {
        return Err(sidecar.corrupt(SEGMENT, "it is too short"));
    };
    Ok(Some(About { segment: SegmentId::from_bytes(id), rows, page_rows }))
}

/// The index of one segment, open.
#[derive(Debug)]
pub struct SegmentIndex {
    sidecar: Sidecar,
    page_rows: usize,
    lookups: BTreeMap<Box<str>, PostingsReader>,
    /// Damage is reported once.
    reported: AtomicBool,
}

impl SegmentIndex {
    /// Opens the index of a segment with one read; none when the segment has no index.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) when the object is damaged or is that of another
    /// segment, with [`NotFound`](crate::ErrorKind::NotFound) when it is gone. Queries open through
    /// [`IndexCache`](super::IndexCache), which does without the index then.
    pub async fn open(store: &Arc<dyn ObjectStore>, segment: &SegmentMeta) -> Result<Option<Arc<Self>>> {
        let Some(bytes) = segment.index else { return Ok(None) };
        let sidecar = Sidecar::open(Arc::clone(store), &segment.index_path(), bytes).await?;
        let page_rows = match about(&sidecar)? {
            Some(About { segment: id, rows, page_rows }) if (id, rows) == (segment.id, segment.rows) => {
                page_rows
            }
            _ => return Err(sidecar.corrupt(SEGMENT, "it is the index of something else")),
        } as usize;
        let pages = segment.rows.div_ceil(page_rows as u64);
        let lookups = lookups(&sidecar)?;
        if lookups.values().any(|reader| u64::from(reader.bound()) > pages) {
            return Err(sidecar.corrupt(SEGMENT, format_args!("postings beyond {pages} pages")));
        }
        Ok(Some(Arc::new(Self { sidecar, page_rows, lookups, reported: AtomicBool::new(false) })))
    }

    /// Rows of a page; the last one may have fewer.
    pub fn page_rows(&self) -> usize {
        self.page_rows
    }

    /// Physical names of the columns that [`lookup`](Self::lookup) knows, sorted.
    pub fn lookup_columns(&self) -> impl Iterator<Item = &str> {
        self.lookups.keys().map(AsRef::as_ref)
    }

    /// The pages, ascending and all within the segment, with rows in which the attribute or core column of
    /// this physical name has a value with this hash. One read of 2 kB.
    ///
    /// None when nothing is known of the column in this segment; no pages when no row has the value, neither
    /// in the column nor in the overflow.
    pub async fn lookup(&self, column: &str, hash: ValueHash) -> Result<Option<Vec<u32>>> {
        let Some(reader) = self.lookups.get(column) else { return Ok(None) };
        lookup(&self.sidecar, column, reader, hash).await.map(Some)
    }

    /// Like [`lookup`](Self::lookup), for queries: when the index cannot be read, that is logged, once, and
    /// nothing is known.
    pub async fn pages(&self, column: &str, hash: ValueHash) -> Option<Vec<u32>> {
        match self.lookup(column, hash).await {
            Ok(pages) => pages,
            Err(error) => {
                self.report(&error);
                None
            }
        }
    }

    /// Logs, once, that this index cannot be read.
    pub fn report(&self, error: &Error) {
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "an index cannot be read; its segment is scanned instead");
        }
    }

    /// The container, with all sections.
    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// Bytes of all postings.
    pub fn lookup_bytes(&self) -> u64 {
        self.lookups.keys().filter_map(|column| self.sidecar.length(&lookup_section(column))).sum()
    }

    /// The heads of the postings, by column.
    pub(super) fn lookups(&self) -> &BTreeMap<Box<str>, PostingsReader> {
        &self.lookups
    }

    /// Memory that it holds.
    pub fn memory_bytes(&self) -> usize {
        self.sidecar.memory_bytes() + memory_bytes(&self.lookups)
    }
}

/// Memory of open postings beyond their heads, which are the container's.
pub(super) fn memory_bytes(lookups: &BTreeMap<Box<str>, PostingsReader>) -> usize {
    lookups.keys().map(|column| column.len() + size_of::<PostingsReader>() + 64).sum()
}

/// An index object that is not stored yet.
#[derive(Debug, Clone)]
pub struct BuiltIndex {
    /// Its bytes.
    pub object: PutPayload,
}

impl BuiltIndex {
    /// Size of the object.
    pub fn bytes(&self) -> u64 {
        self.object.content_length() as u64
    }
}
