//! Reads the spans of one trace, with what a picture of them needs.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use crate::event::TraceId;
use crate::query::trees::SPANS_MAX;
use crate::query::trees::spans::COLUMNS;

/// The statement that reads the spans of a trace.
pub(super) fn statement(id: TraceId) -> String {
    format!(
        "select {COLUMNS} from events where signal = 'span' and trace_id = '{id}' limit {}",
        SPANS_MAX + 1
    )
}

/// The id in `row`, as a number whose hexadecimal digits are those of the id.
pub(super) fn span_id(array: &ArrayRef, row: usize) -> Option<u64> {
    let ids = array.as_fixed_size_binary_opt()?;
    let bytes = ids.is_valid(row).then(|| ids.value(row))?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The text in `row` of a column of any type for text; nothing where there is none.
pub(super) fn text(array: &ArrayRef, row: usize) -> &str {
    if array.is_null(row) {
        return "";
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row),
        DataType::Utf8View => array.as_string_view().value(row),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            text(dictionary.values(), dictionary.normalized_keys()[row])
        }
        _ => "",
    }
}
