//! Does the program behave as a user expects: messages, exit codes, files?

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use prost::Message;
use serde_json::json;

use crate::running::{Served, broadloom, post, rows, run, spans};

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{}", stderr(output));
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `broadloom query` on `data`.
fn query(data: &Path, arguments: &[&str]) -> Output {
    broadloom(&["query", "--data"]).arg(data).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Creates a data directory with three spans in a segment.
fn data() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    let answer = post(&format!("{}/v1/traces", server.otlp_http), &[PROTOBUF], spans(3).encode_to_vec());
    assert_eq!(answer.status, 200);
    assert_eq!(server.terminate(), Some(0));
    data
}

#[test]
fn a_server_that_is_told_to_stop_writes_its_buffer_to_a_segment_and_exits_with_zero() {
    let data = data();
    let segments = walk(&data.path().join("segments"));
    assert_eq!(segments.iter().filter(|path| path.ends_with(".parquet")).count(), 1, "{segments:?}");
    let output = query(data.path(), &["select count(*) as n from spans", "--format", "ndjson"]);
    assert_eq!(stdout(&output), "{\"n\":3}\n");
}

fn walk(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] })
        .collect()
}

#[test]
fn compact_merges_once_and_changes_no_answer() {
    let data = data();
    let server = Served::start(data.path());
    let answer = post(&format!("{}/v1/traces", server.otlp_http), &[PROTOBUF], spans(4).encode_to_vec());
    assert_eq!(answer.status, 200);
    assert_eq!(server.terminate(), Some(0));
    let events = || {
        let all =
            query(data.path(), &["select * from events order by span_id, timestamp", "--format", "ndjson"]);
        stdout(&all).to_owned()
    };
    let before = events();
    assert_eq!(before.lines().count(), 7);

    let path = data.path().to_str().unwrap();
    let refused = run(&["compact", "--data", path, "--segment-rows", "0"]);
    assert!(!refused.status.success() && stderr(&refused).contains("1 to 1048576"), "{}", stderr(&refused));
    let compacted = run(&["compact", "--data", path, "--grace", "0s"]);
    let words: Vec<&str> = stdout(&compacted).split_whitespace().collect();
    let segments = |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 1];
    assert_eq!((segments("before"), segments("after")), ("2", "1"), "{words:?}");
    assert_eq!(events(), before);
    let objects = walk(&data.path().join("segments"));
    assert_eq!(objects.len(), 2, "a segment and its index: {objects:?}");

    let again = run(&["compact", "--data", path]);
    assert!(stdout(&again).contains("nothing to gain"), "{}", stdout(&again));
    assert_eq!(walk(&data.path().join("segments")), objects);
    let missing = run(&["compact", "--data", "/no/such/directory"]);
    assert!(!missing.status.success() && stderr(&missing).contains("no Broadloom database"));
}

