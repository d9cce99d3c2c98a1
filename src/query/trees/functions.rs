//! Aggregates of the spans of a trace: `trace_tree`, `trace_critical_path`, `trace_difference`, `service_edges`.
//!
//! The files in `sql/` call them with the columns that [`COLUMNS`](super::spans::COLUMNS) lists; they are not meant for
//! people. Each yields a list of structs, a row of the result in each.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Float64Array, Int64Array, StringViewArray, StructArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;

use super::diff::{Entry, Side, diff};
use super::edges::edges;
use super::measures::Measured;
use super::spans::{FIRST, KINDS, SECOND, SPANS_MAX, STATUSES, Spans, too_many, types};
use super::tree::{CYCLE, Critical, EARLY, ORPHAN, SHARED};
use crate::event::schema::timestamp_type;
use crate::query::functions::collected::Collecting;

/// A function of the spans of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OfTrace {
    name: &'static str,
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    Rows,
    CriticalPath,
    Difference,
    Edges,
}

/// The spans in tree order, with their measures.
pub(super) const ROWS: OfTrace = OfTrace { name: "trace_tree", question: Question::Rows };
/// The parts of spans that the duration of the trace depends on.
pub(super) const CRITICAL_PATH: OfTrace =
    OfTrace { name: "trace_critical_path", question: Question::CriticalPath };
/// The paths of two traces.
pub(super) const DIFFERENCE: OfTrace = OfTrace { name: "trace_difference", question: Question::Difference };
/// The calls between services.
pub(super) const EDGES: OfTrace = OfTrace { name: "service_edges", question: Question::Edges };

/// Names of the marks of a row.
const MARKS: [(u8, &str); 4] = [
    (ORPHAN, "the parent is missing"),
    (CYCLE, "the parents form a circle"),
    (EARLY, "starts before its parent"),
    (SHARED, "shares its id with its caller"),
];

impl Question {
    fn fields(self) -> Fields {
        use DataType::{Boolean, FixedSizeBinary, Float64, Int64, Utf8View};
        let columns: Vec<(&str, DataType)> = match self {
            Self::Rows => vec![
                ("row", Int64),
                ("depth", Int64),
                ("parent_row", Int64),
                ("span_id", FixedSizeBinary(8)),
                ("parent_span_id", FixedSizeBinary(8)),
                ("service", Utf8View),
                ("name", Utf8View),
                ("kind", Utf8View),
                ("status", Utf8View),
                ("timestamp", timestamp_type()),
                ("duration_ns", Int64),
                ("self_ns", Int64),
                ("critical_ns", Int64),
                ("spans_below", Int64),
                ("error_path", Boolean),
                ("error_origin", Boolean),
                ("links", Int64),
                ("notes", Utf8View),
            ],
            Self::CriticalPath => vec![
                ("timestamp", timestamp_type()),
                ("duration_ns", Int64),
                ("share", Float64),
                ("row", Int64),
                ("depth", Int64),
                ("span_id", FixedSizeBinary(8)),
                ("service", Utf8View),
                ("name", Utf8View),
            ],
            Self::Difference => vec![
                ("row", Int64),
                ("depth", Int64),
                ("service", Utf8View),
                ("name", Utf8View),
                ("a_spans", Int64),
                ("b_spans", Int64),
                ("a_errors", Int64),
                ("b_errors", Int64),
                ("a_duration_ns", Int64),
                ("b_duration_ns", Int64),
                ("a_self_ns", Int64),
                ("b_self_ns", Int64),
            ],
            Self::Edges => vec![
                ("caller", Utf8View),
                ("callee", Utf8View),
                ("weight", Float64),
                ("failed", Boolean),
                ("duration_ns", Int64),
                ("message", Boolean),
            ],
        };
        columns.into_iter().map(|(name, ty)| Field::new(name, ty, true)).collect()
    }

    fn columns(self, spans: &Spans) -> Result<Vec<ArrayRef>> {
        match self {
            Self::Rows => row_columns(spans),
            Self::CriticalPath => critical_columns(spans),
            Self::Difference => Ok(difference_columns(&diff(&spans.side(FIRST), &spans.side(SECOND)))),
            Self::Edges => Ok(edge_columns(spans)),
        }
    }
}

