//! Which segments cannot hold a matching event?
//!
//! This is decided from the catalog alone, before any file is opened: opening a file whose statistics exclude it
//! costs 70 µs, deciding here well under one. Pure.
//!
//! A filter is *never true* in a segment when
//! - it compares a column with a literal outside the segment's minimum and maximum, or
//! - it needs a value (comparison, IN, LIKE, IS NOT NULL) of an attribute that no row has;
//!
//! AND is never true if one side is never true, OR if both are; any other filter may be true.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::adapter::Demanded;
use crate::catalog::{ColumnFact, ColumnsOf, Fact, LoadedColumns};
use crate::event::{AttributeType, TimeRange, schema};
use crate::query::functions::SEARCH;
use crate::query::functions::number;
use crate::query::indexed::condition::Lookup;
use crate::segment::{Bound, SegmentMeta};

/// Result of pruning: the segments to read, and counts of the others.
#[derive(Debug, Clone)]
pub(crate) struct Pruned {
    /// The segments to read, in the order of the catalog.
    pub(crate) kept: Vec<Arc<SegmentMeta>>,
    /// Number of segments before pruning.
    pub(crate) considered: usize,
    /// Number of segments excluded by the time range.
    pub(crate) by_time: usize,
    /// Number of segments excluded by other columns.
    pub(crate) by_columns: usize,
    /// Number of segments excluded by the runs, which map values to segments.
    pub(crate) by_index: usize,
}

/// Physical names of the columns whose facts [`prune`] and the readers need.
pub(crate) fn columns<'a>(filters: &'a [Expr], demanded: &'a [Demanded]) -> Vec<&'a str> {
    let core = filters.iter().flat_map(|filter| filter.column_refs());
    let mut names: Vec<&str> =
        core.map(|c| c.name.as_str()).filter(|n| schema::core_index(n).is_some()).collect();
    names.extend(demanded.iter().flat_map(|d| &d.candidates).map(String::as_str));
    names.sort_unstable();
    names.dedup();
    names
}

/// Drops segments that `filters`, all of which must hold, exclude. `known` has the facts on [`columns`].
pub(crate) fn prune(
    segments: &[Arc<SegmentMeta>],
    known: &LoadedColumns,
    filters: &[Expr],
    demanded: &[Demanded],
) -> Pruned {
    let time = time_range(filters);
    let demanded: HashMap<&str, &Demanded> = demanded.iter().map(|d| (d.column.as_str(), d)).collect();
    let considered = segments.len();
    let mut pruned = Pruned { kept: Vec::new(), considered, by_time: 0, by_columns: 0, by_index: 0 };
    for segment in segments {
        if !overlaps(time, segment.time) {
            pruned.by_time += 1;
            continue;
        }
        let view = View { rows: segment.rows, columns: known.of(segment.id), demanded: &demanded };
        if filters.iter().all(|filter| view.may_be_true(filter)) {
            pruned.kept.push(Arc::clone(segment));
        } else {
            pruned.by_columns += 1;
        }
    }
    pruned
}

/// Columns that must equal one of a list of values if all of `filters` hold.
pub(crate) fn lookups(filters: &[Expr]) -> Vec<Lookup> {
    let parts = filters.iter().flat_map(split_conjunction);
    parts.flat_map(|part| lookup(part).into_iter().chain(words(part))).collect()
}

