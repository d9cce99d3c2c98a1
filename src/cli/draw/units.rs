//! Durations, numbers, shares and times, as people read them.

use std::str::FromStr;

use arrow::array::timezone::Tz;
use chrono::{DateTime, Local, SecondsFormat};

use crate::error::{Error, Result};
pub(in crate::cli) use crate::query::output::human_duration;

/// Zone of the times that are shown.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Zone {
    /// The zone of this machine.
    Local,
    /// A zone, and its name.
    Named(Tz, String),
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "local" => Ok(Self::Local),
            "utc" | "UTC" | "Z" => Self::named("+00:00", "UTC"),
            name => Self::named(name, name),
        }
    }
}

impl Zone {
    fn named(zone: &str, name: &str) -> Result<Self> {
        let parsed = zone.parse::<Tz>().map_err(|_| {
            Error::invalid(format!(
                "there is no time zone {name}: write UTC, local, Europe/Brussels or +02:00"
            ))
        })?;
        Ok(Self::Named(parsed, name.to_owned()))
    }

    /// Name for people.
    pub(in crate::cli) fn name(&self) -> &str {
        match self {
            Self::Local => "local time",
            Self::Named(_, name) => name,
        }
    }

    /// `2026-11-21 04:05:06.123` in this zone, with the offset unless it is UTC. Nanoseconds since 1970.
    pub(in crate::cli) fn time(&self, ns: i64) -> String {
        let text = self.rfc3339(ns, SecondsFormat::Millis);
        let text = text.strip_suffix("+00:00").unwrap_or(&text);
        text.replacen('T', " ", 1)
    }

    /// `04:05:06` in this zone; the date and `04:05` on a scale that is longer than a day.
    pub(in crate::cli) fn tick(&self, ns: i64, range_ns: i64) -> String {
        let text = self.rfc3339(ns, SecondsFormat::Secs).replacen('T', " ", 1);
        let part = if range_ns > DAY_NS { 5..16 } else { 11..19 };
        text.get(part).unwrap_or_default().to_owned()
    }

    fn rfc3339(&self, ns: i64, digits: SecondsFormat) -> String {
        let time = DateTime::from_timestamp_nanos(ns);
        match self {
            Self::Local => time.with_timezone(&Local).to_rfc3339_opts(digits, false),
            Self::Named(zone, _) => time.with_timezone(zone).to_rfc3339_opts(digits, false),
        }
    }
}

const DAY_NS: i64 = 86_400_000_000_000;

/// `+1.20 s`: time since a beginning, in nanoseconds.
pub(in crate::cli) fn offset(ns: i64) -> String {
    let text = human_duration(ns as f64);
    if ns < 0 { text } else { format!("+{text}") }
}

/// A number with at most three digits and a sign of its size: `950`, `12.3k`, `4.56M`.
pub(in crate::cli) fn count(number: f64) -> String {
    const SIZES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let size = SIZES.into_iter().find(|(size, _)| number.abs() >= *size);
    let (value, sign) = size.map_or((number, ""), |(size, sign)| (number / size, sign));
    let digits = match value.abs() {
        abs if abs >= 100.0 || (sign.is_empty() && abs.fract() == 0.0) => 0,
        abs if abs >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{sign}")
}

/// A share from 0 to 1 in percent: `0.02 %`, `12 %`.
pub(in crate::cli) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value.abs() {
        0.0 => 0,
        abs if abs < 1.0 => 2,
        abs if abs < 10.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} %")
}

/// A value of the column or expression `name`: a duration if it is one, else a number.
pub(in crate::cli) fn value(name: &str, number: f64) -> String {
    if name.trim().ends_with("_ns") { human_duration(number) } else { count(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_zone() {
        let at = 1_767_607_201_234_567_890;
        let zone = |name: &str| name.parse::<Zone>().unwrap();
        assert_eq!(zone("UTC").time(at), "2026-01-05 10:00:01.234");
        assert_eq!(zone("Asia/Tokyo").time(at), "2026-01-05 19:00:01.234+09:00");
        assert_eq!(zone("+02:00").time(at), "2026-01-05 12:00:01.234+02:00");
        assert_eq!(zone("UTC").tick(at, 60), "10:00:01");
        assert_eq!(zone("UTC").tick(at, 2 * DAY_NS), "01-05 10:00");
        assert!("Mars/Olympus".parse::<Zone>().is_err());
    }

    #[test]
    fn numbers_have_three_digits() {
        for (number, text) in
            [(0.0, "0"), (7.0, "7"), (0.5, "0.50"), (950.0, "950"), (12_345.0, "12.3k"), (4.56e6, "4.56M")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!(
            (percent(0.0), percent(0.0002), percent(0.05), percent(0.5)),
            ("0 %".into(), "0.02 %".into(), "5.0 %".into(), "50 %".into())
        );
        assert_eq!(value("p99(duration_ns)", 1e6), "1.00M");
        assert_eq!(value("duration_ns", 1e6), "1.00 ms");
        assert_eq!(offset(1_200_000_000), "+1.20 s");
    }
}
