//! Which spellings of times and durations are understood?
//!
//! Forms of a time:
//!
//! - RFC 3339, with any offset, `T` or space, `.` or `,` before the fraction, `/` for `-`. Without an offset it is
//!   UTC. The suffixes that Go and Java write after the offset are allowed.
//! - the same without separators (`20230130T115146Z`)
//! - the common log format (`30/Jan/2023:11:51:46 +0000`), RFC 2822
//! - C's and JavaScript's (`Mon Jan 30 11:51:46 2023`), .NET's (`/Date(1675079506123)/`)
//! - a number since the Unix epoch; its unit is that of the field, or follows from the magnitude if the field
//!   names none:
//!
//! | below       | unit         | reaches until |
//! |-------------|--------------|---------------|
//! | 10^11       | seconds      | year 5138     |
//! | 10^14       | milliseconds | year 5138     |
//! | 10^17       | microseconds | year 5138     |
//! | else        | nanoseconds  | year 2262     |
//!
//! A time that does not fit into 64 bits of nanoseconds is reported as out of range, not as unreadable ([`NoTime`]),
//! and never becomes a different time.
//!
//! A duration is a number with the unit of its field, or text with units: `12.3ms`, `1m30s`, `00:01:30.5`. A bare
//! number whose field names no unit is not a duration: nothing here guesses.

/// Unit of a time or duration that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 10⁻⁹ s.
    Nanoseconds,
    /// 10⁻⁶ s.
    Microseconds,
    /// 10⁻³ s.
    Milliseconds,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// Number of nanoseconds in this unit.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }

    /// Reads the name of a unit in lower case, as in field names and `--map`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" | "nsec" => Self::Nanoseconds,
            "us" | "µs" | "μs" | "micro" | "micros" | "microsecond" | "microseconds" | "usec" => {
                Self::Microseconds
            }
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" | "msec" => Self::Milliseconds,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Seconds,
            _ => return None,
        })
    }

    /// Unit of a number since the epoch, from its magnitude.
    fn of_epoch(magnitude: f64) -> Self {
        if magnitude < 1e11 {
            Self::Seconds
        } else if magnitude < 1e14 {
            Self::Milliseconds
        } else if magnitude < 1e17 {
            Self::Microseconds
        } else {
            Self::Nanoseconds
        }
    }
}

/// Reason why a value is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTime {
    /// It has none of the known forms.
    Unreadable,
    /// It is a time that does not fit into 64 bits of nanoseconds: outside [`RANGE`].
    OutOfRange,
}

/// Years in which times can be stored: from 1677-09-21 to 2262-04-11.
pub const RANGE: &str = "1677 to 2262";

/// First and last second of the year 9999, which programs write for "never".
const NEVER: std::ops::RangeInclusive<i64> = 253_370_764_800..=253_402_300_800;

/// True if a number of seconds, milliseconds or microseconds is in the year 9999. By its magnitude it would be
/// a day in 1978 in the next smaller unit; real logs are not from that day.
fn is_never(value: i64) -> bool {
    [1, 1_000, 1_000_000].iter().any(|per_second| NEVER.contains(&(value / per_second)))
}

/// Converts an integer since the epoch to nanoseconds since the epoch. Without a unit, digits that spell a date
/// (`20230130`, `20230130115146`) are that date.
pub fn epoch_int(value: i64, unit: Option<Unit>) -> Result<i64, NoTime> {
    let unit = match unit {
        Some(unit) => unit,
        None if is_never(value) => return Err(NoTime::OutOfRange),
        None => match spelled_out(value) {
            Some(time) => return Ok(time),
            None => Unit::of_epoch(value.unsigned_abs() as f64),
        },
    };
    value.checked_mul(unit.nanoseconds()).ok_or(NoTime::OutOfRange)
}

/// Converts a number since the epoch to nanoseconds since the epoch. Whole and fractional part are scaled
/// separately, so that microseconds survive in a double of seconds.
pub fn epoch_double(value: f64, unit: Option<Unit>) -> Result<i64, NoTime> {
    if !value.is_finite() {
        return Err(NoTime::Unreadable);
    }
    if unit.is_none() && is_never(value as i64) {
        return Err(NoTime::OutOfRange);
    }
    let unit = unit.unwrap_or_else(|| Unit::of_epoch(value.abs()));
    scaled(value, unit).ok_or(NoTime::OutOfRange)
}

