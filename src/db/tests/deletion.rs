//! Are deleted and expired events gone, and no others?

use super::*;

/// One event for each of `seconds`, with a trace, of users u0 to u3 in turn; every fifth is an error.
fn users(seconds: impl IntoIterator<Item = i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let (user, n) = (builder.key(Level::Record, "user.id"), builder.key(Level::Record, "n"));
    for i in seconds {
        let trace_id = Some(TraceId::new([(i % 7 + 1) as u8; 16]));
        let signal = if i % 5 == 0 { crate::event::Signal::Log } else { crate::event::Signal::Span };
        builder.push(&CoreEvent { timestamp_ns: i * SECOND_NS, trace_id, signal, ..CoreEvent::default() });
        builder.attribute(user, Value::Text(&format!("u{}", i % 4)));
        builder.attribute(n, Value::Int(i));
    }
    builder.finish().unwrap()
}

/// Queries that are answered from all sources: the catalog, bitmaps, side-cars, pages and rows.
const QUESTIONS: [&str; 9] = [
    "SELECT count(*) FROM events",
    "SELECT CAST(min(timestamp) AS text) || CAST(max(timestamp) AS text) FROM events",
    "SELECT user.id || count(*) FROM events GROUP BY user.id ORDER BY 1",
    "SELECT count(*) FROM events WHERE user.id = 'u1'",
    "SELECT count(*) FROM events WHERE user.id <> 'u3' AND signal = 'span'",
    "SELECT string_agg(CAST(n AS text), ',' ORDER BY n) FROM events
     WHERE trace_id = '03030303030303030303030303030303'",
    "SELECT string_agg(CAST(n AS text), ',' ORDER BY n) FROM events WHERE n % 3 = 1",
    "SELECT string_agg(CAST(n AS text), ',') FROM (SELECT n FROM events ORDER BY timestamp DESC LIMIT 9)",
    "SELECT date_trunc('minute', timestamp) || count(*) FROM events
     GROUP BY date_trunc('minute', timestamp) ORDER BY 1",
];

async fn answers(database: &Database) -> Vec<String> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let question = question.replace(" || count", " || ' ' || count");
        let first = text(database, &question).await;
        // The second time the bitmaps are cached.
        assert_eq!(text(database, &question).await, first);
        answers.push(first);
    }
    answers
}

/// Answers of a database that never had the events for which `keep` is false.
async fn without(range: std::ops::Range<i64>, keep: impl Fn(i64) -> bool) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(users(range.filter(|i| keep(*i)))).await.unwrap();
    database.flush().await.unwrap();
    answers(&database).await
}

#[tokio::test]
async fn deleted_events_are_gone_from_every_answer_at_once_and_from_disk_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for from in [0, 100, 200] {
        database.append(users(from..from + 100)).await.unwrap();
        database.flush().await.unwrap();
    }
    database.append(users(300..330)).await.unwrap();
    answers(&database).await;
    assert_eq!(database.count_deletable(&delete("user.id = 'u2'")).await.unwrap(), (82, 4));
    let before = database.snapshot();
    let receipt = database.delete(&delete("user.id = 'u2'")).await.unwrap();
    let Deletion { rows, segments, ref id, .. } = receipt.deletion;
    assert_eq!((rows, segments, receipt.pending.len()), (82, 4, 2 * 4), "{receipt:?}");
    let expected = without(0..330, |i| i % 4 != 2).await;
    assert_eq!(answers(&database).await, expected);
    assert_eq!(before.rows(), 330, "what was asked before stays as it was");
    assert_eq!((database.stats().events, database.stats().masked_events), (248, 82));

    let range =
        DeleteRequest { from_ns: Some(90 * SECOND_NS), to_ns: Some(110 * SECOND_NS), ..delete("true") };
    assert_eq!(database.delete(&range).await.unwrap().deletion.rows, 15, "without those that are deleted");
    let expected = without(0..330, |i| i % 4 != 2 && !(90..110).contains(&i)).await;
    assert_eq!(answers(&database).await, expected);
    drop(database);

    let database = open(dir.path()).await;
    assert_eq!(answers(&database).await, expected, "after a restart");
    let reader = Database::open_read_only(manual(dir.path())).await.unwrap();
    assert_eq!(answers(&reader).await, expected);
    let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
    drop(before);
    database.rewrite_deleted(options).await.unwrap();
    assert_eq!(answers(&database).await, expected);
    let receipt = database.deletion(id).await.unwrap();
    assert!(receipt.is_complete(), "{receipt:?}");
    assert_eq!((database.stats().masked_events, numbers_left(&database)), (0, 233));
    assert_eq!(files(dir.path(), "segments"), 2 * database.stats().segments as usize, "and no mask");
    database.compact(options, |_| {}).await.unwrap();
    assert_eq!(answers(&database).await, expected);
    assert_eq!(database.deletion("nope").await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Number of events in objects, deleted ones too.
fn numbers_left(database: &Database) -> u64 {
    database.snapshot().catalog.segments.iter().map(|segment| segment.rows).sum()
}

#[tokio::test]
async fn a_deletion_of_everything_or_nothing_leaves_what_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(users(0..50)).await.unwrap();
    database.delete(&delete("n < 25")).await.unwrap();
    database.append(users(50..60)).await.unwrap();
    let nothing = database.delete(&delete("user.id = 'nobody'")).await.unwrap();
    assert_eq!((nothing.deletion.rows, nothing.is_complete()), (0, true));
    assert_eq!(database.delete(&delete("n < 50")).await.unwrap().deletion.rows, 25);
    assert_eq!(answers(&database).await, without(50..60, |_| true).await);
    assert_eq!(database.stats().segments, 1);
    database.delete(&delete("true")).await.unwrap();
    assert_eq!(text(&database, "SELECT count(*) FROM events").await, "0");
    for (wrong, says) in [
        ("user.idd = 'x'", "user.id"),
        ("n <", "condition"),
        ("true) OR (true", "condition"),
        ("n = 1; DROP TABLE events", "condition"),
        ("n IN (SELECT n FROM events)", "each event alone"),
        ("random() < 0.5", "each event alone"),
        ("count(*) > 1", ""),
    ] {
        let error = database.delete(&delete(wrong)).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says),
            "{wrong}: {error}"
        );
    }
}

