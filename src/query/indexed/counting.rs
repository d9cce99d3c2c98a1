//! Computes an aggregation from the bitmaps of one segment.
//!
//! Every GROUP BY expression divides a segment's rows into sets. A group is the intersection of one set per
//! expression, and a count is its size.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::error::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use roaring::RoaringBitmap;

use super::condition::{BitmapCondition, Leaf};
use super::rows::{Context, Segment};
use super::source::IndexedSource;
use crate::event::schema::{column, timestamp_type};
use crate::index::bitmap::SECOND_NS;
use crate::query::functions::SUM_STATE;
use crate::segment::SegmentMeta;

/// Rows that a scan reads in the time that counting one combination of values takes.
const ROWS_PER_COMBINATION: usize = 64;

/// An aggregation that bitmaps may answer.
#[derive(Debug)]
pub(super) struct Counting {
    /// Conditions on all counted rows.
    conditions: Vec<BitmapCondition>,
    groups: Vec<Group>,
    aggregates: Vec<Counted>,
    context: Arc<Context>,
    schema: SchemaRef,
}

/// One GROUP BY expression.
#[derive(Debug)]
enum Group {
    /// Over a column of few values.
    Values(Leaf),
    /// Over the timestamp, constant within each second.
    Time(Leaf),
}

/// One aggregate.
#[derive(Debug)]
struct Counted {
    /// Condition of FILTER.
    filter: Option<BitmapCondition>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Rows.
    Rows,
    /// Rows where the expression is not null.
    NonNull(Leaf),
    /// Sum of the expression, an integer.
    Sum(Leaf),
}

