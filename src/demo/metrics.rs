//! What do pods measure? All five kinds of metric points.
//!
//! The request histograms count the generated spans, with one of them as exemplar. Gauges and sums have random
//! plausible values. Pods report in turn, so the number of points stays in proportion to the other events even in a
//! short corpus.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    summary_data_point::ValueAtQuantile,
};

use super::Shared;
use super::attributes::{int, text};
use super::dice::Dice;
use super::outbox::{Emitted, Outbox};
use super::shop::{Language, SERVICES};
use super::world::Protocol;

/// Upper bounds of the request histogram, in seconds, as the semantic conventions advise.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Scale of the exponential histogram: 2 to this power buckets per doubling.
const SCALE: i32 = 0;

/// Measurements of all pods that were not yet reported.
#[derive(Debug)]
pub(super) struct Meters {
    pods: Vec<Meter>,
    turn: usize,
    start_ns: i64,
    /// Points reported so far.
    pub(super) points: u64,
}

/// Measurements of one pod.
#[derive(Debug, Default)]
struct Meter {
    reported_ns: i64,
    served: BTreeMap<usize, Served>,
    cpu_s: f64,
    sent_bytes: i64,
}

/// A served request.
#[derive(Debug)]
pub(super) struct Request {
    /// Index of the endpoint.
    pub(super) target: usize,
    pub(super) end_ns: i64,
    pub(super) took_ns: i64,
    pub(super) trace_id: [u8; 16],
    /// Span of the server.
    pub(super) span_id: [u8; 8],
}

/// Requests of one endpoint since the last report.
#[derive(Debug, Default)]
struct Served {
    buckets: [u64; BOUNDS.len() + 1],
    doublings: BTreeMap<i32, u64>,
    count: u64,
    sum_s: f64,
    min_s: f64,
    max_s: f64,
    exemplar: Option<Exemplar>,
}

impl Meters {
    /// Creates meters for `pods` pods, counting from `start_ns`.
    pub(super) fn new(pods: usize, start_ns: i64) -> Self {
        let meter = || Meter { reported_ns: start_ns, ..Meter::default() };
        Self { pods: (0..pods).map(|_| meter()).collect(), turn: 0, start_ns, points: 0 }
    }

    /// Counts a request that `pod` served.
    pub(super) fn observe(&mut self, pod: usize, request: &Request) {
        let took_s = request.took_ns as f64 / 1e9;
        let served = self.pods[pod].served.entry(request.target).or_default();
        served.buckets[BOUNDS.partition_point(|bound| *bound < took_s)] += 1;
        *served.doublings.entry(doubling(took_s)).or_default() += 1;
        served.min_s = if served.count == 0 { took_s } else { served.min_s.min(took_s) };
        if took_s >= served.max_s {
            served.max_s = took_s;
            served.exemplar = Some(Exemplar {
                filtered_attributes: Vec::new(),
                time_unix_nano: request.end_ns as u64,
                span_id: request.span_id.to_vec(),
                trace_id: request.trace_id.to_vec(),
                value: Some(exemplar::Value::AsDouble(took_s)),
            });
        }
        served.count += 1;
        served.sum_s += took_s;
    }

    /// Sends the report of the next pod at `at_ns`, if that pod is running.
    pub(super) fn export(&mut self, shared: &Shared, dice: &mut Dice, outbox: &mut Outbox, at_ns: i64) {
        let pod = self.turn % self.pods.len();
        self.turn += 1;
        if !shared.fleet.pods[pod].runs_ns.contains(&at_ns) {
            return;
        }
        let at_ns = at_ns.max(self.pods[pod].reported_ns + 1);
        let report = Report { first: self.start_ns, last: self.pods[pod].reported_ns, now: at_ns };
        let meter = &mut self.pods[pod];
        let mut metrics = process(meter, dice, &report);
        metrics.extend(requests(meter, shared, &report));
        match SERVICES[shared.fleet.pods[pod].service].language {
            Language::Go | Language::Java => metrics.push(collector_pauses(dice, &report)),
            Language::Ruby | Language::Php | Language::Python => metrics.push(queue_summary(dice, &report)),
            _ => {}
        }
        meter.reported_ns = at_ns;
        let points = metrics.iter().map(points).sum();
        self.points += points;
        outbox.metrics(dice, points, Emitted { pod, at_ns, item: metrics });
    }
}

