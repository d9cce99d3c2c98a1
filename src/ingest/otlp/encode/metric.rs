//! Encoding of metric points, grouped into their metrics again.

use std::collections::HashMap;

use arrow::array::Array;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use prost::Message as _;

use super::super::metric::{TEMPORALITIES, kind};
use super::super::record::enum_number;
use super::columns::{Row, field_id, field_number, field_text, object};
use super::group::{Groups, ScopeIndex};
use crate::error::Result;
use crate::event::schema::column as c;

/// Metrics so far.
#[derive(Default)]
pub(super) struct Metrics {
    groups: Groups<Metric>,
    /// Metrics by scope and by their message without points.
    by_head: HashMap<(ScopeIndex, Vec<u8>), usize>,
}

impl Metrics {
    pub(super) fn point(&mut self, row: &Row<'_>) -> Result<()> {
        let (scope, attributes) = self.groups.enter(row)?;
        let head = head(row)?;
        let metrics = self.groups.records(scope);
        let metric = *self.by_head.entry((scope, head.encode_to_vec())).or_insert_with(|| {
            metrics.push(head);
            metrics.len() - 1
        });
        match &mut metrics[metric].data {
            Some(Data::Gauge(gauge)) => gauge.data_points.push(number(row, attributes)?),
            Some(Data::Sum(sum)) => sum.data_points.push(number(row, attributes)?),
            Some(Data::Histogram(histogram)) => histogram.data_points.push(explicit(row, attributes)?),
            Some(Data::ExponentialHistogram(histogram)) => {
                histogram.data_points.push(exponential(row, attributes)?);
            }
            Some(Data::Summary(summary)) => summary.data_points.push(quantiles(row, attributes)?),
            None => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> ExportMetricsServiceRequest {
        let resource_metrics = self.groups.into_resources().into_iter().map(|group| ResourceMetrics {
            resource: Some(group.resource),
            scope_metrics: group
                .scopes
                .into_iter()
                .map(|scope| ScopeMetrics {
                    scope: Some(scope.scope),
                    metrics: scope.records,
                    schema_url: scope.schema_url,
                })
                .collect(),
            schema_url: group.schema_url,
        });
        ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }
    }
}

/// Metric of a point, without points. A metric of unknown type becomes a gauge.
fn head(row: &Row<'_>) -> Result<Metric> {
    let aggregation_temporality =
        row.text(c::METRIC_TEMPORALITY).map_or(0, |name| enum_number(&TEMPORALITIES, name));
    let data = match row.text(c::METRIC_TYPE).unwrap_or(kind::GAUGE) {
        kind::SUM => Data::Sum(Sum {
            data_points: Vec::new(),
            aggregation_temporality,
            is_monotonic: row.boolean(c::METRIC_MONOTONIC).unwrap_or(false),
        }),
        kind::HISTOGRAM => Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality }),
        kind::EXPONENTIAL => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: Vec::new(),
            aggregation_temporality,
        }),
        kind::SUMMARY => Data::Summary(Summary::default()),
        _ => Data::Gauge(Gauge::default()),
    };
    Ok(Metric {
        name: row.string(c::NAME),
        description: row.string(c::METRIC_DESCRIPTION),
        unit: row.string(c::METRIC_UNIT),
        metadata: object(row.text(c::METRIC_METADATA).unwrap_or_default())?,
        data: Some(data),
    })
}

/// Time of a point; zero if the producer sent none.
fn time(row: &Row<'_>) -> u64 {
    if row.text(c::TIMESTAMP_ORIGIN).is_some() { 0 } else { row.time(c::TIMESTAMP).unwrap_or(0) }
}

fn number(row: &Row<'_>, attributes: Vec<KeyValue>) -> Result<NumberDataPoint> {
    let int = row.int(c::VALUE_INT).map(number_data_point::Value::AsInt);
    Ok(NumberDataPoint {
        attributes,
        start_time_unix_nano: row.time(c::START_TIMESTAMP).unwrap_or(0),
        time_unix_nano: time(row),
        exemplars: exemplars(row)?,
        flags: row.count32(c::FLAGS),
        value: int.or_else(|| row.double(c::VALUE).map(number_data_point::Value::AsDouble)),
    })
}

