//! The one public error: its kind, its message and its cause.
//!
//! [`ErrorKind`] tells the caller how to react, [`Position`] tells a program the place in a statement. The message
//! tells a person what was wrong, where, what was expected and what to do. An error is logged once, where it is handled.
//!
//! An error knows no protocol: each protocol maps the kind to its own codes.

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
    /// All places, or all memory, are taken for now; the same request fits later: repeat it.
    Busy,
    /// The request can never fit: make it smaller, or raise the setting that the message names.
    TooLarge,
    /// A limit that the request itself set was reached: ask for less, or raise it.
    LimitExceeded,
    /// The caller sent no credentials, or unknown ones: send valid credentials.
    Unauthenticated,
    /// The caller is known and lacks the right: request the right.
    Forbidden,
    /// Stored bytes differ from those written; the message names object, offset, expected and found.
    Corrupt,
    /// The writer saw a failed fsync and refuses to go on: restart the process.
    Poisoned,
    /// The time for it ran out, or the caller asked to stop.
    Cancelled,
    /// A defect in Broadloom: report it.
    Internal,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::InvalidInput,
        Self::NotFound,
        Self::Conflict,
        Self::Unavailable,
        Self::Busy,
        Self::TooLarge,
        Self::LimitExceeded,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Corrupt,
        Self::Poisoned,
        Self::Cancelled,
        Self::Internal,
    ];

    /// Name of the kind for programs, the same in every protocol and in metrics: `invalid-input`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid-input",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::TooLarge => "too-large",
            Self::LimitExceeded => "limit-exceeded",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Corrupt => "corrupt",
            Self::Poisoned => "poisoned",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// The kind of that [`name`](Self::name).
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns whether the same request may succeed later, unchanged. [`Poisoned`](Self::Poisoned) counts: it
    /// succeeds after the restart, so a sender keeps what it has.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable | Self::Busy | Self::Poisoned => true,
            Self::InvalidInput
            | Self::NotFound
            | Self::Conflict
            | Self::TooLarge
            | Self::LimitExceeded
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::Corrupt
            | Self::Cancelled
            | Self::Internal => false,
        }
    }
}

/// Place in a statement; both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The place, unless a number is 0.
    pub fn new(line: usize, column: usize) -> Option<Self> {
        (line > 0 && column > 0).then_some(Self { line, column })
    }
}

impl fmt::Display for Position {
    /// `line 3, column 14`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// An error of any part of Broadloom.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    position: Option<Position>,
}

impl Error {
    /// Creates an error of `kind` with `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, position: None }
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

    /// Sets the place in the statement that it is about.
    #[must_use]
    pub fn at(mut self, position: impl Into<Option<Position>>) -> Self {
        self.position = position.into();
        self
    }

    /// Puts `more` after the message.
    #[must_use]
    pub fn followed_by(mut self, more: impl AsRef<str>) -> Self {
        self.message.push_str(more.as_ref());
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

    /// Returns whether the same request may succeed later; see [`ErrorKind::is_retryable`].
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// Place in the statement that the error is about, if known.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Copy without the causes, for several recipients.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self { kind: self.kind, message: self.message.clone(), source: None, position: self.position }
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
    fn every_kind_has_a_name_of_its_own() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::of_name(kind.name()), Some(kind));
        }
        assert_eq!(ErrorKind::of_name("nonsense"), None);
    }

    #[test]
    fn only_what_fits_later_is_repeated() {
        let repeated = ErrorKind::ALL.into_iter().filter(|kind| kind.is_retryable()).collect::<Vec<_>>();
        assert_eq!(repeated, [ErrorKind::Unavailable, ErrorKind::Busy, ErrorKind::Poisoned]);
    }

    #[test]
    fn a_place_stays_while_words_are_added() {
        let error = Error::invalid("no column x").at(Position::new(2, 7));
        let error = error.context("view v").followed_by("; did you mean y?");
        assert_eq!(error.message(), "view v: no column x; did you mean y?");
        assert_eq!(error.position(), Some(Position { line: 2, column: 7 }));
        assert_eq!(error.duplicate().position(), error.position());
        assert_eq!(Position::new(0, 1), None);
        assert_eq!(Error::internal("no").at(None).position(), None);
    }

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
