//! Groups by integer codes instead of text.
//!
//! Grouping by text hashes the text of each row. If the column is in memory as dictionaries of segments, each row
//! has a code already, and only the dictionaries need hashing:
//!
//! ```text
//! Aggregate: user.id, max(x)         Projection: text_of(code) AS user.id, max(x)
//!   Scan: user.id, x            →      Aggregate: code, max(x)
//!                                        Projection: code_of(user.id) AS code, x      done by the scan
//!                                          Scan: user.id, x
//! ```
//!
//! Two text columns become one number, which groups faster than two.
//!
//! The cache is consulted only when a plan is about to run in this process: the optimized plan does not depend on
//! the cache, so EXPLAIN is repeatable, and such a plan can be kept or sent. Texts become codes in the last step,
//! from the logical to the physical plan, which EXPLAIN ANALYZE shows. Codes are valid for one query in one
//! process.
//!
//! The choice is a guess. If a scan then reads Parquet, or events are buffered, `code_of` hashes the texts as
//! grouping would have.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, ExprSchema};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use datafusion::logical_expr::utils::expr_to_columns;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use crate::query::functions::codes::{self, CodeOf, Interner, TEXT_BYTES, TextOf};
use crate::query::scan::table::EventsTable;

/// Columns with fewer values in each segment are left to bitmaps.
const VALUES_MIN: usize = 1024;
/// Approximate memory of an interned text: its bytes and its bookkeeping.
const VALUE_BYTES: usize = 32 + TEXT_BYTES;
/// All texts may take this share of the queries' memory, as they cannot spill.
const MEMORY_SHARE: usize = 8;

/// Physical planner for queries that run in this process.
#[derive(Debug)]
pub(crate) struct GroupByCodes {
    pool: Arc<dyn MemoryPool>,
}

impl GroupByCodes {
    /// Creates a planner that accounts interned texts to `pool`.
    pub(crate) fn new(pool: Arc<dyn MemoryPool>) -> Self {
        Self { pool }
    }

    /// Most texts in all dictionaries together, duplicates counted. Beyond it rows are grouped by text, which can
    /// spill.
    fn values_max(&self) -> usize {
        match self.pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / MEMORY_SHARE / VALUE_BYTES,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        }
    }
}

#[async_trait]
impl QueryPlanner for GroupByCodes {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::default();
        if matches!(plan, LogicalPlan::Explain(_)) {
            return planner.create_physical_plan(plan, session).await;
        }
        let plan = plan.clone().transform_up_with_subqueries(|node| self.by_codes(node)).data()?;
        planner.create_physical_plan(&plan, session).await
    }
}

impl GroupByCodes {
    fn by_codes(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        let mut values = Values { most: 0, sum: 0 };
        let texts: Vec<Option<&Column>> = aggregate
            .group_expr
            .iter()
            .map(|expr| {
                let column = text(expr, &aggregate.input)?;
                let Values { most, sum } = in_memory(&aggregate.input, column)?;
                values = Values { most: values.most.max(most), sum: values.sum + sum };
                Some(column)
            })
            .collect();
        if values.most < VALUES_MIN || values.sum > self.values_max() {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        coded(&aggregate, &texts, &Arc::new(Interner::new(&self.pool))).map(Transformed::yes)
    }
}

/// The grouping column, if it is text without another meaning attached to its field.
fn text<'a>(expr: &'a Expr, input: &LogicalPlan) -> Option<&'a Column> {
    let column = match expr {
        Expr::Column(column) => column,
        Expr::Alias(alias) => match alias.expr.as_ref() {
            Expr::Column(column) if alias.metadata.is_none() => column,
            _ => return None,
        },
        _ => return None,
    };
    let field = input.schema().field_from_column(column).ok()?;
    (*field.data_type() == DataType::Utf8View && field.metadata().is_empty()).then_some(column)
}

/// Numbers of values in the dictionaries of segments.
struct Values {
    /// In the segment with the most.
    most: usize,
    /// In all segments together.
    sum: usize,
}

/// Counts for `column`, if it is a column of events that all segments to be scanned have in memory.
fn in_memory(plan: &LogicalPlan, column: &Column) -> Option<Values> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let input = alias.input.schema();
            in_memory(
                &alias.input,
                &input.columns().into_iter().nth(alias.schema.index_of_column(column).ok()?)?,
            )
        }
        LogicalPlan::Filter(filter) => in_memory(&filter.input, column),
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(projection.schema.index_of_column(column).ok()?)?;
            match expr.clone().unalias() {
                Expr::Column(column) => in_memory(&projection.input, &column),
                _ => None,
            }
        }
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let table = provider.downcast_ref::<EventsTable>()?;
            let (mut most, mut sum) = (0, 0);
            for values in table.dictionaries(&column.name, &scan.filters) {
                most = most.max(values?);
                sum += values?;
            }
            Some(Values { most, sum })
        }
        _ => None,
    }
}

