//! Is a backup complete, whatever happens while it is made?

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::db::backup::{backup_to, restore_to};
use crate::db::check::check;
use crate::store::DurableFileSystem;

/// Events with a user of their own each.
fn batch(range: Range<i64>) -> EventBatch {
    batch_with(range, |builder, i| {
        let user = builder.key(Level::Record, "user.id");
        builder.attribute(user, Value::Text(&format!("u-{i}")));
    })
}

fn settings(data: &Path) -> Settings {
    let mut settings = manual(data);
    settings.index.lookup_keys = vec!["user.id".to_owned()];
    settings
}

/// Every `n` that SQL sees, sorted; duplicates are kept.
async fn numbers(database: &Database) -> Vec<i64> {
    let batches = database.sql("select n from events order by n").await.unwrap().collect().await.unwrap();
    let of = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(of).collect()
}

async fn numbers_in(directory: &Path) -> Vec<i64> {
    numbers(&Database::open_read_only(settings(directory)).await.unwrap()).await
}

async fn backup(data: &Path, target: &Path) -> BackupReport {
    let database = Database::open_read_only(settings(data)).await.unwrap();
    // As a task, like a server that makes backups itself.
    let target = target.to_owned();
    tokio::spawn(async move { backup_to(&database, target, |_| {}).await }).await.unwrap().unwrap()
}

async fn assert_sound(directory: &Path) {
    let found = check(&settings(directory), |_| {}).await.unwrap();
    assert!(found.problems.is_empty() && found.notes.is_empty(), "{found:#?}");
}

/// Makes a database of segments with a run and a mask, and a log with messages. Returns the writer.
async fn filled(data: &Path) -> Database {
    let database = Database::open(settings(data)).await.unwrap();
    for i in 0..10 {
        database.append(batch(i * 100..i * 100 + 100)).await.unwrap();
        database.flush().await.unwrap();
    }
    database.writer().unwrap().settle_runs().await;
    database.delete(&delete("user.id = 'u-17'")).await.unwrap();
    assert!(database.deliver(message(0), batch(1000..1050)).await.unwrap());
    database
}

