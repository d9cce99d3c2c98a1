//! Functions that read numbers in attributes with values of several types: see [`number`](super::number).
//!
//! | function                          | result                                                        |
//! |-----------------------------------|---------------------------------------------------------------|
//! | `mixed_key(x)`, `mixed_key_desc(x)` | bytes that sort by number, then text; after the numbers both ways |
//! | `number_key(x)`                   | the same of numbers; null for texts                           |
//! | `number_of(x)`                    | the number as a double; null for texts                        |
//! | `number_text(n)`                  | the spelling of a number                                      |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, StringViewArray};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Field};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::number::{self, Texts};
use super::text::{self, SAFE};

/// The mark: the name of an extension type, which other programs ignore.
const MARK: &str = "broadloom.mixed";

/// Marks a field of text.
pub(crate) fn mark(field: Field) -> Field {
    let metadata = [(EXTENSION_TYPE_NAME_KEY.to_owned(), MARK.to_owned())];
    field.with_metadata(metadata.into())
}

/// True if a field is marked.
pub(crate) fn is_marked(field: &Field) -> bool {
    let text = matches!(field.data_type(), DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8);
    text && field.metadata().get(EXTENSION_TYPE_NAME_KEY).is_some_and(|name| name == MARK)
}

/// Result of reading the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reading {
    /// Bytes that sort.
    Key(Texts),
    /// The same in hexadecimal digits, for the frames of windows, which do not take bytes.
    Digits(Texts),
    /// A double.
    Number,
    /// The spelling of a number.
    Spelling,
}

/// One of the functions of this module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mixed {
    reading: Reading,
    signature: Signature,
}

impl Mixed {
    /// Creates the function of this reading.
    pub(crate) fn new(reading: Reading) -> Self {
        Self { reading, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Mixed {
    fn name(&self) -> &'static str {
        match self.reading {
            Reading::Key(Texts::Last) => "mixed_key",
            Reading::Key(Texts::First) => "mixed_key_desc",
            Reading::Key(Texts::Without) => "number_key",
            Reading::Digits(Texts::Last) => "mixed_digits",
            Reading::Digits(Texts::First) => "mixed_digits_desc",
            Reading::Digits(Texts::Without) => "number_digits",
            Reading::Number => "number_of",
            Reading::Spelling => "number_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.reading {
            Reading::Key(_) => DataType::Binary,
            Reading::Number => DataType::Float64,
            Reading::Digits(_) | Reading::Spelling => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return Err(DataFusionError::Internal(format!("{} needs an argument", self.name())));
        };
        Ok(ColumnarValue::Array(match self.reading {
            Reading::Key(texts) => keys(&views(array)?, texts),
            Reading::Digits(texts) => {
                let keys = keys(&views(array)?, texts);
                let digits = keys.as_binary::<i32>().iter().map(|key| key.map(hex::encode));
                Arc::<StringViewArray>::new(digits.collect())
            }
            Reading::Number => {
                let numbers = views(array)?.iter().map(|text| text.and_then(number::value)).collect();
                Arc::<Float64Array>::new(numbers)
            }
            Reading::Spelling => spellings(array)?,
        }))
    }
}

/// Text of any layout as views.
pub(super) fn views(array: &ArrayRef) -> Result<StringViewArray> {
    Ok(cast_with_options(array, &DataType::Utf8View, &SAFE)?.as_string_view().clone())
}

fn keys(texts: &StringViewArray, order: Texts) -> ArrayRef {
    let mut keys = BinaryBuilder::with_capacity(texts.len(), texts.len() * 16);
    let mut key = Vec::new();
    for text in texts {
        let known = text.is_some_and(|text| number::key(&mut key, text, order));
        keys.append_option(known.then_some(&key));
    }
    Arc::new(keys.finish())
}

fn spellings(numbers: &ArrayRef) -> Result<ArrayRef> {
    if numbers.data_type().is_integer() {
        return Ok(cast_with_options(numbers, &DataType::Utf8View, &SAFE)?);
    }
    text::display(&cast_with_options(numbers, &DataType::Float64, &SAFE)?)
}
