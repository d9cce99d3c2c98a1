//! Does a failing maintenance duty stop other duties? Is the failure reported?

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;

use super::*;
use crate::config::{RetentionRule, RetentionSettings};
use crate::db::recovery::open_in;
use crate::db::storage::{LogStorage, Storage};
use crate::disk::chaos::Chaos;
use crate::disk::simulated::SimulatedDisk;
use crate::store::placement::Placement;
use crate::wal::WalOptions;

/// One event per second of `range` with a numeric `size`, except for the event `wrong`.
fn sizes(range: Range<i64>, wrong: i64) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let (n, size) = (builder.key(Level::Record, "n"), builder.key(Level::Record, "size"));
    for i in range {
        builder.push(&CoreEvent { timestamp_ns: i * SECOND_NS, ..CoreEvent::default() });
        builder.attribute(n, Value::Int(i));
        let text = if i == wrong { "N/A".to_owned() } else { i.to_string() };
        builder.attribute(size, Value::Text(&text));
    }
    builder.finish().unwrap()
}

/// Two rules, one of which fails on a size that is not a number.
fn retention() -> RetentionSettings {
    let rule = |condition: &str, seconds| RetentionRule {
        condition: Some(condition.to_owned()),
        keep: Duration::from_secs(seconds),
    };
    let rules = vec![rule("n = 5", 2), rule("CAST(size AS BIGINT) % 2 = 0", 1)];
    RetentionSettings { rules, bytes_max: None }
}

fn settings(data: &Path) -> Settings {
    let mut settings = manual(data);
    let clock = Arc::new(SetClock::default());
    clock.0.store(1000 * SECOND_NS, Ordering::Relaxed);
    settings.clock = clock;
    settings.maintenance.retention = retention();
    settings.maintenance.check_every = Duration::from_millis(1);
    settings
}

fn state_of(database: &Database, duty: Duty) -> DutyState {
    database.duties().into_iter().find(|state| state.duty == duty).unwrap()
}

async fn append(database: &Database, parts: Range<i64>, wrong: i64) {
    for i in parts {
        database.append(sizes(i * 10..(i + 1) * 10, wrong)).await.unwrap();
        database.flush().await.unwrap();
    }
}

/// A database with eight segments; the size of `wrong` is not a number. Rules are set once the attributes that they
/// name exist.
async fn filled(settings: Settings, wrong: i64) -> Database {
    let database = begun(settings, wrong).await;
    append(&database, 1..8, wrong).await;
    database
}

/// The same with the first segment only.
async fn begun(settings: Settings, wrong: i64) -> Database {
    let mut without_rules = settings.clone();
    without_rules.maintenance.retention = RetentionSettings::default();
    let database = Database::open(without_rules).await.unwrap();
    append(&database, 0..1, wrong).await;
    database.close().await.unwrap();
    Database::open(settings).await.unwrap()
}

/// Events that stay: in the segment with the wrong size, only the first rule has removed events.
fn kept() -> Vec<i64> {
    (0..80).filter(|n| *n != 5 && (n % 2 == 1 || (30..40).contains(n))).collect()
}

/// A database with a failing retention rule.
pub(crate) async fn with_a_failing_rule() -> (Database, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let database = filled(settings(dir.path()), 33).await;
    database.apply_retention().await.unwrap_err();
    (database, dir)
}