/// The words that must be in the body if `filter` holds.
fn words(filter: &Expr) -> Vec<Lookup> {
    let Expr::ScalarFunction(function) = filter else { return Vec::new() };
    match function.args.as_slice() {
        [text, sought] if function.name() == SEARCH && column(text) == Some(schema::column::BODY) => {
            literal(sought).map(Lookup::of_words).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn lookup(filter: &Expr) -> Option<Lookup> {
    let (name, values) = match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            return lookup(left)?.or(lookup(right)?);
        }
        Expr::BinaryExpr(binary) => {
            let (name, op, value) = comparison(binary)?;
            (op == Operator::Eq).then_some((name, vec![value]))?
        }
        Expr::InList(list) if !list.negated => {
            (column(&list.expr)?, list.list.iter().map(literal).collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    };
    Lookup::new(name, values.into_iter().cloned())
}

/// True if the closed ranges share a point.
pub(crate) fn overlaps(a: TimeRange, b: TimeRange) -> bool {
    a.min_ns <= b.max_ns && b.min_ns <= a.max_ns
}

/// Range of times that is possible if all of `filters` hold.
pub(crate) fn time_range(filters: &[Expr]) -> TimeRange {
    let mut range = TimeRange { min_ns: i64::MIN, max_ns: i64::MAX };
    for filter in filters {
        narrow(filter, &mut range);
    }
    range
}

fn narrow(filter: &Expr, range: &mut TimeRange) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(left, range);
            narrow(right, range);
        }
        Expr::BinaryExpr(binary) => {
            let Some((name, op, value)) = comparison(binary) else { return };
            let (true, Some(ns)) = (name == schema::column::TIMESTAMP, nanoseconds(value)) else { return };
            let (min_ns, max_ns) = match op {
                Operator::Gt => (ns.saturating_add(1), i64::MAX),
                Operator::GtEq => (ns, i64::MAX),
                Operator::Eq => (ns, ns),
                Operator::LtEq => (i64::MIN, ns),
                Operator::Lt => (i64::MIN, ns.saturating_sub(1)),
                _ => return,
            };
            range.min_ns = range.min_ns.max(min_ns);
            range.max_ns = range.max_ns.min(max_ns);
        }
        Expr::Between(between) if !between.negated => {
            let bounds = (column(&between.expr), literal(&between.low), literal(&between.high));
            if let (Some(schema::column::TIMESTAMP), Some(low), Some(high)) = bounds
                && let (Some(low), Some(high)) = (nanoseconds(low), nanoseconds(high))
            {
                range.min_ns = range.min_ns.max(low);
                range.max_ns = range.max_ns.min(high);
            }
        }
        _ => {}
    }
}

fn nanoseconds(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(ns, _) => *ns,
        _ => None,
    }
}

