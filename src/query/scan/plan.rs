//! The plan of one scan: the segments after pruning, and the buffer.
//!
//! ```text
//! EventsExec: segments=3/10 …                 reports pruning, passes rows through
//!   UnionExec
//!     DataSourceExec: file_groups=…           IndexedSource: bitmaps, columns in memory, else Parquet
//!     BufferExec: batches=2 …
//! ```
//!
//! It has the shape of DataFusion's file scan, with our own source ([`indexed`](crate::query::indexed)), our own
//! readers ([`metadata`](super::metadata)) and expressions adapted per file ([`adapter`](super::adapter)). It holds
//! caches and a store, so it runs in the process that planned it.
//!
//! Rows of a segment are newest first. If the segments can be dealt into few enough groups without overlaps in
//! time, the scan declares that order, and `ORDER BY timestamp DESC LIMIT n` reads only the newest.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::adapter::AttributeAdapterFactory;
use super::buffer::BufferExec;
use super::events_exec::EventsExec;
use super::metadata::{NarrowReaderFactory, Want};
use super::occurrence::Occurrence;
use super::prune::Pruned;
use super::statistics::statistics;
use crate::catalog::LoadedColumns;
use crate::event::{AttributeType, EventBatch, TimeRange, schema};
use crate::query::indexed::decode::Files;
use crate::query::indexed::rows::Context;
use crate::query::indexed::source::IndexedSource;
use crate::segment::SegmentMeta;

/// Most groups of files that a scan keeps apart to stay in order; with more the order is given up.
const ORDERED_GROUPS_MAX: usize = 16;

/// Everything that one scan reads.
pub(crate) struct Scan<'a> {
    /// The occurrence of the table that is scanned.
    pub(crate) occurrence: &'a Occurrence,
    /// The segments.
    pub(crate) pruned: Pruned,
    /// Facts about their columns.
    pub(crate) columns: Arc<LoadedColumns>,
    /// The buffered batches.
    pub(crate) batches: Vec<Arc<EventBatch>>,
    /// Columns of the table, in order.
    pub(crate) projection: Vec<usize>,
    /// Number of rows after which the scan may stop.
    pub(crate) limit: Option<usize>,
}

impl Scan<'_> {
    /// Builds the plan.
    pub(crate) fn plan(self) -> Result<Arc<dyn ExecutionPlan>> {
        let adapter = Arc::new(AttributeAdapterFactory::new(&self.occurrence.demanded));
        let mut children: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !self.pruned.kept.is_empty() {
            children.push(self.files(&adapter)?);
        }
        if !self.batches.is_empty() {
            let parallelism = self.occurrence.shared.parallelism;
            let schema = Arc::clone(&self.occurrence.schema);
            let buffer = BufferExec::new(&self.batches, parallelism, schema, &self.projection, adapter)?;
            children.push(Arc::new(buffer));
        }
        let child = match (children.pop(), children.pop()) {
            (None, _) => {
                let schema = self.occurrence.schema.project(&self.projection)?;
                Arc::new(EmptyExec::new(Arc::new(schema))) as Arc<dyn ExecutionPlan>
            }
            (Some(only), None) => only,
            (Some(second), Some(first)) => UnionExec::try_new(vec![first, second])?,
        };
        Ok(Arc::new(EventsExec::new(child, &self.pruned)))
    }

    fn files(&self, adapter: &Arc<AttributeAdapterFactory>) -> Result<Arc<dyn ExecutionPlan>> {
        let snapshot = &self.occurrence.snapshot;
        let want = Arc::new(self.want());
        let factory = NarrowReaderFactory {
            store: Arc::clone(&snapshot.store),
            cache: Arc::clone(&self.occurrence.shared.footers),
            want: Arc::clone(&want),
        };
        let schema = Arc::new(file_schema(self.occurrence));
        let source = ParquetSource::new(Arc::clone(&schema))
            .with_parquet_file_reader_factory(Arc::new(factory))
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(false);
        let context = Context {
            indexes: Arc::clone(&self.occurrence.shared.indexes),
            cache: Arc::clone(&self.occurrence.shared.columns),
            files: Files {
                store: Arc::clone(&snapshot.store),
                footers: Arc::clone(&self.occurrence.shared.footers),
            },
            adapter: Arc::clone(adapter),
            table: Arc::clone(&schema),
            columns: Arc::clone(&self.columns),
            masks: Arc::clone(&self.occurrence.shared.masks),
            want,
            part_bytes_max: self.occurrence.shared.part_bytes_max,
        };
        let source = IndexedSource::new(source, Arc::new(context));
        let known = upto_timestamp(&schema);
        let (groups, ordered) = deal(&self.pruned.kept, self.occurrence.shared.parallelism);
        let groups: Vec<FileGroup> = groups
            .into_iter()
            .map(|group| FileGroup::new(group.into_iter().map(|s| file(s, &known)).collect()))
            .collect();
        let rows = self.pruned.kept.iter().map(|segment| segment.live_rows()).sum();
        let ordering = if ordered { newest_first(&schema) } else { None };
        // The reader factory holds the store; the URL only has to be known to every session.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_output_ordering(ordering.into_iter().collect())
            .with_statistics(statistics(&schema, rows, time(&self.pruned.kept)))
            .with_projection_indices(Some(self.projection.clone()))?
            .with_limit(self.limit)
            .with_expr_adapter(Some(Arc::clone(adapter) as _))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn want(&self) -> Want {
        let schema = &self.occurrence.schema;
        let names: HashSet<&str> = self.projection.iter().map(|i| schema.field(*i).name().as_str()).collect();
        if names.contains(schema::ATTRIBUTES) || names.contains(schema::TYPED_ATTRIBUTES) {
            return Want::All;
        }
        let core = names.iter().filter(|n| schema::core_index(n).is_some()).map(ToString::to_string);
        let demanded = self.occurrence.demanded.iter().filter(|d| names.contains(d.column.as_str()));
        Want::Some {
            core: core.collect(),
            demanded: demanded.cloned().collect(),
            columns: Arc::clone(&self.columns),
        }
    }
}

