//! How severe is a log record, whether its producer sent a number or a word?
//!
//! OpenTelemetry has both, and producers send one, both, or words of their own. So that one condition finds all
//! errors, an event has three columns, and a fourth that tells which of them was derived:
//!
//! | column | |
//! |---|---|
//! | `severity_number` | the number as sent, otherwise the number of the word |
//! | `severity` | `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`: the range of the number; an unknown word unchanged |
//! | `severity_text` | the word as sent |
//! | `severity_origin` | `text` if the number was derived from the word, `number` if no word was sent |
//!
//! Source: OpenTelemetry logs data model, "Field: SeverityNumber", "Displaying Severity" and appendix B.
//! Segments that are older than the last two columns have the word as sent in `severity`.

use arrow::datatypes::Field;

/// Key of a mark in the metadata of a field.
const MARK: &str = "broadloom.severity";

/// Names of the ranges of four numbers each, starting at 1.
const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// Value of `severity_origin`: no number was sent; it was derived from the text.
pub const FROM_TEXT: &str = "text";

/// Value of `severity_origin`: no text was sent; `severity` is the number's name.
pub const FROM_NUMBER: &str = "number";

/// Marks the field of the column `severity`, so that statements know it by any name.
pub(crate) fn mark(field: Field) -> Field {
    field.with_metadata([(MARK.to_owned(), String::new())].into())
}

/// True for the field of the column `severity`.
pub(crate) fn is_marked(field: &Field) -> bool {
    field.metadata().contains_key(MARK)
}

/// Severity columns of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Severity<'a> {
    pub(super) number: Option<i64>,
    pub(super) name: Option<&'a str>,
    pub(super) text: Option<&'a str>,
    pub(super) origin: Option<&'static str>,
}

impl<'a> Severity<'a> {
    /// Derives the columns from the number and text as sent. If they disagree, the number counts: it is the producer's
    /// meaning, the text is only its library's name for it.
    pub(super) fn of(number: Option<i64>, text: &'a str) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        let of_text = text.and_then(number_of_name);
        let known = number.and_then(name_of_number).or_else(|| of_text.and_then(name_of_number));
        let origin = match (number, text) {
            (None, Some(_)) if of_text.is_some() => Some(FROM_TEXT),
            (Some(_), None) if known.is_some() => Some(FROM_NUMBER),
            _ => None,
        };
        Self { number: number.or(of_text), name: known.or(text), text, origin }
    }
}

/// Name of the range of a severity number; `None` if it is not one of OpenTelemetry's numbers, 1 to 24.
pub fn name_of_number(number: i64) -> Option<&'static str> {
    NAMES.get(usize::try_from(number.checked_sub(1)?).ok()? / 4).copied()
}

/// Severity number of a level's name in any case; `None` for unknown names.
pub fn number_of_name(name: &str) -> Option<i64> {
    let mut lower = [0_u8; 16];
    let name = name.trim().as_bytes();
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" | b"finest" | b"verbose" | b"silly" | b"t" => 1,
        b"trace2" => 2,
        b"trace3" => 3,
        b"trace4" => 4,
        b"debug" | b"dbg" | b"fine" | b"finer" | b"d" => 5,
        b"debug2" => 6,
        b"debug3" => 7,
        b"debug4" => 8,
        b"info" | b"information" | b"informational" | b"config" | b"default" | b"i" => 9,
        b"info2" | b"notice" => 10,
        b"info3" => 11,
        b"info4" => 12,
        b"warn" | b"warning" | b"w" => 13,
        b"warn2" => 14,
        b"warn3" => 15,
        b"warn4" => 16,
        b"error" | b"err" | b"severe" | b"e" => 17,
        b"error2" | b"critical" | b"crit" | b"dpanic" => 18,
        b"error3" | b"alert" => 19,
        b"error4" => 20,
        b"fatal" | b"f" | b"emerg" | b"emergency" | b"panic" => 21,
        b"fatal2" => 22,
        b"fatal3" => 23,
        b"fatal4" => 24,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_one_severity() {
        let of = |number, text| {
            let Severity { number, name, text, origin } = Severity::of(number, text);
            (number, name, text, origin)
        };
        let error = Some("ERROR");
        assert_eq!(of(Some(17), "ERROR"), (Some(17), error, error, None));
        assert_eq!(of(Some(17), ""), (Some(17), error, None, Some(FROM_NUMBER)));
        assert_eq!(of(None, "ERROR"), (Some(17), error, error, Some(FROM_TEXT)));
        assert_eq!(of(None, "Error"), (Some(17), error, Some("Error"), Some(FROM_TEXT)));
        assert_eq!(of(None, " err "), (Some(17), error, Some(" err "), Some(FROM_TEXT)));
        assert_eq!(of(Some(17), "50"), (Some(17), error, Some("50"), None), "the number of a library");
        assert_eq!(of(Some(20), ""), (Some(20), error, None, Some(FROM_NUMBER)), "ERROR4 is an error");
        assert_eq!(of(Some(9), "Notice"), (Some(9), Some("INFO"), Some("Notice"), None));
        assert_eq!(of(Some(13), "ERROR"), (Some(13), Some("WARN"), error, None), "the number counts");
    }

    #[test]
    fn what_nobody_knows_stays_what_it_is() {
        let of = |number, text| {
            let severity = Severity::of(number, text);
            (severity.number, severity.name, severity.text, severity.origin)
        };
        assert_eq!(of(None, ""), (None, None, None, None));
        assert_eq!(of(None, "odd"), (None, Some("odd"), Some("odd"), None));
        assert_eq!(of(Some(99), "odd"), (Some(99), Some("odd"), Some("odd"), None));
        assert_eq!(of(Some(99), ""), (Some(99), None, None, None));
        assert_eq!(of(Some(-1), "warning"), (Some(-1), Some("WARN"), Some("warning"), None));
        for number in [i64::MIN, 0, 25, i64::MAX] {
            assert_eq!(name_of_number(number), None, "{number}");
        }
    }
}
