//! What does the side-car of a segment contain?
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

/// Opens the postings of every lookup column of an index object.
pub(super) fn lookups(sidecar: &Sidecar) -> Result<BTreeMap<Box<str>, PostingsReader>> {
    let columns = sidecar.names().filter_map(|name| Some((name, name.strip_prefix(HEAD)?)));
    let open = |(section, column): (&str, &str)| {
        let head = sidecar.resident(section)?;
        let reader = head.and_then(|head| PostingsReader::open(&head));
        // An entry has at least two bytes. This bounds the number of entries, from which later sizes follow.
        let fits = |reader: &PostingsReader, body: u64| reader.entries() <= body / 2;
        let body = sidecar.length(&lookup_section(column));
        match reader.filter(|reader| body.is_some_and(|body| fits(reader, body))) {
            Some(reader) => Ok((column.into(), reader)),
            None => Err(sidecar.corrupt(section, "its postings have a damaged head or no body")),
        }
    };
    columns.map(open).collect()
}

/// Reads the postings of `hash` in `column`, whose head is `reader`.
pub(super) async fn lookup(
    sidecar: &Sidecar,
    column: &str,
    reader: &PostingsReader,
    hash: ValueHash,
) -> Result<Vec<u32>> {
    let section = lookup_section(column);
    let damaged =
        || sidecar.corrupt(&section, format_args!("its postings are damaged at hash {:012x}", hash.get()));
    let range = reader.range(hash).ok_or_else(damaged)?;
    let bytes = sidecar.read_range(&section, range).await?;
    reader.find(hash, &bytes).ok_or_else(damaged)
}

/// Adds the section that identifies the segment.
pub(super) fn put_segment(writer: &mut SidecarWriter, segment: SegmentId, rows: u64, page_rows: u32) {
    let mut bytes = segment.as_bytes().to_vec();
    bytes.extend_from_slice(&rows.to_le_bytes());
    bytes.extend_from_slice(&page_rows.to_le_bytes());
    writer.resident(SEGMENT, bytes);
}

/// Segment that an index belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) segment: SegmentId,
    pub(super) rows: u64,
    pub(super) page_rows: u32,
}

/// Reads which segment an index object belongs to; `None` if it is not the index of a segment.
pub(super) fn about(sidecar: &Sidecar) -> Result<Option<About>> {
    let Some(bytes) = sidecar.resident(SEGMENT)? else { return Ok(None) };
    let mut cursor = Cursor::new(&bytes);
    let fields =
        (cursor.array(), cursor.array().map(u64::from_le_bytes), cursor.u32().filter(|rows| *rows > 0));
    let (Some(id), Some(rows), Some(page_rows)) = fields else {
        return Err(sidecar.corrupt(SEGMENT, "it is too short, or has pages without rows"));
    };
    Ok(Some(About { segment: SegmentId::from_bytes(id), rows, page_rows }))
}

/// An open index of one segment.
#[derive(Debug)]
pub struct SegmentIndex {
    sidecar: Sidecar,
    page_rows: usize,
    lookups: BTreeMap<Box<str>, PostingsReader>,
    /// True once damage has been logged.
    reported: AtomicBool,
}

impl SegmentIndex {
    /// Opens the index of a segment with one read; `None` if the segment has no index.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if the object is damaged or belongs to another segment,
    /// and with [`NotFound`](crate::ErrorKind::NotFound) if it is gone. Queries open indexes through
    /// [`IndexCache`](super::IndexCache), which continues without the index in these cases.
    pub async fn open(store: &Arc<dyn ObjectStore>, segment: &SegmentMeta) -> Result<Option<Arc<Self>>> {
        let Some(bytes) = segment.index else { return Ok(None) };
        let sidecar = Sidecar::open(Arc::clone(store), &segment.index_path(), bytes).await?;
        let page_rows = match about(&sidecar)? {
            Some(About { segment: id, rows, page_rows }) if (id, rows) == (segment.id, segment.rows) => {
                page_rows
            }
            _ => {
                return Err(sidecar
                    .corrupt(SEGMENT, "it belongs to another segment, or is not the index of a segment"));
            }
        } as usize;
        let pages = segment.rows.div_ceil(page_rows as u64);
        let lookups = lookups(&sidecar)?;
        if lookups.values().any(|reader| u64::from(reader.bound()) > pages) {
            return Err(
                sidecar.corrupt(SEGMENT, format_args!("it has postings beyond the segment's {pages} pages"))
            );
        }
        Ok(Some(Arc::new(Self { sidecar, page_rows, lookups, reported: AtomicBool::new(false) })))
    }

    /// Rows of a page; the last one may have fewer.
    pub fn page_rows(&self) -> usize {
        self.page_rows
    }

    /// Physical names of the columns with lookups, sorted.
    pub fn lookup_columns(&self) -> impl Iterator<Item = &str> {
        self.lookups.keys().map(AsRef::as_ref)
    }

    /// Returns the pages, ascending and all within the segment, with rows in which the attribute or core column of
    /// this physical name has a value with this hash. One read of 2 kB.
    ///
    /// `None` if the column has no lookups in this segment; no pages if no row has the value, neither in the column
    /// nor in the overflow.
    pub async fn lookup(&self, column: &str, hash: ValueHash) -> Result<Option<Vec<u32>>> {
        let Some(reader) = self.lookups.get(column) else { return Ok(None) };
        lookup(&self.sidecar, column, reader, hash).await.map(Some)
    }

    /// Like [`lookup`](Self::lookup), for queries: if the index cannot be read, logs that once and returns `None`.
    pub async fn pages(&self, column: &str, hash: ValueHash) -> Option<Vec<u32>> {
        match self.lookup(column, hash).await {
            Ok(pages) => pages,
            Err(error) => {
                self.report(&error);
                None
            }
        }
    }

    /// Logs that this index cannot be read, the first time only.
    pub fn report(&self, error: &Error) {
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "an index cannot be read; its segment is scanned instead");
        }
    }

    /// Container with all sections.
    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// Size of all postings' bodies, in bytes.
    pub fn lookup_bytes(&self) -> u64 {
        self.lookups.keys().filter_map(|column| self.sidecar.length(&lookup_section(column))).sum()
    }

    /// Heads of the postings, by column.
    pub(super) fn lookups(&self) -> &BTreeMap<Box<str>, PostingsReader> {
        &self.lookups
    }

    /// Memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.sidecar.memory_bytes() + memory_bytes(&self.lookups)
    }
}

/// Memory of open postings in bytes, without their heads, which the container holds.
pub(super) fn memory_bytes(lookups: &BTreeMap<Box<str>, PostingsReader>) -> usize {
    lookups.keys().map(|column| column.len() + size_of::<PostingsReader>() + 64).sum()
}

/// An index object that is not stored yet.
#[derive(Debug, Clone)]
pub struct BuiltIndex {
    /// Bytes to store.
    pub object: PutPayload,
}

impl BuiltIndex {
    /// Size of the object in bytes.
    pub fn bytes(&self) -> u64 {
        self.object.content_length() as u64
    }
}
