//! The server about itself: `GET /metrics` in the Prometheus text format (OpenMetrics).
//!
//! The registry belongs to one server; nothing is global, so two servers in one process count apart.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::content::accepted;
use super::problem::Problem;
use super::receive::Protocol;
use super::state::ServerState;
use crate::db::{Database, DutyState};
use crate::error::Error;
use crate::ingest::otlp::RequestKind;

/// How a producer's message arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Channel {
    protocol: &'static str,
    signal: &'static str,
}

/// A [`Channel`] and the HTTP status of the answer (for gRPC, of what HTTP would have answered).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    protocol: &'static str,
    signal: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

/// Counters and gauges of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    ingest_requests: Family<Answer, Counter>,
    ingest_events: Family<Channel, Counter>,
    ingest_duplicates: Family<Channel, Counter>,
    ingest_rejected: Family<Channel, Counter>,
    ingest_bytes: Family<Channel, Counter>,
    ingest_seconds: Histogram,
    in_flight_bytes: Gauge,
    queries: Family<Status, Counter>,
    query_seconds: Histogram,
    queries_running: Gauge,
}

/// What a delivery amounted to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    /// Events taken in.
    pub(super) events: u64,
    /// Events of a message that had been taken in before.
    pub(super) duplicates: u64,
    /// Records refused, one by one.
    pub(super) rejected: u64,
    /// Bytes of the message as it arrived.
    pub(super) bytes: u64,
}

impl Metrics {
    /// All metrics of a server of `database`, at zero.
    pub(super) fn new(database: Database) -> Self {
        let mut registry = Registry::with_prefix("broadloom");
        // From 0.5 ms to 65 s.
        let durations = || Histogram::new(exponential_buckets(0.0005, 2.0, 18));
        let metrics = Self {
            registry: Registry::default(),
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
        r.register("ingest_requests", "Messages of producers, by answer", metrics.ingest_requests.clone());
        r.register("ingest_events", "Events taken in", metrics.ingest_events.clone());
        r.register(
            "ingest_duplicates",
            "Events of messages that had been taken in before",
            metrics.ingest_duplicates.clone(),
        );
        r.register(
            "ingest_rejected",
            "Records refused in messages that were taken",
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
            "From the whole message to durable",
            Unit::Seconds,
            metrics.ingest_seconds.clone(),
        );
        r.register_with_unit(
            "in_flight",
            "Requests held in memory now",
            Unit::Bytes,
            metrics.in_flight_bytes.clone(),
        );
        r.register("queries", "Statements answered, by HTTP status", metrics.queries.clone());
        r.register_with_unit(
            "query_duration",
            "From the statement to the last byte of the answer",
            Unit::Seconds,
            metrics.query_seconds.clone(),
        );
        r.register("queries_running", "Statements being answered now", metrics.queries_running.clone());
        r.register_collector(Box::new(OfDatabase(database)));
        Self { registry, ..metrics }
    }

    /// Counts a message that was taken.
    pub(super) fn received(&self, protocol: Protocol, kind: RequestKind, tally: Tally, took: Duration) {
        let channel = Channel { protocol: protocol_name(protocol), signal: signal_name(kind) };
        self.ingest_events.get_or_create(&channel).inc_by(tally.events);
        self.ingest_duplicates.get_or_create(&channel).inc_by(tally.duplicates);
        self.ingest_rejected.get_or_create(&channel).inc_by(tally.rejected);
        self.ingest_bytes.get_or_create(&channel).inc_by(tally.bytes);
        self.ingest_seconds.observe(took.as_secs_f64());
        self.answered(protocol, kind, 200);
    }

    /// Counts a message that was refused as a whole.
    pub(super) fn refused(&self, protocol: Protocol, kind: RequestKind, problem: &Problem) {
        self.answered(protocol, kind, problem.status().as_u16());
    }

    fn answered(&self, protocol: Protocol, kind: RequestKind, status: u16) {
        let answer = Answer { protocol: protocol_name(protocol), signal: signal_name(kind), status };
        self.ingest_requests.get_or_create(&answer).inc();
    }

    /// A statement begins; the guard counts it when it is dropped.
    pub(super) fn query(self: &Arc<Self>) -> RunningQuery {
        self.queries_running.inc();
        RunningQuery { metrics: Arc::clone(self), began: tokio::time::Instant::now(), status: CLIENT_CLOSED }
    }

    /// Everything as text.
    fn encode(&self, state: &ServerState) -> Result<String, Error> {
        self.in_flight_bytes.set(state.budget.bytes() as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry)
            .map_err(|e| Error::internal("metrics cannot be written").with_source(e))?;
        Ok(text)
    }
}

/// What the database counts itself, read when it is asked for.
#[derive(Debug)]
struct OfDatabase(Database);

impl Collector for OfDatabase {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = self.0.stats();
        let gauges: [(&str, &str, Option<Unit>, u64); 10] = [
            ("events", "Events, in segments and buffer", None, stats.events),
            ("segments", "Segments", None, stats.segments),
            ("segment", "Size of the segments", Some(Unit::Bytes), stats.segment_bytes),
            ("catalog_version", "Version of the catalog", None, stats.catalog_version),
            ("buffer_events", "Events that are durable and not yet in a segment", None, stats.buffer_events),
            ("buffer", "Memory of the buffer", Some(Unit::Bytes), stats.buffer_bytes),
            ("attribute_keys", "Attribute keys that are known", None, stats.attribute_keys),
            ("index", "Memory of open indexes and bitmaps", Some(Unit::Bytes), stats.index_bytes),
            ("masked_events", "Events deleted or expired and still in files", None, stats.masked_events),
            ("wal_files", "Files of the write-ahead log", None, stats.wal_files),
        ];
        for (name, help, unit, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        let maintenance = stats.maintenance;
        let counters: [(&str, &str, Option<Unit>, u64); 11] = [
            ("flushes", "Segments made of the buffer", None, stats.flushes),
            ("wal_batches", "Batches made durable", None, stats.wal_batches),
            ("wal", "Written to the write-ahead log", Some(Unit::Bytes), stats.wal_bytes),
            ("fsyncs", "Calls of fsync", None, stats.fsyncs),
            ("cache_hits", "Blocks of a store that were kept on this machine", None, stats.cache_hits),
            ("cache_misses", "Blocks that were fetched from a store", None, stats.cache_misses),
            ("compactions", "Merges of segments", None, maintenance.compactions),
            (
                "compacted_events",
                "Events that were written again by merges",
                None,
                maintenance.compacted_rows,
            ),
            ("compacted", "Written by merges", Some(Unit::Bytes), maintenance.compacted_bytes),
            ("expired_events", "Events that retention has removed", None, maintenance.expired_rows),
            (
                "removed_objects",
                "Objects deleted because nothing needed them any more",
                None,
                maintenance.removed_objects,
            ),
        ];
        for (name, help, unit, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, unit.as_ref(), counter.metric_type())?)?;
        }
        self.encode_duties(&mut encoder)
    }
}