/// Schema of the table's columns, then of the physical columns that adapted expressions may read as text. Listing
/// these makes the Parquet reader yield them as string views, the table's type.
fn file_schema(occurrence: &Occurrence) -> Schema {
    let Occurrence { snapshot, demanded, schema: table, .. } = occurrence;
    let mut fields: Vec<Arc<Field>> = table.fields().iter().cloned().collect();
    let mut names: HashSet<String> = fields.iter().map(|f| f.name().clone()).collect();
    let mut add = |name: &str| {
        if names.insert(name.to_owned()) {
            fields.push(Arc::new(Field::new(name, DataType::Utf8View, true)));
        }
    };
    add(schema::OVERFLOW);
    for demanded in demanded {
        let bytes =
            snapshot.keys.lookup(&demanded.key).is_some_and(|a| a.types.contains(AttributeType::Bytes));
        // Bytes must not be read as text.
        for candidate in demanded.candidates.iter().filter(|_| !bytes) {
            add(candidate);
        }
    }
    Schema::new(fields)
}

fn newest_first(schema: &Schema) -> Option<LexOrdering> {
    let timestamp = Column::new_with_schema(schema::column::TIMESTAMP, schema).ok()?;
    let options = SortOptions { descending: true, nulls_first: true };
    LexOrdering::new([PhysicalSortExpr::new(Arc::new(timestamp), options)])
}

/// Schema of the columns up to the timestamp, which is the first. Statistics of the other columns are unknown for
/// every file. Saying so per column took more than half of the planning time with ten thousand files
/// (`benches/catalog.rs`).
fn upto_timestamp(schema: &Schema) -> Schema {
    let columns = schema.index_of(schema::column::TIMESTAMP).map_or(0, |at| at + 1);
    Schema::new(schema.fields()[..columns].to_vec())
}

/// The file of a segment, with statistics of the columns of `known`, the first ones of the table.
fn file(segment: &Arc<SegmentMeta>, known: &Schema) -> PartitionedFile {
    let time = time(std::slice::from_ref(segment));
    let mut statistics = statistics(known, segment.live_rows(), time);
    statistics.total_byte_size = Precision::Inexact(segment.bytes as usize);
    PartitionedFile::new(segment.path(), segment.bytes)
        .with_statistics(Arc::new(statistics))
        .with_extension(Arc::clone(segment))
}

/// Time from the first to the last event; `None` if one of these may be deleted.
fn time(segments: &[Arc<SegmentMeta>]) -> Option<TimeRange> {
    if segments.iter().any(|segment| segment.mask.is_some()) {
        return None;
    }
    let ranges = segments.iter().map(|segment| segment.time);
    ranges.reduce(|a, b| TimeRange { min_ns: a.min_ns.min(b.min_ns), max_ns: a.max_ns.max(b.max_ns) })
}

