//! Which cast of the statement failed?
//!
//! The engine's error names only the value and the type: "Cannot cast string 'N/A' to value of Int64 type". So the
//! casts of the statement are recorded while it is planned. The error then names those to that type, and suggests
//! `try_cast`.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::compare::attribute_of_column;
use crate::error::{Error, ErrorKind};

/// Most casts that an error names.
const NAMED_MAX: usize = 3;
/// Characters kept from the start of a message that is shortened; half as many from its end.
const VALUE_CHARS_MAX: usize = 200;

/// Explicit casts of a statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Casts(Vec<Noted>);

#[derive(Debug, Clone, PartialEq)]
struct Noted {
    /// The target type, without its parenthesised arguments.
    to: String,
    /// `cast(amount as bigint)`
    written: String,
    /// Expression that returns null instead of failing.
    instead: Option<String>,
}

impl Casts {
    /// Casts in `plan`, in its order.
    pub(crate) fn of(plan: &LogicalPlan) -> Self {
        let mut noted: Vec<Noted> = Vec::new();
        // The closure never fails.
        let _ = plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    noted.extend(note(part).filter(|n| !noted.contains(n)));
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
        Self(noted)
    }

    /// Adds the expression and a way out to `error`, if it is about a value that cannot be cast.
    pub(crate) fn explain(&self, error: &DataFusionError) -> Option<Error> {
        // `in_words` returns no message for Broadloom's own errors.
        let (kind, message) = crate::query::error::in_words(error);
        let (to, message) = (refused_type(&message)?, shortened(&message));
        if kind != ErrorKind::InvalidInput {
            return None;
        }
        let candidates: Vec<&Noted> = self.0.iter().filter(|noted| noted.to == to).take(NAMED_MAX).collect();
        let place = match candidates.as_slice() {
            [] => "try_cast gives null in its place".to_owned(),
            [one] => match &one.instead {
                Some(instead) => format!("{} fails, {instead} gives null in its place", one.written),
                None => format!("{} fails, try_cast gives null in its place", one.written),
            },
            several => {
                let written: Vec<&str> = several.iter().map(|noted| noted.written.as_str()).collect();
                format!("one of {} fails, try_cast gives null in its place", written.join(", "))
            }
        };
        Some(Error::new(kind, format!("{message}: {place}")))
    }
}

fn note(expr: &Expr) -> Option<Noted> {
    match expr {
        Expr::Cast(cast) if !matches!(cast.expr.as_ref(), Expr::Literal(..)) => {
            let to = cast.field.data_type();
            let inner = format!("({} as {})", readable(&cast.expr), sql_type(to));
            let (written, instead) = (format!("cast{inner}"), Some(format!("try_cast{inner}")));
            Some(Noted { to: head(&to.to_string()).to_owned(), written, instead })
        }
        Expr::ScalarFunction(call) if call.name().starts_with("to_timestamp") => {
            let argument = call.args.first().filter(|arg| !matches!(arg, Expr::Literal(..)))?;
            let instead = Some(format!("try_cast({} as timestamp)", readable(argument)));
            Some(Noted { to: "Timestamp".to_owned(), written: readable(expr), instead })
        }
        Expr::ScalarFunction(call) if call.name() == "arrow_cast" => {
            let [_, Expr::Literal(to, _)] = call.args.as_slice() else { return None };
            let to = head(to.try_as_str()??).to_owned();
            Some(Noted { to, written: readable(expr), instead: None })
        }
        _ => None,
    }
}

/// `expr` as text, with attributes by their keys, without names of relations.
fn readable(expr: &Expr) -> String {
    let bare = expr.clone().transform(|part| match part {
        Expr::Column(column) => {
            let name = attribute_of_column(&column.name).unwrap_or(column.name);
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
        }
        other => Ok(Transformed::no(other)),
    });
    bare.data().unwrap_or_else(|_| expr.clone()).to_string()
}

/// A type as SQL spells it.
fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("decimal({precision}, {scale})")
        }
        other => other.to_string(),
    }
}

/// A type without its parenthesised arguments.
fn head(data_type: &str) -> &str {
    data_type.split_once('(').map_or(data_type, |(head, _)| head)
}

/// Target type of a failed cast; `None` if `message` is about something else.
fn refused_type(message: &str) -> Option<&str> {
    if let Some((_, rest)) = message.rsplit_once(" to value of ") {
        return Some(head(rest.split_once(" type").map_or(rest, |(data_type, _)| data_type)));
    }
    if message.starts_with("Can't cast value ") || message.starts_with("Cannot cast ") {
        return Some(head(message.rsplit_once(" to type ").or_else(|| message.rsplit_once(" to "))?.1));
    }
    if message.starts_with("Error parsing timestamp from ") {
        return Some("Timestamp");
    }
    message.starts_with("Invalid input syntax for type interval").then_some("Interval")
}

/// Shortens `message`, which may quote a long value.
fn shortened(message: &str) -> String {
    let chars = message.chars().count();
    if chars <= 2 * VALUE_CHARS_MAX {
        return message.to_owned();
    }
    let begin: String = message.chars().take(VALUE_CHARS_MAX).collect();
    let end: String = message.chars().skip(chars - VALUE_CHARS_MAX / 2).collect();
    format!("{begin} … {end}")
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    fn casts(exprs: &[Expr]) -> Casts {
        Casts(exprs.iter().filter_map(note).collect())
    }

    fn explained(casts: &Casts, text: &str) -> Option<String> {
        let error = DataFusionError::ArrowError(Box::new(ArrowError::CastError(text.to_owned())), None);
        casts.explain(&error).map(|error| error.message().to_owned())
    }

    #[test]
    fn the_cast_to_the_type_is_named_with_the_way_out() {
        let amount = Expr::Column(Column::new(Some("logs"), "attributes['amount']"));
        let noted = casts(&[
            cast(amount, DataType::Int64),
            cast(col("b") + lit(1_i64), DataType::Float64),
            cast(col("c"), DataType::Float64),
            cast(lit("x"), DataType::Boolean),
            cast(col("d"), DataType::Decimal128(10, 2)),
        ]);
        assert_eq!(
            explained(&noted, "Cannot cast string 'N/A' to value of Int64 type").unwrap(),
            "Cannot cast string 'N/A' to value of Int64 type: cast(amount as bigint) fails, \
             try_cast(amount as bigint) gives null in its place"
        );
        let several = explained(&noted, "Cannot cast string 'x' to value of Float64 type").unwrap();
        assert!(
            several.contains("one of cast(b + Int64(1) as double), cast(c as double) fails"),
            "{several}"
        );
        let decimal =
            explained(&noted, "Cannot cast string 'x' to value of Decimal128(38, 10) type").unwrap();
        assert!(decimal.contains("cast(d as decimal(10, 2)) fails"), "{decimal}");
        let unknown = explained(&noted, "Can't cast value 300 to type Int8").unwrap();
        assert!(unknown.ends_with("Int8: try_cast gives null in its place"), "{unknown}");
        assert_eq!(explained(&noted, "something else"), None);
        let long = format!("Cannot cast string '{}' to value of Int64 type", "x".repeat(1 << 20));
        assert!(explained(&noted, &long).unwrap().len() < 600);
    }
}
