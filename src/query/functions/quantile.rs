//! `p50`, `p75`, `p90`, `p95`, `p99`, `p999` and `quantile(x, q)`.
//!
//! Within 1 % of the exact value (see [`Sketch`]); integers give integers. The state is one binary column,
//! so partial results of partitions merge.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array};
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

use super::sketch::Sketch;
use super::text::SAFE;

/// All of them.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let fixed: [(&'static str, u64); 6] =
        [("p50", 500), ("p75", 750), ("p90", 900), ("p95", 950), ("p99", 990), ("p999", 999)];
    let fixed = fixed.into_iter().map(|(name, permille)| Quantile::new(name, Some(permille)));
    fixed.chain([Quantile::new("quantile", None)]).map(|q| Arc::new(AggregateUDF::new_from_impl(q))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantile {
    name: &'static str,
    /// The quantile in thousandths; an argument of the call when `None`.
    permille: Option<u64>,
    signature: Signature,
}

impl Quantile {
    fn new(name: &'static str, permille: Option<u64>) -> Self {
        let signature = match permille {
            Some(_) => TypeSignature::Any(1),
            None => TypeSignature::Any(2),
        };
        Self { name, permille, signature: Signature::new(signature, Volatility::Immutable) }
    }

    fn q(&self, args: &AccumulatorArgs<'_>) -> Result<f64> {
        if let Some(permille) = self.permille {
            return Ok(permille as f64 / 1000.0);
        }
        let literal = args.exprs.get(1).and_then(|e| e.downcast_ref::<Literal>());
        let q = literal.and_then(|l| l.value().cast_to(&DataType::Float64).ok());
        match q {
            Some(ScalarValue::Float64(Some(q))) if (0.0..=1.0).contains(&q) => Ok(q),
            _ => Err(DataFusionError::Plan(
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
            // Attributes whose values came with several types read as text: its numbers count.
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
        Ok(Box::new(One { sketch: Sketch::default(), q, data_type }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let q = self.q(&args)?;
        let data_type = args.return_field.data_type().clone();
        Ok(Box::new(Many { sketches: Vec::new(), q, data_type, bytes: 0 }))
    }
}

fn doubles(values: &ArrayRef) -> Result<Float64Array> {
    Ok(cast_with_options(values, &DataType::Float64, &SAFE)?.as_primitive::<Float64Type>().clone())
}

fn decode(bytes: &[u8]) -> Result<Sketch> {
    Sketch::from_bytes(bytes)
        .ok_or_else(|| DataFusionError::Internal("a quantile's state is damaged".to_owned()))
}

fn scalar(value: Option<f64>, data_type: &DataType) -> ScalarValue {
    match data_type {
        DataType::Int64 => ScalarValue::Int64(value.map(|v| v.round() as i64)),
        _ => ScalarValue::Float64(value),
    }
}

/// Without GROUP BY, and in windows.
#[derive(Debug)]
struct One {
    sketch: Sketch,
    q: f64,
    data_type: DataType,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        doubles(&values[0])?.iter().flatten().for_each(|v| self.sketch.add(v));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(scalar(self.sketch.quantile(self.q), &self.data_type))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sketch.memory_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.sketch.to_bytes()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            self.sketch.merge(&decode(bytes)?);
        }
        Ok(())
    }
}

/// With GROUP BY: one sketch per group.
#[derive(Debug)]
struct Many {
    sketches: Vec<Sketch>,
    q: f64,
    data_type: DataType,
    /// Memory of the sketches, estimated when they change.
    bytes: usize,
}

impl Many {
    fn grow(&mut self, groups: usize) {
        if self.sketches.len() < groups {
            self.sketches.resize(groups, Sketch::default());
        }
    }

    fn update_size(&mut self) {
        self.bytes = self.sketches.iter().map(Sketch::memory_bytes).sum();
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Sketch> {
        let taken = emit_to.take_needed(&mut self.sketches);
        self.update_size();
        taken
    }
}

fn selected(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|f| f.is_valid(row) && f.value(row))
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        for (row, value) in doubles(&values[0])?.iter().enumerate() {
            if let Some(value) = value.filter(|_| selected(filter, row)) {
                self.sketches[groups[row]].add(value);
            }
        }
        self.update_size();
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sketches = self.take(emit_to);
        let values = sketches.iter().map(|s| scalar(s.quantile(self.q), &self.data_type));
        if sketches.is_empty() {
            return Ok(arrow::array::new_empty_array(&self.data_type));
        }
        ScalarValue::iter_to_array(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sketches = self.take(emit_to);
        let states: BinaryArray = sketches.iter().map(|s| Some(s.to_bytes())).collect();
        Ok(vec![Arc::new(states)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        for (row, bytes) in states[0].as_binary::<i32>().iter().enumerate() {
            if let Some(bytes) = bytes {
                self.sketches[groups[row]].merge(&decode(bytes)?);
            }
        }
        self.update_size();
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let states: BinaryArray = doubles(&values[0])?
            .iter()
            .enumerate()
            .map(|(row, value)| {
                let mut sketch = Sketch::default();
                value.filter(|_| selected(filter, row)).into_iter().for_each(|v| sketch.add(v));
                Some(sketch.to_bytes())
            })
            .collect();
        Ok(vec![Arc::new(states)])
    }

    fn size(&self) -> usize {
        self.bytes + size_of::<Self>()
    }
}
