//! A Parquet source that asks the indexes when it opens a file.
//!
//! It is DataFusion's own source with one step before each file: the rows that can match become a row
//! selection, which the Parquet reader skips by, page by page. Where bitmaps answered a part of the
//! predicate exactly, that part is not evaluated again, and its columns are not read.

use std::fmt;
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
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, DynamicFilterTracking};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::{
    EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, conjunction, conjunction_opt,
};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::RowSelection;
use roaring::RoaringBitmap;

use super::condition::{Conditions, Leaf};
use super::masked::{Mask, MaskedPlanner, bits, coarse};
use super::rows::Context;
use crate::segment::SegmentMeta;

/// Scans segments, skipping what indexes exclude.
#[derive(Debug, Clone)]
pub(crate) struct IndexedSource {
    /// All columns of the table, without a predicate.
    root: ParquetSource,
    /// The columns that are asked for, without a predicate.
    bare: ParquetSource,
    /// What `bare` agreed to evaluate; all must hold.
    filters: Vec<Arc<dyn PhysicalExpr>>,
    context: Arc<Context>,
}

impl IndexedSource {
    /// A source over `bare`, which has no predicate.
    pub(crate) fn new(bare: ParquetSource, context: Arc<Context>) -> Self {
        Self { root: bare.clone(), bare, filters: Vec::new(), context }
    }

    /// What evaluating conditions needs.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// What the columns of the output are, over the table.
    pub(crate) fn projection_exprs(&self) -> Option<&ProjectionExprs> {
        self.bare.projection()
    }

    /// The predicate, taken apart.
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

    /// The same over another source, which a method of `bare` gave.
    fn over(&self, bare: &Arc<dyn FileSource>) -> Option<Arc<dyn FileSource>> {
        let bare = bare.downcast_ref::<ParquetSource>()?.clone();
        Some(Arc::new(Self { bare, ..self.clone() }))
    }

    /// Reads the wanted columns and those of `residual`, without a predicate. Returns also `residual` over
    /// what is read, and the schema of the wanted columns.
    fn masked(
        &self,
        residual: &[Arc<dyn PhysicalExpr>],
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Option<Masked>> {
        let Some(wanted) = self.bare.projection() else { return Ok(None) };
        let table = self.bare.table_schema().table_schema();
        let output = Arc::new(wanted.project_schema(table)?);
        let mut exprs: Vec<ProjectionExpr> = wanted.iter().cloned().collect();
        let residual = conjunction_opt(residual.iter().cloned())
            .map(|expr| {
                expr.transform(|node| {
                    let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
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
        let morselizer = source.create_morselizer(store, &config, partition)?;
        Ok(Some(Masked { morselizer, residual, output, others }))
    }
}

/// How a file is read whose rows are filtered after decoding.
struct Masked {
    morselizer: Box<dyn Morselizer>,
    residual: Option<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
    /// Columns that are wanted, apart from filtering.
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
    ) -> Result<Box<dyn Morselizer>> {
        let full = self.filtered(&self.filters).create_morselizer(Arc::clone(&store), config, partition)?;
        if self.filters.is_empty() {
            return Ok(full);
        }
        let conditions = self.conditions();
        let residual =
            self.filtered(&conditions.residual).create_morselizer(Arc::clone(&store), config, partition)?;
        // What may leave few rows first, then what bitmaps say leaves many.
        let ordered: Vec<_> = conditions.residual.iter().chain(&conditions.indexed_exprs).cloned().collect();
        let ordered = self.filtered(&ordered).with_reorder_filters(false);
        let ordered = ordered.create_morselizer(Arc::clone(&store), config, partition)?;
        let masked = self.masked(&conditions.residual, store, config, partition)?;
        let metrics = IndexMetrics::new(self.bare.metrics(), partition);
        let context = Arc::clone(&self.context);
        let opener = Opener { full, residual, ordered, masked, conditions, context, metrics };
        Ok(Box::new(IndexedMorselizer(Arc::new(opener))))
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

/// What EXPLAIN ANALYZE says of indexes.
#[derive(Debug)]
struct IndexMetrics {
    answered: Count,
    skipped: Count,
    considered: Count,
    selected: Count,
}

impl IndexMetrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let count = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            answered: count("index_files_answered"),
            skipped: count("index_files_skipped"),
            considered: count("index_rows_considered"),
            selected: count("index_rows_selected"),
        }
    }
}

struct IndexedMorselizer(Arc<Opener>);

impl fmt::Debug for IndexedMorselizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedMorselizer").finish_non_exhaustive()
    }
}

impl Morselizer for IndexedMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        Ok(Box::new(Ask { opener: Arc::clone(&self.0), file }))
    }
}

