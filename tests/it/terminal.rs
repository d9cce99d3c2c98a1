//! Commands that draw: their pictures in a pseudo-terminal, and their rows when piped.
//!
//! The pseudo-terminal is driven by Python, which `.ci/clients` installs; without BROADLOOM_CLIENTS that test says so and
//! passes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use broadloom::config::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::running::{Running, TRACE, broadloom, clients, run};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A server with the telemetry of the SQL scripts, and with spans and log records of the last minutes.
fn server() -> Running {
    let server = Running::start();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt/data");
    for signal in ["traces", "logs"] {
        let message = std::fs::read(data.join(format!("{signal}.json"))).unwrap();
        assert_eq!(server.post(&format!("/v1/{signal}"), &[JSON], message).status, 200);
    }
    assert_eq!(server.post("/v1/traces", &[JSON], work().to_string()).status, 200);
    assert_eq!(server.post("/v1/logs", &[JSON], records().to_string()).status, 200);
    server
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// 240 spans of the last four minutes; every sixth is slow, failed, and in zone b.
fn work() -> Value {
    let now = SystemClock.now_ns();
    let span = |i: i64| {
        let start = now - (i + 1) * 1_000_000_000;
        let is_slow = i % 6 == 0;
        let duration = if is_slow { 250_000_000 } else { 2_000_000 + i };
        json!({
            "traceId": format!("{:032x}", i + 1),
            "spanId": format!("{:016x}", i + 1),
            "name": "work",
            "kind": 2,
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + duration).to_string(),
            "attributes": [attribute("zone", if is_slow { "b" } else { "a" })],
            "status": {"code": if is_slow { 2 } else { 1 }},
        })
    };
    let spans: Vec<Value> = (0..240).map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "worker")]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

/// 20 log records of the last minute, of levels from INFO to ERROR.
fn records() -> Value {
    let now = SystemClock.now_ns();
    let record = |i: i64| {
        json!({
            "timeUnixNano": (now - 30_000_000_000 + i * 1_000_000).to_string(),
            "severityNumber": 9 + 4 * (i % 3),
            "body": {"stringValue": format!("request {i} took {i} ms")},
        })
    };
    let records: Vec<Value> = (0..20).map(record).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": [attribute("service.name", "worker")]},
        "scopeLogs": [{"logRecords": records}],
    }]})
}

