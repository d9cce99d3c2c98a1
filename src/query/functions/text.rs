//! How are values converted to text, wherever they are stored?
//!
//! The same value may be in a typed Parquet column of one segment, in the overflow of another and in a buffered
//! batch. A query that reads the attribute as text must get the same text from each, so all code that converts
//! values to text is here. Each number has one [spelling](super::number); lists and maps are
//! [plain JSON](crate::event::plain_json).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray, StringViewBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options, nullif};
use arrow::datatypes::{DataType, Float64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::number;
use crate::event::plain_json::plain;
use crate::event::typed_json;

/// Options of casts that yield null instead of an error.
pub(crate) const SAFE: CastOptions<'static> =
    CastOptions { safe: true, format_options: arrow::util::display::FormatOptions::new() };

/// True if [`display`] of such a column is only a cast.
pub(crate) fn casts_to_text(ty: &DataType) -> bool {
    !matches!(ty, DataType::Float64 | DataType::Binary | DataType::BinaryView | DataType::LargeBinary)
}

/// Converts values to text: numbers and booleans as literals, bytes as base64, text and JSON unchanged.
pub(crate) fn display(array: &ArrayRef) -> Result<ArrayRef> {
    if casts_to_text(array.data_type()) {
        return Ok(cast_with_options(array, &DataType::Utf8View, &SAFE)?);
    }
    if *array.data_type() == DataType::Float64 {
        return Ok(spelled(array));
    }
    let binary = cast_with_options(array, &DataType::BinaryView, &SAFE)?;
    let mut builder = StringViewBuilder::with_capacity(array.len());
    for value in binary.as_binary_view() {
        builder.append_option(value.map(|bytes| BASE64.encode(bytes)));
    }
    Ok(Arc::new(builder.finish()))
}

/// Doubles by their spelling.
fn spelled(numbers: &ArrayRef) -> ArrayRef {
    let mut texts = StringViewBuilder::with_capacity(numbers.len());
    for number in numbers.as_primitive::<Float64Type>() {
        texts.append_option(number.map(number::spell));
    }
    Arc::new(texts.finish())
}

/// Bytes as [`display`] shows them.
pub(crate) fn display_bytes(value: &[u8]) -> String {
    BASE64.encode(value)
}

/// `display_text(column)`: see [`display`]. Only for columns whose cast to text differs from it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DisplayText {
    signature: Signature,
}

impl DisplayText {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }

    /// True if a cast to text does the same for columns of this type.
    pub(crate) fn is_a_cast(ty: &DataType) -> bool {
        casts_to_text(ty)
    }
}

impl ScalarUDFImpl for DisplayText {
    fn name(&self) -> &'static str {
        "display_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Internal("display_text needs an argument".to_owned()));
        };
        Ok(ColumnarValue::Array(display(array)?))
    }
}

/// Converts typed JSON to views, with JSON's null as null: an attribute sent without a value counts as absent, but
/// version 0.1 stored it.
pub(super) fn without_null(array: &ArrayRef) -> Result<ArrayRef> {
    let array = cast(array, &DataType::Utf8View)?;
    let views = array.as_string_view();
    let is_null = |row| views.is_valid(row) && typed_json::is_null(views.value(row));
    let nulls: BooleanArray = (0..views.len()).map(|row| Some(is_null(row))).collect();
    if nulls.true_count() == 0 {
        return Ok(array);
    }
    Ok(nullif(&array, &nulls)?)
}

/// `plain_json(column)`: typed JSON as [plain JSON](crate::event::plain_json).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlainJson {
    signature: Signature,
}

impl PlainJson {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for PlainJson {
    fn name(&self) -> &'static str {
        "plain_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Internal("plain_json needs an argument".to_owned()));
        };
        let typed = without_null(array)?;
        let differs = |text: Option<&str>| text.is_some_and(|text| matches!(plain(text), Cow::Owned(_)));
        if !typed.as_string_view().iter().any(differs) {
            return Ok(ColumnarValue::Array(typed));
        }
        let texts: StringViewArray = typed.as_string_view().iter().map(|text| text.map(plain)).collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}
