//! Statistics of events, known without reading any.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use arrow::datatypes::Schema;

use crate::event::{TimeRange, schema};

/// Statistics of `rows` events with timestamps in `time`, both ends of which occur. From these DataFusion counts
/// events, and finds the first and the last timestamp, without reading any.
pub(crate) fn statistics(schema: &Schema, rows: u64, time: Option<TimeRange>) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(rows as usize);
    if let (Some(time), Ok(timestamp)) = (time, schema.index_of(schema::column::TIMESTAMP)) {
        let at = |ns| Precision::Exact(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())));
        statistics.column_statistics[timestamp] = ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: at(time.min_ns),
            max_value: at(time.max_ns),
            ..ColumnStatistics::new_unknown()
        };
    }
    statistics
}
