//! Does the server stay within its memory limits, whatever producers and queries do?
//!
//! Producers send as fast as they can and retry refused messages, while queries need more than `--query-memory`.
//! `BROADLOOM_SOAK_SECONDS` sets the duration, and `BROADLOOM_PROGRAM` names a release build.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use parking_lot::Mutex;
use prost::Message;
use tonic::Code;

use crate::running::{Served, get, post, rows, run, spans};

const SECONDS: u64 = 10;
/// Memory limits of the server's parts. The process itself takes about 60 MiB.
const LIMITS: [&str; 20] = [
    "--message-max",
    "1MiB",
    "--in-flight-max",
    "2MiB",
    "--buffer-max",
    "48MiB",
    "--query-memory",
    "48MiB",
    "--column-memory",
    "16MiB",
    "--index-memory",
    "8MiB",
    "--segment-bytes",
    "16MiB",
    "--queries-max",
    "6",
    "--flush-age",
    "2s",
    "--query-timeout",
    "20s",
];
/// Largest resident set allowed in a short run of a debug build, in MiB; `BROADLOOM_SOAK_MIB` overrides it.
/// `docs/operate/memory.md` lists its parts, `docs/design/memory.md` how it was measured.
const RESIDENT_MIB_MAX: u64 = 512;
/// Events per message.
const EVENTS: u64 = 400;

/// Number of producers; together they send far more than `--in-flight-max` allows.
const PRODUCERS: u64 = 48;
const ASKERS: usize = 4;
/// Pause before a retry, far shorter than the server requests, so that producers overload it.
const RETRY: Duration = Duration::from_millis(2);

const QUERIES: [&str; 4] = [
    "select count(*) from (select user.id, n, max(timestamp) from events group by user.id, n)",
    "select max(x) from (select row_number() over (order by user.id desc, n) as x from events)",
    "select count(*) from (select * from events order by user.id, text limit 50000)",
    "select count(*) from (select user.id, array_agg(text) from events group by user.id)",
];

/// Message `m`: numbered events of about 400 bytes.
fn message(m: u64) -> ExportTraceServiceRequest {
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let mut request = spans(EVENTS as usize);
    for (i, span) in request.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
        let n = m * EVENTS + i as u64;
        // Pseudo-random numbers, the same in each run.
        let mixed = (n ^ 0x9E37_79B9).wrapping_mul(0x2545_F491_4F6C_DD1D);
        span.trace_id = [mixed.to_be_bytes(), n.to_be_bytes()].concat();
        span.attributes.extend([
            attribute("n", any_value::Value::IntValue(n as i64)),
            attribute("user.id", any_value::Value::StringValue(format!("user-{mixed:016x}"))),
            attribute("text", any_value::Value::StringValue(format!("{mixed:x}").repeat(8))),
        ]);
    }
    request
}

#[derive(Default)]
struct Counts {
    messages: AtomicU64,
    refused: AtomicU64,
    answered: AtomicU64,
    /// Failed queries, by status and the beginning of the message.
    failed: Mutex<BTreeMap<String, u64>>,
}

