//! Does every route of the server answer right, and with the right errors?

use std::io::{Read, Write};
use std::time::Duration;

use broadloom::server::{Limits, Port};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt;

use crate::running::{Running, TRACE, delete, get, post, spans};

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Fails unless `/metrics` has this line.
fn assert_counted(server: &Running, line: &str) {
    let metrics = server.get("/metrics");
    assert!(metrics.text().lines().any(|known| known == line), "{line}\n{}", metrics.text());
}

fn count(server: &Running) -> i64 {
    server.rows("select count(*) as n from events")[0]["n"].as_i64().unwrap()
}

#[test]
fn health_and_metrics_are_answered() {
    let server = Running::start();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    server.post("/v1/traces", &[PROTOBUF], spans(3).encode_to_vec());
    server.rows("select 1");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "broadloom_ingest_requests_total{protocol=\"otlp_http\",signal=\"traces\",outcome=\"ok\"} 1",
        "broadloom_ingest_events_total{protocol=\"otlp_http\",signal=\"traces\"} 3",
        "broadloom_queries_total{protocol=\"sql\",outcome=\"ok\"} 1",
        "broadloom_queries_running 0",
        "broadloom_buffer_events 3",
        "broadloom_segments 0",
        "broadloom_flushes_total 0",
        "broadloom_wal_batches_total 1",
        "broadloom_in_flight_bytes 0",
        "broadloom_query_duration_seconds_count 1",
    ] {
        assert_counted(&server, line);
    }
}

/// Message of two spans, the first of which is called `name`.
fn other_spans(name: &str) -> ExportTraceServiceRequest {
    let mut request = spans(2);
    name.clone_into(&mut request.resource_spans[0].scope_spans[0].spans[0].name);
    request
}

#[test]
fn a_message_that_is_delivered_again_is_acknowledged_and_adds_nothing() {
    let server = Running::start();
    let message = spans(2).encode_to_vec();
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], &message).status, 200);
    let gzip = gzip(&message);
    let answer = server.post("/v1/traces", &[PROTOBUF, ("Content-Encoding", "gzip")], gzip);
    assert_eq!((answer.status, answer.text()), (200, ""));
    server.runtime.block_on(async {
        let same = trace_client(&server).await.export(spans(2)).await.unwrap().into_inner();
        assert_eq!(same, ExportTraceServiceResponse::default());
    });
    assert_eq!(count(&server), 2);
    let of = |protocol: &str, count: u32| {
        format!("broadloom_ingest_duplicates_total{{protocol=\"{protocol}\",signal=\"traces\"}} {count}")
    };
    for line in [of("otlp_http", 2), of("otlp_grpc", 2)] {
        assert_counted(&server, &line);
    }
}

