//! Aggregates that keep something of every row of a group, and compute once they have all of them: increases of a
//! counter, the tree of a trace.
//!
//! A [`Collected`] holds the rows of one group, a [`Collecting`] says what the function is called and what becomes of
//! them. [`Aggregate`] makes an aggregate function of both: parallel, with partial results as bytes, and with its
//! memory accounted for.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder, ListArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use super::quantile::selected;

/// Arrays that are put into one at once: each has a kilobyte of its own, and there may be a million groups.
const JOINED_AT_ONCE: usize = 1024;

fn join(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(arrow::compute::concat(&arrays)?)
}

/// Rows of one group.
pub(crate) trait Collected: Debug + Default + Send + Sync + 'static {
    /// Arguments of the function for the rows of one batch.
    type Batch;

    /// Takes the arguments, which have the types that [`Collecting::coerce`] gave.
    fn batch(columns: &[ArrayRef]) -> Result<Self::Batch>;

    /// Adds one row.
    fn add(&mut self, batch: &Self::Batch, row: usize) -> Result<()>;

    /// Appends all rows as bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Adds rows that [`write`](Self::write) wrote; `None` if the bytes are of another form.
    fn merge(&mut self, bytes: &[u8]) -> Option<()>;

    /// Memory beside the value itself, in bytes. O(1).
    fn heap_bytes(&self) -> usize;
}

/// A function over collected rows.
pub(crate) trait Collecting: Debug + Clone + PartialEq + Eq + Hash + Send + Sync + 'static {
    /// The rows.
    type Rows: Collected;
    /// Constants of a call.
    type Settings: Debug + Clone + Send + Sync + 'static;

    /// Name in SQL.
    fn name(&self) -> &'static str;

    /// Types to which the arguments are converted. Fails if there are others than expected.
    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>>;

    /// Type of the result. Of a list, [`finish`](Self::finish) makes the items.
    fn result(&self) -> DataType;

    /// Checks the constant arguments of a call; `None` stands for one that is not constant.
    fn settings(&self, constants: &[Option<ScalarValue>]) -> Result<Self::Settings>;

    /// The items of the result of a group, or its one value.
    fn finish(&self, settings: &Self::Settings, rows: &Self::Rows) -> Result<ArrayRef>;
}

/// Makes an aggregate function.
pub(crate) fn aggregate<C: Collecting>(collecting: C) -> Arc<AggregateUDF> {
    Arc::new(Aggregate { collecting, signature: Signature::user_defined(Volatility::Immutable) }.into())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate<C> {
    collecting: C,
    signature: Signature,
}

impl<C: Collecting> Aggregate<C> {
    fn many(&self, args: &AccumulatorArgs<'_>) -> Result<Many<C>> {
        let constant = |expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
            expr.downcast_ref::<Literal>().map(|literal| literal.value().clone())
        };
        let constants: Vec<_> = args.exprs.iter().map(constant).collect();
        let settings = self.collecting.settings(&constants)?;
        Ok(Many { collecting: self.collecting.clone(), settings, groups: Vec::new(), bytes: 0 })
    }
}

impl<C: Collecting> AggregateUDFImpl for Aggregate<C> {
    fn name(&self) -> &str {
        self.collecting.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.collecting.coerce(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.collecting.result())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[rows]", args.name), DataType::LargeBinary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One(self.many(&args)?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.many(&args)?))
    }
}

/// Accumulator with GROUP BY.
#[derive(Debug)]
struct Many<C: Collecting> {
    collecting: C,
    settings: C::Settings,
    groups: Vec<C::Rows>,
    /// Memory of the rows.
    bytes: usize,
}

impl<C: Collecting> Many<C> {
    fn grow(&mut self, total: usize) {
        if self.groups.len() < total {
            self.groups.resize_with(total, C::Rows::default);
        }
    }

