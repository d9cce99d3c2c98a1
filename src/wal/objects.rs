//! How is the log kept in an object store?
//!
//! Each group of batches is one object in the format of a log file, named after its first sequence number:
//!
//! ```text
//! wal/{first_seq:020}.wal = header record*         as in files; record* = batches, or one fence
//! fence = a record with the payload zstd("EVF1" writer)
//! ```
//!
//! Each put is conditional: it succeeds only if no object has that name. The next put starts after the last one
//! has succeeded. So at any time the log continues at exactly one name, and the writer that puts the object of
//! that name holds the log. A writer that takes over puts a *fence* there. If the previous writer is still alive,
//! it finds its name taken and accepts no more batches. Its last put came either before the fence, and is
//! replayed, or it fails. (SlateDB fences its writers in this way, <https://slatedb.io/rfcs/0001-manifest>.)
//!
//! # Invariants
//!
//! - A fence is kept for [`FENCE_KEPT`], even after all batches before it are committed: while it exists, its
//!   name is taken. A process that was halted in the middle of a request for longer than that is not fenced off.
//! - A put of unknown outcome is repeated until its outcome is known, so that a batch reported as refused never
//!   appears later. After [`GIVE_UP`] the log is poisoned.
//! - Objects are stored whole, so there are no torn tails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};

use super::reader::{Damage, Replay};
use super::record;
use super::writer::{Counters, Log, Start};
use super::{Payload, SequenceNumber};
use crate::error::{Error, ErrorKind, Result};

/// Folder of the log's objects.
const FOLDER: &str = "wal";
/// Largest fence. An object of at most this size is treated as a fence. No batch is this small; if one were, it
/// would only be kept longer.
const FENCE_BYTES_MAX: u64 = 128;
/// Time for which fences are kept.
pub const FENCE_KEPT: Duration = Duration::from_hours(30 * 24);
/// Retries of a put of unknown outcome: total time, number of attempts, and pauses in between.
const GIVE_UP: Duration = Duration::from_mins(5);
const ATTEMPTS_MAX: u32 = 100;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Objects read concurrently during replay.
const READS_AT_ONCE: usize = 8;

/// Callback for each replayed batch, decompressed.
type Each<'a> = dyn FnMut(SequenceNumber, Vec<u8>) -> Result<()> + Send + 'a;

/// Waits for a duration.
type Pause = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Clock and runtime of a log in objects. A simulator has its own clock and polls the loop itself.
#[derive(Clone)]
pub struct ObjectLogOptions {
    pub(crate) pause: Pause,
    pub(crate) start: Start,
}

impl Default for ObjectLogOptions {
    fn default() -> Self {
        Self { pause: Arc::new(|time| tokio::time::sleep(time).boxed()), start: Arc::new(on_own_runtime) }
    }
}

impl std::fmt::Debug for ObjectLogOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectLogOptions").finish_non_exhaustive()
    }
}

/// An object of the log.
#[derive(Debug, Clone)]
struct LogObject {
    first: SequenceNumber,
    path: Path,
    /// Number of its last record, if known: the object was read or written here, or all of it is committed.
    last: Option<SequenceNumber>,
    is_fence: bool,
    damaged: bool,
    /// Time of the put, if the object was listed at the start.
    put_at_ns: Option<i64>,
}

/// Log in an object store.
#[derive(Debug)]
pub struct ObjectLog {
    store: Arc<dyn ObjectStore>,
    options: ObjectLogOptions,
    next: SequenceNumber,
    objects: VecDeque<LogObject>,
    counters: Arc<Counters>,
    poison: Option<String>,
}

/// Calls `each` with every batch numbered above `after`, in order. Changes nothing.
///
/// An object that disappears meanwhile held only committed batches. A caller that reads beside a live writer must
/// check the catalog again afterwards.
pub async fn replay_objects(
    store: &Arc<dyn ObjectStore>,
    after: SequenceNumber,
    each: &mut Each<'_>,
) -> Result<Replay> {
    let mut reading = Reading { after, each, replay: Replay::default() };
    read_all(store, &mut reading).await?;
    Ok(reading.replay)
}

/// Lists the objects of the log with their sizes, oldest first.
pub async fn list_objects(store: &Arc<dyn ObjectStore>) -> Result<Vec<(SequenceNumber, ObjectMeta)>> {
    let objects: Vec<_> = store.list(Some(&Path::from(FOLDER))).try_collect().await?;
    let named = objects.into_iter().filter_map(|object| {
        Some((record::first_of_path(std::path::Path::new(object.location.as_ref()))?, object))
    });
    let mut objects: Vec<_> = named.collect();
    objects.sort_unstable_by_key(|(first, _)| *first);
    Ok(objects)
}