impl Counting {
    /// The GROUP BY expressions, over the table.
    pub(super) fn group_exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.groups.iter().map(|(Group::Values(leaf) | Group::Time(leaf))| &leaf.expr)
    }

    /// Converts the aggregation `partial` over the scan, if bitmaps may answer it.
    pub(super) fn of(
        partial: &AggregateExec,
        config: &FileScanConfig,
        source: &IndexedSource,
    ) -> Result<Option<Self>> {
        let group_by = partial.group_expr();
        let limited = partial.limit_options().is_some() || config.limit.is_some();
        if limited || group_by.has_grouping_set() {
            return Ok(None);
        }
        let conditions = source.conditions();
        if !conditions.residual.is_empty() {
            return Ok(None);
        }
        let table = |expr: &Arc<dyn PhysicalExpr>| match source.projection_exprs() {
            Some(projection) => projection.unproject_expr(expr),
            None => Ok(Arc::clone(expr)),
        };
        let mut groups = Vec::new();
        for (expr, _) in group_by.expr() {
            let Some(group) = Group::of(&table(expr)?) else { return Ok(None) };
            groups.push(group);
        }
        if groups.iter().filter(|g| matches!(g, Group::Time(_))).count() > 1 {
            return Ok(None);
        }
        let mut aggregates = Vec::new();
        for (aggregate, filter) in partial.aggr_expr().iter().zip(partial.filter_expr()) {
            let filter = match filter {
                Some(filter) => match BitmapCondition::of(&table(filter)?) {
                    Some(condition) => Some(condition),
                    None => return Ok(None),
                },
                None => None,
            };
            let arguments = aggregate.expressions();
            let [argument] = arguments.as_slice() else { return Ok(None) };
            let plain = !aggregate.is_distinct() && aggregate.order_bys().is_empty();
            let int64 = aggregate.field().data_type() == &DataType::Int64;
            let what = match (aggregate.fun().name(), argument.downcast_ref::<Literal>()) {
                ("count", Some(literal)) if !literal.value().is_null() => What::Rows,
                ("count", None) => match Leaf::of(&table(argument)?) {
                    Some(leaf) if leaf.column != column::TIMESTAMP => What::NonNull(leaf),
                    Some(_) => What::Rows,
                    None => return Ok(None),
                },
                ("sum", None) => match Leaf::of(&table(argument)?) {
                    Some(leaf) if leaf.column != column::TIMESTAMP && is_ours(aggregate)? => What::Sum(leaf),
                    _ => return Ok(None),
                },
                _ => return Ok(None),
            };
            if !plain || !int64 {
                return Ok(None);
            }
            aggregates.push(Counted { filter, what });
        }
        if groups.is_empty() && aggregates.is_empty() {
            return Ok(None);
        }
        let context = Arc::clone(source.context());
        Ok(Some(Self {
            conditions: conditions.indexed,
            groups,
            aggregates,
            context,
            schema: partial.schema(),
        }))
    }

    /// Expressions that need bitmaps, and whether one needs the rows of each second.
    fn needs(&self) -> (Vec<&Leaf>, bool) {
        let mut leaves: Vec<&Leaf> = self.conditions.iter().flat_map(BitmapCondition::leaves).collect();
        let mut seconds = false;
        for group in &self.groups {
            match group {
                Group::Values(leaf) => leaves.push(leaf),
                Group::Time(_) => seconds = true,
            }
        }
        for counted in &self.aggregates {
            leaves.extend(counted.filter.iter().flat_map(BitmapCondition::leaves));
            match &counted.what {
                What::Rows => {}
                What::NonNull(leaf) | What::Sum(leaf) => leaves.push(leaf),
            }
        }
        (leaves, seconds)
    }

    /// Adds the counts of one segment to `totals`. Returns `false` if bitmaps cannot answer.
    pub(super) async fn add(&self, meta: &Arc<SegmentMeta>, totals: &mut Totals) -> Result<bool> {
        let (leaves, seconds) = self.needs();
        let segment = self.context.segment(meta, &leaves, seconds).await?;
        let Some(mut rows) = segment.all_true(&self.conditions)? else { return Ok(false) };
        if let Some(live) = self.context.live(meta).await? {
            rows &= live.as_ref();
        }
        if rows.is_empty() {
            return Ok(true);
        }
        let mut dimensions = Vec::new();
        for group in &self.groups {
            let Some(dimension) = group.dimension(&segment)? else { return Ok(false) };
            dimensions.push(dimension);
        }
        let combinations = dimensions.iter().try_fold(1_usize, |n, d| n.checked_mul(d.len()));
        let few = |n: usize| n.saturating_mul(ROWS_PER_COMBINATION) <= meta.rows as usize || n <= 64;
        if !combinations.is_some_and(few) {
            return Ok(false);
        }
        let mut measures = Vec::new();
        for counted in &self.aggregates {
            let Some(measure) = counted.measure(&segment, &rows)? else { return Ok(false) };
            measures.push(measure);
        }
        // Ranges of time last: counting within a range is quicker than intersecting with it.
        let mut order: Vec<usize> = (0..dimensions.len()).collect();
        order.sort_by_key(|i| matches!(dimensions[*i], Dimension::Ranges(_)));
        let at = vec![0; dimensions.len()];
        Walk { dimensions: &dimensions, order: &order, at, totals }.go(0, &rows, &measures);
        Ok(true)
    }
}

/// True if the sum's state has the type of our function; DataFusion's is narrower.
fn is_ours(sum: &AggregateFunctionExpr) -> Result<bool> {
    Ok(sum.state_fields()?.first().is_some_and(|state| state.data_type() == &SUM_STATE))
}

impl Group {
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let leaf = Leaf::of(expr)?;
        if leaf.column != column::TIMESTAMP {
            return Some(Self::Values(leaf));
        }
        is_same_throughout_a_second(expr).then_some(Self::Time(leaf))
    }

    fn dimension(&self, segment: &Segment<'_>) -> Result<Option<Dimension>> {
        match self {
            Self::Values(leaf) => {
                let Some(by_value) = segment.by_value(leaf)? else { return Ok(None) };
                let values = scalars(&by_value.values)?;
                let pairs = values.into_iter().zip(by_value.rows).filter(|(_, rows)| !rows.is_empty());
                Ok(Some(Dimension::Values(pairs.collect())))
            }
            Self::Time(leaf) => {
                let Some(seconds) = segment.seconds() else { return Ok(None) };
                let (starts, ranges): (Vec<i64>, Vec<Range<u32>>) = seconds.iter().unzip();
                let times = starts.iter().map(|second| second.saturating_mul(SECOND_NS));
                let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
                let schema = Schema::new(vec![Field::new(column::TIMESTAMP, timestamp_type(), false)]);
                let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times)])?;
                let only = Arc::clone(&leaf.expr)
                    .transform(|e| match e.downcast_ref::<Column>() {
                        Some(c) => Ok(Transformed::yes(Arc::new(Column::new(c.name(), 0)) as _)),
                        None => Ok(Transformed::no(e)),
                    })
                    .data()?;
                let keys = only.evaluate(&batch)?.into_array(batch.num_rows())?;
                let bounds = arrow::compute::partition(&[Arc::clone(&keys)])?.ranges();
                let mut pairs = Vec::with_capacity(bounds.len());
                for same in bounds {
                    let rows = ranges[same.start].start..ranges[same.end - 1].end;
                    pairs.push((ScalarValue::try_from_array(&keys, same.start)?, rows));
                }
                Ok(Some(Dimension::Ranges(pairs)))
            }
        }
    }
}

