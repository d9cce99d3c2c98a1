//! Which functions of PostgreSQL are computed per row? Those that turn numbers of the catalogue into names, and quote.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::rewrite::REGCLASS_TEXT;
use super::syntax::bare;
use super::tables::{Tables, type_names, type_oids};

/// Every function.
pub(super) fn all(tables: &Tables) -> Vec<Arc<ScalarUDF>> {
    let types = Arc::new(type_names());
    let relations: Arc<BTreeMap<i64, String>> =
        Arc::new(tables.oids().iter().map(|(name, oid)| (i64::from(*oid), name.clone())).collect());
    let functions = [
        ("format_type", Task::NameOf(types)),
        (REGCLASS_TEXT, Task::NameOf(relations)),
        ("to_regtype", Task::NumberOf(Arc::new(type_oids()))),
        ("to_regclass", Task::NumberOf(Arc::new(tables.oids().clone()))),
        ("quote_ident", Task::QuoteName),
        ("quote_literal", Task::QuoteText),
    ];
    let make = |(name, task)| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Function { name, task, signature }))
    };
    functions.into_iter().map(make).collect()
}

/// A function of its first argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    task: Task,
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Task {
    /// The name of a number.
    NameOf(Arc<BTreeMap<i64, String>>),
    /// The number of a name.
    NumberOf(Arc<BTreeMap<String, i32>>),
    /// A name, in quotes where it needs them.
    QuoteName,
    /// A text in quotes.
    QuoteText,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if matches!(self.task, Task::NumberOf(_)) { DataType::Int32 } else { DataType::Utf8 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(first) = arrays.first() else {
            return datafusion::common::exec_err!("{} needs an argument", self.name);
        };
        Ok(ColumnarValue::Array(self.task.run(first)?))
    }
}

impl Task {
    fn run(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let found: StringArray = match self {
            Self::NameOf(names) => {
                let numbers = cast(array, &DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let name = |number| names.get(&number).cloned().unwrap_or_else(|| "???".to_owned());
                numbers.iter().map(|number| number.map(name)).collect()
            }
            Self::NumberOf(numbers) => {
                let number = |text: &str| numbers.get(&bare(text)).copied();
                let found: Int32Array = texts(array)?.iter().map(|text| text.and_then(number)).collect();
                return Ok(Arc::new(found));
            }
            Self::QuoteName => texts(array)?.iter().map(|text| text.map(quote_name)).collect(),
            Self::QuoteText => {
                texts(array)?.iter().map(|text| Some(format!("'{}'", text?.replace('\'', "''")))).collect()
            }
        };
        Ok(Arc::new(found))
    }
}

fn texts(array: &ArrayRef) -> Result<StringArray> {
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn quote_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_bare = name.chars().all(is_plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    if is_bare { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_need_it() {
        assert_eq!(quote_name("spans"), "spans");
        assert_eq!(quote_name("http.route"), "\"http.route\"");
        assert_eq!(quote_name("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_name("1a"), "\"1a\"");
    }
}
