//! A Parquet source that consults the indexes when it opens a file.
//!
//! It is DataFusion's own source with one step before each file: the rows that can match become a row
//! selection, by which the Parquet reader skips pages and rows. A part of the predicate that bitmaps answered
//! exactly is not evaluated again, and its columns are not read.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{
    FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::{Column, DynamicFilterTracking};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::{
    EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, conjunction, conjunction_opt,
};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use object_store::ObjectStore;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::RowSelection;
use roaring::RoaringBitmap;

use super::condition::{Conditions, Leaf};
use super::morsel::{FileReader, FileRows, Reader, file_reader};
use super::resident::ResidentScan;
use super::row_filter::{RowFilter, bits, coarse};
use super::rows::Context;
use crate::segment::SegmentMeta;

/// Scans segments, skipping what indexes exclude.
#[derive(Debug, Clone)]
pub(crate) struct IndexedSource {
    /// All columns of the table, without a predicate.
    root: ParquetSource,
    /// The requested columns, without a predicate.
    bare: ParquetSource,
    /// Filters that `bare` agreed to evaluate; all must hold.
    filters: Vec<Arc<dyn PhysicalExpr>>,
    context: Arc<Context>,
}

impl IndexedSource {
    /// A source over `bare`, which has no predicate.
    pub(crate) fn new(bare: ParquetSource, context: Arc<Context>) -> Self {
        Self { root: bare.clone(), bare, filters: Vec::new(), context }
    }

    /// Context for evaluating conditions.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Expressions of the output columns, over the table.
    pub(crate) fn projection_exprs(&self) -> Option<&ProjectionExprs> {
        self.bare.projection()
    }

    /// The predicate, split.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions::of(self.filter().as_ref())
    }

    /// The source that evaluates `filters`.
    fn filtered(&self, filters: &[Arc<dyn PhysicalExpr>]) -> ParquetSource {
        if filters.is_empty() {
            return self.bare.clone();
        }
        self.bare.with_predicate(conjunction(filters.iter().cloned()))
    }

    /// The same over another source, which a method of `bare` returned.
    fn over(&self, bare: &Arc<dyn FileSource>) -> Option<Arc<dyn FileSource>> {
        let bare = bare.downcast_ref::<ParquetSource>()?.clone();
        Some(Arc::new(Self { bare, ..self.clone() }))
    }

    /// Reads the wanted columns and those of `residual`, without a predicate. Also returns `residual` over the
    /// columns read, and the schema of the wanted columns.
    fn wide(
        &self,
        residual: &[Arc<dyn PhysicalExpr>],
        store: &Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Option<Wide>> {
        let Some(wanted) = self.bare.projection() else { return Ok(None) };
        let table = self.bare.table_schema().table_schema();
        let output = Arc::new(wanted.project_schema(table)?);
        let mut exprs: Vec<ProjectionExpr> = wanted.iter().cloned().collect();
        let residual = conjunction_opt(residual.iter().cloned())
            .map(|expr| {
                expr.transform(|node| {
                    let Some(column) = node.downcast_ref::<Column>() else {
                        return Ok(Transformed::no(node));
                    };
                    let place = exprs.len();
                    let name = format!("{} {place}", column.name());
                    exprs.push(ProjectionExpr::new(Arc::clone(&node), name.clone()));
                    Ok(Transformed::yes(Arc::new(Column::new(&name, place)) as _))
                })
                .data()
            })
            .transpose()?;
        let others = wanted.column_indices().len();
        let Some(source) = self.root.try_pushdown_projection(&ProjectionExprs::new(exprs))? else {
            return Ok(None);
        };
        // The limit counts rows after the filter, so it is not for this source.
        let config = FileScanConfigBuilder::from(config.clone()).with_limit(None).build();
        let reader = Reader::of(source.as_ref(), store, &config, partition)?;
        Ok(Some(Wide { reader, residual, output, others }))
    }
}

/// Reads files whose rows are filtered after decoding.
struct Wide {
    reader: Reader,
    residual: Option<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
    /// Number of wanted columns, without those only for filtering.
    others: usize,
}

