//! Is a backup of a running server complete, and does a restore give a working database?

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use parking_lot::Mutex;
use prost::Message;
use serde_json::Value;

use crate::running::{Served, broadloom, post, rows, run, spans};

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

/// Message `n`: two spans, named `n-0` and `n-1`.
fn message(n: u64) -> Vec<u8> {
    let mut request = spans(2);
    for (i, span) in request.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
        span.name = format!("{n}-{i}");
    }
    request.encode_to_vec()
}

/// Producers that send as fast as they can.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<u64>>>,
    producers: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(url: &str) -> Self {
        let (stop, acknowledged): (Arc<AtomicBool>, Arc<Mutex<Vec<u64>>>) = Default::default();
        let next = Arc::new(AtomicU64::new(0));
        let producer = |_| {
            let (stop, acknowledged, next) =
                (Arc::clone(&stop), Arc::clone(&acknowledged), Arc::clone(&next));
            let url = format!("{url}/v1/traces");
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(post(&url, &[PROTOBUF], message(n)).status, 200);
                    acknowledged.lock().push(n);
                }
            })
        };
        let producers = (0..3).map(producer).collect();
        Self { stop, acknowledged, producers }
    }

    /// Waits for `since + more` acknowledged messages; returns all acknowledged ones.
    fn wait_for(&self, since: usize, more: usize) -> Vec<u64> {
        loop {
            let acknowledged = self.acknowledged.lock();
            if acknowledged.len() >= since + more {
                return acknowledged.clone();
            }
            drop(acknowledged);
            std::thread::yield_now();
        }
    }

    fn stop(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for producer in self.producers {
            producer.join().unwrap();
        }
        std::mem::take(&mut self.acknowledged.lock())
    }
}

/// Spans of each message in the database in `data`.
fn found(data: &Path) -> HashMap<u64, Vec<String>> {
    let mut command = broadloom(&["query", "select name from spans", "--format", "ndjson", "--data"]);
    let output = command.arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: HashMap<u64, Vec<String>> = HashMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: Value = serde_json::from_slice(line).unwrap();
        let (n, i) = row["name"].as_str().unwrap().split_once('-').unwrap();
        found.entry(n.parse().unwrap()).or_default().push(i.to_owned());
    }
    found
}

/// Asserts that `data` contains each of these messages, and no message twice or in part.
fn assert_whole(data: &Path, acknowledged: &[u64]) {
    let mut found = found(data);
    for n in acknowledged {
        assert!(found.contains_key(n), "message {n} is lost");
    }
    for (n, spans) in &mut found {
        spans.sort();
        assert_eq!(spans, &["0", "1"], "message {n}");
    }
    let check = broadloom(&["check", "--data"]).arg(data).output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
}

/// Adds every file below `folder` to `found`, with its modification time.
fn files(folder: &Path, found: &mut HashMap<PathBuf, SystemTime>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.insert(entry.path(), entry.metadata().unwrap().modified().unwrap());
        }
    }
}

#[test]
fn a_backup_of_a_server_under_load_has_all_that_was_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, target, restored) = (at("data"), at("backup"), at("restored"));
    let server = Served::with(&data, &["--flush-age", "200ms"]);
    let load = Load::start(&server.otlp_http);
    let backup = |code| {
        let arguments = ["backup", target.to_str().unwrap(), "--json", "--data", data.to_str().unwrap()];
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        acknowledged = load.wait_for(acknowledged.len(), 60);
        let report = backup(0);
        assert_whole(&target, &acknowledged);
        assert!(report["events"].as_u64().unwrap() >= 2 * acknowledged.len() as u64);
    }
    let last = load.stop();
    drop(server);
    // A backup after the server was killed.
    backup(0);
    assert_whole(&target, &last);
    // The second backup leaves objects untouched, because no merge runs between the two. Events in the log become a new
    // segment in each backup.
    let objects = || {
        let mut found = HashMap::new();
        files(&target, &mut found);
        found
    };
    let before = objects();
    let report = backup(0);
    let untouched = objects().iter().filter(|(path, time)| before.get(*path) == Some(*time)).count() as u64;
    let kept = report["kept"].as_u64().unwrap();
    assert!(0 < kept && kept <= untouched, "{untouched}: {report}");

    let path = restored.to_str().unwrap();
    let restore = || run(&["restore", target.to_str().unwrap(), "--data", path]);
    let output = restore();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_whole(&restored, &last);
    let again = restore();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"), "{again:?}");
    // The restored database takes new messages, and recognises those that it has.
    let server = Served::start(&restored);
    let sql = "select count(*) as n from spans";
    let count = rows(&server.http, sql);
    let url = format!("{}/v1/traces", server.otlp_http);
    assert_eq!(post(&url, &[PROTOBUF], message(*last.last().unwrap())).status, 200);
    assert_eq!(rows(&server.http, sql), count);
    assert_eq!(post(&url, &[PROTOBUF], message(u64::MAX)).status, 200);
    assert_eq!(rows(&server.http, sql)[0]["n"], count[0]["n"].as_u64().unwrap() + 2);
    assert_eq!(server.terminate(), Some(0));
    assert_whole(&restored, &last);
}
