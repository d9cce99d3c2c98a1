//! Canonical form of requests: equal requests give equal lines.
//!
//! One line of text per record, with its resource and scope, sorted. So it does not matter whether a resource or
//! scope is listed twice or is empty, nor in which order attributes and records are. Text, because NaN then
//! equals NaN.
//!
//! Parts that events deliberately do not store are removed: attributes without a value, impossible times, values
//! of points with the flag "no recorded value".

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::NOW_NS;

/// Sorts attributes of events, and removes those without a value.
fn attributes(list: &mut Vec<KeyValue>) {
    list.retain(|entry| entry.value.as_ref().is_some_and(|any| any.value.is_some()));
    entries(list);
}

/// Sorts attributes inside a list of an event, such as its links.
fn entries(list: &mut [KeyValue]) {
    for entry in list.iter_mut() {
        // A missing value equals an empty one.
        entry.value.get_or_insert_default();
    }
    list.sort_by_key(|entry| (entry.key.clone(), format!("{:?}", entry.value)));
}

fn time(ns: &mut u64) {
    if *ns >= i64::MAX as u64 {
        *ns = 0;
    }
}

fn id(bytes: &mut Vec<u8>) {
    if bytes.iter().all(|b| *b == 0) {
        bytes.clear();
    }
}

fn owners(resource: Option<&Resource>, scope: Option<&InstrumentationScope>, urls: [&str; 2]) -> String {
    let mut resource = resource.cloned().unwrap_or_default();
    let mut scope = scope.cloned().unwrap_or_default();
    attributes(&mut resource.attributes);
    attributes(&mut scope.attributes);
    format!("{resource:?} {scope:?} {urls:?}")
}

/// Lines of the spans of a request.
pub(super) fn traces(request: &ExportTraceServiceRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &request.resource_spans {
        for spans in &group.scope_spans {
            let urls = [group.schema_url.as_str(), &spans.schema_url];
            let owners = owners(group.resource.as_ref(), spans.scope.as_ref(), urls);
            lines.extend(spans.spans.iter().map(|span| format!("{owners} {:?}", canonical_span(span))));
        }
    }
    lines.sort();
    lines
}

fn canonical_span(span: &Span) -> Span {
    let mut span = span.clone();
    id(&mut span.parent_span_id);
    attributes(&mut span.attributes);
    start_and_end(&mut span.start_time_unix_nano, &mut span.end_time_unix_nano);
    for event in &mut span.events {
        attributes(&mut event.attributes);
        time(&mut event.time_unix_nano);
    }
    span.events.sort_by_key(|event| format!("{event:?}"));
    for link in &mut span.links {
        id(&mut link.trace_id);
        id(&mut link.span_id);
        entries(&mut link.attributes);
    }
    span.status = span.status.filter(|status| *status != Status::default());
    span
}

/// If start and end are more than ten years apart, keeps the one nearer to now.
fn start_and_end(start: &mut u64, end: &mut u64) {
    time(start);
    time(end);
    if *start != 0 && *end != 0 && start.abs_diff(*end) > 3660 * 86_400 * 1_000_000_000 {
        let now = NOW_NS as u64;
        *if start.abs_diff(now) > end.abs_diff(now) { start } else { end } = 0;
    }
}

/// Lines of the log records of a request.
pub(super) fn logs(request: &ExportLogsServiceRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &request.resource_logs {
        for logs in &group.scope_logs {
            let urls = [group.schema_url.as_str(), &logs.schema_url];
            let owners = owners(group.resource.as_ref(), logs.scope.as_ref(), urls);
            for record in &logs.log_records {
                let mut record = record.clone();
                attributes(&mut record.attributes);
                time(&mut record.time_unix_nano);
                time(&mut record.observed_time_unix_nano);
                id(&mut record.trace_id);
                id(&mut record.span_id);
                record.body = record.body.filter(|body| body.value.is_some());
                lines.push(format!("{owners} {record:?}"));
            }
        }
    }
    lines.sort();
    lines
}

