//! Runs statements.
//!
//! Each statement runs in its own session, made from shared parts and bound to one [`ReadSnapshot`]. Its data
//! does not change while it runs, and it leaves no state behind. The session's catalog is
//! [`SnapshotSchema`], which provides a table for every name that the resolver gives to an occurrence of
//! `events`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::information_schema::{
    INFORMATION_SCHEMA, INFORMATION_SCHEMA_TABLES, InformationSchemaProvider,
};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{
    RecordBatchStream, SendableRecordBatchStream, SessionState, SessionStateBuilder,
};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::Analyzer;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::{Stream, StreamExt};
use tokio::sync::OnceCell;
use tokio::time::Sleep;

use super::answer::QueryResult;
use super::complete::{Vocabulary, core_names, keys_written};
use super::diff;
use super::discovery::{self, ATTRIBUTE_FACTS, AttributeFacts};
use super::estimate;
use super::functions;
use super::indexed::column_cache::{Asks, ColumnCache};
use super::indexed::counts_exec::CountFromBitmaps;
use super::indexed::parts;
use super::language::{Ask, build};
use super::plan::arithmetic::CheckedArithmetic;
use super::plan::calculate;
use super::plan::casts::Casts;
use super::plan::group_by_codes::GroupByCodes;
use super::plan::nested::JsonText;
use super::plan::rewrite::{RewriteRule, rewrite_plan};
use super::plan::yields::YieldInJoins;
use super::progress::Progress;
use super::question::Question;
use super::resolve::{EVENTS, ResolveContext, Resolved, decode_table_name, resolve};
use super::scan::metadata::MetadataCache;
use super::scan::occurrence::ScanShared;
use super::scan::table::EventsTable;
use super::series;
use super::snapshot::ReadSnapshot;
use super::trees;
use super::views::Views;
use crate::config::QuerySettings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{AttributeType, KeyDictionary};
use crate::index::IndexCache;

/// Name of the catalog in `information_schema`.
const CATALOG: &str = "broadloom";
/// Name of the schema of events and views.
const SCHEMA: &str = "public";
/// Number of the largest memory consumers that an error names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(2);
/// Functions that the planner knows although no registry lists them.
const PLANNED_FUNCTIONS: [&str; 13] = [
    "estimate",
    "grouping",
    "unnest",
    "extract",
    "position",
    "substring",
    "overlay",
    "struct",
    "row",
    "make_array",
    "map",
    "trim",
    "ceil",
];

/// Result of planning a statement without running it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Names and types of its columns.
    pub schema: SchemaRef,
    /// Warnings for the author of a statement that works.
    pub warnings: Vec<String>,
}

/// State that all statements of a database share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Session state that is complete except for its catalog.
    template: SessionState,
    /// The same without the stand-ins that replace functions while a statement is planned.
    plain: SessionState,
    shared: Arc<ScanShared>,
    views: Views,
    functions: Vec<String>,
    table_functions: Vec<String>,
    /// Columns of the tables beside events and views.
    tables: OnceCell<BTreeMap<String, Vec<String>>>,
}