    /// Changes one group, and the sum of their memory.
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut C::Rows) -> T) -> T {
        let rows = &mut self.groups[group];
        let before = rows.heap_bytes();
        let changed = change(rows);
        self.bytes = (self.bytes + rows.heap_bytes()).saturating_sub(before);
        changed
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<C::Rows> {
        let taken = emit_to.take_needed(&mut self.groups);
        self.bytes = self.bytes.saturating_sub(taken.iter().map(C::Rows::heap_bytes).sum());
        taken
    }

    /// Results of groups. Groups that are given away are dropped as soon as they are done.
    fn values<R: Borrow<C::Rows>>(&self, groups: impl Iterator<Item = R>) -> Result<ArrayRef> {
        let (mut lengths, mut joined, mut loose) = (Vec::new(), Vec::new(), Vec::new());
        for rows in groups {
            let found = self.collecting.finish(&self.settings, rows.borrow())?;
            lengths.push(found.len());
            loose.push(found);
            if loose.len() == JOINED_AT_ONCE {
                joined.push(join(&loose)?);
                loose.clear();
            }
        }
        joined.append(&mut loose);
        let result = self.collecting.result();
        let DataType::List(item) = &result else {
            return if joined.is_empty() { Ok(new_empty_array(&result)) } else { join(&joined) };
        };
        let items = if joined.is_empty() { new_empty_array(item.data_type()) } else { join(&joined)? };
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?))
    }

    fn merge(&mut self, states: &ArrayRef, group_of: impl Fn(usize) -> usize) -> Result<()> {
        for (row, bytes) in states.as_binary::<i64>().iter().enumerate() {
            let Some(bytes) = bytes else { continue };
            if self.change(group_of(row), |rows| rows.merge(bytes)).is_none() {
                return exec_err!("a state of {} is damaged", self.collecting.name());
            }
        }
        Ok(())
    }
}

fn states<R: Collected>(groups: &[R]) -> ArrayRef {
    let mut states = LargeBinaryBuilder::new();
    let mut bytes = Vec::new();
    for rows in groups {
        bytes.clear();
        rows.write(&mut bytes);
        states.append_value(&bytes);
    }
    Arc::new(states.finish())
}

fn only(states: &[ArrayRef]) -> Result<&ArrayRef> {
    states.first().ok_or_else(|| DataFusionError::Internal("an aggregate has no state".to_owned()))
}

impl<C: Collecting> GroupsAccumulator for Many<C> {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let batch = C::Rows::batch(columns)?;
        for (row, &group) in groups.iter().enumerate().filter(|(row, _)| selected(filter, *row)) {
            self.change(group, |rows| rows.add(&batch, row))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        self.values(groups.into_iter())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![states(&self.take(emit_to))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        self.merge(only(states)?, |row| groups[row])
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let batch = C::Rows::batch(columns)?;
        let rows = columns.first().map_or(0, Array::len);
        let one = |row: usize| {
            let mut group = C::Rows::default();
            if selected(filter, row) {
                group.add(&batch, row)?;
            }
            Ok(group)
        };
        let groups = (0..rows).map(one).collect::<Result<Vec<_>>>()?;
        Ok(vec![states(&groups)])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes + self.groups.capacity() * size_of::<C::Rows>()
    }
}

/// Accumulator without GROUP BY: a single group.
#[derive(Debug)]
struct One<C: Collecting>(Many<C>);

impl<C: Collecting> Accumulator for One<C> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        let batch = C::Rows::batch(columns)?;
        let rows = columns.first().map_or(0, Array::len);
        (0..rows).try_for_each(|row| self.0.change(0, |group| group.add(&batch, row)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.grow(1);
        let values = self.0.values(self.0.groups.iter())?;
        let values = if values.is_empty() { new_null_array(values.data_type(), 1) } else { values };
        ScalarValue::try_from_array(&values, 0)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1);
        Ok(vec![ScalarValue::try_from_array(&states(&self.0.groups), 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        self.0.merge(only(states)?, |_| 0)
    }
}

/// Types of the arguments of `function`, which only the function of the same purpose in FROM calls.
pub(crate) fn exactly(
    function: &str,
    caller: &str,
    wanted: &[DataType],
    given: &[DataType],
) -> Result<Vec<DataType>> {
    if given.len() != wanted.len() {
        return datafusion::common::plan_err!("{function} is called by {caller}(…): write that");
    }
    Ok(wanted.to_vec())
}