/// True if an object of the log is small enough to be a fence, so it holds no batches.
pub fn is_fence(object: &ObjectMeta) -> bool {
    object.size <= FENCE_BYTES_MAX
}

/// Reads all objects that are not known to be fully committed. Returns all objects, read or not.
async fn read_all(store: &Arc<dyn ObjectStore>, reading: &mut Reading<'_, '_>) -> Result<Vec<LogObject>> {
    let listed = list_objects(store).await?;
    let ends = listed.iter().skip(1).map(|(first, _)| Some(*first)).chain([None]);
    let mut objects: Vec<_> = listed
        .iter()
        .zip(ends)
        .map(|((first, object), end)| {
            let last = end.map(|end| SequenceNumber(end.0 - 1)).filter(|last| *last <= reading.after);
            LogObject {
                first: *first,
                path: object.location.clone(),
                last,
                is_fence: is_fence(object),
                damaged: false,
                put_at_ns: object.last_modified.timestamp_nanos_opt(),
            }
        })
        .collect();
    if let Some(LogObject { last: Some(last), .. }) = objects.iter().rev().find(|o| o.last.is_some()) {
        reading.replay.last = *last;
    }
    let unread = objects.iter_mut().filter(|object| object.last.is_none());
    // Boxed: otherwise the compiler cannot prove that the future of opening is `Send`.
    let unread: Vec<_> = unread.map(|object| read_if_there(store, object).boxed()).collect();
    let mut bytes = stream::iter(unread).buffered(READS_AT_ONCE);
    while let Some(found) = bytes.next().await {
        if let (object, Some(bytes)) = found? {
            reading.take(object, &bytes)?;
        }
    }
    drop(bytes);
    Ok(objects)
}

/// Returns the object and its bytes, or `None` if it has been deleted since it was listed.
async fn read_if_there<'o>(
    store: &Arc<dyn ObjectStore>,
    object: &'o mut LogObject,
) -> Result<(&'o mut LogObject, Option<Bytes>)> {
    match read(store, &object.path).await {
        Ok(bytes) => Ok((object, Some(bytes))),
        Err(object_store::Error::NotFound { .. }) => Ok((object, None)),
        Err(error) => Err(Error::from(error).context(format!("cannot read {}", object.path))),
    }
}

/// A replay under way.
struct Reading<'a, 'e> {
    after: SequenceNumber,
    each: &'a mut Each<'e>,
    replay: Replay,
}

impl Reading<'_, '_> {
    /// Replays the records of one object.
    fn take(&mut self, object: &mut LogObject, bytes: &Bytes) -> Result<()> {
        let scan = record::scan(bytes, object.first).map_err(|e| e.context(&object.path))?;
        let file = std::path::PathBuf::from(object.path.as_ref());
        let bad = scan.bad.into_iter().map(|bad| Damage {
            file: file.clone(),
            offset: bad.bytes.start,
            bytes: bad.bytes.len(),
            why: bad.why,
        });
        let before = self.replay.damage.len();
        self.replay.damage.extend(bad);
        for found in scan.records {
            let expected = self.replay.last.max(self.after).next();
            if found.seq > expected {
                let why =
                    format!("expected record {expected}, found {}: the records between are lost", found.seq);
                let offset = found.payload.start;
                self.replay.damage.push(Damage { file: file.clone(), offset, bytes: 0, why });
            }
            self.replay.last = self.replay.last.max(found.seq);
            object.last = Some(found.seq);
            if found.seq > self.after {
                let at = found.payload.start;
                let payload = record::decompress(&bytes[found.payload])
                    .map_err(|e| e.context(format!("{} at offset {at}", object.path)))?;
                object.is_fence = record::is_fence(&payload);
                if !object.is_fence {
                    (self.each)(found.seq, payload)?;
                }
            }
        }
        object.damaged = self.replay.damage.len() > before;
        Ok(())
    }
}

/// Outcome of a put.
enum Put {
    Stored,
    /// The name is taken by an object of these bytes.
    Taken(Bytes),
}

/// Takeover of a log: by whom, when, and behind which batch.
#[derive(Debug, Clone, Copy)]
pub struct Takeover<'a> {
    /// Name of the new writer, for the fence.
    pub writer: &'a str,
    /// Time of the takeover, in nanoseconds since the Unix epoch.
    pub now_ns: i64,
    /// Last batch that is committed.
    pub after: SequenceNumber,
}

