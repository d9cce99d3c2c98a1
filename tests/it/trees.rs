//! Are real traces put in order rightly? A Python program computes the places of their spans from ids and times alone
//! (`tests/clients/trees_expected.py`).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::running::{query_rows, run_on};

/// Spans as the program reads them.
const SPANS: &str = "select encode(trace_id, 'hex') as trace, encode(span_id, 'hex') as span, \
    encode(parent_span_id, 'hex') as parent, cast(timestamp as bigint) as start, duration_ns as duration from spans";

#[test]
fn places_and_own_times_are_those_of_the_spans() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: there is no python3");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for file in [
        "nezha/trainticket-2023-01-30-trace.csv",
        "nezha/onlineboutique-2022-08-22-trace.csv",
        "jaeger/genaiTestTrace.json",
    ] {
        run_on(&data, &["import", root.join("testdata").join(file).to_str().unwrap()]);
    }
    let spans = folder.path().join("spans.ndjson");
    std::fs::write(&spans, run_on(&data, &["query", "--format", "ndjson", SPANS])).unwrap();
    let script = root.join("tests/clients/trees_expected.py");
    let output = Command::new("python3").args([&script, &spans]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(expected.len() > 10);
    for (trace, places) in expected {
        let sql = format!(
            "select encode(span_id, 'hex') as span, depth, spans_below, self_ns from trace_rows('{trace}') \
             order by span, depth, spans_below, self_ns"
        );
        let found: Vec<Value> = query_rows(&data, &sql)
            .iter()
            .map(|row| json!([row["span"], row["depth"], row["spans_below"], row["self_ns"]]))
            .collect();
        assert_eq!(Value::from(found), *places, "{trace}");
        // The critical path is as long as the longest tree.
        let sql = format!(
            "select sum(duration_ns) = (select max(duration_ns) from trace_rows('{trace}') where depth = 0) as whole, \
             round(sum(share), 9) as share from critical_path('{trace}')"
        );
        assert_eq!(query_rows(&data, &sql), [json!({"whole": true, "share": 1.0})], "{trace}");
    }
}