/// True if `expr`, over the timestamp alone, changes only at whole seconds.
fn is_same_throughout_a_second(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() else { return false };
    let argument = |i: usize| function.args().get(i);
    let literal = |i: usize| argument(i).and_then(|a| a.downcast_ref::<Literal>()).map(Literal::value);
    if !argument(1).is_some_and(|a| a.is::<Column>()) {
        return false;
    }
    match function.name() {
        "date_trunc" => literal(0).and_then(ScalarValue::try_as_str).flatten().is_some_and(|unit| {
            let units = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];
            units.contains(&unit.to_ascii_lowercase().as_str())
        }),
        "date_bin" => {
            let whole = match literal(0) {
                Some(ScalarValue::IntervalMonthDayNano(Some(width))) => width.nanoseconds % SECOND_NS == 0,
                Some(ScalarValue::IntervalDayTime(Some(width))) => width.milliseconds % 1000 == 0,
                _ => false,
            };
            let origin = match (argument(2), literal(2)) {
                (None, _) => true,
                (_, Some(ScalarValue::TimestampNanosecond(Some(ns), _))) => ns % SECOND_NS == 0,
                _ => false,
            };
            whole && origin
        }
        _ => false,
    }
}

fn scalars(array: &ArrayRef) -> Result<Vec<ScalarValue>> {
    (0..array.len()).map(|i| ScalarValue::try_from_array(array, i)).collect()
}

/// The groups of one expression in a segment.
enum Dimension {
    Values(Vec<(ScalarValue, RoaringBitmap)>),
    Ranges(Vec<(ScalarValue, Range<u32>)>),
}

impl Dimension {
    fn len(&self) -> usize {
        match self {
            Self::Values(pairs) => pairs.len(),
            Self::Ranges(pairs) => pairs.len(),
        }
    }

    fn value(&self, i: usize) -> &ScalarValue {
        match self {
            Self::Values(pairs) => &pairs[i].0,
            Self::Ranges(pairs) => &pairs[i].0,
        }
    }
}

/// A sum over a group: factors and sets whose intersections with the group are counted. `None`: the whole group.
type Measure = Vec<(i64, Option<RoaringBitmap>)>;

impl Counted {
    /// Measure of this aggregate over `rows`.
    fn measure(&self, segment: &Segment<'_>, rows: &RoaringBitmap) -> Result<Option<Measure>> {
        let filtered = match &self.filter {
            Some(filter) => match segment.all_true(std::slice::from_ref(filter))? {
                Some(filter) => Some(filter & rows),
                None => return Ok(None),
            },
            None => None,
        };
        let leaf = match &self.what {
            What::Rows => return Ok(Some(vec![(1, filtered)])),
            What::NonNull(leaf) | What::Sum(leaf) => leaf,
        };
        let Some(by_value) = segment.by_value(leaf)? else { return Ok(None) };
        let within = filtered.as_ref().unwrap_or(rows);
        let mut measure = Vec::new();
        for (i, of_value) in by_value.rows.iter().enumerate().filter(|(i, _)| by_value.values.is_valid(*i)) {
            let times = match &self.what {
                What::Sum(_) => match by_value.values.as_primitive_opt::<Int64Type>() {
                    Some(values) => values.value(i),
                    None => return Ok(None),
                },
                _ => 1,
            };
            measure.push((times, Some(of_value & within)));
        }
        Ok(Some(measure))
    }
}

/// Sums per group. A sum over no values is null.
#[derive(Debug, Default)]
pub(super) struct Totals(HashMap<Vec<ScalarValue>, Vec<Option<i128>>>);

