//! Reads one trace without loss, for protocols that send it on.

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{col, ident, lit};

use super::engine::Engine;
use super::snapshot::ReadSnapshot;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Signal, TraceId, schema};

impl Engine {
    /// The spans and span events of the trace `id`: all core columns, and the attributes as
    /// [`schema::TYPED_ATTRIBUTES`]. In no order. Fails with [`ErrorKind::TooLarge`] when there are
    /// more than `rows_max`.
    pub async fn trace(
        &self,
        snapshot: &ReadSnapshot,
        id: TraceId,
        rows_max: usize,
    ) -> Result<Vec<RecordBatch>> {
        let trace_id = ScalarValue::FixedSizeBinary(TraceId::BYTES as i32, Some(id.as_bytes().to_vec()));
        let signals = vec![lit(Signal::Span.as_str()), lit(Signal::SpanEvent.as_str())];
        let core = schema::core_schema();
        let names = core.fields().iter().map(|field| field.name().as_str()).chain([schema::TYPED_ATTRIBUTES]);
        let batches = self
            .session_context(snapshot)
            .read_table(self.table(snapshot, &[]))?
            .filter(col("trace_id").eq(lit(trace_id)).and(col("signal").in_list(signals, false)))?
            .select(names.map(ident).collect::<Vec<_>>())?
            .limit(0, Some(rows_max.saturating_add(1)))?
            .collect()
            .await?;
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > rows_max {
            let message = format!("the trace {id} has more than {rows_max} spans and span events");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(batches)
    }
}
