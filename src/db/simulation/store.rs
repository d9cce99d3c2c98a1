//! Does the engine survive an object store that is slow, loses answers and repeats requests?
//!
//! Objects are files of the simulated disk, put there by the code that puts them on a real one. In front of it is a
//! network like that of a remote store: a request may fail before or after it took effect, be carried out twice, be
//! refused as if the object existed, or take effect long after its sender gave up.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ThreadId;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use super::scheduler::Steps;
use super::world::{SimulatedClock, World};
use crate::disk::chaos::Chaos;
use crate::disk::simulated::SimulatedDisk;
use crate::disk::{Disk, Entry};
use crate::store::placement::Placement;

/// Bound of the simulation steps that a request takes.
const STEPS_MAX: usize = 4;

/// The objects of one process, on a simulated disk.
#[derive(Debug)]
pub(super) struct SimulatedStore {
    disk: SimulatedDisk,
    root: PathBuf,
    placement: Arc<Placement>,
    chaos: Chaos,
    steps: Arc<Steps>,
    /// Requests from other threads are answered at once: the simulation waits for these threads.
    simulator: ThreadId,
    /// Puts whose senders have given up.
    late: Mutex<Vec<(PathBuf, PutPayload, PutMode)>>,
    clock: Arc<SimulatedClock>,
    put_at: PutTimes,
}

/// Time at which each object was put, in nanoseconds of the simulated time. All processes share it.
pub(super) type PutTimes = Arc<Mutex<HashMap<PathBuf, i64>>>;

fn failed(what: &'static str) -> Error {
    Error::Generic { store: "SimulatedStore", source: what.into() }
}

impl SimulatedStore {
    pub(super) fn new(
        disk: SimulatedDisk,
        placement: Arc<Placement>,
        world: &World,
        steps: Arc<Steps>,
    ) -> Self {
        Self {
            disk,
            root: world.data.clone(),
            placement,
            chaos: world.chaos.clone(),
            steps,
            simulator: std::thread::current().id(),
            late: Mutex::default(),
            clock: Arc::clone(&world.clock),
            put_at: Arc::clone(&world.put_at),
        }
    }

    /// Carries out a put whose sender has given up, if there is one.
    pub(super) fn deliver_late(&self) {
        let mut late = self.late.lock();
        if late.is_empty() {
            return;
        }
        let which = self.chaos.below(late.len());
        let (path, payload, mode) = late.swap_remove(which);
        self.chaos.note("late put", &path, "");
        let _nobody_hears = self.place(&path, &payload, &mode);
    }

    fn place(&self, path: &std::path::Path, payload: &PutPayload, mode: &PutMode) -> Result<()> {
        let placed = self.placement.place(path, payload, mode);
        if placed.is_ok() {
            self.put_at.lock().insert(path.to_owned(), self.clock.peek_ns());
        }
        placed
    }

    fn file(&self, location: &Path) -> PathBuf {
        self.root.join(location.as_ref())
    }

    /// Lets some steps of the simulation pass, as a network does.
    async fn travel(&self) {
        if std::thread::current().id() != self.simulator {
            return;
        }
        self.steps.pass(self.chaos.below(STEPS_MAX)).await;
    }

    fn meta(&self, location: Path, bytes: usize) -> ObjectMeta {
        // An object whose put was not answered gets the time of its first reading.
        let put_at_ns =
            *self.put_at.lock().entry(self.file(&location)).or_insert_with(|| self.clock.peek_ns());
        let last_modified = chrono::DateTime::from_timestamp_nanos(put_at_ns);
        ObjectMeta { location, last_modified, size: bytes as u64, e_tag: None, version: None }
    }

    fn read(&self, location: &Path) -> Result<Bytes> {
        if self.chaos.strikes("get fails") {
            return Err(failed("get fails"));
        }
        self.disk.read(&self.file(location)).map(Bytes::from).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { path: location.to_string(), source: e.into() },
            _ => failed("the disk cannot be read"),
        })
    }

    fn walk(&self, folder: &std::path::Path, found: &mut Vec<ObjectMeta>) -> std::io::Result<()> {
        for Entry { path, is_directory } in self.disk.list(folder)? {
            if is_directory {
                self.walk(&path, found)?;
            } else if let Ok(object) = path.strip_prefix(&self.root)
                && !object.to_string_lossy().contains('#')
            {
                let location = Path::from(object.to_string_lossy().as_ref());
                found.push(self.meta(location, self.disk.read(&path)?.len()));
            }
        }
        Ok(())
    }
}

impl fmt::Display for SimulatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedStore")
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.travel().await;
        let path = self.file(location);
        if self.chaos.strikes("put fails") {
            return Err(failed("put fails"));
        }
        if self.chaos.strikes("put arrives late") {
            self.late.lock().push((path, payload, opts.mode));
            return Err(failed("put arrives late"));
        }
        if opts.mode == PutMode::Create
            && self.chaos.strikes("put meets another")
            && self.placement.poison().is_none()
        {
            // S3's answer to conditional requests at the same time; nothing need be there. A directory that could not
            // be fsynced only fails: a name that it left is not taken for an object.
            let source = "put meets another".into();
            return Err(Error::AlreadyExists { path: location.to_string(), source });
        }
        let mut placed = self.place(&path, &payload, &opts.mode);
        if self.chaos.strikes("put is repeated") {
            placed = self.place(&path, &payload, &opts.mode);
        }
        self.travel().await;
        if self.chaos.strikes("answer to a put is lost") {
            return Err(failed("answer to a put is lost"));
        }
        placed.map(|()| PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(failed("multipart puts are not used"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.travel().await;
        let object = self.read(location)?;
        let meta = self.meta(location.clone(), object.len());
        let range = match options.range {
            Some(range) => range
                .as_range(meta.size)
                .map_err(|e| Error::Generic { store: "SimulatedStore", source: e.into() })?,
            None => 0..meta.size,
        };
        let bytes = object.slice(range.start as usize..range.end as usize);
        let parts = if self.chaos.strikes("get ends early") {
            vec![Ok(bytes.slice(..self.chaos.below(bytes.len()))), Err(failed("get ends early"))]
        } else {
            vec![Ok(bytes)]
        };
        let payload = GetResultPayload::Stream(stream::iter(parts).boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (disk, root, chaos) = (self.disk.clone(), self.root.clone(), self.chaos.clone());
        let put_at = Arc::clone(&self.put_at);
        let delete = move |location: Path| {
            if chaos.strikes("delete fails") {
                return Err(failed("delete fails"));
            }
            let file = root.join(location.as_ref());
            let removed = disk.remove(&file).inspect(|()| {
                put_at.lock().remove(&file);
            });
            if chaos.strikes("answer to a delete is lost") {
                return Err(failed("answer to a delete is lost"));
            }
            match removed {
                Ok(()) => Ok(location),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    Err(Error::NotFound { path: location.to_string(), source: e.into() })
                }
                Err(_) => Err(failed("the disk refuses")),
            }
        };
        locations.map(move |location| location.and_then(&delete)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let mut found = Vec::new();
        let listed = if self.chaos.strikes("list fails") {
            Err(failed("list fails"))
        } else {
            let folder = prefix.map_or_else(|| self.root.clone(), |prefix| self.file(prefix));
            match self.walk(&folder, &mut found) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed("the disk cannot be listed"))
                }
                _ => Ok(found),
            }
        };
        stream::iter([listed]).map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(failed("lists with delimiters are not used"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(failed("copies are not used"))
    }
}
