//! Requests in a form in which equal ones look equal: one line of text per record, with its resource and
//! scope, sorted. So resources and scopes that are listed twice are one, empty ones are none, and the order
//! of attributes and records does not matter. Text, because NaN then equals NaN.

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

fn attributes(list: &mut [KeyValue]) {
    for entry in list.iter_mut() {
        // A value that is not there and one that says nothing are the same.
        entry.value.get_or_insert_default();
    }
    list.sort_by_key(|entry| (entry.key.clone(), format!("{:?}", entry.value)));
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

/// The spans of a request.
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
    for event in &mut span.events {
        attributes(&mut event.attributes);
    }
    span.events.sort_by_key(|event| format!("{event:?}"));
    for link in &mut span.links {
        id(&mut link.trace_id);
        id(&mut link.span_id);
        attributes(&mut link.attributes);
    }
    span.status = span.status.filter(|status| *status != Status::default());
    span
}

/// The log records of a request.
pub(super) fn logs(request: &ExportLogsServiceRequest) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &request.resource_logs {
        for logs in &group.scope_logs {
            let urls = [group.schema_url.as_str(), &logs.schema_url];
            let owners = owners(group.resource.as_ref(), logs.scope.as_ref(), urls);
            for record in &logs.log_records {
                let mut record = record.clone();
                attributes(&mut record.attributes);
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

/// The data points of a request, each with its metric.
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
    attributes(&mut metric.metadata);
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

/// Takes the points out, as text.
fn each<P: std::fmt::Debug>(points: &mut Vec<P>, canonical: impl Fn(&mut P)) -> Vec<String> {
    let text = |mut point: P| {
        canonical(&mut point);
        format!("{point:?}")
    };
    std::mem::take(points).into_iter().map(text).collect()
}

fn number(point: &mut NumberDataPoint) {
    attributes(&mut point.attributes);
    exemplars(&mut point.exemplars);
}

fn explicit(point: &mut HistogramDataPoint) {
    attributes(&mut point.attributes);
    exemplars(&mut point.exemplars);
}

fn exponential(point: &mut ExponentialHistogramDataPoint) {
    attributes(&mut point.attributes);
    exemplars(&mut point.exemplars);
    zero(&mut point.zero_threshold);
}

fn quantiles(point: &mut SummaryDataPoint) {
    attributes(&mut point.attributes);
    zero(&mut point.sum);
    for quantile in &mut point.quantile_values {
        zero(&mut quantile.quantile);
        zero(&mut quantile.value);
    }
}

/// The encoder leaves out fields that equal zero, and so does not tell -0.0 from it.
fn zero(d: &mut f64) {
    if *d == 0.0 {
        *d = 0.0;
    }
}

fn exemplars(list: &mut [Exemplar]) {
    for exemplar in list {
        attributes(&mut exemplar.filtered_attributes);
        id(&mut exemplar.trace_id);
        id(&mut exemplar.span_id);
    }
}

/// Compares lines and shows the first that differ, not all.
pub(super) fn assert_same(got: &[String], expected: &[String]) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.len(), expected.len(), "number of records");
}
