//! The web page: its files, the routes that it reads, and the page itself in a browser.
//!
//! The browser is Chromium, and once Firefox, driven by the files of `tests/ui` with what `.ci/clients` has installed;
//! without BROADLOOM_CLIENTS these tests say so and pass. `BROADLOOM_UI_PICTURES=DIR` also writes pictures of the pages.

use std::path::Path;
use std::process::Command;

use broadloom::server::{Endpoints, KeyFile, Limits, NewKey, Port, Right};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Value, json};

use crate::running::{Answer, Running, Served, TRACE, broadloom, clients, get, spans};

const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml");

fn page(server: &Running, path: &str) -> Answer {
    get(&format!("{}{path}", server.url()), &[HTML])
}

/// The lines of an answer, each a JSON value.
fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_page_is_a_document_for_browsers_and_a_problem_for_others() {
    let server = Running::start();
    for path in [
        "/",
        "/explore",
        "/traces",
        "/trace/4bf92f3577b34da6a3ce929d0e0e4736",
        "/trace/4bf92f3577b34da6a3ce929d0e0e4736/vs/0af7651916cd43dd8448eb211c80319c",
        "/logs",
        "/sql",
        "/attributes",
        "/status",
    ] {
        let document = page(&server, path);
        assert_eq!(document.status, 200, "{path}");
        assert_eq!(document.header("cache-control"), Some("no-cache"));
        let policy = document.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert_eq!(document.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(document.header("referrer-policy"), Some("no-referrer"));
        assert!(document.text().starts_with("<!doctype html>"));

        let tag = document.header("etag").unwrap();
        let again = get(&format!("{}{path}", server.url()), &[HTML, ("If-None-Match", tag)]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");

        let other = server.get(path);
        assert_eq!(other.status, 404, "{path}");
        assert_eq!(other.header("content-type"), Some("application/problem+json"));
        assert!(other.json()["detail"].as_str().unwrap().contains("/v1/sql"), "{}", other.text());
    }
}

#[test]
fn files_of_the_page_are_kept_for_ever_and_come_packed_as_asked_for() {
    let server = Running::start();
    let document = page(&server, "/");
    let links: Vec<&str> = document.text().split('"').filter(|part| part.starts_with("/ui/")).collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        let url = format!("{}{link}", server.url());
        let plain = get(&url, &[("Accept-Encoding", "identity")]);
        assert_eq!(plain.status, 200, "{link}");
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert!(plain.header("vary").unwrap().contains("accept-encoding"));
        let zstd = get(&url, &[("Accept-Encoding", "gzip, deflate, br, zstd")]);
        assert_eq!(zstd.header("content-encoding"), Some("zstd"), "{link}");
        assert_eq!(zstd::decode_all(&zstd.body[..]).unwrap(), plain.body, "{link}");
    }
    let script = document.text().split('"').find(|part| part.ends_with("/app.js")).unwrap();
    assert_eq!(
        get(&format!("{}{script}", server.url()), &[]).header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let old = server.get("/ui/000000000000/app.js");
    assert_eq!(old.status, 404);
    assert_eq!(server.get(&script.replace("app.js", "../mod.rs")).status, 404);
}

#[test]
fn a_streamed_statement_tells_columns_rows_and_cost() {
    let server = Running::start();
    server.send(&spans(3));
    let ask = |options: &str, sql: &str| {
        let answer = server.post(&format!("/v1/sql?format=stream{options}"), &[], sql);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/x-ndjson; profile=stream"));
        lines(&answer)
    };
    let sql =
        "select name, duration_ns, 9007199254740993 as wide, trace_id, timestamp from spans order by name";
    let found = ask("", sql);
    let started = &found[0]["started"];
    assert_eq!((&started["warnings"], started["snapshot"].is_string()), (&json!([]), true), "{started}");
    assert!(started["query"].as_str().unwrap().starts_with("q-"), "{started}");
    let types: Vec<&str> =
        found[1]["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["text", "integer", "integer", "id", "timestamp"]);
    assert_eq!(found[2]["rows"]["count"], 3);
    assert_eq!(found[2]["rows"]["data"][0], json!(["span 0", "span 1", "span 2"]));
    assert_eq!(found[2]["rows"]["data"][2][0], "9007199254740993");
    assert_eq!(found[2]["rows"]["data"][3][0], TRACE);
    let done = &found.last().unwrap()["done"];
    assert_eq!(done["rows"], 3);
    assert!(done["cost"]["rows_read"].as_u64().unwrap() >= 3, "{done}");
    assert!(done["cost"]["elapsed_ms"].is_u64(), "{done}");

    let first = ask("&limit=2", "select name from spans order by name");
    assert_eq!(first.last().unwrap()["done"]["rows"], 2);
    let none = ask("", "select name from spans where name = 'no such'");
    assert_eq!(none[1]["columns"], json!([{ "name": "name", "type": "text" }]));
    assert_eq!(none[2]["done"]["rows"], 0);
    let late = ask("", "select name, 1 / (duration_ns - 1500000) as x from spans");
    let problem = &late.last().unwrap()["problem"];
    assert_eq!(problem["type"], "urn:broadloom:problem:invalid-input", "{late:?}");
    assert!(problem["detail"].as_str().unwrap().contains("division by zero"), "{problem}");

    let wrong = server.post("/v1/sql?format=stream", &[], "select nam from spans");
    assert_eq!(wrong.status, 400, "a statement that cannot be planned has a status");
}

#[test]
fn a_statement_is_checked_without_being_run() {
    let server = Running::start();
    server.send(&spans(1));
    let check =
        |body: Value| server.post("/v1/check", &[("Content-Type", "application/json")], body.to_string());
    let right = check(json!({ "sql": "select http.route, count(*) as n from spans group by 1" })).json();
    let columns = json!([{ "name": "http.route", "type": "text" }, { "name": "n", "type": "integer" }]);
    assert_eq!(right, json!({ "columns": columns, "warnings": [] }));
    let wrong = check(json!({ "sql": "select name,\n  http.rout from spans" }));
    assert_eq!(wrong.status, 200);
    let problem = &wrong.json()["problem"];
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(3)), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("did you mean http.route?"), "{problem}");
    for body in [json!({ "sql": "select 1", "more": 1 }), json!({}), json!("select 1")] {
        assert_eq!(check(body.clone()).status, 400, "{body}");
    }
}

#[test]
fn attributes_and_status_are_told_without_reading_events() {
    let server = Running::start();
    let empty = server.get("/v1/status").json();
    assert_eq!((&empty["events"], &empty["last_event"]), (&json!(0), &Value::Null));
    assert_eq!(empty["addresses"]["http"], server.addresses.get(Port::Http).unwrap().to_string());
    server.send(&spans(2));
    let status = server.get("/v1/status").json();
    assert_eq!((&status["events"], &status["last_event"]), (&json!(2), &json!("2023-11-14T22:13:21Z")));

    let attributes = server.get("/v1/attributes").json();
    let expected = json!([
        { "key": "http.response.status_code", "level": "record", "types": ["integer"] },
        { "key": "http.route", "level": "record", "types": ["text"] },
        { "key": "service.name", "level": "resource", "types": ["text"] },
    ]);
    assert_eq!(attributes["attributes"], expected);
    let some = server.get("/v1/attributes?prefix=http.ro").json();
    assert_eq!(some["attributes"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v1/attributes?prefx=http").status, 400);
}

/// Spans of the trace [`TRACE`]: id, parent (0 for none), start and duration in nanoseconds.
fn trace_of(shape: &[(u64, u64, u64, u64)]) -> ExportTraceServiceRequest {
    let mut request = spans(shape.len());
    for (span, (id, parent, start, duration)) in
        request.resource_spans[0].scope_spans[0].spans.iter_mut().zip(shape)
    {
        span.span_id = id.to_be_bytes().to_vec();
        span.parent_span_id = if *parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() };
        span.start_time_unix_nano = 1_700_000_000_000_000_000 + start;
        span.end_time_unix_nano = span.start_time_unix_nano + duration;
        span.name = format!("span {id}");
    }
    request
}

#[test]
fn the_rows_of_a_trace_come_in_tree_order_by_column() {
    let server = Running::start();
    server.send(&trace_of(&[(3, 1, 50, 10), (4, 2, 12, 5), (2, 1, 10, 20), (1, 0, 0, 100), (5, 9, 1, 1)]));
    let path = format!("/v1/traces/{TRACE}/rows");
    let found = lines(&server.get(&format!("{path}?span=0000000000000004")));
    let head = &found[0];
    assert_eq!((&head["spans"], &head["errors"], &head["duration_ns"]), (&json!(5), &json!(0), &json!(100)));
    assert_eq!((&head["root_service"], &head["root_name"]), (&json!("cart"), &json!("span 1")));
    assert_eq!(head["at"], 2);
    assert_eq!(head["complete"], false);
    assert_eq!(head["notes"], json!(["1 span names a parent that is missing"]));
    assert_eq!(head["critical"][0], json!([0, 0, 10]));
    assert_eq!(found[1]["records"]["row"], json!([]));
    let rows = &found[2]["rows"];
    assert_eq!(rows["depth"], json!([0, 1, 2, 1, 0]));
    assert_eq!(rows["start"], json!([0, 10, 12, 50, 1]));
    assert_eq!(rows["duration"], json!([100, 20, 5, 10, 1]));
    assert_eq!(rows["marks"], json!([0, 0, 0, 0, 1]));
    assert_eq!(rows["kind"], json!([2, 2, 2, 2, 2]));
    let name = |row: usize| &head["strings"][rows["name"][row].as_u64().unwrap() as usize];
    assert_eq!(name(2), "span 4");
    assert_eq!(found[3]["done"]["spans"], 5);

    let by_row = server.get(&format!("{path}/2")).json();
    let by_id = server.get(&format!("{path}/0000000000000004")).json();
    assert_eq!(by_row, by_id);
    assert_eq!(by_row["span_id"], "0000000000000004");
    assert_eq!(by_row["parent_span_id"], "0000000000000002");
    assert_eq!(by_row["columns"][0]["name"], "signal");
    assert_eq!(by_row["data"][0], json!(["span"]));
    let again = server.rows(by_row["sql"].as_str().unwrap());
    assert_eq!(again[0]["name"], "span 4");

    for (path, status) in [
        (format!("{path}/5"), 404),
        (format!("{path}/x"), 400),
        (format!("{path}?spam=1"), 400),
        ("/v1/traces/00000000000000000000000000000001/rows".to_owned(), 404),
        ("/v1/traces/nonsense/rows".to_owned(), 400),
    ] {
        assert_eq!(server.get(&path).status, status, "{path}");
    }
}

/// Runs the tests of a file in `tests/ui` against the server at `url`.
fn in_browser(file: &str, url: &str, more: &[(&str, &str)]) {
    let Some(clients) = clients(file) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut command = Command::new(clients.join("python/bin/python"));
    command.arg(folder.join(file)).env("BROADLOOM_URL", url).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("BROADLOOM_AXE", clients.join("vendor/node_modules/axe-core/axe.min.js"));
    let output = command.envs(more.iter().copied()).output().unwrap();
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{file}:\n{said}\n{complaints}");
}

#[test]
fn a_fresh_server_shows_how_to_send_and_links_the_first_trace() {
    if clients("first_run.py").is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    let ports = [("BROADLOOM_OTLP_GRPC", &*server.otlp_grpc), ("BROADLOOM_OTLP_HTTP", &*server.otlp_http)];
    in_browser("first_run.py", &server.http, &ports);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_page_of_a_server_that_needs_keys_asks_for_one() {
    if clients("sign_in.py").is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = KeyFile::new(directory.path().join("keys.json"));
    let key = NewKey { name: "anna".to_owned(), rights: vec![Right::Read], lifetime: None };
    let key = file.create(key).unwrap();
    let server = Running::with(&Endpoints::any().with_keys(file), Limits::default());
    in_browser("sign_in.py", &server.url(), &[("BROADLOOM_TEST_KEY", &key)]);
}

/// Runs the tests of a file against a server with the demo's shop and its incident, of that many events.
fn on_the_demo(file: &str, events: &str) {
    if clients(file).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let made = broadloom(&["demo", "--events", events, "--start", "2026-01-05T09:00:00Z", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = Served::start(data.path());
    in_browser(file, &server.http, &[]);
    assert_eq!(server.terminate(), Some(0));
}

/// Runs the tests of a file against a server without events.
fn on_a_fresh_server(file: &str) {
    if clients(file).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    in_browser(file, &server.http, &[]);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_page_shows_the_incident_of_the_demo() {
    on_the_demo("demo.py", "30000");
}

#[test]
fn the_page_explores_events_by_any_attribute() {
    on_the_demo("explore.py", "30000");
}

#[test]
fn the_page_leads_from_a_log_record_to_its_neighbours_and_its_trace() {
    on_the_demo("logs.py", "30000");
}

#[test]
fn the_page_lays_two_traces_over_each_other() {
    on_the_demo("compare.py", "30000");
}

#[test]
fn the_page_shows_values_of_attributes_and_the_server_itself() {
    on_the_demo("attributes.py", "30000");
}

#[test]
fn problems_and_empty_pages_are_accessible_too() {
    on_the_demo("states.py", "30000");
}

#[test]
fn every_page_works_in_firefox_too() {
    on_the_demo("firefox.py", "30000");
}

/// `BROADLOOM_UI_PICTURES=docs cargo test --test it pictures_of_the_readme` writes them.
#[test]
fn the_pictures_of_the_readme_are_made_of_the_demo() {
    if std::env::var_os("BROADLOOM_UI_PICTURES").is_some() {
        on_the_demo("pictures.py", "200000");
    }
}

#[test]
fn the_page_shows_what_comes_while_one_watches() {
    on_a_fresh_server("live.py");
}

#[test]
fn the_page_shows_traces_of_any_shape_and_hostile_text() {
    on_a_fresh_server("odd.py");
}

#[test]
fn the_parts_of_the_page_without_a_document_do_what_they_say() {
    if clients("state.test.mjs").is_none() {
        return;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui/state.test.mjs");
    let output = Command::new("node").args(["--test", file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_library_of_the_page_is_what_its_lock_says_and_its_types_fit() {
    let Some(clients) = clients("the page's library") else { return };
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/ui");
    let vendor = clients.join("vendor");
    for file in ["build.mjs", "codemirror.entry.js", "codemirror.js", "LICENSES.md"] {
        std::fs::copy(ui.join("vendor").join(file), vendor.join(file)).unwrap();
    }
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(&vendor).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{program} {arguments:?}\n{}", String::from_utf8_lossy(&said));
    };
    run("node", &["build.mjs", "--check"]);
    run("node_modules/.bin/tsc", &["-p", ui.to_str().unwrap()]);
    let lock = std::fs::read_to_string(ui.join("vendor/package-lock.json")).unwrap();
    assert!(!lock.contains("\"resolved\""), "the lock names no registry: npm install with .npmrc");
}
