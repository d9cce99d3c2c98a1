//! How does an error of DataFusion become an error of Broadloom?

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

use super::functions::does_not_fit;
use crate::error::{Error, ErrorKind};

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        query_error(e)
    }
}

/// Kind and message that [`query_error`] gives to `e`. Errors of Broadloom itself have no message here.
pub(super) fn in_words(e: &DataFusionError) -> (ErrorKind, String) {
    match e.find_root() {
        DataFusionError::ArrowError(arrow, _) => (arrow_kind(arrow), words(e)),
        DataFusionError::ParquetError(_) => (ErrorKind::InvalidInput, words(e)),
        _ => (ErrorKind::Internal, String::new()),
    }
}

/// Converts an error of the engine to one for the query's author.
///
/// Statements that do not fit the data are [`ErrorKind::InvalidInput`], exhausted memory is
/// [`ErrorKind::TooLarge`], and Broadloom's own errors that passed through the engine are unwrapped.
pub fn query_error(e: DataFusionError) -> Error {
    let kind = match e.find_root() {
        DataFusionError::External(source) => match source.downcast_ref::<Error>() {
            Some(ours) => return ours.duplicate(),
            None if bad_pattern(&source.to_string()).is_some() => ErrorKind::InvalidInput,
            None => external_kind(source.as_ref()),
        },
        DataFusionError::ArrowError(arrow, _) => arrow_kind(arrow),
        DataFusionError::ParquetError(source) => match source.as_ref() {
            parquet if filter_failure(&parquet.to_string()).is_some() => ErrorKind::InvalidInput,
            ParquetError::External(source) => external_kind(source.as_ref()),
            _ => ErrorKind::Corrupt,
        },
        DataFusionError::ObjectStore(source) => external_kind(source.as_ref()),
        DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::ResourcesExhausted(_) => ErrorKind::TooLarge,
        DataFusionError::Internal(text) if without_order(text).is_some() || bad_pattern(text).is_some() => {
            ErrorKind::InvalidInput
        }
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Execution(_)
        | DataFusionError::Configuration(_) => ErrorKind::InvalidInput,
        _ => ErrorKind::Internal,
    };
    let text = words(&e);
    let message = match kind {
        ErrorKind::TooLarge => format!(
            "the query needs more memory than `query-memory` allows: {text}; \
             narrow the time range, or raise `query-memory`"
        ),
        _ => text,
    };
    match kind {
        // The cause would repeat the message.
        ErrorKind::InvalidInput | ErrorKind::TooLarge => Error::new(kind, message),
        _ => Error::new(kind, message).with_source(e),
    }
}

/// Message of an error while the Parquet reader evaluated a filter. The reader passes on only the error's debug
/// text: `ArrowError(CastError("Cannot cast …"), Some(""))`.
fn filter_failure(text: &str) -> Option<String> {
    let (_, cause) = text.split_once("Error evaluating filter predicate: ")?;
    if cause.contains("DivideByZero") {
        return Some("division by zero".to_owned());
    }
    let message = quoted(cause).unwrap_or_else(|| cause.to_owned());
    Some(if cause.contains("ArithmeticOverflow(") { overflow(&message) } else { message })
}

/// Returns the first text in quotes, unescaped.
fn quoted(debug: &str) -> Option<String> {
    let (_, rest) = debug.split_once("(\"")?;
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    text.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
}

/// Explains arrow's message for a result that does not fit: "Overflow happened on: 1 - 2".
fn overflow(text: &str) -> String {
    match text.strip_prefix("Overflow happened on: ") {
        Some(_) => does_not_fit(text, "its type"),
        None => text.to_owned(),
    }
}

/// Error of a regular expression, with the expression and a caret under the place; `None` if `text` is about
/// something else.
fn bad_pattern(text: &str) -> Option<String> {
    const WHAT: &str = "not a regular expression";
    if let Some((_, detail)) = text.split_once("regex parse error:\n") {
        let (picture, rest) = detail.split_once("error: ")?;
        let reason = rest.lines().next().unwrap_or_default();
        return Some(format!("{WHAT}: {reason}\n{}", picture.trim_end()));
    }
    if text.contains("CompiledTooBig(") || text.contains("Compiled regex exceeds size limit") {
        return Some("the regular expression is too large; use smaller repeat counts".to_owned());
    }
    let (_, pattern) = text.split_once("Regular expression did not compile: ")?;
    Some(format!("{WHAT}: {pattern}"))
}

/// Error of an absolute value that does not fit; `None` if `text` is about something else.
fn bad_abs(text: &str) -> Option<String> {
    let (array, operation) = text.split_once("Array overflow on abs(")?;
    Some(does_not_fit(&format!("abs({operation}"), array))
}

/// Type without an order that `min` or `max` was called on. DataFusion reports that as an internal error of its
/// own.
fn without_order(text: &str) -> Option<&str> {
    let (_, data_type) = text.split_once("Min/Max accumulator not implemented for type ")?;
    data_type.lines().next()
}

