//! The table of events in one statement: an [`occurrence`](super::occurrence) as DataFusion's table provider.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::occurrence::{Occurrence, ScanShared};
use super::plan::Scan;
use super::prune::{self, Pruned};
use crate::catalog::{Fact, LoadedColumns};
use crate::query::snapshot::ReadSnapshot;

/// One occurrence of the table.
#[derive(Debug)]
pub(crate) struct EventsTable(Occurrence);

impl EventsTable {
    /// The table that shows the attributes `keys`.
    pub(crate) fn new(snapshot: ReadSnapshot, shared: Arc<ScanShared>, keys: &[String]) -> Self {
        Self(Occurrence::new(snapshot, shared, keys))
    }
}

impl EventsTable {
    /// Number of values in the dictionary of the text `column`, for each segment with events that may match
    /// `filters`; `None` if the column is not in memory as one dictionary.
    pub(crate) fn dictionaries(&self, column: &str, filters: &[Expr]) -> impl Iterator<Item = Option<usize>> {
        let time = prune::time_range(filters);
        let demanded = self.0.demanded.iter().find(|demanded| demanded.column == column);
        let names = demanded.map_or_else(|| vec![column.to_owned()], |demanded| demanded.candidates.clone());
        let segments = self.0.snapshot.catalog.segments.iter();
        segments
            .filter(move |segment| prune::overlaps(segment.time, time))
            .map(move |segment| self.0.shared.columns.dictionary_len(segment.id, &names))
    }

    /// Drops segments that, by the runs, have none of the values that `filters` look for.
    async fn ask_runs(&self, pruned: &mut Pruned, columns: &LoadedColumns, filters: &[Expr]) {
        let ReadSnapshot { catalog, store, .. } = &self.0.snapshot;
        if catalog.runs.is_empty() {
            return;
        }
        for lookup in prune::lookups(filters) {
            let demanded = self.0.demanded.iter().find(|d| d.column == lookup.column);
            let names = match (lookup.core_column(), demanded) {
                (Some(_), _) => std::slice::from_ref(&lookup.column),
                (None, Some(demanded)) => demanded.lookup_names().unwrap_or_default(),
                (None, None) => &[],
            };
            let Some(hashes) = lookup.hashes().filter(|_| !names.is_empty()) else { continue };
            let mut answers = Vec::new();
            for name in names {
                for hash in &hashes {
                    let answer = catalog.runs.segments(store, &self.0.shared.indexes, name, *hash).await;
                    answers.push((name, answer));
                }
            }
            let before = pruned.kept.len();
            pruned.kept.retain(|segment| {
                let facts = columns.of(segment.id);
                let stored = |name: &String| {
                    let name = lookup.core_column().unwrap_or(name);
                    facts.get(name) != Fact::Absent || facts.may_overflow(name)
                };
                answers.iter().any(|(name, answer)| stored(name) && answer.may_have(segment.id))
            });
            pruned.by_index += before - pruned.kept.len();
        }
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Inexact keeps the filters' columns in the projection; the physical plan moves the filters that the
        // Parquet reader can evaluate into the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.0.schema.fields().len()).collect(),
        };
        let catalog = &self.0.snapshot.catalog;
        let columns = catalog.columns(&prune::columns(filters, &self.0.demanded)).await;
        let mut pruned = prune::prune(&catalog.segments, &columns, filters, &self.0.demanded);
        self.ask_runs(&mut pruned, &columns, filters).await;
        let time = prune::time_range(filters);
        let batches = self.0.snapshot.buffer.iter();
        let batches = batches.filter(|b| b.time_range().is_some_and(|t| prune::overlaps(t, time))).cloned();
        let columns = Arc::new(columns);
        Scan { occurrence: &self.0, pruned, columns, batches: batches.collect(), projection, limit }.plan()
    }
}
