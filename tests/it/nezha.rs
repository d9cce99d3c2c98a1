//! Are queries right on real traces and logs, of two microservice systems under fault injection, imported from CSV?
//!
//! DuckDB computed the expected results from the same files (`tests/clients/nezha_expected.py`). The excerpt in
//! `testdata` is always tested; the complete files only if they are in `nezha/` below the directory that
//! `BROADLOOM_REAL_DATA` names.

use std::path::{Path, PathBuf};

use broadloom::Database;
use broadloom::config::Settings;
use serde_json::Value;

use crate::running::broadloom;

/// Largest relative error of a percentile; the sketch guarantees one percent.
const RELATIVE_ERROR: f64 = 0.011;

/// The systems: name, stem of the files, and a condition for the time of recording.
const SYSTEMS: [(&str, &str, &str); 2] = [
    ("trainticket", "trainticket-2023-01-30", "timestamp >= '2023-01-01T00:00:00Z'"),
    ("onlineboutique", "onlineboutique-2022-08-22", "timestamp < '2023-01-01T00:00:00Z'"),
];

#[tokio::test]
async fn the_excerpt_answers_as_duckdb_does() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/nezha");
    check(&files, include_str!("nezha_expected/excerpt.json")).await;
}

#[tokio::test]
async fn the_whole_files_answer_as_duckdb_does() {
    let Some(real) = std::env::var_os("BROADLOOM_REAL_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED: BROADLOOM_REAL_DATA does not name the directory of the complete files");
        return;
    };
    check(&real.join("nezha"), include_str!("nezha_expected/full.json")).await;
}

async fn check(files: &Path, expected: &str) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    let data = tempfile::tempdir().unwrap();
    import(files, data.path());
    let database = Database::open(Settings::new(data.path())).await.unwrap();
    for (system, _, when) in SYSTEMS {
        let expected = &expected[system];
        counts(&database, when, expected).await;
        services(&database, when, expected).await;
        percentiles(&database, when, expected).await;
        lines_of_a_trace(&database, expected).await;
        slowest_services(&database, expected).await;
    }
    database.close().await.unwrap();
}

/// Runs `broadloom import` on the files of both systems.
fn import(files: &Path, data: &Path) {
    let mut command = broadloom(&["import", "--data"]);
    command.arg(data);
    for (_, stem, _) in SYSTEMS {
        for kind in ["trace", "log"] {
            command.arg(files.join(format!("{stem}-{kind}.csv*")));
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn rows(database: &Database, sql: &str) -> Vec<Value> {
    let batches = match database.sql(sql).await {
        Ok(result) => result.collect().await.unwrap(),
        Err(error) => panic!("{sql}: {error}"),
    };
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

async fn counts(database: &Database, when: &str, expected: &Value) {
    for (view, count) in [("spans", &expected["spans"]), ("logs", &expected["logs"])] {
        let found = rows(database, &format!("select count(*) as n from {view} where {when}")).await;
        assert_eq!(found[0]["n"], *count, "{view} where {when}");
    }
}

async fn services(database: &Database, when: &str, expected: &Value) {
    let sql = format!(
        "select service.name as service, count(*) as spans from spans where {when} group by service.name order by 1"
    );
    assert_eq!(rows(database, &sql).await, list(&expected["services"]));
}

async fn percentiles(database: &Database, when: &str, expected: &Value) {
    let sql = format!(
        "select name as operation, cast(date_trunc('minute', timestamp) as bigint) / 1000000000 as minute, \
                count(*) as spans, p99(duration_ns) as p99_ns \
         from spans where {when} group by 1, 2"
    );
    let found = rows(database, &sql).await;
    for expected in list(&expected["p99"]) {
        let found = found
            .iter()
            .find(|row| row["operation"] == expected["operation"] && row["minute"] == expected["minute"])
            .unwrap_or_else(|| panic!("no row like {expected}"));
        assert_eq!(found["spans"], expected["spans"], "{expected}");
        let p99 = found["p99_ns"].as_f64().unwrap();
        let (low, high) = (expected["low_ns"].as_f64().unwrap(), expected["high_ns"].as_f64().unwrap());
        let fits = p99 >= low * (1.0 - RELATIVE_ERROR) && p99 <= high * (1.0 + RELATIVE_ERROR);
        assert!(fits, "p99 {p99} of {expected}");
    }
}

async fn lines_of_a_trace(database: &Database, expected: &Value) {
    let trace = &expected["trace"];
    let sql = format!(
        "select cast(timestamp as bigint) as time_ns, service.name as service, span_id, md5(body) as body_md5 \
         from logs where trace_id = '{}' order by timestamp, span_id, body_md5",
        trace["id"].as_str().unwrap().to_uppercase()
    );
    assert_eq!(rows(database, &sql).await, list(&trace["lines"]));
}

async fn slowest_services(database: &Database, expected: &Value) {
    let windows = list(&expected["windows"]);
    assert!(!windows.is_empty());
    for window in windows {
        let start = window["start"].as_i64().unwrap();
        let sql = format!(
            "select service.name as service, count(*) as spans, sum(duration_ns) as sum_ns from spans \
             where timestamp >= to_timestamp({start}) and timestamp < to_timestamp({}) \
             group by service.name order by cast(sum(duration_ns) as double) / count(*) desc limit 1",
            start + 120
        );
        let found = rows(database, &sql).await;
        for column in ["service", "spans", "sum_ns"] {
            assert_eq!(found[0][column], window[column], "{column} of {window}");
        }
    }
}
