//! `sum` of integers that returns the right result or an error.
//!
//! DataFusion's `sum` adds 64-bit integers and wraps around. Here they are added as 128-bit integers, which no
//! number of rows overflows. Only a final result that does not fit is an error; intermediate sums, of a partition or
//! of a part of a window, may exceed 64 bits. So the state of a sum is a decimal of 38 digits. Sums of other types
//! are DataFusion's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, PrimitiveArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::Sum as DataFusionSum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};

/// Type of the state of a sum of 64-bit integers.
pub(crate) const SUM_STATE: DataType = DataType::Decimal128(38, 0);

/// `sum(x)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sum {
    inner: DataFusionSum,
}

impl Sum {
    /// The function.
    pub(crate) fn new() -> Self {
        Self { inner: DataFusionSum::new() }
    }
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::UInt64)
}

/// Arguments of the same sum over the wide type.
fn widened<'a>(args: &AccumulatorArgs<'a>) -> AccumulatorArgs<'a> {
    let field = Field::new(args.return_field.name(), SUM_STATE, true);
    AccumulatorArgs { return_field: Arc::new(field), ..args.clone() }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let result = Narrow::of(&args);
        match args.return_type() {
            DataType::Int64 | DataType::UInt64 if args.is_distinct => Ok(Box::new(Distinct::new(result))),
            DataType::Int64 => Ok(Box::new(Plain::<Int64Type>::new(result))),
            DataType::UInt64 => Ok(Box::new(Plain::<UInt64Type>::new(result))),
            _ => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !is_integer(args.return_type()) {
            return self.inner.state_fields(args);
        }
        let field = if args.is_distinct {
            let item = Field::new_list_field(SUM_STATE, true);
            Field::new_list(format_state_name(args.name, "sum distinct"), item, false)
        } else {
            Field::new(format_state_name(args.name, "sum"), SUM_STATE, true)
        };
        Ok(vec![Arc::new(field)])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_integer(args.return_type()) {
            return self.inner.create_groups_accumulator(args);
        }
        let wide = self.inner.create_groups_accumulator(widened(&args))?;
        Ok(Box::new(Many { wide, result: Narrow::of(&args) }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if is_integer(args.return_type()) {
            self.accumulator(args)
        } else {
            self.inner.create_sliding_accumulator(args)
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    /// Ignores statistics, as they add integers with wrapping.
    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        if is_integer(args.return_type) { None } else { self.inner.value_from_stats(args) }
    }
}

/// Type that the result of a wide sum must fit in.
#[derive(Debug, Clone)]
struct Narrow {
    data_type: DataType,
    /// The sum as SQL, for errors.
    name: String,
}

impl Narrow {
    fn of(args: &AccumulatorArgs) -> Self {
        Self { data_type: args.return_type().clone(), name: args.name.to_owned() }
    }

    fn scalar(&self, sum: Option<i128>) -> Result<ScalarValue> {
        match self.data_type {
            DataType::UInt64 => {
                Ok(ScalarValue::UInt64(sum.map(u64::try_from).transpose().map_err(|_| self.failed(sum))?))
            }
            _ => Ok(ScalarValue::Int64(sum.map(i64::try_from).transpose().map_err(|_| self.failed(sum))?)),
        }
    }

    fn array(&self, sums: &ArrayRef) -> Result<ArrayRef> {
        let sums = sums.as_primitive::<Decimal128Type>();
        Ok(match self.data_type {
            DataType::UInt64 => Arc::new(self.narrowed::<UInt64Type>(sums)?),
            _ => Arc::new(self.narrowed::<Int64Type>(sums)?),
        })
    }

    fn narrowed<T: ArrowPrimitiveType>(&self, sums: &Decimal128Array) -> Result<PrimitiveArray<T>>
    where
        T::Native: TryFrom<i128>,
    {
        sums.try_unary(|sum| T::Native::try_from(sum).map_err(|_| self.failed(Some(sum))))
    }

    fn failed(&self, sum: Option<i128>) -> DataFusionError {
        let sum = sum.unwrap_or_default();
        let (data_type, name) = (&self.data_type, readable(&self.name));
        let way_out = "cast the values to double, or to decimal(38, 0)";
        DataFusionError::Execution(format!("{name} is {sum}, which does not fit in {data_type}: {way_out}"))
    }
}

/// Name of a sum for errors: without window and filter, with attributes by their keys.
/// `sum(logs.attributes['v']) PARTITION BY …` becomes `sum(v)`.
fn readable(name: &str) -> String {
    let mut depth = 0_usize;
    let end = name.char_indices().find_map(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (c == ')' && depth == 0).then_some(at + 1)
    });
    let mut rest = &name[..end.unwrap_or(name.len())];
    let mut shown = String::new();
    while let Some((before, after)) = rest.split_once("attributes['") {
        let Some((key, behind)) = after.split_once("']") else { break };
        let relation = before
            .strip_suffix('.')
            .map(|before| before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_'));
        shown.push_str(relation.unwrap_or(before));
        shown.push_str(key);
        rest = behind;
    }
    shown + rest
}

/// The sum of `values`, which does not overflow.
///
/// The high and low halves of the values are added separately, in loops that the compiler vectorizes. This is as
/// fast as a sum that wraps around.
fn exact_sum<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> Option<i128>
where
    T::Native: Halves,
{
    if values.null_count() == values.len() {
        return None;
    }
    let mut total = 0_i128;
    match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for chunk in values.values().chunks(CHUNK) {
                let (mut high, mut low) = (0_i64, 0_u64);
                for value in chunk {
                    high += value.high();
                    low += value.low();
                }
                total += (i128::from(high) << 32) + i128::from(low);
            }
        }
        Some(nulls) => {
            for (chunk, start) in values.values().chunks(CHUNK).zip((0..).step_by(CHUNK)) {
                let valid = nulls.inner().slice(start, chunk.len());
                let (mut high, mut low) = (0_i64, 0_u64);
                for (value, valid) in chunk.iter().zip(valid.iter()) {
                    high += value.high() * i64::from(valid);
                    low += value.low() * u64::from(valid);
                }
                total += (i128::from(high) << 32) + i128::from(low);
            }
        }
    }
    Some(total)
}

