//! `search(text, 'words')`: true if every word occurs in the text as a word, whatever the case. `search('words')` looks
//! into the body of log records.
//!
//! What a word is, [`words`] says. The index of a segment knows which pages have a word in a body
//! (`indexed/condition`); this function decides for each row.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::index::words::words;

/// Name of the function.
pub(crate) const SEARCH: &str = "search";

/// Most different words of a search.
const WORDS_MAX: usize = 64;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Search {
    signature: Signature,
}

impl Search {
    /// Creates the function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The different words to look for. Fails if there are none, or too many.
fn wanted(text: &str) -> Result<BTreeSet<String>> {
    let wanted: BTreeSet<String> = words(text).map(std::borrow::Cow::into_owned).collect();
    if wanted.is_empty() {
        return exec_err!("search('{text}') has no word to look for: a word has letters or digits");
    }
    if wanted.len() > WORDS_MAX {
        return exec_err!("search(…) looks for {} words; at most {WORDS_MAX} are allowed", wanted.len());
    }
    Ok(wanted)
}

/// The words that a search looks for, if it can be done.
pub(crate) fn words_of(value: &ScalarValue) -> Option<BTreeSet<String>> {
    let text = value.try_as_str().flatten()?;
    wanted(text).ok()
}

fn has_all(text: &str, wanted: &BTreeSet<String>) -> bool {
    let all = u64::MAX >> (u64::BITS as usize - wanted.len());
    let mut found = 0_u64;
    words(text).any(|word| {
        if let Some(place) = wanted.iter().position(|wanted| *wanted == word) {
            found |= 1 << place;
        }
        found == all
    })
}

impl ScalarUDFImpl for Search {
    fn name(&self) -> &'static str {
        SEARCH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, words] if words.is_string() || words.is_null() => Ok(vec![DataType::Utf8View; 2]),
            _ => plan_err!(
                "search takes words as text, as in search('payment timeout') or search(exception.message, 'timeout')"
            ),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, sought] = args.args.as_slice() else { return exec_err!("search takes a text and words") };
        let texts = text.to_array(args.number_rows)?;
        let texts = texts.as_string_view();
        let found: BooleanArray = match sought {
            ColumnarValue::Scalar(sought) => match sought.try_as_str().flatten() {
                None => return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None))),
                Some(sought) => {
                    let wanted = wanted(sought)?;
                    texts.iter().map(|text| Some(has_all(text?, &wanted))).collect()
                }
            },
            ColumnarValue::Array(sought) => {
                let one = |(text, sought): (Option<&str>, Option<&str>)| match (text, sought) {
                    (Some(text), Some(sought)) => Ok(Some(has_all(text, &wanted(sought)?))),
                    _ => Ok(None),
                };
                texts.iter().zip(sought.as_string_view()).map(one).collect::<Result<_>>()?
            }
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}