/// Times of one report, in nanoseconds.
struct Report {
    /// Start of counting.
    first: i64,
    /// Time of the previous report.
    last: i64,
    now: i64,
}

impl Report {
    fn number(
        &self,
        value: number_data_point::Value,
        attributes: Vec<KeyValue>,
        since: i64,
    ) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: since as u64,
            time_unix_nano: self.now as u64,
            exemplars: Vec::new(),
            flags: 0,
            value: Some(value),
        }
    }
}

fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

/// Metric of values that go up and down and are not added up.
fn gauge(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, unit, description, Data::Gauge(Gauge { data_points }))
}

/// Metric of a total that only grows.
fn counter(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    let sum = Sum { data_points, aggregation_temporality, is_monotonic: true };
    metric(name, unit, description, Data::Sum(sum))
}

/// Metric of a total that also shrinks.
fn up_down_counter(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative as i32;
    let sum = Sum { data_points, aggregation_temporality, is_monotonic: false };
    metric(name, unit, description, Data::Sum(sum))
}

fn process(meter: &mut Meter, dice: &mut Dice, report: &Report) -> Vec<Metric> {
    use number_data_point::Value::{AsDouble, AsInt};
    let passed_s = (report.now - report.last) as f64 / 1e9;
    let busy = 0.05 + 0.4 * dice.unit();
    meter.cpu_s += busy * passed_s;
    meter.sent_bytes += dice.between(2_000, 900_000) as i64;
    let memory = dice.between(180 << 20, 900 << 20) as i64;
    let cpu_s = [("user", 0.8), ("system", 0.2)].map(|(mode, share)| {
        report.number(AsDouble(meter.cpu_s * share), vec![text("cpu.mode", mode)], report.first)
    });
    let sent = vec![text("network.io.direction", "transmit")];
    let connections = [("idle", dice.below(12)), ("used", dice.below(30))].map(|(state, n)| {
        report.number(AsInt(n as i64), vec![text("db.client.connection.state", state)], report.first)
    });
    vec![
        gauge(
            "process.cpu.utilization",
            "1",
            "CPU time used, divided by the time that passed",
            vec![report.number(AsDouble(busy), Vec::new(), 0)],
        ),
        up_down_counter(
            "process.memory.usage",
            "By",
            "Physical memory in use",
            vec![report.number(AsInt(memory), Vec::new(), report.first)],
        ),
        counter("process.cpu.time", "s", "CPU time used since the start", cpu_s.into()),
        counter(
            "process.network.io",
            "By",
            "Bytes sent since the start",
            vec![report.number(AsInt(meter.sent_bytes), sent, report.first)],
        ),
        up_down_counter(
            "db.client.connection.count",
            "{connection}",
            "Connections by state",
            connections.into(),
        ),
    ]
}

/// Takes the two request histograms of the pod, which then start again from zero.
fn requests(meter: &mut Meter, shared: &Shared, report: &Report) -> Vec<Metric> {
    let delta = AggregationTemporality::Delta as i32;
    let (mut explicit, mut exponential) = (Vec::new(), Vec::new());
    for (index, served) in std::mem::take(&mut meter.served) {
        let target = &shared.world.targets[index];
        let attributes = match target.protocol {
            Protocol::Http => vec![
                text("http.request.method", target.method),
                text("http.route", target.route),
                int("http.response.status_code", 200),
            ],
            Protocol::Grpc => vec![
                text("rpc.system", "grpc"),
                text("rpc.service", target.route),
                text("rpc.method", target.method),
            ],
            _ => vec![text("messaging.system", "kafka"), text("messaging.destination.name", target.route)],
        };
        if target.protocol == Protocol::Http {
            explicit.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano: report.last as u64,
                time_unix_nano: report.now as u64,
                count: served.count,
                sum: Some(served.sum_s),
                bucket_counts: served.buckets.to_vec(),
                explicit_bounds: BOUNDS.to_vec(),
                exemplars: served.exemplar.into_iter().collect(),
                flags: 0,
                min: Some(served.min_s),
                max: Some(served.max_s),
            });
        } else {
            exponential.push(exponential_point(attributes, served, report));
        }
    }
    let mut metrics = Vec::new();
    if !explicit.is_empty() {
        let data = Data::Histogram(Histogram { data_points: explicit, aggregation_temporality: delta });
        metrics.push(metric("http.server.request.duration", "s", "Duration of HTTP requests served", data));
    }
    if !exponential.is_empty() {
        let data = Data::ExponentialHistogram(ExponentialHistogram {
            data_points: exponential,
            aggregation_temporality: delta,
        });
        metrics.push(metric("rpc.server.duration", "s", "Duration of calls and messages served", data));
    }
    metrics
}