fn explicit(row: &Row<'_>, attributes: Vec<KeyValue>) -> Result<HistogramDataPoint> {
    Ok(HistogramDataPoint {
        attributes,
        start_time_unix_nano: row.time(c::START_TIMESTAMP).unwrap_or(0),
        time_unix_nano: time(row),
        count: row.count(c::HISTOGRAM_COUNT).unwrap_or(0),
        sum: row.double(c::HISTOGRAM_SUM),
        bucket_counts: row.numbers::<UInt64Type>(c::HISTOGRAM_COUNTS).unwrap_or_default(),
        explicit_bounds: row.numbers::<Float64Type>(c::HISTOGRAM_BOUNDS).unwrap_or_default(),
        exemplars: exemplars(row)?,
        flags: row.count32(c::FLAGS),
        min: row.double(c::HISTOGRAM_MIN),
        max: row.double(c::HISTOGRAM_MAX),
    })
}

fn exponential(row: &Row<'_>, attributes: Vec<KeyValue>) -> Result<ExponentialHistogramDataPoint> {
    let buckets = |offset, counts| {
        let offset = row.int32(offset)?;
        Some(Buckets { offset, bucket_counts: row.numbers::<UInt64Type>(counts).unwrap_or_default() })
    };
    Ok(ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: row.time(c::START_TIMESTAMP).unwrap_or(0),
        time_unix_nano: time(row),
        count: row.count(c::HISTOGRAM_COUNT).unwrap_or(0),
        sum: row.double(c::HISTOGRAM_SUM),
        scale: row.int32(c::EXPONENTIAL_SCALE).unwrap_or(0),
        zero_count: row.count(c::EXPONENTIAL_ZERO_COUNT).unwrap_or(0),
        positive: buckets(c::EXPONENTIAL_POSITIVE_OFFSET, c::EXPONENTIAL_POSITIVE_COUNTS),
        negative: buckets(c::EXPONENTIAL_NEGATIVE_OFFSET, c::EXPONENTIAL_NEGATIVE_COUNTS),
        flags: row.count32(c::FLAGS),
        exemplars: exemplars(row)?,
        min: row.double(c::HISTOGRAM_MIN),
        max: row.double(c::HISTOGRAM_MAX),
        zero_threshold: row.double(c::EXPONENTIAL_ZERO_THRESHOLD).unwrap_or(0.0),
    })
}

fn quantiles(row: &Row<'_>, attributes: Vec<KeyValue>) -> Result<SummaryDataPoint> {
    let mut quantile_values = Vec::new();
    if let Some(items) = row.structs(c::SUMMARY_QUANTILES) {
        for i in 0..items.len() {
            quantile_values.push(ValueAtQuantile {
                quantile: field_number::<Float64Type>(&items, "quantile", i)?.unwrap_or(0.0),
                value: field_number::<Float64Type>(&items, "value", i)?.unwrap_or(0.0),
            });
        }
    }
    Ok(SummaryDataPoint {
        attributes,
        start_time_unix_nano: row.time(c::START_TIMESTAMP).unwrap_or(0),
        time_unix_nano: time(row),
        count: row.count(c::HISTOGRAM_COUNT).unwrap_or(0),
        sum: row.double(c::HISTOGRAM_SUM).unwrap_or(0.0),
        quantile_values,
        flags: row.count32(c::FLAGS),
    })
}

fn exemplars(row: &Row<'_>) -> Result<Vec<Exemplar>> {
    let Some(items) = row.structs(c::EXEMPLARS) else { return Ok(Vec::new()) };
    let exemplar = |i| {
        let int = field_number::<Int64Type>(&items, "value_int", i)?.map(exemplar::Value::AsInt);
        let double = field_number::<Float64Type>(&items, "value", i)?.map(exemplar::Value::AsDouble);
        let time = field_number::<TimestampNanosecondType>(&items, "timestamp", i)?;
        Ok(Exemplar {
            filtered_attributes: object(field_text(&items, "attributes", i)?)?,
            time_unix_nano: time.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0),
            span_id: field_id(&items, "span_id", i)?,
            trace_id: field_id(&items, "trace_id", i)?,
            value: int.or(double),
        })
    };
    (0..items.len()).map(exemplar).collect()
}
