//! Which predicates can bitmaps evaluate?
//!
//! Any predicate over *one* column, with any functions: it is evaluated once for each distinct
//! value. And AND, OR and NOT of such predicates. Pure.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::{collect_columns, split_conjunction};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;

use crate::event::schema::{self, column};
use crate::index::ValueHash;
use crate::index::words::WORDS_OF_BODY;
use crate::query::functions::{SEARCH, words_of};

/// A predicate whose parts are each over a single column.
#[derive(Debug, Clone)]
pub(crate) enum BitmapCondition {
    /// Over one column.
    Leaf(Leaf),
    /// All hold.
    And(Vec<BitmapCondition>),
    /// At least one holds.
    Or(Vec<BitmapCondition>),
    /// It does not hold.
    Not(Box<BitmapCondition>),
}

/// An expression over one column of the table, or over none.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// The column's name in the table.
    pub(crate) column: String,
    /// The expression, over the table's schema.
    pub(crate) expr: Arc<dyn PhysicalExpr>,
}

impl BitmapCondition {
    /// Converts `expr`; `None` if a part is over several columns.
    pub(crate) fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            let sides = || Some(vec![Self::of(binary.left())?, Self::of(binary.right())?]);
            match binary.op() {
                Operator::And => return sides().map(Self::And),
                Operator::Or => return sides().map(Self::Or),
                _ => {}
            }
        }
        if let Some(not) = expr.downcast_ref::<NotExpr>() {
            return Self::of(not.arg()).map(|c| Self::Not(Box::new(c)));
        }
        Leaf::of(expr).map(Self::Leaf)
    }

    /// All leaves.
    pub(crate) fn leaves(&self) -> Vec<&Leaf> {
        match self {
            Self::Leaf(leaf) => vec![leaf],
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::leaves).collect(),
            Self::Not(inner) => inner.leaves(),
        }
    }
}

impl Leaf {
    /// Returns `expr` if it is over exactly one column and deterministic.
    pub(crate) fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let columns = collect_columns(expr);
        let mut columns = columns.iter();
        let (Some(column), None) = (columns.next(), columns.next()) else { return None };
        if is_volatile(expr) || !is_constant_apart_from_columns(expr) {
            return None;
        }
        Some(Self { column: column.name().to_owned(), expr: Arc::clone(expr) })
    }

    /// `true` for `column IS NULL`, `false` for `column IS NOT NULL`, `None` otherwise.
    pub(crate) fn null_test(&self) -> Option<bool> {
        let is_column = |arg: &Arc<dyn PhysicalExpr>| arg.is::<Column>();
        if self.expr.downcast_ref::<IsNullExpr>().is_some_and(|e| is_column(e.arg())) {
            return Some(true);
        }
        self.expr.downcast_ref::<IsNotNullExpr>().filter(|e| is_column(e.arg())).map(|_| false)
    }

    /// Half-open comparison with a literal time: `(at or after?, nanoseconds)`.
    ///
    /// `timestamp >= t` is `(true, t)`, `timestamp < t` is `(false, t)`; `>` and `<=` are those of the next
    /// nanosecond.
    pub(crate) fn since(&self) -> Option<(bool, i64)> {
        let binary = self.expr.downcast_ref::<BinaryExpr>()?;
        let (op, ns) = match (column_name(binary.left()), time(binary.right())) {
            (Some(column::TIMESTAMP), Some(ns)) => (*binary.op(), ns),
            _ => match (time(binary.left()), column_name(binary.right())) {
                (Some(ns), Some(column::TIMESTAMP)) => (binary.op().swap()?, ns),
                _ => return None,
            },
        };
        match op {
            Operator::GtEq => Some((true, ns)),
            Operator::Gt => Some((true, ns.checked_add(1)?)),
            Operator::Lt => Some((false, ns)),
            Operator::LtEq => Some((false, ns.checked_add(1)?)),
            _ => None,
        }
    }
}

