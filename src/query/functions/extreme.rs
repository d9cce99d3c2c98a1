//! `min` and `max` of an attribute with values of several types: of its numbers, or of its texts if a group has no
//! number. So one text does not change the maximum of a thousand numbers.
//!
//! `min(x)` and `max(x)` are rewritten to these functions; [`number`] defines the order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::mixed::mark;
use super::mixed::views;
use super::number::{self, Texts};
use super::quantile::selected;

/// `min` or `max`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Extreme {
    greatest: bool,
    signature: Signature,
}

impl Extreme {
    /// Creates `mixed_max`, or `mixed_min`.
    pub(crate) fn new(greatest: bool) -> Self {
        Self { greatest, signature: Signature::exact(vec![DataType::Utf8View], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &'static str {
        if self.greatest { "mixed_max" } else { "mixed_min" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field(&self, _: &[FieldRef]) -> Result<FieldRef> {
        Ok(Arc::new(mark(Field::new(self.name(), DataType::Utf8View, true))))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[extreme]", args.name), DataType::Utf8View, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One { of: Order { greatest: self.greatest }, best: None }))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sliding { of: Order { greatest: self.greatest }, keys: BTreeMap::new() }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many { of: Order { greatest: self.greatest }, best: Vec::new(), bytes: 0 }))
    }
}

/// Order that decides which of two keys is kept.
#[derive(Debug, Clone, Copy)]
struct Order {
    greatest: bool,
}

impl Order {
    fn key(self, out: &mut Vec<u8>, text: &str) {
        number::key(out, text, if self.greatest { Texts::First } else { Texts::Last });
    }

    /// Replaces `best` by `key` if `key` is better.
    fn keep(self, best: &mut Option<Vec<u8>>, key: &[u8]) {
        match best {
            Some(best) if if self.greatest { key <= best.as_slice() } else { key >= best.as_slice() } => {}
            Some(best) => {
                best.clear();
                best.extend_from_slice(key);
            }
            None => *best = Some(key.to_vec()),
        }
    }
}

fn text(best: Option<&[u8]>) -> ScalarValue {
    ScalarValue::Utf8View(best.map(|key| number::text_of(key).to_owned()))
}

/// Accumulator without GROUP BY.
#[derive(Debug)]
struct One {
    of: Order,
    best: Option<Vec<u8>>,
}

impl Accumulator for One {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let mut key = Vec::new();
        for text in views(&columns[0])?.iter().flatten() {
            self.of.key(&mut key, text);
            self.of.keep(&mut self.best, &key);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(text(self.best.as_deref()))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.best.as_ref().map_or(0, Vec::capacity)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// Accumulator for windows, which also removes rows.
#[derive(Debug)]
struct Sliding {
    of: Order,
    /// Number of occurrences of each key in the window.
    keys: BTreeMap<Vec<u8>, usize>,
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for text in views(&columns[0])?.iter().flatten() {
            let mut key = Vec::new();
            self.of.key(&mut key, text);
            *self.keys.entry(key).or_default() += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let mut key = Vec::new();
        for text in views(&columns[0])?.iter().flatten() {
            self.of.key(&mut key, text);
            if let Some(count) = self.keys.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(&key);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let best = if self.of.greatest { self.keys.keys().next_back() } else { self.keys.keys().next() };
        Ok(text(best.map(Vec::as_slice)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.keys.keys().map(|key| key.capacity() + size_of::<Vec<u8>>()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// Accumulator with GROUP BY: one key per group.
#[derive(Debug)]
struct Many {
    of: Order,
    best: Vec<Option<Vec<u8>>>,
    /// Bytes of all keys.
    bytes: usize,
}

impl Many {
    fn texts(&mut self, emit_to: EmitTo) -> ArrayRef {
        let best = emit_to.take_needed(&mut self.best);
        let mut texts = StringViewBuilder::with_capacity(best.len());
        for key in best {
            self.bytes = self.bytes.saturating_sub(key.as_ref().map_or(0, Vec::capacity));
            texts.append_option(key.as_deref().map(number::text_of));
        }
        Arc::new(texts.finish())
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.best.resize(total.max(self.best.len()), None);
        let mut key = Vec::new();
        for (row, text) in views(&columns[0])?.iter().enumerate() {
            let Some(text) = text.filter(|_| selected(filter, row)) else { continue };
            self.of.key(&mut key, text);
            let best = &mut self.best[groups[row]];
            let before = best.as_ref().map_or(0, Vec::capacity);
            self.of.keep(best, &key);
            self.bytes = (self.bytes + best.as_ref().map_or(0, Vec::capacity)).saturating_sub(before);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.texts(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.texts(emit_to)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut texts = StringViewBuilder::with_capacity(columns[0].len());
        for (row, text) in views(&columns[0])?.iter().enumerate() {
            texts.append_option(text.filter(|_| selected(filter, row)));
        }
        Ok(vec![Arc::new(texts.finish())])
    }

    fn size(&self) -> usize {
        self.bytes + self.best.capacity() * size_of::<Option<Vec<u8>>>() + size_of::<Self>()
    }
}
