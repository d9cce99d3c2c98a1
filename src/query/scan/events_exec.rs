//! The top of every scan: says in EXPLAIN which segments were left out.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, ChildPushdownResult, FilterDescription, FilterPushdownPhase,
    FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};

use super::prune::Pruned;

/// Passes its child through; says in EXPLAIN which segments were left out.
#[derive(Debug, Clone)]
pub(crate) struct EventsExec {
    child: Arc<dyn ExecutionPlan>,
    kept: usize,
    considered: usize,
    by_time: usize,
    by_columns: usize,
    by_index: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl EventsExec {
    /// Passes through `child`, which reads the segments that `pruned` kept.
    pub(super) fn new(child: Arc<dyn ExecutionPlan>, pruned: &Pruned) -> Self {
        let metrics = ExecutionPlanMetricsSet::new();
        let counts = [
            ("segments_considered", pruned.considered),
            ("segments_pruned_by_time", pruned.by_time),
            ("segments_pruned_by_columns", pruned.by_columns),
            ("segments_pruned_by_index", pruned.by_index),
        ];
        for (name, count) in counts {
            MetricBuilder::new(&metrics).global_counter(name).add(count);
        }
        Self {
            child,
            kept: pruned.kept.len(),
            considered: pruned.considered,
            by_time: pruned.by_time,
            by_columns: pruned.by_columns,
            by_index: pruned.by_index,
            metrics,
        }
    }

    /// Plan whose rows are passed through.
    pub(crate) fn child(&self) -> &Arc<dyn ExecutionPlan> {
        &self.child
    }

    /// The same over another child.
    pub(crate) fn over(&self, child: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { child, ..self.clone() })
    }
}

impl DisplayAs for EventsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, considered, by_time, by_columns, by_index, .. } = self;
        write!(
            f,
            "EventsExec: segments={kept}/{considered}, pruned_by_time={by_time}, \
             pruned_by_columns={by_columns}, pruned_by_index={by_index}"
        )
    }
}

impl ExecutionPlan for EventsExec {
    fn name(&self) -> &'static str {
        "EventsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.child.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.child]
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
            Some(child) => self.over(child),
            None => self,
        })
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(child) => self.over(child),
            None => self,
        })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.child.execute(partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let unknown = || Arc::new(Statistics::new_unknown(&self.schema()));
        Ok(inputs.first().cloned().unwrap_or_else(unknown))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        Ok(self.child.try_swapping_with_projection(projection)?.map(|child| self.over(child)))
    }

    /// Keeps filters on nested columns above the scan: the Parquet reader promises to apply some of them, but
    /// cannot do so for every file.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let fields = self.child.schema();
        let flat = fields.fields().iter().enumerate().filter(|(_, f)| !f.data_type().is_nested());
        let allowed = flat.map(|(i, _)| i).collect();
        let child = ChildFilterDescription::from_child_with_allowed_indices(&filters, allowed, &self.child)?;
        Ok(FilterDescription::new().with_child(child))
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        Ok(match self.child.try_pushdown_sort(order)? {
            SortOrderPushdownResult::Exact { inner } => {
                SortOrderPushdownResult::Exact { inner: self.over(inner) }
            }
            SortOrderPushdownResult::Inexact { inner } => {
                SortOrderPushdownResult::Inexact { inner: self.over(inner) }
            }
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }
}
