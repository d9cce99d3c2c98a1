//! How many messages and questions, how they ended, and how long they took.
//!
//! Every protocol counts in the same words. The label `outcome` is `ok`, the [name](ErrorKind::name) of the kind of
//! the error, or for questions `abandoned`, when the client left before the end.
//!
//! The registry belongs to one server; nothing is global, so two servers in one process count apart.

use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Protocol;
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::otlp::RequestKind;

/// How a producer's message arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Channel {
    protocol: &'static str,
    signal: &'static str,
}

/// A [`Channel`] and how the message ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageOutcome {
    protocol: &'static str,
    signal: &'static str,
    outcome: &'static str,
}

/// How a question arrived, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuestionOutcome {
    protocol: &'static str,
    outcome: &'static str,
}

/// The outcome of what went well.
pub(super) const OK: &str = "ok";
/// The outcome of a question whose client left before the end.
pub(super) const ABANDONED: &str = "abandoned";

/// Counters and gauges of one server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
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

/// What a message amounted to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
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
        r.register("ingest_requests", "Messages of producers, by outcome", metrics.ingest_requests.clone());
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
        r.register("queries", "Questions answered, by outcome", metrics.queries.clone());
        r.register_with_unit(
            "query_duration",
            "From the question to the last row that the client took",
            Unit::Seconds,
            metrics.query_seconds.clone(),
        );
        r.register("queries_running", "Questions being answered now", metrics.queries_running.clone());
        r.register_collector(Box::new(OfDatabase(database)));
        Self { registry, ..metrics }
    }

    /// Counts a message that was taken.
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
        self.query_seconds.observe(took.as_secs_f64());
        self.queries.get_or_create(&QuestionOutcome { protocol: protocol.name(), outcome }).inc();
    }

    /// Everything as text, while messages of so many bytes are in memory.
    pub(super) fn encode(&self, in_flight_bytes: usize) -> Result<String> {
        self.in_flight_bytes.set(in_flight_bytes as i64);
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
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
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
