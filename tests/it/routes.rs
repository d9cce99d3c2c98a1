//! Do the routes for pages and programs answer what docs/http.md says: running queries, completion, pages of traces,
//! neighbours of a log record, figures, and events as they come?

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use broadloom::server::{Limits, Port};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::running::{Answer, Running, delete, get, spans};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Statement that ends only when it is ended.
const SLOW: &str = "select max(value) from generate_series(1, 1000000000000)";

fn post(server: &Running, path: &str, body: &Value) -> Answer {
    server.post(path, &[JSON], body.to_string())
}

/// Rows of a table by column, as objects.
fn rows(answer: &Value) -> Vec<Value> {
    let names: Vec<&str> =
        answer["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let count = answer["rows"]["count"].as_u64().unwrap() as usize;
    let value = |row: usize, column: usize| answer["rows"]["data"][column][row].clone();
    let object =
        |row| names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), value(row, i))).collect();
    (0..count).map(object).collect()
}

/// Sends log records: time in nanoseconds, severity number, body.
fn send_logs(server: &Running, records: &[(u64, u32, &str)]) {
    let record = |(time, severity, body): &(u64, u32, &str)| json!({ "timeUnixNano": time.to_string(), "severityNumber": severity, "body": { "stringValue": body } });
    let service = json!([{ "key": "service.name", "value": { "stringValue": "till" } }]);
    let records: Vec<Value> = records.iter().map(record).collect();
    let sent = json!({ "resourceLogs": [{ "resource": { "attributes": service }, "scopeLogs": [{ "logRecords": records }] }] });
    let answer = post(server, "/v1/logs", &sent);
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}

/// Now, in nanoseconds.
fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a record of a producer has the time of its clock")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// The one query that runs.
fn running(server: &Running) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let queries = server.get("/v1/queries").json()["queries"].clone();
        if queries[0]["cost"].is_object() {
            return queries[0].clone();
        }
        assert!(Instant::now() < deadline, "{queries}");
    }
}

#[test]
fn a_query_that_runs_is_seen_and_ended() {
    let server = Running::start();
    server.send(&spans(3));
    assert_eq!(server.get("/v1/queries").json(), json!({ "queries": [] }));
    for format in ["json", "stream"] {
        std::thread::scope(|threads| {
            let asked = threads.spawn(|| server.post(&format!("/v1/sql?format={format}"), &[], SLOW));
            let query = running(&server);
            assert_eq!(
                (&query["statement"], &query["kind"], &query["door"]),
                (&json!(SLOW), &json!("sql"), &json!("http"))
            );
            assert_eq!(
                (&query["asked_by"], &query["is_own"], &query["rows"]),
                (&Value::Null, &json!(true), &json!(0))
            );
            assert!(query["age_ms"].is_u64() && query["cost"]["rows_read"].is_u64(), "{query}");
            let id = query["id"].as_str().unwrap();
            let path = format!("{}/v1/queries/{id}", server.url());
            assert_eq!(delete(&path, &[]).status, 204);
            let answer = asked.join().unwrap();
            let problem = if format == "json" {
                assert_eq!(answer.status, 504, "{}", answer.text());
                answer.json()
            } else {
                assert_eq!(answer.header("broadloom-query"), Some(id));
                let last = answer.text().lines().last().unwrap();
                serde_json::from_str::<Value>(last).unwrap()["problem"].clone()
            };
            assert_eq!(problem["type"], "urn:broadloom:problem:cancelled");
            assert!(problem["detail"].as_str().unwrap().contains(id), "{problem}");
            // The client is told before the work has ended.
            while server.get("/v1/queries").json() != json!({ "queries": [] }) {
                std::thread::yield_now();
            }
            let again = delete(&path, &[]);
            assert_eq!(
                (again.status, &again.json()["type"]),
                (404, &json!("urn:broadloom:problem:not-found"))
            );
        });
    }
    assert_eq!(delete(&format!("{}/v1/queries/x", server.url()), &[]).status, 404);
    let whole = server.post("/v1/sql", &[], "select 1 as one");
    assert!(whole.header("broadloom-query").unwrap().starts_with("q-"), "{whole:?}");
}

