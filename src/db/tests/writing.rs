//! Are acknowledged events stored exactly once, whatever happens?

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn an_acknowledged_batch_is_seen_at_once_and_after_every_way_of_ending() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(batch(0..3)).await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(3));
    drop(database);

    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(3), "dropped without close");
    database.append(batch(3..5)).await.unwrap();
    database.flush().await.unwrap();
    database.append(batch(5..6)).await.unwrap();
    drop(database);

    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(6), "half in a segment, half in the log");
    database.close().await.unwrap();
    assert_eq!(files(dir.path(), "wal"), 0);
    assert_eq!(numbers(&database.snapshot()).await, upto(6), "queries go on after close");
    let error = database.append(batch(0..1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(6));
    assert!(database.snapshot().keys.lookup("n").is_some(), "keys are known without reading segments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_see_every_event_exactly_once_while_flushes_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.buffer.flush_rows = 200;
    let database = Database::open(settings).await.unwrap();
    let producer = {
        let database = database.clone();
        tokio::spawn(async move {
            for i in 0..300 {
                database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
            }
        })
    };
    let mut looks = 0;
    while !producer.is_finished() || looks < 20 {
        let snapshot = database.snapshot();
        let seen = numbers(&snapshot).await;
        assert_eq!(
            seen,
            upto(seen.len() as i64),
            "batches come in order: anything else is a loss or a duplicate"
        );
        assert_eq!(snapshot.rows(), seen.len() as u64);
        looks += 1;
    }
    producer.await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(3000));
    assert!(database.stats().flushes > 1, "{:?}", database.stats());
}

#[tokio::test]
async fn merging_small_batches_changes_nothing_that_anybody_sees() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for i in 0..40 {
        database.append(batch(i * 5..(i + 1) * 5)).await.unwrap();
    }
    let before = database.snapshot();
    database.writer().unwrap().merge_small().await.unwrap();
    let after = database.snapshot();
    // The background task may have merged some of them already.
    assert!(after.buffer.len() < 16, "{}", after.buffer.len());
    assert_eq!((numbers(&before).await, numbers(&after).await), (upto(200), upto(200)));
    database.append(batch(200..205)).await.unwrap();
    drop(database);
    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(205), "the log has the batches as they came");
    database.writer().unwrap().merge_small().await.unwrap();
    database.flush().await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(205));
    assert_eq!(database.stats().buffer_events, 0);
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_flush_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (live, before, after) =
        (dir.path().join("live"), dir.path().join("before"), dir.path().join("after"));
    let database = open(&live).await;
    database.append(batch(0..50)).await.unwrap();
    database.flush().await.unwrap();
    database.append(batch(50..100)).await.unwrap();
    copy(&live, &before);
    database.flush().await.unwrap();
    copy(&live, &after);
    drop(database);

    let image = |name: &str, parts: &[(&Path, &str)]| {
        let image = dir.path().join(name);
        for (from, folder) in parts {
            if from.join(folder).exists() {
                copy(&from.join(folder), &image.join(folder));
            }
        }
        image
    };
    let (b, a) = (before.as_path(), after.as_path());
    let steps = [
        image("nothing happened yet", &[(b, "wal"), (b, "segments"), (b, "catalog")]),
        image("segment stored, not committed", &[(b, "wal"), (a, "segments"), (b, "catalog")]),
        image("committed, log not truncated", &[(b, "wal"), (a, "segments"), (a, "catalog")]),
        image("done", &[(a, "wal"), (a, "segments"), (a, "catalog")]),
    ];
    for step in steps {
        let read_only = Database::open_read_only(manual(&step)).await.unwrap();
        assert_eq!(numbers(&read_only.snapshot()).await, upto(100), "read-only, {}", step.display());
        let database = open(&step).await;
        assert_eq!(numbers(&database.snapshot()).await, upto(100), "{}", step.display());
        let known = database.snapshot().catalog.segments.len();
        // Orphans are removed while all else goes on.
        while files(&step, "segments") != 2 * known {
            tokio::task::yield_now().await;
        }
        database.append(batch(100..101)).await.unwrap();
        database.close().await.unwrap();
        assert_eq!(numbers(&open(&step).await.snapshot()).await, upto(101), "{}", step.display());
    }
}

