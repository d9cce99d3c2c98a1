//! How do metrics (`opentelemetry.proto.metrics.v1`) become rows?
//!
//! One row is one data point. Each row repeats the properties of its metric: name, unit, description, type,
//! temporality.
//!
//! | OTLP | column |
//! |---|---|
//! | `as_double`, `as_int` | `value`; an integer in `value_int` too |
//! | `count`, `sum`, `min`, `max` of all kinds that have them | `histogram.count` … |
//! | `time_unix_nano` | `timestamp`; if zero, the time of receipt, and `timestamp_origin` says so |
//! | `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK` | bit 0 of `flags`: a gap; all measured values are null |
//!
//! The point of a gap often carries a zero. It was not measured and would distort averages, so it is not stored.
//!
//! Points are few and small compared with spans, so generated messages read them.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar as ExemplarMessage, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    SummaryDataPoint, exemplar, number_data_point,
};
use prost::Message as _;

use super::attributes::{Attribute, object};
use super::log::RECEIVED;
use super::record::{Defect, Doubts, Position, Sink, enum_name, optional_span_id, optional_trace_id};
use super::wire::Message;
use crate::event::{CoreEvent, Exemplar, NumberValue, Signal};

/// Names of `AggregationTemporality` by number; 0 means unspecified and is stored as null.
pub(super) const TEMPORALITIES: [&str; 3] = ["", "delta", "cumulative"];

/// Values of `metric.type`.
pub(super) mod kind {
    pub(crate) const GAUGE: &str = "gauge";
    pub(crate) const SUM: &str = "sum";
    pub(crate) const HISTOGRAM: &str = "histogram";
    pub(crate) const EXPONENTIAL: &str = "exponential_histogram";
    pub(crate) const SUMMARY: &str = "summary";
}

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u32 = 1;

/// Fields of `Metric` other than its data: name, description, unit and metadata.
const OTHER_FIELDS: [u32; 4] = [1, 2, 3, 12];

/// Takes the `Metric` message in `bytes`; defects are counted in the sink.
pub(super) fn metric(sink: &mut Sink, bytes: &[u8], at: Position) {
    match Metric::decode(bytes) {
        Ok(Metric { data: None, .. }) => {
            if let Some(field) = unknown_data(bytes) {
                sink.rejected
                    .add(at, format_args!("its data (protobuf field {field}) is of an unknown kind"));
            }
        }
        Ok(metric) => points(sink, &metric, at),
        Err(e) => sink.rejected.add(at, e),
    }
}

/// Number of the field with the data of a metric whose kind is obsolete or newer than this version.
fn unknown_data(bytes: &[u8]) -> Option<u32> {
    let mut message = Message::new(bytes);
    let fields = std::iter::from_fn(|| message.next_field().ok().flatten());
    fields.map(|field| field.number).find(|number| !OTHER_FIELDS.contains(number))
}

fn points(sink: &mut Sink, metric: &Metric, at: Position) {
    let Some(data) = &metric.data else { return };
    let metadata = object(&metric.metadata);
    let mut scratch = String::new();
    let temporality =
        Some(enum_name(&TEMPORALITIES, temporality(data), &mut scratch)).filter(|t| !t.is_empty());
    let of_metric = CoreEvent {
        signal: Signal::Metric,
        name: Some(&metric.name),
        metric_unit: &metric.unit,
        metric_description: &metric.description,
        metric_metadata: &metadata,
        metric_temporality: temporality,
        ..CoreEvent::default()
    };
    match data {
        Data::Gauge(gauge) => {
            let event = CoreEvent { metric_type: Some(kind::GAUGE), ..of_metric };
            each(sink, &gauge.data_points, at, |sink, point, doubts| number(sink, point, &event, doubts));
        }
        Data::Sum(sum) => {
            let event = CoreEvent {
                metric_type: Some(kind::SUM),
                metric_monotonic: Some(sum.is_monotonic),
                ..of_metric
            };
            each(sink, &sum.data_points, at, |sink, point, doubts| number(sink, point, &event, doubts));
        }
        Data::Histogram(histogram) => {
            let event = CoreEvent { metric_type: Some(kind::HISTOGRAM), ..of_metric };
            each(sink, &histogram.data_points, at, |sink, point, doubts| {
                explicit(sink, point, &event, doubts)
            });
        }
        Data::ExponentialHistogram(histogram) => {
            let event = CoreEvent { metric_type: Some(kind::EXPONENTIAL), ..of_metric };
            each(sink, &histogram.data_points, at, |sink, point, doubts| {
                exponential(sink, point, &event, doubts)
            });
        }
        Data::Summary(summary) => {
            let event = CoreEvent { metric_type: Some(kind::SUMMARY), ..of_metric };
            each(sink, &summary.data_points, at, |sink, point, doubts| {
                quantiles(sink, point, &event, doubts)
            });
        }
    }
}

