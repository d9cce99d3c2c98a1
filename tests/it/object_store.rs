//! In an object store, do acknowledged events survive the loss of a machine, and does only one process write?
//!
//! The servers are moto for S3 and Azurite for Azure; `.ci/clients` installs them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value;

use crate::running::{Served, broadloom, clients, post, spans};

/// Account and key of every Azurite: <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Object store server with one bucket; stopped when dropped.
struct Store {
    server: Child,
    endpoint: String,
    /// URL of the database in most tests.
    data: &'static str,
    environment: Vec<(&'static str, String)>,
    caches: tempfile::TempDir,
}

/// Starts a server that prints its port; returns its URL.
fn start(program: &Path, arguments: &[&str]) -> (Child, String) {
    let mut command = Command::new(program);
    let mut server = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (server, format!("http://127.0.0.1:{}", port.trim_end()))
}

impl Store {
    /// Starts an S3 server; prints a note and returns `None` if it is not installed.
    fn start(test: &str) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/s3.py");
        let (server, endpoint) = start(&clients(test)?.join("python/bin/python"), &[script]);
        ureq::put(format!("{endpoint}/loom")).send_empty().unwrap();
        let environment = vec![
            ("AWS_ENDPOINT_URL", endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        let (data, caches) = ("s3://loom/prod/events", tempfile::tempdir().unwrap());
        Some(Self { server, endpoint, data, environment, caches })
    }

    /// Starts an Azure Blob server; prints a note and returns `None` if it is not installed.
    fn azure(test: &str) -> Option<Self> {
        let script = clients(test)?.join("node/azure.js");
        let arguments = [script.to_str().unwrap(), AZURE_ACCOUNT, AZURE_KEY];
        let (server, endpoint) = start(Path::new("node"), &arguments);
        let environment = vec![
            ("AZURE_STORAGE_ENDPOINT", format!("{endpoint}/{AZURE_ACCOUNT}")),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY.to_owned()),
        ];
        let (data, caches) = ("az://loom/prod/events", tempfile::tempdir().unwrap());
        Some(Self { server, endpoint, data, environment, caches })
    }

    /// Command on the database, as if run on another machine: each has its own cache.
    fn command(&self, machine: &str, arguments: &[&str]) -> Command {
        self.command_on(self.data, machine, arguments)
    }

    /// Like [`command`](Self::command), on other data.
    fn command_on(&self, data: &str, machine: &str, arguments: &[&str]) -> Command {
        let mut command = broadloom(arguments);
        command.envs(self.environment.clone());
        command.args(["--data", data, "--cache"]).arg(self.caches.path().join(machine));
        command
    }

    fn serve(&self, machine: &str, arguments: &[&str]) -> Served {
        let any = "127.0.0.1:0";
        let endpoints = ["serve", "--http", any, "--otlp-grpc", any, "--otlp-http", any];
        Served::spawn(&mut self.command(machine, &[&endpoints, arguments].concat()))
    }

    /// Number of events that a reader on `machine` finds.
    fn count(&self, machine: &str) -> u64 {
        self.count_in(self.data, machine)
    }

    /// Like [`count`](Self::count), in other data.
    fn count_in(&self, data: &str, machine: &str) -> u64 {
        let sql = "select count(*) as n, count(distinct span_id) as spans from events";
        let output = self.command_on(data, machine, &["query", "--format", "json", sql]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rows[0]["n"], rows[0]["spans"], "an event is there twice");
        rows[0]["n"].as_u64().unwrap()
    }

