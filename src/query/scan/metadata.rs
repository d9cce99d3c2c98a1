//! How is a segment opened without reading metadata of columns that the query does not need?
//!
//! DataFusion derives schemas and reads page indexes for every column of a file, each time it opens it:
//! 13 ms for 5,000 columns. So files are opened here, and the opener gets a synthesised [`ParquetMetaData`]
//! that has only the wanted columns. A column's part of the footer comes from the segment's side-car, or from the
//! whole footer if there is no side-car, and is cached:
//!
//! ```text
//! side-car ──▶ footers of columns ──▶ MetadataCache ──▶ join(wanted) ──▶ DataFusion's Parquet opener
//! footer   ──▶ split ──────────────▶  (by segment and column)     per scan and file
//! ```
//!
//! So the cost of opening a segment does not depend on its number of columns.
//!
//! Invariants: both page indexes are always present, as the opener would otherwise fetch them for all columns; a
//! segment never changes, so cache entries never become stale.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::adapter::Demanded;
use crate::catalog::{ColumnFact, Fact, LoadedColumns};
use crate::event::{AttributeType, schema};
use crate::index::blocks::BlockNames;
use crate::index::byte_cache::ByteCache;
use crate::index::{IndexCache, SegmentIndex, footers};
use crate::segment::footer::check_places;
use crate::segment::{OverflowFilter, SegmentId, SegmentMeta};

/// Share of the limit for tables of contents of side-cars: 40 bytes per column and segment.
const NAMES_SHARE: usize = 4;
/// Share of the limit for filters of attributes in overflows: at most 64 kB per segment.
const FILTERS_SHARE: usize = 4;
/// Share of the limit for whole footers, of segments without side-car and for queries on all attributes.
const FOOTERS_SHARE: usize = 2;

/// Bytes of a file's end that are read first: most footers with their indexes fit.
const FOOTER_BYTES_HINT: usize = 256 << 10;

/// Cache of segment footers; rarely used entries are evicted first.
#[derive(Debug)]
pub(crate) struct MetadataCache {
    /// Side-cars of segments.
    indexes: Arc<IndexCache>,
    /// Footers of single columns. `None`: the segment has no such column.
    columns: ByteCache<(SegmentId, Box<str>), Option<Arc<ParquetMetaData>>>,
    /// Tables of contents. `None`: the side-car has no column footers.
    names: ByteCache<SegmentId, Option<BlockNames>>,
    /// Filters of overflows. `None`: the side-car has no filter.
    filters: ByteCache<SegmentId, Option<Arc<OverflowFilter>>>,
    footers: ByteCache<SegmentId, Arc<ParquetMetaData>>,
}

impl MetadataCache {
    /// Creates an empty cache over the side-cars in `indexes`. Footers of columns take at most `bytes_max` bytes,
    /// about 3 kB per column and segment with its page indexes. All other entries together take at most as much.
    pub(crate) fn new(indexes: Arc<IndexCache>, bytes_max: usize) -> Self {
        Self {
            indexes,
            columns: ByteCache::new(bytes_max),
            names: ByteCache::new(bytes_max / NAMES_SHARE),
            filters: ByteCache::new(bytes_max / FILTERS_SHARE),
            footers: ByteCache::new(bytes_max / FOOTERS_SHARE),
        }
    }

    /// Filter of the attributes in the overflow of `segment`, if they are too many to be in `columns`.
    pub(crate) async fn overflow(
        &self,
        store: &Arc<dyn ObjectStore>,
        segment: &SegmentMeta,
        columns: &LoadedColumns,
    ) -> Option<Arc<OverflowFilter>> {
        if columns.of(segment.id).lists_overflow() {
            return None;
        }
        if let Some(filter) = self.filters.get(&segment.id) {
            return filter;
        }
        let index = self.indexes.segment(store, segment).await?;
        let filter = match footers::overflow(index.sidecar()).await {
            Ok(filter) => filter.map(Arc::new),
            Err(error) => {
                index.report(&error);
                None
            }
        };
        let bytes = filter.as_ref().map_or(0, |filter| filter.memory_bytes());
        self.filters.put(segment.id, filter.clone(), bytes);
        filter
    }