/// Number of values whose sums of halves fit in 64 bits.
const CHUNK: usize = 1 << 16;

/// A value is `high << 32 + low`, and both have at most 32 bits.
trait Halves: Copy {
    fn high(self) -> i64;
    fn low(self) -> u64;
    fn wide(self) -> i128;
}

impl Halves for i64 {
    fn high(self) -> i64 {
        self >> 32
    }

    fn low(self) -> u64 {
        self as u64 & 0xffff_ffff
    }

    fn wide(self) -> i128 {
        self.into()
    }
}

impl Halves for u64 {
    fn high(self) -> i64 {
        (self >> 32) as i64
    }

    fn low(self) -> u64 {
        self & 0xffff_ffff
    }

    fn wide(self) -> i128 {
        self.into()
    }
}

/// Converts 64-bit integers to the wide type.
fn wide(values: &ArrayRef) -> Result<ArrayRef> {
    fn of<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> Result<ArrayRef>
    where
        T::Native: Halves,
    {
        let wide: Decimal128Array = values.unary(Halves::wide);
        Ok(Arc::new(wide.with_precision_and_scale(38, 0)?))
    }
    match values.data_type() {
        DataType::Int64 => of(values.as_primitive::<Int64Type>()),
        DataType::UInt64 => of(values.as_primitive::<UInt64Type>()),
        _ => Ok(arrow::compute::cast(values, &SUM_STATE)?),
    }
}

fn wide_scalar(sum: Option<i128>) -> ScalarValue {
    ScalarValue::Decimal128(sum, 38, 0)
}

/// Accumulator without GROUP BY, and for windows.
struct Plain<T> {
    sum: i128,
    /// Number of values that are not null.
    count: u64,
    result: Narrow,
    values: std::marker::PhantomData<fn() -> T>,
}

impl<T> Plain<T> {
    fn new(result: Narrow) -> Self {
        Self { sum: 0, count: 0, result, values: std::marker::PhantomData }
    }
}

impl<T> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("sum", &self.sum).field("count", &self.count).finish_non_exhaustive()
    }
}

