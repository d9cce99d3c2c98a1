//! Reads the buffered events, with the same expressions as for files.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;

use super::adapter::AttributeAdapterFactory;
use super::statistics::statistics;
use crate::event::physical::{LayoutLimits, PhysicalLayout, RowOrder, Source};
use crate::event::{EventBatch, TimeRange, schema};

/// Rows in one output batch: the number of rows in a Parquet page.
const BATCH_ROWS: usize = 8192;

/// Yields buffered events as columns of the table.
#[derive(Debug)]
pub(crate) struct BufferExec {
    partitions: Vec<Vec<Arc<EventBatch>>>,
    table: SchemaRef,
    projected: SchemaRef,
    adapter: Arc<AttributeAdapterFactory>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl BufferExec {
    /// Reads the columns `projection` of `table` from `batches`, in at most `partitions` parts.
    pub(crate) fn new(
        batches: &[Arc<EventBatch>],
        partitions: usize,
        table: SchemaRef,
        projection: &[usize],
        adapter: Arc<AttributeAdapterFactory>,
    ) -> Result<Self> {
        let projected = Arc::new(table.project(projection)?);
        let count = partitions.clamp(1, batches.len().max(1));
        let mut parts: Vec<Vec<Arc<EventBatch>>> = vec![Vec::new(); count];
        let mut rows = vec![0; count];
        for batch in batches {
            let smallest = (0..count).min_by_key(|i| rows[*i]).unwrap_or(0);
            rows[smallest] += batch.rows();
            parts[smallest].push(Arc::clone(batch));
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&projected)),
            Partitioning::UnknownPartitioning(count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self {
            partitions: parts,
            table,
            projected,
            adapter,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    fn batches(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    fn rows(&self) -> usize {
        self.partitions.iter().flatten().map(|b| b.rows()).sum()
    }
}

/// Reads one batch as the columns `projected` of `table`.
fn read(
    batch: &Arc<EventBatch>,
    table: &Schema,
    projected: &SchemaRef,
    adapter: &AttributeAdapterFactory,
) -> Result<RecordBatch> {
    let batches = [Arc::clone(batch)];
    let layout = PhysicalLayout::decide(&batches, LayoutLimits::UNLIMITED);
    let order = RowOrder::as_arrived(&batches);
    let file = Arc::new(visible(&layout, batch, projected, adapter));
    let exprs = projected
        .fields()
        .iter()
        .map(|field| adapter.adapt(Arc::new(Column::new(field.name(), 0)), table, &file))
        .collect::<Result<Vec<_>>>()?;
    let used: HashSet<usize> = exprs.iter().flat_map(collect_columns).map(|c| c.index()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
    // Columns that no expression reads need not be materialised: leave them out, and renumber the columns in
    // the expressions.
    let kept: Vec<usize> = (0..file.fields().len()).filter(|i| used.contains(i)).collect();
    let narrow = Arc::new(file.project(&kept)?);
    let arrays = narrow
        .fields()
        .iter()
        .map(|field| {
            let column = layout.index_of(field.name()).unwrap_or_default();
            layout.materialize(column, &batches, &order).map_err(external)
        })
        .collect::<Result<Vec<_>>>()?;
    let physical = RecordBatch::try_new_with_options(Arc::clone(&narrow), arrays, &options)?;
    let columns = exprs
        .into_iter()
        .map(|expr| {
            let expr = datafusion::physical_expr::utils::reassign_expr_columns(expr, &narrow)?;
            expr.evaluate(&physical)?.into_array(batch.rows())
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(Arc::clone(projected), columns, &options)?)
}

fn external(e: crate::Error) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(e))
}

/// Physical columns of a batch, without the overflow if no demanded attribute is in it.
fn visible(
    layout: &PhysicalLayout,
    batch: &EventBatch,
    projected: &Schema,
    adapter: &AttributeAdapterFactory,
) -> Schema {
    let all = [schema::ATTRIBUTES, schema::TYPED_ATTRIBUTES].iter().any(|n| projected.index_of(n).is_ok());
    let names: HashSet<&str> = projected.fields().iter().map(|f| f.name().as_str()).collect();
    let overflow = all
        || adapter.candidates(&names).any(|key| {
            let held = usize::from(layout.index_of(&key.physical_name()).is_some());
            batch.attribute(&key).len() > held
        });
    let columns = layout.columns().iter().filter(|c| overflow || c.source != Source::Overflow);
    Schema::new(columns.map(|c| Arc::clone(&c.field)).collect::<Vec<_>>())
}

impl DisplayAs for BufferExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.projected.fields().iter().map(|c| c.name().as_str()).collect();
        write!(
            f,
            "BufferExec: batches={}, rows={}, projection=[{}]",
            self.batches(),
            self.rows(),
            columns.join(", ")
        )
    }
}

impl ExecutionPlan for BufferExec {
    fn name(&self) -> &'static str {
        "BufferExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.partitions.get(partition).cloned().unwrap_or_default();
        let (table, projected) = (Arc::clone(&self.table), Arc::clone(&self.projected));
        let adapter = Arc::clone(&self.adapter);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let stream = futures::stream::iter(batches).flat_map(move |batch| {
            let timer = metrics.elapsed_compute().timer();
            let read = read(&batch, &table, &projected, &adapter);
            timer.done();
            let slices: Vec<Result<RecordBatch>> = match read {
                Ok(rows) => slices(&rows).map(Ok).collect(),
                Err(e) => vec![Err(e)],
            };
            metrics.record_output(batch.rows());
            futures::stream::iter(slices)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.projected), stream)))
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let partitions = match args.partition() {
            Some(i) => self.partitions.get(i..=i).unwrap_or_default(),
            None => &self.partitions,
        };
        let rows = partitions.iter().flatten().map(|batch| batch.rows() as u64).sum();
        let ranges = partitions.iter().flatten().filter_map(|batch| batch.time_range());
        let time = ranges
            .reduce(|a, b| TimeRange { min_ns: a.min_ns.min(b.min_ns), max_ns: a.max_ns.max(b.max_ns) });
        Ok(Arc::new(statistics(&self.projected, rows, time)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn slices(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
    let batch = batch.clone();
    let rows = batch.num_rows();
    (0..rows).step_by(BATCH_ROWS).map(move |start| batch.slice(start, BATCH_ROWS.min(rows - start)))
}
