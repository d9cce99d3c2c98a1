//! How do JSON objects become protobuf messages?

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;
use serde_json::Value;

use super::super::RequestKind;
use super::super::record::Defect;
use super::console;
use super::scalar::{boolean, bytes, double, enumeration, id, int32, int64, text, uint32, uint64};
use super::{each, entries};

/// Reads an object into a message, by a table of names, fields and readers. Unknown names are ignored; a defect names
/// its field.
macro_rules! message {
    ($value:expr, $message:expr, { $($name:pat => $field:ident = |$v:ident| $read:expr,)* }) => {{
        let mut message = $message;
        for (name, value) in entries($value)? {
            match name.as_str() {
                $($name => {
                    let $v = value;
                    message.$field = $read.map_err(|defect| Defect::new(format!("{name}: {defect}")))?;
                })*
                _ => {}
            }
        }
        Ok(message)
    }};
}

/// Converts one record to the bytes of its message.
pub(super) fn record(kind: RequestKind, value: Value) -> Result<Vec<u8>, Defect> {
    Ok(match kind {
        RequestKind::Traces => span(value)?.encode_to_vec(),
        RequestKind::Logs => log_record(value)?.encode_to_vec(),
        RequestKind::Metrics => metric(value)?.encode_to_vec(),
    })
}

pub(super) fn resource(value: Value) -> Result<Resource, Defect> {
    message!(value, Resource::default(), {
        "attributes" => attributes = |v| attributes(v),
        "droppedAttributesCount" | "dropped_attributes_count" => dropped_attributes_count = |v| uint32(v),
        "entityRefs" | "entity_refs" => entity_refs = |v| each(v, entity),
    })
}

fn entity(value: Value) -> Result<EntityRef, Defect> {
    message!(value, EntityRef::default(), {
        "schemaUrl" | "schema_url" => schema_url = |v| text(v),
        "type" => r#type = |v| text(v),
        "idKeys" | "id_keys" => id_keys = |v| each(v, text),
        "descriptionKeys" | "description_keys" => description_keys = |v| each(v, text),
    })
}

pub(super) fn scope(value: Value) -> Result<InstrumentationScope, Defect> {
    message!(value, InstrumentationScope::default(), {
        "name" => name = |v| text(v),
        "version" => version = |v| text(v),
        "attributes" => attributes = |v| attributes(v),
        "droppedAttributesCount" | "dropped_attributes_count" => dropped_attributes_count = |v| uint32(v),
    })
}

fn key_value(value: Value) -> Result<KeyValue, Defect> {
    message!(value, KeyValue::default(), {
        "key" => key = |v| text(v),
        "value" => value = |v| any(v).map(Some),
    })
}

fn any(value: Value) -> Result<AnyValue, Defect> {
    message!(value, AnyValue::default(), {
        "stringValue" | "string_value" => value = |v| text(v).map(|s| Some(any_value::Value::StringValue(s))),
        "boolValue" | "bool_value" => value = |v| boolean(v).map(|b| Some(any_value::Value::BoolValue(b))),
        "intValue" | "int_value" => value = |v| int64(v).map(|i| Some(any_value::Value::IntValue(i))),
        "doubleValue" | "double_value" => value = |v| double(v).map(|d| Some(any_value::Value::DoubleValue(d))),
        "bytesValue" | "bytes_value" => value = |v| bytes(v).map(|b| Some(any_value::Value::BytesValue(b))),
        "arrayValue" | "array_value" => value = |v| array(v).map(|a| Some(any_value::Value::ArrayValue(a))),
        "kvlistValue" | "kvlist_value" => value = |v| kvlist(v).map(|l| Some(any_value::Value::KvlistValue(l))),
    })
}

/// A list of keys with values, or an object of plain values.
fn attributes(value: Value) -> Result<Vec<KeyValue>, Defect> {
    match value {
        Value::Object(object) => Ok(console::attributes(object)),
        list => each(list, key_value),
    }
}