#[test]
fn otlp_over_http_is_taken_in_every_encoding_and_seen_by_the_next_query() {
    let server = Running::start();
    let message = |name| other_spans(name).encode_to_vec();
    let json = |name| serde_json::to_vec(&other_spans(name)).unwrap();
    let bodies = [
        (PROTOBUF, None, message("a")),
        (PROTOBUF, Some("gzip"), gzip(&message("b"))),
        (PROTOBUF, Some("zstd"), zstd::encode_all(&message("c")[..], 3).unwrap()),
        (PROTOBUF, Some("identity"), message("d")),
        (JSON, None, json("e")),
        (("Content-Type", "application/json; charset=utf-8"), Some("gzip"), gzip(&json("f"))),
    ];
    for (sent, (kind, packed, body)) in bodies.into_iter().enumerate() {
        let mut headers = vec![kind];
        headers.extend(packed.map(|packed| ("Content-Encoding", packed)));
        let answer = server.post("/v1/traces", &headers, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let is_json = kind.1.contains("json");
        assert_eq!(answer.header("content-type"), Some(if is_json { JSON.1 } else { PROTOBUF.1 }));
        // Nothing was rejected, so there is no partial success.
        assert_eq!(answer.text(), if is_json { "{}" } else { "" });
        assert_eq!(count(&server), (sent as i64 + 1) * 2);
    }
    let rows = server.rows("select distinct service.name as s, http.route as r, trace_id as t from spans");
    assert_eq!(rows, json!([{ "s": "cart", "r": "/cart/{id}", "t": TRACE }]));
}

#[test]
fn otlp_over_http_has_a_port_of_its_own() {
    let server = Running::start();
    let own = server.url_of(Port::OtlpHttp);
    assert_eq!(post(&format!("{own}/v1/traces"), &[PROTOBUF], spans(1).encode_to_vec()).status, 200);
    assert_eq!(get(&format!("{own}/healthz"), &[]).status, 200);
    assert_eq!(post(&format!("{own}/v1/sql"), &[], "select 1").status, 404);
    assert_eq!(count(&server), 1);
}

#[test]
fn a_bad_record_costs_itself_alone() {
    let server = Running::start();
    let mut request = spans(3);
    request.resource_spans[0].scope_spans[0].spans[1].trace_id = vec![1, 2, 3];
    let answer = server.post("/v1/traces", &[PROTOBUF], request.encode_to_vec());
    assert_eq!(answer.status, 200);
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("3 bytes"), "{}", partial.error_message);
    let answer = server.post("/v1/traces", &[JSON], serde_json::to_vec(&request).unwrap());
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "1");
    assert_eq!(count(&server), 4);
}

#[test]
fn what_is_no_otlp_is_refused_in_the_encoding_of_the_request() {
    let server = Running::start();
    let answer = server.post("/v1/traces", &[PROTOBUF], b"\xff\xff\xff\xff");
    assert_eq!((answer.status, answer.header("content-type")), (400, Some(PROTOBUF.1)));
    assert_eq!(answer.header("retry-after"), None);
    let status = tonic_types::Status::decode(&answer.body[..]).unwrap();
    assert_eq!(status.code, tonic::Code::InvalidArgument as i32);
    assert!(!status.message.is_empty());

    let answer = server.post("/v1/logs", &[JSON], b"{\"resourceLogs\": 7}");
    assert_eq!((answer.status, answer.header("content-type")), (400, Some(JSON.1)));
    assert_eq!(answer.json()["code"], 3);

    let answer = server.post("/v1/metrics", &[PROTOBUF, ("Content-Encoding", "gzip")], b"not gzip");
    assert_eq!(answer.status, 400);
    let answer = server.post("/v1/metrics", &[PROTOBUF, ("Content-Encoding", "br")], b"");
    assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("gzip, zstd, identity")));
    assert_eq!(server.post("/v1/traces", &[("Content-Type", "text/plain")], b"").status, 415);
    let unknown = get(&format!("{}/v1/traces", server.url_of(Port::OtlpHttp)), &[]);
    assert_eq!((unknown.status, unknown.header("allow")), (405, Some("POST")));
    let unknown = delete(&format!("{}/v1/traces", server.url()), &[]);
    assert_eq!((unknown.status, unknown.header("allow")), (405, Some("POST, GET, HEAD")));
    assert_eq!(count(&server), 0);
}

#[test]
fn a_message_that_is_too_large_is_refused_however_it_is_packed() {
    let server = Running::with_limits(Limits { message_bytes_max: 10_000, ..Limits::default() });
    let large = spans(1_000).encode_to_vec();
    assert!(large.len() > 10_000);
    let answer = server.post("/v1/traces", &[PROTOBUF], &large);
    assert_eq!((answer.status, answer.header("retry-after")), (413, None));
    let packed = zstd::encode_all(&vec![0; 5 << 20][..], 3).unwrap();
    assert!(packed.len() < 10_000);
    let answer = server.post("/v1/traces", &[PROTOBUF, ("Content-Encoding", "zstd")], packed);
    assert_eq!(answer.status, 413);
    let status = tonic_types::Status::decode(&answer.body[..]).unwrap();
    assert!(status.message.contains("message-max"), "{}", status.message);
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], spans(3).encode_to_vec()).status, 200);
}