impl<T: ArrowPrimitiveType> Plain<T>
where
    T::Native: Halves,
{
    fn total(&self) -> Option<i128> {
        (self.count > 0).then_some(self.sum)
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Plain<T>
where
    T::Native: Halves,
{
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = columns[0].as_primitive::<T>();
        self.sum += exact_sum(values).unwrap_or(0);
        self.count += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let values = columns[0].as_primitive::<T>();
        self.sum -= exact_sum(values).unwrap_or(0);
        self.count -= (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.result.scalar(self.total())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![wide_scalar(self.total())])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums = states[0].as_primitive::<Decimal128Type>();
        for sum in sums.iter().flatten() {
            self.sum += sum;
            self.count += 1;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.result.name.capacity()
    }
}

/// `sum(DISTINCT x)`.
#[derive(Debug)]
struct Distinct {
    /// Number of occurrences of each value.
    counts: HashMap<i128, u64>,
    sum: i128,
    result: Narrow,
}

impl Distinct {
    fn new(result: Narrow) -> Self {
        Self { counts: HashMap::new(), sum: 0, result }
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        for value in wide(values)?.as_primitive::<Decimal128Type>().iter().flatten() {
            let count = self.counts.entry(value).or_default();
            if *count == 0 {
                self.sum += value;
            }
            *count += 1;
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.add(&columns[0])
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for value in wide(&columns[0])?.as_primitive::<Decimal128Type>().iter().flatten() {
            if let Some(count) = self.counts.get_mut(&value) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&value);
                    self.sum -= value;
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.result.scalar((!self.counts.is_empty()).then_some(self.sum))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.counts.keys().map(|value| wide_scalar(Some(*value))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &SUM_STATE))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.add(&values)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.result.name.capacity() + self.counts.capacity() * size_of::<(i128, u64)>()
    }
}

/// Accumulator with GROUP BY: DataFusion's sums of decimals, over integers.
struct Many {
    wide: Box<dyn GroupsAccumulator>,
    result: Narrow,
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.wide.update_batch(&[wide(&columns[0])?], groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.wide.evaluate(emit_to)?;
        self.result.array(&sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.wide.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.wide.merge_batch(states, groups, total)
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.wide.convert_to_state(&[wide(&columns[0])?], filter)
    }

    fn size(&self) -> usize {
        self.wide.size() + size_of::<Self>() + self.result.name.capacity()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, UInt64Array};

    use super::*;

    fn exact(values: &[Option<i64>]) -> Option<i128> {
        exact_sum(&Int64Array::from(values.to_vec()))
    }

    #[test]
    fn sums_are_named_as_people_write_them() {
        for (name, shown) in [
            ("sum(logs.attributes['v'])", "sum(v)"),
            ("sum(logs.attributes['a.b'] * attributes['c']) FILTER (WHERE x)", "sum(a.b * c)"),
            ("sum(abs(t.x)) PARTITION BY [t.y] RANGE", "sum(abs(t.x))"),
            ("sum", "sum"),
            ("sum(attributes['v", "sum(attributes['v"),
        ] {
            assert_eq!(readable(name), shown);
        }
    }

    #[test]
    fn halves_add_up_to_the_sum() {
        assert_eq!(exact(&[]), None);
        assert_eq!(exact(&[None, None]), None);
        for values in [
            vec![i64::MAX; 100_000],
            vec![i64::MIN; 70_000],
            vec![-1, 1, -1],
            vec![0, i64::MIN, i64::MAX, 1 << 32, -(1 << 32), 0xffff_ffff, -0xffff_ffff],
        ] {
            let wanted: i128 = values.iter().map(|v| i128::from(*v)).sum();
            let whole: Vec<_> = values.iter().copied().map(Some).collect();
            assert_eq!(exact(&whole), Some(wanted));
            // A null has a value too, which does not count.
            let mixed = values.iter().flat_map(|v| [Some(*v), None]).collect::<Vec<_>>();
            assert_eq!(exact(&mixed), Some(wanted));
            let sliced = Int64Array::from(mixed).slice(1, values.len() * 2 - 1);
            assert_eq!(exact_sum(&sliced).unwrap_or(0), wanted - i128::from(values[0]));
        }
        let unsigned = UInt64Array::from(vec![u64::MAX; 3]);
        assert_eq!(exact_sum(&unsigned), Some(3 * i128::from(u64::MAX)));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_an_error_and_one_that_did_not_in_between_is_not() {
        let result = Narrow { data_type: DataType::Int64, name: "sum(v)".to_owned() };
        let mut sum = Plain::<Int64Type>::new(result.clone());
        let large: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 10]));
        sum.update_batch(&[Arc::clone(&large)]).unwrap();
        let error = sum.evaluate().unwrap_err().strip_backtrace();
        assert!(error.contains("sum(v) is 9223372036854775817, which does not fit in Int64"), "{error}");
        let mut other = Plain::<Int64Type>::new(result);
        other.merge_batch(&[sum.state().unwrap()[0].to_array().unwrap()]).unwrap();
        other.update_batch(&[Arc::new(Int64Array::from(vec![-17])) as ArrayRef]).unwrap();
        assert_eq!(other.evaluate().unwrap(), ScalarValue::Int64(Some(9_223_372_036_854_775_800)));
        sum.retract_batch(&[large]).unwrap();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(None));
    }
}
