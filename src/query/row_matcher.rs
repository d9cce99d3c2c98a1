//! Which row numbers of a segment match a condition?
//!
//! The condition becomes a column of a query on that segment alone, without masks. So it means the same as in
//! any query, and row numbers are those of the file.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use async_trait::async_trait;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use object_store::ObjectStore;
use roaring::RoaringBitmap;
use sqlparser::ast::{Select, SelectItem};

use super::engine::Engine;
use super::indexed::source::IndexedSource;
use super::language::{build, parse_condition};
use super::question::Question;
use super::resolve::EVENTS;
use super::snapshot::ReadSnapshot;
use crate::catalog::CatalogSnapshot;
use crate::error::{Error, Result};
use crate::event::{KeyDictionary, schema};
use crate::maintenance::{Condition, RowMatcher};
use crate::segment::SegmentMeta;

/// Evaluates conditions with the engine that answers queries.
#[derive(Debug)]
pub(crate) struct EngineMatcher {
    engine: Engine,
    store: Arc<dyn ObjectStore>,
    keys: Arc<KeyDictionary>,
}

impl EngineMatcher {
    /// Creates a matcher for segments in `store`, whose attributes are `keys`.
    pub(crate) fn new(engine: Engine, store: Arc<dyn ObjectStore>, keys: Arc<KeyDictionary>) -> Self {
        Self { engine, store, keys }
    }

    fn snapshot(&self, catalog: Arc<CatalogSnapshot>) -> ReadSnapshot {
        let (store, keys) = (Arc::clone(&self.store), Arc::clone(&self.keys));
        ReadSnapshot { catalog, buffer: Arc::from([]), keys, store }
    }

    /// Plans a question for one thread, so that rows come in the order of the file.
    async fn physical(&self, snapshot: &ReadSnapshot, question: Question) -> Result<Planned> {
        let mut state = self.engine.state(snapshot);
        state.config_mut().options_mut().execution.target_partitions = 1;
        let (plan, _, _) = self.engine.plan(&state, snapshot, &question).await?;
        let physical = state.create_physical_plan(&plan).await?;
        Ok(Planned { logical: plan, physical, context: state.task_ctx() })
    }
}

struct Planned {
    logical: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    context: Arc<datafusion::execution::TaskContext>,
}

#[async_trait]
impl RowMatcher for EngineMatcher {
    fn parse(&self, condition: &str) -> Result<Condition> {
        parse_condition(condition).map(Condition::new)
    }

    async fn check(&self, condition: &Condition) -> Result<()> {
        let snapshot = self.snapshot(Arc::default());
        let planned = self.physical(&snapshot, filtering(condition)?).await?;
        by_row(&planned.logical)
    }

    async fn candidates(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        condition: &Condition,
    ) -> Result<Vec<Arc<SegmentMeta>>> {
        let snapshot = self.snapshot(Arc::clone(catalog));
        let planned = self.physical(&snapshot, filtering(condition)?).await?;
        let mut found = Vec::new();
        planned.physical.apply(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            if let Some((config, _)) = scan.and_then(|scan| scan.downcast_to_file_source::<IndexedSource>()) {
                let files = config.file_groups.iter().flat_map(FileGroup::files);
                found.extend(files.filter_map(|file| file.extension::<Arc<SegmentMeta>>().cloned()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    }

    async fn rows(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        segment: &Arc<SegmentMeta>,
        condition: &Condition,
    ) -> Result<RoaringBitmap> {
        let snapshot = self.snapshot(Arc::new(catalog.only_unmasked(segment)));
        let matches = build::aliased(build::is_true(condition.expr()), "matches");
        let question = Question::query(build::query_of(build::select(vec![matches], build::table(EVENTS))))?;
        let Planned { physical, context, .. } = self.physical(&snapshot, question).await?;
        let mut stream = execute_stream(physical, context)?;
        let (mut rows, mut seen) = (RoaringBitmap::new(), 0_u32);
        while let Some(batch) = stream.try_next().await? {
            let matches = batch.column(0).as_boolean_opt().ok_or_else(not_by_row)?;
            let found = (0..matches.len()).filter(|i| matches.is_valid(*i) && matches.value(*i));
            rows.extend(found.map(|i| seen + i as u32));
            seen += matches.len() as u32;
        }
        if u64::from(seen) == segment.rows {
            Ok(rows)
        } else {
            let path = segment.path();
            Err(Error::corrupt(format!("{path} has {seen} events, but {} by the catalog", segment.rows)))
        }
    }
}

/// Question for the events that match `condition`.
fn filtering(condition: &Condition) -> Result<Question> {
    let timestamp = SelectItem::UnnamedExpr(build::name(schema::column::TIMESTAMP));
    let select = build::select(vec![timestamp], build::table(EVENTS));
    Question::query(build::query_of(Select { selection: Some(condition.expr()), ..select }))
}

/// Refuses conditions that depend on other rows (subqueries) or are random.
fn by_row(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| match expr {
                Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                    Err(DataFusionError::External(Box::new(not_by_row())))
                }
                Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile => {
                    Err(DataFusionError::External(Box::new(not_by_row())))
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

fn not_by_row() -> Error {
    Error::invalid("the condition has a subquery or a random function; it must depend on each event alone")
}
