//! What goes wrong in a session, and does it end it?

use std::io;
use std::time::Duration;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::error::{Error, Position};
use crate::server::answer::{Refusal, sqlstate};

/// A failure of a session.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client has left, or does not read: nobody can be told.
    Gone(io::Error),
    /// The session ends after this is told.
    Fatal(Report),
    /// The session goes on after this is told.
    Refused(Report),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone(error) => error.fmt(f),
            Self::Fatal(report) | Self::Refused(report) => f.write_str(&report.message),
        }
    }
}

/// Text and code that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// Code of SQLSTATE.
    pub(super) code: &'static str,
    /// Message for people.
    pub(super) message: String,
    /// Place in the statement.
    position: Option<Position>,
    /// Place in the text that the client sent, in characters from 1.
    offset: Option<usize>,
}

impl Report {
    /// Creates a report without a place.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None, offset: None }
    }

    /// The message that tells of a failure.
    pub(super) fn response(&self, severity: &str) -> PgWireBackendMessage {
        PgWireBackendMessage::ErrorResponse(ErrorResponse::new(self.fields(severity)))
    }

    /// The message that tells of something that is no failure.
    pub(super) fn notice(&self, severity: &str) -> PgWireBackendMessage {
        PgWireBackendMessage::NoticeResponse(NoticeResponse::new(self.fields(severity)))
    }

    fn fields(&self, severity: &str) -> Vec<(u8, String)> {
        // A zero byte would end the text.
        let message = self.message.replace('\0', "\u{fffd}");
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.code.to_owned()),
            (b'M', message),
        ];
        fields.extend(self.offset.map(|offset| (b'P', offset.to_string())));
        fields
    }
}

impl Failure {
    /// A statement is refused with `code`.
    pub(super) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(Report::new(code, message))
    }

    /// The bytes of the client are not the protocol.
    pub(super) fn protocol(message: String) -> Self {
        Self::Fatal(Report::new("08P01", message))
    }

    /// A message is larger than is read.
    pub(super) fn too_large(bytes: usize, bytes_max: usize) -> Self {
        let message = format!("a message of {bytes} bytes is too large; at most {bytes_max} are read");
        Self::Fatal(Report::new("54000", message))
    }

    /// A message has begun and does not go on.
    pub(super) fn silent(after: Duration) -> Self {
        let message = format!("no byte of a message that had begun arrived for {} s", after.as_secs());
        Self::Fatal(Report::new("08P01", message))
    }

    /// A text is not UTF-8.
    pub(super) fn not_utf8() -> Self {
        Self::Fatal(Report::new(
            "22021",
            "a statement or a name is not UTF-8, the only encoding of this server",
        ))
    }

    /// The client has sent a request to end what is being done.
    pub(super) fn cancelled() -> Self {
        Self::refused("57014", "canceling statement due to user request")
    }

    /// Moves the place in a part of a text to the place in the text, in which `before` stands before the part; `None`
    /// if the part is not in it.
    pub(super) fn moved(self, before: Option<&str>) -> Self {
        self.placed(|position| {
            let before = before?;
            let last_line = before.rsplit('\n').next().unwrap_or_default();
            let shift = if position.line == 1 { last_line.chars().count() } else { 0 };
            Position::new(position.line + before.matches('\n').count(), position.column + shift)
        })
    }

    /// Counts the place in the whole text that the client sent.
    pub(super) fn within(self, whole: &str) -> Self {
        let mut failure = self;
        if let Self::Refused(report) = &mut failure {
            report.offset = report.position.and_then(|position| character(whole, position));
        }
        failure
    }

    fn placed(mut self, place: impl FnOnce(Position) -> Option<Position>) -> Self {
        if let Self::Refused(report) = &mut self {
            report.position = report.position.and_then(place);
        }
        self
    }
}

/// Number of the character at `position` of `text`, from 1.
fn character(text: &str, position: Position) -> Option<usize> {
    let before = text.split_inclusive('\n').take(position.line.checked_sub(1)?);
    Some(before.map(|line| line.chars().count()).sum::<usize>() + position.column)
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let report = Report::new(sqlstate::code(&refusal), refusal.message());
        Self::Refused(Report { position: refusal.position(), ..report })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_of_all_that_was_sent() {
        let whole = "select 'ü';\nselect 1,\n  nme from spans";
        let from = whole.find("select 1").unwrap();
        let error = Error::invalid("unknown column \"nme\"").at(Position::new(2, 3));
        let failure = Failure::from(error).moved(Some(&whole[..from])).within(whole);
        let Failure::Refused(report) = failure else { panic!("refused") };
        let place = whole.chars().position(|c| c == 'n').unwrap();
        assert_eq!(report.offset, Some(place + 1));
        assert_eq!(report.code, "42703");
    }
}