    fn put(&self, id: SegmentId, name: &str, column: Option<Arc<ParquetMetaData>>) {
        let bytes = name.len() + column.as_ref().map_or(0, |column| column.memory_size());
        self.columns.put((id, name.into()), column, bytes);
    }
}

/// Columns of a file that a scan wants.
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
        /// Facts about them in the segments.
        columns: Arc<LoadedColumns>,
    },
}

impl Want {
    /// Physical columns to read of `segment`; `None` for all. `filter` is that of its overflow, if it has one.
    fn of(&self, segment: &SegmentMeta, filter: Option<&OverflowFilter>) -> Option<BTreeSet<&str>> {
        let Self::Some { core, demanded, columns } = self else { return None };
        let columns = columns.of(segment.id);
        let mut names: BTreeSet<&str> = core.iter().map(String::as_str).collect();
        for attribute in demanded {
            for candidate in &attribute.candidates {
                let fact = columns.get(candidate);
                if fact != Fact::Absent {
                    names.insert(candidate);
                }
                let is_json = |column: &ColumnFact<'_>| column.attribute_type == Some(AttributeType::Json);
                if matches!(fact, Fact::Present(column) if column.null_count == 0 && !is_json(&column)) {
                    // Every row has a value here that is not JSON's null: later candidates are never read.
                    break;
                }
                if columns.may_overflow(candidate) && filter.is_none_or(|filter| filter.may_have(candidate)) {
                    names.insert(schema::OVERFLOW);
                }
            }
        }
        Some(names)
    }

    /// Facts about the demanded attributes, if there are any.
    fn columns(&self) -> Option<&LoadedColumns> {
        match self {
            Self::Some { demanded, columns, .. } if !demanded.is_empty() => Some(columns),
            _ => None,
        }
    }
}

/// Opens the files of one scan.
#[derive(Debug)]
pub(crate) struct NarrowReaderFactory {
    /// Store of the segments.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Cache of footers, shared by all scans.
    pub(crate) cache: Arc<MetadataCache>,
    /// Columns that this scan reads.
    pub(crate) want: Arc<Want>,
}

impl ParquetFileReaderFactory for NarrowReaderFactory {
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
        Ok(Box::new(NarrowReader {
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
        async move {
            let read = self.store.get_ranges(&self.path, &[range]).await.map_err(external)?;
            Ok(read.into_iter().next().unwrap_or_default())
        }
        .boxed()
    }
}

fn external(e: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(e))
}

/// Reads some columns of one segment.
pub(crate) struct NarrowReader {
    object: Object,
    segment: Arc<SegmentMeta>,
    cache: Arc<MetadataCache>,
    want: Arc<Want>,
    metrics: ParquetFileMetrics,
}

impl NarrowReader {
    /// Reads the physical column `name` alone.
    pub(crate) fn of_column(
        store: &Arc<dyn ObjectStore>,
        cache: &Arc<MetadataCache>,
        segment: &Arc<SegmentMeta>,
        name: &str,
    ) -> Self {
        let core = HashSet::from([name.to_owned()]);
        let want = Want::Some { core, demanded: Vec::new(), columns: Arc::default() };
        Self::of_columns(store, cache, segment, Arc::new(want))
    }

    /// Reads the columns that a scan wants. Bytes read are not counted in the scan's metrics.
    pub(crate) fn of_columns(
        store: &Arc<dyn ObjectStore>,
        cache: &Arc<MetadataCache>,
        segment: &Arc<SegmentMeta>,
        want: Arc<Want>,
    ) -> Self {
        let path = Path::from(segment.path());
        Self {
            metrics: ParquetFileMetrics::new(0, path.as_ref(), &ExecutionPlanMetricsSet::new()),
            object: Object { store: Arc::clone(store), path },
            segment: Arc::clone(segment),
            cache: Arc::clone(cache),
            want,
        }
    }

