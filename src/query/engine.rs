//! Runs statements.
//!
//! Each statement gets a session of its own, made from shared parts and bound to one [`ReadSnapshot`]:
//! nothing that it sees changes, and nothing of it is left behind. The session's catalog is
//! [`SnapshotSchema`], which makes a table out of every name that the resolver gives to an occurrence of
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

use super::arithmetic::CheckedArithmetic;
use super::calculate;
use super::casts::Casts;
use super::functions;
use super::group_by_codes::GroupByCodes;
use super::indexed::columns::{Asks, ColumnCache};
use super::indexed::counts::CountFromBitmaps;
use super::indexed::parts;
use super::metadata::MetadataCache;
use super::nested::JsonText;
use super::progress::Progress;
use super::resolver::{EVENTS, ResolveContext, Resolved, decode_table_name, resolve};
use super::rewrite::{RewriteRule, rewrite_plan};
use super::scan::ScanShared;
use super::snapshot::ReadSnapshot;
use super::table::EventsTable;
use super::views::Views;
use crate::config::QuerySettings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::AttributeType;
use crate::index::IndexCache;

/// Name of the catalog in `information_schema`.
const CATALOG: &str = "broadloom";
/// Name of the schema that events and views are in.
const SCHEMA: &str = "public";
/// How many of the largest consumers of memory an error names.
const NAMED_CONSUMERS: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(2);
/// Functions that the planner knows though they are in no registry.
const PLANNED_FUNCTIONS: [&str; 12] = [
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

/// A statement, and how long and how much.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    /// One SQL statement that reads.
    pub sql: String,
    /// Values of `$1`, `$2`, …: null, booleans, numbers and strings.
    pub params: Vec<serde_json::Value>,
    /// The query fails with [`ErrorKind::Cancelled`] when it is not done by then.
    pub timeout: Option<Duration>,
    /// At most so many rows come; more are an error of kind [`ErrorKind::LimitExceeded`] after them.
    pub row_limit: Option<usize>,
}

impl QueryRequest {
    /// `sql` without parameters or limits.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }
}

/// The answer: rows as they are found. Dropping it cancels the query.
pub struct QueryResult {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: SendableRecordBatchStream,
    /// What a person should know though the statement works.
    pub warnings: Vec<String>,
    /// Progress of the statement.
    pub progress: Progress,
}

/// Result of planning a statement without running it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Names and types of its columns.
    pub schema: SchemaRef,
    /// Remarks for a person, though the statement works.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryResult")
            .field("schema", &self.schema)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl QueryResult {
    /// Waits for the first rows, so that what fails early fails here. The rows stay in the stream.
    pub async fn begin(&mut self) -> Result<()> {
        match self.stream.next().await {
            None => Ok(()),
            Some(Err(e)) => Err(e.into()),
            Some(Ok(first)) => {
                let empty = Box::pin(datafusion::physical_plan::EmptyRecordBatchStream::new(Arc::clone(
                    &self.schema,
                )));
                let rest = std::mem::replace(&mut self.stream, empty);
                let all = futures::stream::iter([Ok(first)]).chain(rest);
                self.stream = Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(
                    Arc::clone(&self.schema),
                    all,
                ));
                Ok(())
            }
        }
    }

    /// All rows.
    pub async fn collect(self) -> Result<Vec<arrow::array::RecordBatch>> {
        let mut batches = Vec::new();
        let mut stream = self.stream;
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

/// What all statements of a database share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// With everything but a catalog.
    template: SessionState,
    /// The same without what stands for functions while a statement is planned.
    plain: SessionState,
    shared: Arc<ScanShared>,
    views: Views,
    functions: Vec<String>,
    table_functions: Vec<String>,
    /// Columns of the tables of `information_schema`.
    tables: OnceCell<BTreeMap<String, Vec<String>>>,
}

impl Engine {
    /// An engine that keeps within `settings`, opens indexes through `indexes`, and spills to `spill`, which
    /// it creates.
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

    /// Memory that columns and open indexes take, in bytes.
    pub fn index_memory_bytes(&self) -> usize {
        self.inner.shared.columns.memory_bytes() + self.inner.shared.indexes.memory_bytes()
    }

