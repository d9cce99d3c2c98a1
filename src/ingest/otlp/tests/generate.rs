//! Generator of odd but valid requests.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Keys with a meaning elsewhere, or with characters that need escapes.
const KEYS: [&str; 26] = [
    "",
    "name",
    "resource.x",
    "attributes.y",
    "attributes.",
    "scope.name",
    "body",
    "body.a",
    "trace_id",
    "overflow",
    "typed_attributes",
    "service.name",
    "http.route",
    "a.b",
    "a",
    "we\"ird",
    "new\nline",
    "ünï☃",
    "$bytes",
    "$$double",
    "SampleRate",
    "attributes['k']",
    "schema_url",
    "resource.schema_url",
    "A",
    "\u{0}",
];

const TEXTS: [&str; 9] = [
    "",
    "x",
    "a text of more than twelve bytes",
    "\"quoted\\\"",
    "ünï☃\u{10ffff}",
    "\u{0}\u{1f}\n",
    "null",
    "{\"a\":1}",
    "12",
];

/// Makes requests from a seed.
pub(crate) struct Generator {
    rng: ChaCha8Rng,
    /// True if doubles may be NaN or infinite, which JSON numbers cannot express.
    non_finite: bool,
    next_id: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), non_finite: true, next_id: 1 }
    }

    pub(super) fn finite(seed: u64) -> Self {
        Self { non_finite: false, ..Self::new(seed) }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }

    fn many<T>(&mut self, max: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let n = self.rng.random_range(0..=max);
        (0..n).map(|_| make(self)).collect()
    }

    fn text(&mut self) -> String {
        (*TEXTS.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn key(&mut self) -> String {
        if self.chance(100) {
            return "k".repeat(10_000);
        }
        (*KEYS.choose(&mut self.rng).unwrap()).to_owned()
    }

    fn double(&mut self) -> f64 {
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let ordinary = [0.0, -0.0, 1.0, 0.1, -2.5e-300, f64::MAX, 5e-324, 1e21];
        if self.non_finite && self.chance(5) {
            *special.choose(&mut self.rng).unwrap()
        } else {
            *ordinary.choose(&mut self.rng).unwrap()
        }
    }

    fn int(&mut self) -> i64 {
        *[0, 1, -1, 200, i64::MAX, i64::MIN, 1 << 53].choose(&mut self.rng).unwrap()
    }

    fn unsigned(&mut self) -> u64 {
        *[0, 1, 7, 1 << 53, u64::MAX].choose(&mut self.rng).unwrap()
    }

    fn count(&mut self) -> u32 {
        *[0, 0, 1, u32::MAX].choose(&mut self.rng).unwrap()
    }

    /// Usually a number that the protocol names, in `0..names`.
    fn enumeration(&mut self, names: i32) -> i32 {
        if self.chance(8) {
            *[-1, 99, i32::MAX].choose(&mut self.rng).unwrap()
        } else {
            self.rng.random_range(0..names)
        }
    }

    fn time(&mut self) -> u64 {
        match self.rng.random_range(0..6) {
            0 => 0,
            1 => *[i64::MAX as u64 - 1, i64::MAX as u64, u64::MAX].choose(&mut self.rng).unwrap(),
            _ => self.rng.random_range(1..4_000_000_000_000_000_000),
        }
    }

    fn id<const N: usize>(&mut self) -> Vec<u8> {
        self.next_id += 1;
        let mut id = vec![0; N];
        id[N - 8..].copy_from_slice(&self.next_id.to_be_bytes());
        id
    }

    fn optional_id<const N: usize>(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..3) {
            0 => Vec::new(),
            1 => vec![0; N],
            _ => self.id::<N>(),
        }
    }

    fn value(&mut self, depth: usize) -> AnyValue {
        use any_value::Value as V;
        let value = match self.rng.random_range(0..if depth > 0 { 10 } else { 7 }) {
            0 => None,
            1 | 2 => Some(V::StringValue(self.text())),
            3 => Some(V::BoolValue(self.chance(2))),
            4 => Some(V::IntValue(self.int())),
            5 => Some(V::DoubleValue(self.double())),
            6 => Some(V::BytesValue(self.many(3, |g| g.rng.random()))),
            7 => Some(V::ArrayValue(ArrayValue { values: self.many(3, |g| g.value(depth - 1)) })),
            _ => Some(V::KvlistValue(KeyValueList { values: self.attributes(depth - 1) })),
        };
        AnyValue { value }
    }

    fn attributes(&mut self, depth: usize) -> Vec<KeyValue> {
        let mut list =
            self.many(6, |g| KeyValue { key: g.key(), value: Some(g.value(depth)), ..KeyValue::default() });
        let mut seen = std::collections::HashSet::new();
        list.retain(|entry| seen.insert(entry.key.clone()));
        list
    }

    fn resource(&mut self) -> Option<Resource> {
        (!self.chance(6)).then(|| Resource {
            attributes: self.attributes(2),
            dropped_attributes_count: self.count(),
            entity_refs: if self.chance(3) { self.many(2, Self::entity) } else { Vec::new() },
        })
    }

    fn entity(&mut self) -> EntityRef {
        EntityRef {
            schema_url: self.text(),
            r#type: self.text(),
            id_keys: self.many(2, Self::key),
            description_keys: self.many(2, Self::key),
        }
    }

    fn scope(&mut self) -> Option<InstrumentationScope> {
        (!self.chance(6)).then(|| InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(1),
            dropped_attributes_count: self.count(),
        })
    }

    pub(crate) fn traces(&mut self) -> ExportTraceServiceRequest {
        let spans = |g: &mut Self| ScopeSpans {
            scope: g.scope(),
            spans: g.many(4, Self::span),
            schema_url: g.text(),
        };
        let group = |g: &mut Self| ResourceSpans {
            resource: g.resource(),
            scope_spans: g.many(3, spans),
            schema_url: g.text(),
        };
        ExportTraceServiceRequest { resource_spans: self.many(3, group) }
    }

    fn span(&mut self) -> Span {
        let states = ["", "ot=th:8", "a=b,ot=rv:1;th:fff", "garbage"];
        Span {
            trace_id: self.id::<16>(),
            span_id: self.id::<8>(),
            trace_state: (*states.choose(&mut self.rng).unwrap()).to_owned(),
            parent_span_id: self.optional_id::<8>(),
            flags: self.count(),
            name: self.text(),
            kind: self.enumeration(6),
            start_time_unix_nano: self.time(),
            end_time_unix_nano: self.time(),
            attributes: self.attributes(3),
            dropped_attributes_count: self.count(),
            events: self.many(3, Self::event),
            dropped_events_count: self.count(),
            links: self.many(2, Self::link),
            dropped_links_count: self.count(),
            status: (!self.chance(3)).then(|| Status { message: self.text(), code: self.enumeration(3) }),
        }
    }

    fn event(&mut self) -> Event {
        Event {
            time_unix_nano: self.time(),
            name: self.text(),
            attributes: self.attributes(1),
            dropped_attributes_count: self.count(),
        }
    }

    fn link(&mut self) -> Link {
        Link {
            trace_id: self.optional_id::<16>(),
            span_id: self.optional_id::<8>(),
            trace_state: self.text(),
            attributes: self.attributes(1),
            dropped_attributes_count: self.count(),
            flags: self.count(),
        }
    }

    pub(crate) fn logs(&mut self) -> ExportLogsServiceRequest {
        let logs = |g: &mut Self| ScopeLogs {
            scope: g.scope(),
            log_records: g.many(4, Self::log),
            schema_url: g.text(),
        };
        let group = |g: &mut Self| ResourceLogs {
            resource: g.resource(),
            scope_logs: g.many(3, logs),
            schema_url: g.text(),
        };
        ExportLogsServiceRequest { resource_logs: self.many(3, group) }
    }

    fn log(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.time(),
            observed_time_unix_nano: self.time(),
            severity_number: self.enumeration(25),
            severity_text: self.text(),
            body: (!self.chance(4)).then(|| self.value(4)),
            attributes: self.attributes(2),
            dropped_attributes_count: self.count(),
            flags: self.count(),
            trace_id: self.optional_id::<16>(),
            span_id: self.optional_id::<8>(),
            event_name: self.text(),
        }
    }

    pub(crate) fn metrics(&mut self) -> ExportMetricsServiceRequest {
        let metrics = |g: &mut Self| ScopeMetrics {
            scope: g.scope(),
            metrics: g.many(4, Self::metric),
            schema_url: g.text(),
        };
        let group = |g: &mut Self| ResourceMetrics {
            resource: g.resource(),
            scope_metrics: g.many(3, metrics),
            schema_url: g.text(),
        };
        ExportMetricsServiceRequest { resource_metrics: self.many(3, group) }
    }

    fn metric(&mut self) -> Metric {
        let data = match self.rng.random_range(0..6) {
            0 => None,
            1 => Some(Data::Gauge(Gauge { data_points: self.many(3, Self::number) })),
            2 => Some(Data::Sum(Sum {
                data_points: self.many(3, Self::number),
                aggregation_temporality: self.enumeration(3),
                is_monotonic: self.chance(2),
            })),
            3 => Some(Data::Histogram(Histogram {
                data_points: self.many(3, Self::histogram),
                aggregation_temporality: self.enumeration(3),
            })),
            4 => Some(Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.many(3, Self::exponential),
                aggregation_temporality: self.enumeration(3),
            })),
            _ => Some(Data::Summary(Summary { data_points: self.many(3, Self::summary) })),
        };
        let metadata = if self.chance(3) { self.attributes(1) } else { Vec::new() };
        Metric { name: self.text(), description: self.text(), unit: self.text(), metadata, data }
    }

    fn number(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            exemplars: self.many(2, Self::exemplar),
            flags: self.count(),
            value: match self.rng.random_range(0..3) {
                0 => None,
                1 => Some(number_data_point::Value::AsInt(self.int())),
                _ => Some(number_data_point::Value::AsDouble(self.double())),
            },
        }
    }

    fn exemplar(&mut self) -> Exemplar {
        Exemplar {
            filtered_attributes: self.attributes(1),
            time_unix_nano: self.time(),
            span_id: self.optional_id::<8>(),
            trace_id: self.optional_id::<16>(),
            value: match self.rng.random_range(0..3) {
                0 => None,
                1 => Some(exemplar::Value::AsInt(self.int())),
                _ => Some(exemplar::Value::AsDouble(self.double())),
            },
        }
    }

    fn maybe_double(&mut self) -> Option<f64> {
        (!self.chance(3)).then(|| self.double())
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.unsigned(),
            sum: self.maybe_double(),
            bucket_counts: self.many(4, Self::unsigned),
            explicit_bounds: self.many(4, Self::double),
            exemplars: self.many(2, Self::exemplar),
            flags: self.count(),
            min: self.maybe_double(),
            max: self.maybe_double(),
        }
    }

    fn exponential(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.unsigned(),
            sum: self.maybe_double(),
            scale: self.rng.random(),
            zero_count: self.unsigned(),
            positive: self.buckets(),
            negative: self.buckets(),
            flags: self.count(),
            exemplars: self.many(2, Self::exemplar),
            min: self.maybe_double(),
            max: self.maybe_double(),
            zero_threshold: self.double(),
        }
    }

    fn buckets(&mut self) -> Option<Buckets> {
        (!self.chance(3))
            .then(|| Buckets { offset: self.rng.random(), bucket_counts: self.many(4, Self::unsigned) })
    }

    fn summary(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.unsigned(),
            sum: self.double(),
            quantile_values: self.many(3, |g| ValueAtQuantile { quantile: g.double(), value: g.double() }),
            flags: self.count(),
        }
    }
}