fn array(value: Value) -> Result<ArrayValue, Defect> {
    message!(value, ArrayValue::default(), { "values" => values = |v| each(v, any_or_null), })
}

/// Reads an item of a list. In a list, unlike in a field, `null` is an item: an empty value.
fn any_or_null(value: Value) -> Result<AnyValue, Defect> {
    if value.is_null() { Ok(AnyValue::default()) } else { any(value) }
}

fn kvlist(value: Value) -> Result<KeyValueList, Defect> {
    message!(value, KeyValueList::default(), { "values" => values = |v| each(v, key_value), })
}

fn span(value: Value) -> Result<Span, Defect> {
    let kind = |name: &str| SpanKind::from_str_name(name).map(i32::from);
    message!(value, Span::default(), {
        "traceId" | "trace_id" => trace_id = |v| id(v),
        "spanId" | "span_id" => span_id = |v| id(v),
        "traceState" | "trace_state" => trace_state = |v| text(v),
        "parentSpanId" | "parent_span_id" => parent_span_id = |v| id(v),
        "flags" => flags = |v| uint32(v),
        "name" => name = |v| text(v),
        "kind" => kind = |v| enumeration(v, kind),
        "startTimeUnixNano" | "start_time_unix_nano" => start_time_unix_nano = |v| uint64(v),
        "endTimeUnixNano" | "end_time_unix_nano" => end_time_unix_nano = |v| uint64(v),
        "attributes" => attributes = |v| attributes(v),
        "droppedAttributesCount" | "dropped_attributes_count" => dropped_attributes_count = |v| uint32(v),
        "events" => events = |v| each(v, event),
        "droppedEventsCount" | "dropped_events_count" => dropped_events_count = |v| uint32(v),
        "links" => links = |v| each(v, link),
        "droppedLinksCount" | "dropped_links_count" => dropped_links_count = |v| uint32(v),
        "status" => status = |v| status(v).map(Some),
    })
}

fn status(value: Value) -> Result<Status, Defect> {
    let code = |name: &str| StatusCode::from_str_name(name).map(i32::from);
    message!(value, Status::default(), {
        "message" => message = |v| text(v),
        "code" => code = |v| enumeration(v, code),
    })
}

fn event(value: Value) -> Result<Event, Defect> {
    message!(value, Event::default(), {
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "name" => name = |v| text(v),
        "attributes" => attributes = |v| attributes(v),
        "droppedAttributesCount" | "dropped_attributes_count" => dropped_attributes_count = |v| uint32(v),
    })
}

fn link(value: Value) -> Result<Link, Defect> {
    message!(value, Link::default(), {
        "traceId" | "trace_id" => trace_id = |v| id(v),
        "spanId" | "span_id" => span_id = |v| id(v),
        "traceState" | "trace_state" => trace_state = |v| text(v),
        "attributes" => attributes = |v| attributes(v),
        "droppedAttributesCount" | "dropped_attributes_count" => dropped_attributes_count = |v| uint32(v),
        "flags" => flags = |v| uint32(v),
    })
}

fn log_record(value: Value) -> Result<LogRecord, Defect> {
    let severity = |name: &str| SeverityNumber::from_str_name(name).map(i32::from);
    message!(value, LogRecord::default(), {
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "observedTimeUnixNano" | "observed_time_unix_nano" => observed_time_unix_nano = |v| uint64(v),
        "severityNumber" | "severity_number" => severity_number = |v| enumeration(v, severity),
        "severityText" | "severity_text" => severity_text = |v| text(v),
        "body" => body = |v| any(v).map(Some),
        "attributes" => attributes = |v| attributes(v),
        "droppedAttributesCount" | "dropped_attributes_count" => dropped_attributes_count = |v| uint32(v),
        "flags" => flags = |v| uint32(v),
        "traceId" | "trace_id" => trace_id = |v| id(v),
        "spanId" | "span_id" => span_id = |v| id(v),
        "eventName" | "event_name" => event_name = |v| text(v),
    })
}