/// Segments that one partition reads, one after another.
#[derive(Default)]
struct Group<'a> {
    segments: Vec<&'a Arc<SegmentMeta>>,
    rows: u64,
}

impl<'a> Group<'a> {
    fn push(&mut self, segment: &'a Arc<SegmentMeta>) {
        self.rows += segment.rows;
        self.segments.push(segment);
    }

    /// Splits off the older half.
    fn split(&mut self) -> Self {
        let segments = self.segments.split_off(self.segments.len().div_ceil(2));
        let rows = segments.iter().map(|segment| segment.rows).sum();
        self.rows -= rows;
        Self { segments, rows }
    }
}

/// Deals segments into groups, one per partition. Returns whether every group is newest first throughout.
/// O(n log n), as the number of groups is bounded.
fn deal(segments: &[Arc<SegmentMeta>], partitions: usize) -> (Vec<Vec<&Arc<SegmentMeta>>>, bool) {
    let mut newest: Vec<&Arc<SegmentMeta>> = segments.iter().collect();
    newest.sort_by_key(|s| std::cmp::Reverse((s.time.max_ns, s.time.min_ns)));
    let (groups, ordered) = match chains(&newest, partitions) {
        Some(chains) => (chains, true),
        None => (spread(newest, partitions), false),
    };
    (groups.into_iter().map(|group| group.segments).collect(), ordered)
}

/// Groups in which no two segments overlap; `None` if that takes too many groups.
fn chains<'a>(newest: &[&'a Arc<SegmentMeta>], partitions: usize) -> Option<Vec<Group<'a>>> {
    let mut chains: Vec<Group<'a>> = Vec::new();
    for segment in newest {
        let fits = |chain: &&mut Group<'a>| {
            chain.segments.last().is_none_or(|last| last.time.min_ns > segment.time.max_ns)
        };
        let full = chains.len() == ORDERED_GROUPS_MAX.max(partitions);
        // The shortest chain that it fits, so that partitions get equal work.
        match chains.iter_mut().filter(fits).min_by_key(|chain| chain.rows) {
            Some(chain) => chain.push(segment),
            None if full => return None,
            None => chains.push(Group { segments: vec![segment], rows: segment.rows }),
        }
    }
    while chains.len() < partitions {
        let longest = chains.iter_mut().filter(|c| c.segments.len() > 1).max_by_key(|c| c.rows);
        let Some(half) = longest.map(Group::split) else { break };
        chains.push(half);
    }
    Some(chains)
}

/// Groups of about equal work, in no particular order.
fn spread(segments: Vec<&Arc<SegmentMeta>>, partitions: usize) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = (0..partitions.max(1)).map(|_| Group::default()).collect();
    for segment in segments {
        if let Some(smallest) = groups.iter_mut().min_by_key(|group| group.rows) {
            smallest.push(segment);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentId;

    fn segments(ranges: &[(i64, i64)]) -> Vec<Arc<SegmentMeta>> {
        let segment = |(min_ns, max_ns): &(i64, i64)| {
            let id = SegmentId::new(*max_ns);
            let time = TimeRange { min_ns: *min_ns, max_ns: *max_ns };
            Arc::new(SegmentMeta { id, bytes: 1, column_bytes: 0, index: None, rows: 1, time, mask: None })
        };
        ranges.iter().map(segment).collect()
    }

    fn dealt(ranges: &[(i64, i64)], partitions: usize) -> (Vec<Vec<i64>>, bool) {
        let segments = segments(ranges);
        let (groups, ordered) = deal(&segments, partitions);
        (groups.iter().map(|g| g.iter().map(|s| s.time.min_ns).collect()).collect(), ordered)
    }

    #[test]
    fn segments_that_do_not_overlap_share_a_group_newest_first() {
        assert_eq!(dealt(&[(0, 9), (20, 29), (10, 19), (30, 39)], 1), (vec![vec![30, 20, 10, 0]], true));
        assert_eq!(
            dealt(&[(0, 9), (20, 29), (10, 19), (30, 39)], 2),
            (vec![vec![30, 20], vec![10, 0]], true)
        );
        assert_eq!(dealt(&[(0, 9), (5, 19), (19, 29)], 1), (vec![vec![19, 0], vec![5]], true));
    }

    #[test]
    fn order_is_given_up_when_too_many_segments_overlap() {
        let ranges = vec![(0, 9); ORDERED_GROUPS_MAX + 1];
        let (groups, ordered) = dealt(&ranges, 2);
        assert!(!ordered);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [9, 8]);
    }
}
