//! Ids from hexadecimal text.

use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeBinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

/// `trace_id_from_hex(text)` and `span_id_from_hex(text)`: digits in any case; null for any other text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdFromHex {
    name: &'static str,
    bytes: i32,
    signature: Signature,
}

impl IdFromHex {
    /// `trace_id_from_hex`.
    pub(crate) fn trace_id() -> Self {
        Self::new("trace_id_from_hex", 16)
    }

    /// `span_id_from_hex`.
    pub(crate) fn span_id() -> Self {
        Self::new("span_id_from_hex", 8)
    }

    fn new(name: &'static str, bytes: i32) -> Self {
        let text = [DataType::Utf8View, DataType::Utf8, DataType::LargeUtf8];
        let signature = TypeSignature::Uniform(1, text.to_vec());
        Self { name, bytes, signature: Signature::new(signature, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for IdFromHex {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::FixedSizeBinary(self.bytes))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Plan(format!("{} needs one text argument", self.name)));
        };
        let texts = arrow::compute::cast(array, &DataType::Utf8View)?;
        let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), self.bytes);
        for text in texts.as_string_view() {
            match text.and_then(|t| hex::decode(t).ok()).filter(|id| id.len() == self.bytes as usize) {
                Some(id) => builder.append_value(id)?,
                None => builder.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
