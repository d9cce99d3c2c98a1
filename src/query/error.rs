//! Errors of the engine, as ours.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

use crate::error::{Error, ErrorKind};

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        query_error(e)
    }
}

/// What an error of the engine means to the one who asked.
///
/// Statements that do not fit the data are [`ErrorKind::InvalidInput`], exhausted memory is
/// [`ErrorKind::LimitExceeded`], and our own errors that came through the engine are unwrapped.
pub fn query_error(e: DataFusionError) -> Error {
    let kind = match e.find_root() {
        DataFusionError::External(source) => match source.downcast_ref::<Error>() {
            Some(ours) => return copy(ours),
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
        DataFusionError::ResourcesExhausted(_) => ErrorKind::LimitExceeded,
        DataFusionError::Internal(text) if without_order(text).is_some() => ErrorKind::InvalidInput,
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
        ErrorKind::LimitExceeded => format!(
            "the query needs more memory than `query-memory` allows: {text}; \
             narrow the time range, or raise it"
        ),
        _ => text,
    };
    match kind {
        // The cause says the same in other words.
        ErrorKind::InvalidInput | ErrorKind::LimitExceeded => Error::new(kind, message),
        _ => Error::new(kind, message).with_source(e),
    }
}

/// What went wrong when the Parquet reader evaluated a filter; it only passes on the text.
fn filter_failure(text: &str) -> Option<&str> {
    let (_, cause) = text.split_once("Error evaluating filter predicate: ")?;
    Some(if cause.contains("DivideByZero") { "division by zero" } else { cause })
}

/// The type of which `min` or `max` was asked for, though its values have no order; DataFusion takes that for a
/// mistake of its own.
fn without_order(text: &str) -> Option<&str> {
    let (_, data_type) = text.split_once("Min/Max accumulator not implemented for type ")?;
    data_type.lines().next()
}

fn copy(ours: &Error) -> Error {
    Error::new(ours.kind(), ours.message())
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
        ArrowError::MemoryError(_) => ErrorKind::LimitExceeded,
        ArrowError::ParquetError(_) => ErrorKind::Corrupt,
        _ => ErrorKind::InvalidInput,
    }
}

/// The message without what only helps developers of the engine.
fn words(e: &DataFusionError) -> String {
    let root = e.find_root();
    if let DataFusionError::ArrowError(arrow, _) = root
        && matches!(arrow.as_ref(), ArrowError::DivideByZero)
    {
        return "division by zero".to_owned();
    }
    let mut text = root.strip_backtrace();
    if let Some(cause) = filter_failure(&text) {
        return cause.to_owned();
    }
    if let Some(data_type) = without_order(&text) {
        return format!("min and max need values that have an order, not {data_type}");
    }
    if let Some((what, _)) = text.split_once("\n\tCandidate functions:") {
        text = what.to_owned();
    }
    for noise in [
        "Error during planning: ",
        "Execution error: ",
        "Resources exhausted: ",
        "Schema error: ",
        "Arrow error: ",
        "SQL error: ",
        "External error: ",
        "Optimizer rule 'simplify_expressions' failed",
        "This feature is not implemented: ",
    ] {
        if let Some(rest) = text.strip_prefix(noise) {
            text = rest.trim_start().to_owned();
        }
    }
    text
}
