//! Does `broadloom import` work from outside: exit codes, rejected records, compression, interruption?

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use broadloom::Database;
use broadloom::config::Settings;

use crate::running::broadloom;

fn import(data: &Path) -> Command {
    let mut command = broadloom(&["import", "--data"]);
    command.arg(data);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a query; returns its first column as text.
async fn ask(data: &Path, sql: &str) -> Vec<String> {
    let database = Database::open(Settings::new(data)).await.unwrap();
    let batches = database.sql(sql).await.unwrap().collect().await.unwrap();
    database.close().await.unwrap();
    let mut found = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            found.push(arrow::util::display::array_value_to_string(batch.column(0), row).unwrap());
        }
    }
    found
}

async fn count(data: &Path) -> u64 {
    ask(data, "select count(*) from events").await[0].parse().unwrap()
}

#[tokio::test]
async fn files_of_every_format_go_in_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (data, files) = (dir.path().join("data"), dir.path().join("files"));
    std::fs::create_dir(&files).unwrap();
    let lines = b"{\"time\":\"2026-01-01T00:00:00Z\",\"msg\":\"a\"}\n{\"time\":\"2026-01-01T00:00:01Z\",\"msg\":\"b\"}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines).unwrap();
    std::fs::write(files.join("a"), gzip.finish().unwrap()).unwrap();
    std::fs::write(files.join("b"), zstd::encode_all(&lines[..], 1).unwrap()).unwrap();
    std::fs::write(files.join("c.csv"), "time,msg\n2026-01-01T00:00:02Z,c\n").unwrap();
    std::fs::write(files.join("d.csv"), "time,msg\n").unwrap();
    std::fs::write(files.join("manifest.json"), "{\n \"start_ns\": 7\n}\n").unwrap();
    std::fs::write(files.join("LICENSE"), "Permission is granted.\n").unwrap();
    let otlp = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/otlp/logs.json");
    let mut child = import(&data)
        .arg(&files)
        .arg(&otlp)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&lines[..lines.len() - 1]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("imported 8 events"), "{}", stderr(&output));
    let found =
        ask(&data, "select body from logs where timestamp >= '2026-01-01T00:00:00Z' order by body").await;
    assert_eq!(found, ["a", "a", "a", "b", "b", "b", "c"]);

    // Segments are tables like any others: they can be imported into another database completely.
    let copy = dir.path().join("copy");
    let output = import(&copy).arg(data.join("segments")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(count(&copy).await, 8);
    let keys = "select attributes from events order by timestamp, body";
    assert_eq!(ask(&copy, keys).await, ask(&data, keys).await);
}

#[tokio::test]
async fn bad_records_are_told_and_the_rest_goes_in() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file, rejects) =
        (dir.path().join("data"), dir.path().join("in.ndjson"), dir.path().join("rejects"));
    std::fs::write(&file, "{\"time\":1,\"a\":1}\nnot JSON\n{\"time\":2,\"a\":2}\n").unwrap();
    let output = import(&data).arg(&file).arg("--rejects").arg(&rejects).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("in.ndjson, line 2, column 2: not a JSON object"),
        "{}",
        stderr(&output)
    );
    let entry: serde_json::Value = serde_json::from_slice(&std::fs::read(&rejects).unwrap()).unwrap();
    assert_eq!((&entry["line"], &entry["raw"]), (&2.into(), &"not JSON".into()));
    assert_eq!(count(&data).await, 2);

    let output = import(&data).arg(dir.path().join("nothing")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    std::fs::write(&file, "what is this\n").unwrap();
    let output = import(&data).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("name it with --format"), "{}", stderr(&output));
}

/// Imports a file with these bytes; returns the bodies of its events, the exit code and stderr.
async fn imported(bytes: &[u8]) -> (Vec<String>, Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("file"));
    std::fs::write(&file, bytes).unwrap();
    let output = import(&data).arg(&file).output().unwrap();
    let bodies = ask(&data, "select body from events order by timestamp, body").await;
    (bodies, output.status.code(), stderr(&output))
}

#[tokio::test]
async fn marks_encodings_and_padding_cost_no_record() {
    let lines = "{\"time\":1,\"msg\":\"a\"}\r\n{\"time\":2,\"msg\":\"b\"}\r\n";
    let gzip = |text: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    };
    let marked = format!("\u{feff}{lines}");
    let little: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let padded = [gzip(lines.as_bytes()), vec![0; 512]].concat();
    for bytes in [marked.clone().into_bytes(), gzip(marked.as_bytes()), gzip(&little), little, big, padded] {
        let (bodies, code, said) = imported(&bytes).await;
        assert_eq!((bodies, code), (vec!["a".to_owned(), "b".to_owned()], Some(0)), "{said}");
    }
    // Records before the damage are imported, and the damage is reported.
    let (bodies, code, said) = imported(&[gzip(lines.as_bytes()), b"garbage".to_vec()].concat()).await;
    assert_eq!((bodies.len(), code), (2, Some(1)), "{said}");
    assert!(said.contains("after line 2, the rest was not read: bytes that are not gzip"), "{said}");
    let whole = gzip(lines.as_bytes());
    let (bodies, code, said) = imported(&whole[..whole.len() - 8]).await;
    assert_eq!((bodies.len(), code), (2, Some(1)), "{said}");
    assert!(said.contains("the gzip data ends too early"), "{said}");
}

#[tokio::test]
async fn a_file_that_begins_within_a_line_loses_that_line() {
    let text = "alue\":\"x\"}]}\n{\"time\":1,\"msg\":\"a\"}\n{\"time\":2,\"msg\":\"b\",}\n{\"time\":3,\"msg\":\"c\"}\n";
    let (bodies, code, said) = imported(text.as_bytes()).await;
    assert_eq!((bodies, code), (vec!["a".to_owned(), "c".to_owned()], Some(3)), "{said}");
    assert!(
        said.contains("line 1, column 1: not a JSON object") && said.contains("line 3, column 2"),
        "{said}"
    );
}

#[tokio::test]
async fn a_quote_that_never_closes_is_told() {
    let text = "time,message\n2025-06-15T15:06:40Z,\"never closed\n2025-06-15T15:06:41Z,next\n2025-06-15T15:06:42Z\n";
    let (bodies, code, said) = imported(text.as_bytes()).await;
    assert_eq!((bodies, code), (vec!["next".to_owned(), String::new()], Some(3)), "{said}");
    assert!(said.contains("line 2, column 22: a quote opens here that never closes"), "{said}");
    assert!(said.contains("note: 1 rows have fewer fields than the header"), "{said}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_an_interrupted_import_reports_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut child = import(&data).arg("-").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // More than a chunk, so that a part is handed over; then the pipe stays open.
    let mut text = Vec::new();
    for i in 0..120_000 {
        let time = 1_700_000_000 + i;
        let pad = "0123456789012345678901234567890123456789";
        writeln!(text, "{{\"time\":{time},\"n\":{i},\"pad\":\"{pad}\"}}").unwrap();
    }
    stdin.write_all(&text).unwrap();
    stdin.flush().unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let events: u64 = said
        .lines()
        .find_map(|line| line.strip_prefix("not finished: ")?.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    assert_eq!(count(&data).await, events, "{said}");
    if events > 0 {
        assert!(said.contains(&format!("stdin: up to line {events}, {events} events")), "{said}");
    }
}
