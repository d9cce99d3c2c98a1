//! Opening a segment without looking at columns that nobody asked for.
//!
//! DataFusion derives schemas and reads page indexes for every column of a file, each time it opens it:
//! 13 ms for 5,000 columns. So files are opened here: the footer and the page indexes of a segment are read
//! once and kept, and the opener gets a synthesised [`ParquetMetaData`] that has only the wanted columns.
//!
//! ```text
//! footer of the object ──▶ MetadataCache ──▶ narrow(wanted) ──▶ DataFusion's Parquet opener
//!                          (by segment)       per scan and file
//! ```
//!
//! Invariants: both page indexes are always there, as the opener would fetch them for all columns
//! otherwise; a segment never changes, so nothing in the cache is ever stale.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::adapter::Demanded;
use crate::catalog::{Fact, LoadedColumns};
use crate::event::schema;
use crate::segment::{SegmentId, SegmentMeta};

/// Footers are kept up to this size in memory; about 1 kB per column and segment, page indexes included.
const CACHE_BYTES_MAX: usize = 256 << 20;

/// How much of a file's end is read at first: most footers with their indexes fit.
const FOOTER_BYTES_HINT: usize = 256 << 10;

/// Footers of segments, the least recently used dropped first.
#[derive(Debug, Default)]
pub(crate) struct MetadataCache {
    inner: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    entries: HashMap<SegmentId, Entry>,
    bytes: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry {
    footer: Arc<ParquetMetaData>,
    bytes: usize,
    used: u64,
}

impl MetadataCache {
    fn get(&self, id: SegmentId) -> Option<Arc<ParquetMetaData>> {
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let entry = inner.entries.get_mut(&id)?;
        entry.used = tick;
        Some(Arc::clone(&entry.footer))
    }

    fn put(&self, id: SegmentId, footer: Arc<ParquetMetaData>) {
        let bytes = footer.memory_size();
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let used = inner.tick;
        inner.bytes += bytes;
        if let Some(old) = inner.entries.insert(id, Entry { footer, bytes, used }) {
            inner.bytes -= old.bytes;
        }
        while inner.bytes > CACHE_BYTES_MAX && inner.entries.len() > 1 {
            let Some(oldest) = inner.entries.iter().min_by_key(|(_, e)| e.used).map(|(id, _)| *id) else {
                break;
            };
            if let Some(old) = inner.entries.remove(&oldest) {
                inner.bytes -= old.bytes;
            }
        }
    }
}

/// Which columns of a file a scan wants.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    /// All of them: the query reads `attributes`.
    All,
    /// Some core columns, and what these attributes need.
    Some {
        /// Names of core columns.
        core: HashSet<String>,
        /// The attributes.
        demanded: Vec<Demanded>,
        /// What the segments have of them.
        columns: Arc<LoadedColumns>,
    },
}

impl Want {
    /// The physical names to read of `segment`; `None` for all.
    fn of(&self, segment: &SegmentMeta) -> Option<HashSet<&str>> {
        let Self::Some { core, demanded, columns } = self else { return None };
        let columns = columns.of(segment.id);
        let mut names: HashSet<&str> = core.iter().map(String::as_str).collect();
        for attribute in demanded {
            for candidate in &attribute.candidates {
                let fact = columns.get(candidate);
                if fact != Fact::Absent {
                    names.insert(candidate);
                }
                if matches!(fact, Fact::Present(column) if column.null_count == 0) {
                    // Every row has a value there: nothing after it is ever looked at.
                    break;
                }
                if columns.may_overflow(candidate) {
                    names.insert(schema::OVERFLOW);
                }
            }
        }
        Some(names)
    }
}

/// Opens the files of one scan.
#[derive(Debug)]
pub(crate) struct SegmentReaderFactory {
    /// Where the segments are.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Shared by all scans.
    pub(crate) cache: Arc<MetadataCache>,
    /// What this scan reads.
    pub(crate) want: Arc<Want>,
}

impl ParquetFileReaderFactory for SegmentReaderFactory {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::error::Result<Box<dyn AsyncFileReader + Send>> {
        let segment = file
            .extension::<Arc<SegmentMeta>>()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("a scanned file has no segment attached".to_owned()))?;
        let path = file.object_meta.location.clone();
        Ok(Box::new(SegmentReader {
            object: Object { store: Arc::clone(&self.store), path: path.clone() },
            segment,
            cache: Arc::clone(&self.cache),
            want: Arc::clone(&self.want),
            metrics: ParquetFileMetrics::new(partition, path.as_ref(), metrics),
        }))
    }
}

