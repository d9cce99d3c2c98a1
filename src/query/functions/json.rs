//! Functions of JSON text: `json_get(body, 'user', 'id')`, `json_length(body)`, `body ->> 'level'`.
//!
//! They come from `datafusion-functions-json`. Its `json_get` returns a union of types, which can be neither compared
//! nor grouped by. So here `json_get` and `->` are `json_as_text`, which returns text as
//! [`json_at`](super::json_at) does.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion_functions_json::udfs;
use sqlparser::ast::BinaryOperator;

/// Name of the function behind `json_get` and `->`.
pub(crate) const AS_TEXT: &str = "json_as_text";

/// JSON functions that SQL can call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(as_text()),
        udfs::json_contains_udf(),
        udfs::json_get_array_udf(),
        udfs::json_get_bool_udf(),
        udfs::json_get_float_udf(),
        udfs::json_get_int_udf(),
        udfs::json_get_json_udf(),
        udfs::json_get_str_udf(),
        udfs::json_length_udf(),
        udfs::json_object_keys_udf(),
    ]
}

fn as_text() -> ScalarUDF {
    udfs::json_as_text_udf().as_ref().clone().with_aliases(["json_get"])
}

/// Function behind an operator on JSON text.
pub(crate) fn operator(op: &BinaryOperator) -> Option<Arc<ScalarUDF>> {
    match op {
        BinaryOperator::Arrow
        | BinaryOperator::LongArrow
        | BinaryOperator::HashArrow
        | BinaryOperator::HashLongArrow => Some(Arc::new(as_text())),
        BinaryOperator::Question => Some(udfs::json_contains_udf()),
        _ => None,
    }
}