/// Lines of the data points of a request, each with its metric.
pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &request.resource_metrics {
        for metrics in &group.scope_metrics {
            let urls = [group.schema_url.as_str(), &metrics.schema_url];
            let owners = owners(group.resource.as_ref(), metrics.scope.as_ref(), urls);
            for metric in &metrics.metrics {
                lines.extend(points(metric).into_iter().map(|point| format!("{owners} {point}")));
            }
        }
    }
    lines.sort();
    lines
}

fn points(metric: &Metric) -> Vec<String> {
    let mut metric = metric.clone();
    entries(&mut metric.metadata);
    let points = match metric.data.as_mut() {
        None => Vec::new(),
        Some(Data::Gauge(gauge)) => each(&mut gauge.data_points, number),
        Some(Data::Sum(sum)) => each(&mut sum.data_points, number),
        Some(Data::Histogram(histogram)) => each(&mut histogram.data_points, explicit),
        Some(Data::ExponentialHistogram(histogram)) => each(&mut histogram.data_points, exponential),
        Some(Data::Summary(summary)) => each(&mut summary.data_points, quantiles),
    };
    points.into_iter().map(|point| format!("{metric:?} {point}")).collect()
}

/// Takes the points out of the list, as text.
fn each<P: std::fmt::Debug>(points: &mut Vec<P>, canonical: impl Fn(&mut P)) -> Vec<String> {
    let text = |mut point: P| {
        canonical(&mut point);
        format!("{point:?}")
    };
    std::mem::take(points).into_iter().map(text).collect()
}

/// Canonicalizes the common fields of a point; true if a value was recorded.
macro_rules! common {
    ($point:ident) => {{
        attributes(&mut $point.attributes);
        time(&mut $point.time_unix_nano);
        time(&mut $point.start_time_unix_nano);
        $point.flags & 1 == 0
    }};
}

fn number(point: &mut NumberDataPoint) {
    exemplars(&mut point.exemplars);
    if !common!(point) {
        point.value = None;
    }
}

fn explicit(point: &mut HistogramDataPoint) {
    exemplars(&mut point.exemplars);
    if !common!(point) {
        *point = HistogramDataPoint {
            attributes: point.attributes.clone(),
            start_time_unix_nano: point.start_time_unix_nano,
            time_unix_nano: point.time_unix_nano,
            flags: point.flags,
            exemplars: point.exemplars.clone(),
            ..HistogramDataPoint::default()
        };
    }
}

fn exponential(point: &mut ExponentialHistogramDataPoint) {
    exemplars(&mut point.exemplars);
    zero(&mut point.zero_threshold);
    if !common!(point) {
        *point = ExponentialHistogramDataPoint {
            attributes: point.attributes.clone(),
            start_time_unix_nano: point.start_time_unix_nano,
            time_unix_nano: point.time_unix_nano,
            flags: point.flags,
            exemplars: point.exemplars.clone(),
            ..ExponentialHistogramDataPoint::default()
        };
    }
}

fn quantiles(point: &mut SummaryDataPoint) {
    if !common!(point) {
        (point.count, point.sum) = (0, 0.0);
        point.quantile_values.clear();
    }
    zero(&mut point.sum);
    for quantile in &mut point.quantile_values {
        zero(&mut quantile.quantile);
        zero(&mut quantile.value);
    }
}

/// The encoder leaves out fields that equal zero, so -0.0 becomes 0.0.
fn zero(d: &mut f64) {
    if *d == 0.0 {
        *d = 0.0;
    }
}

fn exemplars(list: &mut [Exemplar]) {
    for exemplar in list {
        entries(&mut exemplar.filtered_attributes);
        time(&mut exemplar.time_unix_nano);
        id(&mut exemplar.trace_id);
        id(&mut exemplar.span_id);
    }
}

/// Compares lines and shows only the first difference.
pub(super) fn assert_same(got: &[String], expected: &[String]) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.len(), expected.len(), "number of records");
}