#[tokio::test]
async fn a_retention_rule_that_fails_on_a_value_keeps_neither_other_segments_nor_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let database = filled(settings(dir.path()), 33).await;
    let report = database.compact(CompactionOptions::default(), |_| {}).await.unwrap();
    assert_eq!((report.before.segments, report.after.segments), (8, 1));
    assert_eq!(numbers(&database.snapshot()).await, kept());
    let state = state_of(&database, Duty::RetentionRule(1));
    let error = state.last_error.as_deref().unwrap();
    assert!(
        error.contains("retention rule 2, where CAST(size AS BIGINT)") && error.contains("N/A"),
        "{error}"
    );
    assert!(error.contains("1 of 8 segments are kept"), "{error}");
    assert!(state.is_failing() && !state_of(&database, Duty::RetentionRule(0)).is_failing());
    let error = database.apply_retention().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");

    // Without the wrong event the rule works again.
    database.delete(&delete("n >= 30 AND n < 40")).await.unwrap();
    database.rewrite_deleted(CompactionOptions::default()).await.unwrap();
    database.apply_retention().await.unwrap();
    assert!(!state_of(&database, Duty::RetentionRule(1)).is_failing());
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_retention_rule_that_fails_does_not_keep_the_background_from_merging() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.maintenance.background = true;
    settings.maintenance.grace = Duration::ZERO;
    let wrong = 3;
    let database = begun(settings, wrong).await;
    let has = |duty, is: fn(&DutyState) -> bool| {
        database.duties().iter().any(|state| state.duty == duty && is(state))
    };
    let worked = |state: &DutyState| state.last_success_ns.is_some();
    while !has(Duty::RetentionRule(0), worked) || !has(Duty::RetentionRule(1), DutyState::is_failing) {
        tokio::task::yield_now().await;
    }
    // The rules are applied again after a minute.
    append(&database, 1..8, wrong).await;
    while database.stats().segments > 1 || files(dir.path(), "segments") > 3 {
        tokio::task::yield_now().await;
    }
    assert!(has(Duty::Merging, worked) && !has(Duty::Merging, DutyState::is_failing));
    assert!(has(Duty::RetentionRule(1), DutyState::is_failing), "it is not tried again before its pause");
    assert_eq!(text(&database, "SELECT count(*) FROM events").await, "79", "the first rule was applied");
    database.close().await.unwrap();
}

/// A store that may refuse to delete.
#[derive(Debug, Default)]
struct Keeping {
    inner: InMemory,
    /// Objects whose path has this text are kept.
    kept: Mutex<Option<String>>,
}

impl Keeping {
    fn keep(&self, text: Option<&str>) {
        *self.kept.lock() = text.map(str::to_owned);
    }
}

impl std::fmt::Display for Keeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeping")
    }
}

