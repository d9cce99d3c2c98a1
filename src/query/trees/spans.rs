//! The spans of a trace, by column, as far as trees and their measures need them.

use std::collections::HashMap;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch,
    StringViewArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampNanosecondType};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::{DataFusionError, Result};

use super::tree::Span;
use crate::error::{Error, ErrorKind};
use crate::event::schema::timestamp_type;
use crate::query::bytes::{Reader, write};
use crate::query::functions::collected::Collected;

/// Spans of a trace that are put in order at most: their places take memory, a hundred bytes each.
pub(crate) const SPANS_MAX: usize = 1_000_000;

/// Names of the codes of kinds.
pub(crate) const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// Names of the codes of statuses.
pub(crate) const STATUSES: [&str; 3] = ["unset", "ok", "error"];
/// Code of a status that is an error.
pub(crate) const STATUS_ERROR: u8 = 2;

/// Select list of the columns of [`types`], from events. The last says to which of two traces a span
/// belongs: true to the first, false to the second, null to both.
pub(crate) const COLUMNS: &str = "span_id, parent_span_id, timestamp, duration_ns, kind, status, \
    attributes['service.name'], name, sample_weight, coalesce(cast(array_length(links) as bigint), 0), true";

/// Types of the columns of spans.
pub(crate) fn types() -> [DataType; 11] {
    use DataType::{Boolean, FixedSizeBinary, Float64, Int64, Utf8View};
    [
        FixedSizeBinary(8),
        FixedSizeBinary(8),
        timestamp_type(),
        Int64,
        Utf8View,
        Utf8View,
        Utf8View,
        Utf8View,
        Float64,
        Int64,
        Boolean,
    ]
}

/// The span is of the first of two traces.
pub(super) const FIRST: u8 = 1;
/// The span is of the second of two traces.
pub(super) const SECOND: u8 = 2;

/// Texts of a trace that are found by looking at all of them: most traces have fewer.
const LISTED_MAX: usize = 32;

/// The spans of one trace, or two.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Ids, parents, times and kinds, on which their places depend.
    pub(crate) all: Vec<Span>,
    /// Numbers of their services in `strings`.
    pub(crate) services: Vec<u32>,
    /// Numbers of their names in `strings`.
    pub(crate) names: Vec<u32>,
    /// 0 unset, 1 ok, 2 error, as in OTLP.
    pub(crate) statuses: Vec<u8>,
    /// Calls that each stands for.
    pub(crate) weights: Vec<f64>,
    /// Numbers of their links.
    pub(crate) links: Vec<u32>,
    /// [`FIRST`], [`SECOND`] or both: traces that are compared.
    pub(super) sides: Vec<u8>,
    /// Services and names, each once; the empty text stands for none.
    pub(crate) strings: Vec<Box<str>>,
    /// Numbers of the texts, once there are so many that looking at all takes longer.
    known: HashMap<Box<str>, u32>,
    text_bytes: usize,
}

/// A span as it is read.
struct Row<'a> {
    span: Span,
    status: u8,
    service: &'a str,
    name: &'a str,
    weight: f64,
    links: u32,
    side: u8,
}

/// Columns of a batch of spans.
pub(crate) struct Batch {
    ids: [FixedSizeBinaryArray; 2],
    starts: TimestampNanosecondArray,
    durations: Int64Array,
    /// Kinds, statuses, services, names.
    texts: [StringViewArray; 4],
    weights: Float64Array,
    links: Int64Array,
    is_first: BooleanArray,
}