impl Collecting for OfTrace {
    type Rows = Spans;
    type Settings = ();

    fn name(&self) -> &'static str {
        self.name
    }

    fn coerce(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = types();
        if given.len() != wanted.len() {
            return plan_err!(
                "{} is called by trace_rows(…), critical_path(…), trace_diff(…) and service_graph: write one of \
                 these",
                self.name
            );
        }
        Ok(wanted.to_vec())
    }

    fn result(&self) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Struct(self.question.fields()), true)))
    }

    fn settings(&self, _: &[Option<ScalarValue>]) -> Result<()> {
        Ok(())
    }

    fn finish(&self, (): &(), spans: &Spans) -> Result<ArrayRef> {
        // Each partition may have had that many.
        if spans.all.len() > SPANS_MAX {
            return Err(too_many());
        }
        let columns = self.question.columns(spans)?;
        Ok(Arc::new(StructArray::try_new(self.question.fields(), columns, None)?))
    }
}

fn integers(all: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(all.collect::<Int64Array>())
}

fn texts<'a>(all: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(all.map(|text| Some(text).filter(|text| !text.is_empty())).collect::<StringViewArray>())
}

fn flags(all: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(all.map(Some).collect::<BooleanArray>())
}

fn times(all: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(all).with_timezone("UTC"))
}

fn ids(all: impl Iterator<Item = Option<u64>>) -> Result<ArrayRef> {
    let mut ids = FixedSizeBinaryBuilder::new(8);
    for id in all {
        match id {
            Some(id) => ids.append_value(id.to_be_bytes())?,
            None => ids.append_null(),
        }
    }
    Ok(Arc::new(ids.finish()))
}

fn notes(marks: u8) -> String {
    let words = MARKS.iter().filter(|(mark, _)| marks & mark != 0).map(|(_, words)| *words);
    words.collect::<Vec<_>>().join(", ")
}

fn row_columns(spans: &Spans) -> Result<Vec<ArrayRef>> {
    let measured = Measured::new(spans);
    let critical_ns = measured.critical_ns();
    let rows = &measured.rows;
    let index = || rows.iter().map(|row| row.span as usize);
    let of = |codes: &'static [&'static str], code: u8| codes.get(usize::from(code)).copied().unwrap_or("");
    let kind = |i: usize| of(&KINDS, spans.all[i].kind);
    let below = |(row, end): (i64, &u32)| Some(i64::from(*end) - row - 1);
    let notes: Vec<String> = rows.iter().map(|row| notes(row.marks)).collect();
    Ok(vec![
        integers((0..rows.len() as i64).map(Some)),
        integers(rows.iter().map(|row| Some(i64::from(row.depth)))),
        integers(measured.parents.iter().map(|parent| parent.map(i64::from))),
        ids(index().map(|i| Some(spans.all[i].id).filter(|id| *id != 0)))?,
        ids(index().map(|i| spans.all[i].parent))?,
        texts(index().map(|i| spans.string(spans.services[i]))),
        texts(index().map(|i| spans.string(spans.names[i]))),
        texts(index().map(kind)),
        texts(index().map(|i| of(&STATUSES, spans.statuses[i]))),
        times(index().map(|i| spans.all[i].start_ns)),
        integers(index().map(|i| spans.all[i].duration_ns)),
        integers(measured.self_ns.iter().copied().map(Some)),
        integers(critical_ns.into_iter().map(Some)),
        integers((0_i64..).zip(&measured.ends).map(below)),
        flags(measured.has_error.iter().copied()),
        flags(measured.is_origin.iter().copied()),
        integers(index().map(|i| Some(i64::from(spans.links[i])))),
        texts(notes.iter().map(String::as_str)),
    ])
}

