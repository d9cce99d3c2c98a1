//! Does `explain_diff` find the planted cause of the demo's incident, and count as GROUP BY does?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use broadloom::Database;
use broadloom::config::Settings;
use broadloom::demo::{DemoPayload, DemoSettings, Generator};
use broadloom::ingest::otlp::{Encoding, RequestKind, decode};
use prost::Message as _;
use serde_json::Value;

const EVENTS: u64 = 70_000;
const CHECKOUTS: &str = "(SELECT * FROM spans WHERE http.route = '/checkout' AND http.request.method = 'POST' AND kind = 'server')";
const SLOW: &str = "duration_ns > 1000000000";
/// A selection with many rows.
const LONG: &str = "duration_ns > 30000000";
/// Difference that no key may have without being in the result.
const LARGE: f64 = 0.1;

async fn corpus(folder: &Path) -> Database {
    let database = Database::open(Settings::new(folder)).await.unwrap();
    for request in Generator::new(DemoSettings::new(1, EVENTS)) {
        let (kind, bytes) = match &request.payload {
            DemoPayload::Traces(request) => (RequestKind::Traces, request.encode_to_vec()),
            DemoPayload::Logs(request) => (RequestKind::Logs, request.encode_to_vec()),
            DemoPayload::Metrics(_) => continue,
        };
        let ingested = decode(kind, Encoding::Protobuf, &bytes, request.arrival_ns).unwrap();
        database.append(ingested.batch).await.unwrap();
    }
    database
}

async fn rows(database: &Database, sql: &str) -> Vec<Value> {
    let batches = match database.sql(sql).await {
        Ok(result) => result.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}")),
        Err(error) => panic!("{sql}: {error}"),
    };
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

fn count(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or_else(|| panic!("{column} of {row}"))
}

/// Keys of a result, those that go with others included.
fn keys(rows: &[Value]) -> BTreeSet<String> {
    let own = rows.iter().map(|row| text(row, "key").to_owned());
    let others = rows.iter().filter_map(|row| row["goes_with"].as_array()).flatten();
    own.chain(others.filter_map(|name| name.as_str().map(str::to_owned))).collect()
}

/// One corpus for both questions, as making it takes longest.
#[tokio::test]
async fn the_cause_is_among_the_first_and_shares_are_those_of_group_by() {
    let folder = tempfile::tempdir().unwrap();
    let database = corpus(folder.path()).await;
    let buffered = rows(&database, &compared()).await;
    database.flush().await.unwrap();
    assert_eq!(buffered, rows(&database, &compared()).await);
    the_cause_is_found(&database).await;
    shares_are_right(&database, &buffered).await;
    database.close().await.unwrap();
}

/// Compares all keys of all spans.
fn compared() -> String {
    format!("SELECT * FROM explain_diff(spans, {LONG}, values => 1000, keys => 1000)")
}

async fn the_cause_is_found(database: &Database) {
    // The visitors' system and the region are on the slow span itself.
    let sql = format!("SELECT * FROM explain_diff({CHECKOUTS}, {SLOW})");
    let found = rows(database, &sql).await;
    let first: Vec<&Value> = found.iter().filter(|row| count(row, "rank") <= 3).collect();
    let has = |key: &str, value: &str| {
        let is_it = |row: &&&Value| text(row, "key") == key && text(row, "value").starts_with(value);
        let row = first.iter().find(is_it).unwrap_or_else(|| panic!("no {key} = {value} in {first:#?}"));
        assert!(row["effect"].as_f64().unwrap() > 0.3, "{row}");
    };
    has("os.version", "17.");
    has("cloud.region", "eu-west");

    // The version of another service is found across traces.
    let sql = format!("SELECT * FROM explain_diff({CHECKOUTS}, {SLOW}, across => 'traces') WHERE rank <= 3");
    let found = rows(database, &sql).await;
    let version = found.iter().find(|row| text(row, "value") == "4.12.0");
    let version = version.unwrap_or_else(|| panic!("no version in {found:#?}"));
    assert_eq!((text(version, "key"), text(version, "service")), ("service.version", "payment"));
    for (side, column) in [("IN", "selection_rows"), ("NOT IN", "baseline_rows")] {
        // Each trace once, whichever of its events says so.
        let sql = format!(
            "SELECT count(DISTINCT trace_id) AS n FROM events WHERE service.name = 'payment' AND \
             service.version = '4.12.0' AND trace_id IN (SELECT trace_id FROM {CHECKOUTS} AS s) AND \
             trace_id {side} (SELECT trace_id FROM {CHECKOUTS} AS s WHERE {SLOW})"
        );
        assert_eq!(count(&rows(database, &sql).await[0], "n"), count(version, column), "{version}");
    }
}

