//! What does one index object contain?
//!
//! For people who examine a file. Every section is read and checked; damage is reported per section, and the
//! rest is still shown.

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
    /// Name of the section.
    pub name: String,
    /// Offset in the object, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// True if it is in memory while the object is open.
    pub resident: bool,
    /// True if its checksum matches.
    pub sound: bool,
}

/// A column whose values can be looked up.
#[derive(Debug, Clone, Serialize)]
pub struct LookupColumn {
    /// Physical name.
    pub column: String,
    /// Number of distinct hashes of values.
    pub hashes: u64,
    /// Number of buckets; a lookup reads one.
    pub buckets: u64,
    /// Size of the postings' body in bytes, without the head.
    pub bytes: u64,
    /// For a run: number of segments all of whose values it covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments_covered: Option<usize>,
}

/// Contents of a segment's side-car.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentSidecar {
    /// Id of its segment.
    pub segment: SegmentId,
    /// Rows of the segment, deleted ones included.
    pub rows: u64,
    /// Rows of a page.
    pub page_rows: u32,
    /// Number of columns whose Parquet footer it has.
    pub footers: usize,
    /// True if it has the checksums of the segment's object.
    pub checksums: bool,
    /// True if it has a filter of the attributes in the overflow, which are then too many to list.
    pub overflow_filter: bool,
}

/// Contents of a run, the index of many segments.
#[derive(Debug, Clone, Serialize)]
pub struct RunContent {
    /// Its segments; a segment's position is its number in the run.
    pub segments: Vec<SegmentId>,
}

/// Contents of an index object.
#[derive(Debug, Clone, Serialize)]
pub struct IndexContent {
    /// Kind and subject of the object.
    #[serde(flatten)]
    pub of: IndexOf,
    /// Columns with lookups.
    pub lookup_columns: Vec<LookupColumn>,
    /// All sections, sorted by name.
    pub sections: Vec<Section>,
}

/// Kind and subject of an index object.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum IndexOf {
    /// Index of one segment.
    Segment(SegmentSidecar),
    /// Index of many segments.
    Run(RunContent),
    /// Unknown, since the section that says it is missing or damaged.
    Unknown {},
}

/// Reads the sections of an object, and adds their damage to `damage`.
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

/// Reads a side-car or a run, and adds its damage to `damage`.
pub async fn inspect(sidecar: &Sidecar, damage: &mut Vec<Error>) -> IndexContent {
    let sections = sections(sidecar, damage).await;
    // Errors below are ignored: `sections` has reported the damage already.
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

/// Reads the copy of a segment's Parquet footer in its side-car; `None` if the side-car has none.
pub async fn footer(sidecar: &Sidecar) -> Result<Option<ParquetMetaData>> {
    let (Some(about), Some(names)) = (segment_index::about(sidecar)?, footers::names(sidecar).await?) else {
        return Ok(None);
    };
    let parts = footers::read(sidecar, &names, about.rows, names.iter()).await?;
    Ok(Some(footers::join(about.rows, parts.iter().map(|(_, part)| part))?))
}