fn temporality(data: &Data) -> i32 {
    match data {
        Data::Sum(sum) => sum.aggregation_temporality,
        Data::Histogram(histogram) => histogram.aggregation_temporality,
        Data::ExponentialHistogram(histogram) => histogram.aggregation_temporality,
        Data::Gauge(_) | Data::Summary(_) => 0,
    }
}

fn each<P>(
    sink: &mut Sink,
    points: &[P],
    at: Position,
    take: impl Fn(&mut Sink, &P, &mut Doubts) -> Result<(), Defect>,
) {
    for (i, point) in points.iter().enumerate() {
        let (at, mut doubts) = (Position { point: Some(i), ..at }, Doubts::default());
        match take(sink, point, &mut doubts) {
            Ok(()) => doubts.remark(sink, at),
            Err(defect) => sink.rejected.add(at, defect),
        }
    }
}

/// Fields that every kind of point has.
struct Common<'a> {
    attributes: &'a [KeyValue],
    start_ns: u64,
    time_ns: u64,
    flags: u32,
    exemplars: &'a [ExemplarMessage],
}

fn push(
    sink: &mut Sink,
    common: &Common<'_>,
    event: &CoreEvent<'_>,
    doubts: &mut Doubts,
) -> Result<(), Defect> {
    let time = doubts.time("time_unix_nano", common.time_ns);
    let start_timestamp_ns = doubts.time("start_time_unix_nano", common.start_ns);
    let exemplar_attributes: Vec<_> =
        common.exemplars.iter().map(|e| object(&e.filtered_attributes)).collect();
    let exemplars: Vec<_> = common
        .exemplars
        .iter()
        .zip(&exemplar_attributes)
        .map(|(exemplar, attributes)| to_exemplar(exemplar, attributes, doubts))
        .collect::<Result<_, _>>()?;
    let repeated =
        event.metric_description.len() + event.metric_metadata.len() + event.name.map_or(0, str::len);
    sink.reserve(1, repeated)?;
    let mut arena = String::new();
    let attributes = Attribute::all_of(common.attributes, &mut arena);
    let event = CoreEvent {
        timestamp_ns: time.unwrap_or(sink.now_ns),
        timestamp_origin: if time.is_none() { Some(RECEIVED) } else { None },
        start_timestamp_ns,
        flags: common.flags,
        exemplars: &exemplars,
        ..if common.flags & NO_RECORDED_VALUE == 0 { *event } else { gap(event) }
    };
    sink.push(&event, &attributes, &arena);
    Ok(())
}

/// Clears the measured values of a point.
fn gap<'a>(event: &CoreEvent<'a>) -> CoreEvent<'a> {
    CoreEvent {
        value: None,
        count: None,
        sum: None,
        min: None,
        max: None,
        bounds: None,
        bucket_counts: None,
        scale: None,
        zero_count: None,
        zero_threshold: None,
        positive_offset: None,
        positive_counts: None,
        negative_offset: None,
        negative_counts: None,
        quantiles: None,
        ..*event
    }
}

