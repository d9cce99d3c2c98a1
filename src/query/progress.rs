//! How far is a statement that runs?

use std::fmt;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;

/// Progress of a statement; cheap to clone. Of a statement that reads no events it stays at zero.
#[derive(Clone, Default)]
pub struct Progress {
    plan: Option<Arc<dyn ExecutionPlan>>,
    snapshot: Option<u64>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("read", &self.read()).finish_non_exhaustive()
    }
}

/// Counts of what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Rows that scans gave to the rest of the plan.
    pub rows: u64,
    /// Bytes read from segments; what was in memory is not among them.
    pub bytes: u64,
    /// Segments that were not left out; one that is scanned twice counts twice.
    pub segments: u64,
    /// Segments that there are, counted in the same way.
    pub segments_total: u64,
}

impl Progress {
    /// Progress of the execution of `plan`, which reads no database.
    pub(crate) fn of(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self { plan: Some(plan), snapshot: None }
    }

    /// The same of a plan that reads version `snapshot` of the catalog.
    pub(crate) fn reading(self, snapshot: u64) -> Self {
        Self { snapshot: Some(snapshot), ..self }
    }

    /// Version of the catalog that the statement reads; `None` if it reads no database.
    pub fn snapshot(&self) -> Option<u64> {
        self.snapshot
    }

    /// Counts of what was read up to now. Takes time in proportion to the size of the plan.
    pub fn read(&self) -> ReadCounts {
        let mut counts = ReadCounts::default();
        let mut due: Vec<&Arc<dyn ExecutionPlan>> = self.plan.iter().collect();
        while let Some(plan) = due.pop() {
            let children = plan.children();
            if let Some(metrics) = plan.metrics() {
                counts.add(&metrics, children.is_empty());
            }
            due.extend(children);
        }
        counts
    }
}

impl ReadCounts {
    fn add(&mut self, metrics: &MetricsSet, is_leaf: bool) {
        let of = |name: &str| metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64);
        self.bytes += of("bytes_scanned");
        let considered = of("segments_considered");
        let left_out =
            of("segments_pruned_by_time") + of("segments_pruned_by_columns") + of("segments_pruned_by_index");
        self.segments_total += considered;
        self.segments += considered.saturating_sub(left_out);
        if is_leaf {
            self.rows += metrics.output_rows().unwrap_or(0) as u64;
        }
    }
}
