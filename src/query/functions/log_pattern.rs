//! `log_pattern(text)`: a message with signs in place of what differs from record to record.
//!
//! | sign     | stands for                                                      |
//! |----------|-----------------------------------------------------------------|
//! | `<uuid>` | a UUID                                                          |
//! | `<time>` | a date and time of ISO 8601                                     |
//! | `<hex>`  | a word of hexadecimal digits with a digit, of six or more       |
//! | `<n>`    | a number, also of several parts: a version, an address          |
//!
//! Whole numbers come before hexadecimal ones, so that a number has one sign however many digits it has.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use regex::{Captures, Regex};

/// Most characters of a message that a pattern is made of: a stack trace is told by its beginning.
const CHARS_MAX: usize = 1000;

/// Signs in the order of the groups of [`VARIABLE`].
const SIGNS: [&str; 5] = ["<uuid>", "<time>", "<n>", "<hex>", "<n>"];

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    let uuid = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
    let time = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?";
    let number = r"\d+(?:\.\d+)*";
    let hex = r"\b(?:0x[0-9a-fA-F]+|[a-fA-F]*[0-9][0-9a-fA-F]{5,}|[a-fA-F]{4,}[0-9][0-9a-fA-F]*)\b";
    let all = format!(r"(?-u:({uuid})|({time})|(\b{number}\b)|({hex})|({number}))");
    #[expect(clippy::expect_used, reason = "the text is constant")]
    Regex::new(&all).expect("a regular expression")
});

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogPattern {
    signature: Signature,
}

impl LogPattern {
    /// Creates the function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8View], Volatility::Immutable) }
    }
}

fn pattern(text: &str) -> String {
    let end = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(end, _)| end);
    let sign = |found: &Captures<'_>| {
        let group = (0..SIGNS.len()).find(|group| found.get(group + 1).is_some());
        group.map_or("", |group| SIGNS[group])
    };
    VARIABLE.replace_all(&text[..end], sign).into_owned()
}

impl ScalarUDFImpl for LogPattern {
    fn name(&self) -> &'static str {
        "log_pattern"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(texts) = arrays.first() else { return exec_err!("log_pattern takes a text") };
        let patterns: StringViewArray = texts.as_string_view().iter().map(|text| text.map(pattern)).collect();
        Ok(ColumnarValue::Array(Arc::new(patterns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_becomes_a_sign() {
        for (text, wanted) in [
            ("order 17 took 3.5 ms", "order <n> took <n> ms"),
            ("from 10.0.0.1:8080", "from <n>:<n>"),
            ("user 4f9c1c1e-8a52-4a0b-9a53-0d3f3c6f8a11 left", "user <uuid> left"),
            ("at 2026-11-30T17:14:16.123Z done", "at <time> done"),
            ("trace 4bf92f3577b34da6 0x1f", "trace <hex> <hex>"),
            ("12345678 rows, decade, facade", "<n> rows, decade, facade"),
            ("node7 of eu-west-1a", "node<n> of eu-west-<n>a"),
            ("größe 5 €", "größe <n> €"),
        ] {
            assert_eq!(pattern(text), wanted);
        }
        assert_eq!(pattern(&"ö".repeat(2000)).chars().count(), CHARS_MAX);
    }
}