/// Events of [`filled`], by their `n`.
fn expected() -> Vec<i64> {
    (0..1050).filter(|n| *n != 17).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_the_writer_has_everything_and_the_next_one_copies_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
    let database = filled(&data).await;
    let first = backup(&data, &target).await;
    assert_eq!((first.events, first.log_events, first.segments), (1049, 50, 11), "{first:?}");
    assert_eq!((first.copied, first.kept, first.removed), (22, 0, 0), "segments, indexes, a mask, a run");
    assert_eq!(first.problems, []);
    assert_eq!(numbers_in(&target).await, expected());
    assert_sound(&target).await;

    database.append(batch(1050..1060)).await.unwrap();
    database.flush().await.unwrap();
    database.append(batch(1060..1070)).await.unwrap();
    let second = backup(&data, &target).await;
    let whole: Vec<i64> = (0..1070).filter(|n| *n != 17).collect();
    assert_eq!((second.events, second.log_events, second.version > first.version), (1069, 10, true));
    assert_eq!((second.copied, second.kept), (2, 22), "a segment and its index: {second:?}");
    assert_eq!(second.removed, 2, "what was made of the log before");
    assert_eq!(numbers_in(&target).await, whole);
    assert_sound(&target).await;
    let third = backup(&data, &target).await;
    assert_eq!((third.copied, third.kept), (0, 24), "{third:?}");

    // The copy is a separate database, which knows the messages of the log.
    let restored = dir.path().join("restored");
    let source = Database::open_read_only(settings(&target)).await.unwrap();
    let report = restore_to(&source, &restored, |_| {}).await.unwrap();
    assert_eq!((report.events, report.problems.len()), (1069, 0));
    assert_sound(&restored).await;
    let again = Database::open(settings(&restored)).await.unwrap();
    assert!(!again.deliver(message(0), batch(1000..1050)).await.unwrap());
    assert!(again.deliver(message(1), batch(1070..1071)).await.unwrap());
    // Enough commits for the checkpoint of the backup to be deleted.
    for i in 0..200 {
        again.append(batch(1071 + i..1072 + i)).await.unwrap();
        again.flush().await.unwrap();
    }
    again.close().await.unwrap();
    let more: Vec<i64> = (0..1271).filter(|n| *n != 17).collect();
    assert_eq!(numbers_in(&restored).await, more);
    let found = check(&settings(&restored), |_| {}).await.unwrap();
    assert!(found.problems.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_backup_of_this_database_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, other, target) = (at("data"), at("other"), at("backup"));
    drop(filled(&data).await);
    drop(filled(&other).await);
    let source = Database::open_read_only(settings(&data)).await.unwrap();
    let refused = async |target: &Path, says: &str| {
        let error = backup_to(&source, target, |_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(says), "{error}");
    };
    refused(&other, "no backup").await;
    for within in [data.clone(), data.join("segments/backup"), data.join("backups/../of/today")] {
        refused(&within, "is inside ").await;
    }
    assert!(!data.join("backups").exists() && !data.join("segments/backup").exists());
    backup(&other, &target).await;
    refused(&target, "a backup of").await;
    let occupied = restore_to(&source, &other, |_| {}).await.unwrap_err();
    assert!(occupied.message().contains("is not empty"), "{occupied}");
    // A backup that is written to is a separate database from then on.
    let mine = at("mine");
    backup(&data, &mine).await;
    let opened = Database::open(settings(&mine)).await.unwrap();
    let locked = backup_to(&source, &mine, |_| {}).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Conflict, "{locked}");
    opened.append(batch(5000..5001)).await.unwrap();
    opened.close().await.unwrap();
    drop(opened);
    refused(&mine, "written to").await;
    assert_eq!(numbers_in(&mine).await.len(), 1050);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_told_copied_as_it_is_and_copied_again_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
    drop(filled(&data).await);
    let catalog = Database::open_read_only(settings(&data)).await.unwrap().snapshot().catalog;
    let mut files: Vec<_> = catalog.segments.iter().map(|segment| data.join(segment.path())).collect();
    files.sort();
    let (segment, gone) = (&files[0], &files[9]);
    let whole = std::fs::read(segment).unwrap();
    let mut harmed = whole.clone();
    harmed[100] ^= 1;
    std::fs::write(segment, harmed).unwrap();
    let of_gone = std::fs::read(gone).unwrap();
    std::fs::remove_file(gone).unwrap();
    for _ in 0..2 {
        let report = backup(&data, &target).await;
        let paths: Vec<_> = report.problems.iter().map(|problem| data.join(&problem.path)).collect();
        assert_eq!(paths, [segment.clone(), gone.clone()], "{report:#?}");
        assert!(report.problems[0].what.contains("checksum") && report.problems[1].what.contains("missing"));
        let found = check(&settings(&target), |_| {}).await.unwrap();
        assert!(found.problems.len() >= 2, "the copy does not look better than it is: {found:#?}");
    }
    std::fs::write(segment, whole).unwrap();
    std::fs::write(gone, of_gone).unwrap();
    let report = backup(&data, &target).await;
    assert_eq!((report.problems.len(), report.copied), (0, 2), "{report:?}");
    assert_eq!(numbers_in(&target).await, expected());
    assert_sound(&target).await;
}

/// A directory in which something happens at put number `at`, counted from 0: see [`Then`].
struct Interrupted {
    directory: PathBuf,
    inner: DurableFileSystem,
    puts: AtomicUsize,
    at: usize,
    then: Then,
}

enum Then {
    /// All requests fail from here on.
    Stop,
    /// This database merges all segments and deletes the old ones at once.
    Compact(Database),
    /// This database is backed up to the same place, by a process that has not noticed the first one.
    Overtake(Database),
    /// Nothing can be deleted.
    Keep,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interrupted({})", self.inner)
    }
}

impl Interrupted {
    fn at(directory: &Path, at: usize, then: Then) -> Arc<Self> {
        let inner = DurableFileSystem::create(directory).unwrap();
        Arc::new(Self { directory: directory.to_owned(), inner, puts: AtomicUsize::new(0), at, then })
    }

    fn stopped(&self) -> object_store::Result<()> {
        let stopped = matches!(self.then, Then::Stop) && self.puts.load(Ordering::Relaxed) > self.at;
        let error = || object_store::Error::Generic { store: "Interrupted", source: "stopped".into() };
        if stopped { Err(error()) } else { Ok(()) }
    }
}

fn denied(path: &ObjectPath) -> object_store::Result<ObjectPath> {
    Err(object_store::Error::PermissionDenied {
        path: path.to_string(),
        source: "only to be written to".into(),
    })
}

