//! Times and durations as people write them.
//!
//! A time is read from RFC 3339 (any offset, `T` or space, `.` or `,` before the fraction; without an
//! offset it is UTC), the common log format (`30/Jan/2023:11:51:46 +0000`), RFC 2822, or a number since
//! the Unix epoch whose unit is the field's or, when the field does not say, the magnitude's:
//!
//! | below       | unit         | reaches until |
//! |-------------|--------------|---------------|
//! | 10^11       | seconds      | year 5138     |
//! | 10^14       | milliseconds | year 5138     |
//! | 10^17       | microseconds | year 5138     |
//! | else        | nanoseconds  | year 2262     |
//!
//! A duration is a number with the unit of its field, or text that says its units: `12.3ms`, `1m30s`,
//! `00:01:30.5`. A bare number whose field names no unit is not a duration: nothing here guesses.

/// What a number counts.
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
    /// Nanoseconds in one.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }

    /// Reads a unit as field names and `--map` spell it, in lower case.
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

    /// The unit that a number since the epoch of this magnitude has.
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

/// Nanoseconds since the epoch of an integer since the epoch.
pub fn epoch_int(value: i64, unit: Option<Unit>) -> Option<i64> {
    let unit = unit.unwrap_or_else(|| Unit::of_epoch(value.unsigned_abs() as f64));
    value.checked_mul(unit.nanoseconds())
}

/// Nanoseconds since the epoch of a number since the epoch; whole and fractional part are scaled apart,
/// so that microseconds survive in a double of seconds.
pub fn epoch_double(value: f64, unit: Option<Unit>) -> Option<i64> {
    let unit = unit.unwrap_or_else(|| Unit::of_epoch(value.abs()));
    scaled(value, unit)
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

/// Nanoseconds since the epoch of a time written as text.
pub fn time(text: &str, unit: Option<Unit>) -> Option<i64> {
    let text = text.trim();
    let first = *text.as_bytes().first()?;
    if text.len() >= 10 && text.as_bytes()[4] == b'-' {
        return rfc3339(text);
    }
    if first.is_ascii_digit() || first == b'-' || first == b'.' {
        if let Ok(value) = text.parse::<i64>() {
            return epoch_int(value, unit);
        }
        if let Some(value) = decimal_epoch(text, unit) {
            return Some(value);
        }
    }
    let clf = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(time) = chrono::DateTime::parse_from_str(clf, "%d/%b/%Y:%H:%M:%S %z") {
        return time.timestamp_nanos_opt();
    }
    chrono::DateTime::parse_from_rfc2822(text).ok()?.timestamp_nanos_opt()
}

/// `1675079506.123456789`, exactly.
fn decimal_epoch(text: &str, unit: Option<Unit>) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    if text.starts_with('-') || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return epoch_double(text.parse().ok()?, unit);
    }
    let value: i64 = whole.parse().ok()?;
    let unit = unit.unwrap_or_else(|| Unit::of_epoch(value.unsigned_abs() as f64));
    let fraction = fraction_nanoseconds(fraction)? / (1_000_000_000 / unit.nanoseconds());
    value.checked_mul(unit.nanoseconds())?.checked_add(fraction)
}

/// The billionths that decimal digits after the point stand for; further digits are dropped.
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

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn rfc3339(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    let (year, month, day) = (digits(b, 0, 4)?, digits(b, 5, 2)?, digits(b, 8, 2)?);
    if b[7] != b'-' || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let date = days_from_civil(year, month, day) * 86_400;
    if b.len() == 10 {
        return date.checked_mul(1_000_000_000);
    }
    if !matches!(b[10], b'T' | b't' | b' ') || b.get(13) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (digits(b, 11, 2)?, digits(b, 14, 2)?);
    let (second, mut at) = if b.get(16) == Some(&b':') { (digits(b, 17, 2)?, 19) } else { (0, 16) };
    // A leap second is the last nanosecond's neighbour: it counts as the next second.
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
    let offset = offset_seconds(text.get(at..)?.trim_start())?;
    (date + hour * 3600 + minute * 60 + second - offset).checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// `Z`, `UTC`, `GMT`, `+02:00`, `-0330`, `+02`, or nothing, which is UTC.
fn offset_seconds(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    let sign = match b.first() {
        None => return Some(0),
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

/// Nanoseconds of a whole number of `unit`.
pub fn duration_int(value: i64, unit: Unit) -> Option<i64> {
    value.checked_mul(unit.nanoseconds())
}

/// Nanoseconds of a number of `unit`, rounded to the nearest.
pub fn duration_double(value: f64, unit: Unit) -> Option<i64> {
    scaled(value, unit)
}

/// Nanoseconds of a duration written as text; `unit` is that of a bare number.
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

/// `[d.]hh:mm:ss[.fraction]`, as .NET and databases write an interval.
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

/// `1h2m3.5s`, `12.3 ms`: numbers, each with its unit.
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
        let expected = Some(1_675_079_506_123_000_000);
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
        ] {
            assert_eq!(time(text, None), expected, "{text}");
        }
        assert_eq!(time("30/Jan/2023:12:51:46 +0100", None), Some(1_675_079_506_000_000_000));
        assert_eq!(time("Mon, 30 Jan 2023 11:51:46 GMT", None), Some(1_675_079_506_000_000_000));
        assert_eq!(time("2023-01-30", None), Some(1_675_036_800_000_000_000));
        assert_eq!(time("12", Some(Unit::Milliseconds)), Some(12_000_000));
    }

    #[test]
    fn the_calendar_agrees_with_chrono() {
        for day in (-20_000..60_000).step_by(17) {
            let date = chrono::DateTime::from_timestamp(day * 86_400 + 3_661, 0).unwrap();
            assert_eq!(time(&date.to_rfc3339(), None), date.timestamp_nanos_opt(), "{date}");
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
            "99999999999999999999",
            "1.2.3",
            "9999-12-31",
            "2023-01-30é",
            "----------",
            "١٢٣٤-01-01",
        ] {
            assert_eq!(time(text, None), None, "{text}");
        }
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
