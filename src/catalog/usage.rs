//! How often do columns have a value, and when? Answered from the facts that the catalog has, without opening a segment.

use std::collections::{HashMap, HashSet};

use super::CatalogSnapshot;
use super::columns::LoadedColumns;
use crate::event::{TimeRange, schema};
use crate::segment::{SegmentId, SegmentMeta};

/// Occurrence of a column in all segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of events with a value in the column, deleted ones included.
    pub events: u64,
    /// True if there are, or may be, more: in the overflow, which is not counted.
    pub may_be_more: bool,
    /// Time range of the segments that have one, both ends inclusive.
    pub time: Option<TimeRange>,
}

impl Usage {
    /// Adds `events` of a segment, or of a part of it.
    pub fn add(&mut self, events: u64, time: TimeRange) {
        self.events += events;
        self.time = Some(self.time.map_or(time, |known| known.union(time)));
    }
}

/// Occurrences of columns.
#[derive(Debug, Clone, Default)]
pub struct Usages {
    /// By physical name; nothing for columns that no segment has.
    pub columns: HashMap<String, Usage>,
    /// True if a segment may have any attribute in its overflow, so that nothing is exact.
    pub is_open: bool,
}

impl CatalogSnapshot {
    /// Counts the occurrences of the columns with these physical names. O(segments × names) at most; facts that cannot
    /// be read count as [`is_open`](Usages::is_open).
    pub async fn usages(&self, names: &[&str]) -> Usages {
        let loaded = self.columns(names).await;
        let mut usages = Usages::default();
        let recent = self.recent(&loaded, &mut usages);
        let mut stored: Vec<Option<&SegmentMeta>> = Vec::new();
        let of_checkpoint = self.segments.iter().filter(|segment| !recent.contains(&segment.id));
        for segment in of_checkpoint {
            let Some(ordinal) = loaded.ordinal(segment.id) else {
                usages.is_open = true;
                continue;
            };
            let ordinal = ordinal as usize;
            stored.resize(stored.len().max(ordinal + 1), None);
            stored[ordinal] = Some(segment.as_ref());
        }
        let of = |ordinal: u32| stored.get(ordinal as usize).copied().flatten();
        let unlisted = loaded.section(schema::OVERFLOW).flatten();
        usages.is_open |= unlisted.is_some_and(|overflow| overflow.overflowing().any(|at| of(at).is_some()));
        for name in names {
            let section = match loaded.section(name) {
                Some(Some(section)) => section,
                Some(None) => continue,
                None => {
                    usages.is_open |= !stored.is_empty();
                    continue;
                }
            };
            let mut usage = usages.columns.get(*name).copied().unwrap_or_default();
            for (ordinal, fact) in section.iter() {
                if let Some(segment) = of(ordinal)
                    && fact.null_count < segment.rows
                {
                    usage.add(segment.rows - fact.null_count, segment.time);
                }
            }
            for segment in section.overflowing().filter_map(of) {
                usage.may_be_more = true;
                usage.add(0, segment.time);
            }
            if usage != Usage::default() {
                usages.columns.insert((*name).to_owned(), usage);
            }
        }
        usages
    }

    /// Counts in the segments that came after the checkpoint; returns these.
    fn recent(&self, loaded: &LoadedColumns, usages: &mut Usages) -> HashSet<SegmentId> {
        let mut found = HashSet::new();
        for segment in &self.segments {
            let Some(columns) = loaded.recent(segment.id) else { continue };
            found.insert(segment.id);
            for column in columns.columns.iter().filter(|column| column.null_count < segment.rows) {
                let usage = usages.columns.entry(column.name.clone()).or_default();
                usage.add(segment.rows - column.null_count, segment.time);
            }
            usages.is_open |= columns.has_overflow() && columns.overflow.is_none();
            for name in columns.overflow.iter().flatten() {
                let usage = usages.columns.entry(name.clone()).or_default();
                usage.may_be_more = true;
                usage.add(0, segment.time);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::AttributeType;
    use crate::segment::{Bound, ColumnMeta, NewSegment, SegmentColumns};

    fn segment(time: (i64, i64), columns: &[(&str, u64)], overflow: Option<&[&str]>) -> NewSegment {
        let mut columns: Vec<_> = columns
            .iter()
            .map(|(name, null_count)| ColumnMeta {
                name: (*name).to_owned(),
                attribute_type: schema::core_index(name).is_none().then_some(AttributeType::Int),
                null_count: *null_count,
                bounds: Some((Bound::Int(0), Bound::Int(1))),
            })
            .collect();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let overflow = overflow.map(|names| names.iter().map(ToString::to_string).collect());
        let meta = SegmentMeta {
            id: SegmentId::new(time.0),
            bytes: 1,
            column_bytes: 0,
            index: None,
            rows: 10,
            time: TimeRange { min_ns: time.0, max_ns: time.1 },
            mask: None,
        };
        NewSegment { meta, columns: Arc::new(SegmentColumns { columns, overflow }) }
    }

    #[tokio::test]
    async fn values_are_counted_and_the_overflow_is_not() {
        let catalog = CatalogSnapshot::of(&[
            segment((0, 9), &[("a", 4), ("b", 10)], None),
            segment((10, 19), &[("a", 0), (schema::OVERFLOW, 3)], Some(&["c"])),
        ]);
        let found = catalog.usages(&["a", "b", "c", "d"]).await;
        let time = |min_ns, max_ns| Some(TimeRange { min_ns, max_ns });
        assert!(!found.is_open);
        assert_eq!(found.columns["a"], Usage { events: 16, may_be_more: false, time: time(0, 19) });
        assert_eq!(found.columns["c"], Usage { events: 0, may_be_more: true, time: time(10, 19) });
        assert!(!found.columns.contains_key("b") && !found.columns.contains_key("d"));
        let catalog = CatalogSnapshot::of(&[segment((0, 9), &[(schema::OVERFLOW, 0)], None)]);
        assert!(catalog.usages(&["a"]).await.is_open);
    }
}
