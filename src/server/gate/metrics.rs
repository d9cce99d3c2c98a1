//! Metrics of messages and questions: numbers, outcomes and durations.
//!
//! All protocols use the same labels. The label `outcome` is `ok`, the [name](ErrorKind::name) of the error's kind,
//! or, for questions, `abandoned` when the client left before the end.
//!
//! The registry belongs to one server; nothing is global, so two servers in one process count separately.

use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Protocol;
use crate::db::{Database, DutyState};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::otlp::RequestKind;

/// Protocol and signal of a producer's message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Channel {
    protocol: &'static str,
    signal: &'static str,
}

/// A [`Channel`] and the outcome of the message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageOutcome {
    protocol: &'static str,
    signal: &'static str,
    outcome: &'static str,
}

/// Protocol and outcome of a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuestionOutcome {
    protocol: &'static str,
    outcome: &'static str,
}

/// Request over HTTP. All three labels have fixed sets of values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpRequest {
    route: &'static str,
    method: &'static str,
    status: u16,
}

/// Outcome of success.
pub(super) const OK: &str = "ok";
/// Outcome of a question whose client left before the end.
pub(super) const ABANDONED: &str = "abandoned";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeptOut {
    kind: &'static str,
}

/// Counters and gauges of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    http_requests: Family<HttpRequest, Counter>,
    kept_out: Family<KeptOut, Counter>,
    ingest_requests: Family<MessageOutcome, Counter>,
    ingest_events: Family<Channel, Counter>,
    ingest_duplicates: Family<Channel, Counter>,
    ingest_rejected: Family<Channel, Counter>,
    ingest_bytes: Family<Channel, Counter>,
    ingest_seconds: Histogram,
    in_flight_bytes: Gauge,
    queries: Family<QuestionOutcome, Counter>,
    query_seconds: Histogram,
    queries_running: Gauge,
}

/// Counts of one accepted message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Events accepted.
    pub(super) events: u64,
    /// Events that were stored before, as the message was redelivered.
    pub(super) duplicates: u64,
    /// Records refused, one by one.
    pub(super) rejected: u64,
    /// Bytes of the message, decompressed.
    pub(super) bytes: u64,
}

impl Metrics {
    /// Creates the metrics of a server of `database`, at zero.
    pub(super) fn new(database: Database) -> Self {
        let mut registry = Registry::with_prefix("broadloom");
        // From 0.5 ms to 65 s.
        let durations = || Histogram::new(exponential_buckets(0.0005, 2.0, 18));
        let metrics = Self {
            registry: Registry::default(),
            http_requests: Family::default(),
            kept_out: Family::default(),
            ingest_requests: Family::default(),
            ingest_events: Family::default(),
            ingest_duplicates: Family::default(),
            ingest_rejected: Family::default(),
            ingest_bytes: Family::default(),
            ingest_seconds: durations(),
            in_flight_bytes: Gauge::default(),
            queries: Family::default(),
            query_seconds: durations(),
            queries_running: Gauge::default(),
        };
        let r = &mut registry;
        r.register("http_requests", "Requests answered, by route", metrics.http_requests.clone());
        r.register(
            "kept_out",
            "Requests refused because of missing credentials or rights",
            metrics.kept_out.clone(),
        );
        r.register("ingest_requests", "Messages of producers, by outcome", metrics.ingest_requests.clone());
        r.register("ingest_events", "Events accepted", metrics.ingest_events.clone());
        r.register(
            "ingest_duplicates",
            "Events of redelivered messages, which were stored before",
            metrics.ingest_duplicates.clone(),
        );
        r.register(
            "ingest_rejected",
            "Records refused within accepted messages",
            metrics.ingest_rejected.clone(),
        );
        r.register_with_unit(
            "ingest",
            "Size of messages, unpacked",
            Unit::Bytes,
            metrics.ingest_bytes.clone(),
        );
        r.register_with_unit(
            "ingest_duration",
            "Time from the whole message's arrival until its events are durable",
            Unit::Seconds,
            metrics.ingest_seconds.clone(),
        );
        r.register_with_unit(
            "in_flight",
            "Memory of messages that are not durable yet",
            Unit::Bytes,
            metrics.in_flight_bytes.clone(),
        );
        r.register("queries", "Queries answered, by outcome", metrics.queries.clone());
        r.register_with_unit(
            "query_duration",
            "Time from the request until the client took the last row",
            Unit::Seconds,
            metrics.query_seconds.clone(),
        );
        r.register("queries_running", "Queries running", metrics.queries_running.clone());
        r.register_collector(Box::new(OfDatabase(database)));
        Self { registry, ..metrics }
    }

    /// Counts a request over HTTP, gRPC included, whose answer has begun.
    pub(super) fn http_answered(&self, route: &'static str, method: &'static str, status: u16) {
        self.http_requests.get_or_create(&HttpRequest { route, method, status }).inc();
    }

    /// Counts a request that was refused because of its credentials or rights.
    pub(super) fn kept_out(&self, kind: &'static str) {
        self.kept_out.get_or_create(&KeptOut { kind }).inc();
    }

