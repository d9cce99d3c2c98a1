//! Answers counts from bitmaps, without Parquet.
//!
//! `count(*)` by attributes with few values or by minute, with filters over such attributes, needs only
//! intersections of bitmaps and their sizes. A rule finds such aggregations in the physical plan and replaces the
//! partial aggregation and the scan below it by [`CountsExec`]. Segments whose bitmaps cannot answer, or are not in
//! memory yet, are aggregated by a scan.
//!
//! ```text
//! AggregateExec: Final                     AggregateExec: Final
//!   AggregateExec: Partial                   UnionExec
//!     EventsExec                     ──▶       CountsExec ── or, per segment: Partial ◀ EventsExec ◀ DataSourceExec
//!       UnionExec                              AggregateExec: Partial
//!         DataSourceExec                         EventsExec ◀ BufferExec
//!         BufferExec
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt};

use super::counting::{Counting, Totals};
use super::source::IndexedSource;
use crate::query::scan::events_exec::EventsExec;
use crate::segment::SegmentMeta;

/// Optimizer rule that replaces partial aggregations by [`CountsExec`] where possible.
#[derive(Debug)]
pub(crate) struct CountFromBitmaps;

impl PhysicalOptimizerRule for CountFromBitmaps {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            let Some(aggregate) = node.downcast_ref::<AggregateExec>() else {
                return Ok(Transformed::no(node));
            };
            Ok(match replace(aggregate)? {
                Some(counted) => Transformed::new(counted, true, TreeNodeRecursion::Jump),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "count_from_bitmaps"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Plan that computes `aggregate` with bitmaps; `None` if that is not possible.
fn replace(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(events) = aggregate.input().downcast_ref::<EventsExec>() else { return Ok(None) };
    match aggregate.mode() {
        AggregateMode::Partial => replace_partial(aggregate, events),
        // With one partition, partial and final aggregation are one node.
        AggregateMode::Single => {
            let partial = AggregateExec::try_new(
                AggregateMode::Partial,
                Arc::new(aggregate.group_expr().clone()),
                aggregate.aggr_expr().to_vec(),
                aggregate.filter_expr().to_vec(),
                Arc::clone(aggregate.input()),
                aggregate.input_schema(),
            )?
            .with_limit_options(aggregate.limit_options());
            let Some(counted) = replace_partial(&partial, events)? else { return Ok(None) };
            let counted: Arc<dyn ExecutionPlan> = match counted.output_partitioning().partition_count() {
                1 => counted,
                _ => Arc::new(CoalescePartitionsExec::new(counted)),
            };
            let merged = AggregateExec::try_new(
                AggregateMode::Final,
                Arc::new(aggregate.group_expr().as_final()),
                aggregate.aggr_expr().to_vec(),
                vec![None; aggregate.aggr_expr().len()],
                counted,
                aggregate.input_schema(),
            )?;
            Ok(Some(Arc::new(merged)))
        }
        _ => Ok(None),
    }
}

fn replace_partial(partial: &AggregateExec, events: &EventsExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let union = events.child().downcast_ref::<UnionExec>();
    let (files, rest) = match union.map(|union| union.inputs().as_slice()) {
        Some([files, rest @ ..]) => (files, rest),
        Some([]) => return Ok(None),
        None => (events.child(), &[] as &[_]),
    };
    let Some(scan) = files.downcast_ref::<DataSourceExec>() else { return Ok(None) };
    let Some((config, source)) = scan.downcast_to_file_source::<IndexedSource>() else { return Ok(None) };
    let Some(counting) = Counting::of(partial, config, source)? else { return Ok(None) };
    let over_files = over(partial, events.over(Arc::clone(files)))?;
    let counts = CountsExec::new(over_files, events.clone(), config.clone(), Arc::new(counting));
    let mut parts: Vec<Arc<dyn ExecutionPlan>> = vec![Arc::new(counts)];
    for other in rest {
        parts.push(over(partial, Arc::clone(other))?);
    }
    Ok(Some(match parts.len() {
        1 => parts.swap_remove(0),
        _ => UnionExec::try_new(parts)?,
    }))
}

/// `partial` with another input.
fn over(partial: &AggregateExec, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(AggregateExec::try_new(
        AggregateMode::Partial,
        Arc::new(partial.group_expr().clone()),
        partial.aggr_expr().to_vec(),
        partial.filter_expr().to_vec(),
        input,
        partial.input_schema(),
    )?))
}

/// A partial aggregation, answered from bitmaps where possible, else by `fallback`.
#[derive(Debug)]
pub(crate) struct CountsExec {
    /// The aggregation of all files, as it would be without bitmaps.
    fallback: Arc<dyn ExecutionPlan>,
    events: EventsExec,
    config: FileScanConfig,
    counting: Arc<Counting>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl CountsExec {
    fn new(
        fallback: Arc<dyn ExecutionPlan>,
        events: EventsExec,
        config: FileScanConfig,
        counting: Arc<Counting>,
    ) -> Self {
        let partitioning = fallback.output_partitioning().clone();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(fallback.schema()),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(partitioning.partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Self { fallback, events, config, counting, properties, metrics }
    }

    fn with_fallback(&self, fallback: Arc<dyn ExecutionPlan>) -> Arc<Self> {
        Arc::new(Self::new(fallback, self.events.clone(), self.config.clone(), Arc::clone(&self.counting)))
    }

    /// The fallback for some files only.
    fn fallback_of(&self, files: Vec<PartitionedFile>) -> Result<Arc<dyn ExecutionPlan>> {
        let config = FileScanConfigBuilder::from(self.config.clone())
            .with_file_groups(vec![FileGroup::new(files)])
            .build();
        let scan = self.events.over(DataSourceExec::from_data_source(config));
        match self.fallback.downcast_ref::<AggregateExec>() {
            Some(partial) => over(partial, scan),
            None => Err(DataFusionError::Internal("the fallback is not an aggregation".to_owned())),
        }
    }
}

impl DisplayAs for CountsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.counting.group_exprs().map(ToString::to_string).collect();
        write!(f, "CountsExec: from bitmaps where they are, groups=[{}]", groups.join(", "))
    }
}

impl ExecutionPlan for CountsExec {
    fn name(&self) -> &'static str {
        "CountsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.fallback]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(fallback) => self.with_fallback(fallback),
            None => self,
        })
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(fallback) => self.with_fallback(fallback),
            None => self,
        })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let files: Vec<PartitionedFile> =
            self.config.file_groups.get(partition).map(|g| g.files().to_vec()).unwrap_or_default();
        let counter = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        let (answered, scanned): (Count, Count) = (counter("segments_counted"), counter("segments_scanned"));
        let this = self.with_fallback(Arc::clone(&self.fallback));
        let stream = futures::stream::once(async move {
            let mut totals = Totals::default();
            let mut unanswered = Vec::new();
            for file in files {
                let done = match file.extension::<Arc<SegmentMeta>>() {
                    Some(segment) => this.counting.add(segment, &mut totals).await?,
                    None => false,
                };
                if done {
                    answered.add(1);
                } else {
                    scanned.add(1);
                    unanswered.push(file);
                }
            }
            let counted = futures::stream::iter(totals.batch(&this.counting)?.map(Ok));
            if unanswered.is_empty() {
                return Ok(counted.boxed());
            }
            let rest = this.fallback_of(unanswered)?.execute(0, context)?;
            Ok::<_, DataFusionError>(counted.chain(rest).boxed())
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.fallback.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