/// Counts of each value of a key, by GROUP BY: of the baseline, then of the selection.
async fn grouped(database: &Database, key: &str) -> BTreeMap<Option<String>, [i64; 2]> {
    let sql = format!(
        "SELECT cast(\"{key}\" AS text) AS value, count(*) FILTER (WHERE ({LONG}) IS NOT TRUE) AS baseline, \
         count(*) FILTER (WHERE {LONG}) AS selection FROM spans GROUP BY 1"
    );
    let counted = rows(database, &sql).await;
    let of = |row: &Value| {
        (row["value"].as_str().map(str::to_owned), [count(row, "baseline"), count(row, "selection")])
    };
    counted.iter().map(of).collect()
}

async fn shares_are_right(database: &Database, found: &[Value]) {
    let [baseline, selection] = [count(&found[0], "baseline_total"), count(&found[0], "selection_total")];
    let sql = "SELECT count(*) AS n FROM spans";
    assert_eq!(count(&rows(database, sql).await[0], "n"), baseline + selection);
    let shares = |counts: [i64; 2]| [counts[0] as f64 / baseline as f64, counts[1] as f64 / selection as f64];

    let names = rows(database, "SELECT DISTINCT unnest(map_keys(attributes)) AS name FROM spans").await;
    let mut names: BTreeSet<String> = names.iter().map(|row| text(row, "name").to_owned()).collect();
    names.extend(["name", "kind", "status", "scope.name", "severity"].map(str::to_owned));
    let (listed, mut checked) = (keys(found), 0);
    for name in names {
        let counted = grouped(database, &name).await;
        for row in found.iter().filter(|row| text(row, "key") == name && text(row, "kind") != "unique") {
            let sum = |is_in: &dyn Fn(&str) -> bool| {
                let inside = counted.iter().filter(|(value, _)| value.as_deref().is_some_and(is_in));
                inside.fold([0, 0], |sum, (_, counts)| [sum[0] + counts[0], sum[1] + counts[1]])
            };
            let value = text(row, "value");
            let expected = match text(row, "kind") {
                "absent" => counted.get(&None).copied().unwrap_or_default(),
                "range" => {
                    let [low, high] = ["low", "high"].map(|end| row[end].as_f64().unwrap());
                    sum(&|text| text.parse().is_ok_and(|number: f64| low <= number && number < high))
                }
                _ if text(row, "type") == "prefix" => {
                    sum(&|text| text.starts_with(value.trim_end_matches('*')))
                }
                _ => counted.get(&Some(value.to_owned())).copied().unwrap_or_default(),
            };
            assert_eq!([count(row, "baseline_rows"), count(row, "selection_rows")], expected, "{row}");
            let [b, s] = shares(expected);
            assert!((row["effect"].as_f64().unwrap() - (s - b)).abs() < 1e-12, "{row}");
            assert!(row["p"].as_f64().unwrap() <= 0.01, "{row}");
            checked += 1;
        }
        let largest = counted.values().map(|counts| shares(*counts)).map(|[b, s]| (s - b).abs());
        let largest = largest.fold(0.0, f64::max);
        assert!(
            largest < LARGE || listed.contains(&name),
            "{name} differs by {largest} and is not in {listed:?}"
        );
    }
    assert!(checked > 20, "{checked}");
}