#[async_trait]
impl ObjectStore for Keeping {
    async fn put_opts(
        &self,
        path: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &ObjectPath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &ObjectPath, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        let kept = self.kept.lock().clone();
        let allowed = move |path: object_store::Result<ObjectPath>| {
            let path = path?;
            match &kept {
                Some(text) if path.as_ref().contains(text.as_str()) => {
                    Err(object_store::Error::Generic { store: "Keeping", source: "not allowed".into() })
                }
                _ => Ok(path),
            }
        };
        self.inner.delete_stream(paths.map(allowed).boxed())
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn open_on(storage: Storage, settings: Settings) -> Database {
    let resources = Resources::of_writer(&settings).unwrap();
    open_in(settings, storage, Arc::new(()), resources).await.unwrap()
}

fn in_memory(store: Arc<dyn ObjectStore>, directory: &Path, options: WalOptions) -> Storage {
    let log = LogStorage::Files { directory: directory.to_owned(), options };
    Storage { store, placement: None, log, claim: None, lease: None, cache: None }
}

#[tokio::test]
async fn a_store_that_refuses_to_delete_does_not_keep_segments_from_being_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::<Keeping>::default();
    let storage = in_memory(Arc::clone(&store) as _, &dir.path().join("wal"), WalOptions::default());
    let database = open_on(storage, manual(dir.path())).await;
    store.keep(Some(""));
    let options = CompactionOptions { grace: Duration::ZERO, ..CompactionOptions::default() };
    for round in 1..3 {
        for i in 0..3 {
            database.append(batch(round * 30 + i * 10..round * 30 + (i + 1) * 10)).await.unwrap();
            database.flush().await.unwrap();
        }
        assert_eq!(database.compact(options, |_| {}).await.unwrap().after.segments, 1);
        let state = state_of(&database, Duty::RetiredObjects);
        assert_eq!((state.failures, u64::from(state.failures_in_a_row)), (round as u64, round as u64));
        assert!(state.to_string().contains("not allowed"), "{state}");
    }
    assert_eq!(database.readiness().map_err(|e| e.to_string()), Ok(()), "events are taken all the same");
    store.keep(None);
    database.compact(options, |_| {}).await.unwrap();
    assert!(!state_of(&database, Duty::RetiredObjects).is_failing());
    let left = store.list(Some(&"segments".into())).count().await;
    assert_eq!(left, 2, "what could not be deleted is deleted later");
    database.close().await.unwrap();
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_keeps_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::<Keeping>::default();
    let storage = in_memory(Arc::clone(&store) as _, &dir.path().join("wal"), WalOptions::default());
    let database = open_on(storage, manual(dir.path())).await;
    for i in 0..20 {
        database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
        database.flush().await.unwrap();
    }
    let snapshot = database.snapshot();
    let held = snapshot.catalog.segments[7].path();
    drop(snapshot);
    store.keep(Some(&held));
    let options = CompactionOptions { grace: Duration::ZERO, ..CompactionOptions::default() };
    database.compact(options, |_| {}).await.unwrap();
    let left = || async { store.list(Some(&"segments".into())).count().await };
    assert_eq!(left().await, 2 + 1);

    // Enough failures to end a pass: in the next pass they come last.
    let orphans = |name: &'static str| (0..8).map(move |i| ObjectPath::from(format!("segments/{name}-{i}")));
    for path in orphans("a").chain(orphans("b")) {
        store.put(&path, "left by a crash".into()).await.unwrap();
    }
    store.keep(Some("segments/a-"));
    let maintenance = database.writer().unwrap();
    for _ in 0..2 {
        maintenance.maintenance().sweeper().remove_orphans(Duration::ZERO).await.unwrap_err();
    }
    assert_eq!(left().await, 2 + 8, "those that are not kept are gone");
    database.close().await.unwrap();
}

/// A database whose next fsync of the log fails.
pub(crate) async fn about_to_be_poisoned() -> (Database, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let chaos = Chaos::new(1);
    let disk = SimulatedDisk::new(Path::new("/data"), chaos.clone());
    let options = WalOptions { disk: Arc::new(disk), ..WalOptions::default() };
    let storage = in_memory(Arc::new(InMemory::new()), Path::new("/data/wal"), options);
    let database = open_on(storage, manual(dir.path())).await;
    database.append(batch(0..5)).await.unwrap();
    assert_eq!(database.readiness().map_err(|e| e.to_string()), Ok(()));
    chaos.set("fsync fails", 1);
    (database, dir)
}

/// Makes that fsync fail, by an append.
pub(crate) async fn poison(database: &Database) {
    assert_eq!(database.append(batch(5..9)).await.unwrap_err().kind(), ErrorKind::Poisoned);
}

#[tokio::test]
async fn a_database_whose_log_could_not_be_fsynced_is_not_ready() {
    let (database, _dir) = about_to_be_poisoned().await;
    poison(&database).await;
    let error = database.readiness().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert!(error.message().contains("fsync") && error.message().contains("restart"), "{error}");
}

#[tokio::test]
async fn a_database_whose_objects_could_not_be_fsynced_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let chaos = Chaos::new(1);
    let disk = SimulatedDisk::new(Path::new("/data"), chaos.clone());
    let placement = Arc::new(Placement::new(Arc::new(disk), "/data".into()));
    let storage = in_memory(Arc::new(InMemory::new()), &dir.path().join("wal"), WalOptions::default());
    let storage = Storage { placement: Some(Arc::clone(&placement)), ..storage };
    let database = open_on(storage, manual(dir.path())).await;
    assert!(database.readiness().is_ok());
    chaos.set("directory fsync fails", 1);
    let mode = object_store::PutMode::Create;
    placement.place(Path::new("/data/segments/x"), &"x".into(), &mode).unwrap_err();
    let error = database.readiness().unwrap_err();
    assert!(error.kind() == ErrorKind::Poisoned && error.message().contains("restart"), "{error}");
}

#[tokio::test]
async fn a_closed_database_is_not_ready_and_one_for_reading_is() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.close().await.unwrap();
    assert_eq!(database.readiness().unwrap_err().kind(), ErrorKind::Unavailable);
    let reader = Database::open_read_only(manual(dir.path())).await.unwrap();
    assert!(reader.readiness().is_ok() && reader.duties().is_empty());
}