/// `aggregate`, grouped by the codes of `texts`, which has one entry per grouping expression.
fn coded(aggregate: &Aggregate, texts: &[Option<&Column>], interner: &Arc<Interner>) -> Result<LogicalPlan> {
    let Numbers { below, names, text_of } = numbers(texts, interner);
    let below = columns_besides(aggregate, texts)?.into_iter().chain(below).collect();
    let plain = aggregate.group_expr.iter().zip(texts).filter(|(_, text)| text.is_none());
    let groups = plain.map(|(expr, _)| expr.clone()).chain(names).collect();
    let mut outputs = aggregate.schema.columns().into_iter();
    let mut above: Vec<Expr> = Vec::with_capacity(aggregate.schema.fields().len());
    for (text, column) in texts.iter().zip(&mut outputs) {
        above.push(match text.and_then(|text| text_of.get(text)) {
            Some(text) => text.clone().alias_qualified(column.relation, column.name),
            None => Expr::Column(column),
        });
    }
    above.extend(outputs.map(Expr::Column));
    let input = Projection::try_new(below, Arc::clone(&aggregate.input))?;
    let input = Arc::new(LogicalPlan::Projection(input));
    let inner = Aggregate::try_new(input, groups, aggregate.aggr_expr.clone())?;
    let inner = Arc::new(LogicalPlan::Aggregate(inner));
    let outer = Projection::try_new_with_schema(above, inner, Arc::clone(&aggregate.schema))?;
    Ok(LogicalPlan::Projection(outer))
}

/// Input columns that `aggregate` reads, except columns of `texts` that it only groups by.
fn columns_besides(aggregate: &Aggregate, texts: &[Option<&Column>]) -> Result<Vec<Expr>> {
    let grouped = aggregate.group_expr.iter().zip(texts);
    let plain = grouped.filter(|(_, text)| text.is_none()).map(|(expr, _)| expr);
    let mut read = HashSet::new();
    for expr in plain.chain(&aggregate.aggr_expr) {
        expr_to_columns(expr, &mut read)?;
    }
    // In the order of the input, so that plans are repeatable.
    let columns = aggregate.input.schema().columns().into_iter();
    Ok(columns.filter(|column| read.contains(column)).map(Expr::Column).collect())
}

/// Expressions that replace texts.
struct Numbers<'a> {
    /// Expressions over the input: one number for two texts, or for one.
    below: Vec<Expr>,
    /// Columns of those expressions.
    names: Vec<Expr>,
    /// Each text, computed from these columns.
    text_of: HashMap<&'a Column, Expr>,
}

fn numbers<'a>(texts: &[Option<&'a Column>], interner: &Arc<Interner>) -> Numbers<'a> {
    let code_of = Arc::new(ScalarUDF::from(CodeOf::new(Arc::clone(interner))));
    let text_of = Arc::new(ScalarUDF::from(TextOf::new(Arc::clone(interner))));
    let pair_of = Arc::new(codes::pair_of());
    let parts = [false, true].map(|second| Arc::new(codes::part_of(second)));
    // A column of count(DISTINCT) may also be a grouping column.
    let mut distinct: Vec<&Column> = texts.iter().copied().flatten().collect();
    distinct.sort();
    distinct.dedup();
    let mut numbers = Numbers { below: Vec::new(), names: Vec::new(), text_of: HashMap::new() };
    for texts in distinct.chunks(2) {
        let codes = texts.iter().map(|text| code_of.call(vec![Expr::Column((*text).clone())]));
        let codes: Vec<Expr> = codes.collect();
        let number = match &codes[..] {
            [code] => code.clone(),
            _ => pair_of.call(codes),
        };
        let name = Expr::Column(Column::from_name(number.schema_name().to_string()));
        for (text, part) in texts.iter().zip(&parts) {
            let code = if texts.len() == 1 { name.clone() } else { part.call(vec![name.clone()]) };
            numbers.text_of.insert(text, text_of.call(vec![code]));
        }
        numbers.below.push(number);
        numbers.names.push(name);
    }
    numbers
}
