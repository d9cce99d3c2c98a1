//! How are rows of a file passed to DataFusion?
//!
//! DataFusion takes from a *morselizer* a *planner* per file, and from that *morsels*, which are streams of batches,
//! and further planners. A planner that needs the store is pending. These traits are experimental: "APIs that may
//! change substantially" (`datafusion_datasource::morsel`). Only this file names them; the rest of the scan uses a
//! [`Reader`] of files and the [`FileRows`] of one file.
//!
//! ```text
//! Reader ─ read(file) ─▶ FileRows = nothing | a stream | pending ─▶ FileRows | parts, each a FileRows
//!                                  └─ mapped: its one stream goes through a function
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfig, FileSource};
use datafusion::error::{DataFusionError, Result};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use object_store::ObjectStore;

/// The rows of a file, or of a part of one.
pub(super) type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// Object by which DataFusion opens the files of a [`FileSource`].
pub(super) type FileReader = Box<dyn Morselizer>;

/// Opens files as one of DataFusion's sources does.
pub(super) struct Reader(FileReader);

impl Reader {
    /// The reader of `source`.
    pub(super) fn of(
        source: &dyn FileSource,
        store: &Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Self> {
        source.create_morselizer(Arc::clone(store), config, partition).map(Self)
    }

    /// Begins to read `file`.
    pub(super) fn read(&self, file: PartitionedFile) -> Result<FileRows> {
        self.0.plan_file(file).map(FileRows)
    }
}

/// Creates a reader for DataFusion that reads each file by `read`.
pub(super) fn file_reader(read: impl Fn(PartitionedFile) -> FileRows + Send + Sync + 'static) -> FileReader {
    Box::new(ReadBy(read))
}

struct ReadBy<F>(F);

impl<F: Fn(PartitionedFile) -> FileRows + Send + Sync> Morselizer for ReadBy<F> {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        Ok((self.0)(file).0)
    }
}

/// Rows of a file that are still to be read.
pub(super) struct FileRows(Box<dyn MorselPlanner>);

impl FileRows {
    /// No rows.
    pub(super) fn nothing() -> Self {
        Self(Box::new(Nothing))
    }

    /// One stream, which `open` makes without I/O.
    pub(super) fn stream(open: impl FnOnce() -> BatchStream + Send + 'static) -> Self {
        Self(Box::new(One(Box::new(Stream(open)))))
    }

    /// Rows that `reading` yields, which may access the store.
    pub(super) fn pending(reading: impl Future<Output = Result<Self>> + Send + 'static) -> Self {
        Self(Box::new(Pending(reading)))
    }

    /// The `parts` of a file, one after another: each is opened when the one before has been read.
    pub(super) fn in_parts(
        parts: Vec<Range<u32>>,
        open: impl FnMut(Range<u32>) -> Result<Self> + Send + 'static,
    ) -> Self {
        Self(Box::new(Parts { left: parts.into(), open, opened: VecDeque::new() }))
    }

    /// Passes the rows through `map`. Reading fails if they come as several streams, since a map may count rows
    /// from the first. A segment is one row group, so it comes as one stream.
    pub(super) fn mapped(self, map: impl Fn(BatchStream) -> BatchStream + Send + Sync + 'static) -> Self {
        Self(Box::new(Mapped { inner: self.0, map: Arc::new(map) }))
    }
}

macro_rules! named_in_debug {
    ($($name:ident $(<$f:ident>)?),* $(,)?) => {$(
        impl$(<$f>)? fmt::Debug for $name$(<$f>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

named_in_debug!(ReadBy<F>, Nothing, One, Stream<F>, Pending<F>, Parts<F>, Mapped, MappedStream);

struct Nothing;

impl MorselPlanner for Nothing {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(None)
    }
}

struct One(Box<dyn Morsel>);

impl MorselPlanner for One {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_morsels(vec![self.0])))
    }
}

struct Stream<F>(F);

impl<F: FnOnce() -> BatchStream + Send> Morsel for Stream<F> {
    fn into_stream(self: Box<Self>) -> BatchStream {
        (self.0)()
    }
}

struct Pending<F>(F);

impl<F: Future<Output = Result<FileRows>> + Send + 'static> MorselPlanner for Pending<F> {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_pending_planner(async move { Ok(self.0.await?.0) })))
    }
}

struct Parts<F> {
    left: VecDeque<Range<u32>>,
    open: F,
    /// Planners left of the part that was opened last, in order.
    opened: VecDeque<Box<dyn MorselPlanner>>,
}

impl<F> MorselPlanner for Parts<F>
where
    F: FnMut(Range<u32>) -> Result<FileRows> + Send + 'static,
{
    fn plan(mut self: Box<Self>) -> Result<Option<MorselPlan>> {
        loop {
            let Some(planner) = self.opened.pop_front() else {
                let Some(part) = self.left.pop_front() else { return Ok(None) };
                let opened = (self.open)(part)?;
                self.opened.push_back(opened.0);
                continue;
            };
            let Some(mut plan) = planner.plan()? else { continue };
            for planner in plan.take_ready_planners().into_iter().rev() {
                self.opened.push_front(planner);
            }
            // DataFusion reads these streams to their ends before it plans more.
            let next = MorselPlan::new().with_morsels(plan.take_morsels());
            return Ok(Some(match plan.take_pending_planner() {
                Some(pending) => next.with_pending_planner(async move {
                    let planner = pending.await?;
                    self.opened.push_front(planner);
                    Ok(self as Box<dyn MorselPlanner>)
                }),
                None => next.with_planners(vec![self]),
            }));
        }
    }
}

type Map = Arc<dyn Fn(BatchStream) -> BatchStream + Send + Sync>;

struct Mapped {
    inner: Box<dyn MorselPlanner>,
    map: Map,
}

impl Mapped {
    fn over(inner: Box<dyn MorselPlanner>, map: &Map) -> Box<dyn MorselPlanner> {
        Box::new(Self { inner, map: Arc::clone(map) })
    }
}

impl MorselPlanner for Mapped {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, map } = *self;
        let Some(mut plan) = inner.plan()? else { return Ok(None) };
        let morsels = plan.take_morsels();
        if morsels.len() > 1 {
            return Err(DataFusionError::Internal("a segment came in several parts".to_owned()));
        }
        let morsel = |inner| Box::new(MappedStream { inner, map: Arc::clone(&map) }) as Box<dyn Morsel>;
        let planners = plan.take_ready_planners().into_iter().map(|p| Self::over(p, &map)).collect();
        let pending = plan.take_pending_planner();
        let mut plan =
            MorselPlan::new().with_morsels(morsels.into_iter().map(morsel).collect()).with_planners(planners);
        if let Some(pending) = pending {
            plan.set_pending_planner(async move { Ok(Self::over(pending.await?, &map)) });
        }
        Ok(Some(plan))
    }
}

struct MappedStream {
    inner: Box<dyn Morsel>,
    map: Map,
}

impl Morsel for MappedStream {
    fn into_stream(self: Box<Self>) -> BatchStream {
        (self.map)(self.inner.into_stream())
    }
}