#[test]
fn what_can_follow_is_told_by_the_names_and_values_that_there_are() {
    let server = Running::start();
    server.send(&spans(3));
    let complete = |sql: &str| {
        let answer = post(&server, "/v1/complete", &json!({ "sql": sql, "position": sql.chars().count() }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().as_array().unwrap().clone()
    };
    let key = json!({ "text": "http.route", "kind": "key", "detail": "text", "from": 11, "to": 18 });
    assert_eq!(
        complete("select 'é', http.ro"),
        Vec::<Value>::new()
            .into_iter()
            .chain([json!({
        "text": "http.route", "kind": "key", "detail": "text", "from": 12, "to": 19 })])
            .collect::<Vec<_>>()
    );
    assert_eq!(complete("select 'x',http.ro"), [key]);
    let first = |sql: &str| (complete(sql)[0]["text"].clone(), complete(sql)[0]["kind"].clone());
    assert_eq!(first("select * from spa"), (json!("span_events"), json!("table")));
    assert_eq!(first("select * from heat"), (json!("heatmap("), json!("function")));
    assert_eq!(first("select p99"), (json!("p99("), json!("function")));
    assert_eq!(first("select durat"), (json!("duration_ns"), json!("column")));
    assert_eq!(first("select 1 fro"), (json!("from"), json!("keyword")));
    let value = complete("select 1 from spans where http.route = '/ca");
    assert_eq!(
        value,
        [json!({ "text": "/cart/{id}'", "kind": "value", "detail": "", "from": 40, "to": 43 })]
    );
    assert!(complete("select 1 from spans where no.such = 'x").is_empty());
    for wrong in [
        json!({ "sql": "select", "position": 7 }),
        json!({ "sql": "select" }),
        json!({ "sql": "", "position": 0, "more": 1 }),
    ] {
        assert_eq!(post(&server, "/v1/complete", &wrong).status, 400, "{wrong}");
    }
}

/// Everything that a list has, page by page.
fn all_pages(server: &Running, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let answer = server.get(&format!("{path}{next}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        let found = rows(&page);
        let remaining = page["remaining"].as_u64().unwrap();
        all.extend(found.iter().cloned());
        assert!(page["sql"].as_str().unwrap().starts_with("SELECT ") && page["cost"]["elapsed_ms"].is_u64());
        if let Some(place) = page["next"].as_str() {
            assert!(remaining > found.len() as u64);
            next = format!("&after={place}");
        } else {
            assert_eq!(remaining, found.len() as u64);
            return all;
        }
    }
}

#[test]
fn pages_of_traces_and_spans_have_each_row_once_in_every_order() {
    let server = Running::start();
    for trace in 1..=7_u8 {
        let mut request = spans(usize::from(trace % 3) + 1);
        for (at, span) in request.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
            span.trace_id = vec![trace; 16];
            // Equal durations and starts, so that the ids decide; one without a known end.
            span.start_time_unix_nano = 1_700_000_000_000_000_000 + at as u64;
            span.end_time_unix_nano =
                if trace == 4 { 0 } else { span.start_time_unix_nano + u64::from(trace / 3) };
            span.status.as_mut().unwrap().code = if trace % 2 == 0 { 2 } else { 1 };
        }
        server.send(&request);
    }
    let spans_in_all = server.rows("select count(*) as n from spans")[0]["n"].as_u64().unwrap() as usize;
    for (of, orders, count) in [
        ("traces", &["newest", "slowest", "fastest", "errors", "largest"][..], 7),
        ("spans", &["newest", "slowest", "fastest", "errors"][..], spans_in_all),
    ] {
        for order in orders {
            let whole = rows(&server.get(&format!("/v1/traces?of={of}&order={order}")).json());
            let paged = all_pages(&server, &format!("/v1/traces?of={of}&order={order}&limit=2"));
            assert_eq!(paged, whole, "{of} {order}");
            let ids: BTreeSet<String> =
                paged.iter().map(|row| format!("{} {}", row["trace_id"], row["span_id"])).collect();
            assert_eq!((ids.len(), paged.len()), (count, count), "{of} {order}");
        }
    }
    let some = server.get("/v1/traces?where=status+%3D+'error'&limit=10").json();
    assert_eq!(some["rows"]["count"], 3);
    let none = server.get("/v1/traces?from=2024-01-01T00:00:00Z").json();
    assert_eq!(
        (&none["rows"]["count"], &none["next"], &none["remaining"]),
        (&json!(0), &Value::Null, &json!(0))
    );
    for wrong in ["where=no.such+%3D+1", "where=a)+or+(b", "order=oldest", "after=x", "limit=0", "spam=1"] {
        assert_eq!(server.get(&format!("/v1/traces?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn the_neighbours_of_a_log_record_are_before_and_after_it() {
    let server = Running::start();
    let start = 1_700_000_000_000_000_000;
    let bodies: Vec<String> = (0..9).map(|i| format!("line {i}")).collect();
    let records: Vec<(u64, u32, &str)> = bodies
        .iter()
        .enumerate()
        .map(|(i, body)| (start + i as u64, if i == 4 { 17 } else { 9 }, body.as_str()))
        .collect();
    send_logs(&server, &records);
    server.runtime.block_on(server.database.flush()).unwrap();
    let event = "2023-11-14T22:13:20.000000004Z";
    let path = format!("/v1/logs/context?event={event}");
    let found = server.get(&format!("{path}&before=2&after=3&same=service.name")).json();
    let lines: Vec<Value> = rows(&found).iter().map(|row| row["body"].clone()).collect();
    assert_eq!(json!(lines), json!(["line 2", "line 3", "line 4", "line 5", "line 6", "line 7"]));
    assert_eq!(found["at"], 2);
    assert!(
        found["sql"].as_str().unwrap().contains("attributes['service.name'] = 'till'"),
        "{}",
        found["sql"]
    );
    let others = server.get(&format!("{path}&where=severity_number+%3C+17&within=any")).json();
    assert_eq!((&others["rows"]["count"], &others["at"]), (&json!(8), &Value::Null));
    for (wrong, status) in [
        ("/v1/logs/context".to_owned(), 400),
        (format!("{path}~00000000"), 404),
        ("/v1/logs/context?event=2023-11-14T22:13:21Z".to_owned(), 404),
        (format!("{path}&spam=1"), 400),
    ] {
        assert_eq!(server.get(&wrong).status, status, "{wrong}");
    }
}

#[test]
fn log_messages_that_differ_in_numbers_alone_are_one_pattern() {
    let server = Running::start();
    let start = 1_700_000_000_000_000_000;
    send_logs(
        &server,
        &[
            (start, 9, "user 17 has paid 12.50"),
            (start + 1, 9, "user 9 has paid 1"),
            (start + 2, 17, "declined"),
        ],
    );
    let found = server.get("/v1/logs/patterns").json();
    let all = rows(&found);
    assert_eq!(
        (&all[0]["pattern"], &all[0]["records"], &all[0]["services"]),
        (&json!("user <n> has paid <n>"), &json!(2), &json!(["till"]))
    );
    assert_eq!(
        (&all[1]["pattern"], &all[1]["severity"], &all[1]["records"]),
        (&json!("declined"), &json!("ERROR"), &json!(1))
    );
    let errors =
        server.get("/v1/logs/patterns?where=severity_number+%3E%3D+17&from=2023-01-01T00:00:00Z").json();
    assert_eq!(errors["rows"]["count"], 1);
    assert_eq!(server.get("/v1/logs/patterns?spam=1").status, 400);
}

#[test]
fn figures_are_those_of_the_functions_of_sql() {
    let server = Running::start();
    server.send(&spans(4));
    let range = json!(["2023-11-14T22:13:20Z", "2023-11-14T22:13:23Z"]);
    let cells =
        post(&server, "/v1/heatmap", &json!({ "t": range, "where": "kind = 'server'", "step": "1s" })).json();
    let wanted = rows(&cells);
    assert_eq!(wanted.iter().map(|cell| cell["events"].as_u64().unwrap()).sum::<u64>(), 3);
    assert_eq!(
        (wanted[0]["time"].as_str().unwrap().get(..19), &cells["is_cut"]),
        (Some("2023-11-14T22:13:20"), &json!(false))
    );
    assert!(
        wanted[0]["low"].as_f64().unwrap() <= 1.5e6 && wanted[0]["high"].as_f64().unwrap() > 1.5e6,
        "{cells}"
    );
    assert_eq!(server.rows(cells["sql"].as_str().unwrap()).as_array().unwrap().len(), wanted.len());

    let body = json!({ "t": range, "figures": ["count(*)", "p99(duration_ns)"], "by": ["http.route", "name"], "step": "1m", "groups": 2 });
    let series = post(&server, "/v1/series", &body).json();
    let groups = rows(&series);
    assert_eq!(groups.len(), 2, "{series}");
    assert_eq!(
        (&groups[0]["http.route"], &groups[0]["name"], &groups[0]["count(*)"]),
        (&json!("/cart/{id}"), &json!("span 0"), &json!(1))
    );
    let all = post(&server, "/v1/series", &json!({ "figures": ["count(*)"], "step": "1h" })).json();
    assert_eq!(rows(&all)[0]["count(*)"], 4);

    let mut slow = spans(60);
    for (at, span) in slow.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
        let is_slow = at % 2 == 0;
        span.end_time_unix_nano = span.start_time_unix_nano + if is_slow { 9_000_000_000 } else { 1_000 };
        span.name = if is_slow { "pay" } else { "look" }.to_owned();
    }
    server.send(&slow);
    let body = json!({ "where": "name in ('pay', 'look')", "selection": "duration_ns > 1e9", "keys": 5 });
    let different = post(&server, "/v1/explain_diff", &body);
    assert_eq!(different.status, 200, "{}", different.text());
    let found = rows(&different.json());
    let paid = found.iter().find(|row| row["value"] == "pay").unwrap();
    assert_eq!(
        (&paid["key"], &paid["rank"], &paid["selection_rows"]),
        (&json!("name"), &json!(1), &json!(30))
    );

    for (path, wrong) in [
        ("/v1/heatmap", json!({ "source": "users" })),
        ("/v1/heatmap", json!({ "where": "true) or (false" })),
        ("/v1/heatmap", json!({ "value": "no.such.key" })),
        ("/v1/series", json!({ "figures": ["count(*)"], "more": 1 })),
        ("/v1/explain_diff", json!({ "where": "true" })),
        ("/v1/explain_diff", json!([])),
    ] {
        let answer = post(&server, path, &wrong);
        assert_eq!(
            (answer.status, &answer.json()["type"]),
            (400, &json!("urn:broadloom:problem:invalid-input")),
            "{wrong}"
        );
    }
}

/// A tail as lines.
struct Lines(Box<dyn BufRead + Send>);

impl Lines {
    fn open(server: &Running, options: &str) -> Self {
        let response = ureq::get(format!("{}/v1/tail?{options}", server.url())).call().unwrap();
        assert_eq!(response.headers()["content-type"], "application/x-ndjson; profile=stream");
        Self(Box::new(BufReader::new(response.into_body().into_reader())))
    }

    /// The next line that has this member.
    fn next(&mut self, member: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it has ended before {member}");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value[member].is_object() || value[member].is_array() {
                return value[member].clone();
            }
        }
    }
}

#[test]
fn events_come_as_lines_in_the_order_of_their_arrival() {
    let server = Running::start();
    send_logs(&server, &[(now(), 9, "before"), (now(), 17, "an old error")]);
    let mut tail = Lines::open(&server, "source=logs&where=severity_number+%3E%3D+17&backlog=10");
    assert_eq!(tail.next("columns")[3], json!({ "name": "body", "type": "text" }));
    assert_eq!(tail.next("rows")["data"][3], json!(["an old error"]));
    send_logs(&server, &[(now(), 9, "not this"), (now(), 17, "this")]);
    assert_eq!(tail.next("rows")["data"][3], json!(["this"]));
    // A day late, and after a flush.
    server.runtime.block_on(server.database.flush()).unwrap();
    send_logs(&server, &[(now() - 86_400_000_000_000, 17, "late")]);
    assert_eq!(tail.next("rows"), json!({ "count": 1, "data": tail_row(&server, "late") }));
    let many: Vec<String> = (0..3_000).map(|i| format!("flood {i}")).collect();
    let start = now();
    let many: Vec<(u64, u32, &str)> =
        many.iter().enumerate().map(|(i, body)| (start + i as u64, 17, body.as_str())).collect();
    send_logs(&server, &many);
    let kept = tail.next("rows");
    let skipped = tail.next("skipped");
    assert_eq!(skipped["why"], "rate");
    assert_eq!(skipped["rows"].as_u64().unwrap() + kept["count"].as_u64().unwrap(), 3_000);
    let bodies = kept["data"][3].as_array().unwrap();
    assert_eq!(bodies.last().unwrap(), "flood 2999", "the newest are kept");
    // It is seen, and ended, as any query.
    let seen = server.get("/v1/queries").json()["queries"][0].clone();
    assert_eq!(seen["kind"], "tail");
    assert_eq!(
        delete(&format!("{}/v1/queries/{}", server.url(), seen["id"].as_str().unwrap()), &[]).status,
        204
    );
    assert_eq!(tail.next("problem")["type"], "urn:broadloom:problem:cancelled");
    for wrong in ["where=no.such+%3D+1", "where=a)+or+(b", "source=users", "credit=5", "spam=1"] {
        assert_eq!(server.get(&format!("/v1/tail?{wrong}")).status, 400, "{wrong}");
    }
}

/// The row of a log record as a tail has it.
fn tail_row(server: &Running, body: &str) -> Value {
    let sql = format!(
        "select timestamp, severity, attributes['service.name'] as service, body, trace_id, span_id from logs where body = '{body}'"
    );
    let row = &server.rows(&sql)[0];
    ["timestamp", "severity", "service", "body", "trace_id", "span_id"]
        .map(|name| json!([row[name]]))
        .to_vec()
        .into()
}

#[test]
fn events_come_over_a_web_socket_while_there_is_credit() {
    let server = Running::start();
    let url = |options: &str| format!("ws://{}/v1/tail?{options}", server.addresses.get(Port::Http).unwrap());
    server.runtime.block_on(async {
        let (mut socket, _) = tokio_tungstenite::connect_async(url("source=logs&credit=2")).await.unwrap();
        let next = async |socket: &mut tokio_tungstenite::WebSocketStream<_>| -> Value {
            loop {
                let message: Message = socket.next().await.unwrap().unwrap();
                let value: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                if value["at"].is_null() {
                    return value;
                }
            }
        };
        assert!(next(&mut socket).await["columns"].is_array());
        let send = |bodies: [&'static str; 3]| {
            tokio::task::block_in_place(|| send_logs(&server, &bodies.map(|body| (now(), 9, body))));
        };
        send(["one", "two", "three"]);
        assert_eq!(next(&mut socket).await["rows"]["count"], 2);
        assert_eq!(next(&mut socket).await["skipped"], json!({ "rows": 1, "why": "credit" }));
        // Nothing is looked at without credit, and nothing is lost.
        send(["four", "five", "six"]);
        socket.send(Message::text("{\"credit\": 10}")).await.unwrap();
        assert_eq!(next(&mut socket).await["rows"]["data"][3], json!(["four", "five", "six"]));
        socket.send(Message::text("{\"pause\": true}")).await.unwrap();
        socket.send(Message::text("{\"pause\": false}")).await.unwrap();
        send(["seven", "eight", "nine"]);
        assert_eq!(next(&mut socket).await["rows"]["count"], 3);
        socket.send(Message::text("{\"limit\": 1}")).await.unwrap();
        let problem = next(&mut socket).await["problem"].clone();
        assert_eq!(problem["type"], "urn:broadloom:problem:invalid-input", "{problem}");
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));

        let (mut wrong, _) = tokio_tungstenite::connect_async(url("where=no.such+%3D+1")).await.unwrap();
        assert!(next(&mut wrong).await["problem"]["detail"].as_str().unwrap().contains("no.such"));

        let mut foreign = url("").into_client_request().unwrap();
        foreign.headers_mut().insert("Origin", "https://attacker.example".parse().unwrap());
        let refused = tokio_tungstenite::connect_async(foreign).await.unwrap_err();
        assert!(refused.to_string().contains("403"), "{refused}");
    });
}

#[test]
fn a_server_that_stops_ends_tails_at_once() {
    let server = Running::start();
    let mut lines = Lines::open(&server, "");
    lines.next("columns");
    let url = format!("ws://{}/v1/tail", server.addresses.get(Port::Http).unwrap());
    let mut socket =
        server.runtime.block_on(async { tokio_tungstenite::connect_async(url).await.unwrap().0 });
    server.runtime.block_on(async { socket.next().await.unwrap().unwrap() });
    let told = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move { while let Some(Ok(_)) = socket.next().await {} });
        lines.next("problem")
    });
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_secs(6), "it waited for its tails: {:?}", began.elapsed());
    assert_eq!(told.join().unwrap()["type"], "urn:broadloom:problem:unavailable");
}

