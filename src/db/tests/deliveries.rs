//! Is a redelivered message recognised?

use super::*;

#[tokio::test]
async fn a_message_that_is_delivered_again_adds_nothing_before_and_after_a_flush_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = open(dir.path()).await;
    assert!(database.deliver(message(1), batch(0..10)).await.unwrap());
    assert!(!database.deliver(message(1), batch(0..10)).await.unwrap());
    assert!(database.deliver(message(2), batch(10..20)).await.unwrap(), "another message");
    database.append(batch(20..25)).await.unwrap();
    database.append(batch(25..30)).await.unwrap();
    for step in ["in the log", "in a segment", "in a segment and the log"] {
        drop(database);
        database = open(dir.path()).await;
        for n in 1..=2 {
            assert!(!database.deliver(message(n), batch(0..10)).await.unwrap(), "{step}, message {n}");
        }
        assert!(numbers(&database.snapshot()).await.starts_with(&upto(30)), "{step}");
        if step == "in a segment" {
            assert!(database.deliver(message(3), batch(30..40)).await.unwrap());
        }
        if step != "in a segment and the log" {
            database.flush().await.unwrap();
        }
    }
    assert!(!database.deliver(message(3), batch(30..40)).await.unwrap());
    for i in 40..110 {
        // A checkpoint is written in between.
        database.append(batch(i..i + 1)).await.unwrap();
        database.flush().await.unwrap();
    }
    drop(database);
    let database = open(dir.path()).await;
    for n in 1..=3 {
        assert!(!database.deliver(message(n), batch(0..10)).await.unwrap(), "message {n}");
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(110));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_deliveries_at_once_one_is_stored_though_producers_leave() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for round in 0..50_u8 {
        let range = i64::from(round) * 10..i64::from(round) * 10 + 10;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (database, batch) = (database.clone(), batch(range.clone()));
                tokio::spawn(async move { database.deliver(message(round), batch).await.unwrap() })
            })
            .collect();
        // These producers hang up: their events may be stored or not.
        tasks[usize::from(round % 6)].abort();
        tasks[usize::from(round % 5)].abort();
        let mut stored = 0;
        for task in tasks {
            stored += u32::from(task.await.is_ok_and(|is_new| is_new));
        }
        assert!(stored <= 1, "{stored}");
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(500));
}

#[tokio::test]
async fn messages_are_forgotten_after_their_time_and_when_it_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock::default());
    let mut settings = manual(dir.path());
    settings.clock = Arc::clone(&clock) as _;
    settings.deliveries.window = std::time::Duration::from_mins(1);
    let database = Database::open(settings.clone()).await.unwrap();
    assert!(database.deliver(message(1), batch(0..1)).await.unwrap());
    database.close().await.unwrap();
    drop(database);
    let database = Database::open(settings.clone()).await.unwrap();
    assert!(!database.deliver(message(1), batch(0..1)).await.unwrap());
    clock.0.store(61 * SECOND_NS, std::sync::atomic::Ordering::Relaxed);
    assert!(database.deliver(message(1), batch(1..2)).await.unwrap());
    database.close().await.unwrap();
    drop(database);
    settings.deliveries.window = std::time::Duration::ZERO;
    let database = Database::open(settings).await.unwrap();
    assert!(database.deliver(message(1), batch(2..3)).await.unwrap());
    assert_eq!(numbers(&database.snapshot()).await, upto(3));
}