#[test]
fn a_person_sees_pictures_that_fit_the_terminal() {
    let Some(clients) = clients("pictures in a terminal") else { return };
    let server = server();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/pictures.py");
    let mut command = Command::new(clients.join("python/bin/python"));
    command.arg(script).args([env!("CARGO_BIN_EXE_broadloom"), &server.url(), TRACE]);
    let output = command.output().unwrap();
    let words =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    if std::env::var_os("BROADLOOM_PICTURES").is_some() {
        println!("{words}");
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command on a server; returns what it writes to stdout. It must succeed.
fn piped(url: &str, arguments: &[&str]) -> String {
    let output = run(&[arguments, &["--url", url]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows that a command writes when it is piped.
fn rows(url: &str, arguments: &[&str]) -> Vec<Value> {
    piped(url, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn piped_commands_write_the_rows_of_their_statements() {
    let server = server();
    let url = &server.url();
    let spans = rows(url, &["trace", &format!("00-{TRACE}-00f067aa0ba902b7-01")]);
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert_eq!((&spans[0]["name"], &spans[0]["spans_below"]), (&json!("POST /checkout"), &json!(2)));

    let logs = rows(url, &["logs", "--search", "REQUEST 7", "--last", "1h"]);
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert_eq!((&logs[0]["body"], &logs[0]["severity"]), (&json!("request 7 took 7 ms"), &json!("WARN")));
    assert!(logs[0]["attributes"].is_object(), "{logs:?}");
    let newest = rows(url, &["logs", "--limit", "3", "--where", "service.name = 'worker' -- all"]);
    let bodies: Vec<_> = newest.iter().map(|row| row["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["request 17 took 17 ms", "request 18 took 18 ms", "request 19 took 19 ms"]);
    let patterns = rows(url, &["logs", "--patterns", "--where", "service.name = 'worker'"]);
    assert_eq!(patterns[0]["pattern"], json!("request <n> took <n> ms"));
    assert_eq!(patterns.iter().map(|row| row["records"].as_i64().unwrap()).sum::<i64>(), 20);

    let slow = ["--selection", "duration_ns > 100000000", "--where", "name = 'work'"];
    let differences = rows(url, &[&["diff"], &slow[..]].concat());
    let zone = differences.iter().find(|row| row["key"] == "zone" && row["value"] == "b").unwrap();
    assert_eq!((&zone["selection_rows"], &zone["baseline_rows"]), (&json!(40), &json!(0)), "{zone}");
    let across = rows(url, &[&["diff", "--across", "traces"], &slow[..]].concat());
    assert_eq!(across[0]["selection_total"], json!(40), "{across:?}");

    let cells = rows(url, &["heatmap", "--where", "name = 'work'"]);
    let events: i64 = cells.iter().map(|cell| cell["events"].as_i64().unwrap()).sum();
    assert_eq!(events, 240, "{cells:?}");
    let groups = rows(url, &["top", "--window", "1h", "--by", "service.name, zone"]);
    let of = |group: &Value| {
        (
            group["service.name"].clone(),
            group["zone"].clone(),
            group["calls"].clone(),
            group["errors"].clone(),
        )
    };
    assert_eq!(of(&groups[0]), (json!("worker"), json!("b"), json!(40.0), json!(40.0)), "{groups:?}");
    assert_eq!(groups.len(), 2, "{groups:?}");
}

#[test]
fn every_picture_can_be_asked_again_by_its_statement() {
    let server = server();
    let url = &server.url();
    for command in [
        &["trace", TRACE][..],
        &["logs", "--search", "it's 100%"],
        &["logs", "--patterns"],
        &["tail", "--source", "events"],
        &["diff", "--selection", "status = 'error'", "--baseline", "status = 'ok'"],
        &["heatmap"],
        &["top", "--window", "1h", "--where", "true"],
    ] {
        let sql = piped(url, &[command, &["--sql"]].concat());
        let answer = run(&["query", "--format", "ndjson", "--url", url, &sql]);
        assert!(answer.status.success(), "{sql}\n{}", words(&answer));
    }
}

#[test]
fn pictures_are_drawn_into_pipes_when_they_are_asked_for() {
    let server = server();
    let url = &server.url();
    let picture = |arguments: &[&str]| piped(url, &[arguments, &["--format", "picture"]].concat());
    let trace = picture(&["trace", TRACE, "--all"]);
    assert!(trace.contains("POST /checkout") && trace.contains("└ "), "{trace}");
    assert!(!trace.contains('\u{1b}'), "no colours outside of a terminal: {trace}");
    assert_eq!(picture(&["trace", TRACE]), trace, "a small trace is not folded");
    let data = server.database.settings().data.to_string();
    let beside = run(&["trace", TRACE, "--format", "picture", "--data", &data]);
    assert_eq!(String::from_utf8_lossy(&beside.stdout), trace, "the directory, beside its server");
    let top = picture(&["top", "--window", "1h", "--once"]);
    assert!(top.contains("worker") && top.contains("calls/s"), "{top}");
    let none = picture(&["diff", "--selection", "duration_ns > 1e15"]);
    assert_eq!(none, "None of 246 events is selected: is the condition right, and the time?\n");
    let same =
        picture(&["diff", "--selection", "duration_ns > 100000000", "--where", "zone = 'b' or name = 'a'"]);
    assert_eq!(same, "40 of 41 events are selected, and no attribute differs by more than chance.\n");
    let csv = piped(url, &["logs", "--format", "csv", "--limit", "1"]);
    assert!(csv.starts_with("timestamp,severity,"), "{csv}");
}

/// A trace of a root, 1,500 calls, and a query below each; the last query fails.
fn large() -> Value {
    let now = SystemClock.now_ns();
    let span = |id: u64, parent: u64, name: String, from: i64, is_error: bool| {
        json!({
            "traceId": LARGE,
            "spanId": format!("{id:016x}"),
            "parentSpanId": if parent == 0 { String::new() } else { format!("{parent:016x}") },
            "name": name,
            "startTimeUnixNano": (now + from).to_string(),
            "endTimeUnixNano": (now + from + if parent == 0 { 2_000_000_000 } else { 1_000_000 }).to_string(),
            "status": {"code": if is_error { 2 } else { 0 }},
        })
    };
    let mut spans = vec![span(1, 0, "root".to_owned(), 0, false)];
    for i in 0..1500_u64 {
        let from = i.cast_signed() * 1_000_000;
        spans.push(span(2 * i + 2, 1, format!("call {i}"), from, false));
        spans.push(span(2 * i + 3, 2 * i + 2, format!("query {i}"), from, i == 1499));
    }
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", "worker")]},
        "scopeSpans": [{"spans": spans}],
    }]})
}

const LARGE: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_large_trace_is_folded_and_says_what_is_left_out() {
    let server = Running::start();
    assert_eq!(server.post("/v1/traces", &[JSON], large().to_string()).status, 200);
    let url = &server.url();
    let picture =
        |arguments: &[&str]| piped(url, &[&["trace", LARGE, "--format", "picture"], arguments].concat());
    let is_span = |line: &&str| {
        line.contains("worker root ") || line.contains("worker call ") || line.contains("worker query ")
    };
    let folded = picture(&[]);
    let tree = folded.split("Critical path").next().unwrap();
    let hidden = tree.lines().filter_map(|line| {
        line.rsplit_once('⋯')?.1.trim().split(' ').next()?.replace(',', "").parse::<usize>().ok()
    });
    assert_eq!((tree.lines().filter(is_span).count(), hidden.sum::<usize>()), (200, 2_801), "{folded}");
    assert!(
        folded.contains("query 1499 ✗") && folded.contains("worker call 1499"),
        "the failure is shown: {folded}"
    );
    assert!(folded.contains("2,801 spans are folded: --all draws them"), "{folded}");
    let all = picture(&["--all"]);
    assert_eq!(all.split("Critical path").next().unwrap().lines().filter(is_span).count(), 3_001);
    assert!(!all.contains("folded"), "{all}");
    assert_eq!(rows(url, &["trace", LARGE]).len(), 3_001);
}

#[test]
fn tail_follows_a_directory_that_a_server_writes() {
    let server = server();
    let data = server.database.settings().data.to_string();
    let mut command =
        broadloom(&["tail", "--data", &data, "--lines", "1", "--interval", "100ms", "--late", "1h"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["body"], json!("request 19 took 19 ms"));
    assert_eq!(server.post("/v1/logs", &[JSON], late().to_string()).status, 200);
    let found = next();
    assert_eq!(
        (&found["body"], &found["attributes"]["why"]),
        (&json!("late"), &json!("slow network")),
        "{found}"
    );
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A log record that arrives ten minutes after its time.
fn late() -> Value {
    let at = SystemClock.now_ns() - 600_000_000_000;
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{
        "timeUnixNano": at.to_string(),
        "body": {"stringValue": "late"},
        "attributes": [attribute("why", "slow network")],
    }]}]}]})
}