/// Opens the files of one partition.
struct Opener {
    /// With the whole predicate.
    full: Box<dyn Morselizer>,
    /// With what bitmaps cannot answer.
    residual: Box<dyn Morselizer>,
    /// With the whole predicate, what bitmaps cannot answer first.
    ordered: Box<dyn Morselizer>,
    /// With no predicate: batches are filtered.
    masked: Option<Masked>,
    conditions: Conditions,
    context: Arc<Context>,
    metrics: IndexMetrics,
}

impl Opener {
    async fn open(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let Some(segment) = file.extension::<Arc<SegmentMeta>>().cloned() else {
            return self.full.plan_file(file);
        };
        let leaves: Vec<&Leaf> = self.conditions.indexed.iter().flat_map(|c| c.leaves()).collect();
        if leaves.is_empty() {
            return self.full.plan_file(file);
        }
        let found = self.context.segment(&segment, &leaves, false).await?;
        let mut rows: Option<RoaringBitmap> = None;
        let mut exact = true;
        for condition in &self.conditions.indexed {
            match found.all_true(std::slice::from_ref(condition))? {
                Some(of_one) => rows = Some(rows.map_or_else(|| of_one.clone(), |rows| rows & &of_one)),
                None => exact = false,
            }
        }
        let Some(rows) = rows else { return self.full.plan_file(file) };
        self.metrics.answered.add(1);
        self.metrics.considered.add(segment.rows as usize);
        self.metrics.selected.add(rows.len() as usize);
        if rows.is_empty() {
            self.metrics.skipped.add(1);
            return Ok(Box::new(Nothing));
        }
        if rows.len() == segment.rows {
            let rest = if exact { &self.residual } else { &self.full };
            return rest.plan_file(file);
        }
        self.open_some(file, &segment, &rows, exact)
    }

    /// Reads `rows` of a file; where they are many, more of it. `exact` says that the indexed part of the
    /// predicate needs no evaluation on them.
    fn open_some(
        &self,
        file: PartitionedFile,
        segment: &SegmentMeta,
        rows: &RoaringBitmap,
        exact: bool,
    ) -> Result<Box<dyn MorselPlanner>> {
        let total = segment.rows as usize;
        let others = self.masked.as_ref().map_or(1, |masked| masked.others);
        // A piece of a selection costs about as much as decoding some 20 values.
        let few = (rows.len() as usize).saturating_mul(20) <= total.saturating_mul(others.max(1));
        if few {
            let rest = if exact { &self.residual } else { &self.full };
            return rest.plan_file(with_selection(file, selection(rows, total)));
        }
        let pieces = coarse(rows);
        let wide = RowSelection::from_consecutive_ranges(pieces.iter().cloned(), total);
        if !exact {
            return self.full.plan_file(with_selection(file, wide));
        }
        match &self.masked {
            Some(masked) if self.conditions.residual.is_empty() || self.is_cheap_to_decode(masked) => {
                let mask = Mask {
                    keep: bits(rows, &pieces),
                    residual: masked.residual.clone(),
                    output: Arc::clone(&masked.output),
                };
                let inner = masked.morselizer.plan_file(with_selection(file, wide))?;
                Ok(Box::new(MaskedPlanner { inner, mask: Arc::new(mask) }))
            }
            _ => self.ordered.plan_file(with_selection(file, wide)),
        }
    }

    /// Whether columns are so few that nothing is gained by evaluating the rest of the predicate first.
    fn is_cheap_to_decode(&self, masked: &Masked) -> bool {
        let dynamic = |expr: &Arc<dyn PhysicalExpr>| {
            DynamicFilterTracking::classify(expr).contains_dynamic_filter()
        };
        masked.others <= 3 && !self.conditions.residual.iter().any(dynamic)
    }
}

fn with_selection(file: PartitionedFile, selection: RowSelection) -> PartitionedFile {
    file.with_extension(ParquetAccessPlan::new(vec![RowGroupAccess::Selection(selection)]))
}

/// `rows` as what the Parquet reader understands.
pub(super) fn selection(rows: &RoaringBitmap, total: usize) -> RowSelection {
    let mut iter = rows.iter();
    let ranges = std::iter::from_fn(|| iter.next_range().map(|r| *r.start() as usize..*r.end() as usize + 1));
    RowSelection::from_consecutive_ranges(ranges, total)
}

/// Before a file is opened.
struct Ask {
    opener: Arc<Opener>,
    file: PartitionedFile,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("file", &self.file.object_meta.location).finish_non_exhaustive()
    }
}

impl MorselPlanner for Ask {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { opener, file } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(async move { opener.open(file).await })))
    }
}

/// A file of which no row can match.
#[derive(Debug)]
struct Nothing;

impl MorselPlanner for Nothing {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(None)
    }
}