fn to_exemplar<'a>(
    exemplar: &ExemplarMessage,
    attributes: &'a str,
    doubts: &mut Doubts,
) -> Result<Exemplar<'a>, Defect> {
    Ok(Exemplar {
        timestamp_ns: doubts.time("time_unix_nano of an exemplar", exemplar.time_unix_nano),
        value: exemplar.value.map(|value| match value {
            exemplar::Value::AsDouble(d) => NumberValue::Double(d),
            exemplar::Value::AsInt(i) => NumberValue::Int(i),
        }),
        trace_id: optional_trace_id("trace_id of an exemplar", &exemplar.trace_id)?,
        span_id: optional_span_id("span_id of an exemplar", &exemplar.span_id)?,
        attributes,
    })
}

fn number(
    sink: &mut Sink,
    point: &NumberDataPoint,
    event: &CoreEvent<'_>,
    doubts: &mut Doubts,
) -> Result<(), Defect> {
    let common = Common {
        attributes: &point.attributes,
        start_ns: point.start_time_unix_nano,
        time_ns: point.time_unix_nano,
        flags: point.flags,
        exemplars: &point.exemplars,
    };
    let value = point.value.map(|value| match value {
        number_data_point::Value::AsDouble(d) => NumberValue::Double(d),
        number_data_point::Value::AsInt(i) => NumberValue::Int(i),
    });
    push(sink, &common, &CoreEvent { value, ..*event }, doubts)
}

fn explicit(
    sink: &mut Sink,
    point: &HistogramDataPoint,
    event: &CoreEvent<'_>,
    doubts: &mut Doubts,
) -> Result<(), Defect> {
    let common = Common {
        attributes: &point.attributes,
        start_ns: point.start_time_unix_nano,
        time_ns: point.time_unix_nano,
        flags: point.flags,
        exemplars: &point.exemplars,
    };
    let event = CoreEvent {
        count: Some(point.count),
        sum: point.sum,
        min: point.min,
        max: point.max,
        bounds: Some(point.explicit_bounds.as_slice()).filter(|list| !list.is_empty()),
        bucket_counts: Some(point.bucket_counts.as_slice()).filter(|list| !list.is_empty()),
        ..*event
    };
    push(sink, &common, &event, doubts)
}

fn exponential(
    sink: &mut Sink,
    point: &ExponentialHistogramDataPoint,
    event: &CoreEvent<'_>,
    doubts: &mut Doubts,
) -> Result<(), Defect> {
    let common = Common {
        attributes: &point.attributes,
        start_ns: point.start_time_unix_nano,
        time_ns: point.time_unix_nano,
        flags: point.flags,
        exemplars: &point.exemplars,
    };
    let event = CoreEvent {
        count: Some(point.count),
        sum: point.sum,
        min: point.min,
        max: point.max,
        scale: Some(point.scale),
        zero_count: Some(point.zero_count),
        zero_threshold: Some(point.zero_threshold),
        positive_offset: point.positive.as_ref().map(|b| b.offset),
        positive_counts: point.positive.as_ref().map(|b| b.bucket_counts.as_slice()),
        negative_offset: point.negative.as_ref().map(|b| b.offset),
        negative_counts: point.negative.as_ref().map(|b| b.bucket_counts.as_slice()),
        ..*event
    };
    push(sink, &common, &event, doubts)
}

fn quantiles(
    sink: &mut Sink,
    point: &SummaryDataPoint,
    event: &CoreEvent<'_>,
    doubts: &mut Doubts,
) -> Result<(), Defect> {
    let common = Common {
        attributes: &point.attributes,
        start_ns: point.start_time_unix_nano,
        time_ns: point.time_unix_nano,
        flags: point.flags,
        exemplars: &[],
    };
    let quantiles: Vec<_> = point.quantile_values.iter().map(|q| (q.quantile, q.value)).collect();
    let event = CoreEvent {
        count: Some(point.count),
        sum: Some(point.sum),
        quantiles: Some(quantiles.as_slice()).filter(|list| !list.is_empty()),
        ..*event
    };
    push(sink, &common, &event, doubts)
}