impl Engine {
    /// Creates an engine that keeps within `settings`, opens indexes through `indexes`, and spills to the
    /// directory `spill`, which it creates.
    pub fn new(
        settings: &QuerySettings,
        indexes: Arc<IndexCache>,
        spill: impl Into<PathBuf>,
    ) -> Result<Self> {
        let parallelism = settings.parallelism.max(1);
        let plain = template(runtime(settings, spill.into())?, parallelism);
        let mut template = plain.clone();
        calculate::register(&mut template);
        let names = template.scalar_functions().keys().chain(template.aggregate_functions().keys());
        let names =
            names.chain(template.window_functions().keys()).chain(template.higher_order_functions().keys());
        let mut functions: Vec<String> = names.map(|name| name.to_lowercase()).collect();
        functions.extend(PLANNED_FUNCTIONS.map(str::to_owned));
        functions.sort_unstable();
        functions.dedup();
        let table_functions = template.table_functions().keys().cloned().collect();
        let footers = Arc::new(MetadataCache::new(Arc::clone(&indexes), indexes.bytes_max()));
        let columns = Arc::new(ColumnCache::new(settings.column_bytes_max, Asks::of(settings)));
        let masks = Arc::default();
        let part_bytes_max = parts::bytes_max(settings.memory_bytes_max, parallelism);
        let shared = ScanShared { footers, indexes, columns, masks, parallelism, part_bytes_max };
        let shared = Arc::new(shared);
        let views = Views::builtin()?;
        let tables = OnceCell::new();
        let inner = Inner { template, plain, shared, views, functions, table_functions, tables };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Names that a statement can use, where events have `keys`.
    pub(crate) fn vocabulary(&self, keys: &KeyDictionary) -> Vocabulary {
        let views = &self.inner.views;
        let names = |names: &mut dyn Iterator<Item = &str>| {
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        Vocabulary {
            tables: names(&mut views.names().chain([EVENTS])),
            table_functions: names(&mut views.functions()),
            functions: self.inner.functions.clone(),
            columns: core_names(),
            keys: keys_written(keys.all()),
        }
    }

    /// Memory of cached columns and open indexes, in bytes.
    pub fn index_memory_bytes(&self) -> usize {
        self.inner.shared.columns.memory_bytes() + self.inner.shared.indexes.memory_bytes()
    }

    /// Starts a statement over `snapshot`.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when the statement is wrong; later errors come through the
    /// stream.
    pub async fn query(&self, snapshot: &ReadSnapshot, question: Question) -> Result<QueryResult> {
        let deadline = question.timeout.and_then(|timeout| {
            // A timeout beyond the range of `Instant` is not a limit.
            Some((tokio::time::Instant::now().checked_add(timeout)?, timeout))
        });
        let start = Box::pin(self.start(snapshot, &question));
        let (stream, warnings, casts, progress) = match deadline {
            Some((at, timeout)) => {
                tokio::time::timeout_at(at, start).await.map_err(|_| timed_out(timeout))??
            }
            None => start.await?,
        };
        let schema = stream.schema();
        let stream = Limited {
            schema: Arc::clone(&schema),
            inner: Some(stream),
            deadline: deadline.map(|(at, timeout)| (Box::pin(tokio::time::sleep_until(at)), timeout)),
            casts,
            rows_left: question.row_limit,
            row_limit: question.row_limit.unwrap_or(usize::MAX),
        };
        Ok(QueryResult { schema, stream: Box::pin(stream), warnings, progress })
    }

    async fn start(
        &self,
        snapshot: &ReadSnapshot,
        question: &Question,
    ) -> Result<(SendableRecordBatchStream, Vec<String>, Casts, Progress)> {
        let state = self.state(snapshot);
        let (plan, warnings, hints) = self.plan(&state, snapshot, question).await?;
        let hint = |e: DataFusionError| explain_types(e.into(), &hints);
        let casts = Casts::of(&plan);
        let physical = state.create_physical_plan(&plan).await.map_err(hint)?;
        let progress = Progress::of(Arc::clone(&physical)).reading(snapshot.catalog.version);
        let stream = execute_stream(physical, self.inner.plain.task_ctx()).map_err(hint)?;
        Ok((stream, warnings, casts, progress))
    }

    /// Plans a statement without running it. Fails as [`query`](Self::query) does where the statement is wrong; that
    /// a value cannot be cast, or a number does not fit, is found out only by running it.
    pub async fn check(&self, snapshot: &ReadSnapshot, question: &Question) -> Result<Checked> {
        let state = self.state(snapshot);
        let (plan, warnings, hints) = Box::pin(self.plan(&state, snapshot, question)).await?;
        let hint = |e: DataFusionError| explain_types(e.into(), &hints);
        let plan = state.optimize(&plan).map_err(hint)?;
        Ok(Checked { schema: Arc::new(plan.schema().as_arrow().clone()), warnings })
    }

    /// Returns the logical plan of a question, its warnings, and the types of the attributes in it.
    pub(super) async fn plan(
        &self,
        state: &SessionState,
        snapshot: &ReadSnapshot,
        question: &Question,
    ) -> Result<(LogicalPlan, Vec<String>, Vec<String>)> {
        let (mut plan, warnings, hints) = self.unbound_plan(state, snapshot, question.ask.clone()).await?;
        let hint = |e: DataFusionError| explain_types(e.into(), &hints);
        if !question.params.is_empty() {
            let values: Vec<ScalarValue> = question.params.iter().map(ScalarValue::from).collect();
            plan = plan.with_param_values(ParamValues::from(values)).map_err(hint)?;
        }
        plan = rewrite_plan(plan).map_err(hint)?;
        if let (Some(limit), true) = (question.row_limit, is_query(&plan)) {
            let builder = LogicalPlanBuilder::from(plan);
            plan = builder.limit(0, Some(limit.saturating_add(1))).and_then(LogicalPlanBuilder::build)?;
        }
        Ok((plan, warnings, hints))
    }

    /// Returns the plan of a statement whose parameters have no values yet, its warnings, and the types of the
    /// attributes in it.
    pub(super) async fn unbound_plan(
        &self,
        state: &SessionState,
        snapshot: &ReadSnapshot,
        ask: Ask,
    ) -> Result<(LogicalPlan, Vec<String>, Vec<String>)> {
        let Resolved { statement, warnings } = self.resolve(snapshot, ask).await?;
        let hints = attribute_types(state, &statement, snapshot);
        let plan = state.statement_to_plan(statement).await;
        Ok((plan.map_err(|e| explain_types(e.into(), &hints))?, warnings, hints))
    }

    async fn resolve(&self, snapshot: &ReadSnapshot, ask: Ask) -> Result<Resolved> {
        let tables = self.inner.tables.get_or_try_init(tables).await?;
        let context = ResolveContext {
            keys: &snapshot.keys,
            views: &self.inner.views,
            tables,
            schema: SCHEMA,
            functions: &self.inner.functions,
            table_functions: &self.inner.table_functions,
        };
        resolve(ask, &context)
    }

    /// Returns a DataFusion session bound to `snapshot`, for programs that embed the engine. It has the table
    /// `events` with the core columns and `attributes`, the views, and Broadloom's functions.
    ///
    /// SQL run on the session does not resolve attribute names: write `attributes['http.route']`, or use
    /// [`query`](Self::query).
    pub fn session_context(&self, snapshot: &ReadSnapshot) -> SessionContext {
        SessionContext::new_with_state(self.state(snapshot))
    }

    /// Returns the table of events with a column `attributes['key']` for each key of `keys`.
    pub fn table(&self, snapshot: &ReadSnapshot, keys: &[String]) -> Arc<dyn TableProvider> {
        Arc::new(EventsTable::new(snapshot.clone(), Arc::clone(&self.inner.shared), keys))
    }

    /// Creates a session bound to `snapshot`.
    pub(super) fn state(&self, snapshot: &ReadSnapshot) -> SessionState {
        let schema = SnapshotSchema { engine: self.clone(), snapshot: snapshot.clone() };
        let catalog = MemoryCatalogProvider::new();
        let catalogs = MemoryCatalogProviderList::new();
        // A first registration is never refused here.
        let _ = catalog.register_schema(SCHEMA, Arc::new(schema));
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let mut state = self.inner.template.clone();
        state.register_catalog_list(Arc::new(catalogs));
        // now() is the moment at which the statement began.
        state.mark_start_execution();
        state
    }
}

fn runtime(settings: &QuerySettings, spill: PathBuf) -> Result<Arc<RuntimeEnv>> {
    std::fs::create_dir_all(&spill)
        .map_err(|e| Error::from(e).context(format!("spill directory {}", spill.display())))?;
    let pool = TrackConsumersPool::new(FairSpillPool::new(settings.memory_bytes_max), NAMED_CONSUMERS);
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
    let builder = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk);
    Ok(builder.build_arc()?)
}

fn template(runtime: Arc<RuntimeEnv>, parallelism: usize) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(parallelism)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    // A segment is one row group, so one partition would read all parts of a split file.
    options.optimizer.repartition_file_scans = false;
    // `SELECT * FROM trace('…')` keeps the order that the function's text asks for.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.execution.time_zone = Some("UTC".to_owned());
    let group_by_codes = Arc::new(GroupByCodes::new(Arc::clone(&runtime.memory_pool)));
    let mut rules: Vec<_> = vec![Arc::new(RewriteRule) as _];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(CheckedArithmetic::default()));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_analyzer_rules(rules)
        .with_query_planner(group_by_codes)
        .with_physical_optimizer_rule(Arc::new(CountFromBitmaps))
        .with_physical_optimizer_rule(Arc::new(YieldInJoins))
        .build();
    let mut planners = vec![Arc::new(JsonText::new()) as Arc<dyn ExprPlanner>];
    planners.extend(state.expr_planners().iter().cloned());
    let mut state = SessionStateBuilder::new_from_existing(state).with_expr_planners(planners).build();
    for function in functions::scalar_functions().into_iter().chain(series::scalar_functions()) {
        // A first registration is never refused.
        let _ = datafusion::execution::FunctionRegistry::register_udf(&mut state, function);
    }
    let difference = Arc::new(diff::aggregate::function());
    let aggregates = functions::aggregate_functions().into_iter().chain([difference]);
    let aggregates = aggregates.chain(series::aggregate_functions()).chain(trees::aggregate_functions());
    let aggregates = aggregates.chain(estimate::aggregate_functions());
    let aggregates = aggregates.chain(discovery::aggregate_functions());
    for function in aggregates {
        let _ = datafusion::execution::FunctionRegistry::register_udaf(&mut state, function);
    }
    state
}

