//! What holds for every port: slow clients hurt nobody, web pages read nothing, requests are counted by route.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use broadloom::server::{Endpoints, Limits, Port};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use serde_json::json;

use crate::running::{Running, spans};

/// The largest message by default, which idle clients announce.
const ANNOUNCED_BYTES: u32 = 64 << 20;
/// Idle connections on each of the two ports, where the process may have so many.
const IDLE_MAX: usize = 1_000;

/// Number of idle connections per port that fit into a quarter of this process's open files: each takes two files,
/// and there are two ports.
fn idle_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(1_024);
    (files / 16).min(IDLE_MAX)
}

fn connect(address: SocketAddr, sent: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(sent).unwrap();
    connection
}

/// Beginning of an OTLP/HTTP request: all of its head, three bytes of its body.
fn begun_http() -> Vec<u8> {
    format!(
        "POST /v1/traces HTTP/1.1\r\nHost: collector:4318\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {ANNOUNCED_BYTES}\r\n\r\nabc"
    )
    .into_bytes()
}

/// Beginning of a gRPC call: all of its head, and the five bytes that announce the message.
fn begun_grpc() -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // HPACK: POST and http of the static table, then literals by index of their name.
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04][..], "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        (&[0x01], "collector:4317"),
        (&[0x0f, 0x10], "application/grpc"),
    ] {
        head.extend_from_slice(name);
        head.push(value.len() as u8);
        head.extend_from_slice(value.as_bytes());
    }
    let announced = [&[0][..], &ANNOUNCED_BYTES.to_be_bytes()].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(4, 0, 0, &[]), frame(1, 4, 1, &head), frame(0, 0, 1, &announced)].concat()
}

/// Bytes of requests that the server holds.
fn in_flight_bytes(server: &Running) -> usize {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix("broadloom_in_flight_bytes "));
    line.unwrap().parse().unwrap()
}

#[test]
fn clients_that_announce_much_and_send_nothing_keep_nobody_out() {
    let server = Running::start();
    let idle = idle_connections();
    let (http, grpc) = (begun_http(), begun_grpc());
    let mut connections = Vec::new();
    for _ in 0..idle {
        connections.push(connect(server.addresses.get(Port::OtlpHttp).unwrap(), &http));
        connections.push(connect(server.addresses.get(Port::OtlpGrpc).unwrap(), &grpc));
    }
    // What has arrived takes memory, what is announced does not.
    while in_flight_bytes(&server) < idle * (3 + 5) {}
    assert_eq!(in_flight_bytes(&server), idle * (3 + 5));

    let url = format!("{}/v1/traces", server.url_of(Port::OtlpHttp));
    let message = |service: String| {
        let mut request = spans(10);
        request.resource_spans[0].scope_spans[0].spans[0].name = service;
        request
    };
    for i in 0..20 {
        let body = message(format!("http {i}")).encode_to_vec();
        let answer = crate::running::post(&url, &[("Content-Type", "application/x-protobuf")], body);
        assert_eq!((answer.status, answer.text()), (200, ""), "message {i}");
    }
    server.runtime.block_on(async {
        let mut client = TraceServiceClient::connect(server.url_of(Port::OtlpGrpc)).await.unwrap();
        for i in 0..20 {
            client.export(message(format!("grpc {i}"))).await.unwrap();
        }
    });
    assert_eq!(server.rows("select count(*) as n from events"), json!([{ "n": 400 }]));
    // A client that leaves takes its bytes with it.
    drop(connections);
    while in_flight_bytes(&server) > 0 {}
}

#[test]
fn connections_beyond_the_limit_take_the_places_of_idle_ones() {
    let server = Running::with_limits(Limits { connections_max: 4, ..Limits::default() });
    let http = begun_http();
    let idle: Vec<_> = (0..6).map(|_| connect(server.addresses.get(Port::Http).unwrap(), &http)).collect();
    let answer =
        server.post("/v1/traces", &[("Content-Type", "application/x-protobuf")], spans(2).encode_to_vec());
    assert_eq!(answer.status, 200);
    assert_eq!(server.rows("select count(*) as n from events"), json!([{ "n": 2 }]));
    drop(idle);
}

