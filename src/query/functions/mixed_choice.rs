//! `greatest`, `least` and `nullif` for attributes with values of several types.
//!
//! | function                        | result                                                            |
//! |---------------------------------|-------------------------------------------------------------------|
//! | `mixed_greatest(x, y, …)`       | the greatest number; the greatest text where there is no number    |
//! | `mixed_least(x, y, …)`          | the least number; the least text where there is no number          |
//! | `mixed_unless(x, condition)`    | `x`, but null where the condition is true                         |
//!
//! So `greatest` and `least` in a row choose like `max` and `min` over a column ([`Extreme`](super::Extreme)).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::mixed::{mark, views};
use super::number::{self, Texts};

/// Rule that chooses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Choice {
    /// The greatest.
    Greatest,
    /// The least.
    Least,
    /// The first, unless the second is true.
    Unless,
}

/// One of the functions of this module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MixedChoice {
    choice: Choice,
    signature: Signature,
}

impl MixedChoice {
    /// Creates the function of this rule.
    pub(crate) fn new(choice: Choice) -> Self {
        Self { choice, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MixedChoice {
    fn name(&self) -> &'static str {
        match self.choice {
            Choice::Greatest => "mixed_greatest",
            Choice::Least => "mixed_least",
            Choice::Unless => "mixed_unless",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(mark(Field::new(self.name(), DataType::Utf8View, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays =
            args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let chosen = match self.choice {
            Choice::Greatest => extreme(&arrays, Texts::First, |key, best| key > best)?,
            Choice::Least => extreme(&arrays, Texts::Last, |key, best| key < best)?,
            Choice::Unless => unless(&arrays)?,
        };
        Ok(ColumnarValue::Array(chosen))
    }
}

/// Per row, the text whose key, with `texts` placed so, is better than all others.
fn extreme(arrays: &[ArrayRef], texts: Texts, is_better: impl Fn(&[u8], &[u8]) -> bool) -> Result<ArrayRef> {
    let columns = arrays.iter().map(views).collect::<Result<Vec<StringViewArray>>>()?;
    let rows = columns.first().map_or(0, Array::len);
    let mut chosen = StringViewBuilder::with_capacity(rows);
    let (mut key, mut best) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let mut text: Option<&str> = None;
        for column in columns.iter().filter(|column| column.is_valid(row)) {
            number::key(&mut key, column.value(row), texts);
            if text.is_none() || is_better(&key, &best) {
                text = Some(column.value(row));
                std::mem::swap(&mut key, &mut best);
            }
        }
        chosen.append_option(text);
    }
    Ok(Arc::new(chosen.finish()))
}

fn unless(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [value, condition] = arrays else {
        return Err(DataFusionError::Internal("mixed_unless takes a value and a condition".to_owned()));
    };
    let condition = condition.as_boolean_opt();
    let condition =
        condition.ok_or_else(|| DataFusionError::Internal("a condition is not a boolean".to_owned()))?;
    let value: ArrayRef = Arc::new(views(value)?);
    Ok(nullif(&value, condition)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_chosen_before_texts() {
        let column = |texts: &[Option<&str>]| Arc::new(StringViewArray::from(texts.to_vec())) as ArrayRef;
        let columns = [
            column(&[Some("9"), Some("b"), None, None, Some("x")]),
            column(&[Some("10"), Some("a"), Some("-1"), None, Some("-7")]),
        ];
        let greatest = extreme(&columns, Texts::First, |key, best| key > best).unwrap();
        assert_eq!(&greatest, &column(&[Some("10"), Some("b"), Some("-1"), None, Some("-7")]));
        let least = extreme(&columns, Texts::Last, |key, best| key < best).unwrap();
        assert_eq!(&least, &column(&[Some("9"), Some("a"), Some("-1"), None, Some("-7")]));
    }
}