impl FileSource for IndexedSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.bare.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<FileReader> {
        let full = Reader::of(&self.filtered(&self.filters), &store, config, partition)?;
        let opener = Opener {
            full,
            conditions: self.conditions(),
            metrics: IndexMetrics::new(self.bare.metrics(), partition),
            source: self.clone(),
            store,
            config: config.clone(),
            partition,
            plans: Mutex::default(),
        };
        let opener = Arc::new(opener);
        Ok(file_reader(move |file| FileRows::pending(Arc::clone(&opener).open(file))))
    }

    fn table_schema(&self) -> &TableSchema {
        self.bare.table_schema()
    }

    fn with_batch_size(&self, rows: usize) -> Arc<dyn FileSource> {
        let (root, bare) = (self.root.with_batch_size(rows), self.bare.with_batch_size(rows));
        match (root.downcast_ref::<ParquetSource>(), bare.downcast_ref::<ParquetSource>()) {
            (Some(root), Some(bare)) => {
                Arc::new(Self { root: root.clone(), bare: bare.clone(), ..self.clone() })
            }
            _ => bare,
        }
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.filtered(&self.filters).filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.bare.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.bare.metrics()
    }

    fn file_type(&self) -> &str {
        self.bare.file_type()
    }

    /// False: a segment is opened once, as columns in memory and answers of indexes cover all of its rows.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filtered(&self.filters).fmt_extra(t, f)
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.bare.reorder_files(files)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let answer = self.bare.try_pushdown_filters(filters.clone(), config)?;
        let verdicts = answer.filters;
        let accepted = filters.into_iter().zip(&verdicts).filter(|(_, v)| matches!(v, PushedDown::Yes));
        let all: Vec<_> = self.filters.iter().cloned().chain(accepted.map(|(filter, _)| filter)).collect();
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(verdicts);
        if all.len() == self.filters.len() {
            return Ok(propagation);
        }
        let source = Self { filters: all, ..self.clone() };
        Ok(propagation.with_updated_node(Arc::new(source) as _))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        use SortOrderPushdownResult::{Exact, Inexact, Unsupported};
        Ok(match self.bare.try_pushdown_sort(order, properties)? {
            Exact { inner } => self.over(&inner).map_or(Unsupported, |inner| Exact { inner }),
            Inexact { inner } => self.over(&inner).map_or(Unsupported, |inner| Inexact { inner }),
            Unsupported => Unsupported,
        })
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.bare.try_pushdown_projection(projection)?.and_then(|bare| self.over(&bare)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.filtered(&self.filters).apply_expressions(f)
    }
}

/// Metrics of indexes in EXPLAIN ANALYZE.
#[derive(Debug)]
struct IndexMetrics {
    looked_up: Count,
    answered: Count,
    skipped: Count,
    resident: Count,
    considered: Count,
    selected: Count,
}

impl IndexMetrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let count = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            looked_up: count("index_files_looked_up"),
            answered: count("index_files_answered"),
            skipped: count("index_files_skipped"),
            resident: count("files_read_from_memory"),
            considered: count("index_rows_considered"),
            selected: count("index_rows_selected"),
        }
    }

    /// Counts an index's answer for a segment. Returns true if any rows remain.
    fn selects(&self, rows: &RoaringBitmap, segment: &SegmentMeta) -> bool {
        self.considered.add(segment.rows as usize);
        self.selected.add(rows.len() as usize);
        self.skipped.add(usize::from(rows.is_empty()));
        !rows.is_empty()
    }
}

/// Opens the files of one partition.
struct Opener {
    source: IndexedSource,
    store: Arc<dyn ObjectStore>,
    config: FileScanConfig,
    partition: usize,
    /// Reads with the whole predicate.
    full: Reader,
    conditions: Conditions,
    metrics: IndexMetrics,
    /// Plans by which of the conditions bitmaps answered.
    plans: Mutex<HashMap<Vec<bool>, Arc<ReadPlan>>>,
}

/// Readers for files for which bitmaps answered the same part of the predicate.
struct ReadPlan {
    /// Conditions that bitmaps did not answer.
    residual: Vec<Arc<dyn PhysicalExpr>>,
    /// Evaluates `residual` while decoding.
    selected: Reader,
    /// Evaluates the whole predicate while decoding, `residual` first.
    ordered: Reader,
    /// Evaluates nothing: batches are filtered.
    wide: Option<Wide>,
}