/// Returns the columns of the tables beside events and views, by table: those of `information_schema`, and the one on
/// which the view `attributes` stands.
async fn tables() -> Result<BTreeMap<String, Vec<String>>> {
    let provider = InformationSchemaProvider::new(Arc::new(MemoryCatalogProviderList::new()));
    let mut tables = BTreeMap::from([(ATTRIBUTE_FACTS.to_owned(), discovery::columns())]);
    for name in INFORMATION_SCHEMA_TABLES {
        if let Some(table) = provider.table(name).await? {
            let columns = table.schema().fields().iter().map(|f| f.name().clone()).collect();
            tables.insert(format!("{INFORMATION_SCHEMA}.{name}"), columns);
        }
    }
    Ok(tables)
}

fn is_query(plan: &LogicalPlan) -> bool {
    !matches!(
        plan,
        LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
    )
}

/// Describes the types of a statement's attributes: `http.route holds text`.
fn attribute_types(state: &SessionState, statement: &Statement, snapshot: &ReadSnapshot) -> Vec<String> {
    let tables = state.resolve_table_references(statement).unwrap_or_default();
    let keys = tables.iter().filter_map(|table| decode_table_name(table.table())).flatten();
    let mut hints: Vec<String> = keys
        .filter_map(|key| {
            let attribute = snapshot.keys.lookup(&key)?;
            let types: Vec<&str> = attribute.types.iter().map(AttributeType::name).collect();
            Some(format!("{key} holds {}", types.join(" and ")))
        })
        .collect();
    hints.sort_unstable();
    hints.dedup();
    hints
}

