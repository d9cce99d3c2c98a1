//! Does a database work in an object store? Tested without a network.

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::catalog::Claim;
use crate::db::recovery::{open_in, open_read_only_in};
use crate::db::storage::{LogStorage, Storage};
use crate::wal::WalOptions;

fn settings() -> Settings {
    Settings::new("s3://bucket/path")
}

fn resources() -> Resources {
    Resources::of_reader(&settings()).unwrap()
}

/// Storage with objects in `store`, and the log there or in a directory.
fn storage(store: &Arc<dyn ObjectStore>, log: Option<&Path>) -> Storage {
    let log = match log {
        Some(log) => LogStorage::Files { directory: log.to_owned(), options: WalOptions::default() },
        None => {
            LogStorage::Objects { store: Arc::clone(store), options: crate::wal::ObjectLogOptions::default() }
        }
    };
    Storage { store: Arc::clone(store), placement: None, log, claim: None, lease: None, cache: None }
}

/// Opens the store as the process `writer`, with the log there or in a directory.
async fn open(store: &Arc<dyn ObjectStore>, writer: &str, log: Option<&Path>) -> Result<Database> {
    let id = log.map(|log| crate::wal::identity(&crate::disk::SystemDisk, log).unwrap());
    let claim = Claim { writer: writer.into(), log: id, owner: writer.into(), released: false };
    let storage = Storage { claim: Some(claim), ..storage(store, log) };
    open_in(settings(), storage, Arc::new(()), Resources::of_writer(&settings())?).await
}

fn count(database: &Database) -> u64 {
    let (catalog, buffer) = database.inner.live.view();
    catalog.rows() + buffer.iter().map(|batch| batch.rows() as u64).sum::<u64>()
}

async fn segments(store: &Arc<dyn ObjectStore>) -> usize {
    let prefix = object_store::path::Path::from("segments");
    futures::StreamExt::count(store.list(Some(&prefix))).await
}

