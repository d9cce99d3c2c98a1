//! Sizes and times as people write them after a flag.

use std::time::Duration;

/// Bytes as `1048576`, `512KiB`, `64MiB`, `2GiB`, `64MB` (a million each), `64M` (as MiB).
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
        other => return Err(format!("{other:?} is no unit of bytes; write 64MiB, 2GiB or 1048576")),
    };
    let number: usize =
        digits.parse().map_err(|_| "write a whole number with a unit, such as 64MiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "this is more than a machine can hold".to_owned())
}

/// A time as `30s`, `5m`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|e| format!("{e}; write 30s, 5m or 250ms"))
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
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("30").is_err());
    }
}