impl ObjectLog {
    /// Takes over the log from its current holder. Once it returns, no other writer can append, and `each` has seen
    /// every accepted batch numbered above `takeover.after`.
    pub async fn take_over(
        store: Arc<dyn ObjectStore>,
        options: ObjectLogOptions,
        takeover: Takeover<'_>,
        each: &mut Each<'_>,
    ) -> Result<(Self, Replay)> {
        let Takeover { writer, now_ns, after } = takeover;
        let mut reading = Reading { after, each, replay: Replay::default() };
        let objects = read_all(&store, &mut reading).await?;
        let payload = record::fence(writer)?;
        let mut log = Self {
            store,
            options,
            next: SequenceNumber::ZERO,
            objects: objects.into(),
            counters: Arc::default(),
            poison: None,
        };
        loop {
            let first = reading.replay.last.max(after).next();
            let (path, object) = (path_of(first), encode(first, std::slice::from_ref(&payload)));
            let mut entry = LogObject {
                first,
                path: path.clone(),
                last: Some(first),
                is_fence: true,
                damaged: false,
                put_at_ns: None,
            };
            match log.put(&path, &object).await? {
                Put::Stored => {
                    log.objects.push_back(entry);
                    reading.replay.last = first;
                    log.next = first.next();
                    break;
                }
                // The previous writer was faster: its batches count, and the fence goes behind them.
                Put::Taken(bytes) => {
                    reading.take(&mut entry, &bytes)?;
                    reading.replay.last = reading.replay.last.max(first);
                    log.objects.push_back(entry);
                }
            }
        }
        log.remove_leftovers(after, now_ns).await?;
        log.counters.files.store(log.objects.len() as u64, Ordering::Relaxed);
        Ok((log, reading.replay))
    }