fn exponential_point(
    attributes: Vec<KeyValue>,
    served: Served,
    report: &Report,
) -> ExponentialHistogramDataPoint {
    let offset = served.doublings.keys().next().copied().unwrap_or(0);
    let last = served.doublings.keys().next_back().copied().unwrap_or(0);
    let bucket_counts = (offset..=last).map(|i| served.doublings.get(&i).copied().unwrap_or(0)).collect();
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: report.last as u64,
        time_unix_nano: report.now as u64,
        count: served.count,
        sum: Some(served.sum_s),
        scale: SCALE,
        zero_count: 0,
        positive: Some(Buckets { offset, bucket_counts }),
        negative: None,
        flags: 0,
        exemplars: served.exemplar.into_iter().collect(),
        min: Some(served.min_s),
        max: Some(served.max_s),
        zero_threshold: 0.0,
    }
}

fn collector_pauses(dice: &mut Dice, report: &Report) -> Metric {
    use number_data_point::Value::AsDouble;
    let points = ["minor", "major"]
        .map(|kind| report.number(AsDouble(dice.unit() * 0.01), vec![text("gc.kind", kind)], 0));
    gauge("process.runtime.gc.pause", "s", "Longest pause since the last report", points.into())
}

/// Creates a summary, as old client libraries still send them.
fn queue_summary(dice: &mut Dice, report: &Report) -> Metric {
    let count = dice.between(1, 4000);
    let median = 0.0004 + dice.unit() * 0.002;
    let quantile_values = [(0.5, 1.0), (0.9, 2.6), (0.99, 9.0), (1.0, 31.0)]
        .iter()
        .map(|(quantile, factor)| ValueAtQuantile { quantile: *quantile, value: median * factor })
        .collect();
    let point = SummaryDataPoint {
        attributes: vec![text("queue", "requests")],
        start_time_unix_nano: report.first as u64,
        time_unix_nano: report.now as u64,
        count,
        sum: median * 1.4 * count as f64,
        quantile_values,
        flags: 0,
    };
    metric(
        "queue.wait",
        "s",
        "Time that requests waited for a worker",
        Data::Summary(Summary { data_points: vec![point] }),
    )
}

/// Index `i` of the bucket `(2^i, 2^(i+1)]` that contains `seconds`.
fn doubling(seconds: f64) -> i32 {
    let exponent = ((seconds.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    if seconds.to_bits().trailing_zeros() >= 52 { exponent - 1 } else { exponent }
}

/// Number of data points of `metric`.
fn points(metric: &Metric) -> u64 {
    (match &metric.data {
        Some(Data::Gauge(d)) => d.data_points.len(),
        Some(Data::Sum(d)) => d.data_points.len(),
        Some(Data::Histogram(d)) => d.data_points.len(),
        Some(Data::ExponentialHistogram(d)) => d.data_points.len(),
        Some(Data::Summary(d)) => d.data_points.len(),
        None => 0,
    }) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_open_below_and_closed_above() {
        assert_eq!(doubling(0.3), -2);
        assert_eq!(doubling(0.5), -2);
        assert_eq!(doubling(0.51), -1);
        assert_eq!(doubling(1.0), -1);
        assert_eq!(doubling(3.9), 1);
    }
}
