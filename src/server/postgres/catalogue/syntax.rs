//! Pieces of syntax trees: literals, names, and what an expression is.

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, Value, ValueWithSpan,
};

use super::PG_CATALOG;
use super::tables::array_oid;
use crate::query::language::build;

/// Removes `pg_catalog` from a name.
pub(super) fn strip_schema(name: &mut ObjectName) {
    let is_schema = |ident: &Ident| ident.value.eq_ignore_ascii_case(PG_CATALOG);
    if name.0.len() > 1 && name.0[0].as_ident().is_some_and(is_schema) {
        name.0.remove(0);
    }
}

/// NULL.
pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

/// NULL as a text.
pub(super) fn null_text() -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(null()),
        data_type: DataType::Text,
        array: false,
        format: None,
    }
}

/// A boolean literal.
pub(super) fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).with_empty_span())
}

/// A number literal.
pub(super) fn number(value: i32) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).with_empty_span())
}

/// The text of a literal.
pub(super) fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text.clone()),
            _ => None,
        },
        Expr::Nested(expr) | Expr::Cast { expr, .. } => literal(expr),
        _ => None,
    }
}

/// A name in a text, without schema and quotes.
pub(super) fn bare(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_lowercase()
}

/// The items of an array that is written out.
pub(super) fn items(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(expr) | Expr::Cast { expr, .. } => items(expr),
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Function(function) if last_name(&function.name) == "make_array" => Some(arguments(function)),
        other => {
            let text = literal(other)?;
            let list = text.strip_prefix('{')?.strip_suffix('}')?;
            Some(
                list.split(',')
                    .filter(|item| !item.is_empty())
                    .map(|item| build::text(item.trim_matches('"')))
                    .collect(),
            )
        }
    }
}

/// The operator of this name.
pub(super) fn operator(name: &str) -> BinaryOperator {
    match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        _ => BinaryOperator::Eq,
    }
}

/// The arguments of a call.
pub(super) fn arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let argument = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(argument).collect()
}

/// True for `$1`.
pub(super) fn is_parameter(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(expr) => is_parameter(expr),
        Expr::Value(value) => matches!(value.value, Value::Placeholder(_)),
        _ => false,
    }
}

/// The number of the parameter in `$1` or `$1::oid[]`, less one, and the type of the array.
pub(super) fn array_type(expr: &Expr) -> Option<(usize, u32)> {
    match expr {
        Expr::Nested(expr) => array_type(expr),
        Expr::Cast { expr, data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(item, _)), .. } => {
            let (index, of_text) = array_type(expr)?;
            let item = item.to_string().to_lowercase();
            Some((index, array_oid(item.rsplit('.').next()?).unwrap_or(of_text)))
        }
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => {
                Some((name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?, array_oid("text")?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// True if `left` is an item of `list`, which is a text such as `{1,2}`.
pub(super) fn in_text(left: Expr, list: Expr) -> Expr {
    let text = |expr| Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: DataType::Text,
        array: false,
        format: None,
    };
    let inner = build::call("btrim", vec![text(list), build::text("{}")]);
    let items = build::call("string_to_array", vec![inner, build::text(",")]);
    build::call("array_has", vec![items, text(left)])
}

/// A pattern whose escape is a backslash.
pub(super) fn with_backslash(pattern: Expr, escape: &ValueWithSpan) -> Expr {
    match &escape.value {
        Value::SingleQuotedString(escape) if escape != "\\" && !escape.is_empty() => {
            build::call("replace", vec![pattern, build::text(escape), build::text("\\")])
        }
        _ => pattern,
    }
}

/// True for NULL.
pub(super) fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

/// True for 0.
pub(super) fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits == "0"))
}

/// True for a column of one of these names.
pub(super) fn ends_in(expr: &Expr, names: &[&str]) -> bool {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name,
            None => return false,
        },
        _ => return false,
    };
    names.contains(&name.value.to_ascii_lowercase().as_str())
}

/// True for a column with the name of a procedure, which in PostgreSQL is a number, too.
pub(super) fn is_procedure(expr: &Expr) -> bool {
    ends_in(expr, &["typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze"])
}

/// True for a condition such as `typtype = 'd'`: there are only base types here.
pub(super) fn is_about_other_types(condition: &Expr) -> bool {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            ends_in(left, &["typtype"])
                && literal(right).is_some_and(|kind| ["c", "d", "e", "r", "m"].contains(&kind.as_str()))
        }
        _ => false,
    }
}

/// The last part of a name, in lower case.
pub(super) fn last_name(name: &ObjectName) -> String {
    name.0
        .last()
        .and_then(|part| part.as_ident())
        .map_or_else(String::new, |ident| ident.value.to_ascii_lowercase())
}