/// Reads a metric. Its data is its only field that is an object. So a metric without known data but with an object is
/// of a kind that is obsolete or newer than this version.
fn metric(value: Value) -> Result<Metric, Defect> {
    let objects = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_object());
    let kind = objects.map(|(name, _)| name.clone()).next();
    let metric = known_metric(value)?;
    match kind.filter(|_| metric.data.is_none()) {
        Some(kind) => Err(Defect::new(format!("{kind:?} is not a known kind of metric data"))),
        None => Ok(metric),
    }
}

fn known_metric(value: Value) -> Result<Metric, Defect> {
    message!(value, Metric::default(), {
        "name" => name = |v| text(v),
        "description" => description = |v| text(v),
        "unit" => unit = |v| text(v),
        "metadata" => metadata = |v| attributes(v),
        "gauge" => data = |v| gauge(v).map(|d| Some(Data::Gauge(d))),
        "sum" => data = |v| sum(v).map(|d| Some(Data::Sum(d))),
        "histogram" => data = |v| histogram(v).map(|d| Some(Data::Histogram(d))),
        "exponentialHistogram" | "exponential_histogram" => data =
            |v| exponential(v).map(|d| Some(Data::ExponentialHistogram(d))),
        "summary" => data = |v| summary(v).map(|d| Some(Data::Summary(d))),
        "data" => data = |v| printed(v).map(Some),
    })
}

/// Data of a kind that is not named.
fn printed(value: Value) -> Result<Data, Defect> {
    Ok(match console::Kind::of(&value) {
        console::Kind::Gauge => Data::Gauge(gauge(value)?),
        console::Kind::Sum => Data::Sum(sum(value)?),
        console::Kind::Histogram => Data::Histogram(histogram(value)?),
        console::Kind::ExponentialHistogram => Data::ExponentialHistogram(exponential(value)?),
    })
}

fn temporality(value: Value) -> Result<i32, Defect> {
    enumeration(value, |name| AggregationTemporality::from_str_name(name).map(i32::from))
}

fn gauge(value: Value) -> Result<Gauge, Defect> {
    message!(value, Gauge::default(), {
        "dataPoints" | "data_points" => data_points = |v| each(v, number_point),
    })
}

fn sum(value: Value) -> Result<Sum, Defect> {
    message!(value, Sum::default(), {
        "dataPoints" | "data_points" => data_points = |v| each(v, number_point),
        "aggregationTemporality" | "aggregation_temporality" => aggregation_temporality = |v| temporality(v),
        "isMonotonic" | "is_monotonic" => is_monotonic = |v| boolean(v),
    })
}

fn histogram(value: Value) -> Result<Histogram, Defect> {
    message!(value, Histogram::default(), {
        "dataPoints" | "data_points" => data_points = |v| each(v, histogram_point),
        "aggregationTemporality" | "aggregation_temporality" => aggregation_temporality = |v| temporality(v),
    })
}

fn exponential(value: Value) -> Result<ExponentialHistogram, Defect> {
    message!(value, ExponentialHistogram::default(), {
        "dataPoints" | "data_points" => data_points = |v| each(v, exponential_point),
        "aggregationTemporality" | "aggregation_temporality" => aggregation_temporality = |v| temporality(v),
    })
}

fn summary(value: Value) -> Result<Summary, Defect> {
    message!(value, Summary::default(), {
        "dataPoints" | "data_points" => data_points = |v| each(v, summary_point),
    })
}

fn number_point(value: Value) -> Result<NumberDataPoint, Defect> {
    message!(value, NumberDataPoint::default(), {
        "attributes" => attributes = |v| attributes(v),
        "startTimeUnixNano" | "start_time_unix_nano" => start_time_unix_nano = |v| uint64(v),
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "asDouble" | "as_double" => value = |v| double(v).map(|d| Some(number_data_point::Value::AsDouble(d))),
        "asInt" | "as_int" => value = |v| int64(v).map(|i| Some(number_data_point::Value::AsInt(i))),
        "value" => value = |v| console::point_value(v).map(Some),
        "exemplars" => exemplars = |v| each(v, exemplar),
        "flags" => flags = |v| uint32(v),
    })
}

