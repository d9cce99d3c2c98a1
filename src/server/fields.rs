//! How do the fields of a request become parts of a statement?
//!
//! What a client sends as SQL is parsed as exactly one expression, and printed again in parentheses: it cannot end the
//! place that it stands in, whatever it contains. Everything else has a type. Fields that do not exist are errors.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::content::broken_off;
use super::port::is_stalled;
use crate::error::{Error, ErrorKind, Result};
use crate::query::language::{build, parse_condition, with_stack};

/// Most bytes of the body of a request: its expressions are parts of one statement, which has at most as many.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;

/// Reads a JSON body.
pub(super) async fn body<T: DeserializeOwned>(body: Body) -> Result<T> {
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|e| {
        if is_stalled(&e) {
            return broken_off(e);
        }
        let message = format!("the body cannot be read, or has more than {BODY_BYTES_MAX} bytes");
        Error::new(ErrorKind::TooLarge, message).with_source(e)
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid(format!("the body is not what this route takes: {e}")).with_source(e))
}

/// Options after the `?` of an address, one by one.
pub(super) fn options(query: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned()
}

/// Error of an option that does not exist.
pub(super) fn no_option(name: &str, known: &str) -> Error {
    Error::invalid(format!("there is no option {name:?}; the options are {known}"))
}

/// Reads an option; `known` says what it may be.
pub(super) fn option<T: FromStr>(name: &str, value: &str, known: impl Display) -> Result<T> {
    value.parse().map_err(|_| Error::invalid(format!("{name}={value} is not {known}")))
}

/// Table that a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    /// Spans.
    #[default]
    Spans,
    /// Log records.
    Logs,
    /// Everything.
    Events,
}

impl Source {
    /// Values of the field.
    pub(super) const NAMES: &str = "spans, logs or events";

    /// Name of the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Events => "events",
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = [Self::Spans, Self::Logs, Self::Events].into_iter().find(|source| source.name() == name);
        known.ok_or_else(|| Error::invalid(format!("{name:?} is not {}", Self::NAMES)))
    }
}

/// One expression of SQL, in parentheses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Sql(String);

impl FromStr for Sql {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // A tree of a text at the limits is deep: it is printed and freed on a large stack, too.
        with_stack(|| parse_condition(text).map(|expr| Self(format!("({expr})"))))
    }
}

impl TryFrom<String> for Sql {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl Display for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A condition that a request may leave out; a blank one is none.
pub(super) fn condition(text: &str) -> Result<Option<Sql>> {
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// A moment, written in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Instant(DateTime<Utc>);

impl FromStr for Instant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|e| {
            Error::invalid(format!("{text:?} is not a time; write 2026-11-29T14:00:00Z")).with_source(e)
        })?;
        Ok(Self(time.to_utc()))
    }
}

impl TryFrom<String> for Instant {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// Time range: its start, and the moment after its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// Start; none is the first event.
    pub(super) from: Option<Instant>,
    /// Moment after the end; none is the last event.
    pub(super) to: Option<Instant>,
}

impl Range {
    /// The range of the field `t`.
    pub(super) fn of(t: Option<[Instant; 2]>) -> Self {
        t.map_or_else(Self::default, |[from, to]| Self { from: Some(from), to: Some(to) })
    }
}

/// ` WHERE …` of events in `range` that meet all conditions, or nothing.
pub(super) fn filter<'a>(range: &Range, conditions: impl IntoIterator<Item = &'a Sql>) -> String {
    let from = range.from.map(|from| format!("timestamp >= {}", literal(from)));
    let to = range.to.map(|to| format!("timestamp < {}", literal(to)));
    let conditions = conditions.into_iter().map(Sql::to_string);
    let all: Vec<String> = from.into_iter().chain(to).chain(conditions).collect();
    if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
}

/// A duration such as `30s` as an interval; `otherwise` if there is none. Fails unless it is above zero.
pub(super) fn interval(text: Option<&str>, otherwise: Duration) -> Result<String> {
    let wrong = |text| Error::invalid(format!("step={text} is not a duration above 0; write 30s or 5m"));
    let step = match text {
        None => otherwise,
        Some(text) => humantime::parse_duration(text).map_err(|e| wrong(text).with_source(e))?,
    };
    // DataFusion's intervals have nanoseconds in 64 bits.
    match i64::try_from(step.as_nanos()) {
        Ok(ns) if ns > 0 => Ok(format!("INTERVAL '{ns} nanoseconds'")),
        _ => Err(wrong(text.unwrap_or_default())),
    }
}

/// A text as SQL writes it.
pub(super) fn literal(text: impl Display) -> String {
    build::text(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::language::parse;

    #[test]
    fn an_expression_stays_in_its_place() {
        let range = Range::of(Some(
            ["2026-11-29T14:00:00+01:00", "2026-11-29T15:00:00Z"].map(|t| t.parse().unwrap()),
        ));
        for text in
            ["a = 1 or b = 2", "name = 'it''s' -- so", "x /* y", "trace_id in (select trace_id from spans)"]
        {
            let Ok(sql) = text.parse::<Sql>() else {
                assert_eq!(text, "x /* y");
                continue;
            };
            let statement = format!("SELECT * FROM spans{}", filter(&range, [&sql]));
            let printed = parse(&statement).unwrap().to_string();
            let wanted = "SELECT * FROM spans WHERE timestamp >= '2026-11-29T13:00:00Z' AND timestamp < \
                          '2026-11-29T15:00:00Z' AND (";
            assert!(printed.starts_with(wanted) && printed.ends_with(')'), "{printed}");
        }
        for wrong in [
            "",
            "1) or (1 = 1",
            "true) union all select * from logs where (true",
            "true; select 1",
            "true) --",
            "a as b",
            "a, b",
            "'open",
        ] {
            let error = wrong.parse::<Sql>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn a_deep_expression_is_printed_and_freed() {
        let deep = |operators| format!("a{}", " + a".repeat(operators));
        assert!(deep(900).parse::<Sql>().is_ok());
        assert!(deep(100_000).parse::<Sql>().is_err());
    }

    #[test]
    fn texts_are_quoted_and_times_are_times() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(filter(&Range::default(), []), "");
        assert_eq!(condition("  ").unwrap(), None);
        for wrong in ["", "now", "2026-11-29", "2026-11-29T14:00:00"] {
            assert!(wrong.parse::<Instant>().is_err(), "{wrong}");
        }
    }
}