    /// Starts a statement on what `snapshot` holds.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when the statement is wrong; what goes wrong later comes
    /// through the stream.
    pub async fn query(&self, snapshot: &ReadSnapshot, request: QueryRequest) -> Result<QueryResult> {
        let deadline = request.timeout.and_then(|timeout| {
            // A time that does not fit is no limit.
            Some((tokio::time::Instant::now().checked_add(timeout)?, timeout))
        });
        let start = Box::pin(self.start(snapshot, &request));
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
            rows_left: request.row_limit,
            row_limit: request.row_limit.unwrap_or(usize::MAX),
        };
        Ok(QueryResult { schema, stream: Box::pin(stream), warnings, progress })
    }

    async fn start(
        &self,
        snapshot: &ReadSnapshot,
        request: &QueryRequest,
    ) -> Result<(SendableRecordBatchStream, Vec<String>, Casts, Progress)> {
        let state = self.state(snapshot);
        let (plan, warnings, hints) = self.plan(&state, snapshot, request).await?;
        let hint = |e: DataFusionError| explain_types(e.into(), &hints);
        let casts = Casts::of(&plan);
        let physical = state.create_physical_plan(&plan).await.map_err(hint)?;
        let progress = Progress::of(Arc::clone(&physical));
        let stream = execute_stream(physical, self.inner.plain.task_ctx()).map_err(hint)?;
        Ok((stream, warnings, casts, progress))
    }

    /// Plans a statement without running it. Fails as [`query`](Self::query) does where the statement is wrong; that
    /// a value cannot be cast, or a number does not fit, is found out only by running it.
    pub async fn check(&self, snapshot: &ReadSnapshot, request: &QueryRequest) -> Result<Checked> {
        let state = self.state(snapshot);
        let (plan, warnings, hints) = Box::pin(self.plan(&state, snapshot, request)).await?;
        let hint = |e: DataFusionError| explain_types(e.into(), &hints);
        let plan = state.optimize(&plan).map_err(hint)?;
        Ok(Checked { schema: Arc::new(plan.schema().as_arrow().clone()), warnings })
    }

    /// The logical plan of a request, its warnings, and what the attributes in it hold.
    pub(super) async fn plan(
        &self,
        state: &SessionState,
        snapshot: &ReadSnapshot,
        request: &QueryRequest,
    ) -> Result<(LogicalPlan, Vec<String>, Vec<String>)> {
        let Resolved { statement, warnings } = self.resolve(snapshot, &request.sql).await?;
        let hints = attribute_types(state, &statement, snapshot);
        let hint = |e: DataFusionError| explain_types(e.into(), &hints);
        let mut plan = state.statement_to_plan(statement).await.map_err(hint)?;
        if !request.params.is_empty() {
            let values = request.params.iter().map(scalar).collect::<Result<Vec<_>>>()?;
            plan = plan.with_param_values(ParamValues::from(values)).map_err(hint)?;
        }
        plan = rewrite_plan(plan).map_err(hint)?;
        if let (Some(limit), true) = (request.row_limit, is_query(&plan)) {
            let builder = LogicalPlanBuilder::from(plan);
            plan = builder.limit(0, Some(limit.saturating_add(1))).and_then(LogicalPlanBuilder::build)?;
        }
        Ok((plan, warnings, hints))
    }

    async fn resolve(&self, snapshot: &ReadSnapshot, sql: &str) -> Result<Resolved> {
        let tables = self.inner.tables.get_or_try_init(information_schema).await?;
        let context = ResolveContext {
            keys: &snapshot.keys,
            views: &self.inner.views,
            tables,
            schema: SCHEMA,
            functions: &self.inner.functions,
            table_functions: &self.inner.table_functions,
        };
        resolve(sql, &context)
    }

    /// A session of DataFusion bound to `snapshot`, for programs that embed the engine: the table `events`
    /// has the core columns and `attributes`, the views are there too, and so are our functions.
    ///
    /// Its own SQL does not resolve attribute names: write `attributes['http.route']`, or use
    /// [`query`](Self::query).
    pub fn session_context(&self, snapshot: &ReadSnapshot) -> SessionContext {
        SessionContext::new_with_state(self.state(snapshot))
    }

    /// The table of events with a column for each attribute of `keys`, called `attributes['key']`.
    pub fn table(&self, snapshot: &ReadSnapshot, keys: &[String]) -> Arc<dyn TableProvider> {
        Arc::new(EventsTable::new(snapshot.clone(), Arc::clone(&self.inner.shared), keys))
    }

    /// A session bound to `snapshot`.
    pub(super) fn state(&self, snapshot: &ReadSnapshot) -> SessionState {
        let schema = SnapshotSchema { engine: self.clone(), snapshot: snapshot.clone() };
        let catalog = MemoryCatalogProvider::new();
        let catalogs = MemoryCatalogProviderList::new();
        // Neither refuses a first registration.
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
    // A segment is one row group: parts of a file would all be read by one partition.
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
        .with_optimizer_rule(group_by_codes)
        .with_physical_optimizer_rule(Arc::new(CountFromBitmaps))
        .build();
    let mut planners = vec![Arc::new(JsonText::new()) as Arc<dyn ExprPlanner>];
    planners.extend(state.expr_planners().iter().cloned());
    let mut state = SessionStateBuilder::new_from_existing(state).with_expr_planners(planners).build();
    for function in functions::scalar_functions() {
        // A first registration is never refused.
        let _ = datafusion::execution::FunctionRegistry::register_udf(&mut state, function);
    }
    for function in functions::aggregate_functions() {
        let _ = datafusion::execution::FunctionRegistry::register_udaf(&mut state, function);
    }
    state
}