/// `column op literal`, whichever side the literal is on.
fn comparison(binary: &BinaryExpr) -> Option<(&str, Operator, &ScalarValue)> {
    match (column(&binary.left), literal(&binary.right)) {
        (Some(name), Some(value)) => Some((name, binary.op, value)),
        _ => Some((column(&binary.right)?, binary.op.swap()?, literal(&binary.left)?)),
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// Content of one column of the table in a segment.
enum Content<'a> {
    /// No row has a value.
    Nothing,
    /// Exactly the values of one Parquet column.
    Column(ColumnFact<'a>),
    /// Some values.
    Unknown,
}

struct View<'a> {
    rows: u64,
    columns: ColumnsOf<'a>,
    demanded: &'a HashMap<&'a str, &'a Demanded>,
}

impl View<'_> {
    fn may_be_true(&self, filter: &Expr) -> bool {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.may_be_true(left) && self.may_be_true(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                self.may_be_true(left) || self.may_be_true(right)
            }
            Expr::BinaryExpr(binary) => {
                comparison(binary).is_none_or(|(name, op, value)| self.may_compare(name, op, value))
            }
            Expr::InList(list) if !list.negated => match column(&list.expr) {
                Some(name) => list.list.iter().any(|item| match literal(item) {
                    Some(value) => self.may_compare(name, Operator::Eq, value),
                    None => self.has_values(name),
                }),
                None => true,
            },
            Expr::Between(between) if !between.negated => match column(&between.expr) {
                Some(name) => [(&between.low, Operator::GtEq), (&between.high, Operator::LtEq)]
                    .into_iter()
                    .all(|(bound, op)| literal(bound).is_none_or(|v| self.may_compare(name, op, v))),
                None => true,
            },
            Expr::Like(like) => column(&like.expr).is_none_or(|name| self.has_values(name)),
            Expr::IsNotNull(expr) | Expr::IsTrue(expr) | Expr::IsFalse(expr) => {
                column(expr).is_none_or(|name| self.has_values(name))
            }
            _ => true,
        }
    }

    fn has_values(&self, name: &str) -> bool {
        !matches!(self.content(name), Content::Nothing)
    }

    fn may_compare(&self, name: &str, op: Operator, value: &ScalarValue) -> bool {
        if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) {
            return true;
        }
        // Values of several types do not sort as their text does.
        let mixed = self.demanded.get(name).is_some_and(|demanded| demanded.mixed);
        let bounds = match self.content(name) {
            Content::Nothing => return false,
            _ if mixed && op != Operator::Eq => return true,
            Content::Unknown => return true,
            Content::Column(column) => column.bounds,
        };
        let Some((min, max)) = bounds else { return true };
        let (Some(min), Some(max)) = (compare(min, value), compare(max, value)) else { return true };
        match op {
            Operator::Eq => min.is_le() && max.is_ge(),
            Operator::Lt => min.is_lt(),
            Operator::LtEq => min.is_le(),
            Operator::Gt => max.is_gt(),
            Operator::GtEq => max.is_ge(),
            _ => true,
        }
    }

    fn content(&self, name: &str) -> Content<'_> {
        let Some(demanded) = self.demanded.get(name) else {
            return match (self.columns.get(name), schema::core_index(name)) {
                (Fact::Present(column), Some(_)) => Content::Column(column),
                (Fact::Absent, Some(_)) => Content::Nothing,
                // `attributes`, `typed_attributes`.
                (Fact::Unknown, _) | (_, None) => Content::Unknown,
            };
        };
        let mut found = None;
        for name in &demanded.candidates {
            match (self.columns.get(name), found) {
                (Fact::Absent, _) if !self.columns.may_overflow(name) => {}
                (Fact::Present(column), None) if !self.columns.may_overflow(name) => found = Some(column),
                _ => return Content::Unknown,
            }
        }
        found.map_or(Content::Nothing, |column| self.exact(column, demanded))
    }

    /// Returns the column if its bounds compare as SQL compares its values.
    fn exact<'a>(&self, column: ColumnFact<'a>, demanded: &Demanded) -> Content<'a> {
        // Numbers among other values equal a text by their spelling. Bounds of lists and maps are typed JSON, but
        // SQL shows plain JSON.
        let number = matches!(column.attribute_type, Some(AttributeType::Int | AttributeType::Double));
        let same = column
            .attribute_type
            .is_some_and(|ty| ty != AttributeType::Json && ty.data_type() == demanded.data_type)
            || demanded.mixed && number;
        if column.null_count == self.rows {
            Content::Nothing
        } else if same {
            Content::Column(column)
        } else {
            Content::Unknown
        }
    }
}