#[derive(Clone)]
struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl MetadataFetch for Object {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }
}

fn external(e: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(e))
}

/// Reads some columns of one segment.
pub(crate) struct SegmentReader {
    object: Object,
    segment: Arc<SegmentMeta>,
    cache: Arc<MetadataCache>,
    want: Arc<Want>,
    metrics: ParquetFileMetrics,
}

impl SegmentReader {
    /// Reads the physical column `name` alone.
    pub(crate) fn of_column(
        store: &Arc<dyn ObjectStore>,
        cache: &Arc<MetadataCache>,
        segment: &Arc<SegmentMeta>,
        name: &str,
    ) -> Self {
        let path = Path::from(segment.path());
        let core = HashSet::from([name.to_owned()]);
        let want = Want::Some { core, demanded: Vec::new(), columns: Arc::default() };
        Self {
            metrics: ParquetFileMetrics::new(0, path.as_ref(), &ExecutionPlanMetricsSet::new()),
            object: Object { store: Arc::clone(store), path },
            segment: Arc::clone(segment),
            cache: Arc::clone(cache),
            want: Arc::new(want),
        }
    }

    async fn footer(&self) -> parquet::errors::Result<Arc<ParquetMetaData>> {
        if let Some(footer) = self.cache.get(self.segment.id) {
            return Ok(footer);
        }
        let reader = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_prefetch_hint(Some(FOOTER_BYTES_HINT));
        let footer = Arc::new(reader.load_and_finish(self.object.clone(), self.segment.bytes).await?);
        self.cache.put(self.segment.id, Arc::clone(&footer));
        Ok(footer)
    }
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.metrics.bytes_scanned.add((range.end - range.start) as usize);
        self.object.fetch(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let bytes: u64 = ranges.iter().map(|r| r.end - r.start).sum();
        self.metrics.bytes_scanned.add(bytes as usize);
        let object = &self.object;
        async move { object.store.get_ranges(&object.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let footer = self.footer().await?;
            match self.want.of(&self.segment) {
                Some(names) => Ok(Arc::new(narrow(&footer, &names)?)),
                None => Ok(footer),
            }
        }
        .boxed()
    }
}

/// `footer` with only the columns `names`.
fn narrow(footer: &ParquetMetaData, names: &HashSet<&str>) -> parquet::errors::Result<ParquetMetaData> {
    let file = footer.file_metadata();
    let roots = file.schema_descr().root_schema().get_fields();
    let fields = roots.iter().filter(|field| names.contains(field.name())).cloned().collect();
    let root = Type::group_type_builder("schema").with_fields(fields).build()?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
    let leaves: Vec<usize> = file
        .schema_descr()
        .columns()
        .iter()
        .enumerate()
        .filter(|(_, leaf)| names.contains(leaf.path().parts()[0].as_str()))
        .map(|(i, _)| i)
        .collect();
    let row_groups = footer
        .row_groups()
        .iter()
        .map(|group| {
            let columns: Vec<_> = leaves.iter().map(|i| group.column(*i).clone()).collect();
            RowGroupMetaData::builder(Arc::clone(&schema))
                .set_num_rows(group.num_rows())
                .set_total_byte_size(columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum())
                .set_column_metadata(columns)
                .build()
        })
        .collect::<parquet::errors::Result<Vec<_>>>()?;
    let orders = file.column_orders().map(|orders| leaves.iter().map(|i| orders[*i]).collect());
    let created_by = file.created_by().map(str::to_owned);
    let narrow = FileMetaData::new(file.version(), file.num_rows(), created_by, None, schema, orders);
    let column_index = footer.column_index().map(|groups| pick(groups, &leaves));
    let offset_index = footer.offset_index().map(|groups| pick(groups, &leaves));
    Ok(ParquetMetaDataBuilder::new(narrow)
        .set_row_groups(row_groups)
        .set_column_index(column_index)
        .set_offset_index(offset_index)
        .build())
}

/// The entries `leaves` of every row group.
fn pick<T: Clone>(groups: &[Vec<T>], leaves: &[usize]) -> Vec<Vec<T>> {
    groups.iter().map(|group| leaves.iter().map(|i| group[*i].clone()).collect()).collect()
}