/// The columns of the tables of `information_schema`.
async fn information_schema() -> Result<BTreeMap<String, Vec<String>>> {
    let provider = InformationSchemaProvider::new(Arc::new(MemoryCatalogProviderList::new()));
    let mut tables = BTreeMap::new();
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

fn scalar(value: &serde_json::Value) -> Result<ScalarValue> {
    use serde_json::Value;
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(b) => Ok(ScalarValue::Boolean(Some(*b))),
        Value::Number(number) => Ok(match number.as_i64() {
            Some(int) => ScalarValue::Int64(Some(int)),
            None => ScalarValue::Float64(number.as_f64()),
        }),
        Value::String(text) => Ok(ScalarValue::Utf8(Some(text.clone()))),
        other => Err(Error::invalid(format!(
            "parameter {other}: parameters are null, booleans, numbers or strings"
        ))),
    }
}

/// What the attributes of a statement hold, in words: `http.route holds text`.
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

/// Adds what the columns hold to an error that is about types.
fn explain_types(error: Error, hints: &[String]) -> Error {
    const SIGNS: [&str; 8] =
        ["coerc", "cast", "Cast", "type", "signature", "argument", "compar", "Cannot parse"];
    let about_types = SIGNS.iter().any(|sign| error.message().contains(sign));
    if error.kind() != ErrorKind::InvalidInput || hints.is_empty() || !about_types {
        return error;
    }
    error.followed_by(format!(" ({})", hints.join("; ")))
}

/// The error of a question that was not answered within `timeout`.
pub(crate) fn timed_out(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        format!(
            "the query was not done within its timeout of {}: narrow the time range, or raise `timeout`",
            humantime::format_duration(timeout)
        ),
    )
}

/// The schema that events and views are in.
#[derive(Debug)]
struct SnapshotSchema {
    engine: Engine,
    snapshot: ReadSnapshot,
}

impl SnapshotSchema {
    async fn view(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        let request = QueryRequest::new(format!("SELECT * FROM {name}"));
        let state = self.engine.state(&self.snapshot);
        let (plan, _, _) = self.engine.plan(&state, &self.snapshot, &request).await?;
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
        if self.engine.inner.views.sql(name).is_none() {
            return Ok(None);
        }
        let view = self.view(name).await.map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Some(view))
    }

    fn table_exist(&self, name: &str) -> bool {
        decode_table_name(name).is_some() || self.engine.inner.views.sql(name).is_some()
    }
}

/// Ends a stream at its deadline and row limit.
struct Limited {
    schema: SchemaRef,
    /// None once the stream is over: what it holds is freed then.
    inner: Option<SendableRecordBatchStream>,
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    /// What may fail by a value.
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
                    format!("the result has more than {limit} rows, the row limit: add LIMIT, or raise it"),
                ))
            }
            Some(left) => {
                let rows = batch.num_rows().min(*left);
                let overflow = batch.num_rows() > *left;
                *left -= rows;
                if overflow {
                    // The next poll says so; the rows that fit come first.
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
