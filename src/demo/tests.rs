//! Does the corpus as a whole have the promised properties?

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;

const EVENTS: u64 = 40_000;

/// Generated once, because it is slow without optimisation.
static CORPUS: LazyLock<Corpus> = LazyLock::new(corpus);

struct Corpus {
    settings: DemoSettings,
    requests: Vec<DemoRequest>,
    planted: Planted,
}

fn corpus() -> Corpus {
    let settings = DemoSettings::new(1, EVENTS);
    let mut generator = Generator::new(settings);
    let requests = generator.by_ref().collect();
    Corpus { settings, requests, planted: generator.planted() }
}

fn bytes(request: &DemoRequest) -> Vec<u8> {
    match &request.payload {
        DemoPayload::Traces(r) => r.encode_to_vec(),
        DemoPayload::Logs(r) => r.encode_to_vec(),
        DemoPayload::Metrics(r) => r.encode_to_vec(),
    }
}

/// CRC-32C of all requests, encoded one after the other.
fn fingerprint(settings: DemoSettings) -> u32 {
    Generator::new(settings).fold(0, |crc, request| crc32c::crc32c_append(crc, &bytes(&request)))
}

impl Corpus {
    /// All spans with their resource's attributes.
    fn spans(&self) -> impl Iterator<Item = (&[KeyValue], &Span)> {
        self.requests.iter().flat_map(|request| {
            let groups = match &request.payload {
                DemoPayload::Traces(r) => r.resource_spans.as_slice(),
                _ => &[],
            };
            groups.iter().flat_map(|group| {
                let resource = group.resource.as_ref().map_or(&[][..], |r| r.attributes.as_slice());
                group.scope_spans.iter().flat_map(|s| &s.spans).map(move |span| (resource, span))
            })
        })
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn is_text(attributes: &[KeyValue], key: &str, wanted: &str) -> bool {
    matches!(value(attributes, key), Some(Value::StringValue(v)) if v == wanted)
}

fn starts_with(attributes: &[KeyValue], key: &str, wanted: &str) -> bool {
    matches!(value(attributes, key), Some(Value::StringValue(v)) if v.starts_with(wanted))
}

fn p99(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values[(values.len() - 1) * 99 / 100] as f64
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let settings = DemoSettings { seed: 11, events: 2_000, start_ns: DemoSettings::START_NS, minutes: 10 };
    assert_eq!(fingerprint(settings), fingerprint(settings));
    assert_ne!(fingerprint(settings), fingerprint(DemoSettings { seed: 12, ..settings }));
    // A change of the generator changes every corpus. If this number changes, mention it in the commit message.
    assert_eq!(fingerprint(settings), GOLDEN, "the corpus of seed 11 changed");
}

const GOLDEN: u32 = 468_109_795;

#[test]
fn requests_come_in_order_and_count_their_events() {
    let corpus = &*CORPUS;
    let mut last = i64::MIN;
    let mut total = 0;
    for request in &corpus.requests {
        assert!(request.arrival_ns >= last, "arrival goes back");
        last = request.arrival_ns;
        let events: u64 = match &request.payload {
            DemoPayload::Traces(r) => r
                .resource_spans
                .iter()
                .flat_map(|g| &g.scope_spans)
                .flat_map(|s| &s.spans)
                .map(|s| 1 + s.events.len() as u64)
                .sum(),
            DemoPayload::Logs(r) => {
                r.resource_logs.iter().flat_map(|g| &g.scope_logs).map(|s| s.log_records.len() as u64).sum()
            }
            DemoPayload::Metrics(r) => r
                .resource_metrics
                .iter()
                .flat_map(|g| &g.scope_metrics)
                .flat_map(|s| &s.metrics)
                .map(points)
                .sum(),
        };
        assert_eq!(events, request.events);
        total += events;
    }
    assert!((EVENTS..EVENTS + 1000).contains(&total), "{total} events");
}

fn points(metric: &opentelemetry_proto::tonic::metrics::v1::Metric) -> u64 {
    match metric.data.as_ref().unwrap() {
        Data::Gauge(d) => d.data_points.len() as u64,
        Data::Sum(d) => d.data_points.len() as u64,
        Data::Histogram(d) => d.data_points.len() as u64,
        Data::ExponentialHistogram(d) => d.data_points.len() as u64,
        Data::Summary(d) => d.data_points.len() as u64,
    }
}

#[test]
fn events_are_wide() {
    let corpus = &*CORPUS;
    let widths: Vec<usize> =
        corpus.spans().map(|(resource, span)| resource.len() + span.attributes.len()).collect();
    let wide = widths.iter().filter(|&&w| w >= 60).count();
    assert!(wide * 10 >= widths.len() * 9, "{wide} of {} spans have 60 attributes", widths.len());
    assert!(widths.iter().all(|&w| w <= 110), "the widest has {:?}", widths.iter().max());
    for (resource, span) in corpus.spans() {
        let keys: HashSet<&str> = span.attributes.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(
            keys.len(),
            span.attributes.len(),
            "a key occurs twice in {}: {:?}",
            span.name,
            span.attributes
        );
        let keys: HashSet<&str> = resource.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(keys.len(), resource.len(), "a key occurs twice in a resource");
    }
}

#[test]
fn the_incident_is_there_and_nowhere_else() {
    let corpus = &*CORPUS;
    let (mut hit, mut before, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (resource, span) in corpus.spans() {
        if !is_text(&span.attributes, "http.route", incident::ROUTE)
            || !is_text(resource, "service.name", "gateway")
        {
            continue;
        }
        let took = span.end_time_unix_nano - span.start_time_unix_nano;
        let ios17 = is_text(&span.attributes, "os.name", incident::OS_NAME)
            && starts_with(&span.attributes, "os.version", incident::OS_MAJOR);
        let here = is_text(resource, "cloud.region", incident::REGION);
        // Clocks are off by seconds: ignore a minute around the start.
        let began = corpus.settings.incident_ns() as u64;
        if span.start_time_unix_nano + 60_000_000_000 < began {
            before.push(took);
        } else if span.start_time_unix_nano > began + 10_000_000_000 {
            if ios17 && here { hit.push(took) } else { others.push(took) }
        }
    }
    assert!(hit.len() >= 6 && before.len() >= 80, "{} hit, {} before", hit.len(), before.len());
    let ratio = p99(hit) / p99(before.clone());
    assert!((10.0..40.0).contains(&ratio), "the 99th percentile is {ratio} times worse");
    assert!(p99(others) < 2.0 * p99(before), "others are as before");
    assert!(corpus.planted.incident_traces > 0);
}

#[test]
fn ids_are_unique_and_parents_exist_but_for_the_lost_ones() {
    let corpus = &*CORPUS;
    let mut ids = HashSet::new();
    for (_, span) in corpus.spans() {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(ids.insert((span.trace_id.clone(), span.span_id.clone())), "a span id occurs twice");
    }
    let orphans = corpus
        .spans()
        .filter(|(_, s)| {
            !s.parent_span_id.is_empty() && !ids.contains(&(s.trace_id.clone(), s.parent_span_id.clone()))
        })
        .count() as u64;
    assert_eq!(orphans, corpus.planted.lost_spans);
    assert!(orphans > 0);
    let links: Vec<_> = corpus.spans().flat_map(|(_, s)| &s.links).collect();
    assert!(links.len() > 20, "{} links", links.len());
    assert!(
        links.iter().all(|l| ids.contains(&(l.trace_id.clone(), l.span_id.clone()))),
        "a link leads nowhere"
    );
}

#[test]
fn sampling_is_consistent_with_the_trace_id() {
    let corpus = &*CORPUS;
    let mut states = HashMap::new();
    for (_, span) in corpus.spans() {
        let threshold = match span.trace_state.as_str() {
            "ot=th:0" => 0,
            "ot=th:8" => 0x80,
            "ot=th:c" => 0xc0,
            "ot=th:e" => 0xe0,
            other => panic!("tracestate {other}"),
        };
        assert!(span.trace_id[9] >= threshold, "would not have been kept");
        let state = states.entry(span.trace_id.clone()).or_insert_with(|| span.trace_state.clone());
        assert_eq!(*state, span.trace_state, "a trace has one threshold");
    }
    let kinds: HashSet<&String> = states.values().collect();
    assert_eq!(kinds.len(), 4);
}

#[test]
fn logs_belong_to_spans_or_to_nobody_and_one_names_the_index() {
    let corpus = &*CORPUS;
    let traces: HashSet<&[u8]> = corpus.spans().map(|(_, s)| s.trace_id.as_slice()).collect();
    let records: Vec<_> = corpus
        .requests
        .iter()
        .filter_map(|r| if let DemoPayload::Logs(l) = &r.payload { Some(l) } else { None })
        .flat_map(|l| &l.resource_logs)
        .flat_map(|g| &g.scope_logs)
        .flat_map(|s| &s.log_records)
        .collect();
    let within = records.iter().filter(|r| traces.contains(r.trace_id.as_slice())).count();
    let without = records.iter().filter(|r| r.trace_id.is_empty()).count();
    assert!(within > 500 && without > 50, "{within} within a trace, {without} without");
    assert!(within + without < records.len(), "some belong to a trace that was not kept");
    let body = |r: &opentelemetry_proto::tonic::logs::v1::LogRecord| r.body.clone().and_then(|b| b.value);
    let structured = records.iter().filter(|r| matches!(body(r), Some(Value::KvlistValue(_)))).count();
    assert!(structured > 20, "{structured} structured bodies");
    let named = records
        .iter()
        .filter(|r| is_text(&r.attributes, "db.index.missing", incident::MISSING_INDEX))
        .count() as u64;
    assert_eq!(named, corpus.planted.incident_traces);
}

#[test]
fn every_kind_of_point_and_every_oddity_occurs() {
    let corpus = &*CORPUS;
    let mut kinds = HashSet::new();
    for request in &corpus.requests {
        if let DemoPayload::Metrics(m) = &request.payload {
            for metric in m.resource_metrics.iter().flat_map(|g| &g.scope_metrics).flat_map(|s| &s.metrics) {
                kinds.insert(std::mem::discriminant(metric.data.as_ref().unwrap()));
            }
        }
    }
    assert_eq!(kinds.len(), 5);
    let Planted { late_spans, skewed_spans, retries, .. } = corpus.planted;
    assert!(late_spans > 0 && skewed_spans > 0 && retries > 0, "{:?}", corpus.planted);
    let exceptions = corpus.spans().flat_map(|(_, s)| &s.events).filter(|e| e.name == "exception").count();
    assert!(exceptions > 5, "{exceptions} exceptions");
    let totals: HashSet<_> = corpus
        .spans()
        .filter_map(|(_, s)| value(&s.attributes, "cart.total"))
        .map(std::mem::discriminant)
        .collect();
    assert_eq!(totals.len(), 2, "cart.total comes as a number and as text");
    let users: HashSet<_> = corpus
        .spans()
        .filter_map(|(_, s)| value(&s.attributes, "user.id"))
        .map(|v| format!("{v:?}"))
        .collect();
    assert!(users.len() > 300, "{} users", users.len());
    let services: HashSet<_> =
        corpus.spans().filter_map(|(r, _)| value(r, "service.name")).map(|v| format!("{v:?}")).collect();
    assert!(services.len() >= 20, "{services:?}");
}

#[test]
fn a_live_generator_goes_on_with_new_ids() {
    let settings = DemoSettings::new(1, 1_000);
    let second = |salt| {
        Generator::live(settings, salt).between(settings.end_ns(), settings.end_ns() + 1_000_000_000, 200)
    };
    assert_eq!(second(7), second(7));
    assert_ne!(second(7), second(8));
    let mut live = Generator::live(settings, 7);
    assert!(live.next().is_none(), "it has no corpus");
    live.between(settings.end_ns(), settings.end_ns() + 1_000_000_000, 2_000);
    assert!(live.planted().incident_traces > 0, "the incident goes on");
}

#[test]
fn another_start_shifts_the_times_and_changes_nothing_else() {
    let settings = DemoSettings { seed: 5, events: 1_000, start_ns: DemoSettings::START_NS, minutes: 10 };
    let shift_ns = 86_400_000_000_000;
    let shifted = DemoSettings { start_ns: settings.start_ns + shift_ns, ..settings };
    let spans = |settings| {
        let mut all = Vec::new();
        for request in Generator::new(settings) {
            if let DemoPayload::Traces(r) = request.payload {
                all.extend(r.resource_spans.into_iter().flat_map(|g| g.scope_spans).flat_map(|s| s.spans));
            }
        }
        all
    };
    let mut expected = spans(settings);
    for span in &mut expected {
        span.start_time_unix_nano += shift_ns as u64;
        span.end_time_unix_nano += shift_ns as u64;
        span.events.iter_mut().for_each(|e| e.time_unix_nano += shift_ns as u64);
    }
    assert_eq!(spans(shifted), expected);
}
