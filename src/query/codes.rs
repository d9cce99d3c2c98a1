//! Numbers in place of texts, for the length of one query.
//!
//! Columns in memory have repeated text as a dictionary per segment. An [`Interner`] gives each distinct text one
//! number across all segments, by looking at dictionaries and not at rows; `code_of` and `text_of` are the way
//! there and back. SQL cannot name them: [`GroupByCodes`](super::group_by_codes::GroupByCodes) does.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};
use datafusion::common::cast::as_string_view_array;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;

/// What a text takes besides its bytes, about: where it ends, its number in the table, and room for both to grow.
const TEXT_BYTES: usize = 32;

/// Gives texts numbers, in the order in which they come.
#[derive(Debug)]
pub(super) struct Interner {
    texts: Mutex<Texts>,
}

#[derive(Debug)]
struct Texts {
    /// All texts, one after the other.
    bytes: String,
    /// Where each ends.
    ends: Vec<usize>,
    codes: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The codes of dictionaries that were seen, by address. The dictionaries are kept, so that no other comes to
    /// be at the same.
    dictionaries: HashMap<usize, (ArrayRef, ArrayRef)>,
    reservation: MemoryReservation,
}

impl Interner {
    /// An empty one, whose memory is `pool`'s. It cannot spill.
    pub(super) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let reservation = MemoryConsumer::new("Texts that are grouped by").register(pool);
        Self {
            texts: Mutex::new(Texts {
                bytes: String::new(),
                ends: Vec::new(),
                codes: HashTable::new(),
                hasher: DefaultHashBuilder::default(),
                dictionaries: HashMap::new(),
                reservation,
            }),
        }
    }

    /// The number of each text; null for null.
    fn codes(&self, texts: &StringViewArray) -> Result<UInt32Array> {
        let mut known = self.texts.lock();
        texts.iter().map(|text| text.map(|text| known.code(text)).transpose()).collect()
    }

    /// As [`codes`](Self::codes), of the values of a dictionary, which is looked at once.
    fn codes_of_dictionary(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let address = Arc::as_ptr(values).cast::<()>() as usize;
        if let Some((_, codes)) = self.texts.lock().dictionaries.get(&address) {
            return Ok(Arc::clone(codes));
        }
        let codes: ArrayRef = Arc::new(self.codes(as_string_view_array(values)?)?);
        let mut known = self.texts.lock();
        known.reservation.try_grow(codes.get_array_memory_size())?;
        known.dictionaries.insert(address, (Arc::clone(values), Arc::clone(&codes)));
        Ok(codes)
    }

    /// The text of each number.
    fn texts(&self, codes: &UInt32Array) -> Result<StringViewArray> {
        let known = self.texts.lock();
        let mut texts = StringViewBuilder::with_capacity(codes.len());
        for code in codes {
            let text = code.map(|code| known.text(code).ok_or_else(|| unknown(code))).transpose()?;
            texts.append_option(text);
        }
        Ok(texts.finish())
    }
}

fn unknown(code: u32) -> DataFusionError {
    DataFusionError::Internal(format!("no text has the code {code}"))
}

impl Texts {
    fn text(&self, code: u32) -> Option<&str> {
        let code = code as usize;
        let begin = if code == 0 { 0 } else { *self.ends.get(code - 1)? };
        self.bytes.get(begin..*self.ends.get(code)?)
    }

    fn code(&mut self, text: &str) -> Result<u32> {
        let hash = self.hasher.hash_one(text);
        if let Some(code) = self.codes.find(hash, |code| self.text(*code) == Some(text)) {
            return Ok(*code);
        }
        let code = u32::try_from(self.ends.len())
            .map_err(|_| DataFusionError::ResourcesExhausted("more than 2^32 different texts".to_owned()))?;
        self.reservation.try_grow(text.len() + TEXT_BYTES)?;
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
        let Self { codes, bytes, ends, hasher, .. } = self;
        let text_of = |code: u32| {
            let code = code as usize;
            &bytes[code.checked_sub(1).map_or(0, |before| ends[before])..ends[code]]
        };
        codes.insert_unique(hash, code, |code| hasher.hash_one(text_of(*code)));
        Ok(code)
    }
}

/// Two functions are the same when they share their interner.
macro_rules! same_interner {
    ($function:ty) => {
        impl PartialEq for $function {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.interner, &other.interner)
            }
        }
        impl Eq for $function {}
        impl Hash for $function {
            fn hash<H: Hasher>(&self, state: &mut H) {
                Arc::as_ptr(&self.interner).hash(state);
            }
        }
    };
}

/// `code_of(text)`: its number in this query.
#[derive(Debug)]
pub(super) struct CodeOf {
    interner: Arc<Interner>,
    signature: Signature,
}

/// `text_of(code)`: the text that has this number in this query.
#[derive(Debug)]
pub(super) struct TextOf {
    interner: Arc<Interner>,
    signature: Signature,
}

same_interner!(CodeOf);
same_interner!(TextOf);

impl CodeOf {
    /// Asks `interner`.
    pub(super) fn new(interner: Arc<Interner>) -> Self {
        Self { interner, signature: Signature::exact(vec![DataType::Utf8View], Volatility::Stable) }
    }