#[test]
fn without_room_producers_are_told_to_come_again() {
    let message = spans(3).encode_to_vec();
    let limits = Limits { in_flight_bytes_max: message.len() + 100, ..Limits::default() };
    let server = Running::with_limits(limits);
    // A producer that has sent all but the last byte of its message.
    let mut slow = std::net::TcpStream::connect(server.addresses.get(Port::Http).unwrap()).unwrap();
    let length = message.len();
    write!(slow, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n").unwrap();
    write!(slow, "Content-Length: {length}\r\n\r\n").unwrap();
    slow.write_all(&message[..length - 1]).unwrap();
    let held = || {
        let metrics = server.get("/metrics");
        let line = metrics.text().lines().find_map(|line| line.strip_prefix("broadloom_in_flight_bytes "));
        line.unwrap().parse::<usize>().unwrap()
    };
    while held() < length - 1 {}

    let answer = server.post("/v1/traces", &[PROTOBUF], &message);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    let json = [&b"{\"resourceSpans\":[]}"[..], &[b' '; 100]].concat();
    let answer = server.post("/v1/traces", &[JSON], &json);
    assert_eq!(answer.json()["details"][0]["retryDelay"], "2s");
    let refused = server.runtime.block_on(async {
        let mut client = trace_client(&server).await;
        client.export(spans(3)).await.unwrap_err()
    });
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let wait = refused.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(wait, Some(Duration::from_secs(2)));
    for (protocol, count) in [("otlp_http", 2), ("otlp_grpc", 1)] {
        let labels = format!("protocol=\"{protocol}\",signal=\"traces\",outcome=\"busy\"");
        assert_counted(&server, &format!("broadloom_ingest_requests_total{{{labels}}} {count}"));
    }

    // What is whole gives its room back, and so did what was refused.
    slow.write_all(&message[length - 1..]).unwrap();
    let mut status = [0; 12];
    slow.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], &message).status, 200);
    assert_eq!(held(), 0);
}

#[test]
fn a_message_for_which_there_is_never_room_must_not_be_sent_again() {
    let server = Running::with_limits(Limits { in_flight_bytes_max: 100, ..Limits::default() });
    let answer = server.post("/v1/traces", &[PROTOBUF], spans(3).encode_to_vec());
    assert_eq!((answer.status, answer.header("retry-after")), (413, None));
    let refused =
        server.runtime.block_on(async { trace_client(&server).await.export(spans(3)).await.unwrap_err() });
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    assert!(refused.get_details_retry_info().is_none());
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], b"").status, 200);
}

#[test]
fn a_message_of_more_events_than_a_segment_has_must_not_be_sent_again() {
    let field = |number: u8, content: Vec<u8>| {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut out);
        out.extend(content);
        out
    };
    let records = field(2, Vec::new()).repeat((1 << 20) + 1);
    let message = field(1, field(2, records));
    let server = Running::with_limits(Limits { in_flight_bytes_max: 16 << 30, ..Limits::default() });
    let answer = server.post("/v1/logs", &[PROTOBUF], message);
    assert_eq!((answer.status, answer.header("retry-after")), (413, None), "{answer:?}");
    let status = tonic_types::Status::decode(&answer.body[..]).unwrap();
    assert!(status.message.contains("1048577 events"), "{}", status.message);
    assert_eq!(count(&server), 0);
}

#[test]
fn over_grpc_a_message_is_reserved_once() {
    let length = spans(1_000).encoded_len();
    let limits = Limits { in_flight_bytes_max: length + length / 2, ..Limits::default() };
    let server = Running::with_limits(limits);
    server.runtime.block_on(async { trace_client(&server).await.export(spans(1_000)).await }).unwrap();
    assert_eq!(count(&server), 1_000);
}