#[test]
fn more_clients_than_there_are_places_for_are_asked_to_come_again() {
    let server = Running::with_limits(Limits { queries_max: 1, ..Limits::default() });
    let mut tails: Vec<Lines> = (0..100).map(|_| Lines::open(&server, "")).collect();
    assert_eq!(get(&format!("{}/v1/tail", server.url()), &[]).status, 503);
    // They take no place of questions.
    server.rows("select 1");
    tails.pop();
    while get_head(&server) == 503 {}
}

/// Status of a tail that is left at once.
fn get_head(server: &Running) -> u16 {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    agent.get(format!("{}/v1/tail", server.url())).call().unwrap().status().as_u16()
}

#[test]
fn the_examples_of_the_documentation_work() {
    let server = Running::start();
    server.send(&spans(3));
    send_logs(&server, &[(1_700_000_000_000_000_000, 17, "a record")]);
    let page = include_str!("../../docs/http.md");
    let blocks =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().replace("\\\n", " "));
    let lines: Vec<String> =
        blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let commands = lines.iter().filter(|line| line.starts_with("curl "));
    let mut tried = BTreeSet::new();
    for command in commands {
        let address = server.addresses.get(Port::Http).unwrap().to_string();
        let own = command.replace("127.0.0.1:8080", &address).replacen("curl ", "curl --fail-with-body ", 1);
        let output = Command::new("sh").args(["-c", &own]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        // What never ends is given a time, after which curl ends with 28.
        let is_over =
            output.status.success() || (command.contains("--max-time") && output.status.code() == Some(28));
        assert!(is_over && !said.is_empty(), "{command}\n{}", String::from_utf8_lossy(&said));
        let path = command.split("127.0.0.1:8080").nth(1).unwrap();
        tried.insert(path.split(['?', '\'', ' ']).next().unwrap().to_owned());
    }
    for path in [
        "/v1/sql",
        "/v1/queries",
        "/v1/complete",
        "/v1/heatmap",
        "/v1/series",
        "/v1/explain_diff",
        "/v1/traces",
        "/v1/logs/context",
        "/v1/logs/patterns",
        "/v1/tail",
    ] {
        assert!(tried.contains(path), "docs/http.md has no example of {path}");
    }
}
