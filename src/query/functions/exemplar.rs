//! `exemplar(x, by)`: the `x` of a row with the greatest `by`, such as the trace of the slowest call of each group.
//!
//! Rows without `x` or `by` do not count. Of rows that are equal any may be chosen. `x` may be of any type, also a
//! struct of several columns of one row; `by` is a number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::quantile::selected;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Exemplar {
    signature: Signature,
}

impl Exemplar {
    /// Creates the function.
    pub(crate) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Exemplar {
    fn name(&self) -> &'static str {
        "exemplar"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [x, by] if by.is_numeric() || by.is_null() => Ok(vec![x.clone(), DataType::Float64]),
            [_, by] => plan_err!("exemplar(x, by) takes a number as its second argument, not {by}"),
            _ => plan_err!("exemplar(x, by) takes 2 arguments, not {}", types.len()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let Some(x) = types.first() else { return plan_err!("exemplar(x, by) takes 2 arguments, not 0") };
        Ok(x.clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(format!("{}[x]", args.name), args.return_field.data_type().clone(), true)),
            Arc::new(Field::new(format!("{}[by]", args.name), DataType::Float64, true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One(Many::new(args.return_type().clone()))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many::new(args.return_type().clone())))
    }
}

/// Accumulator with GROUP BY.
#[derive(Debug)]
struct Many {
    ty: DataType,
    /// The greatest `by` of each group, and its `x`.
    best: Vec<Option<(f64, ScalarValue)>>,
    /// Bytes of all `x`.
    bytes: usize,
    /// Rows of a batch that are better than those before, by group; empty between batches.
    better: Vec<Option<usize>>,
    /// Groups with such a row; empty between batches.
    touched: Vec<usize>,
}

impl Many {
    fn new(ty: DataType) -> Self {
        Self { ty, best: Vec::new(), bytes: 0, better: Vec::new(), touched: Vec::new() }
    }

    fn add(
        &mut self,
        xs: &ArrayRef,
        by: &Float64Array,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        for (row, group) in rows {
            if xs.is_null(row) || by.is_null(row) {
                continue;
            }
            let so_far = match self.better[group] {
                Some(better) => Some(by.value(better)),
                None => self.best[group].as_ref().map(|(by, _)| *by),
            };
            if so_far.is_some_and(|so_far| by.value(row).total_cmp(&so_far).is_le()) {
                continue;
            }
            if self.better[group].replace(row).is_none() {
                self.touched.push(group);
            }
        }
        for group in std::mem::take(&mut self.touched) {
            let Some(row) = self.better[group].take() else { continue };
            let mut x = ScalarValue::try_from_array(xs, row)?;
            // Else it would keep the whole batch in memory.
            x.compact();
            self.bytes += x.size();
            let before = self.best[group].replace((by.value(row), x));
            self.bytes = self.bytes.saturating_sub(before.map_or(0, |(_, x)| x.size()));
        }
        Ok(())
    }

    fn grow(&mut self, total: usize) {
        let total = total.max(self.best.len());
        self.best.resize(total, None);
        self.better.resize(total, None);
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<(ArrayRef, ArrayRef)> {
        let best = emit_to.take_needed(&mut self.best);
        self.better.truncate(self.best.len());
        let by: Float64Array = best.iter().map(|best| best.as_ref().map(|(by, _)| *by)).collect();
        let none = ScalarValue::try_from(&self.ty)?;
        let xs = best.into_iter().map(|best| match best {
            Some((_, x)) => {
                self.bytes = self.bytes.saturating_sub(x.size());
                x
            }
            None => none.clone(),
        });
        let xs: Vec<ScalarValue> = xs.collect();
        let xs = if xs.is_empty() { new_empty_array(&self.ty) } else { ScalarValue::iter_to_array(xs)? };
        Ok((xs, Arc::new(by)))
    }
}

/// The second argument, or state, as numbers.
fn numbers(columns: &[ArrayRef]) -> Result<Float64Array> {
    Ok(cast(&columns[1], &DataType::Float64)?.as_primitive::<Float64Type>().clone())
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
        let by = numbers(columns)?;
        let rows = groups.iter().copied().enumerate().filter(|(row, _)| selected(filter, *row));
        self.add(&columns[0], &by, rows)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to)?.0)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (xs, by) = self.take(emit_to)?;
        Ok(vec![xs, by])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let by = numbers(columns)?;
        let rows = by.iter().enumerate().map(|(row, by)| by.filter(|_| selected(filter, row)));
        let by: Float64Array = rows.collect();
        Ok(vec![Arc::clone(&columns[0]), Arc::new(by)])
    }

    fn size(&self) -> usize {
        let per_group = size_of::<Option<(f64, ScalarValue)>>() * self.best.capacity();
        size_of::<Self>() + self.bytes + per_group + size_of::<Option<usize>>() * self.better.capacity()
    }
}

/// Accumulator without GROUP BY: a single group.
#[derive(Debug)]
struct One(Many);

impl Accumulator for One {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        let by = numbers(columns)?;
        self.0.add(&columns[0], &by, (0..by.len()).map(|row| (row, 0)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.0.best.first() {
            Some(Some((_, x))) => Ok(x.clone()),
            _ => ScalarValue::try_from(&self.0.ty),
        }
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let by = self.0.best.first().and_then(Option::as_ref).map(|(by, _)| *by);
        Ok(vec![self.evaluate()?, ScalarValue::Float64(by)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use proptest::prelude::*;

    use super::*;

    /// Exemplars of `groups` groups over `rows` of (group, x, by), in batches of `size`, merged out of two halves.
    fn run(rows: &[(usize, i64, Option<f64>)], groups: usize, size: usize) -> Vec<Option<i64>> {
        let mut whole = Many::new(DataType::Int64);
        for half in rows.chunks(rows.len().div_ceil(2).max(1)) {
            let mut part = Many::new(DataType::Int64);
            for batch in half.chunks(size) {
                let x: Int64Array = batch.iter().map(|(_, x, _)| Some(*x)).collect();
                let by: Float64Array = batch.iter().map(|(_, _, by)| *by).collect();
                let of: Vec<usize> = batch.iter().map(|(group, _, _)| *group).collect();
                part.update_batch(&[Arc::new(x), Arc::new(by)], &of, None, groups).unwrap();
            }
            part.grow(groups);
            let state = part.state(EmitTo::All).unwrap();
            assert_eq!(part.bytes, 0);
            whole.merge_batch(&state, &(0..groups).collect::<Vec<_>>(), groups).unwrap();
        }
        whole.grow(groups);
        let found = whole.evaluate(EmitTo::All).unwrap();
        found.as_primitive::<arrow::datatypes::Int64Type>().iter().collect()
    }

    proptest! {
        /// The chosen row is of its group, and none of the group is greater.
        #[test]
        fn the_exemplar_is_a_row_with_the_greatest_number(
            rows in proptest::collection::vec((0_usize..4, proptest::option::of(-9.0..9.0)), 0..60),
            size in 1_usize..20,
        ) {
            let rows: Vec<_> = rows.into_iter().enumerate().map(|(i, (group, by))| (group, i as i64, by)).collect();
            let found = run(&rows, 4, size);
            for (group, found) in found.into_iter().enumerate() {
                let greatest = rows.iter().filter(|row| row.0 == group).filter_map(|row| row.2).reduce(f64::max);
                prop_assert_eq!(found.and_then(|x| rows[x as usize].2), greatest);
                prop_assert!(found.is_none_or(|x| rows[x as usize].0 == group));
            }
        }
    }
}