fn scaled(value: f64, unit: Unit) -> Option<i64> {
    let whole = value.trunc();
    // The bound keeps the cast exact: doubles below 2^63 fit.
    if !whole.is_finite() || whole.abs() >= 9.2e18 {
        return None;
    }
    let fraction = ((value - whole) * unit.nanoseconds() as f64).round() as i64;
    (whole as i64).checked_mul(unit.nanoseconds())?.checked_add(fraction)
}

/// Reads an integer whose digits spell a time: `yyyymmdd`, optionally followed by hours and minutes, seconds,
/// milliseconds. Read as seconds, milliseconds or microseconds, such a number would be in 1970, in 1976, or out of
/// range.
fn spelled_out(value: i64) -> Option<i64> {
    let (date, clock) = match value {
        19_000_101..=21_991_231 => (value, 0),
        190_001_010_000..=219_912_312_359 => (value / 10_000, value % 10_000 * 100_000),
        19_000_101_000_000..=21_991_231_235_959 => (value / 1_000_000, value % 1_000_000 * 1_000),
        19_000_101_000_000_000..=21_991_231_235_959_999 => (value / 1_000_000_000, value % 1_000_000_000),
        _ => return None,
    };
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let (hour, minute) = (clock / 10_000_000, clock / 100_000 % 100);
    if !is_day(year, month, day) || hour > 23 || minute > 59 || clock % 100_000 > 60_999 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60;
    seconds.checked_mul(1_000)?.checked_add(clock % 100_000)?.checked_mul(1_000_000)
}

/// Converts a time in any text form of this module to nanoseconds since the epoch.
pub fn time(text: &str, unit: Option<Unit>) -> Result<i64, NoTime> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else { return Err(NoTime::Unreadable) };
    if bytes.len() >= 10 && matches!(bytes[4], b'-' | b'/') {
        return calendar(text);
    }
    if let Some(time) = basic(text).or_else(|| dotnet(text)) {
        return time;
    }
    if is_far_year(bytes) {
        return Err(NoTime::OutOfRange);
    }
    if first.is_ascii_digit() || matches!(first, b'-' | b'.') {
        if let Ok(value) = text.parse::<i64>() {
            return epoch_int(value, unit);
        }
        if bytes[1..].iter().all(u8::is_ascii_digit) && bytes.len() > 1 {
            return Err(NoTime::OutOfRange);
        }
        if let Some(time) = decimal_epoch(text, unit) {
            return time;
        }
    }
    in_words(text)
}

/// Reads `20230130T115146.123Z`: date and time without separators.
fn basic(text: &str) -> Option<Result<i64, NoTime>> {
    let b = text.as_bytes();
    if !matches!(b.get(8), Some(b'T' | b't' | b' ')) || digits(b, 0, 8).is_none() {
        return None;
    }
    let part = |from, to| text.get(from..to);
    let (date, rest) = ([part(0, 4)?, part(4, 6)?, part(6, 8)?].join("-"), part(15, b.len())?);
    digits(b, 9, 6)?;
    let clock = [part(9, 11)?, part(11, 13)?, part(13, 15)?].join(":");
    Some(calendar(&format!("{date}T{clock}{rest}")))
}

/// Reads `/Date(1675079506123+0100)/`: milliseconds since the epoch. The offset after them does not shift the time.
fn dotnet(text: &str) -> Option<Result<i64, NoTime>> {
    let inner = text.strip_prefix('\\').unwrap_or(text).strip_prefix("/Date(")?;
    let inner = inner.strip_suffix(")/").or_else(|| inner.strip_suffix(")\\/"))?;
    let end = inner.get(1..)?.find(['+', '-']).map_or(inner.len(), |i| i + 1);
    let offset = &inner.as_bytes()[end..];
    if !offset.is_empty() && (offset.len() != 5 || digits(offset, 1, 4).is_none()) {
        return Some(Err(NoTime::Unreadable));
    }
    Some(match inner[..end].parse() {
        Ok(value) => epoch_int(value, Some(Unit::Milliseconds)),
        Err(_) => Err(NoTime::Unreadable),
    })
}

/// True for a date whose year has a sign or more than four digits: `+292277026596-12-04`.
fn is_far_year(text: &[u8]) -> bool {
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    let year = &text[usize::from(signed)..];
    let length = year.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &year[length..];
    (length > 4 || signed && length == 4)
        && rest.len() >= 6
        && rest[0] == b'-'
        && rest[3] == b'-'
        && digits(rest, 1, 2).is_some()
        && digits(rest, 4, 2).is_some()
}