#[tokio::test]
async fn a_deletion_and_a_merge_of_the_same_segments_do_not_undo_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    let mut next = 0;
    for round in 0..6 {
        for _ in 0..3 {
            database.append(users(next..next + 40)).await.unwrap();
            database.flush().await.unwrap();
            next += 40;
        }
        let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
        let request = delete(&format!("n % 10 = {round}"));
        let (deleted, merged) = tokio::join!(database.delete(&request), database.compact(options, |_| {}));
        deleted.unwrap();
        if let Err(error) = merged {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
    }
    // Each round deletes only events that were there at its time.
    let expected = without(0..next, |i| (i / 120..6).all(|round| i % 10 != round)).await;
    assert_eq!(answers(&database).await, expected);
}

#[tokio::test]
async fn a_mask_that_cannot_be_read_is_an_error_and_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(users(0..50)).await.unwrap();
    database.delete(&delete("n = 7")).await.unwrap();
    let mask = database.snapshot().catalog.segments[0].mask_path().unwrap();
    std::fs::write(dir.path().join(mask), "BLMK").unwrap();
    for question in ["SELECT sum(n) FROM events", "SELECT n FROM events WHERE n = 7"] {
        let asked = database.sql(question).await.unwrap().collect().await;
        assert_eq!(asked.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn events_expire_by_the_first_rule_that_fits_and_segments_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock::default());
    let mut settings = manual(dir.path());
    settings.clock = Arc::clone(&clock) as _;
    let rule = |condition: Option<&str>, seconds| crate::config::RetentionRule {
        condition: condition.map(str::to_owned),
        keep: std::time::Duration::from_secs(seconds),
    };
    settings.maintenance.retention.rules = vec![rule(Some("signal = 'log'"), 400), rule(None, 100)];
    let database = Database::open(settings.clone()).await.unwrap();
    for from in [0, 100, 200] {
        database.append(users(from..from + 100)).await.unwrap();
        database.flush().await.unwrap();
    }
    let at = |seconds: i64| clock.0.store(seconds * SECOND_NS, std::sync::atomic::Ordering::Relaxed);
    at(300);
    assert_eq!(database.apply_retention().await.unwrap(), 160, "spans before 200");
    assert_eq!(answers(&database).await, without(0..300, |i| i >= 200 || i % 5 == 0).await);
    assert_eq!(database.apply_retention().await.unwrap(), 0);
    at(501);
    assert_eq!(database.apply_retention().await.unwrap(), 20 + 80, "a segment, and the other spans");
    assert_eq!(answers(&database).await, without(100..300, |i| i % 5 == 0).await);
    let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
    database.compact(options, |_| {}).await.unwrap();
    assert_eq!((numbers_left(&database), database.stats().maintenance.expired_rows), (40, 260));
    database.close().await.unwrap();
    drop(database);

    settings.maintenance.retention.bytes_max = Some(1);
    let database = Database::open(settings.clone()).await.unwrap();
    assert_eq!(database.apply_retention().await.unwrap(), 40);
    // Dropping alone frees the lock when the last task has ended, which may be later.
    database.close().await.unwrap();
    drop(database);
    settings.maintenance.retention.rules.push(rule(Some("signal ="), 1));
    let error = Database::open(settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("retention rule 3"), "{error}");
}