fn critical_columns(spans: &Spans) -> Result<Vec<ArrayRef>> {
    let measured = Measured::new(spans);
    let mut parts = measured.critical.clone();
    parts.sort_by_key(|part| (part.from_ns, part.row));
    let length = |part: &Critical| part.to_ns.saturating_sub(part.from_ns);
    let total: i64 = parts.iter().map(length).fold(0, i64::saturating_add);
    let row = |part: &Critical| measured.rows[part.row as usize];
    let index = |part: &Critical| row(part).span as usize;
    let shares = parts.iter().map(|part| Some(length(part) as f64 / total as f64));
    Ok(vec![
        times(parts.iter().map(|part| part.from_ns)),
        integers(parts.iter().map(|part| Some(length(part)))),
        Arc::new(shares.collect::<Float64Array>()),
        integers(parts.iter().map(|part| Some(i64::from(part.row)))),
        integers(parts.iter().map(|part| Some(i64::from(row(part).depth)))),
        ids(parts.iter().map(|part| Some(spans.all[index(part)].id)))?,
        texts(parts.iter().map(|part| spans.string(spans.services[index(part)]))),
        texts(parts.iter().map(|part| spans.string(spans.names[index(part)]))),
    ])
}

fn difference_columns(entries: &[Entry]) -> Vec<ArrayRef> {
    let figures = |side: usize, figure: fn(Side) -> i64| {
        integers(entries.iter().map(move |entry| entry.sides[side].map(figure)))
    };
    let count = |side: usize, figure: fn(Side) -> i64| {
        integers(entries.iter().map(move |entry| Some(entry.sides[side].map_or(0, figure))))
    };
    vec![
        integers((0..entries.len() as i64).map(Some)),
        integers(entries.iter().map(|entry| Some(i64::from(entry.depth)))),
        texts(entries.iter().map(|entry| entry.service.as_str())),
        texts(entries.iter().map(|entry| entry.name.as_str())),
        count(0, |side| side.spans),
        count(1, |side| side.spans),
        count(0, |side| side.errors),
        count(1, |side| side.errors),
        figures(0, |side| side.duration_ns),
        figures(1, |side| side.duration_ns),
        figures(0, |side| side.self_ns),
        figures(1, |side| side.self_ns),
    ]
}

fn edge_columns(spans: &Spans) -> Vec<ArrayRef> {
    let edges = edges(spans);
    vec![
        texts(edges.iter().map(|edge| spans.string(edge.services[0]))),
        texts(edges.iter().map(|edge| spans.string(edge.services[1]))),
        Arc::new(Float64Array::from_iter_values(edges.iter().map(|edge| edge.weight))),
        flags(edges.iter().map(|edge| edge.failed)),
        integers(edges.iter().map(|edge| edge.duration_ns)),
        flags(edges.iter().map(|edge| edge.is_message)),
    ]
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;
    use crate::query::functions::collected::Collected;
    use crate::query::trees::tree::Span;

    /// A trace of `count` spans, each the parent of the next for `levels` levels, and then of the root again.
    fn deep(count: u64, levels: u64) -> Spans {
        let spans = (1..=count).map(|i| Span {
            id: i,
            parent: (i > 1).then(|| if i % levels == 1 { 1 } else { i - 1 }),
            start_ns: i as i64,
            duration_ns: Some(2 * (count - i) as i64),
            kind: (i % 6) as u8,
        });
        let mut all = Spans::default();
        for span in spans {
            all.all.push(span);
            all.services.push((span.id % 2) as u32);
            all.names.push(2);
            all.statuses.push(if span.id == count { 2 } else { 0 });
            all.weights.push(1.0);
            all.links.push(0);
            all.sides.push(FIRST);
        }
        all.strings = ["web", "db", "GET"].map(Box::from).to_vec();
        all
    }

    #[test]
    fn a_hundred_thousand_spans_of_five_thousand_levels_are_one_trace() {
        let spans = deep(100_000, 5_000);
        assert!(spans.heap_bytes() < 16 << 20, "{}", spans.heap_bytes());
        // Nineteen chains begin with a span of the service of the root.
        for (function, rows) in [(ROWS, 100_000), (EDGES, 99_980)] {
            assert_eq!(function.finish(&(), &spans).unwrap().len(), rows, "{}", function.name);
        }
        // Levels 0 to 4,999 of one chain, and of the others what differs: they all have the same path of names.
        let paths = diff(&spans, &deep(10, 5));
        assert_eq!(paths.iter().map(|path| path.depth).max(), Some(5_000));
        let all_levels = CRITICAL_PATH.finish(&(), &spans).unwrap();
        assert!(all_levels.len() > 5_000);
        let mut bytes = Vec::new();
        spans.write(&mut bytes);
        let mut copy = Spans::default();
        copy.merge(&bytes).unwrap();
        assert_eq!(copy.all, spans.all);
    }
}