/// Adds the types of the columns to an error about types.
pub(super) fn explain_types(error: Error, hints: &[String]) -> Error {
    const SIGNS: [&str; 8] =
        ["coerc", "cast", "Cast", "type", "signature", "argument", "compar", "Cannot parse"];
    let about_types = SIGNS.iter().any(|sign| error.message().contains(sign));
    if error.kind() != ErrorKind::InvalidInput || hints.is_empty() || !about_types {
        return error;
    }
    error.followed_by(format!(" ({})", hints.join("; ")))
}

/// Error of a query that did not finish within `timeout`.
pub(crate) fn timed_out(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        format!(
            "the query did not finish within its timeout of {}: narrow the time range, or raise `timeout`",
            humantime::format_duration(timeout)
        ),
    )
}

/// Schema of events and views.
#[derive(Debug)]
struct SnapshotSchema {
    engine: Engine,
    snapshot: ReadSnapshot,
}

impl SnapshotSchema {
    /// Runs statements over the snapshot, for a table that needs answers itself.
    fn ask(&self) -> discovery::Ask {
        let (engine, snapshot) = (self.engine.clone(), self.snapshot.clone());
        Box::new(move |sql| {
            let (engine, snapshot) = (engine.clone(), snapshot.clone());
            Box::pin(async move { engine.query(&snapshot, Question::sql(sql)).await?.collect().await })
        })
    }