/// Compares a bound with a literal; `None` if they cannot be compared.
fn compare(bound: Bound<&str>, value: &ScalarValue) -> Option<Ordering> {
    match (bound, value) {
        (Bound::Int(a), ScalarValue::Int64(Some(b)) | ScalarValue::TimestampNanosecond(Some(b), _)) => {
            Some(a.cmp(b))
        }
        (Bound::Double(a), ScalarValue::Float64(Some(b))) => a.partial_cmp(b),
        (Bound::Text(a), ScalarValue::Utf8(Some(b)) | ScalarValue::Utf8View(Some(b))) => {
            Some(a.cmp(b.as_str()))
        }
        (Bound::Int(a), ScalarValue::Utf8(Some(b)) | ScalarValue::Utf8View(Some(b))) => match b.parse() {
            Ok(b) => Some(a.cmp(&b)),
            Err(_) => (a as f64).partial_cmp(&number::value(b)?),
        },
        (Bound::Double(a), ScalarValue::Utf8(Some(b)) | ScalarValue::Utf8View(Some(b))) => {
            a.partial_cmp(&number::value(b)?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::logical_expr::{col, lit};
    use futures::FutureExt;

    use super::*;
    use crate::catalog::CatalogSnapshot;
    use crate::query::functions::mark;
    use crate::segment::{ColumnMeta, NewSegment, SegmentColumns, SegmentId};

    fn segment(min_ns: i64, max_ns: i64, columns: &[(&str, Option<(i64, i64)>)]) -> NewSegment {
        let mut columns: Vec<_> = columns
            .iter()
            .map(|(name, bounds)| ColumnMeta {
                name: (*name).to_owned(),
                attribute_type: schema::core_index(name).is_none().then_some(AttributeType::Int),
                null_count: 1,
                bounds: bounds.map(|(min, max)| (Bound::Int(min), Bound::Int(max))),
            })
            .collect();
        columns.push(ColumnMeta {
            name: schema::column::TIMESTAMP.to_owned(),
            attribute_type: None,
            null_count: 0,
            bounds: Some((Bound::Int(min_ns), Bound::Int(max_ns))),
        });
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let time = TimeRange { min_ns, max_ns };
        let meta = SegmentMeta {
            id: SegmentId::new(0),
            bytes: 1,
            column_bytes: 0,
            index: None,
            rows: 10,
            time,
            mask: None,
        };
        NewSegment { meta, columns: Arc::new(SegmentColumns { columns, overflow: None }) }
    }

    fn kept(filter: Expr) -> Vec<i64> {
        kept_of(filter, &Field::new("attributes['code']", DataType::Int64, true))
    }

    fn kept_of(filter: Expr, field: &Field) -> Vec<i64> {
        let catalog = CatalogSnapshot::of(&[
            segment(0, 9, &[("code", Some((200, 299)))]),
            segment(10, 19, &[("duration_ns", Some((5, 7))), ("code", Some((400, 499)))]),
            segment(20, 29, &[("resource.code", None), ("code", None)]),
            segment(30, 39, &[("overflow", None)]),
        ]);
        let demanded = [Demanded::new("code", field)];
        let filters = [filter];
        let known = catalog.columns(&columns(&filters, &demanded)).now_or_never().unwrap();
        let pruned = prune(&catalog.segments, &known, &filters, &demanded);
        pruned.kept.iter().rev().map(|s| s.time.min_ns).collect()
    }

    fn at(ns: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())))
    }

    fn code() -> Expr {
        Expr::Column(datafusion::common::Column::from_name("attributes['code']"))
    }

    #[test]
    fn time_ranges_exclude_segments() {
        assert_eq!(kept(col("timestamp").gt_eq(at(19)).and(at(20).gt(col("timestamp")))), [10]);
        assert_eq!(kept(col("timestamp").between(at(29), at(30))), [20, 30]);
        assert_eq!(kept(col("timestamp").eq(at(9)).or(col("timestamp").eq(at(25)))), [0, 20]);
    }

    #[test]
    fn numbers_exclude_segments_where_others_have_text() {
        let kept =
            |filter| kept_of(filter, &mark(Field::new("attributes['code']", DataType::Utf8View, true)));
        assert_eq!(kept(code().eq(lit("404"))), [10, 20, 30]);
        assert_eq!(kept(code().in_list(vec![lit("250"), lit("999")], false)), [0, 20, 30]);
        assert_eq!(kept(code().eq(lit("teapot"))), [0, 10, 20, 30]);
        assert_eq!(kept(code().gt(lit("404"))), [0, 10, 20, 30]);
    }

    #[test]
    fn bounds_and_absent_columns_exclude_segments_and_overflow_keeps_them() {
        assert_eq!(kept(code().eq(lit(404_i64))), [10, 20, 30]);
        assert_eq!(kept(lit(300_i64).gt(code())), [0, 20, 30]);
        assert_eq!(kept(code().in_list(vec![lit(250_i64), lit(999_i64)], false)), [0, 20, 30]);
        assert_eq!(kept(col("duration_ns").gt(lit(6_i64))), [10]);
        assert_eq!(kept(col("duration_ns").is_not_null()), [10]);
        assert_eq!(kept(col("duration_ns").is_null()), [0, 10, 20, 30]);
        assert_eq!(kept(col("duration_ns").gt(lit(6_i64)).or(code().lt(lit(300_i64)))), [0, 10, 20, 30]);
        assert_eq!(kept(code().not_eq(lit(1_i64))), [0, 10, 20, 30]);
    }
}
