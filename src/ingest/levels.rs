//! Conversion of loggers' severity levels to OpenTelemetry's numbers.
//!
//! Source: OpenTelemetry logs data model, appendix B (severity mapping), the numeric levels of Pino and
//! Bunyan, and syslog's (RFC 5424, 6.2.1).

pub use crate::event::severity::number_of_name;

/// Severity number of a numeric level, as Pino and Bunyan write it (10 trace … 60 fatal).
pub fn number_of_level(level: i64) -> Option<i64> {
    Some(match level {
        10 => 1,
        20 => 5,
        30 => 9,
        40 => 13,
        50 => 17,
        60 => 21,
        _ => return None,
    })
}

/// Severity number of a syslog priority, as journald writes it (0 emergency … 7 debug).
pub fn number_of_priority(priority: i64) -> Option<i64> {
    Some(match priority {
        0 => 21,
        1 => 19,
        2 => 18,
        3 => 17,
        4 => 13,
        5 => 10,
        6 => 9,
        7 => 5,
        _ => return None,
    })
}

/// Reads OpenTelemetry's severity number in text form: `17`, `SEVERITY_NUMBER_ERROR`,
/// `SeverityNumber.ERROR`, `<SeverityNumber.ERROR: 17>`.
pub fn number_of_text(text: &str) -> Option<i64> {
    let text = text.trim().trim_matches(['<', '>']);
    let number = text.rsplit_once(": ").map_or(text, |(_, number)| number);
    if let Ok(number) = number.parse() {
        return (1..=24).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SEVERITY_NUMBER_").or_else(|| text.strip_prefix("SeverityNumber."))?;
    number_of_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_case_have_a_number() {
        for (name, number) in [("INFO", 9), ("Warning", 13), ("err", 17), ("FATAL", 21), ("debug ", 5)] {
            assert_eq!(number_of_name(name), Some(number), "{name}");
        }
        for name in ["", "high", "a level with a very long name", "é"] {
            assert_eq!(number_of_name(name), None, "{name}");
        }
        assert_eq!(number_of_level(30), Some(9));
        assert_eq!(number_of_level(3), None);
    }

    #[test]
    fn priorities_and_written_numbers_have_a_number() {
        assert_eq!(
            [0, 3, 4, 7, 8, -1].map(number_of_priority),
            [Some(21), Some(17), Some(13), Some(5), None, None]
        );
        for text in ["17", "SEVERITY_NUMBER_ERROR", "SeverityNumber.ERROR", "<SeverityNumber.ERROR: 17>"] {
            assert_eq!(number_of_text(text), Some(17), "{text}");
        }
        for text in ["", "0", "25", "ERROR", "<SeverityNumber.UNSPECIFIED: 0>"] {
            assert_eq!(number_of_text(text), None, "{text}");
        }
    }
}
