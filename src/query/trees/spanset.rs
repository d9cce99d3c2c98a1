//! `spanset('a >> b', span_id, parent_span_id, timestamp, kind, a, b, …)`: ids of the spans of a trace that are in a
//! relation, in tree order.
//!
//! `a`, `b` and so on are conditions, in the order of the letters of the [`shape`](super::shape). All spans of the
//! trace have to come, also those for which no condition holds. `sql/find_traces.sql` calls it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, StringViewArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, TimestampNanosecondType};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};

use super::shape::{Shape, parse};
use super::spans::{KINDS, SPANS_MAX, code, span_id, too_many};
use super::tree::{Span, parent_rows, rows};
use crate::event::schema::timestamp_type;
use crate::query::bytes::{Reader, write};
use crate::query::functions::collected::{Collected, Collecting};

/// Arguments before the conditions.
const FIRST_CONDITION: usize = 5;
/// Most conditions: a bit each.
const CONDITIONS_MAX: usize = 16;

/// The function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Spanset;

/// Spans of one trace, each with a bit for each condition that holds.
#[derive(Debug, Default)]
pub(super) struct Flagged(Vec<(Span, u16)>);

/// Arguments for a batch of spans.
pub(super) struct Batch {
    ids: [FixedSizeBinaryArray; 2],
    starts: TimestampNanosecondArray,
    kinds: StringViewArray,
    conditions: Vec<BooleanArray>,
}

impl Collected for Flagged {
    type Batch = Batch;

    fn batch(columns: &[ArrayRef]) -> Result<Batch> {
        let [_, ids, parents, starts, kinds, conditions @ ..] = columns else {
            return exec_err!("spanset has too few arguments");
        };
        let bytes = |array: &ArrayRef| {
            let bytes = array.as_fixed_size_binary_opt().cloned();
            bytes.ok_or_else(|| {
                exec_datafusion_err!("spanset takes span_id and parent_span_id, not {}", array.data_type())
            })
        };
        Ok(Batch {
            ids: [bytes(ids)?, bytes(parents)?],
            starts: starts.as_primitive::<TimestampNanosecondType>().clone(),
            kinds: kinds.as_string_view().clone(),
            conditions: conditions.iter().map(|condition| condition.as_boolean().clone()).collect(),
        })
    }

    fn add(&mut self, batch: &Batch, row: usize) -> Result<()> {
        if self.0.len() == SPANS_MAX {
            return Err(too_many());
        }
        let holds = |condition: &BooleanArray| condition.is_valid(row) && condition.value(row);
        let flags = batch
            .conditions
            .iter()
            .rev()
            .fold(0, |flags, condition| flags << 1 | u16::from(holds(condition)));
        let [ids, parents] = &batch.ids;
        let kind = if batch.kinds.is_valid(row) { code(batch.kinds.value(row), &KINDS) } else { 0 };
        let span = Span {
            id: span_id(ids, row).unwrap_or(0),
            parent: span_id(parents, row),
            start_ns: if batch.starts.is_valid(row) { batch.starts.value(row) } else { 0 },
            duration_ns: None,
            kind,
        };
        self.0.push((span, flags));
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        for (span, flags) in &self.0 {
            write::number(out, span.id);
            write::number(
                out,
                u64::from(*flags) | u64::from(span.kind) << 16 | u64::from(span.parent.is_some()) << 24,
            );
            write::number(out, span.parent.unwrap_or(0));
            write::number(out, span.start_ns as u64);
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        const SPAN_BYTES: usize = 32;
        let mut reader = Reader::new(bytes);
        for _ in 0..bytes.len() / SPAN_BYTES {
            let (id, small) = (reader.number()?, reader.number()?);
            let (parent, start_ns) = (reader.number()?, reader.number()? as i64);
            let parent = (small >> 24 & 1 == 1).then_some(parent);
            let span = Span { id, parent, start_ns, duration_ns: None, kind: (small >> 16) as u8 };
            self.0.push((span, small as u16));
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Span, u16)>()
    }
}

impl Collecting for Spanset {
    type Rows = Flagged;
    type Settings = Shape;

    fn name(&self) -> &'static str {
        "spanset"
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let conditions = types.len().saturating_sub(FIRST_CONDITION);
        if !(1..=CONDITIONS_MAX).contains(&conditions) {
            return plan_err!(
                "spanset takes a shape, span_id, parent_span_id, timestamp, kind and 1 to {CONDITIONS_MAX} conditions"
            );
        }
        if let Some(ty) =
            types[FIRST_CONDITION..].iter().find(|ty| !matches!(ty, DataType::Boolean | DataType::Null))
        {
            return plan_err!("spanset takes conditions, such as status = 'error', not a value of type {ty}");
        }
        let id = DataType::FixedSizeBinary(8);
        let first = [DataType::Utf8View, id.clone(), id, timestamp_type(), DataType::Utf8View];
        Ok(first.into_iter().chain(std::iter::repeat_n(DataType::Boolean, conditions)).collect())
    }

    fn result(&self) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::FixedSizeBinary(8), true)))
    }

    fn settings(&self, constants: &[Option<ScalarValue>]) -> Result<Shape> {
        let text = constants.first().and_then(Option::as_ref).and_then(|shape| shape.try_as_str().flatten());
        let Some(text) = text else {
            return plan_err!("spanset takes a shape such as 'a >> b' as its first argument");
        };
        let shape = parse(text).map_err(DataFusionError::Plan)?;
        for number in shape.conditions() {
            let is_given = match constants.get(FIRST_CONDITION + number) {
                Some(Some(constant)) => !constant.is_null(),
                Some(None) => true,
                None => false,
            };
            if !is_given {
                let letter = char::from(b'a' + number as u8);
                return plan_err!(
                    "the shape \"{text}\" names {letter}, and there is no condition {letter}: add one"
                );
            }
        }
        Ok(shape)
    }

    fn finish(&self, shape: &Shape, spans: &Flagged) -> Result<ArrayRef> {
        // Each partition may have had that many.
        if spans.0.len() > SPANS_MAX {
            return Err(too_many());
        }
        let all: Vec<Span> = spans.0.iter().map(|(span, _)| *span).collect();
        let places = rows(&all);
        let holds = |condition: usize, row: usize| spans.0[places[row].span as usize].1 >> condition & 1 == 1;
        let found = shape.rows(&parent_rows(&places), &holds);
        let mut ids = FixedSizeBinaryBuilder::new(8);
        for (place, _) in places.iter().zip(found).filter(|(_, found)| *found) {
            ids.append_value(all[place.span as usize].id.to_be_bytes())?;
        }
        Ok(Arc::new(ids.finish()))
    }
}
