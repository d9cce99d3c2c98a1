//! When, in which order and in which batches do events arrive?
//!
//! ```text
//! pod ──▶ (a few seconds of batching) ──▶ collector of its region ──▶ one OTLP request of ≤ 800 items
//!    └──▶ (0.4 % of the spans: two to eight minutes) ────────────────▶
//! ```
//! Items wait here until the generator's clock passes their time of arrival. Then they are sent in order of arrival,
//! grouped by resource and scope as in OTLP. Memory is bounded by the items in flight.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::dice::Dice;
use super::fleet::Fleet;
use super::shop::{REGIONS, SERVICES};
use super::world::Library;
use super::{DemoPayload, DemoRequest, Planted};

/// Most items in one request of a collector.
const REQUEST_ITEMS_MAX: u64 = 800;
/// Share of spans that arrive minutes late.
const LATE: f64 = 0.004;
const SECOND_NS: i64 = 1_000_000_000;
/// Version of the semantic conventions of the attributes.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.34.0";

/// All items in flight.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: Vec<Item>,
    serial: u64,
    /// Number of events taken so far.
    pub(super) produced: u64,
    pub(super) planted: Planted,
}

#[derive(Debug)]
struct Item {
    arrival_ns: i64,
    serial: u64,
    pod: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Span(usize, Box<Span>),
    Log(usize, Box<LogRecord>),
    Metrics(u64, Vec<Metric>),
}

/// An item that a pod hands over to be sent.
#[derive(Debug)]
pub(super) struct Emitted<T> {
    pub(super) pod: usize,
    /// Time by the true clock, not the pod's; of a span, its end.
    pub(super) at_ns: i64,
    pub(super) item: T,
}

impl Outbox {
    /// Takes a span that `library` recorded.
    pub(super) fn span(&mut self, dice: &mut Dice, fleet: &Fleet, library: Library, emitted: Emitted<Span>) {
        let Emitted { pod, at_ns, item: span } = emitted;
        let late = dice.chance(LATE);
        let delay = if late { dice.between(120, 480) as i64 * SECOND_NS } else { 0 };
        self.planted.late_spans += u64::from(late);
        self.planted.skewed_spans += u64::from(fleet.pods[pod].skew_ns != 0);
        self.produced += 1 + span.events.len() as u64;
        let scope = Fleet::scope_index(SERVICES[fleet.pods[pod].service].language, library);
        self.push(at_ns + delay + export_delay(dice), pod, Body::Span(scope, Box::new(span)));
    }

    /// Takes a log record.
    pub(super) fn log(&mut self, dice: &mut Dice, fleet: &Fleet, emitted: Emitted<LogRecord>) {
        let Emitted { pod, at_ns, item: record } = emitted;
        self.produced += 1;
        let scope = Fleet::scope_index(SERVICES[fleet.pods[pod].service].language, Library::Application);
        self.push(at_ns + export_delay(dice), pod, Body::Log(scope, Box::new(record)));
    }

    /// Takes metrics with `points` data points.
    pub(super) fn metrics(&mut self, dice: &mut Dice, points: u64, emitted: Emitted<Vec<Metric>>) {
        let Emitted { pod, at_ns, item: metrics } = emitted;
        self.produced += points;
        self.push(at_ns + export_delay(dice), pod, Body::Metrics(points, metrics));
    }

    fn push(&mut self, arrival_ns: i64, pod: usize, body: Body) {
        self.serial += 1;
        self.pending.push(Item { arrival_ns, serial: self.serial, pod, body });
    }

    /// Removes the items that arrive before `until_ns` and returns them as requests, in order of arrival.
    pub(super) fn release(&mut self, until_ns: i64, fleet: &Fleet) -> Vec<DemoRequest> {
        let mut due = Vec::with_capacity(self.pending.len());
        let mut kept = Vec::new();
        for item in self.pending.drain(..) {
            if item.arrival_ns < until_ns { due.push(item) } else { kept.push(item) }
        }
        self.pending = kept;
        due.sort_unstable_by_key(|item| (item.arrival_ns, item.serial));
        let mut done = Vec::new();
        let mut collectors: Vec<Collector> = REGIONS.iter().map(|_| Collector::default()).collect();
        for item in due {
            let collector = &mut collectors[fleet.pods[item.pod].region];
            collector.take(item, fleet, &mut done);
        }
        for collector in &mut collectors {
            collector.send(&mut done);
        }
        done.sort_by_key(|request| request.arrival_ns);
        done
    }
}

fn export_delay(dice: &mut Dice) -> i64 {
    dice.time(SECOND_NS / 10, 5 * SECOND_NS)
}

