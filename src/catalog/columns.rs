//! Which values can the columns of all segments hold?
//!
//! A catalog of 10,000 segments with 200 columns each has two million facts; a query needs those of the few
//! columns that it names. So it loads these once, by name, as [`LoadedColumns`]; planning then prunes each
//! segment without further reads.

use std::collections::HashMap;
use std::sync::Arc;

use super::CatalogSnapshot;
use super::checkpoint::Checkpoint;
use super::section::ColumnSection;
use crate::error::ErrorKind;
use crate::event::{AttributeType, schema};
use crate::segment::{Bound, ColumnMeta, NewSegment, SegmentColumns, SegmentId, SegmentMeta};

/// Sources of a snapshot's facts.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnSource {
    /// Columns of the segments added after the checkpoint.
    pub(super) recent: Arc<HashMap<SegmentId, Arc<SegmentColumns>>>,
    /// Checkpoint with the columns of the other segments.
    pub(super) checkpoint: Option<Arc<Checkpoint>>,
}

impl ColumnSource {
    /// Makes a source with all facts in a checkpoint.
    pub(super) fn in_checkpoint(checkpoint: Checkpoint) -> Self {
        Self { recent: Arc::default(), checkpoint: Some(Arc::new(checkpoint)) }
    }

    /// Applies a commit's added and removed segments.
    pub(super) fn change(&mut self, add: &[NewSegment], remove: &[SegmentId]) {
        let recent = Arc::make_mut(&mut self.recent);
        for id in remove {
            recent.remove(id);
        }
        recent.extend(add.iter().map(|segment| (segment.meta.id, Arc::clone(&segment.columns))));
    }
}

impl CatalogSnapshot {
    /// Approximate memory of the metadata of segments and columns, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let ColumnSource { recent, checkpoint } = &self.columns;
        let segments = self.segments.len() * (size_of::<SegmentMeta>() + 3 * size_of::<usize>());
        let recent: usize = recent.values().map(|columns| columns.memory_bytes()).sum();
        segments + recent + checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.memory_bytes())
    }

    /// Loads the facts on the columns with these physical names, for every segment.
    ///
    /// Facts that cannot be read are [`Unknown`](Fact::Unknown): they are damaged, which is logged, or a newer
    /// checkpoint has replaced the one that this snapshot came from.
    pub async fn columns(&self, names: &[&str]) -> LoadedColumns {
        let source = self.columns.clone();
        let Some(checkpoint) = &source.checkpoint else {
            return LoadedColumns { source, ..Default::default() };
        };
        // Says which segments have attributes in their overflow.
        let mut names = names.to_vec();
        names.push(schema::OVERFLOW);
        let loaded = checkpoint.columns(&names).await;
        let sections = loaded.unwrap_or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                checkpoint.report(&error);
            }
            HashMap::new()
        });
        LoadedColumns { source, sections }
    }
}

/// Facts on some columns in all segments.
#[derive(Debug, Clone, Default)]
pub struct LoadedColumns {
    source: ColumnSource,
    /// By name; `None` if no segment of the checkpoint has such a column.
    sections: HashMap<String, Option<Arc<ColumnSection>>>,
}

/// Facts on the loaded columns in one segment.
#[derive(Debug, Clone, Copy)]
pub struct ColumnsOf<'a> {
    place: Place<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Nowhere,
    Recent(&'a SegmentColumns),
    Checkpoint(&'a LoadedColumns, u32),
}

/// Fact on one column in one segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fact<'a> {
    /// The column was not loaded, or cannot be read.
    Unknown,
    /// The segment has no such column.
    Absent,
    /// The segment has the column, with these statistics.
    Present(ColumnFact<'a>),
}

/// Statistics of a column in one segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnFact<'a> {
    /// Type of the attribute; `None` for core columns and the overflow.
    pub attribute_type: Option<AttributeType>,
    /// Number of rows without a value.
    pub null_count: u64,
    /// Exact smallest and largest value, if they are stored.
    pub bounds: Option<(Bound<&'a str>, Bound<&'a str>)>,
}

impl LoadedColumns {
    /// Facts on the segment `id`.
    pub fn of(&self, id: SegmentId) -> ColumnsOf<'_> {
        let checkpoint = || self.source.checkpoint.as_ref()?.ordinal(id);
        let place = match self.source.recent.get(&id) {
            Some(columns) => Place::Recent(columns),
            None => checkpoint().map_or(Place::Nowhere, |ordinal| Place::Checkpoint(self, ordinal)),
        };
        ColumnsOf { place }
    }

    /// Columns of the segment `id`, if it was added after the checkpoint.
    pub(super) fn recent(&self, id: SegmentId) -> Option<&SegmentColumns> {
        self.source.recent.get(&id).map(AsRef::as_ref)
    }

    /// Position of the segment `id` in the checkpoint.
    pub(super) fn ordinal(&self, id: SegmentId) -> Option<u32> {
        self.source.checkpoint.as_ref()?.ordinal(id)
    }

    /// Column `name` in the checkpoint; the outer `None` means that it was not loaded.
    #[expect(clippy::option_option, reason = "not loaded, and not in the checkpoint, differ")]
    pub(super) fn section(&self, name: &str) -> Option<Option<&ColumnSection>> {
        self.sections.get(name).map(|section| section.as_deref())
    }
}

impl<'a> ColumnsOf<'a> {
    /// Returns the fact on the column `name`.
    pub fn get(&self, name: &str) -> Fact<'a> {
        let found = match self.place {
            Place::Nowhere => return Fact::Unknown,
            Place::Recent(columns) => columns.get(name).map(ColumnFact::from),
            Place::Checkpoint(loaded, ordinal) => match loaded.section(name) {
                None => return Fact::Unknown,
                Some(section) => section.and_then(|section| section.get(ordinal)),
            },
        };
        found.map_or(Fact::Absent, Fact::Present)
    }

    /// True if all attributes in the overflow are known. If not, [`may_overflow`](Self::may_overflow) is true for
    /// every attribute, and the segment's index may have a filter of them.
    pub fn lists_overflow(&self) -> bool {
        match self.place {
            Place::Nowhere => false,
            Place::Recent(columns) => columns.overflow.is_some() || !columns.has_overflow(),
            Place::Checkpoint(loaded, ordinal) => match loaded.section(schema::OVERFLOW) {
                None => false,
                Some(overflow) => overflow.is_none_or(|overflow| !overflow.overflows(ordinal)),
            },
        }
    }

    /// True if the overflow may have values of the attribute with this physical name.
    pub fn may_overflow(&self, name: &str) -> bool {
        let (loaded, ordinal) = match self.place {
            Place::Nowhere => return true,
            Place::Recent(columns) => return columns.may_overflow(name),
            Place::Checkpoint(loaded, ordinal) => (loaded, ordinal),
        };
        let listed = || {
            let section = loaded.section(name);
            section.is_none_or(|section| section.is_some_and(|section| section.overflows(ordinal)))
        };
        match loaded.section(schema::OVERFLOW) {
            None => true,
            Some(None) => false,
            Some(Some(overflow)) => {
                overflow.get(ordinal).is_some() && (overflow.overflows(ordinal) || listed())
            }
        }
    }
}

impl<'a> From<&'a ColumnMeta> for ColumnFact<'a> {
    fn from(column: &'a ColumnMeta) -> Self {
        let ColumnMeta { attribute_type, null_count, bounds, .. } = column;
        let bounds = bounds.as_ref().map(|(min, max)| (min.borrowed(), max.borrowed()));
        Self { attribute_type: *attribute_type, null_count: *null_count, bounds }
    }
}
