//! Does a search for words find what a scan finds, with fewer pages read?

use serde_json::{Value, json};

use crate::running::{query_rows, run_on};

/// Rows of the test: several pages of 8,192 rows.
const ROWS: usize = 60_000;

fn count(data: &std::path::Path, condition: &str) -> Value {
    query_rows(data, &format!("select count(*) as n from logs where {condition}"))[0]["n"].clone()
}

#[test]
fn a_search_finds_what_a_scan_finds() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("logs.ndjson"), folder.path().join("data"));
    let line = |i: usize| {
        let rare = if i == 41_000 { "Überlauf" } else { "fine" };
        let body = format!("Request {i} by worker-{} was {rare}, batch {}", i % 7, i / 500);
        json!({"timestamp": 1_767_607_200_000_000_000_u64 + i as u64, "body": body, "service.name": "api"})
            .to_string()
    };
    let lines: Vec<String> = (0..ROWS).map(line).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    run_on(&data, &["import", file.to_str().unwrap()]);
    for (words, pattern, found) in [
        ("überlauf", "überlauf", 1),
        ("REQUEST 41000", "request 41000 ", 1),
        ("batch 88 fine", "fine, batch 88$", 500),
        ("worker 3", "worker-3 |request 3 |batch 3$", ROWS / 7 + 430),
        ("fine", "fine", ROWS - 1),
        ("work", "never", 0),
        ("nothing like this", "never", 0),
    ] {
        let searched = count(&data, &format!("search('{words}')"));
        assert_eq!(searched, count(&data, &format!("body ~* '{pattern}'")), "{words}");
        assert!(searched.as_u64().unwrap().abs_diff(found as u64) <= 20, "{words}: {searched}");
    }
    let plan = run_on(
        &data,
        &[
            "query",
            "--format",
            "ndjson",
            "explain analyze select count(*) from logs where search('überlauf')",
        ],
    );
    let plan = String::from_utf8(plan).unwrap();
    assert!(plan.contains("index_files_looked_up=1"), "{plan}");
    run_on(&data, &["check"]);
}