    async fn view(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        let all = Question::query(build::query_of(build::select_all(build::table(name))))?;
        let state = self.engine.state(&self.snapshot);
        let (plan, _, _) = self.engine.plan(&state, &self.snapshot, &all).await?;
        let sql = self.engine.inner.views.sql(name).map(str::to_owned);
        Ok(Arc::new(ViewTable::new(plan, sql)))
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        let views = self.engine.inner.views.names().map(str::to_owned);
        std::iter::once(EVENTS.to_owned()).chain(views).collect()
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        if let Some(keys) = decode_table_name(name) {
            return Ok(Some(self.engine.table(&self.snapshot, &keys)));
        }
        if name == ATTRIBUTE_FACTS {
            return Ok(Some(Arc::new(AttributeFacts::new(self.snapshot.clone(), self.ask()))));
        }
        if self.engine.inner.views.sql(name).is_none() {
            return Ok(None);
        }
        let view = self.view(name).await.map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Some(view))
    }

    fn table_exist(&self, name: &str) -> bool {
        decode_table_name(name).is_some()
            || name == ATTRIBUTE_FACTS
            || self.engine.inner.views.sql(name).is_some()
    }
}

/// Ends a stream at its deadline and row limit.
struct Limited {
    schema: SchemaRef,
    /// `None` once the stream has ended, which frees its memory.
    inner: Option<SendableRecordBatchStream>,
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    /// Casts that may fail for a value.
    casts: Casts,
    rows_left: Option<usize>,
    row_limit: usize,
}

impl Limited {
    fn fail(&mut self, error: Error) -> Poll<Option<datafusion::error::Result<arrow::array::RecordBatch>>> {
        self.inner = None;
        Poll::Ready(Some(Err(DataFusionError::External(Box::new(error)))))
    }
}

impl Stream for Limited {
    type Item = datafusion::error::Result<arrow::array::RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.inner.is_none() {
            return Poll::Ready(None);
        }
        if let Some((sleep, timeout)) = &mut this.deadline
            && sleep.as_mut().poll(context).is_ready()
        {
            let timeout = *timeout;
            return this.fail(timed_out(timeout));
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let batch = match std::task::ready!(inner.poll_next_unpin(context)) {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => {
                if let Some(error) = this.casts.explain(&error) {
                    return this.fail(error);
                }
                this.inner = None;
                return Poll::Ready(Some(Err(error)));
            }
            None => {
                this.inner = None;
                return Poll::Ready(None);
            }
        };
        match &mut this.rows_left {
            None => Poll::Ready(Some(Ok(batch))),
            Some(0) if batch.num_rows() > 0 => {
                let limit = this.row_limit;
                this.fail(Error::new(
                    ErrorKind::LimitExceeded,
                    format!("the result has more than {limit} rows, its row limit: add LIMIT, or raise the row limit"),
                ))
            }
            Some(left) => {
                let rows = batch.num_rows().min(*left);
                let overflow = batch.num_rows() > *left;
                *left -= rows;
                if overflow {
                    // The rows that fit come first; the next poll returns the error.
                    let rest = batch.slice(rows, batch.num_rows() - rows);
                    let tail = futures::stream::iter([Ok(rest)]);
                    let schema = Arc::clone(&this.schema);
                    this.inner = Some(Box::pin(
                        datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, tail),
                    ));
                }
                Poll::Ready(Some(Ok(batch.slice(0, rows))))
            }
        }
    }
}

impl RecordBatchStream for Limited {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