/// Collector of one region with its unfinished requests.
#[derive(Debug, Default)]
struct Collector {
    spans: Batch<ResourceSpans>,
    logs: Batch<ResourceLogs>,
    metrics: Batch<ResourceMetrics>,
}

#[derive(Debug)]
struct Batch<R> {
    groups: Vec<R>,
    by_pod: HashMap<usize, usize>,
    items: u64,
    events: u64,
    arrival_ns: i64,
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self { groups: Vec::new(), by_pod: HashMap::new(), items: 0, events: 0, arrival_ns: 0 }
    }
}

impl<R> Batch<R> {
    /// Counts an item with `events` events, and returns the group of `pod`, created by `begin` if it is new.
    fn group(&mut self, pod: usize, arrival_ns: i64, events: u64, begin: impl FnOnce() -> R) -> &mut R {
        self.items += 1;
        self.events += events;
        self.arrival_ns = arrival_ns;
        let next = self.groups.len();
        let index = *self.by_pod.entry(pod).or_insert(next);
        if index == next {
            self.groups.push(begin());
        }
        &mut self.groups[index]
    }

    /// Moves the items of the batch into a request, if there are any.
    fn send(&mut self, done: &mut Vec<DemoRequest>, payload: impl FnOnce(Vec<R>) -> DemoPayload) {
        if self.items > 0 {
            let batch = std::mem::take(self);
            let (events, arrival_ns) = (batch.events, batch.arrival_ns);
            done.push(DemoRequest { arrival_ns, events, payload: payload(batch.groups) });
        }
    }
}

fn of_spans(resource_spans: Vec<ResourceSpans>) -> DemoPayload {
    DemoPayload::Traces(ExportTraceServiceRequest { resource_spans })
}

fn of_logs(resource_logs: Vec<ResourceLogs>) -> DemoPayload {
    DemoPayload::Logs(ExportLogsServiceRequest { resource_logs })
}

fn of_metrics(resource_metrics: Vec<ResourceMetrics>) -> DemoPayload {
    DemoPayload::Metrics(ExportMetricsServiceRequest { resource_metrics })
}

impl Collector {
    fn take(&mut self, item: Item, fleet: &Fleet, done: &mut Vec<DemoRequest>) {
        let Item { arrival_ns, pod, body, .. } = item;
        let resource = || Some(fleet.pods[pod].resource.clone());
        match body {
            Body::Span(scope, span) => {
                let group =
                    self.spans.group(pod, arrival_ns, 1 + span.events.len() as u64, || ResourceSpans {
                        resource: resource(),
                        scope_spans: Vec::new(),
                        schema_url: SCHEMA_URL.to_owned(),
                    });
                let scope = fleet.scope(scope);
                let same = |s: &ScopeSpans| s.scope.as_ref().is_some_and(|s| s.name == scope.name);
                if let Some(scope_spans) = group.scope_spans.iter_mut().find(|s| same(s)) {
                    scope_spans.spans.push(*span);
                } else {
                    let (scope, spans) = (Some(scope.clone()), vec![*span]);
                    group.scope_spans.push(ScopeSpans { scope, spans, schema_url: String::new() });
                }
                if self.spans.items >= REQUEST_ITEMS_MAX {
                    self.spans.send(done, of_spans);
                }
            }
            Body::Log(scope, record) => {
                let group = self.logs.group(pod, arrival_ns, 1, || ResourceLogs {
                    resource: resource(),
                    scope_logs: vec![ScopeLogs {
                        scope: Some(fleet.scope(scope).clone()),
                        log_records: Vec::new(),
                        schema_url: String::new(),
                    }],
                    schema_url: SCHEMA_URL.to_owned(),
                });
                group.scope_logs[0].log_records.push(*record);
                if self.logs.items >= REQUEST_ITEMS_MAX {
                    self.logs.send(done, of_logs);
                }
            }
            Body::Metrics(points, metrics) => {
                let group = self.metrics.group(pod, arrival_ns, points, || ResourceMetrics {
                    resource: resource(),
                    scope_metrics: vec![ScopeMetrics::default()],
                    schema_url: SCHEMA_URL.to_owned(),
                });
                group.scope_metrics[0].metrics.extend(metrics);
                if self.metrics.events >= REQUEST_ITEMS_MAX {
                    self.metrics.send(done, of_metrics);
                }
            }
        }
    }

    fn send(&mut self, done: &mut Vec<DemoRequest>) {
        self.spans.send(done, of_spans);
        self.logs.send(done, of_logs);
        self.metrics.send(done, of_metrics);
    }
}