#[tokio::test]
async fn a_second_writer_is_told_who_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    let error = Database::open(manual(dir.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let says = error.message();
    assert!(says.contains(&format!("process {} on ", std::process::id())), "{says}");
    assert!(says.contains(dir.path().to_str().unwrap()), "{says}");
    database.close().await.unwrap();
    open(dir.path()).await.append(batch(0..1)).await.unwrap();
    open(dir.path()).await;
}

#[tokio::test]
async fn a_reader_beside_a_writer_sees_what_is_there_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path()).await;
    writer.append(batch(0..10)).await.unwrap();
    writer.flush().await.unwrap();
    writer.append(batch(10..20)).await.unwrap();
    let reader = Database::open_read_only(manual(dir.path())).await.unwrap();
    assert_eq!(numbers(&reader.snapshot()).await, upto(20));
    assert_eq!(reader.append(batch(0..1)).await.unwrap_err().kind(), ErrorKind::InvalidInput);

    writer.flush().await.unwrap();
    writer.append(batch(20..30)).await.unwrap();
    assert_eq!(numbers(&reader.snapshot()).await, upto(20), "a snapshot stays");
    reader.refresh().await.unwrap();
    assert_eq!(numbers(&reader.snapshot()).await, upto(30));
}

#[tokio::test]
async fn reading_where_there_is_no_database_creates_none() {
    let dir = tempfile::tempdir().unwrap();
    for data in [dir.path().to_owned(), dir.path().join("missing")] {
        let error = Database::open_read_only(manual(&data)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_buffer_tells_producers_to_wait_and_a_flush_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.buffer.bytes_max = 3 * batch(0..100).memory_bytes();
    let database = Database::open(settings).await.unwrap();
    let mut accepted = 0;
    let error = loop {
        match database.append(batch(accepted * 100..(accepted + 1) * 100)).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.message().contains("buffer.bytes_max"), "{error}");
    assert!((2..4).contains(&accepted), "{accepted}");
    database.flush().await.unwrap();
    database.append(batch(accepted * 100..(accepted + 1) * 100)).await.unwrap();
    assert_eq!(
        numbers(&database.snapshot()).await,
        upto((accepted + 1) * 100),
        "what was refused was not stored"
    );
}

#[tokio::test]
async fn an_import_counts_from_its_commit_on() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(batch(0..10)).await.unwrap();
    let mut importer = database.importer().unwrap();
    importer.append(batch(10..20)).await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(10));
    let progress = importer.commit().await.unwrap();
    assert_eq!((progress.appended_rows, progress.committed_rows, progress.segments), (10, 10, 1));
    assert_eq!(importer.commit().await.unwrap(), progress, "nothing to commit is no segment");
    assert_eq!(numbers(&database.snapshot()).await, upto(20));
    importer.append(batch(20..30)).await.unwrap();
    drop(importer);
    database.flush().await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(20), "what was not committed is not in");
    drop(database);
    assert_eq!(numbers(&open(dir.path()).await.snapshot()).await, upto(20));
}

#[tokio::test]
async fn two_databases_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (open(one.path()).await, open(two.path()).await);
    let (x, y) = tokio::join!(a.append(batch(0..5)), b.append(batch(0..7)));
    x.and(y).unwrap();
    a.flush().await.unwrap();
    assert_eq!((numbers(&a.snapshot()).await, numbers(&b.snapshot()).await), (upto(5), upto(7)));
    assert_eq!((a.stats().flushes, b.stats().flushes), (1, 0));
}

#[tokio::test]
async fn a_lost_catalog_is_reported_and_its_segments_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(batch(0..5)).await.unwrap();
    database.close().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("catalog")).unwrap();
    let error = Database::open(manual(dir.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(files(dir.path(), "segments"), 2, "the segment and its index");
}

#[tokio::test]
async fn a_database_opened_for_nothing_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    drop(open(dir.path()).await);
    assert_eq!(files(dir.path(), "wal"), 0);
    let names: BTreeSet<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["LOCK", "catalog", "spill", "wal"].map(String::from).into());
}

#[tokio::test]
async fn the_background_task_flushes_what_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.buffer.flush_age_ms = 1;
    let database = Database::open(settings).await.unwrap();
    database.append(batch(0..5)).await.unwrap();
    while database.stats().flushes == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(5));
}

#[tokio::test]
async fn damage_in_the_log_costs_its_own_batch() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for i in 0..3 {
        database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
    }
    drop(database);
    let file = std::fs::read_dir(dir.path().join("wal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    // The batches are alike, so the middle of the file is in the middle batch.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();

    let database = open(dir.path()).await;
    let left: Vec<i64> = (0..10).chain(20..30).collect();
    assert_eq!(numbers(&database.snapshot()).await, left);
    database.close().await.unwrap();
    assert!(file.with_extension("wal.damaged").exists());
    assert_eq!(numbers(&open(dir.path()).await.snapshot()).await, left);
}
