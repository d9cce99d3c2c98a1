//! Which relations do clients find? `events` and the views, with attributes as columns, in `pg_catalog` and
//! `information_schema`.
//!
//! Clients of PostgreSQL find tables, columns and types by SQL over these relations. Such a statement runs in a session of
//! its own, on tables in memory: [`relations`] asks which columns there are, [`tables`] lists them as PostgreSQL does.
//! Relations about things that do not exist here, such as triggers, are empty. [`rewrite`] turns what PostgreSQL's
//! dialect has and DataFusion's has not (`::regclass`, `OPERATOR(pg_catalog.~)`) into something that it has.
//!
//! A statement is about the catalogue if a relation of it is, or if it has no relation and calls a function of sessions,
//! such as `version()`. All others are answered as over HTTP.

mod concerns;
mod functions;
mod relations;
mod rewrite;
mod syntax;
mod tables;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider,
};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use parking_lot::Mutex;

pub(super) use concerns::concerns;

use super::settings::Settings;
use crate::error::Result;
use crate::event::{AttributeKey, TypeSet};
use crate::query::language::{parse_postgres, with_stack};
use crate::query::{Prepared, Progress, QueryResult, Question, prepared};
use crate::server::gate::Caller;
pub(super) use rewrite::Arrays;
use tables::Tables;

/// Name of the one database.
const DATABASE: &str = "broadloom";
/// Schema of relations that are named without one.
const PG_CATALOG: &str = "pg_catalog";
/// Schema of the SQL standard.
const INFORMATION_SCHEMA: &str = "information_schema";

/// Attribute keys, and the session that was made for them.
type Made = (Vec<(AttributeKey, TypeSet)>, Session);

/// The relations that clients find; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Catalogue {
    caller: Caller,
    made: Arc<Mutex<Option<Made>>>,
}

/// A session over tables in memory.
#[derive(Debug, Clone)]
struct Session {
    state: Arc<SessionState>,
    tables: Arc<Tables>,
}

impl Catalogue {
    /// The catalogue of what `caller` may see.
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, made: Arc::default() }
    }

    /// Runs a statement about the catalogue.
    pub(super) fn query(
        &self,
        question: Question,
        settings: &Settings,
    ) -> impl Future<Output = Result<QueryResult>> + Send + 'static {
        let (catalogue, settings) = (self.clone(), settings.clone());
        async move {
            let session = catalogue.session().await?;
            let (mut plan, _) = session.plan(&question.ask.to_string(), &settings).await?;
            if !question.params.is_empty() {
                let values: Vec<ScalarValue> = question.params.iter().map(ScalarValue::from).collect();
                plan = plan.with_param_values(ParamValues::from(values))?;
            }
            let physical = session.state.create_physical_plan(&plan).await?;
            let progress = Progress::of(Arc::clone(&physical));
            let stream = execute_stream(physical, session.state.task_ctx())?;
            let schema = shown(&stream.schema());
            Ok(QueryResult { schema, stream, warnings: Vec::new(), progress })
        }
    }

    /// Plans a statement about the catalogue, as [`Engine::prepare`](crate::query::Engine::prepare) does others.
    pub(super) fn prepare(
        &self,
        sql: &str,
        declared: Vec<Option<DataType>>,
        settings: &Settings,
    ) -> impl Future<Output = Result<(Prepared, Arrays)>> + Send + 'static {
        let (catalogue, sql, settings) = (self.clone(), sql.to_owned(), settings.clone());
        async move {
            let session = catalogue.session().await?;
            let (plan, arrays) = session.plan(&sql, &settings).await?;
            let mut prepared = prepared(plan, &declared, |plan| session.state.optimize(&plan))?;
            prepared.columns = prepared.columns.map(|schema| shown(&schema));
            Ok((prepared, arrays))
        }
    }

    /// The session for what is stored now.
    async fn session(&self) -> Result<Session> {
        let mut keys = self.caller.attributes()?;
        keys.sort_by(|(a, _), (b, _)| (&a.key, a.level as u8).cmp(&(&b.key, b.level as u8)));
        if let Some((of, session)) = self.made.lock().as_ref()
            && *of == keys
        {
            return Ok(session.clone());
        }
        let relations = relations::all(&self.caller, &keys).await?;
        let session = Session::new(Tables::new(&relations)?)?;
        *self.made.lock() = Some((keys, session.clone()));
        Ok(session)
    }
}

/// Columns with the names that clients see.
fn shown(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| field.as_ref().clone().with_name(rewrite::shown_name(field.name()));
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

impl Session {
    fn new(tables: Tables) -> Result<Self> {
        let catalog = MemoryCatalogProvider::new();
        for schema in [PG_CATALOG, INFORMATION_SCHEMA] {
            let provider = MemorySchemaProvider::new();
            for (name, batch) in tables.of(schema) {
                let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?;
                provider.register_table(name.to_owned(), Arc::new(table))?;
            }
            catalog.register_schema(schema, Arc::new(provider))?;
        }
        let catalogs = MemoryCatalogProviderList::new();
        datafusion::catalog::CatalogProviderList::register_catalog(
            &catalogs,
            DATABASE.to_owned(),
            Arc::new(catalog),
        );
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(DATABASE, PG_CATALOG);
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_catalog_list(Arc::new(catalogs))
            .build();
        for function in functions::all(&tables) {
            state.register_udf(function)?;
        }
        Ok(Self { state: Arc::new(state), tables: Arc::new(tables) })
    }

    async fn plan(&self, sql: &str, settings: &Settings) -> Result<(LogicalPlan, Arrays)> {
        let (statement, arrays) = with_stack(|| {
            let mut statement = parse_postgres(sql)?;
            let arrays = rewrite::rewrite(&mut statement, settings, &self.tables);
            Ok::<_, crate::Error>((statement, arrays))
        })?;
        Ok((self.state.statement_to_plan(statement).await?, arrays))
    }
}