#[test]
fn a_message_that_becomes_more_than_there_is_room_for_is_refused_before_it_does() {
    let server = Running::with_limits(Limits { in_flight_bytes_max: 8 << 20, ..Limits::default() });
    let mut request = spans(1);
    let span = &mut request.resource_spans[0].scope_spans[0].spans[0];
    let attribute = span.attributes[0].clone();
    span.attributes = (0..20_000)
        .map(|i| opentelemetry_proto::tonic::common::v1::KeyValue {
            key: format!("key.{i}"),
            ..attribute.clone()
        })
        .collect();
    let message = request.encode_to_vec();
    assert!(message.len() < 1 << 20);
    let answer = server.post("/v1/traces", &[PROTOBUF], &message);
    assert_eq!((answer.status, answer.header("retry-after")), (413, None), "{answer:?}");
    let status = tonic_types::Status::decode(&answer.body[..]).unwrap();
    assert!(status.message.contains("in-flight-max"), "{}", status.message);
    let refused =
        server.runtime.block_on(async { trace_client(&server).await.export(request).await.unwrap_err() });
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    assert!(refused.get_details_retry_info().is_none());
    assert_eq!(server.post("/v1/traces", &[PROTOBUF], spans(3).encode_to_vec()).status, 200);
    assert_eq!(count(&server), 3);
}

#[test]
fn what_belongs_to_another_path_is_refused_with_that_path() {
    let server = Running::start();
    let logs = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
    for path in ["/v1/traces", "/v1/metrics"] {
        let refused = server.post(path, &[JSON], logs);
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("resourceLogs belongs to /v1/logs"), "{}", refused.text());
    }
    let mut traces = spans(1);
    traces.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano = 1_750_000_000_000_000_000;
    let refused = server.post("/v1/logs", &[PROTOBUF], traces.encode_to_vec());
    assert_eq!(refused.status, 400);
    let unknown = server.post("/v1/traces", &[JSON], br#"{"spans":[{}]}"#);
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    assert!(unknown.text().contains("has no resourceSpans"), "{}", unknown.text());
    assert_eq!(count(&server), 0);
    assert_eq!(server.post("/v1/traces", &[JSON], b"{}").status, 200, "an empty request is one");
}

#[test]
fn half_an_emoji_and_an_old_name_cost_nothing() {
    let server = Running::start();
    let logs = br#"{"resourceLogs":[{"instrumentationLibraryLogs":[{"logRecords":[
        {"body":{"stringValue":"good"}},{"body":{"stringValue":"cut \ud83d"},"severityText":"err"}]}]}]}"#;
    let answer = server.post("/v1/logs", &[JSON], logs);
    assert_eq!((answer.status, answer.text()), (200, "{}"));
    let rows = server.rows("select body, severity from logs where severity = 'ERROR'");
    assert_eq!(rows, json!([{ "body": "cut \u{fffd}", "severity": "ERROR" }]));
    assert_eq!(count(&server), 2);
}

async fn trace_client(server: &Running) -> TraceServiceClient<tonic::transport::Channel> {
    TraceServiceClient::connect(grpc(server)).await.unwrap()
}

fn grpc(server: &Running) -> String {
    server.url_of(Port::OtlpGrpc)
}

fn log_request() -> ExportLogsServiceRequest {
    let record = LogRecord { time_unix_nano: 5, severity_text: "WARN".to_owned(), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

#[test]
fn otlp_over_grpc_is_taken_packed_and_not() {
    let server = Running::start();
    server.runtime.block_on(async {
        let mut client = trace_client(&server).await;
        assert_eq!(
            client.export(spans(2)).await.unwrap().into_inner(),
            ExportTraceServiceResponse::default()
        );
        for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            let mut client =
                trace_client(&server).await.send_compressed(encoding).accept_compressed(encoding);
            client.export(other_spans(&format!("{encoding:?}"))).await.unwrap();
        }
        let mut request = spans(2);
        request.resource_spans[0].scope_spans[0].spans[0].span_id = vec![1];
        let partial = client.export(request).await.unwrap().into_inner().partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 1);
        let mut logs = LogsServiceClient::connect(grpc(&server)).await.unwrap();
        let answer = logs.export(log_request()).await.unwrap().into_inner();
        assert_eq!(answer, ExportLogsServiceResponse::default());
        let mut metrics = MetricsServiceClient::connect(grpc(&server)).await.unwrap();
        metrics.export(ExportMetricsServiceRequest::default()).await.unwrap();
    });
    let rows = server.rows("select signal, count(*) as n from events group by signal order by signal");
    assert_eq!(rows, json!([{ "signal": "log", "n": 1 }, { "signal": "span", "n": 7 }]));
}