#[tokio::test]
async fn who_was_taken_over_from_neither_acknowledges_nor_commits_nor_deletes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let stale = open(&store, "stale", None).await.unwrap();
    stale.append(batch(0..10)).await.unwrap();
    stale.flush().await.unwrap();
    stale.append(batch(10..20)).await.unwrap();

    let owner = open(&store, "owner", None).await.unwrap();
    assert_eq!(count(&owner), 20);
    // It does not know of the other's claim yet: the log will report it.
    assert!(stale.readiness().is_ok());
    assert_eq!(stale.append(batch(20..30)).await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(stale.readiness().unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(owner.readiness().is_ok());
    owner.append(batch(30..40)).await.unwrap();
    owner.flush().await.unwrap();
    let objects = segments(&store).await;
    assert_eq!(stale.flush().await.unwrap_err().kind(), ErrorKind::Poisoned);
    let swept =
        stale.writer().unwrap().maintenance().sweeper().remove_orphans(std::time::Duration::ZERO).await;
    assert_eq!(swept.unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(segments(&store).await >= objects, "what the owner has made is there");
    assert!(stale.close().await.is_err());

    owner.close().await.unwrap();
    let next = open(&store, "next", None).await.unwrap();
    assert_eq!(count(&next), 30);
    next.writer().unwrap().maintenance().sweeper().remove_orphans(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(
        segments(&store).await,
        2 * next.stats().segments as usize,
        "what the stale one had made is gone"
    );
}

#[tokio::test]
async fn a_log_in_a_directory_is_not_passed_over() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let directory = tempfile::tempdir().unwrap();
    let here = open(&store, "here", Some(directory.path())).await.unwrap();
    here.append(batch(0..10)).await.unwrap();
    drop(here);
    let there = open(&store, "there", None).await.unwrap_err();
    assert!(there.kind() == ErrorKind::Conflict && there.message().contains("--abandon-log"), "{there}");
    let other = tempfile::tempdir().unwrap();
    let other = open(&store, "other", Some(other.path())).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "{other}");
    let again = open(&store, "again", Some(directory.path())).await.unwrap();
    assert_eq!(count(&again), 10);
    again.close().await.unwrap();
    let there = open(&store, "there", None).await.unwrap();
    assert_eq!(count(&there), 10);
    there.append(batch(10..20)).await.unwrap();
    drop(there);
    let passed_over = open(&store, "again", Some(directory.path())).await.unwrap_err();
    assert!(passed_over.message().contains("in the store"), "{passed_over}");
}

/// Otherwise the close would record in the catalog that its log is empty, and another machine would open without it.
#[tokio::test]
async fn whoever_closes_waits_for_the_appends_under_way() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let held = Arc::new(parking_lot::Mutex::new(None));
    let hold = Arc::clone(&held);
    let start = Arc::new(move |log| {
        *hold.lock() = Some(log);
        Ok(None)
    });
    let options = WalOptions { start, ..WalOptions::default() };
    let log = LogStorage::Files { directory: directory.path().to_owned(), options };
    let claim =
        Claim { writer: "here".into(), log: Some("here".into()), owner: "here".into(), released: false };
    let storage = Storage { log, claim: Some(claim), ..storage(&store, None) };
    let here = open_in(settings(), storage, Arc::new(()), resources()).await.unwrap();
    let mut append = std::pin::pin!(here.append(batch(0..10)));
    assert!(futures::poll!(&mut append).is_pending(), "the log does not run yet");
    let closing = here.clone();
    let closing = tokio::spawn(async move { closing.close().await });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    tokio::spawn(held.lock().take().unwrap());
    append.await.unwrap();
    closing.await.unwrap().unwrap();
    assert_eq!(here.append(batch(10..20)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let there = open(&store, "there", Some(other.path())).await.unwrap();
    assert_eq!(count(&there), 10);
}

#[tokio::test]
async fn a_lost_catalog_is_told_and_nothing_deleted() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store.put(&"segments/2026/11/21/x.parquet".into(), "x".into()).await.unwrap();
    let error = open(&store, "one", None).await.unwrap_err();
    assert_eq!((error.kind(), segments(&store).await), (ErrorKind::Corrupt, 1), "{error}");
}

#[tokio::test]
async fn a_backup_in_a_store_is_a_database_with_a_log_of_its_own() {
    let here: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let there: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let database = open(&here, "here", None).await.unwrap();
    database.append(batch(0..10)).await.unwrap();
    database.flush().await.unwrap();
    database.append(batch(10..20)).await.unwrap();
    for _ in 0..2 {
        let report = database.backup(Arc::clone(&there), "here", |_| {}).await.unwrap();
        assert_eq!((report.events, report.log_events, report.problems.len()), (20, 10, 0));
    }
    let reader = open_read_only_in(settings(), storage(&there, None), resources()).await.unwrap();
    assert_eq!(count(&reader), 20);
    let copy = open(&there, "there", None).await.unwrap();
    copy.append(batch(20..30)).await.unwrap();
    drop(copy);
    let copy = open(&there, "there again", None).await.unwrap();
    assert_eq!((count(&copy), count(&database)), (30, 20));
    let error = database.backup(there, "here", |_| {}).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains("written to"), "{error}");
}

#[tokio::test]
async fn a_backup_does_not_do_without_a_log_that_it_does_not_read() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let writer = open(&store, "writer", Some(directory.path())).await.unwrap();
    writer.append(batch(0..10)).await.unwrap();
    let backup = async |settings: Settings, log: Option<&Path>| {
        let reader = open_read_only_in(settings, storage(&store, log), resources()).await.unwrap();
        let target: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        reader.backup(target, "a name", |_| {}).await.map(|report| report.events)
    };
    for log in [None, Some(other.path())] {
        let error = backup(settings(), log).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.message().contains("--wal"), "{error}");
    }
    assert_eq!(backup(settings(), Some(directory.path())).await.unwrap(), 10);
    let mut abandoned = settings();
    abandoned.remote.abandon_log = true;
    assert_eq!(backup(abandoned, None).await.unwrap(), 0);
    writer.close().await.unwrap();
    assert_eq!(backup(settings(), None).await.unwrap(), 10, "nothing is in the log alone");
}