/// The id in `row`, as a number whose hexadecimal digits are those of the id.
pub(super) fn span_id(ids: &FixedSizeBinaryArray, row: usize) -> Option<u64> {
    let bytes = ids.is_valid(row).then(|| ids.value(row))?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The text in `row`; nothing where there is none.
fn text(array: &StringViewArray, row: usize) -> &str {
    if array.is_valid(row) { array.value(row) } else { "" }
}

/// Code of a name.
pub(super) fn code(text: &str, of: &[&str]) -> u8 {
    of.iter().position(|name| *name == text).unwrap_or(0) as u8
}

/// Error of a trace that is too large.
pub(super) fn too_many() -> DataFusionError {
    let message = format!("the trace has more than {SPANS_MAX} spans, which are too many to be put in order");
    DataFusionError::External(Box::new(Error::new(ErrorKind::LimitExceeded, message)))
}

impl Batch {
    fn get(&self, row: usize) -> Row<'_> {
        let [ids, parents] = &self.ids;
        let [kinds, statuses, services, names] = &self.texts;
        Row {
            span: Span {
                id: span_id(ids, row).unwrap_or(0),
                parent: span_id(parents, row),
                start_ns: self.starts.value(row),
                duration_ns: self.durations.is_valid(row).then(|| self.durations.value(row)),
                kind: code(text(kinds, row), &KINDS),
            },
            status: code(text(statuses, row), &STATUSES),
            service: text(services, row),
            name: text(names, row),
            weight: if self.weights.is_valid(row) { self.weights.value(row) } else { 1.0 },
            links: u32::try_from(self.links.value(row)).unwrap_or(0),
            side: match self.is_first.is_valid(row).then(|| self.is_first.value(row)) {
                Some(true) => FIRST,
                Some(false) => SECOND,
                None => FIRST | SECOND,
            },
        }
    }
}

impl Spans {
    /// Spans without texts.
    #[cfg(test)]
    pub(super) fn of(all: Vec<Span>, statuses: Vec<u8>) -> Self {
        Self { all, statuses, ..Self::default() }
    }

    /// Number of spans that failed.
    pub(crate) fn errors(&self) -> usize {
        self.statuses.iter().map(|status| usize::from(*status == STATUS_ERROR)).sum()
    }

    /// Text of a number of `services` or `names`.
    pub(crate) fn string(&self, number: u32) -> &str {
        self.strings.get(number as usize).map_or("", AsRef::as_ref)
    }

    /// Adds rows with the columns of [`COLUMNS`].
    pub(crate) fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns =
            batch.columns().iter().zip(types()).map(|(column, ty)| arrow::compute::cast(column, &ty));
        let columns: Vec<ArrayRef> = columns.collect::<std::result::Result<_, _>>()?;
        let rows = Self::batch(&columns)?;
        (0..batch.num_rows()).try_for_each(|row| self.add(&rows, row))
    }

    fn push(&mut self, row: &Row<'_>) {
        self.all.push(row.span);
        let service = self.number(row.service);
        self.services.push(service);
        let name = self.number(row.name);
        self.names.push(name);
        self.statuses.push(row.status);
        self.weights.push(row.weight);
        self.links.push(row.links);
        self.sides.push(row.side);
    }

    fn number(&mut self, text: &str) -> u32 {
        let known = if self.known.is_empty() {
            self.strings.iter().position(|known| &**known == text).map(|place| place as u32)
        } else {
            self.known.get(text).copied()
        };
        if let Some(number) = known {
            return number;
        }
        let number = self.strings.len() as u32;
        self.strings.push(text.into());
        self.text_bytes += text.len();
        if self.known.is_empty() && self.strings.len() == LISTED_MAX {
            self.known = self.strings.iter().cloned().zip(0..).collect();
            self.text_bytes *= 2;
        } else if !self.known.is_empty() {
            self.known.insert(text.into(), number);
            self.text_bytes += text.len();
        }
        number
    }

    /// The spans of one side.
    pub(super) fn side(&self, side: u8) -> Self {
        let mut spans = Self::default();
        for i in (0..self.all.len()).filter(|i| self.sides[*i] & side != 0) {
            spans.push(&self.row(i));
        }
        spans
    }

    fn row(&self, i: usize) -> Row<'_> {
        Row {
            span: self.all[i],
            status: self.statuses[i],
            service: self.string(self.services[i]),
            name: self.string(self.names[i]),
            weight: self.weights[i],
            links: self.links[i],
            side: self.sides[i],
        }
    }
}

impl Collected for Spans {
    type Batch = Batch;