fn external_kind(source: &(dyn std::error::Error + Send + Sync + 'static)) -> ErrorKind {
    match source.downcast_ref::<object_store::Error>() {
        Some(object_store::Error::NotFound { .. }) => ErrorKind::NotFound,
        Some(_) => ErrorKind::Unavailable,
        None => ErrorKind::Internal,
    }
}

fn arrow_kind(e: &ArrowError) -> ErrorKind {
    match e {
        ArrowError::IoError(..) | ArrowError::IpcError(_) | ArrowError::CDataInterface(_) => {
            ErrorKind::Unavailable
        }
        ArrowError::MemoryError(_) => ErrorKind::TooLarge,
        ArrowError::ParquetError(_) => ErrorKind::Corrupt,
        _ => ErrorKind::InvalidInput,
    }
}

/// The message without the parts that only help DataFusion's developers.
fn words(e: &DataFusionError) -> String {
    let root = e.find_root();
    if let DataFusionError::ArrowError(arrow, _) = root
        && matches!(arrow.as_ref(), ArrowError::DivideByZero)
    {
        return "division by zero".to_owned();
    }
    if let DataFusionError::ArrowError(arrow, _) = root
        && let ArrowError::ArithmeticOverflow(text) = arrow.as_ref()
    {
        return overflow(text);
    }
    let mut text = root.strip_backtrace();
    if let Some(cause) = filter_failure(&text) {
        text = cause;
    }
    if let Some(what) = bad_pattern(&text) {
        return what;
    }
    if let Some(data_type) = without_order(&text) {
        return format!("min and max take values that have an order, not {data_type}");
    }
    if let Some((what, _)) = text.split_once("\n\tCandidate functions:") {
        text = String::from(what);
    }
    for noise in [
        "Error during planning: ",
        "Execution error: ",
        "Resources exhausted: ",
        "Schema error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
        "Compute error: ",
        "Invalid argument error: ",
        "SQL error: ",
        "External error: ",
        "Optimizer rule 'simplify_expressions' failed",
        "This feature is not implemented: ",
    ] {
        if let Some(rest) = text.strip_prefix(noise) {
            text = String::from(rest.trim_start());
        }
    }
    bad_abs(&text).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(e: DataFusionError) -> String {
        let error = query_error(e);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(std::error::Error::source(&error).is_none());
        error.message().to_owned()
    }

    fn in_filter(e: &DataFusionError) -> DataFusionError {
        let text = format!("Error evaluating filter predicate: {e:?}");
        DataFusionError::ParquetError(Box::new(ParquetError::ArrowError(text)))
    }

    #[test]
    fn a_filter_that_fails_in_parquet_says_the_same_as_elsewhere() {
        let arrow = |e| DataFusionError::ArrowError(Box::new(e), None);
        for (error, wanted) in [
            (
                arrow(ArrowError::CastError("Cannot cast string 'it\"s\n' to value of Int64 type".into())),
                "Cannot cast string 'it\"s\n' to value of Int64 type",
            ),
            (arrow(ArrowError::DivideByZero), "division by zero"),
            (
                arrow(ArrowError::ArithmeticOverflow("Overflow happened on: 1 - 2".into())),
                "1 - 2 does not fit in its type: cast the operands to double, or to decimal(38, 0)",
            ),
            (DataFusionError::Execution("5 * 2 does not fit".into()), "5 * 2 does not fit"),
        ] {
            assert_eq!(message(in_filter(&error)), wanted);
            assert_eq!(message(error), wanted);
        }
    }

    #[test]
    fn a_bad_regular_expression_is_shown_without_what_found_it() {
        let parse = "regex parse error:\n    (unclosed\n    ^\nerror: unclosed group";
        let wanted = "not a regular expression: unclosed group\n    (unclosed\n    ^";
        let dynamic = format!(
            "failed to call 'x' Compute error: Regular expression did not compile: Syntax(\n~~~\n{parse}\n~~~\n)"
        );
        for error in [
            DataFusionError::External(parse.into()),
            DataFusionError::External(parse.into()).context("Optimizer rule 'simplify_expressions' failed"),
            DataFusionError::Internal(dynamic.clone()),
            in_filter(&DataFusionError::Internal(dynamic)),
        ] {
            assert_eq!(message(error), wanted);
        }
        let bare = ArrowError::ComputeError("Regular expression did not compile: (unclosed".into());
        let bare = message(DataFusionError::ArrowError(Box::new(bare), None));
        assert_eq!(bare, "not a regular expression: (unclosed");
    }

    #[test]
    fn an_absolute_value_that_does_not_fit_names_the_way_out() {
        let e = ArrowError::ComputeError("Int64Array overflow on abs(-9223372036854775808)".into());
        let text = message(DataFusionError::ArrowError(Box::new(e), None));
        assert!(text.starts_with("abs(-9223372036854775808) does not fit in Int64: cast"), "{text}");
    }
}
