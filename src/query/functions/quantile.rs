//! `p50`, `p75`, `p90`, `p95`, `p99`, `p999` and `quantile(x, q)`.
//!
//! Results are within 1 % of the exact value (see [`Sketch`]); integers give integers. An additional argument is
//! the weight of each value: `p99(duration_ns, sample_weight)`, `quantile(duration_ns, 0.99, sample_weight)`. Rows
//! whose weight is null or not above zero do not count. The state is one binary column, so partial results of
//! partitions merge.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, TypeSignature,
    Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use super::sketch::{Sketch, write_one};
use super::text::SAFE;

/// The constant that says which quantile; `None` if it is none between 0 and 1.
pub(crate) fn constant(q: Option<&ScalarValue>) -> Option<f64> {
    match q?.cast_to(&DataType::Float64).ok()? {
        ScalarValue::Float64(q) => q.filter(|q| (0.0..=1.0).contains(q)),
        _ => None,
    }
}

/// All quantile functions.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let fixed: [(&'static str, u64); 6] =
        [("p50", 500), ("p75", 750), ("p90", 900), ("p95", 950), ("p99", 990), ("p999", 999)];
    let fixed = fixed.into_iter().map(|(name, permille)| Quantile::new(name, Some(permille)));
    fixed.chain([Quantile::new("quantile", None)]).map(|q| Arc::new(AggregateUDF::new_from_impl(q))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantile {
    name: &'static str,
    /// The quantile in thousandths; `None` if it is an argument of the call.
    permille: Option<u64>,
    signature: Signature,
}

impl Quantile {
    fn new(name: &'static str, permille: Option<u64>) -> Self {
        let least = if permille.is_some() { 1 } else { 2 };
        let signatures = vec![TypeSignature::Any(least), TypeSignature::Any(least + 1)];
        Self { name, permille, signature: Signature::one_of(signatures, Volatility::Immutable) }
    }

    /// Index of the weight argument, if there is one.
    fn weight(&self, args: &AccumulatorArgs<'_>) -> Option<usize> {
        let place = if self.permille.is_some() { 1 } else { 2 };
        (args.exprs.len() > place).then_some(place)
    }

    fn q(&self, args: &AccumulatorArgs<'_>) -> Result<f64> {
        if let Some(permille) = self.permille {
            return Ok(permille as f64 / 1000.0);
        }
        let literal = args.exprs.get(1).and_then(|e| e.downcast_ref::<Literal>());
        match constant(literal.map(Literal::value)) {
            Some(q) => Ok(q),
            None => Err(DataFusionError::Plan(
                "quantile(x, q): q must be a constant between 0 and 1, such as 0.99".to_owned(),
            )),
        }
    }

    fn result_type(value: &DataType) -> DataType {
        if value.is_integer() { DataType::Int64 } else { DataType::Float64 }
    }
}

impl AggregateUDFImpl for Quantile {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            // Attributes with values of several types read as text: its numbers count.
            Some(ty) if ty.is_numeric() || ty.is_string() || ty.is_null() => Ok(Self::result_type(ty)),
            Some(ty) => Err(DataFusionError::Plan(format!("{}() needs numbers, not {ty}", self.name))),
            None => Err(DataFusionError::Plan(format!("{}() needs an argument", self.name))),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sketch]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let q = self.q(&args)?;
        let data_type = args.return_field.data_type().clone();
        Ok(Box::new(One { sketch: Sketch::default(), q, weight: self.weight(&args), data_type }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let q = self.q(&args)?;
        let data_type = args.return_field.data_type().clone();
        Ok(Box::new(Many { sketches: Vec::new(), q, weight: self.weight(&args), data_type, bytes: 0 }))
    }
}

/// Values and weights of a batch, as doubles.
struct Weighted {
    values: Float64Array,
    weights: Option<Float64Array>,
}

impl Weighted {
    fn new(columns: &[ArrayRef], weight: Option<usize>) -> Result<Self> {
        let doubles = |column: &ArrayRef| {
            let doubles = cast_with_options(column, &DataType::Float64, &SAFE)?;
            Ok::<_, DataFusionError>(doubles.as_primitive::<Float64Type>().clone())
        };
        Ok(Self { values: doubles(&columns[0])?, weights: weight.map(|i| doubles(&columns[i])).transpose()? })
    }

    /// Value and weight of a row; `None` if it does not count.
    fn get(&self, row: usize) -> Option<(f64, f64)> {
        let weight = match &self.weights {
            Some(weights) => weights.is_valid(row).then(|| weights.value(row))?,
            None => 1.0,
        };
        self.values.is_valid(row).then(|| (self.values.value(row), weight))
    }

    /// The values, if all of them count with weight 1.
    fn plain(&self) -> Option<&[f64]> {
        (self.weights.is_none() && self.values.null_count() == 0).then(|| self.values.values().as_ref())
    }

    fn rows(&self) -> std::ops::Range<usize> {
        0..self.values.len()
    }
}

fn damaged() -> DataFusionError {
    DataFusionError::Internal("a quantile's state is damaged".to_owned())
}

/// Accumulator without GROUP BY, and for windows.
#[derive(Debug)]
struct One {
    sketch: Sketch,
    q: f64,
    weight: Option<usize>,
    data_type: DataType,
}

impl Accumulator for One {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let batch = Weighted::new(columns, self.weight)?;
        for (value, weight) in batch.rows().filter_map(|row| batch.get(row)) {
            self.sketch.add(value, weight);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.sketch.quantile(self.q);
        Ok(match self.data_type {
            DataType::Int64 => ScalarValue::Int64(value.map(|v| v.round() as i64)),
            _ => ScalarValue::Float64(value),
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sketch.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.sketch.write(&mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            self.sketch.merge(bytes).ok_or_else(damaged)?;
        }
        Ok(())
    }
}

/// Accumulator with GROUP BY: one sketch per group.
#[derive(Debug)]
struct Many {
    sketches: Vec<Sketch>,
    q: f64,
    weight: Option<usize>,
    data_type: DataType,
    /// Memory of the buckets, in bytes.
    bytes: usize,
}

impl Many {
    fn grow(&mut self, groups: usize) {
        if self.sketches.len() < groups {
            self.sketches.resize(groups, Sketch::default());
        }
    }

    /// Changes one sketch and updates `bytes`.
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut Sketch) -> T) -> T {
        let sketch = &mut self.sketches[group];
        let before = sketch.heap_bytes();
        let changed = change(sketch);
        self.bytes = (self.bytes + sketch.heap_bytes()).saturating_sub(before);
        changed
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Sketch> {
        let taken = emit_to.take_needed(&mut self.sketches);
        self.bytes = self.bytes.saturating_sub(taken.iter().map(Sketch::heap_bytes).sum());
        taken
    }
}

/// True if `row` passes the filter.
pub(super) fn selected(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|f| f.is_valid(row) && f.value(row))
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let batch = Weighted::new(columns, self.weight)?;
        if let (Some(values), None) = (batch.plain(), filter) {
            for (value, group) in values.iter().zip(groups) {
                self.change(*group, |sketch| sketch.add(*value, 1.0));
            }
            return Ok(());
        }
        for row in batch.rows().filter(|row| selected(filter, *row)) {
            if let Some((value, weight)) = batch.get(row) {
                self.change(groups[row], |sketch| sketch.add(value, weight));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sketches = self.take(emit_to);
        let values = sketches.iter().map(|sketch| sketch.quantile(self.q));
        Ok(match self.data_type {
            DataType::Int64 => Arc::new(values.map(|v| v.map(|v| v.round() as i64)).collect::<Int64Array>()),
            _ => Arc::new(values.collect::<Float64Array>()),
        })
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for sketch in self.take(emit_to) {
            bytes.clear();
            sketch.write(&mut bytes);
            states.append_value(&bytes);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        for (bytes, group) in states[0].as_binary::<i32>().iter().zip(groups) {
            if let Some(bytes) = bytes {
                self.change(*group, |sketch| sketch.merge(bytes)).ok_or_else(damaged)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let batch = Weighted::new(columns, self.weight)?;
        let mut states = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for row in batch.rows() {
            bytes.clear();
            if let Some((value, weight)) = batch.get(row).filter(|_| selected(filter, row)) {
                write_one(&mut bytes, value, weight);
            }
            states.append_value(&bytes);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn size(&self) -> usize {
        self.bytes + self.sketches.capacity() * size_of::<Sketch>() + size_of::<Self>()
    }
}
