//! What is in one index object?
//!
//! For people who look into a file. Everything is read and checked, and what is damaged is said, section by
//! section, while the rest is shown.

use parquet::file::metadata::ParquetMetaData;
use serde::Serialize;

use super::segment_index::{self, About};
use super::sidecar::Sidecar;
use super::{checksums, footers, run};
use crate::error::{Error, Result};
use crate::segment::SegmentId;

/// A section of an object.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
    /// Whether it is in memory while the object is open.
    pub resident: bool,
    /// Whether its bytes are what was written.
    pub sound: bool,
}

/// A column whose values can be looked up.
#[derive(Debug, Clone, Serialize)]
pub struct LookupColumn {
    /// Physical name.
    pub column: String,
    /// Different values, by their hashes.
    pub hashes: u64,
    /// Parts of which one is read for a lookup.
    pub buckets: u64,
    /// Size of the postings, without the head.
    pub bytes: u64,
    /// Of a run: segments whose values are all known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments_covered: Option<usize>,
}

/// The side-car of a segment.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentSidecar {
    /// Whose it is.
    pub segment: SegmentId,
    /// Rows of the segment.
    pub rows: u64,
    /// Rows of a page.
    pub page_rows: u32,
    /// Columns of which it has the Parquet footer.
    pub footers: usize,
    /// Whether it has the checksums of the segment's file.
    pub checksums: bool,
    /// Whether it has a filter of the attributes in the overflow, which are then too many to be listed.
    pub overflow_filter: bool,
}

/// An index of many segments.
#[derive(Debug, Clone, Serialize)]
pub struct RunContent {
    /// The segments, by their numbers in it.
    pub segments: Vec<SegmentId>,
}

/// What an index object holds.
#[derive(Debug, Clone, Serialize)]
pub struct IndexContent {
    /// Whose it is.
    #[serde(flatten)]
    pub of: IndexOf,
    /// What can be looked up.
    pub lookup_columns: Vec<LookupColumn>,
    /// All parts.
    pub sections: Vec<Section>,
}

/// Whose an index object is.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum IndexOf {
    /// That of one segment.
    Segment(SegmentSidecar),
    /// That of many.
    Run(RunContent),
    /// It cannot be read.
    Unknown {},
}

/// Reads the sections of an object; what is damaged goes to `damage`.
pub async fn sections(sidecar: &Sidecar, damage: &mut Vec<Error>) -> Vec<Section> {
    damage.extend(sidecar.verify_header().await.err());
    let mut sections = Vec::new();
    for (name, place, resident) in sidecar.sections() {
        let read = sidecar.read(name).await;
        let sound = read.is_ok();
        damage.extend(read.err());
        let (offset, bytes) = (place.start, place.end - place.start);
        sections.push(Section { name: name.to_owned(), offset, bytes, resident, sound });
    }
    sections
}

/// Reads a side-car or a run; what is damaged goes to `damage`.
pub async fn inspect(sidecar: &Sidecar, damage: &mut Vec<Error>) -> IndexContent {
    let sections = sections(sidecar, damage).await;
    // What is said below of sections that are damaged has been said.
    let mut of = IndexOf::Unknown {};
    if let Ok(Some(About { segment, rows, page_rows })) = segment_index::about(sidecar) {
        let footers = footers::names(sidecar).await.ok().flatten().map_or(0, |names| names.len());
        let has = |section: &str| sidecar.length(section).is_some();
        let (checksums, overflow_filter) = (has(checksums::CHECKSUMS), has(footers::OVERFLOW));
        of = IndexOf::Segment(SegmentSidecar {
            segment,
            rows,
            page_rows,
            footers,
            checksums,
            overflow_filter,
        });
    } else if let Ok(Some(segments)) = run::segments(sidecar) {
        of = IndexOf::Run(RunContent { segments });
    }
    let lookups = segment_index::lookups(sidecar).unwrap_or_default();
    let lookup_columns = lookups.iter().map(|(column, reader)| LookupColumn {
        column: column.to_string(),
        hashes: reader.entries(),
        buckets: 1 << reader.bits(),
        bytes: sidecar.length(&segment_index::lookup_section(column)).unwrap_or(0),
        segments_covered: match &of {
            IndexOf::Run(RunContent { segments }) => {
                let covered = run::covered(sidecar, column, reader, segments.len()).unwrap_or_default();
                Some(covered.into_iter().filter(|covered| *covered).count())
            }
            _ => None,
        },
    });
    let lookup_columns = lookup_columns.collect();
    IndexContent { of, lookup_columns, sections }
}

/// The Parquet footer of a segment, as its side-car has it; none when the side-car has none.
pub async fn footer(sidecar: &Sidecar) -> Result<Option<ParquetMetaData>> {
    let (Some(about), Some(names)) = (segment_index::about(sidecar)?, footers::names(sidecar).await?) else {
        return Ok(None);
    };
    let parts = footers::read(sidecar, &names, about.rows, names.iter()).await?;
    Ok(Some(footers::join(about.rows, parts.iter().map(|(_, part)| part))?))
}
