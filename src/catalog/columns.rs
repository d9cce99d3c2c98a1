//! What do the columns of all segments hold?
//!
//! A catalog of 10,000 segments with 200 columns each knows two million facts; a query needs those on the
//! few columns that it names. So it asks for these by name, once, and gets [`LoadedColumns`]; planning then
//! looks at each segment without waiting.

use std::collections::HashMap;
use std::sync::Arc;

use super::CatalogSnapshot;
use crate::event::AttributeType;
use crate::segment::{Bound, ColumnMeta, NewSegment, SegmentColumns, SegmentId};

/// Where the facts of a snapshot are.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnSource {
    /// Of the segments that came after the checkpoint.
    recent: Arc<HashMap<SegmentId, Arc<SegmentColumns>>>,
}

impl ColumnSource {
    /// Adds and removes what a commit does.
    pub(super) fn change(&mut self, add: &[NewSegment], remove: &[SegmentId]) {
        let recent = Arc::make_mut(&mut self.recent);
        for id in remove {
            recent.remove(id);
        }
        recent.extend(add.iter().map(|segment| (segment.meta.id, Arc::clone(&segment.columns))));
    }

    /// What is known of a segment since the checkpoint.
    pub(super) fn recent(&self, id: SegmentId) -> Option<&Arc<SegmentColumns>> {
        self.recent.get(&id)
    }
}

impl CatalogSnapshot {
    /// What is known of the columns with these physical names, in every segment.
    #[expect(clippy::unused_async, reason = "they may have to be read")]
    pub async fn columns(&self, _names: &[&str]) -> LoadedColumns {
        LoadedColumns { source: self.columns.clone() }
    }
}

/// What is known of some columns in all segments.
#[derive(Debug, Clone, Default)]
pub struct LoadedColumns {
    source: ColumnSource,
}

/// What is known of the loaded columns in one segment.
#[derive(Debug, Clone, Copy)]
pub struct ColumnsOf<'a> {
    columns: Option<&'a SegmentColumns>,
}

/// What is known of one column in one segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fact<'a> {
    /// Nothing: it was not asked for, or cannot be read.
    Unknown,
    /// The segment has no such column.
    Absent,
    /// The segment has it.
    Present(ColumnFact<'a>),
}

/// A column that a segment has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnFact<'a> {
    /// Type of the attribute; none for core columns and the overflow.
    pub attribute_type: Option<AttributeType>,
    /// How many rows have no value.
    pub null_count: u64,
    /// Smallest and largest value, exact, where they are kept.
    pub bounds: Option<(Bound<&'a str>, Bound<&'a str>)>,
}

impl LoadedColumns {
    /// What is known of the segment `id`.
    pub fn of(&self, id: SegmentId) -> ColumnsOf<'_> {
        ColumnsOf { columns: self.source.recent(id).map(Arc::as_ref) }
    }
}

impl<'a> ColumnsOf<'a> {
    /// What is known of the column `name`.
    pub fn get(&self, name: &str) -> Fact<'a> {
        let Some(columns) = self.columns else { return Fact::Unknown };
        columns.get(name).map_or(Fact::Absent, |column| Fact::Present(column.into()))
    }

    /// Whether the overflow may have values of the attribute with this physical name.
    pub fn may_overflow(&self, name: &str) -> bool {
        self.columns.is_none_or(|columns| columns.may_overflow(name))
    }
}

impl<'a> From<&'a ColumnMeta> for ColumnFact<'a> {
    fn from(column: &'a ColumnMeta) -> Self {
        let ColumnMeta { attribute_type, null_count, bounds, .. } = column;
        let bounds = bounds.as_ref().map(|(min, max)| (min.borrowed(), max.borrowed()));
        Self { attribute_type: *attribute_type, null_count: *null_count, bounds }
    }
}
