//! Reads the spans of one trace, with what a picture of them needs.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};

use super::tree::Span;
use crate::error::{Error, ErrorKind, Result};
use crate::event::TraceId;

/// Spans of a trace that are put in order at most: their places take memory, a hundred bytes each.
pub(super) const SPANS_MAX: usize = 1_000_000;

/// Code of a status that is an error.
const STATUS_ERROR: u8 = 2;

/// The spans of one trace, by column.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// Ids, parents and times, on which their places depend.
    pub(super) all: Vec<Span>,
    /// Numbers of their services in `strings`.
    pub(super) services: Vec<u32>,
    /// Numbers of their names in `strings`.
    pub(super) names: Vec<u32>,
    /// 0 unset, 1 ok, 2 error, as in OTLP.
    pub(super) statuses: Vec<u8>,
    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer, as in OTLP.
    pub(super) kinds: Vec<u8>,
    /// Has the span links?
    pub(super) linked: Vec<bool>,
    /// Services and names, each once.
    pub(super) strings: Vec<String>,
    known: HashMap<String, u32>,
}

/// The statement that reads the spans of a trace.
pub(super) fn statement(id: TraceId) -> String {
    format!(
        "select span_id, parent_span_id, timestamp, duration_ns, attributes['service.name'] as service, name, status, \
         kind, links is not null as linked from events where signal = 'span' and trace_id = '{id}' \
         limit {}",
        SPANS_MAX + 1
    )
}

impl Spans {
    /// Adds rows of [`statement`].
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.all.len() + batch.num_rows() > SPANS_MAX {
            let message =
                format!("the trace has more than {SPANS_MAX} spans, which are too many to be put in order");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        let [ids, parents, starts, durations, services, names, statuses, kinds, linked] = batch.columns()
        else {
            return Err(Error::internal("a trace was read with other columns than asked for"));
        };
        let starts = starts.as_primitive::<TimestampNanosecondType>();
        let durations = durations.as_primitive::<Int64Type>();
        let linked = linked.as_boolean();
        for row in 0..batch.num_rows() {
            self.all.push(Span {
                id: span_id(ids, row).unwrap_or(0),
                parent: span_id(parents, row),
                start_ns: starts.value(row),
                duration_ns: durations.is_valid(row).then(|| durations.value(row)),
            });
            let service = self.number(text(services, row));
            self.services.push(service);
            let name = self.number(text(names, row));
            self.names.push(name);
            self.statuses.push(code(text(statuses, row), &["unset", "ok", "error"]));
            let of = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            self.kinds.push(code(text(kinds, row), &of));
            self.linked.push(linked.is_valid(row) && linked.value(row));
        }
        Ok(())
    }

    /// Number of spans that failed.
    pub(super) fn errors(&self) -> usize {
        self.statuses.iter().map(|status| usize::from(*status == STATUS_ERROR)).sum()
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.strings.len() as u32;
        self.strings.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }
}

/// The id in `row`, as a number whose hexadecimal digits are those of the id.
pub(super) fn span_id(array: &ArrayRef, row: usize) -> Option<u64> {
    let ids = array.as_fixed_size_binary_opt()?;
    let bytes = ids.is_valid(row).then(|| ids.value(row))?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The text in `row` of a column of any type for text; nothing where there is none.
pub(super) fn text(array: &ArrayRef, row: usize) -> &str {
    use arrow::datatypes::DataType;
    if array.is_null(row) {
        return "";
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row),
        DataType::Utf8View => array.as_string_view().value(row),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            text(dictionary.values(), dictionary.normalized_keys()[row])
        }
        _ => "",
    }
}

fn code(text: &str, of: &[&str]) -> u8 {
    of.iter().position(|name| *name == text).unwrap_or(0) as u8
}
