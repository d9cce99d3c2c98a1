//! The one public error: its kind, its message and its cause.
//!
//! [`ErrorKind`] tells the caller how to react. The message tells a person what was wrong, where, what
//! was expected and what to do. An error is logged once, where it is handled.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

/// Result of every fallible public function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reaction that an [`Error`] asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is wrong: fix it.
    InvalidInput,
    /// The requested object, table or record does not exist.
    NotFound,
    /// Another writer changed or holds it: read it again, then retry.
    Conflict,
    /// Temporarily impossible: wait and retry.
    Unavailable,
    /// A configured limit was reached; the message names the setting.
    LimitExceeded,
    /// Stored bytes differ from those written; the message names object, offset, expected and found.
    Corrupt,
    /// The writer saw a failed fsync and refuses to go on: restart the process.
    Poisoned,
    /// The caller went away or asked to stop.
    Cancelled,
    /// A defect in Broadloom: report it.
    Internal,
}

/// An error of any part of Broadloom.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind` with `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Creates an error of kind [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Creates an error of kind [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Creates an error of kind [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` and a colon before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Reaction that the error asks of the caller.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Message without the causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Message followed by its causes. A cause that the text already quotes is left out.
    pub fn chain(&self) -> String {
        let mut said = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            cause = error.source();
        }
        said
    }
}

/// Runs `read`, which decodes bytes with third-party code, and turns a panic into [`ErrorKind::Corrupt`]: the
/// readers of Parquet and Arrow assume in places that files are well formed.
pub(crate) fn contained<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    let caught = catch_unwind(AssertUnwindSafe(read));
    caught.unwrap_or_else(|_| Err(Error::corrupt("the data cannot be decoded: its reader panicked")))
}

/// A fault found in a stored object. The check may have stopped there: the object may have more faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path of the object, below the data directory.
    pub path: String,
    /// Description of the fault.
    pub what: String,
    /// Expected value, if it is short enough to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Value found instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Problem {
    /// Reports that the object at `path` has the fault `what`.
    pub fn new(path: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self { path: path.to_string(), what: what.to_string(), expected: None, found: None }
    }

    /// Reports that `what` of the object at `path` is `found` instead of `expected`.
    pub fn differs(
        path: impl fmt::Display,
        what: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        let (expected, found) = (Some(expected.to_string()), Some(found.to_string()));
        Self { expected, found, ..Self::new(path, what) }
    }

    /// Reports that the object at `path` could not be read because of `error`.
    pub fn unreadable(path: impl fmt::Display, error: &Error) -> Self {
        Self::new(path, error.chain())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, e.to_string()).with_source(e)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        Self::internal(e.to_string()).with_source(e)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    /// Passes on the error of the store that was read from, if that is the cause; otherwise the bytes are corrupt.
    fn from(e: parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError;
        let e = match e {
            ParquetError::External(cause) => match cause.downcast::<object_store::Error>() {
                Ok(cause) => return (*cause).into(),
                Err(cause) => match cause.downcast::<Self>() {
                    Ok(cause) => return *cause,
                    Err(cause) => ParquetError::External(cause),
                },
            },
            e => e,
        };
        Self::corrupt(e.to_string()).with_source(e)
    }
}

impl From<object_store::Error> for Error {
    fn from(e: object_store::Error) -> Self {
        let kind = match &e {
            object_store::Error::NotFound { .. } => ErrorKind::NotFound,
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                ErrorKind::Conflict
            }
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, e.to_string()).with_source(e)
    }
}

#[cfg(test)]
mod tests {
    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn what_could_not_be_fetched_is_not_corrupt() {
        let kind = |cause| Error::from(ParquetError::External(cause)).kind();
        let of_store =
            |path: &str| object_store::Error::NotFound { path: path.to_owned(), source: "gone".into() };
        assert_eq!(kind(Box::new(of_store("segments/a"))), ErrorKind::NotFound);
        let slow = object_store::Error::Generic { store: "s3", source: "timed out".into() };
        assert_eq!(kind(Box::new(slow)), ErrorKind::Unavailable);
        assert_eq!(kind(Box::new(Error::new(ErrorKind::Poisoned, "no more"))), ErrorKind::Poisoned);
        assert_eq!(kind("a page of nonsense".into()), ErrorKind::Corrupt);
        assert_eq!(Error::from(ParquetError::EOF("short".to_owned())).kind(), ErrorKind::Corrupt);
    }
}
