//! Integer codes for texts, within one query.
//!
//! Columns in memory hold repeated text as a dictionary per segment. An [`Interner`] gives each distinct text one
//! number across all segments, from the dictionaries and not from the rows. `code_of` and `text_of` convert text
//! to numbers and back; [`pair_of`] packs two numbers into one, and [`part_of`] unpacks them. SQL cannot name them:
//! only [`GroupByCodes`](crate::query::plan::group_by_codes::GroupByCodes) uses them.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, UInt32Type, UInt64Type};
use datafusion::common::cast::as_string_view_array;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarFunctionImplementation, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, create_udf,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;

/// Approximate memory of a text besides its bytes: its end, its number in the table, and spare capacity of both.
pub(crate) const TEXT_BYTES: usize = 32;

/// Gives texts numbers, in the order in which they come.
#[derive(Debug)]
pub(crate) struct Interner {
    texts: Mutex<Texts>,
}

#[derive(Debug)]
struct Texts {
    all: Joined,
    codes: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Codes of known dictionaries, by address. The dictionaries are kept, so that addresses stay unique.
    dictionaries: HashMap<usize, (ArrayRef, ArrayRef)>,
    reservation: MemoryReservation,
}

/// Texts by number.
#[derive(Debug, Default)]
struct Joined {
    /// All texts, one after another.
    bytes: String,
    /// End of each text in `bytes`.
    ends: Vec<usize>,
}

impl Interner {
    /// Creates an empty interner that accounts its memory to `pool`. It cannot spill.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let reservation = MemoryConsumer::new("Texts that are grouped by").register(pool);
        Self {
            texts: Mutex::new(Texts {
                all: Joined::default(),
                codes: HashTable::new(),
                hasher: DefaultHashBuilder::default(),
                dictionaries: HashMap::new(),
                reservation,
            }),
        }
    }

    /// Number of each text; null for null.
    fn codes(&self, texts: &StringViewArray) -> Result<UInt32Array> {
        let mut known = self.texts.lock();
        texts.iter().map(|text| text.map(|text| known.code(text)).transpose()).collect()
    }

    /// Like [`codes`](Self::codes), for the values of a dictionary, which are interned once.
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

    /// Text of each number.
    fn texts(&self, codes: &UInt32Array) -> Result<StringViewArray> {
        let known = self.texts.lock();
        let mut texts = StringViewBuilder::with_capacity(codes.len());
        for code in codes {
            let text = code.map(|code| known.all.text(code).ok_or_else(|| unknown(code))).transpose()?;
            texts.append_option(text);
        }
        Ok(texts.finish())
    }
}

fn unknown(code: u32) -> DataFusionError {
    DataFusionError::Internal(format!("no text has the code {code}"))
}

impl Joined {
    fn text(&self, code: u32) -> Option<&str> {
        let code = code as usize;
        let begin = if code == 0 { 0 } else { *self.ends.get(code - 1)? };
        self.bytes.get(begin..*self.ends.get(code)?)
    }

    fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }
}

impl Texts {
    fn code(&mut self, text: &str) -> Result<u32> {
        let hash = self.hasher.hash_one(text);
        if let Some(code) = self.codes.find(hash, |code| self.all.text(*code) == Some(text)) {
            return Ok(*code);
        }
        // All but the last number, which stands for null in pairs.
        let code = u32::try_from(self.all.ends.len()).ok().filter(|code| *code < u32::MAX);
        let code = code.ok_or_else(|| {
            DataFusionError::ResourcesExhausted("the groups have 2^32 or more different texts".to_owned())
        })?;
        self.reservation.try_grow(text.len() + TEXT_BYTES)?;
        self.all.push(text);
        let Self { codes, all, hasher, .. } = self;
        codes.insert_unique(hash, code, |code| hasher.hash_one(all.text(*code).unwrap_or_default()));
        Ok(code)
    }
}

/// Equality and hash of functions by the address of their interner.
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

/// `code_of(text)`: the number of the text in this query.
#[derive(Debug)]
pub(crate) struct CodeOf {
    interner: Arc<Interner>,
    signature: Signature,
}

/// `text_of(code)`: the text that has this number in this query.
#[derive(Debug)]
pub(crate) struct TextOf {
    interner: Arc<Interner>,
    signature: Signature,
}

same_interner!(CodeOf);
same_interner!(TextOf);

impl CodeOf {
    /// Asks `interner`.
    pub(crate) fn new(interner: Arc<Interner>) -> Self {
        Self { interner, signature: Signature::exact(vec![DataType::Utf8View], Volatility::Stable) }
    }

    /// Returns the function and the column if `expr` is `code_of(column)`.
    pub(crate) fn called(expr: &Arc<dyn PhysicalExpr>) -> Option<(&Self, &Column)> {
        let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
        let function = call.fun().inner().downcast_ref::<Self>()?;
        Some((function, call.args().first()?.downcast_ref::<Column>()?))
    }

    /// Codes of `texts` as a dictionary, if `texts` is one; only its values are interned.
    pub(crate) fn of_dictionary(&self, texts: &ArrayRef) -> Result<Option<ArrayRef>> {
        let Some(coded) = texts.as_any_dictionary_opt() else { return Ok(None) };
        Ok(Some(coded.with_values(self.interner.codes_of_dictionary(coded.values())?)))
    }
}