#[test]
fn check_tells_what_is_damaged_and_exits_with_one() {
    let data = data();
    let path = data.path().to_str().unwrap();
    let healthy = run(&["check", "--data", path]);
    assert!(stdout(&healthy).contains("No problem was found."), "{}", stdout(&healthy));
    assert!(stdout(&healthy).contains("3 events in segments"), "{}", stdout(&healthy));

    let segments = walk(&data.path().join("segments"));
    let segment = segments.iter().find(|path| path.ends_with(".parquet")).unwrap();
    let mut bytes = std::fs::read(segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let below = segment.strip_prefix(path).unwrap().trim_start_matches('/');
    let harmed = run(&["check", "--data", path]);
    let words = String::from_utf8(harmed.stdout).unwrap();
    assert_eq!(harmed.status.code(), Some(1), "{words}");
    assert!(words.starts_with(&format!("{below}: checksum of bytes 0 to ")), "{words}");
    assert!(words.contains("to do: restore the file") && !words.contains("No problem"), "{words}");

    let json = run(&["check", "--data", path, "--json"]);
    assert_eq!(json.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["problems"][0]["path"], json!(below), "{report}");
    assert_eq!(report["problems"][0]["part"], json!("segments"));
    assert_eq!(
        report["parts"]["indexes"],
        json!({"objects": 1, "bytes": report["parts"]["indexes"]["bytes"], "problems": 0})
    );
    let missing = run(&["check", "--data", "/no/such/directory"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("no Broadloom database"), "{}", stderr(&missing));
}

/// Runs `inspect --json` for `what` in `data`; returns the JSON and the exit code.
fn inspect(data: &Path, what: &str) -> (serde_json::Value, Option<i32>) {
    let mut command = broadloom(&["inspect", "--json", "--data"]);
    let output = command.arg(data).args((!what.is_empty()).then_some(what)).output().unwrap();
    let json = serde_json::from_slice(&output.stdout);
    (json.unwrap_or_else(|_| panic!("{what}: {}", stderr(&output))), output.status.code())
}

#[test]
fn inspect_shows_every_kind_of_file() {
    let data = data();
    let path = data.path().to_str().unwrap();
    // A killed server leaves its events in the log.
    let server = Served::start(data.path());
    let answer = post(&format!("{}/v1/traces", server.otlp_http), &[PROTOBUF], spans(2).encode_to_vec());
    assert_eq!(answer.status, 200);
    drop(server);

    let (overview, code) = inspect(data.path(), "");
    assert_eq!(code, Some(0), "{overview}");
    let of = |fields: &[&str]| fields.iter().map(|field| overview[*field].clone()).collect::<Vec<_>>();
    assert_eq!(of(&["segment_count", "events", "deleted_events", "log_events"]), [1, 3, 0, 2], "{overview}");
    let id = overview["segments"][0]["id"].as_str().unwrap();
    let (segment, code) = inspect(data.path(), id);
    assert_eq!(
        (code, &segment["kind"], &segment["rows"]),
        (Some(0), &json!("segment"), &json!(3)),
        "{segment}"
    );
    assert_eq!(segment["segment"].as_str().unwrap().replace('-', ""), id);
    let columns = segment["columns"].as_array().unwrap();
    let column = |name: &str| columns.iter().find(|column| column["column"] == name).unwrap();
    let status = column("http.response.status_code");
    assert_eq!(
        (&status["type"], &status["nulls"], &status["pages"]),
        (&json!("INT64"), &json!(0), &json!(1))
    );
    assert_eq!((&status["min"], &status["max"]), (&json!(200), &json!(200)), "{status}");
    assert_eq!(column("http.route")["compression"], json!("UNCOMPRESSED"), "it is small");
    assert_eq!(column("timestamp")["min"], segment["from_ns"], "{segment}");
    // Files of each kind, found by their names.
    let files = walk(data.path());
    let file = |end: &str| files.iter().find(|file| file.ends_with(end)).unwrap();
    let (index, code) = inspect(data.path(), file(".index"));
    assert_eq!((code, &index["kind"], &index["rows"]), (Some(0), &json!("index"), &json!(3)));
    let lookups: Vec<&str> = index["lookup_columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["column"].as_str().unwrap())
        .collect();
    assert_eq!(lookups, ["attributes.words of body", "trace_id"], "{index}");
    assert!(index["sections"].as_array().unwrap().iter().all(|section| section["sound"] == true));
    let (log, code) = inspect(data.path(), file(".wal"));
    assert_eq!((code, &log["records"][0]["rows"]), (Some(0), &json!(2)), "{log}");
    assert_eq!(log["records"][0]["delivery"].as_str().unwrap().len(), 32, "{log}");
    let commit = |version: u32| inspect(data.path(), &format!("catalog/log/{version:020}.json")).0;
    assert_eq!(commit(2)["add"][0]["id"], json!(id));

    // As text: nothing is left out, sizes and times have units.
    let text = run(&["inspect", "--data", path, file(".wal")]);
    assert!(
        stdout(&text).contains("kind") && stdout(&text).contains("2023-11-14T22:13:20Z"),
        "{}",
        stdout(&text)
    );
    let text = run(&["inspect", id, "--data", path, "--limit", "3"]);
    assert!(stdout(&text).contains("3 of ") && stdout(&text).contains("--limit 0"), "{}", stdout(&text));
    stdout(&run(&["delete", "--data", path, "--where", "name = 'span 2'"]));
    let files = walk(data.path());
    let (mask, code) =
        inspect(data.path(), files.iter().find(|file| file.rsplit('.').next() == Some("mask")).unwrap());
    assert_eq!((code, &mask["ranges"]), (Some(0), &json!([{"first": 0, "last": 0}])), "{mask}");
    assert_eq!(commit(4)["masks"][0]["rows"], json!(1), "{}", commit(4));
    assert_eq!(inspect(data.path(), "").0["deletions"][0]["condition"], json!("name = 'span 2'"));
    for (wrong, says) in [("no-such-file", "is neither a file"), (file!(), "is not a Broadloom file")] {
        let output = run(&["inspect", "--data", path, wrong]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn inspect_says_what_is_damaged_and_shows_the_rest() {
    let data = data();
    let server = Served::start(data.path());
    let url = format!("{}/v1/traces", server.otlp_http);
    for count in [4, 5] {
        assert_eq!(post(&url, &[PROTOBUF], spans(count).encode_to_vec()).status, 200);
    }
    drop(server);
    let files = walk(data.path());
    let file = |end: &str| files.iter().find(|file| file.ends_with(end)).unwrap();
    let harm = |path: &str, at: &dyn Fn(usize) -> usize| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    };
    let of = |path: &str| {
        let (found, code) = inspect(data.path(), path);
        assert_eq!(code, Some(1), "{found}");
        found
    };
    let says = |found: &serde_json::Value, what: &str| {
        let problems = found["problems"].as_array().unwrap();
        assert!(problems.iter().any(|p| p["what"].as_str().unwrap().contains(what)), "{what}: {found:#}");
    };
    // Damage to the second of two records: the first is shown.
    harm(file(".wal"), &|bytes| bytes - 10);
    let log = of(file(".wal"));
    assert_eq!((log["records"].as_array().unwrap().len(), &log["rows"]), (1, &json!(4)), "{log}");
    says(&log, "expected record crc");
    // Damage to a segment's footer: its side-car has a copy.
    harm(file(".parquet"), &|bytes| bytes - 20);
    let segment = of(file(".parquet"));
    assert_eq!(segment["rows"], json!(3), "{segment}");
    assert!(segment["columns"].as_array().unwrap().iter().any(|column| column["column"] == "http.route"));
    says(&segment, "its footer cannot be read");
    says(&segment, "checksum of bytes 0 to ");
    harm(file(".index"), &|_| 9);
    let index = of(file(".index"));
    let damaged = index["sections"].as_array().unwrap().iter().filter(|section| section["sound"] == false);
    assert_eq!(damaged.count(), 1, "{index}");
    says(&index, "checksum");
    let commit = data.path().join("catalog/log/00000000000000000002.json");
    let json = std::fs::read_to_string(&commit).unwrap();
    std::fs::write(&commit, json.replace("\"rows\":3", "\"rows\":4")).unwrap();
    let commit = of("catalog/log/00000000000000000002.json");
    assert_eq!(commit["add"][0]["rows"], json!(4));
    says(&commit, "checksum");
    says(&inspect(data.path(), "").0, "checksum");
}

#[test]
fn delete_hides_at_once_and_says_which_files_are_still_there() {
    let data = data();
    let path = data.path().to_str().unwrap();
    let names = || {
        let all = query(data.path(), &["select name from spans order by name", "--format", "csv"]);
        stdout(&all).lines().skip(1).map(|line| line.trim().to_owned()).collect::<Vec<_>>().join(",")
    };
    let delete = |more: &[&str]| run(&[&["delete", "--data", path], more].concat());
    let one = delete(&["--where", "name = 'span 1'", "--dry-run"]);
    assert_eq!(stdout(&one), "1 events in 1 segments would be deleted\n");
    assert_eq!(names(), "span 0,span 1,span 2");

    let one = delete(&["--where", "name = 'span 1'"]);
    assert!(stdout(&one).contains("pending    2 files"), "{}", stdout(&one));
    assert_eq!(names(), "span 0,span 2");
    let id = stdout(&one).split_whitespace().nth(1).unwrap();
    let pending: Vec<&str> = stdout(&one).lines().filter(|line| line.contains("segments/")).collect();
    assert!(pending.iter().all(|line| data.path().join(line.trim()).exists()), "{pending:?}");

    let two = delete(&["--where", "http.route is not null", "--to", "2023-11-14T22:13:21Z", "--grace", "0s"]);
    assert!(stdout(&two).contains("complete   no file"), "{}", stdout(&two));
    assert_eq!(names(), "span 2");
    let status = delete(&["--status", id, "--json"]);
    let status: serde_json::Value = serde_json::from_str(stdout(&status)).unwrap();
    assert_eq!((&status["complete"], &status["rows"]), (&json!(true), &json!(1)), "{status}");
    assert!(pending.iter().all(|line| !data.path().join(line.trim()).exists()));

    for (arguments, says) in [
        (&["--where", "nam = 'x'"][..], "name"),
        (&["--status", "0123"][..], "no deletion"),
        (&[][..], "--where"),
        (&["--where", "true", "--from", "monday"][..], "2026-11-21T08:00:00Z"),
    ] {
        let wrong = delete(arguments);
        assert!(!wrong.status.success() && stderr(&wrong).contains(says), "{}", stderr(&wrong));
    }
}

#[test]
fn what_has_expired_goes_when_it_is_compacted() {
    let data = data();
    let file = data.path().join("broadloom.toml");
    let compact = |config: &str| {
        std::fs::write(&file, config).unwrap();
        broadloom(&["compact", "--config"]).arg(&file).arg("--data").arg(data.path()).output().unwrap()
    };
    let count = || {
        stdout(&query(data.path(), &["select count(*) as n from events", "--format", "ndjson"])).to_owned()
    };
    let wrong = compact("[[retention]]\nwhere = \"nam = 'x'\"\nkeep = \"1d\"");
    assert!(!wrong.status.success());
    assert!(stderr(&wrong).contains("retention rule 1, where nam = 'x'"), "{}", stderr(&wrong));
    stdout(&compact("[[retention]]\nwhere = \"name = 'span 1'\"\nkeep = \"1d\""));
    assert_eq!(count(), "{\"n\":2}\n");
    stdout(&compact("retention = [\"100y where name = 'span 2'\", \"1d\"]"));
    assert_eq!(count(), "{\"n\":1}\n");
    stdout(&compact("retention-bytes = \"1B\""));
    assert_eq!(count(), "{\"n\":0}\n");
}

#[test]
fn a_directory_is_asked_beside_the_server_that_writes_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    let url = format!("{}/v1/traces", server.otlp_http);
    post(&url, &[PROTOBUF], spans(2).encode_to_vec());
    let sql = "select count(*) as n from spans";
    assert_eq!(stdout(&query(data.path(), &[sql, "--format", "ndjson"])), "{\"n\":2}\n");
    post(&url, &[PROTOBUF], spans(3).encode_to_vec());
    assert_eq!(stdout(&query(data.path(), &[sql, "--format", "ndjson"])), "{\"n\":5}\n");
    // Queries on the directory do not disturb the server.
    assert_eq!(rows(&server.http, sql), json!([{ "n": 5 }]));

    let asked = run(&["query", sql, "--url", &server.http, "--format", "csv"]);
    assert_eq!(
        stdout(&asked).trim_end(),
        "n\n5".replace('\n', if stdout(&asked).contains('\r') { "\r\n" } else { "\n" })
    );
    let table = run(&["query", sql, "--url", &server.http]);
    assert!(stdout(&table).contains('5') && stdout(&table).contains('n'), "{}", stdout(&table));
    let limited = run(&[
        "query",
        "select name from spans order by name",
        "--url",
        &server.http,
        "--limit",
        "1",
        "--format",
        "json",
    ]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(stdout(&limited)).unwrap(),
        json!([{ "name": "span 0" }])
    );
    let wrong = run(&["query", "select nope from spans", "--url", &server.http]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("1 | select nope from spans\n  |        ^"), "{}", stderr(&wrong));

    let second = broadloom(&["serve", "--http", "off", "--otlp-grpc", "off", "--otlp-http", "off", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("is being written by process"), "{}", stderr(&second));
    let taken = server.http.strip_prefix("http://").unwrap();
    let other = tempfile::tempdir().unwrap();
    let second = broadloom(&["serve", "--http", taken, "--data"]).arg(other.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains(&format!("cannot listen on {taken} for http")), "{}", stderr(&second));
}

#[test]
fn statements_come_from_the_command_line_a_file_or_stdin() {
    let data = data();
    let file = data.path().join("statement.sql");
    std::fs::write(&file, "select count(*) as n from spans where name = $1").unwrap();
    let from_file =
        query(data.path(), &["-f", file.to_str().unwrap(), "--param", "span 1", "--format", "ndjson"]);
    assert_eq!(stdout(&from_file), "{\"n\":1}\n");

    for arguments in [&["-"][..], &[]] {
        let mut child = broadloom(&["query", "--format", "ndjson", "--data"])
            .arg(data.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"select 1 as one").unwrap();
        assert_eq!(stdout(&child.wait_with_output().unwrap()), "{\"one\":1}\n");
    }
}

#[test]
fn an_answer_can_go_to_a_file_whose_name_says_the_format() {
    let data = data();
    let file = data.path().join("answer.parquet");
    let output = query(data.path(), &["select name from spans", "--output", file.to_str().unwrap()]);
    assert_eq!(stdout(&output), "");
    let reader =
        parquet::file::reader::SerializedFileReader::new(std::fs::File::open(&file).unwrap()).unwrap();
    assert_eq!(parquet::file::reader::FileReader::metadata(&reader).file_metadata().num_rows(), 3);
    let failed =
        query(data.path(), &["select 1 / 0", "--output", data.path().join("no.csv").to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(!data.path().join("no.csv").exists());
}

#[test]
fn a_wrong_statement_is_shown_with_its_place() {
    let data = data();
    let output = query(data.path(), &["select name,\n  durationn\nfrom spans"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
    assert!(stderr(&output).contains("2 |   durationn\n  |   ^"), "{}", stderr(&output));
    let warned =
        query(data.path(), &["select attributes['nope'] as x from spans limit 1", "--format", "ndjson"]);
    assert_eq!(stdout(&warned), "{\"x\":null}\n");
    assert!(stderr(&warned).starts_with("warning: "), "{}", stderr(&warned));
}

#[test]
fn a_reader_that_leaves_early_is_nothing_wrong() {
    let data = data();
    let many = "select value from generate_series(1, 1000000)";
    let mut child = broadloom(&["query", many, "--format", "csv", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn settings_come_from_flags_then_the_environment_then_the_file() {
    let (of_file, of_environment, of_flag) = (data(), data(), data());
    let config = of_file.path().join("broadloom.toml");
    std::fs::write(&config, format!("data = {:?}\n[query]\nformat = \"csv\"", of_file.path())).unwrap();
    let sql = "select count(*) as n from spans";
    let asked = |environment: Option<&Path>, arguments: &[&str]| {
        let mut command = broadloom(&["query", sql, "--config"]);
        command.arg(&config).args(arguments).stdin(Stdio::null());
        command.envs(environment.map(|data| ("BROADLOOM_DATA", data)));
        stdout(&command.output().unwrap()).to_owned()
    };
    assert!(asked(None, &[]).starts_with('n'));
    assert_eq!(asked(None, &["--format", "ndjson"]), "{\"n\":3}\n");
    // This directory no longer exists, so the error shows where the program looked.
    let gone = of_environment.path().to_owned();
    drop(of_environment);
    let failed =
        broadloom(&["query", sql, "--config"]).arg(&config).env("BROADLOOM_DATA", &gone).output().unwrap();
    assert!(stderr(&failed).contains(&gone.display().to_string()), "{}", stderr(&failed));
    let flag = of_flag.path().to_str().unwrap();
    assert_eq!(asked(Some(&gone), &["--data", flag, "--format", "ndjson"]), "{\"n\":3}\n");

    std::fs::write(&config, "dta = 1").unwrap();
    let wrong = broadloom(&["query", sql, "--config"]).arg(&config).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("did you mean \"data\""), "{}", stderr(&wrong));
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    assert_eq!(run(&["query", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(run(&["serve", "--message-max", "many"]).status.code(), Some(2));
    assert_eq!(run(&[]).status.code(), Some(2));
    let missing = run(&["query", "select 1", "--data", "/nonexistent/broadloom"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("/nonexistent/broadloom"));
    let version = run(&["--version"]);
    assert_eq!(stdout(&version), format!("broadloom {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["serve", "query"] {
        assert!(stdout(&run(&[command, "--help"])).contains("Examples:"), "{command}");
    }
}

#[test]
fn a_statement_that_begins_with_a_comment_is_answered() {
    let data = data();
    for sql in
        ["-- how many?\nselect count(*) as n from spans", "--how many?\nselect count(*) as n from spans"]
    {
        let output = query(data.path(), &["--format", "ndjson", sql]);
        assert_eq!(stdout(&output), "{\"n\":3}\n");
        let output = query(data.path(), &[sql, "--format", "ndjson"]);
        assert_eq!(stdout(&output), "{\"n\":3}\n");
    }
    let negative = query(data.path(), &["select cast($1 as bigint) as n", "-p", "-5", "--format", "ndjson"]);
    assert_eq!(stdout(&negative), "{\"n\":-5}\n");
    for wrong in [&["--formt", "csv", "select 1"][..], &["select 1", "--no-such-flag"], &["-z", "select 1"]] {
        let output = query(data.path(), wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(stderr(&output).contains("unexpected argument"), "{}", stderr(&output));
    }
}

#[test]
fn a_mistyped_url_makes_no_directory() {
    let folder = tempfile::tempdir().unwrap();
    for (data, says) in [
        ("s3:///p", "names no bucket"),
        ("s4://x", "there is no store s4://"),
        ("gs:/b", "write gs://b"),
        ("s3://bucket/p?region=eu", "environment"),
    ] {
        for command in [&["query", "select 1"][..], &["serve"], &["check"], &["compact"], &["import", "x"]] {
            let mut command = broadloom(command);
            let output = command.current_dir(folder.path()).args(["--data", data]).output().unwrap();
            let said = stderr(&output);
            assert!(!output.status.success() && said.contains(data) && said.contains(says), "{said}");
        }
        let output = broadloom(&["backup", data, "--data", "x"]).current_dir(folder.path()).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(says), "{}", stderr(&output));
        let mut command = broadloom(&["query", "select 1", "--cache", "s3://b/c", "--data", "x"]);
        let output = command.current_dir(folder.path()).output().unwrap();
        assert!(stderr(&output).contains("a directory of this machine"), "{}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_cast_that_fails_names_value_expression_and_way_out() {
    let data = data();
    let output = query(data.path(), &["select sum(cast(name as bigint)) from spans"]);
    let said = stderr(&output);
    assert!(said.contains("cast(name as bigint) fails, try_cast(name as bigint) gives null"), "{said}");
    assert!(!said.contains("Cast error") && !said.contains("ArrowError"), "{said}");
}