    /// Uses `store`, which has the same objects, from now on.
    #[must_use]
    pub fn through(self, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, ..self }
    }

    /// Deletes batches up to `through`, which a crash between commit and truncation left, and old fences.
    async fn remove_leftovers(&mut self, through: SequenceNumber, now_ns: i64) -> Result<()> {
        self.remove_through(through).await?;
        let kept_ns = i64::try_from(FENCE_KEPT.as_nanos()).unwrap_or(i64::MAX);
        let is_old = |object: &LogObject| {
            let age_ns = object.put_at_ns.map_or(0, |at_ns| now_ns.saturating_sub(at_ns));
            object.is_fence && object.first <= through && age_ns > kept_ns
        };
        for object in self.objects.iter().filter(|object| is_old(object)) {
            delete(&self.store, &object.path).await?;
        }
        self.objects.retain(|object| !is_old(object));
        Ok(())
    }

    /// Puts an object if its name is free, and repeats the put until its outcome is known.
    ///
    /// [`ErrorKind::Unavailable`]: it is not stored, nor will it be. [`ErrorKind::Poisoned`]: the outcome is unknown.
    async fn put(&self, path: &Path, object: &Bytes) -> Result<Put> {
        let (begun, mut attempt, mut pause) = (Instant::now(), 1, PAUSE_MIN);
        loop {
            let error = match self.store.put_opts(path, object.clone().into(), PutMode::Create.into()).await {
                Ok(_) => return Ok(Put::Stored),
                // An earlier attempt of this put may have succeeded.
                Err(
                    error @ (object_store::Error::AlreadyExists { .. }
                    | object_store::Error::Precondition { .. }),
                ) => match read(&self.store, path).await {
                    Ok(found) if found == *object => return Ok(Put::Stored),
                    Ok(found) => return Ok(Put::Taken(found)),
                    Err(_) => error,
                },
                Err(error) => error,
            };
            if attempt == 1 && is_refusal(&error) {
                let message = format!("cannot write the log {path}: {error}");
                return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
            }
            if begun.elapsed() > GIVE_UP || attempt == ATTEMPTS_MAX {
                let message = format!(
                    "cannot tell whether the store has {path} after {attempt} attempts: {error}; restart the process"
                );
                return Err(Error::new(ErrorKind::Poisoned, message).with_source(error));
            }
            tracing::warn!(%error, %path, "cannot write the log; retrying");
            (self.options.pause)(pause).await;
            attempt += 1;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn write(&mut self, payloads: &[Payload]) -> Result<SequenceNumber> {
        if let Some(why) = &self.poison {
            return Err(Error::new(ErrorKind::Poisoned, why));
        }
        let first = self.next;
        let last = self.objects.back().and_then(|object| object.last);
        assert!(last.is_none_or(|last| last < first), "a sequence number is used once");
        let (path, object) = (path_of(first), encode(first, payloads));
        let bytes = object.len() as u64;
        match self.put(&path, &object).await {
            Ok(Put::Stored) => {}
            Ok(Put::Taken(_)) => {
                return Err(self.poisoned(format!(
                    "another process has taken over the log: it has put {path}; stop this process"
                )));
            }
            Err(error) if error.kind() == ErrorKind::Poisoned => {
                return Err(self.poisoned(error.message().to_owned()));
            }
            Err(error) => return Err(error),
        }
        self.next = SequenceNumber(first.0 + payloads.len() as u64);
        let last = Some(SequenceNumber(self.next.0 - 1));
        self.objects.push_back(LogObject {
            first,
            path,
            last,
            is_fence: false,
            damaged: false,
            put_at_ns: None,
        });
        self.counters.records.fetch_add(payloads.len() as u64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        Ok(first)
    }

    fn poisoned(&mut self, why: String) -> Error {
        self.poison = Some(why.clone());
        Error::new(ErrorKind::Poisoned, why)
    }

    /// Deletes the objects that hold only batches up to `through`, but keeps fences and damaged objects.
    async fn remove_through(&mut self, through: SequenceNumber) -> Result<()> {
        let is_done = |object: &LogObject| object.last.is_some_and(|last| last <= through);
        let mut kept = VecDeque::new();
        while let Some(object) = self.objects.pop_front() {
            if !is_done(&object) || object.is_fence || object.damaged {
                kept.push_back(object);
                continue;
            }
            if let Err(error) = delete(&self.store, &object.path).await {
                kept.push_back(object);
                kept.append(&mut self.objects);
                self.objects = kept;
                return Err(error);
            }
            self.counters.files.fetch_sub(1, Ordering::Relaxed);
        }
        self.objects = kept;
        Ok(())
    }
}

#[async_trait]
impl Log for ObjectLog {
    async fn append(&mut self, payloads: &[Payload]) -> Result<SequenceNumber> {
        self.write(payloads).await
    }

    async fn truncate(&mut self, through: SequenceNumber) -> Result<()> {
        assert!(through < self.next, "only what was written can be committed");
        self.remove_through(through).await
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn start(&self) -> Start {
        Arc::clone(&self.options.start)
    }
}

/// Starts the log's thread with a runtime of its own, so that its requests continue while the process shuts down.
fn on_own_runtime(log: BoxFuture<'static, ()>) -> std::io::Result<Option<std::thread::JoinHandle<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("broadloom-wal".into());
    thread.spawn(move || runtime.block_on(log)).map(Some)
}

fn path_of(first: SequenceNumber) -> Path {
    Path::from(format!("{FOLDER}/{}", record::file_name(first)))
}

fn encode(first: SequenceNumber, payloads: &[Payload]) -> Bytes {
    let mut bytes = record::encode_header(first).to_vec();
    for (payload, seq) in payloads.iter().zip(first.0..) {
        record::encode_record(&mut bytes, SequenceNumber(seq), payload.bytes());
    }
    bytes.into()
}

async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> object_store::Result<Bytes> {
    store.get(path).await?.bytes().await
}

/// True if the error proves that nothing was stored.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    matches!(
        error,
        E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::NotFound { .. }
            | E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::UnknownConfigurationKey { .. }
    )
}

async fn delete(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<()> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    type Found = Vec<(u64, Vec<u8>)>;

    async fn take_over(store: &Arc<dyn ObjectStore>, after: u64) -> (ObjectLog, Found) {
        let mut found = Vec::new();
        let mut each = |seq: SequenceNumber, bytes: Vec<u8>| {
            found.push((seq.0, bytes));
            Ok(())
        };
        let taken = ObjectLog::take_over(
            Arc::clone(store),
            ObjectLogOptions::default(),
            Takeover { writer: "somebody", now_ns: 0, after: SequenceNumber(after) },
            &mut each,
        );
        let (log, replay) = taken.await.unwrap();
        assert!(replay.damage.is_empty(), "{:?}", replay.damage);
        (log, found)
    }

    fn batches(range: std::ops::Range<u8>) -> Vec<Payload> {
        range.map(|i| Payload::compress(&bytes(i)).unwrap()).collect()
    }

    /// Bytes that zstd cannot compress.
    fn bytes(i: u8) -> Vec<u8> {
        (0..200_u32).map(|j| (crc32c::crc32c(&[i, j as u8]) >> 7) as u8).collect()
    }

    async fn names(store: &Arc<dyn ObjectStore>) -> Vec<u64> {
        list_objects(store).await.unwrap().into_iter().map(|(first, _)| first.0).collect()
    }

    fn store() -> Arc<dyn ObjectStore> {
        Arc::new(InMemory::new())
    }

    #[tokio::test]
    async fn what_was_appended_is_replayed_in_order_behind_the_watermark() {
        let store = store();
        let (mut log, found) = take_over(&store, 0).await;
        assert!(found.is_empty());
        assert_eq!(log.append(&batches(1..3)).await.unwrap(), SequenceNumber(2), "1 is the fence");
        assert_eq!(log.append(&batches(3..4)).await.unwrap(), SequenceNumber(4));
        let (mut log, found) = take_over(&store, 2).await;
        assert_eq!(found, [(3, bytes(2)), (4, bytes(3))]);
        assert_eq!(log.append(&batches(9..10)).await.unwrap(), SequenceNumber(6));
        assert_eq!(names(&store).await, [1, 2, 4, 5, 6]);
        log.truncate(SequenceNumber(4)).await.unwrap();
        assert_eq!(names(&store).await, [1, 5, 6], "fences stay");
        let (_, found) = take_over(&store, 4).await;
        assert_eq!(found, [(6, bytes(9))]);
        let (mut log, found) = take_over(&store, 6).await;
        assert_eq!((found.len(), names(&store).await), (0, vec![1, 5, 7, 8]));
        assert_eq!(log.append(&batches(1..2)).await.unwrap(), SequenceNumber(9));
    }

    #[tokio::test]
    async fn who_was_taken_over_from_is_refused_and_never_acknowledged() {
        let store = store();
        let (mut stale, _) = take_over(&store, 0).await;
        stale.append(&batches(1..2)).await.unwrap();
        let (mut owner, found) = take_over(&store, 0).await;
        assert_eq!(found.len(), 1);
        for _ in 0..2 {
            let refused = stale.append(&batches(2..3)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused}");
        }
        // Also once all batches of the new owner are committed and deleted.
        let last = owner.append(&batches(5..6)).await.unwrap();
        owner.truncate(last).await.unwrap();
        stale.poison = None;
        assert_eq!(stale.append(&batches(2..3)).await.unwrap_err().kind(), ErrorKind::Poisoned);
        let (_, found) = take_over(&store, last.0).await;
        assert!(found.is_empty());
    }

    #[tokio::test]
    async fn a_damaged_object_is_told_and_kept_and_the_rest_read() {
        let store = store();
        let (mut log, _) = take_over(&store, 0).await;
        for i in 1..4 {
            log.append(&batches(i..i + 1)).await.unwrap();
        }
        let path = path_of(SequenceNumber(3));
        let mut bytes = read(&store, &path).await.unwrap().to_vec();
        bytes[60] ^= 1;
        store.put(&path, bytes.into()).await.unwrap();
        let mut found = Vec::new();
        let mut each = |seq: SequenceNumber, _: Vec<u8>| {
            found.push(seq.0);
            Ok(())
        };
        let replay = replay_objects(&store, SequenceNumber::ZERO, &mut each).await.unwrap();
        assert_eq!((found, replay.last), (vec![2, 4], SequenceNumber(4)));
        assert_eq!(replay.damage[0].file, std::path::Path::new(path.as_ref()));
    }

    #[tokio::test]
    async fn fences_go_when_they_are_old() {
        let store = store();
        let (mut log, _) = take_over(&store, 0).await;
        let last = log.append(&batches(1..2)).await.unwrap();
        let later = chrono::Utc::now().timestamp_nanos_opt().unwrap() + 2 * FENCE_KEPT.as_nanos() as i64;
        let mut each = |_: SequenceNumber, _: Vec<u8>| Ok(());
        let taken = ObjectLog::take_over(
            Arc::clone(&store),
            ObjectLogOptions::default(),
            Takeover { writer: "somebody", now_ns: later, after: last },
            &mut each,
        );
        let (log, _) = taken.await.unwrap();
        assert_eq!(names(&store).await, [3], "the first fence and the committed batch are gone");
        assert_eq!(log.counters().files.load(Ordering::Relaxed), 1);
    }
}