fn histogram_point(value: Value) -> Result<HistogramDataPoint, Defect> {
    message!(value, HistogramDataPoint::default(), {
        "attributes" => attributes = |v| attributes(v),
        "startTimeUnixNano" | "start_time_unix_nano" => start_time_unix_nano = |v| uint64(v),
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "count" => count = |v| uint64(v),
        "sum" => sum = |v| double(v).map(Some),
        "bucketCounts" | "bucket_counts" => bucket_counts = |v| each(v, uint64),
        "explicitBounds" | "explicit_bounds" => explicit_bounds = |v| each(v, double),
        "exemplars" => exemplars = |v| each(v, exemplar),
        "flags" => flags = |v| uint32(v),
        "min" => min = |v| double(v).map(Some),
        "max" => max = |v| double(v).map(Some),
    })
}

fn exponential_point(value: Value) -> Result<ExponentialHistogramDataPoint, Defect> {
    message!(value, ExponentialHistogramDataPoint::default(), {
        "attributes" => attributes = |v| attributes(v),
        "startTimeUnixNano" | "start_time_unix_nano" => start_time_unix_nano = |v| uint64(v),
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "count" => count = |v| uint64(v),
        "sum" => sum = |v| double(v).map(Some),
        "scale" => scale = |v| int32(v),
        "zeroCount" | "zero_count" => zero_count = |v| uint64(v),
        "positive" => positive = |v| buckets(v).map(Some),
        "negative" => negative = |v| buckets(v).map(Some),
        "flags" => flags = |v| uint32(v),
        "exemplars" => exemplars = |v| each(v, exemplar),
        "min" => min = |v| double(v).map(Some),
        "max" => max = |v| double(v).map(Some),
        "zeroThreshold" | "zero_threshold" => zero_threshold = |v| double(v),
    })
}

fn buckets(value: Value) -> Result<Buckets, Defect> {
    message!(value, Buckets::default(), {
        "offset" => offset = |v| int32(v),
        "bucketCounts" | "bucket_counts" => bucket_counts = |v| each(v, uint64),
    })
}

fn summary_point(value: Value) -> Result<SummaryDataPoint, Defect> {
    message!(value, SummaryDataPoint::default(), {
        "attributes" => attributes = |v| attributes(v),
        "startTimeUnixNano" | "start_time_unix_nano" => start_time_unix_nano = |v| uint64(v),
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "count" => count = |v| uint64(v),
        "sum" => sum = |v| double(v),
        "quantileValues" | "quantile_values" => quantile_values = |v| each(v, quantile),
        "flags" => flags = |v| uint32(v),
    })
}

fn quantile(value: Value) -> Result<ValueAtQuantile, Defect> {
    message!(value, ValueAtQuantile::default(), {
        "quantile" => quantile = |v| double(v),
        "value" => value = |v| double(v),
    })
}

fn exemplar(value: Value) -> Result<Exemplar, Defect> {
    message!(value, Exemplar::default(), {
        "filteredAttributes" | "filtered_attributes" => filtered_attributes = |v| attributes(v),
        "timeUnixNano" | "time_unix_nano" => time_unix_nano = |v| uint64(v),
        "spanId" | "span_id" => span_id = |v| if v.is_number() { console::span_id(&v) } else { id(v) },
        "traceId" | "trace_id" => trace_id = |v| id(v),
        "value" => value = |v| console::exemplar_value(v).map(Some),
        "asDouble" | "as_double" => value = |v| double(v).map(|d| Some(exemplar::Value::AsDouble(d))),
        "asInt" | "as_int" => value = |v| int64(v).map(|i| Some(exemplar::Value::AsInt(i))),
    })
}