#[test]
fn over_grpc_too_what_is_too_large_must_not_be_sent_again() {
    let server = Running::with_limits(Limits { message_bytes_max: 10_000, ..Limits::default() });
    server.runtime.block_on(async {
        let plain = trace_client(&server).await.export(spans(1_000)).await.unwrap_err();
        // Equally large, but small while compressed.
        let mut packed = trace_client(&server).await.send_compressed(CompressionEncoding::Zstd);
        let mut same = spans(1);
        same.resource_spans[0].scope_spans[0].spans[0].name = "a".repeat(1 << 20);
        let packed = packed.export(same).await.unwrap_err();
        for refused in [plain, packed] {
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
            assert!(refused.get_details_retry_info().is_none());
        }
        trace_client(&server).await.export(spans(1)).await.unwrap();
    });
    let labels = "protocol=\"otlp_grpc\",signal=\"traces\"";
    assert_counted(&server, &format!("broadloom_ingest_requests_total{{{labels},outcome=\"too-large\"}} 2"));
    assert_counted(&server, &format!("broadloom_ingest_requests_total{{{labels},outcome=\"ok\"}} 1"));
}

#[test]
fn sql_is_answered_in_the_format_that_is_asked_for() {
    let server = Running::start();
    server.post("/v1/traces", &[PROTOBUF], spans(2).encode_to_vec());
    let sql = "select name, http.response.status_code as code from spans order by name";
    let ask = |accept: &str| server.post("/v1/sql", &[("Accept", accept)], sql);

    let json = ask("application/json");
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(json.json(), json!([{ "name": "span 0", "code": 200 }, { "name": "span 1", "code": 200 }]));
    let lines = ask("application/x-ndjson");
    assert_eq!(lines.text(), "{\"name\":\"span 0\",\"code\":200}\n{\"name\":\"span 1\",\"code\":200}\n");
    let csv = ask("text/csv");
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert_eq!(csv.text().replace("\r\n", "\n"), "name,code\nspan 0,200\nspan 1,200\n");
    let arrow = ask("application/vnd.apache.arrow.stream");
    let reader = arrow::ipc::reader::StreamReader::try_new(&arrow.body[..], None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
    let parquet = server.post("/v1/sql?format=parquet", &[], sql);
    assert_eq!(parquet.header("content-type"), Some("application/vnd.apache.parquet"));
    let parquet =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(Bytes::from(parquet.body), 9);
    assert_eq!(parquet.unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
    assert_eq!(ask("image/png").status, 406);
}

#[test]
fn sql_takes_parameters_and_limits() {
    let server = Running::start();
    server.post("/v1/traces", &[PROTOBUF], spans(5).encode_to_vec());
    let body = json!({ "query": "select count(*) as n from spans where name = $1", "params": ["span 3"] });
    assert_eq!(server.post("/v1/sql", &[JSON], body.to_string()).json(), json!([{ "n": 1 }]));
    let path = "/v1/sql?query=select+name+from+spans+where+name=$1&param=span+3&format=ndjson";
    assert_eq!(server.get(path).text(), "{\"name\":\"span 3\"}\n");
    let limited = server.post("/v1/sql?limit=2", &[], "select name from spans order by name");
    assert_eq!(limited.json(), json!([{ "name": "span 0" }, { "name": "span 1" }]));
    assert_eq!(server.post("/v1/sql?limit=0", &[], "select name from spans").json(), json!([]));
}

fn detail(answer: &crate::running::Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_wrong_statement_is_a_problem_with_its_place() {
    let server = Running::start();
    server.post("/v1/traces", &[PROTOBUF], spans(1).encode_to_vec());
    let answer = server.post("/v1/sql", &[], "select name,\n       durration_ns\nfrom spans");
    assert_eq!(answer.status, 400);
    assert!(detail(&answer).contains("duration_ns"), "{}", answer.text());
    assert_eq!((&answer.json()["line"], &answer.json()["column"]), (&json!(2), &json!(8)));
    for (sql, status) in [
        ("selekt 1", 400),
        ("", 400),
        ("select 1; select 2", 400),
        ("select * from no_such_table", 400),
        ("insert into events values (1)", 400),
        ("create external table x stored as csv location '/etc/passwd'", 400),
        ("copy events to '/tmp/events.csv'", 400),
        ("set datafusion.execution.batch_size = 1", 400),
    ] {
        let answer = server.post("/v1/sql", &[], sql);
        assert_eq!(answer.status, status, "{sql}: {}", answer.text());
        detail(&answer);
    }
    let unknown = server.post("/v1/sql", &[], "select attributes['nope'] as nope from spans");
    assert_eq!(unknown.json(), json!([{ "nope": null }]));
    let warnings: Vec<String> = serde_json::from_str(unknown.header("broadloom-warnings").unwrap()).unwrap();
    assert!(warnings[0].contains("nope"), "{warnings:?}");
}

#[test]
fn wrong_requests_are_problems() {
    let server = Running::start();
    for (path, status) in [
        ("/v1/sql", 400),
        ("/v1/sql?query=select+1&format=xml", 400),
        ("/v1/sql?query=select+1&timeout=soon", 400),
        ("/v1/sql?query=select+1&fromat=csv", 400),
        ("/v1/nothing", 404),
        ("/", 404),
        ("/v1/logs", 405),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}");
        detail(&answer);
    }
    assert_eq!(server.post("/v1/sql", &[JSON], "{\"sql\": \"select 1\"}").status, 400);
    assert_eq!(server.post("/v1/sql", &[], b"select \xff").status, 400);
    // The client gets the answer although it sends the whole body first.
    assert_eq!(server.post("/v1/sql", &[], vec![b' '; 100 << 20]).status, 413);
    assert_eq!(
        server.post("/v1/traces", &[("content-type", "application/json")], vec![b' '; 100 << 20]).status,
        413
    );
}

/// Statement that does not end within a test.
const ENDLESS: &str = "select value, repeat('x', 100) as y from generate_series(1, 1000000000000)";

#[test]
fn a_query_ends_at_its_timeout() {
    let server = Running::start();
    let sql = "select max(value) from generate_series(1, 1000000000000)";
    let answer = server.post("/v1/sql?timeout=300ms", &[], sql);
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(detail(&answer).contains("300ms"), "{}", answer.text());
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let server = Running::start();
    // Fails at the last of many rows, after the first ones were sent.
    let sql = "select 1 / (100000 - value) as x, repeat('x', 100) as y from generate_series(1, 100000)";
    for format in ["json", "ndjson", "csv", "arrow"] {
        let url = format!("{}/v1/sql?format={format}", server.url());
        let mut body = Vec::new();
        // The failure may come before or after the status was sent.
        let broken = match ureq::post(&url).send(sql) {
            Ok(mut response) => response.body_mut().as_reader().read_to_end(&mut body).is_err(),
            Err(error) => matches!(error, ureq::Error::Io(_)),
        };
        assert!(broken, "{format}: {} bytes looked whole", body.len());
    }
}

#[test]
fn a_query_ends_when_its_client_goes() {
    let server = Running::start();
    let mut connection = std::net::TcpStream::connect(server.addresses.get(Port::Http).unwrap()).unwrap();
    let length = ENDLESS.len();
    write!(
        connection,
        "POST /v1/sql?format=ndjson HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{ENDLESS}"
    )
    .unwrap();
    let mut first = [0; 1000];
    connection.read_exact(&mut first).unwrap();
    assert!(server.get("/metrics").text().contains("broadloom_queries_running 1\n"));
    drop(connection);
    // Wait for the query to end; if it kept running, the test would not end.
    while !server.get("/metrics").text().contains("broadloom_queries_running 0\n") {}
    assert_counted(&server, "broadloom_queries_total{protocol=\"sql\",outcome=\"abandoned\"} 1");
}

#[test]
fn too_many_queries_at_once_are_refused() {
    let server = Running::with_limits(Limits { queries_max: 0, ..Limits::default() });
    let answer = server.post("/v1/sql", &[], "select 1");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    assert!(detail(&answer).contains("queries-max"));
    assert_eq!(answer.json()["type"], "urn:broadloom:problem:busy");
    let trace = server.get(&format!("/v1/traces/{TRACE}"));
    assert_eq!((trace.status, trace.header("retry-after")), (503, Some("2")), "a trace is a question too");
    for protocol in ["sql", "trace"] {
        let line = format!("broadloom_queries_total{{protocol=\"{protocol}\",outcome=\"busy\"}} 1");
        assert_counted(&server, &line);
    }
}

#[test]
fn a_client_that_stops_reading_is_cut_off_at_the_timeout_and_frees_its_place() {
    let server = Running::with_limits(Limits { queries_max: 1, ..Limits::default() });
    let address = server.addresses.get(Port::Http).unwrap();
    let mut stalled = server.runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // So small that the server soon cannot send any more.
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let connection = socket.connect(address).await.unwrap().into_std().unwrap();
        connection.set_nonblocking(false).unwrap();
        connection
    });
    let length = ENDLESS.len();
    write!(
        stalled,
        "POST /v1/sql?format=ndjson&timeout=2s HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{ENDLESS}"
    )
    .unwrap();
    let mut first = [0; 1000];
    stalled.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    // It reads no more. The test ends when its place is free; otherwise it would be here for ever.
    while server.post("/v1/sql", &[], "select 1").status != 200 {}
    assert_counted(&server, "broadloom_queries_total{protocol=\"sql\",outcome=\"cancelled\"} 1");
    let mut rest = Vec::new();
    // The connection is cut, so that this may fail.
    let _ = stalled.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "an answer that was cut off looks whole");
}

