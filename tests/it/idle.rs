//! What do many databases cost that nobody uses?

use std::process::Command;
use std::time::Duration;

use broadloom::Database;
use broadloom::config::{RetentionRule, Settings};
use broadloom::db::{ResourceSettings, Resources};
use broadloom::event::{CoreEvent, EventBatch, EventBatchBuilder};

/// Set in the process that is measured: other tests run in this one.
const MEASURED: &str = "BROADLOOM_IDLE_MEASURED";
const DATABASES: usize = 200;
/// Memory that all of them may take beside the resources that they share.
const BYTES_MAX: usize = 200 << 20;
/// Times that a task of any of them may run in a second.
const WAKEUPS_PER_SECOND_MAX: u64 = 5;
const SECONDS: u64 = 2;

#[test]
fn two_hundred_idle_databases_take_little_memory_and_no_time() {
    if std::env::var_os(MEASURED).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(measure());
    }
    let name = "idle::two_hundred_idle_databases_take_little_memory_and_no_time";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(MEASURED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("databases take"), "the test of this name was not found: {said}");
}

fn batch() -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    for timestamp_ns in 0..10 {
        builder.push(&CoreEvent { timestamp_ns, ..CoreEvent::default() });
    }
    builder.finish().unwrap()
}

async fn measure() {
    let resources = Resources::new(&ResourceSettings::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let before = resident_bytes();
    let mut databases = Vec::new();
    for i in 0..DATABASES {
        let mut settings = Settings::new(directory.path().join(i.to_string()));
        settings.maintenance.background = true;
        settings.buffer.flush_age_ms = 3_600_000;
        let keep = Duration::from_hours(24 * 365 * 100);
        settings.maintenance.retention.rules = vec![RetentionRule { condition: None, keep }];
        let database = Database::open_with(settings, &resources).await.unwrap();
        database.append(batch()).await.unwrap();
        databases.push(database);
    }
    // Until what is due after opening and appending is done.
    let mut wakeups = resources.wakeups();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = resources.wakeups();
        if std::mem::replace(&mut wakeups, now) == now {
            break;
        }
    }
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let woken = resources.wakeups() - wakeups;
    let taken = before.zip(resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    println!(
        "{DATABASES} databases take {} KiB and ran {woken} times in {SECONDS} s ({wakeups} times before)",
        taken.unwrap_or(0) >> 10
    );
    assert!(wakeups > 0, "tasks are not counted");
    assert!(woken < WAKEUPS_PER_SECOND_MAX * SECONDS, "{woken}");
    assert!(taken.is_none_or(|taken| taken < BYTES_MAX), "{taken:?}");
    for database in databases {
        assert!(database.readiness().is_ok());
        assert!(database.duties().iter().all(|duty| !duty.is_failing()), "{:?}", database.duties());
    }
}

/// Memory of this process that is in RAM, where the system says so.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