impl TextOf {
    /// Asks `interner`.
    pub(crate) fn new(interner: Arc<Interner>) -> Self {
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

/// `pair_of(code, code)`: both in one number, which is never null.
pub(crate) fn pair_of() -> ScalarUDF {
    let pairs = |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [first, second] = &arrays[..] else { return Err(missing()) };
        let half = |code: Option<u32>| code.map_or(0, |code| u64::from(code) + 1);
        let codes = first.as_primitive::<UInt32Type>().iter().zip(second.as_primitive::<UInt32Type>());
        let pairs = codes.map(|(first, second)| half(first) << 32 | half(second));
        Ok(ColumnarValue::Array(Arc::new(UInt64Array::from_iter_values(pairs))))
    };
    let pairs: ScalarFunctionImplementation = Arc::new(pairs);
    create_udf("pair_of", vec![DataType::UInt32; 2], DataType::UInt64, Volatility::Immutable, pairs)
}

/// The first or the second code of a pair.
pub(crate) fn part_of(second: bool) -> ScalarUDF {
    let (name, shift) = if second { ("second_of_pair", 0) } else { ("first_of_pair", 32) };
    let parts = move |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let [pairs] = &arrays[..] else { return Err(missing()) };
        let part = |pair: u64| u32::try_from(pair >> shift & u64::from(u32::MAX)).ok()?.checked_sub(1);
        let codes = pairs.as_primitive::<UInt64Type>().iter().map(|pair| part(pair?));
        Ok(ColumnarValue::Array(Arc::new(codes.collect::<UInt32Array>())))
    };
    let parts: ScalarFunctionImplementation = Arc::new(parts);
    create_udf(name, vec![DataType::UInt64], DataType::UInt32, Volatility::Immutable, parts)
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("an argument is missing".to_owned())
}

fn argument(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let argument = args.args.first().map(|argument| argument.to_array(args.number_rows));
    argument.unwrap_or_else(|| Err(missing()))
}

#[cfg(test)]
mod tests {
    use arrow::array::DictionaryArray;
    use arrow::datatypes::{Field, Schema, UInt8Type};
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
        // A dictionary gives the same codes, whatever its order.
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
        let schema = Schema::new(vec![Field::new("x", DataType::Utf8View, true)]);
        let function = Arc::new(CodeOf::new(interner).into());
        let args = vec![Arc::new(Column::new("x", 0)) as _];
        let call = ScalarFunctionExpr::try_new(function, args, &schema, Arc::default()).unwrap();
        let call: Arc<dyn PhysicalExpr> = Arc::new(call);
        let (function, of) = CodeOf::called(&call).unwrap();
        assert_eq!(of.index(), 0);
        let coded = function.of_dictionary(&column).unwrap().unwrap();
        let codes = arrow::compute::cast(&coded, &DataType::UInt32).unwrap();
        assert_eq!(
            codes.as_primitive::<UInt32Type>(),
            &UInt32Array::from(vec![Some(1), None, Some(0), Some(1)])
        );
        let plain: ArrayRef = Arc::new(StringViewArray::from(vec!["a"]));
        assert!(function.of_dictionary(&plain).unwrap().is_none());
    }

    #[test]
    fn a_pair_comes_apart_again() {
        let codes = [None, Some(0), Some(7), Some(u32::MAX - 1)];
        let both = codes.iter().flat_map(|first| codes.iter().map(|second| (*first, *second)));
        let (first, second): (Vec<_>, Vec<_>) = both.unzip();
        let (first, second) = (UInt32Array::from(first), UInt32Array::from(second));
        let call = |udf: ScalarUDF, args: Vec<ArrayRef>| {
            let arg_fields =
                args.iter().map(|arg| Field::new("", arg.data_type().clone(), true).into()).collect();
            let args = ScalarFunctionArgs {
                number_rows: args[0].len(),
                args: args.into_iter().map(ColumnarValue::Array).collect(),
                arg_fields,
                return_field: Field::new("", udf.return_type(&[]).unwrap(), true).into(),
                config_options: Arc::default(),
            };
            udf.invoke_with_args(args).unwrap().to_array(16).unwrap()
        };
        let pairs = call(pair_of(), vec![Arc::new(first.clone()), Arc::new(second.clone())]);
        let distinct: std::collections::HashSet<_> = pairs.as_primitive::<UInt64Type>().iter().collect();
        assert_eq!((distinct.len(), pairs.null_count()), (16, 0));
        assert_eq!(call(part_of(false), vec![Arc::clone(&pairs)]).as_primitive::<UInt32Type>(), &first);
        assert_eq!(call(part_of(true), vec![pairs]).as_primitive::<UInt32Type>(), &second);
    }

    #[test]
    fn memory_is_asked_for() {
        let interner = Interner::new(&pool(1000));
        let texts: Vec<String> = (0..100).map(|i| format!("text {i}")).collect();
        let error = interner.codes(&StringViewArray::from(texts)).unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
    }
}