impl ReadPlan {
    fn new(opener: &Opener, answered: &[bool]) -> Result<Self> {
        let Opener { source, store, config, partition, conditions, .. } = opener;
        let indexed = || conditions.indexed_exprs.iter().zip(answered);
        let unanswered = indexed().filter(|(_, answered)| !**answered).map(|(expr, _)| expr);
        let residual: Vec<_> = conditions.residual.iter().chain(unanswered).cloned().collect();
        let answered = indexed().filter(|(_, answered)| **answered).map(|(expr, _)| expr);
        let ordered: Vec<_> = residual.iter().chain(answered).cloned().collect();
        let ordered = source.filtered(&ordered).with_reorder_filters(false);
        Ok(Self {
            selected: Reader::of(&source.filtered(&residual), store, config, *partition)?,
            ordered: Reader::of(&ordered, store, config, *partition)?,
            wide: source.wide(&residual, store, config, *partition)?,
            residual,
        })
    }

    /// Reads `rows` of a `part` of a file, to which the answered part of the predicate narrowed it.
    fn open(
        &self,
        file: PartitionedFile,
        segment: &SegmentMeta,
        rows: &RoaringBitmap,
        part: &Range<u32>,
    ) -> Result<FileRows> {
        let total = segment.rows as usize;
        if rows.len() == segment.rows {
            return self.selected.read(file);
        }
        let columns = self.wide.as_ref().map_or(1, |wide| wide.others.max(1));
        // A piece of a selection costs about as much as decoding some 20 values.
        let few = (rows.len() as usize).saturating_mul(20) <= part.len().saturating_mul(columns);
        if few || rows.len() == part.len() as u64 {
            return self.selected.read(with_selection(file, selection(rows, total)));
        }
        let pieces = coarse(rows);
        let file = with_selection(file, RowSelection::from_consecutive_ranges(pieces.iter().cloned(), total));
        match &self.wide {
            Some(wide) if self.residual.is_empty() || self.is_cheap_to_decode(wide) => {
                let filter = RowFilter {
                    keep: bits(rows, &pieces)?,
                    residual: wide.residual.clone(),
                    output: Arc::clone(&wide.output),
                };
                Ok(filter.over(wide.reader.read(file)?))
            }
            _ => self.ordered.read(file),
        }
    }

    /// True if columns are too few for evaluating the rest of the predicate first to pay off.
    fn is_cheap_to_decode(&self, wide: &Wide) -> bool {
        let dynamic =
            |expr: &Arc<dyn PhysicalExpr>| DynamicFilterTracking::classify(expr).contains_dynamic_filter();
        wide.others <= 3 && !self.residual.iter().any(dynamic)
    }
}

impl Opener {
    async fn open(self: Arc<Self>, file: PartitionedFile) -> Result<FileRows> {
        let Some(segment) = file.extension::<Arc<SegmentMeta>>().cloned() else {
            return self.full.read(file);
        };
        if let Some(range) = &file.range {
            let message =
                format!("bytes {} to {} of {segment}", range.start, range.end, segment = segment.id);
            return Err(DataFusionError::Internal(format!(
                "cannot read {message}: a segment is read as a whole"
            )));
        }
        let context = self.source.context();
        let live = context.live(&segment).await?;
        let of_live = |rows: RoaringBitmap| match live.as_deref() {
            Some(live) => rows & live,
            None => rows,
        };
        if let Some(rows) = context.pages(&segment, &self.conditions.lookups).await {
            let rows = of_live(rows);
            self.metrics.looked_up.add(1);
            if !self.metrics.selects(&rows, &segment) {
                return Ok(FileRows::nothing());
            }
            // Whole pages: the predicate then selects their matching rows.
            return SegmentRead { file, segment, rows: Some(rows), plan: None }.read(self).await;
        }
        let Some((rows, answered)) = self.answer(&segment).await? else {
            let residual = conjunction_opt(self.source.filters.iter().cloned());
            if let Some(reading) = self.resident(&segment, residual.as_ref(), live.as_deref()).await? {
                return Ok(reading);
            }
            let rows = live.as_deref().cloned();
            return SegmentRead { file, segment, rows, plan: None }.read(self).await;
        };
        let rows = of_live(rows);
        self.metrics.answered.add(1);
        if !self.metrics.selects(&rows, &segment) {
            return Ok(FileRows::nothing());
        }
        let plan = self.plan(answered)?;
        let residual = conjunction_opt(plan.residual.iter().cloned());
        if let Some(reading) = self.resident(&segment, residual.as_ref(), Some(&rows)).await? {
            return Ok(reading);
        }
        SegmentRead { file, segment, rows: Some(rows), plan: Some(plan) }.read(self).await
    }