    /// Counts an accepted message.
    pub(super) fn received(&self, protocol: Protocol, kind: RequestKind, received: Received, took: Duration) {
        let channel = Channel { protocol: protocol.name(), signal: signal_name(kind) };
        self.ingest_events.get_or_create(&channel).inc_by(received.events);
        self.ingest_duplicates.get_or_create(&channel).inc_by(received.duplicates);
        self.ingest_rejected.get_or_create(&channel).inc_by(received.rejected);
        self.ingest_bytes.get_or_create(&channel).inc_by(received.bytes);
        self.ingest_seconds.observe(took.as_secs_f64());
        self.answered(protocol, kind, OK);
    }

    /// Counts a message that was refused as a whole.
    pub(super) fn refused(&self, protocol: Protocol, kind: RequestKind, why: ErrorKind) {
        self.answered(protocol, kind, why.name());
    }

    fn answered(&self, protocol: Protocol, kind: RequestKind, outcome: &'static str) {
        let answer = MessageOutcome { protocol: protocol.name(), signal: signal_name(kind), outcome };
        self.ingest_requests.get_or_create(&answer).inc();
    }

    /// Counts a question that begins.
    pub(super) fn asked(&self) {
        self.queries_running.inc();
    }

    /// Counts a question that has ended.
    pub(super) fn ended(&self, protocol: Protocol, outcome: &'static str, took: Duration) {
        self.queries_running.dec();
        // A tail takes as long as somebody looks.
        if protocol != Protocol::Tail {
            self.query_seconds.observe(took.as_secs_f64());
        }
        self.queries.get_or_create(&QuestionOutcome { protocol: protocol.name(), outcome }).inc();
    }

    /// All metrics as text. `in_flight_bytes` is the memory of messages now.
    pub(super) fn encode(&self, in_flight_bytes: usize) -> Result<String> {
        self.in_flight_bytes.set(in_flight_bytes as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry)
            .map_err(|e| Error::internal("metrics cannot be written").with_source(e))?;
        Ok(text)
    }
}

/// Collector of the database's own statistics, read on each scrape.
#[derive(Debug)]
struct OfDatabase(Database);

impl Collector for OfDatabase {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let stats = self.0.stats();
        let gauges: [(&str, &str, Option<Unit>, u64); 10] = [
            ("events", "Events, in segments and buffer", None, stats.events),
            ("segments", "Segments", None, stats.segments),
            ("segment", "Size of the segments", Some(Unit::Bytes), stats.segment_bytes),
            ("catalog_version", "Version of the catalog", None, stats.catalog_version),
            ("buffer_events", "Events that are durable and not yet in a segment", None, stats.buffer_events),
            ("buffer", "Memory of the buffer", Some(Unit::Bytes), stats.buffer_bytes),
            ("attribute_keys", "Known attribute keys", None, stats.attribute_keys),
            ("index", "Memory of open indexes and bitmaps", Some(Unit::Bytes), stats.index_bytes),
            ("masked_events", "Deleted or expired events that are still in files", None, stats.masked_events),
            ("wal_files", "Files of the write-ahead log", None, stats.wal_files),
        ];
        for (name, help, unit, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        let maintenance = stats.maintenance;
        let counters: [(&str, &str, Option<Unit>, u64); 11] = [
            ("flushes", "Segments made from the buffer", None, stats.flushes),
            ("wal_batches", "Batches made durable", None, stats.wal_batches),
            ("wal", "Bytes written to the write-ahead log", Some(Unit::Bytes), stats.wal_bytes),
            ("fsyncs", "Calls of fsync", None, stats.fsyncs),
            ("cache_hits", "Object store blocks found in the local cache", None, stats.cache_hits),
            ("cache_misses", "Blocks fetched from the object store", None, stats.cache_misses),
            ("compactions", "Merges of segments", None, maintenance.compactions),
            ("compacted_events", "Events rewritten by merges", None, maintenance.compacted_rows),
            ("compacted", "Bytes written by merges", Some(Unit::Bytes), maintenance.compacted_bytes),
            ("expired_events", "Events that retention has removed", None, maintenance.expired_rows),
            ("removed_objects", "Unreferenced objects deleted", None, maintenance.removed_objects),
        ];
        for (name, help, unit, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, unit.as_ref(), counter.metric_type())?)?;
        }
        self.encode_duties(&mut encoder)
    }
}

impl OfDatabase {
    /// Writes the state of each maintenance duty.
    fn encode_duties(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (duties, now_ns) = (self.0.duties(), self.0.settings().clock.now_ns());
        let label = |state: &DutyState| [("duty", state.duty.to_string())];
        let (name, help) = ("maintenance_failures", "Failed attempts, by duty");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for state in &duties {
            ConstCounter::new(state.failures).encode(family.encode_family(&label(state))?)?;
        }
        let (name, help) = (
            "maintenance_failing",
            "Time since the first of the current failures in a row; zero when the duty works",
        );
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for state in &duties {
            let seconds = state.failing_for(now_ns).as_secs_f64();
            ConstGauge::new(seconds).encode(family.encode_family(&label(state))?)?;
        }
        Ok(())
    }
}

fn signal_name(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Traces => "traces",
        RequestKind::Logs => "logs",
        RequestKind::Metrics => "metrics",
    }
}
