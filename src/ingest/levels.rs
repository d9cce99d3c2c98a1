//! Severity levels: from what loggers write to OpenTelemetry's numbers.
//!
//! Source: OpenTelemetry logs data model, appendix B (severity mapping), and the numeric levels of Pino
//! and Bunyan.

pub use crate::event::severity::number_of_name;

/// The severity number of a numeric level, as Pino and Bunyan write it (10 trace … 60 fatal).
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
}