    /// Rows for which a part of the predicate is true by the bitmaps, and which conditions that part has; `None` if
    /// bitmaps have no answer.
    async fn answer(&self, segment: &Arc<SegmentMeta>) -> Result<Option<(RoaringBitmap, Vec<bool>)>> {
        let leaves: Vec<&Leaf> = self.conditions.indexed.iter().flat_map(|c| c.leaves()).collect();
        if leaves.is_empty() {
            return Ok(None);
        }
        let found = self.source.context().segment(segment, &leaves, false).await?;
        let mut rows: Option<RoaringBitmap> = None;
        let mut answered = Vec::with_capacity(self.conditions.indexed.len());
        for condition in &self.conditions.indexed {
            let of_one = found.all_true(std::slice::from_ref(condition))?;
            answered.push(of_one.is_some());
            rows = match (rows, of_one) {
                (Some(rows), Some(of_one)) => Some(rows & of_one),
                (rows, of_one) => rows.or(of_one),
            };
        }
        Ok(rows.map(|rows| (rows, answered)))
    }

    /// Opens a scan from memory, if all columns that it needs are in memory.
    async fn resident(
        &self,
        segment: &Arc<SegmentMeta>,
        residual: Option<&Arc<dyn PhysicalExpr>>,
        rows: Option<&RoaringBitmap>,
    ) -> Result<Option<FileRows>> {
        // With a limit few rows are read, wherever they are.
        let Some(projection) = self.source.bare.projection().filter(|_| self.config.limit.is_none()) else {
            return Ok(None);
        };
        let scan = ResidentScan::open(self.source.context(), segment, projection, residual, rows).await?;
        self.metrics.resident.add(usize::from(scan.is_some()));
        Ok(scan.map(ResidentScan::read))
    }

    fn plan(&self, answered: Vec<bool>) -> Result<Arc<ReadPlan>> {
        if let Some(plan) = self.plans.lock().get(&answered) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(ReadPlan::new(self, &answered)?);
        self.plans.lock().insert(answered, Arc::clone(&plan));
        Ok(plan)
    }
}

/// A read of a Parquet file.
struct SegmentRead {
    file: PartitionedFile,
    segment: Arc<SegmentMeta>,
    /// Rows to read; `None`: all.
    rows: Option<RoaringBitmap>,
    /// Plan, if bitmaps have answered a part of the predicate.
    plan: Option<Arc<ReadPlan>>,
}

impl SegmentRead {
    /// Reads it in parts of a limited size.
    async fn read(self, opener: Arc<Opener>) -> Result<FileRows> {
        match opener.source.context().parts(&self.segment, self.rows.as_ref()).await? {
            None => self.part(&opener, &(0..self.segment.rows as u32)),
            Some(parts) => Ok(FileRows::in_parts(parts, move |part| self.part(&opener, &part))),
        }
    }

    fn part(&self, opener: &Opener, part: &Range<u32>) -> Result<FileRows> {
        let total = self.segment.rows as usize;
        let file = self.file.clone();
        let rows = if part.len() == total {
            self.rows.clone()
        } else {
            let mut all = RoaringBitmap::new();
            all.insert_range(part.clone());
            Some(self.rows.as_ref().map_or_else(|| all.clone(), |rows| rows & &all))
        };
        match (&self.plan, rows) {
            (Some(plan), Some(rows)) => plan.open(file, &self.segment, &rows, part),
            (_, Some(rows)) => opener.full.read(with_selection(file, selection(&rows, total))),
            (_, None) => opener.full.read(file),
        }
    }
}

fn with_selection(file: PartitionedFile, selection: RowSelection) -> PartitionedFile {
    file.with_extension(ParquetAccessPlan::new(vec![RowGroupAccess::Selection(selection)]))
}

/// `rows` as a selection for the Parquet reader.
pub(super) fn selection(rows: &RoaringBitmap, total: usize) -> RowSelection {
    let mut iter = rows.iter();
    let ranges = std::iter::from_fn(|| iter.next_range().map(|r| *r.start() as usize..*r.end() as usize + 1));
    RowSelection::from_consecutive_ranges(ranges, total)
}