    /// Names of all objects in the S3 bucket.
    fn keys(&self) -> Vec<String> {
        let listed = ureq::get(format!("{}/loom?list-type=2", self.endpoint)).call().unwrap();
        let xml = listed.into_body().read_to_string().unwrap();
        let keys = xml.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Sends spans with ids from `first` on; returns the HTTP status.
fn send(server: &Served, first: u64, count: usize) -> u16 {
    let mut request = spans(count);
    for (span, id) in request.resource_spans[0].scope_spans[0].spans.iter_mut().zip(first..) {
        span.span_id = (id + 1).to_be_bytes().to_vec();
    }
    let url = format!("{}/v1/traces", server.otlp_http);
    post(&url, &[("content-type", "application/x-protobuf")], request.encode_to_vec()).status
}

#[test]
fn what_was_acknowledged_survives_the_machine() {
    let Some(store) = Store::start("a machine that vanishes") else { return };
    survives(&store, || store.keys());
}

#[test]
fn what_was_acknowledged_survives_the_machine_with_azure() {
    let Some(store) = Store::azure("a machine that vanishes") else { return };
    // Without listing keys: requests for lists must be signed there.
    survives(&store, Vec::new);
}

fn survives(store: &Store, keys: impl Fn() -> Vec<String>) {
    let first = store.serve("one", &["--flush-age", "1h"]);
    assert_eq!(send(&first, 0, 100), 200);
    let refused = store.command("two", &["compact"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is being written by process"), "{refused:?}");
    assert_eq!(store.count("two"), 100, "a reader sees what is in the log");
    drop(first); // kill -9
    assert!(!keys().iter().any(|key| key.contains("/segments/")), "all events are in the log");
    let inspected = store.command("two", &["inspect", "--json"]).output().unwrap();
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!((&inspected["segment_count"], &inspected["log_events"]), (&0.into(), &100.into()));

    let second = store.serve("two", &[]);
    assert_eq!(send(&second, 1000, 50), 200);
    assert_eq!(second.terminate(), Some(0));
    assert!(keys().iter().all(|key| key.starts_with("prod/events/")), "{:?}", keys());
    assert_eq!(store.count("three"), 150);
    // After a clean end there is no lease to wait for, and only fences are in the log.
    let begun = Instant::now();
    let third = store.serve("two", &[]);
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody else was writing");
    assert_eq!(send(&third, 2000, 50), 200);
    assert_eq!(third.terminate(), Some(0));
    let compacted = store.command("two", &["compact", "--grace", "0s"]).output().unwrap();
    assert!(compacted.status.success(), "{compacted:?}");
    assert_eq!(store.count("two"), 200);
    let checked = store.command("three", &["check"]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_writer_that_wakes_up_after_another_took_over_changes_nothing() {
    let Some(store) = Store::start("a stale writer") else { return };
    wakes_up(&store);
}

#[test]
fn a_writer_that_wakes_up_after_another_took_over_changes_nothing_with_azure() {
    let Some(store) = Store::azure("a stale writer") else { return };
    wakes_up(&store);
}

fn wakes_up(store: &Store) {
    let stale = store.serve("one", &["--flush-age", "300ms"]);
    assert_eq!(send(&stale, 0, 100), 200);
    assert_eq!(send(&stale, 100, 100), 200);
    stale.signal("STOP");
    let owner = store.serve("two", &["--flush-age", "300ms"]);
    assert_eq!(send(&owner, 1000, 100), 200);
    stale.signal("CONT");
    let status = send(&stale, 2000, 100);
    assert!(status >= 500, "acknowledged by a writer that was taken over from: {status}");
    assert_eq!(send(&owner, 3000, 100), 200);
    // Whatever the stale writer flushes and sweeps now, and does at its end, must change nothing.
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(send(&stale, 4000, 100), 200);
    stale.terminate();
    assert_eq!(send(&owner, 5000, 100), 200);
    assert_eq!(owner.terminate(), Some(0));
    assert_eq!(store.count("three"), 500);
    let checked = store.command("three", &["check"]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn of_two_that_start_at_once_one_writes() {
    let Some(store) = Store::start("a race") else { return };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| store.try_serve("one"));
        let two = scope.spawn(|| store.try_serve("two"));
        (one.join().unwrap(), two.join().unwrap())
    });
    let mut acknowledged = 0;
    for round in 0..10 {
        for (i, server) in [&one, &two].into_iter().enumerate() {
            let first = 10_000 * (i as u64 + 1) + 100 * round;
            if server.as_ref().is_some_and(|server| send(server, first, 100) == 200) {
                acknowledged += 100;
            }
        }
    }
    assert!(acknowledged >= 1000, "one of them writes: {acknowledged}");
    for server in [one, two].into_iter().flatten() {
        server.terminate();
    }
    assert_eq!(store.count("three"), acknowledged);
}

impl Store {
    /// Starts a server; `None` if it ends before it listens.
    fn try_serve(&self, machine: &str) -> Option<Served> {
        let any = "127.0.0.1:0";
        let arguments =
            ["serve", "--http", any, "--otlp-grpc", any, "--otlp-http", any, "--flush-age", "300ms"];
        Served::try_spawn(&mut self.command(machine, &arguments))
    }
}

#[test]
fn a_log_in_a_directory_binds_its_machine() {
    let Some(store) = Store::start("a log in a directory") else { return };
    let log = store.caches.path().join("log");
    let log = log.to_str().unwrap();
    let first = store.serve("one", &["--flush-age", "1h", "--wal", log]);
    assert_eq!(send(&first, 0, 100), 200);
    drop(first); // kill -9
    assert_eq!(store.count("two"), 0, "the events are only in the log of another machine");
    let refused = store.command("two", &["compact"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--abandon-log"), "{refused:?}");
    let backup = store.caches.path().join("backup");
    let refused = store.command("two", &["backup", backup.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--wal"), "{refused:?}");
    let again = store.serve("one", &["--wal", log]);
    assert_eq!(send(&again, 1000, 100), 200);
    assert_eq!(again.terminate(), Some(0));
    assert_eq!(store.count("two"), 200);
    let compacted = store.command("two", &["compact"]).output().unwrap();
    assert!(compacted.status.success(), "its owner has released it: {compacted:?}");
}

#[test]
fn a_store_that_cannot_be_used_is_said() {
    let output = broadloom(&["query", "select 1", "--data", "ftp://x/y"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("s3://"), "{output:?}");
    let Some(store) = Store::start("no bucket") else { return };
    let mut command = broadloom(&["query", "select count(*) from events", "--data", "s3://nowhere/x"]);
    let output = command.envs(store.environment.clone()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("nowhere"), "{said}");
}

#[test]
fn a_backup_goes_from_and_to_a_store_and_comes_back() {
    let Some(store) = Store::start("backup and restore") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (data, target) = (path("data"), "s3://loom/backup");
    let run = |data: &str, arguments: &[&str]| store.command_on(data, "here", arguments).output().unwrap();
    let report = |data: &str, arguments: &[&str]| {
        let output = run(data, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let refused = |data: &str, arguments: &[&str], says: &str| {
        let output = run(data, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
    };
    // Backup of a directory to which a server writes.
    let server = Served::with(dir.path().join("data").as_path(), &["--flush-age", "300ms"]);
    let mut kept = 0;
    for round in 1..=3 {
        assert_eq!(send(&server, 1000 * round, 100), 200);
        let report = report(&data, &["backup", target, "--json"]);
        assert_eq!(
            (&report["events"], &report["problems"]),
            (&(100 * round).into(), &Value::Array(Vec::new()))
        );
        kept += report["kept"].as_u64().unwrap();
        assert_eq!(store.count_in(target, "there"), 100 * round);
        while !store_has_segments(&data) {
            std::thread::yield_now();
        }
    }
    assert!(kept > 0, "later backups keep the copied objects");
    assert_eq!(server.terminate(), Some(0));
    assert!(run(target, &["check"]).status.success());
    assert!(store.keys().iter().all(|key| key.starts_with("backup/") && !key.ends_with("LOCK")));

    let restored = path("restored");
    for data in [restored.as_str(), "s3://loom/restored"] {
        let report = report(data, &["restore", target, "--json"]);
        assert_eq!((&report["events"], store.count_in(data, "there")), (&300.into(), 300));
        assert!(run(data, &["check"]).status.success());
        refused(data, &["restore", target], "is not empty");
    }
    // The restored database takes new events, and is backed up.
    let any = "127.0.0.1:0";
    let endpoints = ["serve", "--http", any, "--otlp-grpc", any, "--otlp-http", any];
    let server = Served::spawn(&mut store.command_on("s3://loom/restored", "one", &endpoints));
    assert_eq!(send(&server, 9000, 50), 200);
    for target in [path("of store"), "s3://loom/second".to_owned()] {
        let report = report("s3://loom/restored", &["backup", &target, "--json"]);
        assert_eq!((&report["events"], store.count_in(&target, "there")), (&350.into(), 350));
    }
    refused("s3://loom/restored", &["backup", target], "a backup of");
    refused(&data, &["backup", "s3://loom/restored"], "no backup");
    assert_eq!(server.terminate(), Some(0));
}

/// True once a segment was written.
fn store_has_segments(data: &str) -> bool {
    std::path::Path::new(data).join("segments").is_dir()
}
