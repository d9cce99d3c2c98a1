//! A database in an object store, without the store's own network.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::recovery::open_in;
use super::storage::{LogStorage, Storage};
use super::*;
use crate::catalog::Claim;
use crate::event::{CoreEvent, EventBatchBuilder};
use crate::wal::WalOptions;

fn batch(events: std::ops::Range<i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    for timestamp_ns in events {
        builder.push(&CoreEvent { timestamp_ns, ..CoreEvent::default() });
    }
    builder.finish().unwrap()
}

/// Opens the store as the process `writer`, with the log there, or in a directory.
async fn open(store: &Arc<dyn ObjectStore>, writer: &str, log: Option<&std::path::Path>) -> Result<Database> {
    let id = log.map(|log| crate::wal::identity(&crate::disk::SystemDisk, log).unwrap());
    let storage = Storage {
        store: Arc::clone(store),
        placement: None,
        log: match log {
            Some(log) => LogStorage::Files { directory: log.to_owned(), options: WalOptions::default() },
            None => LogStorage::Objects {
                store: Arc::clone(store),
                options: crate::wal::ObjectLogOptions::default(),
            },
        },
        claim: Some(Claim { writer: writer.into(), log: id, owner: writer.into(), released: false }),
        lease: None,
        cache: None,
    };
    open_in(Settings::new("s3://bucket/path"), storage, Arc::new(())).await
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
    // It does not know of the other's claim yet: the log tells it.
    assert_eq!(stale.append(batch(20..30)).await.unwrap_err().kind(), ErrorKind::Poisoned);
    owner.append(batch(30..40)).await.unwrap();
    owner.flush().await.unwrap();
    let objects = segments(&store).await;
    assert_eq!(stale.flush().await.unwrap_err().kind(), ErrorKind::Poisoned);
    let swept = stale.writer().unwrap().sweeper().remove_orphans(std::time::Duration::ZERO).await;
    assert_eq!(swept.unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(segments(&store).await >= objects, "what the owner has made is there");
    assert!(stale.close().await.is_err());

    owner.close().await.unwrap();
    let next = open(&store, "next", None).await.unwrap();
    assert_eq!(count(&next), 30);
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

#[tokio::test]
async fn a_lost_catalog_is_told_and_nothing_deleted() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store.put(&"segments/2026/11/21/x.parquet".into(), "x".into()).await.unwrap();
    let error = open(&store, "one", None).await.unwrap_err();
    assert_eq!((error.kind(), segments(&store).await), (ErrorKind::Corrupt, 1), "{error}");
}