#[test]
fn failures_of_pictures_are_told_apart() {
    let server = server();
    let url = &server.url();
    for (arguments, code, says) in [
        (&["trace", "nonsense"][..], 1, "32 hexadecimal digits"),
        (&["diff", "--selection", "nope = 1"], 1, "nope"),
        (&["logs", "--where", "bodyy = 1"], 1, "bodyy"),
        (&["heatmap", "--width", "0"], 2, "above 0"),
        (&["logs", "--zone", "Mars/Olympus"], 2, "Europe/Brussels"),
        (&["top", "--format", "parquet"], 2, "binary"),
        (&["tail", "--interval", "1ms"], 2, "at least 100ms"),
    ] {
        let output = run(&[arguments, &["--url", url]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output));
        assert!(words(&output).contains(says), "{arguments:?}: {}", words(&output));
        assert!(output.stdout.is_empty());
    }
    let missing = run(&["trace", "ffffffffffffffffffffffffffffffff", "--format", "picture", "--url", url]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(words(&missing).contains("has no span of the trace"), "{}", words(&missing));
    let nowhere = run(&["logs", "--data", "/no/such/directory"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(words(&nowhere).contains("no Broadloom database"), "{}", words(&nowhere));
}

#[test]
fn doctor_says_what_is_wrong_and_what_helps() {
    let server = server();
    let url = &server.url();
    let findings = |arguments: &[&str]| {
        let output = run(&[&["doctor", "--json"], arguments].concat());
        let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        (found, output.status.code())
    };
    let state = |found: &[Value], check: &str| {
        let finding = found.iter().find(|finding| finding["check"] == check);
        finding.unwrap_or_else(|| panic!("{check} in {found:?}"))["state"].as_str().unwrap().to_owned()
    };
    let (found, code) = findings(&["--url", url, "--send"]);
    assert_eq!(code, Some(0), "{found:?}");
    for check in ["encryption", "server", "clock", "version", "ports", "data", "last event", "otlp"] {
        assert_eq!(state(&found, check), "ok", "{found:?}");
    }
    let sent = server.rows("select count(*) as n from logs where service.name = 'broadloom-doctor'");
    assert_eq!(sent, json!([{"n": 1}]));

    let directory = server.database.settings().data.to_string();
    let (found, code) = findings(&[&directory]);
    assert_eq!(code, Some(0), "{found:?}");
    for check in ["data", "writable", "keys", "clock", "last event"] {
        assert_eq!(state(&found, check), "ok", "{found:?}");
    }
    let (found, code) = findings(&["/no/such/directory"]);
    assert_eq!((code, state(&found, "data")), (Some(1), "fail".to_owned()));
    let (found, code) = findings(&["--url", "http://127.0.0.1:1"]);
    assert_eq!((code, state(&found, "server")), (Some(1), "fail".to_owned()));
    assert!(
        found.iter().filter(|finding| finding["state"] != "ok").all(|finding| finding["advice"].is_string())
    );
    let text = String::from_utf8(run(&["doctor", &directory]).stdout).unwrap();
    assert!(text.contains("ok   data") && text.ends_with("0 failures\n"), "{text}");
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(
            output.status.success() && script.contains("heatmap") && script.contains("selection"),
            "{shell}"
        );
    }
    assert_eq!(run(&["completions", "cobol"]).status.code(), Some(2));
    let page = String::from_utf8(run(&["man"]).stdout).unwrap();
    assert!(page.contains(".TH broadloom") && page.contains("heatmap"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(run(&["man", pages.to_str().unwrap()]).status.success());
    let trace = std::fs::read_to_string(pages.join("broadloom-trace.1")).unwrap();
    assert!(trace.contains("critical path"), "{trace}");
}