    fn batch(columns: &[ArrayRef]) -> Result<Batch> {
        let [ids, parents, starts, durations, kinds, statuses, services, names, weights, links, first] =
            columns
        else {
            return exec_err!("a function of traces has other arguments than the columns of spans");
        };
        let bytes = |array: &ArrayRef| {
            let bytes = array.as_fixed_size_binary_opt().cloned();
            bytes.ok_or_else(|| {
                exec_datafusion_err!("a function of traces takes ids, not {}", array.data_type())
            })
        };
        Ok(Batch {
            ids: [bytes(ids)?, bytes(parents)?],
            starts: starts.as_primitive::<TimestampNanosecondType>().clone(),
            durations: durations.as_primitive::<Int64Type>().clone(),
            texts: [kinds, statuses, services, names].map(|texts| texts.as_string_view().clone()),
            weights: weights.as_primitive::<Float64Type>().clone(),
            links: links.as_primitive::<Int64Type>().clone(),
            is_first: first.as_boolean().clone(),
        })
    }

    fn add(&mut self, batch: &Batch, row: usize) -> Result<()> {
        if self.all.len() == SPANS_MAX {
            return Err(too_many());
        }
        self.push(&batch.get(row));
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::number(out, self.strings.len() as u64);
        self.strings.iter().for_each(|text| write::bytes(out, text.as_bytes()));
        write::number(out, self.all.len() as u64);
        for (i, span) in self.all.iter().enumerate() {
            write::number(out, span.id);
            write::number(
                out,
                u64::from(span.parent.is_some())
                    | u64::from(span.duration_ns.is_some()) << 1
                    | u64::from(self.sides[i]) << 2
                    | u64::from(span.kind) << 8
                    | u64::from(self.statuses[i]) << 16
                    | u64::from(self.links[i]) << 32,
            );
            write::number(out, span.parent.unwrap_or(0));
            write::number(out, span.start_ns as u64);
            write::number(out, span.duration_ns.unwrap_or(0) as u64);
            write::number(out, u64::from(self.services[i]) | u64::from(self.names[i]) << 32);
            write::number(out, self.weights[i].to_bits());
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader::new(bytes);
        let strings = (0..reader.number()?).map(|_| reader.text()).collect::<Option<Vec<_>>>()?;
        for _ in 0..reader.number()? {
            let (id, small) = (reader.number()?, reader.number()?);
            let (parent, start_ns, duration_ns) =
                (reader.number()?, reader.number()? as i64, reader.number()? as i64);
            let (texts, weight) = (reader.number()?, f64::from_bits(reader.number()?));
            let span = Span {
                id,
                parent: (small & 1 != 0).then_some(parent),
                start_ns,
                duration_ns: (small & 2 != 0).then_some(duration_ns),
                kind: (small >> 8) as u8,
            };
            let string = |number: u32| strings.get(number as usize).copied();
            self.push(&Row {
                span,
                status: (small >> 16) as u8,
                service: string(texts as u32)?,
                name: string((texts >> 32) as u32)?,
                weight,
                links: (small >> 32) as u32,
                side: (small >> 2) as u8 & (FIRST | SECOND),
            });
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        /// Bytes of a span beside its `Span`.
        const REST_BYTES: usize = 4 + 4 + 1 + 8 + 4 + 1;
        /// Bytes of a text in the list and in the map, beside its characters.
        const LISTED_BYTES: usize = 16;
        const KNOWN_BYTES: usize = 40;
        self.all.capacity() * (size_of::<Span>() + REST_BYTES)
            + self.text_bytes
            + self.strings.capacity() * LISTED_BYTES
            + self.known.capacity() * KNOWN_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_survive_as_bytes() {
        let mut spans = Spans::default();
        for i in 0..3_u64 {
            let span = Span {
                id: i,
                parent: i.checked_sub(1),
                start_ns: -5 + i as i64,
                duration_ns: (i != 1).then_some(i as i64 - 1),
                kind: i as u8,
            };
            spans.push(&Row {
                span,
                status: i as u8,
                service: ["web", "", "db"][i as usize],
                name: "GET",
                weight: 0.5,
                links: i as u32,
                side: i as u8 + 1,
            });
        }
        let mut bytes = Vec::new();
        spans.write(&mut bytes);
        let mut copy = Spans::default();
        copy.merge(&bytes).unwrap();
        let mut again = Vec::new();
        copy.write(&mut again);
        assert_eq!(bytes, again);
        assert_eq!((copy.all, copy.sides), (spans.all, spans.sides));
        assert_eq!(Spans::default().merge(&bytes[..bytes.len() - 1]), None);
    }
}
