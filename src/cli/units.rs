//! How are sizes, times and places written in options?

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::config::{Location, LogPlace, RetentionRule};
use crate::error::Error;
use crate::query::output::Format;

const SEGMENT_BYTES_MIN: usize = 1 << 20;

/// Parses bytes: `1048576`, `512KiB`, `64MiB`, `2GiB`, `64MB` (1 MB = 1,000,000), `64M` (the same as `64MiB`).
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        other => return Err(format!("{other:?} is not a unit of bytes; write 64MiB, 2GiB or 1048576")),
    };
    let number: usize =
        digits.parse().map_err(|_| "write a whole number with a unit, such as 64MiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "this is more than 2^64 bytes".to_owned())
}

/// Parses the size of a segment, at least 1 MiB: with smaller segments, queries spend more on opening than on reading.
pub(super) fn segment_bytes(text: &str) -> Result<usize, String> {
    bytes(text).and_then(|bytes| match bytes {
        0..SEGMENT_BYTES_MIN => Err("too small for a segment; write at least 1MiB".to_owned()),
        bytes => Ok(bytes),
    })
}

/// Parser of a data directory or an object store's URL.
pub(super) fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text: OsString| match Location::from(text) {
        Location::Unusable { why, .. } => Err(why),
        usable => Ok(usable),
    })
}

/// Parser of a local directory.
pub(super) fn directory() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text: OsString| local(Location::from(text)))
}

fn local(place: Location) -> Result<PathBuf, String> {
    match place {
        Location::Directory(directory) => Ok(directory),
        Location::Store(url) => Err(format!("{url} is an object store; write a directory of this machine")),
        Location::Unusable { why, .. } => Err(why),
    }
}

/// Parses a duration: `30s`, `5m`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|e| format!("{e}; write 30s, 5m or 250ms"))
}

/// Parses an RFC 3339 time such as `2026-11-21T08:00:00Z` into nanoseconds since the Unix epoch.
pub(super) fn time(text: &str) -> Result<i64, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text.trim())
        .map_err(|e| format!("{e}; write 2026-11-21T08:00:00Z"))?;
    time.timestamp_nanos_opt()
        .ok_or_else(|| "this is out of range; write a time between 1677 and 2262".to_owned())
}

/// A format that a terminal can show.
pub(super) fn text_format(name: &str) -> crate::error::Result<Format> {
    let format: Format = name.parse()?;
    match format {
        Format::Arrow | Format::Parquet => Err(Error::invalid(format!(
            "{format} is binary: write it to a file with broadloom query --format {format} --output FILE"
        ))),
        _ => Ok(format),
    }
}

/// Parses a retention rule: `14d`, or `90d where status = 'error'`.
pub(super) fn retention(text: &str) -> Result<RetentionRule, String> {
    let text = text.trim();
    let split = text.to_ascii_lowercase().find(" where ");
    let (keep, condition) = match split {
        Some(at) => (&text[..at], Some(text[at + " where ".len()..].trim().to_owned())),
        None => (text, None),
    };
    Ok(RetentionRule { condition, keep: duration(keep)? })
}

/// Parses the place of an object store's write-ahead log: `object`, or a directory.
pub(super) fn log_place(text: &str) -> Result<LogPlace, String> {
    match text {
        "" => Err("the value is empty; write object, or a directory".to_owned()),
        "object" => Ok(LogPlace::Store),
        place => local(Location::from(place)).map(LogPlace::Directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("64 mb"), Ok(64_000_000));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for wrong in ["", "MiB", "-1", "1.5GiB", "3 parsecs", "99999999999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(segment_bytes("1MiB"), Ok(1 << 20));
        assert!(segment_bytes("1MB").is_err() && segment_bytes("0").is_err());
    }

    #[test]
    fn a_retention_rule_is_a_time_and_maybe_a_condition() {
        let day = Duration::from_hours(24);
        let rule =
            |keep, condition: Option<&str>| RetentionRule { condition: condition.map(str::to_owned), keep };
        assert_eq!(retention("14d"), Ok(rule(day * 14, None)));
        assert_eq!(retention("90d WHERE a = ' where '"), Ok(rule(day * 90, Some("a = ' where '"))));
        assert!(retention("where a").is_err() && retention("14").is_err());
        assert_eq!(time("1970-01-01T00:00:01+00:00"), Ok(1_000_000_000));
        assert!(time("yesterday").is_err() && time("3000-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("30").is_err());
    }
}
