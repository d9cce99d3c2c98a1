//! How do events become OTLP requests again?
//!
//! Rows come from a batch or a query, in any order and in batches of any size. They are grouped by their resource
//! and scope. Span events return to the span with their ids, in order of time; points return to their metric.
//!
//! Not here: choosing which events to encode.

mod columns;
mod group;
mod trace;
mod log;
mod metric;
mod json;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use self::columns::{Columns, Row};
use crate::error::Result;
use crate::event::physical::{LayoutLimits, PhysicalLayout, RowOrder};
use crate::event::{EventBatch, Signal, schema};

pub use self::json::{traces_json, traces_json_pieces};

/// Events as requests. The request of a signal without events is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// Spans with their events.
    pub traces: ExportTraceServiceRequest,
    /// Log records.
    pub logs: ExportLogsServiceRequest,
    /// Metric points.
    pub metrics: ExportMetricsServiceRequest,
    /// Span events whose span was not among the rows. OTLP has no place for them.
    pub orphan_span_events: usize,
}

/// Encodes rows of events.
///
/// The batches have core columns by name (missing ones read as null) and the column
/// [`schema::TYPED_ATTRIBUTES`]; other columns are ignored. Expected O(rows × attributes).
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a column cannot be converted to its
/// type in events.
pub fn encode(batches: &[RecordBatch]) -> Result<Encoded> {
    let mut traces = trace::Traces::default();
    let mut logs = group::Groups::default();
    let mut metrics = metric::Metrics::default();
    for batch in batches {
        let columns = Columns::new(batch)?;
        for row in (0..batch.num_rows()).map(|row| Row::new(&columns, row)) {
            match row.signal() {
                Some(Signal::Span) => traces.span(&row)?,
                Some(Signal::SpanEvent) => traces.event(&row)?,
                Some(Signal::Log) => log::record(&mut logs, &row)?,
                Some(Signal::Metric) => metrics.point(&row)?,
                None => {}
            }
        }
    }
    let (traces, orphan_span_events) = traces.finish();
    Ok(Encoded { traces, logs: log::finish(logs), metrics: metrics.finish(), orphan_span_events })
}

/// Encodes the events of a batch.
pub fn encode_batch(batch: &EventBatch) -> Result<Encoded> {
    encode(&[rows(batch)?])
}

/// Converts a batch to rows as a query would return them.
pub(super) fn rows(batch: &EventBatch) -> Result<RecordBatch> {
    let batches = [Arc::new(batch.clone())];
    // With room for no attribute columns, the layout puts all attributes into the overflow, an object in the form of
    // typed attributes.
    let layout = PhysicalLayout::decide(&batches, LayoutLimits { columns_max: 0, ..LayoutLimits::UNLIMITED });
    let order = RowOrder::as_arrived(&batches);
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (i, column) in layout.columns().iter().enumerate() {
        let array = layout.materialize(i, &batches, &order)?;
        let name = column.field.name();
        let name = if name == schema::OVERFLOW { schema::TYPED_ATTRIBUTES } else { name };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