struct Soak {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    next: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Soak {
    fn start(server: &Served) -> Self {
        let mut soak =
            Self { stop: Arc::default(), counts: Arc::default(), next: Arc::default(), threads: Vec::new() };
        // A first message, so that the attributes in queries are known.
        assert!(by_http(&format!("{}/v1/traces", server.otlp_http), &message(0).encode_to_vec()));
        soak.next.store(1, Ordering::Relaxed);
        soak.counts.messages.store(1, Ordering::Relaxed);
        for producer in 0..PRODUCERS {
            let (stop, counts, next) =
                (Arc::clone(&soak.stop), Arc::clone(&soak.counts), Arc::clone(&soak.next));
            let (http, grpc) = (format!("{}/v1/traces", server.otlp_http), server.otlp_grpc.clone());
            soak.threads.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let mut client =
                    (producer % 3 == 0).then(|| runtime.block_on(TraceServiceClient::connect(grpc)).unwrap());
                while !stop.load(Ordering::Relaxed) {
                    let request = message(next.fetch_add(1, Ordering::Relaxed));
                    // Encode once, to leave the processors to the server.
                    let bytes = request.encode_to_vec();
                    // Retry until it is acknowledged, because each number must be stored.
                    while !match &mut client {
                        Some(client) => runtime.block_on(by_grpc(client, &request)),
                        None => by_http(&http, &bytes),
                    } {
                        counts.refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(RETRY);
                    }
                    counts.messages.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        for asker in 0..ASKERS {
            let (stop, counts) = (Arc::clone(&soak.stop), Arc::clone(&soak.counts));
            let url = format!("{}/v1/sql", server.http);
            soak.threads.push(std::thread::spawn(move || {
                for sql in QUERIES.iter().cycle().skip(asker) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = post(&url, &[], sql);
                    if answer.status == 200 {
                        counts.answered.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
                    let is_limit = matches!(answer.status, 413 | 503 | 504) && !detail.is_empty();
                    assert!(is_limit, "{sql}: {answer:?}");
                    let told = format!("{} {}", answer.status, detail.chars().take(100).collect::<String>());
                    *counts.failed.lock().entry(told).or_default() += 1;
                }
            }));
        }
        soak
    }
}

/// Sends a message; true if it was stored, false if the server is busy. Panics on other answers.
fn by_http(url: &str, request: &[u8]) -> bool {
    let answer = post(url, &[("Content-Type", "application/x-protobuf")], request);
    assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    assert!(answer.status == 200 || answer.header("retry-after").is_some(), "{answer:?}");
    answer.status == 200
}

async fn by_grpc(
    client: &mut TraceServiceClient<tonic::transport::Channel>,
    request: &ExportTraceServiceRequest,
) -> bool {
    match client.export(request.clone()).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            false
        }
    }
}

/// The largest resident set of a process so far, in MiB.
fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn memory_is_bounded_while_producers_and_queries_ask_for_more_than_there_is() {
    let setting = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (seconds, resident_max) =
        (setting("BROADLOOM_SOAK_SECONDS", SECONDS), setting("BROADLOOM_SOAK_MIB", RESIDENT_MIB_MAX));
    let data = tempfile::tempdir().unwrap();
    let server = Served::with(data.path(), &LIMITS);
    let soak = Soak::start(&server);
    let began = Instant::now();
    let mut resident = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(200));
        resident = resident_mib(server.process());
        assert!(resident <= resident_max, "{resident} MiB after {:?}", began.elapsed());
    }
    soak.stop.store(true, Ordering::Relaxed);
    for thread in soak.threads {
        thread.join().unwrap();
    }
    let elapsed = began.elapsed();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let Counts { messages, refused, answered, failed } = soak.counts.as_ref();
    let events = count(messages) * EVENTS;
    println!(
        "{events} events in {elapsed:?}, {:.0} stored and {:.0} sent per second; {} messages were refused and sent \
         again; {} queries answered, failed: {:#?}; at most {resident} MiB resident",
        events as f64 / elapsed.as_secs_f64(),
        (events + count(refused) * EVENTS) as f64 / elapsed.as_secs_f64(),
        count(refused),
        count(answered),
        failed.lock(),
    );
    assert!(count(refused) > 0, "producers were never made to wait");
    assert!(count(answered) > 0 && count(messages) > 0);

    // Every number is there once: their count and the sums of their powers are right.
    let n = |power: u32| (0..events).fold(0_f64, |sum, n| sum + (n as f64).powi(power as i32));
    let found = rows(
        &server.http,
        "select count(*) as n, min(n) as least, max(n) as most, sum(cast(n as double)) as sum, \
         sum(cast(n as double) * n) as squares from events",
    );
    let of = |name: &str| found[0][name].as_f64().unwrap();
    assert_eq!((of("n"), of("least"), of("most")), (events as f64, 0.0, (events - 1) as f64), "{found}");
    for (sum, power) in [(of("sum"), 1), (of("squares"), 2)] {
        assert!((sum / n(power) - 1.0).abs() < 1e-9, "{found}");
    }
    assert!(get(&format!("{}/readyz", server.http), &[]).status == 200);
    // Segments that came in faster than they were merged are merged now, in few large steps.
    std::thread::sleep(elapsed / 4);
    let resident = resident_mib(server.process());
    println!("at most {resident} MiB resident after merging");
    assert!(resident <= resident_max, "{resident} MiB resident after merging");
    assert_eq!(server.terminate(), Some(0));
    let check = run(&["check", "--data", data.path().to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
}