impl Totals {
    fn add(&mut self, key: Vec<ScalarValue>, counts: impl ExactSizeIterator<Item = Option<i128>>) {
        let totals = self.0.entry(key).or_insert_with(|| vec![None; counts.len()]);
        for (total, count) in totals.iter_mut().zip(counts) {
            *total = match (*total, count) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            };
        }
    }

    /// Converts the totals to the output of a partial aggregation.
    pub(super) fn batch(self, counting: &Counting) -> Result<Option<RecordBatch>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let rows = self.0.len();
        let (keys, totals): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for i in 0..counting.groups.len() {
            let values = ScalarValue::iter_to_array(keys.iter().map(|key| key[i].clone()))?;
            columns.push(arrow::compute::cast(&values, counting.schema.field(i).data_type())?);
        }
        for (i, counted) in counting.aggregates.iter().enumerate() {
            // The state of a sum is wider than its values.
            let values = totals.iter().map(|counts| counts[i]);
            columns.push(match counted.what {
                What::Sum(_) => Arc::new(values.collect::<Decimal128Array>().with_data_type(SUM_STATE)),
                _ => Arc::new(values.map(|n| Some(n.unwrap_or(0) as i64)).collect::<Int64Array>()),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&counting.schema), columns, &options)?))
    }
}

/// Visits all combinations of groups that have rows.
struct Walk<'a> {
    dimensions: &'a [Dimension],
    /// Order in which the dimensions are visited.
    order: &'a [usize],
    /// Position in each dimension.
    at: Vec<usize>,
    totals: &'a mut Totals,
}

impl Walk<'_> {
    /// Visits the dimensions from `depth` in the order; `rows` are those of the groups chosen before.
    fn go(&mut self, depth: usize, rows: &RoaringBitmap, measures: &[Measure]) {
        let Some(&which) = self.order.get(depth) else {
            return self.add(measures.iter().map(|m| count(m, rows.len(), RoaringBitmap::len)));
        };
        let last = depth + 1 == self.order.len();
        let dimensions = self.dimensions;
        match &dimensions[which] {
            Dimension::Ranges(pairs) => {
                for (i, (_, range)) in pairs.iter().enumerate() {
                    let size = rows.range_cardinality(range.clone());
                    if size > 0 {
                        self.at[which] = i;
                        let within = |b: &RoaringBitmap| b.range_cardinality(range.clone());
                        self.add(measures.iter().map(|m| count(m, size, within)));
                    }
                }
            }
            Dimension::Values(pairs) if last => {
                for (i, (_, of_value)) in pairs.iter().enumerate() {
                    let size = rows.intersection_len(of_value);
                    if size > 0 {
                        self.at[which] = i;
                        self.add(measures.iter().map(|m| count(m, size, |b| b.intersection_len(of_value))));
                    }
                }
            }
            Dimension::Values(pairs) => {
                for (i, (_, of_value)) in pairs.iter().enumerate() {
                    let within = rows & of_value;
                    if !within.is_empty() {
                        self.at[which] = i;
                        let narrowed: Vec<Measure> = measures.iter().map(|m| narrow(m, of_value)).collect();
                        self.go(depth + 1, &within, &narrowed);
                    }
                }
            }
        }
    }

    /// Adds the counts of the group at the current positions.
    fn add(&mut self, counts: impl ExactSizeIterator<Item = Option<i128>>) {
        let at = self.at.iter().zip(self.dimensions);
        let key = at.map(|(i, dimension)| dimension.value(*i).clone()).collect();
        self.totals.add(key, counts);
    }
}

fn narrow(measure: &Measure, rows: &RoaringBitmap) -> Measure {
    measure.iter().map(|(times, set)| (*times, set.as_ref().map(|set| set & rows))).collect()
}

/// Value of a measure; `None` if no row has one.
fn count(measure: &Measure, group: u64, size: impl Fn(&RoaringBitmap) -> u64) -> Option<i128> {
    let mut total = None;
    for (times, set) in measure {
        let rows = set.as_ref().map_or(group, &size);
        if rows > 0 {
            total = Some(total.unwrap_or(0_i128) + i128::from(*times) * i128::from(rows));
        }
    }
    total
}
