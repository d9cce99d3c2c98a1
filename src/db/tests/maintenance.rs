//! Does a database maintain itself, and find things quickly?

use super::*;
use crate::catalog::CatalogSnapshot;

#[tokio::test]
async fn many_segments_are_found_by_few_runs_which_outlive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for i in 0..30 {
        let mut importer = database.importer().unwrap();
        importer.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
        importer.commit().await.unwrap();
    }
    database.close().await.unwrap();
    let catalog = database.snapshot().catalog;
    let uncovered = |catalog: &CatalogSnapshot| {
        catalog.segments.iter().filter(|segment| !catalog.runs.contains(segment.id)).count()
    };
    assert!(!catalog.runs.is_empty() && uncovered(&catalog) <= 8);
    let known = catalog.runs.len();
    std::fs::write(dir.path().join("runs/0123.run"), "left by a crash").unwrap();
    let again = open(dir.path()).await;
    assert_eq!(again.snapshot().catalog.runs.runs(), catalog.runs.runs());
    // Orphans are removed while all else goes on.
    while files(dir.path(), "runs") != known {
        tokio::task::yield_now().await;
    }
}

/// Number of segments that runs excluded, by EXPLAIN.
fn pruned_by_index(plan: &str) -> usize {
    let number = plan.split("pruned_by_index=").nth(1).and_then(|rest| rest.lines().next());
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_trace_is_found_through_the_runs_and_only_its_segment_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for segment in 0..12_u8 {
        let mut builder = EventBatchBuilder::new();
        let user = builder.key(Level::Record, "user.id");
        for i in 0..50_u8 {
            let mut id = [i; 16];
            id[0] = segment;
            // All segments cover the same time, so time excludes none.
            let (trace_id, timestamp_ns) = (Some(TraceId::new(id)), i64::from(i));
            builder.push(&CoreEvent { timestamp_ns, trace_id, ..CoreEvent::default() });
            builder.attribute(user, Value::Text(&format!("u{segment}-{i}")));
        }
        database.append(builder.finish().unwrap()).await.unwrap();
        database.flush().await.unwrap();
    }
    database.writer().unwrap().settle_runs().await;
    let found = "trace_id = '03050505050505050505050505050505'";
    let explain = |filter: &str| format!("EXPLAIN SELECT user.id FROM events WHERE {filter}");
    let plan = text(&database, &explain(found)).await;
    // The background task makes runs at its own pace: some segments may not be in a run yet.
    let snapshot = database.snapshot();
    let covered = snapshot.catalog.segments.iter().filter(|s| snapshot.catalog.runs.contains(s.id)).count();
    assert!((covered - 1..=covered).contains(&pruned_by_index(&plan)), "{covered} in runs: {plan}");
    assert_eq!(text(&database, &format!("SELECT user.id FROM events WHERE {found}")).await, "u3-5");
    let absent = "trace_id = 'ffffffffffffffffffffffffffffffff'";
    let plan = text(&database, &explain(absent)).await;
    assert!(covered > 3 && pruned_by_index(&plan) == covered, "{covered} in runs: {plan}");
    assert_eq!(text(&database, &format!("SELECT count(*) FROM events WHERE {absent}")).await, "0");
    let either = "trace_id IN ('03050505050505050505050505050505', '04060606060606060606060606060606')";
    let plan = text(&database, &explain(either)).await;
    assert!((covered - 2..=covered).contains(&pruned_by_index(&plan)), "{covered} in runs: {plan}");
    assert_eq!(text(&database, &format!("SELECT count(*) FROM events WHERE {either}")).await, "2");
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_database_maintains_itself_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.maintenance.background = true;
    settings.maintenance.grace = std::time::Duration::ZERO;
    settings.maintenance.check_every = std::time::Duration::from_millis(1);
    let database = Database::open(settings).await.unwrap();
    for i in 0..8 {
        database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
        database.flush().await.unwrap();
    }
    while database.stats().segments > 1 || files(dir.path(), "segments") > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(80));
    database.delete(&delete("n >= 60")).await.unwrap();
    while database.stats().masked_events > 0 || files(dir.path(), "segments") > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(60));
    assert!(database.stats().maintenance.compactions >= 2);
    database.close().await.unwrap();
}