impl OfDatabase {
    /// How each maintenance duty is doing.
    fn encode_duties(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (duties, now_ns) = (self.0.duties(), self.0.settings().clock.now_ns());
        let label = |state: &DutyState| [("duty", state.duty.to_string())];
        let (name, help) = ("maintenance_failures", "Failed attempts, by duty");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for state in &duties {
            ConstCounter::new(state.failures).encode(family.encode_family(&label(state))?)?;
        }
        let (name, help) =
            ("maintenance_failing", "Time since the first failure in a row; zero when it works");
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for state in &duties {
            let seconds = state.failing_for(now_ns).as_secs_f64();
            ConstGauge::new(seconds).encode(family.encode_family(&label(state))?)?;
        }
        Ok(())
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "otlp_grpc",
        Protocol::Http => "otlp_http",
    }
}

fn signal_name(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Traces => "traces",
        RequestKind::Logs => "logs",
        RequestKind::Metrics => "metrics",
    }
}

/// The status under which a statement is counted whose client left before the end; nginx's number.
const CLIENT_CLOSED: u16 = 499;

/// A statement that is being answered.
#[derive(Debug)]
pub(super) struct RunningQuery {
    metrics: Arc<Metrics>,
    began: tokio::time::Instant,
    status: u16,
}

impl RunningQuery {
    /// Says how it ended; without this it counts as left by the client.
    pub(super) fn ended(&mut self, status: u16) {
        self.status = status;
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.metrics.queries_running.dec();
        self.metrics.query_seconds.observe(self.began.elapsed().as_secs_f64());
        self.metrics.queries.get_or_create(&Status { status: self.status }).inc();
    }
}

/// `GET /metrics`: OpenMetrics to whom asks for it, and to others the same lines as what they also are,
/// the older Prometheus text format (where `# UNIT` and `# EOF` are comments).
pub(super) async fn get(State(state): State<ServerState>, headers: HeaderMap) -> Result<Response, Problem> {
    let text = state.metrics.encode(&state)?;
    let open_metrics = accepted(&headers).iter().any(|media| media == "application/openmetrics-text");
    let kind = if open_metrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::duties::with_a_failing_rule;
    use crate::server::state::Limits;

    #[tokio::test]
    async fn duties_that_fail_are_counted_by_name() {
        let (database, _directory) = with_a_failing_rule().await;
        let state = ServerState::new(database, Limits::default());
        let text = state.metrics.encode(&state).unwrap();
        for line in [
            "broadloom_maintenance_failures_total{duty=\"retention_rule_1\"} 0",
            "broadloom_maintenance_failures_total{duty=\"retention_rule_2\"} 1",
            "broadloom_maintenance_failing_seconds{duty=\"retention_rule_1\"} 0.0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