    /// Metadata of those of the columns `names` that the segment has.
    async fn narrow(&self, names: &BTreeSet<&str>) -> parquet::errors::Result<ParquetMetaData> {
        let id = self.segment.id;
        let known = |name: &&str| self.cache.columns.get(&(id, Box::from(*name)));
        let mut found: Vec<Option<Option<Arc<ParquetMetaData>>>> = names.iter().map(known).collect();
        if found.iter().any(Option::is_none) {
            let missing = names.iter().zip(&found).filter(|(_, found)| found.is_none());
            let missing: BTreeSet<&str> = missing.map(|(name, _)| *name).collect();
            let mut read = self.read(&missing).await?;
            for (name, slot) in names.iter().zip(&mut found) {
                if slot.is_none() {
                    let at = read.iter().position(|(other, _)| other == name);
                    let column = at.map(|at| Arc::new(read.swap_remove(at).1));
                    self.cache.put(id, name, column.clone());
                    *slot = Some(column);
                }
            }
        }
        footers::join(self.segment.rows, found.iter().flatten().flatten().map(AsRef::as_ref))
    }

    /// Reads the metadata of the columns `names` that the segment has, from the side-car or the footer.
    async fn read(&self, names: &BTreeSet<&str>) -> parquet::errors::Result<Vec<(String, ParquetMetaData)>> {
        if let Some(index) = self.index().await {
            match self.read_index(&index, names).await {
                Ok(Some(read)) => return Ok(read),
                Ok(None) => {}
                Err(error) => index.report(&error),
            }
        }
        let footer = self.footer().await?;
        let split = footers::split(&footer, |name| names.contains(name));
        split.map(|column| column.map(|(name, column)| (name.to_owned(), column))).collect()
    }

    /// The same from the side-car; `None` if it has no footers.
    async fn read_index(
        &self,
        index: &SegmentIndex,
        names: &BTreeSet<&str>,
    ) -> crate::Result<Option<Vec<(String, ParquetMetaData)>>> {
        let table = if let Some(table) = self.cache.names.get(&self.segment.id) {
            table
        } else {
            let table = footers::names(index.sidecar()).await?;
            let bytes = table.as_ref().map_or(0, BlockNames::memory_bytes);
            self.cache.names.put(self.segment.id, table.clone(), bytes);
            table
        };
        let Some(table) = table else { return Ok(None) };
        let read = footers::read(index.sidecar(), &table, self.segment.rows, names.iter().copied()).await?;
        Ok(Some(read.into_iter().map(|(name, column)| (name.to_owned(), column)).collect()))
    }

    async fn index(&self) -> Option<Arc<SegmentIndex>> {
        self.cache.indexes.segment(&self.object.store, &self.segment).await
    }

    async fn footer(&self) -> parquet::errors::Result<Arc<ParquetMetaData>> {
        if let Some(footer) = self.cache.footers.get(&self.segment.id) {
            return Ok(footer);
        }
        let reader = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .with_prefetch_hint(Some(FOOTER_BYTES_HINT));
        let footer = reader.load_and_finish(self.object.clone(), self.segment.bytes).await?;
        check_places(&footer, self.segment.bytes).map_err(|e| ParquetError::External(e.into()))?;
        let footer = Arc::new(footer);
        self.cache.footers.put(self.segment.id, Arc::clone(&footer), footer.memory_size());
        Ok(footer)
    }
}

impl AsyncFileReader for NarrowReader {
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
            let filter = match self.want.columns() {
                Some(columns) => self.cache.overflow(&self.object.store, &self.segment, columns).await,
                None => None,
            };
            match self.want.of(&self.segment, filter.as_deref()) {
                Some(names) => Ok(Arc::new(self.narrow(&names).await?)),
                None => self.footer().await,
            }
        }
        .boxed()
    }
}