/// True if only the columns in `expr` vary while the query runs.
fn is_constant_apart_from_columns(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut constant = true;
    let walked = expr.apply(|node| {
        constant &= !node.is::<DynamicFilterPhysicalExpr>();
        Ok(if constant { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && constant
}

/// A predicate, split into the parts for bitmaps, for scans and for lookups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    /// Parts that bitmaps may answer.
    pub(crate) indexed: Vec<BitmapCondition>,
    /// The same, as expressions.
    pub(crate) indexed_exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// Parts that bitmaps cannot answer.
    pub(crate) residual: Vec<Arc<dyn PhysicalExpr>>,
    /// Columns that must equal one of some values: candidates for lookups. All must hold.
    pub(crate) lookups: Vec<Lookup>,
}

/// `column IN (values)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    /// The column's name in the table.
    pub(crate) column: String,
    /// The values; none is null.
    pub(crate) values: Vec<ScalarValue>,
}

impl Lookup {
    /// `column` equals one of `values`; null equals nothing. `None` if there are too many.
    pub(crate) fn new(column: &str, values: impl IntoIterator<Item = ScalarValue>) -> Option<Self> {
        let values: Vec<_> = values.into_iter().filter(|value| !value.is_null()).collect();
        (values.len() <= LOOKUP_VALUES_MAX).then(|| Self { column: column.to_owned(), values })
    }

    /// `self OR other`, if both are about the same column.
    pub(crate) fn or(mut self, other: Self) -> Option<Self> {
        self.values.extend(other.values);
        (self.column == other.column && self.values.len() <= LOOKUP_VALUES_MAX).then_some(self)
    }

    /// Hashes of the values, as indexes hold them; `None` if a value has no hash.
    pub(crate) fn hashes(&self) -> Option<Vec<ValueHash>> {
        let hash = |value: &ScalarValue| match value {
            ScalarValue::FixedSizeBinary(_, Some(bytes)) => Some(ValueHash::of_bytes(bytes)),
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
                Some(ValueHash::of_text(text))
            }
            ScalarValue::Int64(Some(value)) => Some(ValueHash::of_int(*value)),
            _ => None,
        };
        self.values.iter().map(hash).collect()
    }
}

/// Most values of a lookup.
const LOOKUP_VALUES_MAX: usize = 256;

impl Conditions {
    /// Splits `predicate`.
    pub(crate) fn of(predicate: Option<&Arc<dyn PhysicalExpr>>) -> Self {
        let mut conditions = Self::default();
        for part in predicate.into_iter().flat_map(split_conjunction) {
            conditions.lookups.extend(Lookup::of(part));
            conditions.lookups.extend(Lookup::of_search(part));
            match BitmapCondition::of(part) {
                Some(condition) => {
                    conditions.indexed.push(condition);
                    conditions.indexed_exprs.push(Arc::clone(part));
                }
                None => conditions.residual.push(Arc::clone(part)),
            }
        }
        conditions
    }
}

impl Lookup {
    /// `expr` as a lookup, if it is one.
    pub(crate) fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            let column = column_name(list.expr()).filter(|_| !list.negated())?;
            let values: Vec<_> = list.list().iter().map(literal).collect::<Option<_>>()?;
            return Self::new(column, values);
        }
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        match binary.op() {
            Operator::Eq => {
                let (column, value) = match (column_name(binary.left()), literal(binary.right())) {
                    (Some(column), Some(value)) => (column, value),
                    _ => (column_name(binary.right())?, literal(binary.left())?),
                };
                Self::new(column, [value])
            }
            Operator::Or => Self::of(binary.left())?.or(Self::of(binary.right())?),
            _ => None,
        }
    }
}