/// Reads times that name the month, as web servers, mail, C and JavaScript write them.
fn in_words(text: &str) -> Result<i64, NoTime> {
    const NAIVE: [&str; 4] =
        ["%d/%b/%Y:%H:%M:%S", "%a %b %e %H:%M:%S%.f %Y", "%a %b %e %H:%M:%S UTC %Y", "%d %b %Y %H:%M:%S%.f"];
    let plain = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let zoned = chrono::DateTime::parse_from_str(plain, "%d/%b/%Y:%H:%M:%S %z")
        .or_else(|_| chrono::DateTime::parse_from_rfc2822(plain))
        .or_else(|_| {
            let named = plain.split_once(" (").map_or(plain, |(time, _)| time);
            chrono::DateTime::parse_from_str(named, "%a %b %d %Y %H:%M:%S GMT%z")
        });
    if let Ok(time) = zoned {
        return time.timestamp_nanos_opt().ok_or(NoTime::OutOfRange);
    }
    let pointed = plain.replace(',', ".");
    let naive = NAIVE.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(&pointed, form).ok());
    let time = naive.ok_or(NoTime::Unreadable)?;
    time.and_utc().timestamp_nanos_opt().ok_or(NoTime::OutOfRange)
}

/// Reads `1675079506.123456789` without rounding.
fn decimal_epoch(text: &str, unit: Option<Unit>) -> Option<Result<i64, NoTime>> {
    let exact = text.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|b| b.is_ascii_digit()));
    let Some((whole, fraction)) = exact.filter(|_| !text.starts_with('-')) else {
        return Some(epoch_double(text.parse().ok()?, unit));
    };
    let value: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if unit.is_none() && is_never(value) {
        return Some(Err(NoTime::OutOfRange));
    }
    let unit = unit.unwrap_or_else(|| Unit::of_epoch(value.unsigned_abs() as f64));
    let fraction = fraction_nanoseconds(fraction)? / (1_000_000_000 / unit.nanoseconds());
    let time = value.checked_mul(unit.nanoseconds()).and_then(|v| v.checked_add(fraction));
    Some(time.ok_or(NoTime::OutOfRange))
}

/// Converts the digits after a decimal point to billionths; digits after the ninth are dropped.
fn fraction_nanoseconds(digits: &str) -> Option<i64> {
    let mut value = 0_i64;
    for i in 0..9 {
        let digit = match digits.as_bytes().get(i) {
            Some(b) if b.is_ascii_digit() => i64::from(b - b'0'),
            Some(_) => return None,
            None => 0,
        };
        value = value * 10 + digit;
    }
    Some(value)
}