#[async_trait]
impl ObjectStore for Interrupted {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let due = self.puts.fetch_add(1, Ordering::Relaxed) == self.at;
        match &self.then {
            Then::Compact(database) if due => {
                let options = CompactionOptions { grace: std::time::Duration::ZERO, ..Default::default() };
                // Other objects of this backup are not copied meanwhile; otherwise no object would be missing.
                let compact = database.compact(options, |_| {});
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(compact)).unwrap();
            }
            Then::Overtake(database) if due => {
                let (store, database) = (DurableFileSystem::new(&self.directory).unwrap(), database.clone());
                let other = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Runtime::new().unwrap();
                    runtime.block_on(database.backup(Arc::new(store), "a name", |_| {})).unwrap()
                });
                tokio::task::block_in_place(|| other.join()).unwrap();
            }
            _ => {}
        }
        self.stopped()?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &ObjectPath,
        ranges: &[Range<u64>],
    ) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        if matches!(self.then, Then::Keep) {
            return locations.map(|location| location.and_then(|path| denied(&path))).boxed();
        }
        self.inner.delete_stream(locations)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cut_off_at_any_step_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
    let database = filled(&data).await;
    let into = async |at: usize| {
        let store = Interrupted::at(&target, at, Then::Stop);
        database.backup(store, "a name", |_| {}).await
    };
    // First backup: until it is done, nothing can be opened.
    let mut steps = 0;
    while into(steps).await.is_err() {
        let opened = Database::open_read_only(settings(&target)).await;
        assert!(opened.is_err() || numbers(&opened.unwrap()).await.is_empty(), "after {steps} puts");
        steps += 1;
    }
    // Each attempt continues where the last one was cut off, so there are as many attempts as objects.
    assert!((3..=30).contains(&steps), "{steps}");
    assert_eq!(numbers_in(&target).await, expected());
    assert_sound(&target).await;

    // Next backup: until it is done, the first one can be opened.
    database.append(batch(1050..1060)).await.unwrap();
    database.compact(CompactionOptions::default(), |_| {}).await.unwrap();
    let mut steps = 0;
    while into(steps).await.is_err() {
        assert_eq!(numbers_in(&target).await, expected(), "after {steps} puts");
        let found = check(&settings(&target), |_| {}).await.unwrap();
        assert!(found.problems.is_empty(), "after {steps} puts: {found:#?}");
        steps += 1;
    }
    assert!(steps >= 2, "{steps}");
    assert_eq!(numbers_in(&target).await.len(), 1059);
    assert_sound(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compaction_deletes_meanwhile_breaks_nothing() {
    for at in [0, 1, 5, 12, 20, 23] {
        let dir = tempfile::tempdir().unwrap();
        let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
        let database = filled(&data).await;
        let store = Interrupted::at(&target, at, Then::Compact(database.clone()));
        // Like another process, which cannot delay deletions.
        let reader = Database::open_read_only(settings(&data)).await.unwrap();
        let report = reader.backup(store, "a name", |_| {}).await.unwrap();
        assert_eq!(report.problems, [], "{at}");
        assert_eq!(numbers_in(&target).await, expected(), "{at}");
        assert_sound(&target).await;
        assert_eq!(numbers(&database).await, expected());
    }
}

/// A lost side-car is reported; segments merged meanwhile are not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_while_something_is_lost_is_not_taken_for_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
    let database = filled(&data).await;
    let lost = database.snapshot().catalog.segments[0].index_path();
    std::fs::remove_file(data.join(&lost)).unwrap();
    let reader = Database::open_read_only(settings(&data)).await.unwrap();
    let store = Interrupted::at(&target, 9, Then::Compact(database.clone()));
    let report = reader.backup(store, "a name", |_| {}).await.unwrap();
    assert_eq!(report.problems, [], "what was lost was replaced too");
    assert_eq!(numbers_in(&target).await, expected());
    assert_sound(&target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_another_has_overtaken_removes_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
    let database = filled(&data).await;
    let late = Database::open_read_only(settings(&data)).await.unwrap();
    for i in 0..3 {
        database.append(batch(2000 + i..2001 + i)).await.unwrap();
        database.flush().await.unwrap();
    }
    let everything = numbers(&database).await;
    let store = Interrupted::at(&target, 5, Then::Overtake(database));
    let error = late.backup(store, "a name", |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(numbers_in(&target).await, everything);
    let found = check(&settings(&target), |_| {}).await.unwrap();
    assert!(found.problems.is_empty(), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_where_nothing_can_be_deleted_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup"));
    let database = filled(&data).await;
    for more in [0, 10] {
        database.append(batch(1050..1050 + more)).await.unwrap();
        let store = Interrupted::at(&target, 0, Then::Keep);
        let report = database.backup(store, "a name", |_| {}).await.unwrap();
        assert_eq!((report.removed, numbers_in(&target).await.len() as i64), (0, 1049 + more));
    }
}