#[test]
fn a_trace_comes_back_as_it_was_sent() {
    let server = Running::start();
    let sent = spans(3);
    server.post("/v1/traces", &[PROTOBUF], sent.encode_to_vec());
    for id in [TRACE.to_owned(), TRACE.to_uppercase()] {
        let answer = server.get(&format!("/v1/traces/{id}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let back: ExportTraceServiceRequest = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(sorted(back), sorted(sent.clone()));
    }
    // Then from a segment.
    server.runtime.block_on(server.database.flush()).unwrap();
    let back = serde_json::from_slice(&server.get(&format!("/v1/traces/{TRACE}")).body).unwrap();
    assert_eq!(sorted(back), sorted(sent));
    assert_eq!(server.get("/v1/traces/00000000000000000000000000000001").status, 404);
    assert_counted(&server, "broadloom_queries_total{protocol=\"trace\",outcome=\"ok\"} 3");
    assert_counted(&server, "broadloom_queries_total{protocol=\"trace\",outcome=\"not-found\"} 1");
    assert_eq!(server.get("/v1/traces/4bf9").status, 400);
    assert_eq!(server.get("/v1/traces/'%20or%201=1%20--%20aaaaaaaaaaaaaaaaaaa").status, 400);
}

fn sorted(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for scope in request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
        scope.spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
        for span in &mut scope.spans {
            span.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }
    request
}

#[test]
fn long_texts_are_packed_for_clients_that_ask() {
    let server = Running::start();
    server.post("/v1/traces", &[PROTOBUF], spans(200).encode_to_vec());
    let url = format!("{}/v1/sql?query=select+name+from+spans", server.url());
    let mut response = ureq::get(&url).header("Accept-Encoding", "zstd").call().unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    let unpacked = zstd::decode_all(response.body_mut().as_reader()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&unpacked).unwrap().as_array().unwrap().len(), 200);
}