fn digits(bytes: &[u8], from: usize, count: usize) -> Option<i64> {
    let mut value = 0;
    for byte in bytes.get(from..from + count)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; Howard Hinnant, `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn is_day(year: i64, month: i64, day: i64) -> bool {
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    };
    (1..=12).contains(&month) && (1..=days).contains(&day)
}

/// Reads RFC 3339 and its common variants.
fn calendar(text: &str) -> Result<i64, NoTime> {
    let (seconds, nanoseconds) = calendar_parts(text).ok_or(NoTime::Unreadable)?;
    let time = seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanoseconds));
    time.ok_or(NoTime::OutOfRange)
}

/// Seconds since the epoch, and the nanoseconds to add to them.
fn calendar_parts(text: &str) -> Option<(i64, i64)> {
    let b = text.as_bytes();
    let (year, month, day) = (digits(b, 0, 4)?, digits(b, 5, 2)?, digits(b, 8, 2)?);
    if b[7] != b[4] || !is_day(year, month, day) {
        return None;
    }
    let date = days_from_civil(year, month, day) * 86_400;
    if b.len() == 10 {
        return Some((date, 0));
    }
    if !matches!(b[10], b'T' | b't' | b' ' | b'_') || b.get(13) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (digits(b, 11, 2)?, digits(b, 14, 2)?);
    let (second, mut at) = if b.get(16) == Some(&b':') { (digits(b, 17, 2)?, 19) } else { (0, 16) };
    // A leap second, 60, counts as the next second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut nanoseconds = 0;
    if matches!(b.get(at), Some(b'.' | b',')) {
        let start = at + 1;
        at = start + b[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        if at == start {
            return None;
        }
        nanoseconds = fraction_nanoseconds(text.get(start..at)?)?;
    }
    let offset = zone_seconds(text.get(at..)?.trim_start())?;
    Some((date + hour * 3600 + minute * 60 + second - offset, nanoseconds))
}

/// Reads the offset after a time; an empty text is UTC. Go adds the short name of the zone and the reading of its
/// monotonic clock (`+0000 UTC m=+0.1`), Java adds the long name in brackets.
fn zone_seconds(text: &str) -> Option<i64> {
    let named =
        text.strip_suffix(']').and_then(|t| t.split_once('[')).filter(|(offset, _)| !offset.is_empty());
    let mut words = named.map_or(text, |(offset, _)| offset).split_ascii_whitespace().peekable();
    let Some(first) = words.next() else { return Some(0) };
    let seconds = offset_seconds(first)?;
    let name = |word: &&str| {
        offset_seconds(word).is_some()
            || (3..=5).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase())
    };
    words.next_if(name);
    words.next_if(|word| word.strip_prefix("m=").is_some_and(|clock| clock.parse::<f64>().is_ok()));
    words.next().is_none().then_some(seconds)
}

/// Reads `Z`, `UTC`, `GMT`, `+02:00`, `-0330`, `+02`.
fn offset_seconds(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    let sign = match b.first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return matches!(text, "Z" | "z" | "UTC" | "GMT").then_some(0),
    };
    let hours = digits(b, 1, 2)?;
    let minutes = match b.len() {
        3 => 0,
        5 => digits(b, 3, 2)?,
        6 if b[3] == b':' => digits(b, 4, 2)?,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Converts a whole number of `unit` to nanoseconds; `None` on overflow.
pub fn duration_int(value: i64, unit: Unit) -> Option<i64> {
    value.checked_mul(unit.nanoseconds())
}

/// Converts a number of `unit` to nanoseconds, rounded to the nearest; `None` on overflow.
pub fn duration_double(value: f64, unit: Unit) -> Option<i64> {
    scaled(value, unit)
}

/// Converts a duration in text form to nanoseconds. `unit` applies to a bare number; without it, a bare number is
/// `None`.
pub fn duration(text: &str, unit: Option<Unit>) -> Option<i64> {
    let text = text.trim();
    if let Ok(value) = text.parse::<i64>() {
        return duration_int(value, unit?);
    }
    if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E')) {
        return duration_double(text.parse().ok()?, unit?);
    }
    if text.contains(':') { clock(text) } else { with_units(text) }
}

/// Reads `[d.]hh:mm:ss[.fraction]`, as .NET and databases write an interval.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.rsplitn(3, ':');
    let (seconds, minutes, hours) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok())?;
    let whole = number(days)?
        .checked_mul(24)?
        .checked_add(number(hours)?)?
        .checked_mul(60)?
        .checked_add(number(minutes)?)?
        .checked_mul(60)?
        .checked_add(number(seconds)?)?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction_nanoseconds(fraction)?)
}

/// Reads `1h2m3.5s`, `12.3 ms`: numbers, each with its unit.
fn with_units(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut total = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
        let part = match &rest[..end] {
            "m" | "min" | "mins" | "minutes" => scaled(value * 60.0, Unit::Seconds)?,
            "h" | "hr" | "hours" => scaled(value * 3600.0, Unit::Seconds)?,
            "d" | "days" => scaled(value * 86_400.0, Unit::Seconds)?,
            unit => scaled(value, Unit::from_name(unit)?)?,
        };
        total = total.checked_add(part)?;
        rest = rest[end..].trim_start();
    }
    Some(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_spelling_are_the_same_instant() {
        let expected = Ok(1_675_079_506_123_000_000);
        for text in [
            "2023-01-30T11:51:46.123Z",
            "2023-01-30 11:51:46,123",
            "2023-01-30T13:51:46.123000000+02:00",
            "2023-01-30t06:21:46.123-0530",
            "2023-01-30 11:51:46.123 UTC",
            "2023-01-30 11:51:46.123 +00",
            "1675079506.123",
            "1675079506123",
            "1675079506123000",
            "1675079506123000000",
            "2023-01-30 11:51:46.123 +0000 UTC",
            "2023-01-30 11:51:46.123 +0000 UTC m=+0.123456789",
            "2023-01-30 12:51:46.123 +0100 CET m=-3.5",
            "2023-01-30 14:51:46.123 +0300 +03",
            "2023-01-30T12:51:46.123+01:00[Europe/Brussels]",
            "2023-01-30T11:51:46.123Z[UTC]",
            "2023/01/30 11:51:46.123",
            "20230130T115146.123Z",
            "20230130115146123",
            "1675079506123E0",
            "/Date(1675079506123)/",
            "/Date(1675079506123+0200)/",
            "\\/Date(1675079506123-0700)\\/",
            "30 Jan 2023 11:51:46,123",
            "Mon Jan 30 11:51:46.123 2023",
        ] {
            assert_eq!(time(text, None), expected, "{text}");
        }
        for text in [
            "30/Jan/2023:12:51:46 +0100",
            "Mon, 30 Jan 2023 11:51:46 GMT",
            "Mon Jan 30 11:51:46 2023",
            "Mon Jan 30 11:51:46 UTC 2023",
            "Mon Jan 30 2023 12:51:46 GMT+0100 (Central European Standard Time)",
            "20230130115146",
        ] {
            assert_eq!(time(text, None), Ok(1_675_079_506_000_000_000), "{text}");
        }
        for text in ["2023-01-30", "20230130", "202301300000", "2023/01/30"] {
            assert_eq!(time(text, None), Ok(1_675_036_800_000_000_000), "{text}");
        }
        assert_eq!(time("12", Some(Unit::Milliseconds)), Ok(12_000_000));
        // A number with an exponent is a double, which is off by less than a microsecond.
        let exponent = time("1.675079506123E9", None).unwrap();
        assert!((exponent - 1_675_079_506_123_000_000).abs() < 1_000, "{exponent}");
        // With a unit, digits never spell a date.
        assert_eq!(time("20230130", Some(Unit::Seconds)), Ok(20_230_130_000_000_000));
        assert_eq!(time("20231399", None), Ok(20_231_399_000_000_000));
    }

    #[test]
    fn the_calendar_agrees_with_chrono() {
        for day in (-20_000..60_000).step_by(17) {
            let date = chrono::DateTime::from_timestamp(day * 86_400 + 3_661, 0).unwrap();
            assert_eq!(time(&date.to_rfc3339(), None).ok(), date.timestamp_nanos_opt(), "{date}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2023-13-01T00:00:00Z",
            "2023-02-29",
            "2023-01-30T24:00:00Z",
            "2023-01-30T11",
            "2023-01-30T11:51:46.Z",
            "2023-01-30T11:51:46+2",
            "1.2.3",
            "NaN",
            "2023-01-30 11:51:46 PM",
            "2023-01-30 11:51:46 CEST",
            "2023-01-30 11:51:46 +0000 UTC of all times",
            "2023-01-30 11:51:46 +0000 m=",
            "2023-01/30",
            "/Date(x)/",
            "/Date(1675079506123+2)/",
            "/Date()/",
            "-",
            "2023-01-30é",
            "----------",
            "١٢٣٤-01-01",
        ] {
            assert_eq!(time(text, None), Err(NoTime::Unreadable), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_out_of_range_and_no_other_time() {
        for text in [
            "9999-12-31",
            "9999-12-31T23:59:59.999Z",
            "0001-01-01T00:00:00Z",
            "1677-09-21T00:00:00Z",
            "2262-04-12T00:00:00Z",
            "+292277026596-12-04T15:30:08Z",
            "-0043-03-15T12:00:00Z",
            "10000-01-01",
            "/Date(253402300799999)/",
            "/Date(-62135596800000)/",
            "253402300799",
            "253402300799999",
            "253402300799999999",
            "253402300799.999",
            "2.53402300799e11",
            "-62135596800",
            "-62135596800000",
            "18446744073709551615",
            "99999999999999999999",
            "1e300",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "31/Dec/9999:23:59:59 +0000",
        ] {
            assert_eq!(time(text, None), Err(NoTime::OutOfRange), "{text}");
        }
        assert_eq!(time("253402300799999", Some(Unit::Milliseconds)), Err(NoTime::OutOfRange));
        assert_eq!(epoch_double(f64::NAN, None), Err(NoTime::Unreadable));
        assert_eq!(epoch_double(2.534_023_007_99e11, None), Err(NoTime::OutOfRange));
        assert_eq!(time("2262-04-11T23:47:16.854775807Z", None), Ok(i64::MAX));
    }

    #[test]
    fn durations_say_their_unit() {
        for (text, unit, expected) in [
            ("12.3ms", None, Some(12_300_000)),
            ("1m30s", None, Some(90_000_000_000)),
            ("250µs", None, Some(250_000)),
            ("1.5 s", None, Some(1_500_000_000)),
            ("00:01:30.5", None, Some(90_500_000_000)),
            ("-2ms", None, Some(-2_000_000)),
            ("12", Some(Unit::Microseconds), Some(12_000)),
            ("0.25", Some(Unit::Seconds), Some(250_000_000)),
            ("12", None, None),
            ("12 parsecs", None, None),
            ("9223372036854775807", Some(Unit::Seconds), None),
            ("", Some(Unit::Seconds), None),
        ] {
            assert_eq!(duration(text, unit), expected, "{text}");
        }
    }
}