impl Lookup {
    /// The words that must be in the body if `expr` holds.
    fn of_search(expr: &Arc<dyn PhysicalExpr>) -> Vec<Self> {
        let search = expr.downcast_ref::<ScalarFunctionExpr>().filter(|function| function.name() == SEARCH);
        match search.map(ScalarFunctionExpr::args) {
            Some([text, words]) if column_name(text) == Some(column::BODY) => {
                literal(words).map(|words| Self::of_words(&words)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The words that a search in the body looks for, each by itself.
    pub(crate) fn of_words(sought: &ScalarValue) -> Vec<Self> {
        let words = words_of(sought).unwrap_or_default();
        words.into_iter().filter_map(|word| Self::new(WORDS_OF_BODY, [ScalarValue::from(word)])).collect()
    }

    /// Name of the core column that it is about, if it is about one.
    pub(crate) fn core_column(&self) -> Option<&str> {
        if self.is_of_words() {
            return Some(column::BODY);
        }
        schema::core_index(&self.column).map(|_| self.column.as_str())
    }

    /// True if it is about words of the body.
    pub(crate) fn is_of_words(&self) -> bool {
        self.column == WORDS_OF_BODY
    }
}

fn column_name(expr: &Arc<dyn PhysicalExpr>) -> Option<&str> {
    expr.downcast_ref::<Column>().map(Column::name)
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    expr.downcast_ref::<Literal>().map(|literal| literal.value().clone())
}

fn time(expr: &Arc<dyn PhysicalExpr>) -> Option<i64> {
    match literal(expr)? {
        ScalarValue::TimestampNanosecond(ns, _) => ns,
        _ => None,
    }
}

/// True if values of this type can have bitmaps.
pub(crate) fn is_countable(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Utf8View
            | DataType::Boolean
            | DataType::Int64
            | DataType::Int32
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float64
            | DataType::FixedSizeBinary(_)
    )
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::physical_expr::expressions::{binary, col, in_list, is_not_null, lit};

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("a", DataType::Utf8View, true),
            Field::new("b", DataType::Int64, true),
            Field::new("c", DataType::Int64, true),
        ])
    }

    fn compare(name: &str, op: Operator, value: i64) -> Arc<dyn PhysicalExpr> {
        binary(col(name, &schema()).unwrap(), op, lit(value), &schema()).unwrap()
    }

    #[test]
    fn predicates_over_single_columns_combine_and_others_remain() {
        let one =
            binary(compare("b", Operator::Gt, 1), Operator::Or, compare("c", Operator::Lt, 2), &schema());
        let both =
            binary(col("b", &schema()).unwrap(), Operator::Eq, col("c", &schema()).unwrap(), &schema());
        let null = is_not_null(col("a", &schema()).unwrap()).unwrap();
        let all = binary(one.unwrap(), Operator::And, both.unwrap(), &schema()).unwrap();
        let all = binary(all, Operator::And, null, &schema()).unwrap();
        let conditions = Conditions::of(Some(&all));
        assert_eq!(conditions.residual.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b@1 = c@2"]);
        let leaves: Vec<_> = conditions.indexed.iter().flat_map(BitmapCondition::leaves).collect();
        assert_eq!(leaves.iter().map(|l| l.column.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
    }

    #[test]
    fn equality_and_lists_are_lookups() {
        let values = |expr: &Arc<dyn PhysicalExpr>| Lookup::of(expr).map(|l| l.values.len());
        assert_eq!(values(&compare("b", Operator::Eq, 1)), Some(1));
        assert_eq!(values(&compare("b", Operator::Gt, 1)), None);
        let either =
            binary(compare("b", Operator::Eq, 1), Operator::Or, compare("b", Operator::Eq, 2), &schema());
        assert_eq!(values(&either.unwrap()), Some(2));
        let either =
            binary(compare("b", Operator::Eq, 1), Operator::Or, compare("c", Operator::Eq, 2), &schema());
        assert_eq!(values(&either.unwrap()), None);
        let list = |negated| {
            in_list(col("b", &schema()).unwrap(), vec![lit(1_i64), lit(2_i64)], &negated, &schema()).unwrap()
        };
        assert_eq!(values(&list(false)), Some(2));
        assert_eq!(values(&list(true)), None);
    }
}