/// The status line of the answer to a request, as it is written.
fn status(address: SocketAddr, request: &str) -> String {
    let mut connection = connect(address, request.as_bytes());
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    status(address, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"))
}

const SQL: &str = "/v1/sql?query=select+1";

#[test]
fn web_pages_do_not_read_data_and_programs_do() {
    let allowed = Endpoints::any().with_allowed_hosts(&["broadloom.example".to_owned()]);
    let server = Running::with(&allowed, Limits::default());
    let (http, otlp) =
        (server.addresses.get(Port::Http).unwrap(), server.addresses.get(Port::OtlpHttp).unwrap());
    let port = http.port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::1]:{port}"),
        "broadloom.example".to_owned(),
    ] {
        assert_eq!(get(http, SQL, &format!("Host: {host}\r\n")), "HTTP/1.1 200 OK", "{host}");
    }
    let trace = format!("/v1/traces/{}", crate::running::TRACE);
    for path in [SQL, "/metrics", &trace] {
        let rebound = get(http, path, "Host: attacker.example:8080\r\n");
        assert_eq!(rebound, "HTTP/1.1 421 Misdirected Request", "{path}");
        let foreign = get(http, path, "Host: localhost\r\nOrigin: https://attacker.example\r\n");
        assert_eq!(foreign, "HTTP/1.1 403 Forbidden", "{path}");
    }
    let answer = server.get(SQL);
    assert_eq!(answer.status, 200);
    let refused =
        crate::running::get(&format!("{}{SQL}", server.url()), &[("Origin", "https://attacker.example")]);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.text().contains("--allowed-host"), "{}", refused.text());

    // Producers and orchestrators call the server by whatever name it has to them.
    let body = "{\"resourceSpans\":[]}";
    for address in [http, otlp] {
        for origin in ["", "Origin: https://shop.example\r\n"] {
            let request = format!(
                "POST /v1/traces HTTP/1.1\r\nHost: collector:4318\r\n{origin}Connection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            assert_eq!(status(address, &request), "HTTP/1.1 200 OK", "{origin}");
        }
        assert_eq!(get(address, "/readyz", "Host: broadloom.svc\r\n"), "HTTP/1.1 200 OK");
    }
}

#[test]
fn requests_are_counted_by_route_and_not_by_path() {
    let server = Running::start();
    server.get(&format!("/v1/traces/{}", crate::running::TRACE));
    server.get("/v1/traces/00000000000000000000000000000007");
    server.get("/wp-login.php");
    server.get("/v1/logs");
    server.rows("select 1");
    server.runtime.block_on(async {
        let mut client = TraceServiceClient::connect(server.url_of(Port::OtlpGrpc)).await.unwrap();
        client.export(spans(1)).await.unwrap();
    });
    let metrics = server.get("/metrics");
    for (route, method, status, count) in [
        ("/v1/traces/{id}", "GET", 404, 2),
        ("none", "GET", 404, 1),
        ("/v1/logs", "GET", 405, 1),
        ("/v1/sql", "POST", 200, 1),
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "POST", 200, 1),
    ] {
        let line = format!(
            "broadloom_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} {count}"
        );
        assert!(metrics.text().lines().any(|known| known == line), "{line}\n{}", metrics.text());
    }
    assert!(!metrics.text().contains("wp-login"));
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let server = Running::start();
    let detail = |answer: crate::running::Answer| answer.json()["detail"].as_str().unwrap().to_owned();
    let missing = detail(server.get("/v1/sqll"));
    assert!(missing.contains("did you mean /v1/sql (") && missing.contains("GET /healthz"), "{missing}");
    let wrong = server.get("/v1/metrics");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    assert!(detail(wrong).contains("GET is not allowed on /v1/metrics; use POST"));
}
