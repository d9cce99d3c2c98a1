//! The table of events, as one statement sees it.
//!
//! Its columns are the core columns, `attributes`, `typed_attributes`, and one called `attributes['k']`
//! for each attribute `k` that the statement reads. Nothing else exists to the planner, however many
//! attributes there are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_schema::extension::Json;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::adapter::Demanded;
use super::functions::map_type;
use super::mixed::mark;
use super::prune::{self, Pruned};
use super::resolver::attribute_column;
use super::scan::{Scan, ScanShared};
use super::snapshot::ReadSnapshot;
use crate::catalog::{Fact, LoadedColumns};
use crate::event::{AttributeType, schema};

/// One occurrence of the table.
#[derive(Debug)]
pub(crate) struct EventsTable {
    snapshot: ReadSnapshot,
    shared: Arc<ScanShared>,
    demanded: Vec<Demanded>,
    schema: SchemaRef,
}

impl EventsTable {
    /// The table that shows the attributes `keys`.
    pub(crate) fn new(snapshot: ReadSnapshot, shared: Arc<ScanShared>, keys: &[String]) -> Self {
        let mut fields: Vec<Arc<Field>> = schema::core_schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(schema::ATTRIBUTES, map_type(), true)));
        let typed = Field::new(schema::TYPED_ATTRIBUTES, DataType::Utf8View, true);
        fields.push(Arc::new(typed.with_extension_type(Json::default())));
        let mut demanded = Vec::with_capacity(keys.len());
        for key in keys {
            let types = snapshot.keys.lookup(key).map(|attribute| attribute.types).unwrap_or_default();
            let mut field = Field::new(attribute_column(key), types.sql_type(), true);
            if types.iter().eq([AttributeType::Json]) {
                field = field.with_extension_type(Json::default());
            } else if types.is_mixed() {
                field = mark(field);
            }
            demanded.push(Demanded::new(key, &field));
            fields.push(Arc::new(field));
        }
        Self { snapshot, shared, demanded, schema: Arc::new(Schema::new(fields)) }
    }

    /// The attributes that it shows.
    pub(crate) fn demanded(&self) -> &[Demanded] {
        &self.demanded
    }

    /// What it reads.
    pub(crate) fn snapshot(&self) -> &ReadSnapshot {
        &self.snapshot
    }

    /// What all scans share.
    pub(crate) fn shared(&self) -> &Arc<ScanShared> {
        &self.shared
    }

    /// All columns.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl EventsTable {
    /// How many values the dictionary of the text `column` has, of each segment with events that `filters` may
    /// let through: `None` when the column is not in memory as one dictionary.
    pub(crate) fn dictionaries(&self, column: &str, filters: &[Expr]) -> impl Iterator<Item = Option<usize>> {
        let time = prune::time_range(filters);
        let demanded = self.demanded.iter().find(|demanded| demanded.column == column);
        let names = demanded.map_or_else(|| vec![column.to_owned()], |demanded| demanded.candidates.clone());
        let segments = self.snapshot.catalog.segments.iter();
        segments
            .filter(move |segment| prune::overlaps(segment.time, time))
            .map(move |segment| self.shared.columns.dictionary_len(segment.id, &names))
    }

    /// Leaves out the segments that, by the runs, have none of the values that `filters` look for.
    async fn ask_runs(&self, pruned: &mut Pruned, columns: &LoadedColumns, filters: &[Expr]) {
        let ReadSnapshot { catalog, store, .. } = &self.snapshot;
        if catalog.runs.is_empty() {
            return;
        }
        for lookup in prune::lookups(filters) {
            let demanded = self.demanded.iter().find(|d| d.column == lookup.column);
            let names = match (schema::core_index(&lookup.column), demanded) {
                (Some(_), _) => std::slice::from_ref(&lookup.column),
                (None, Some(demanded)) => demanded.lookup_names().unwrap_or_default(),
                (None, None) => &[],
            };
            let Some(hashes) = lookup.hashes().filter(|_| !names.is_empty()) else { continue };
            let mut answers = Vec::new();
            for name in names {
                for hash in &hashes {
                    let answer = catalog.runs.segments(store, &self.shared.indexes, name, *hash).await;
                    answers.push((name, answer));
                }
            }
            let before = pruned.kept.len();
            pruned.kept.retain(|segment| {
                let facts = columns.of(segment.id);
                let stored = |name: &String| facts.get(name) != Fact::Absent || facts.may_overflow(name);
                answers.iter().any(|(name, answer)| stored(name) && answer.may_have(segment.id))
            });
            pruned.by_index += before - pruned.kept.len();
        }
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        self.arrow_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Inexact, so that the filters' columns are in the projection; the physical plan moves what the
        // Parquet reader can evaluate into it.
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
            None => (0..self.schema.fields().len()).collect(),
        };
        let catalog = &self.snapshot.catalog;
        let columns = catalog.columns(&prune::columns(filters, &self.demanded)).await;
        let mut pruned = prune::prune(&catalog.segments, &columns, filters, &self.demanded);
        self.ask_runs(&mut pruned, &columns, filters).await;
        let time = prune::time_range(filters);
        let batches = self.snapshot.buffer.iter();
        let batches = batches.filter(|b| b.time_range().is_some_and(|t| prune::overlaps(t, time))).cloned();
        let columns = Arc::new(columns);
        Scan { table: self, pruned, columns, batches: batches.collect(), projection, limit }.plan()
    }
}
