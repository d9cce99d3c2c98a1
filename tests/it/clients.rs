//! Can telemetry from real OpenTelemetry SDKs be queried with SQL?
//!
//! `.ci/clients` installs the SDKs for Python and Node.js and sets BROADLOOM_CLIENTS to their folder. Without the
//! variable, these tests print that they are skipped, and pass.

use std::process::Command;

use serde_json::{Value, json};

use crate::running::{Served, clients, get, rows};

/// Runs a client; returns the ids that it sent.
fn send(client: &mut Command) -> Value {
    let output = client.output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{client:?}\n{complaints}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{client:?}: {e}\n{complaints}"))
}

fn python(protocol: &str, endpoint: &str, run: &str) -> Option<Value> {
    let python = clients("the SDK for Python")?.join("python/bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/send.py");
    Some(send(Command::new(python).args([script, protocol, endpoint, run])))
}

fn node(protocol: &str, endpoint: &str, run: &str) -> Option<Value> {
    let folder = clients("the SDK for Node.js")?.join("node");
    Some(send(Command::new("node").current_dir(folder).args(["send.js", protocol, endpoint, run])))
}

/// Asserts that the trace is stored with its ids, attributes, exception, link and levels.
fn assert_trace(url: &str, run: &str, service: &str, sent: &Value) {
    let ask = |sql: &str| rows(url, &sql.replace("$run", run));
    let spans = ask("select name, kind, status, status_message, trace_id, span_id, parent_span_id, \
                     service.name as service, scope.name as scope, duration_ns >= 0 as timed \
                     from spans where test.run = '$run' order by name");
    let span = |name, kind, status, message, id, parent: &Value| {
        json!({
            "name": name, "kind": kind, "status": status, "status_message": message,
            "trace_id": sent["trace_id"], "span_id": sent[id], "parent_span_id": parent,
            "service": service, "scope": "client-test", "timed": true,
        })
    };
    let charge = span("charge", "client", "error", Some("card declined"), "child", &sent["parent"]);
    let checkout = span("checkout", "server", "unset", None, "parent", &Value::Null);
    assert_eq!(spans, json!([charge, checkout]));

    let attributes = ask(
        "select http.route as route, http.response.status_code + 1 as code, cart.total as total, \
                          customer.is_new as is_new, items from spans where test.run = '$run' and name = 'checkout'",
    );
    let route = json!([{
        "route": "/checkout", "code": 501, "total": 12.5, "is_new": true, "items": ["tea", "größer"],
    }]);
    assert_eq!(attributes, route);

    let exceptions =
        ask("select name, span_id, exception.message as message from span_events where test.run = '$run'");
    assert_eq!(
        exceptions,
        json!([{ "name": "exception", "span_id": sent["child"], "message": "card declined" }])
    );

    let trace = get(&format!("{url}/v1/traces/{}", sent["trace_id"].as_str().unwrap()), &[]).json();
    let back: Vec<&Value> = spans_of(&trace).collect();
    assert_eq!(back.len(), 2);
    let charge = back.iter().find(|span| span["name"] == "charge").unwrap();
    assert_eq!(charge["links"][0]["spanId"], sent["parent"]);
    assert_eq!(charge["events"][0]["name"], "exception");
}

fn spans_of(trace: &Value) -> impl Iterator<Item = &Value> {
    let scopes = list(trace, "resourceSpans").flat_map(|resource| list(resource, "scopeSpans"));
    scopes.flat_map(|scope| list(scope, "spans"))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().unwrap().iter()
}

/// Asserts that the log records are stored with the ids of their span, and the metric points with their values.
fn assert_logs_and_metrics(url: &str, run: &str, sent: &Value) {
    let ask = |sql: &str| rows(url, &sql.replace("$run", run));
    let logs = ask("select severity, severity_number, body, attempt, trace_id, span_id from logs \
                    where test.run = '$run' and severity_number = 17");
    let log = json!([{
        "severity": "ERROR", "severity_number": 17, "body": "charging failed", "attempt": 3,
        "trace_id": sent["trace_id"], "span_id": sent["child"],
    }]);
    assert_eq!(logs, log);
    let structured = ask("select body.user as user, body.cart.size as size from logs \
                          where test.run = '$run' and severity_number = 9");
    assert_eq!(structured, json!([{ "user": "ada", "size": 2 }]));

    // A metric reader may export a second time at shutdown, with the same values.
    let orders = ask("select distinct metric.type as type, metric.unit as unit, region, \
                      coalesce(value, value_int) as v from metrics where test.run = '$run' and name = 'orders'");
    assert_eq!(orders, json!([{ "type": "sum", "unit": "1", "region": "eu", "v": 3.0 }]));
    let others = ask("select distinct name, metric.type as type from metrics \
                      where test.run = '$run' and name <> 'orders' order by name");
    assert_eq!(
        others,
        json!([{ "name": "latency", "type": "histogram" }, { "name": "temperature", "type": "gauge" }])
    );
    let temperature = ask("select distinct coalesce(value, value_int) as v from metrics \
                           where test.run = '$run' and name = 'temperature'");
    assert_eq!(temperature, json!([{ "v": 21.5 }]));
}

#[test]
fn the_python_sdk_over_grpc_and_http() {
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    for (protocol, endpoint) in [("grpc", &server.otlp_grpc), ("http", &server.otlp_http)] {
        let run = format!("python-{protocol}");
        let Some(sent) = python(protocol, endpoint, &run) else { return };
        assert_trace(&server.http, &run, "python-client", &sent);
        assert_logs_and_metrics(&server.http, &run, &sent);
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_node_sdk_over_json_protobuf_and_grpc() {
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    let ways = [("json", &server.http), ("proto", &server.otlp_http), ("grpc", &server.otlp_grpc)];
    for (protocol, endpoint) in ways {
        let run = format!("node-{protocol}");
        let Some(sent) = node(protocol, endpoint, &run) else { return };
        assert_trace(&server.http, &run, "node-client", &sent);
        if protocol == "json" {
            assert_logs_and_metrics(&server.http, &run, &sent);
        }
    }
    assert_eq!(server.terminate(), Some(0));
}