    /// When `expr` is `code_of(column)`, and `column` of `columns` a dictionary: the codes as one.
    pub(super) fn of_dictionary(
        expr: &Arc<dyn PhysicalExpr>,
        columns: &[ArrayRef],
    ) -> Result<Option<ArrayRef>> {
        let call = expr.downcast_ref::<ScalarFunctionExpr>();
        let function = call.and_then(|call| Some((call, call.fun().inner().downcast_ref::<Self>()?)));
        let Some((call, function)) = function else { return Ok(None) };
        let column = call.args().first().and_then(|arg| arg.downcast_ref::<Column>());
        let Some(column) = column.and_then(|column| columns.get(column.index())) else { return Ok(None) };
        let Some(coded) = column.as_any_dictionary_opt() else { return Ok(None) };
        Ok(Some(coded.with_values(function.interner.codes_of_dictionary(coded.values())?)))
    }
}

impl TextOf {
    /// Asks `interner`.
    pub(super) fn new(interner: Arc<Interner>) -> Self {
        Self { interner, signature: Signature::exact(vec![DataType::UInt32], Volatility::Stable) }
    }
}

impl ScalarUDFImpl for CodeOf {
    fn name(&self) -> &'static str {
        "code_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = argument(&args)?;
        Ok(ColumnarValue::Array(Arc::new(self.interner.codes(as_string_view_array(&texts)?)?)))
    }
}

impl ScalarUDFImpl for TextOf {
    fn name(&self) -> &'static str {
        "text_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let codes = argument(&args)?;
        Ok(ColumnarValue::Array(Arc::new(self.interner.texts(codes.as_primitive::<UInt32Type>())?)))
    }
}

fn argument(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let argument = args.args.first().map(|argument| argument.to_array(args.number_rows));
    argument.unwrap_or_else(|| Err(DataFusionError::Internal("an argument is missing".to_owned())))
}

#[cfg(test)]
mod tests {
    use arrow::array::DictionaryArray;
    use arrow::datatypes::UInt8Type;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};

    use super::*;

    fn pool(bytes: usize) -> Arc<dyn MemoryPool> {
        Arc::new(GreedyMemoryPool::new(bytes))
    }

    #[test]
    fn each_text_has_one_code_and_comes_back() {
        let interner = Interner::new(&(Arc::new(UnboundedMemoryPool::default()) as _));
        let texts: Vec<Option<String>> =
            (0..1000).map(|i| (i % 7 != 0).then(|| "ä".repeat(i % 5) + &(i % 300).to_string())).collect();
        let texts = StringViewArray::from(texts);
        let codes = interner.codes(&texts).unwrap();
        assert_eq!(interner.texts(&codes).unwrap(), texts);
        assert_eq!(interner.codes(&texts).unwrap(), codes);
        // Of a dictionary the same, whatever its order.
        let dictionary: ArrayRef =
            Arc::new(StringViewArray::from(vec![texts.value(2), "new", texts.value(1)]));
        let of_dictionary = interner.codes_of_dictionary(&dictionary).unwrap();
        let of_dictionary = of_dictionary.as_primitive::<UInt32Type>();
        assert_eq!((of_dictionary.value(0), of_dictionary.value(2)), (codes.value(2), codes.value(1)));
        assert_eq!(
            interner.codes(&StringViewArray::from(vec!["new"])).unwrap().value(0),
            of_dictionary.value(1)
        );
        let again = interner.codes_of_dictionary(&dictionary).unwrap();
        assert_eq!(again.as_primitive::<UInt32Type>(), of_dictionary);
        interner.texts(&UInt32Array::from(vec![1_000_000])).unwrap_err();
    }

    #[test]
    fn a_dictionary_is_looked_at_and_not_its_rows() {
        let interner = Arc::new(Interner::new(&pool(1 << 20)));
        let values: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
        let keys = vec![Some(1_u8), None, Some(0), Some(1)].into();
        let column: ArrayRef = Arc::new(DictionaryArray::<UInt8Type>::try_new(keys, values).unwrap());
        let schema =
            arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("x", DataType::Utf8View, true)]);
        let function = Arc::new(CodeOf::new(interner).into());
        let args = vec![Arc::new(Column::new("x", 0)) as _];
        let call = ScalarFunctionExpr::try_new(function, args, &schema, Arc::default()).unwrap();
        let call: Arc<dyn PhysicalExpr> = Arc::new(call);
        let coded = CodeOf::of_dictionary(&call, std::slice::from_ref(&column)).unwrap().unwrap();
        let codes = arrow::compute::cast(&coded, &DataType::UInt32).unwrap();
        assert_eq!(
            codes.as_primitive::<UInt32Type>(),
            &UInt32Array::from(vec![Some(1), None, Some(0), Some(1)])
        );
        let plain: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
        assert!(CodeOf::of_dictionary(&call, &[plain]).unwrap().is_none());
    }

    #[test]
    fn memory_is_asked_for() {
        let interner = Interner::new(&pool(1000));
        let texts: Vec<String> = (0..100).map(|i| format!("text {i}")).collect();
        let error = interner.codes(&StringViewArray::from(texts)).unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    }
}
