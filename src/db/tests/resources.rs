//! Do databases with shared resources stay separate otherwise?

use datafusion::execution::memory_pool::MemoryConsumer;

use super::*;

#[tokio::test]
async fn databases_that_share_resources_answer_for_themselves() {
    let resources = Resources::new(&ResourceSettings::default()).unwrap();
    let dirs = [0, 1, 2].map(|_| tempfile::tempdir().unwrap());
    let mut databases = Vec::new();
    for (i, dir) in (0..).zip(&dirs) {
        let database = Database::open_with(manual(dir.path()), &resources).await.unwrap();
        database.append(batch(i..10 + 2 * i)).await.unwrap();
        database.flush().await.unwrap();
        database.delete(&delete(&format!("n = {}", i + 3))).await.unwrap();
        databases.push(database);
    }
    // The second time the answers come from the caches.
    for _ in 0..2 {
        for (i, database) in (0_i64..).zip(&databases) {
            let expected: i64 = (i..10 + 2 * i).filter(|n| *n != i + 3).sum();
            assert_eq!(text(database, "SELECT sum(n) FROM events").await, expected.to_string());
            let count = text(database, &format!("SELECT count(*) FROM events WHERE n = {}", i + 4)).await;
            assert_eq!(count, "1");
        }
    }
    let bytes: Vec<_> = databases.iter().map(|database| database.stats().index_bytes).collect();
    assert!(bytes[0] > 0 && bytes.iter().all(|one| *one == bytes[0]), "one cache for all: {bytes:?}");
    databases[0].close().await.unwrap();
    let reader = Database::open_read_only_with(manual(dirs[0].path()), &resources).await.unwrap();
    assert_eq!(text(&reader, "SELECT sum(n) FROM events").await, "42");
    assert!(!dirs[1].path().join("spill").exists(), "they spill elsewhere");
}

#[tokio::test]
async fn a_limit_of_memory_holds_for_all_databases_together() {
    let mut settings = ResourceSettings::default();
    settings.query.memory_bytes_max = 64 << 20;
    let resources = Resources::new(&settings).unwrap();
    let dirs = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let one = Database::open_with(manual(dirs[0].path()), &resources).await.unwrap();
    let other = Database::open_with(manual(dirs[1].path()), &resources).await.unwrap();
    other.append(batch(0..1000)).await.unwrap();
    let sorted = || async {
        let result = other.sql("SELECT n FROM events ORDER BY n % 10, n").await.unwrap();
        result.collect().await.map(|batches| batches.iter().map(RecordBatch::num_rows).sum::<usize>())
    };
    // Like a query on the other database.
    let pool = Arc::clone(&one.session_context().runtime_env().memory_pool);
    let taken = MemoryConsumer::new("a query").register(&pool);
    taken.try_grow(63 << 20).unwrap();
    let error = sorted().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    drop(taken);
    assert_eq!(sorted().await.unwrap(), 1000);
}

#[tokio::test]
async fn a_full_buffer_of_one_database_is_flushed_to_make_room_for_another() {
    let limit = batch(0..1000).memory_bytes() * 3 / 2;
    let resources =
        Resources::new(&ResourceSettings { buffer_bytes_max: limit, ..ResourceSettings::default() }).unwrap();
    let dirs = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let one = Database::open_with(manual(dirs[0].path()), &resources).await.unwrap();
    let other = Database::open_with(manual(dirs[1].path()), &resources).await.unwrap();
    one.append(batch(0..1000)).await.unwrap();
    let error = other.append(batch(0..1000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.message().contains("of all databases"), "{error}");
    // What an agent does: it retries.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    while let Err(error) = other.append(batch(0..1000)).await {
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(tokio::time::Instant::now() < deadline, "the other database is never flushed");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(one.stats().segments, 1);
    assert_eq!(text(&other, "SELECT count(*) FROM events").await, "1000");
}
