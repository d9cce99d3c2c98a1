//! Which columns have bitmaps in memory, and how are they made?
//!
//! A column of a segment earns its bitmaps by being asked for a second time: the first query scans, as it
//! would without any index, so that a question that is asked once costs nothing extra. What was not used
//! for longest goes when the limit is reached.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::Result;
use futures::TryStreamExt;
use object_store::ObjectStore;
use parking_lot::Mutex;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::LogicalType;

use super::condition::is_countable;
use crate::event::schema::{self, column};
use crate::index::bitmap::{BitmapBuilder, ColumnBitmaps, SecondRuns, SecondRunsBuilder};
use crate::query::metadata::{MetadataCache, SegmentReader};
use crate::segment::{SegmentId, SegmentMeta};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 64 << 10;
/// Entries that only say "asked once" take this much of the limit.
const ASKED_BYTES: usize = 64;

/// What is known of one column of a segment.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// The rows of each value.
    Bitmaps(Arc<ColumnBitmaps>),
    /// The rows of each second; of the timestamp only.
    Seconds(Arc<SecondRuns>),
    /// Nothing can be: its type has no bitmaps, or the file is out of order.
    Unfit,
}

impl Known {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Bitmaps(bitmaps) => bitmaps.memory_bytes(),
            Self::Seconds(seconds) => seconds.memory_bytes(),
            Self::Unfit => ASKED_BYTES,
        }
    }
}

/// Bitmaps of columns, for all queries of a database.
#[derive(Debug)]
pub(crate) struct ColumnCache {
    inner: Mutex<Inner>,
    bytes_max: usize,
    /// How often a column is asked for before it gets its bitmaps.
    asks: u32,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<SegmentId, HashMap<String, Entry>>,
    bytes: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    asked: u32,
    used: u64,
    bytes: usize,
}

impl ColumnCache {
    /// Keeps at most `bytes_max` bytes, of columns that were asked for `asks` times before.
    pub(crate) fn new(bytes_max: usize, asks: u32) -> Self {
        Self { inner: Mutex::default(), bytes_max, asks }
    }

    /// Memory that is in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// What is known of `columns`, with their types in memory, of `segment`. Those that have not been asked for often enough are left
    /// out; they now have been once more.
    pub(crate) async fn get(
        &self,
        segment: &Arc<SegmentMeta>,
        columns: &HashMap<&str, DataType>,
        files: &Files,
    ) -> Result<HashMap<String, Known>> {
        let mut known = HashMap::with_capacity(columns.len());
        for name in self.ask(segment.id, columns.keys().copied(), &mut known) {
            let found = files.read(segment, name, &columns[name]).await?;
            self.put(segment.id, name, found.clone());
            known.insert(name.to_owned(), found);
        }
        Ok(known)
    }

    /// Takes what is there into `known`; returns what is to be read.
    fn ask<'a>(
        &self,
        id: SegmentId,
        columns: impl Iterator<Item = &'a str>,
        known: &mut HashMap<String, Known>,
    ) -> Vec<&'a str> {
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let (tick, mut added) = (inner.tick, 0);
        let entries = inner.entries.entry(id).or_default();
        let mut missing = Vec::new();
        for name in columns {
            let entry = entries.entry(name.to_owned()).or_insert_with(|| {
                added += ASKED_BYTES;
                Entry { known: None, asked: 0, used: tick, bytes: ASKED_BYTES }
            });
            entry.used = tick;
            match &entry.known {
                Some(found) => {
                    known.insert(name.to_owned(), found.clone());
                }
                None if entry.asked >= self.asks => missing.push(name),
                None => {}
            }
            entry.asked = entry.asked.saturating_add(1);
        }
        inner.bytes += added;
        missing
    }

    fn put(&self, id: SegmentId, name: &str, known: Known) {
        let bytes = known.memory_bytes();
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let entry = Entry { known: Some(known), asked: self.asks, used: inner.tick, bytes };
        if let Some(old) = inner.entries.entry(id).or_default().insert(name.to_owned(), entry) {
            inner.bytes -= old.bytes;
        }
        inner.bytes += bytes;
        if inner.bytes > self.bytes_max {
            inner.evict(self.bytes_max / 10 * 9);
        }
    }
}

impl Inner {
    /// Drops what was not used for longest until at most `bytes` remain.
    fn evict(&mut self, bytes: usize) {
        let entries = self.entries.iter().flat_map(|(id, columns)| columns.iter().map(move |c| (*id, c)));
        let mut oldest: Vec<(u64, SegmentId, String)> =
            entries.map(|(id, (name, entry))| (entry.used, id, name.clone())).collect();
        oldest.sort_unstable_by_key(|(used, ..)| *used);
        for (_, id, name) in oldest {
            if self.bytes <= bytes {
                return;
            }
            let Some(columns) = self.entries.get_mut(&id) else { continue };
            if let Some(entry) = columns.remove(&name) {
                self.bytes -= entry.bytes;
            }
            if columns.is_empty() {
                self.entries.remove(&id);
            }
        }
    }
}

/// Where columns are read from.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) footers: Arc<MetadataCache>,
}

impl Files {
    /// Decodes one column of a segment and inverts it.
    async fn read(&self, segment: &Arc<SegmentMeta>, name: &str, ty: &DataType) -> Result<Known> {
        if name != column::TIMESTAMP && !is_countable(ty) {
            return Ok(Known::Unfit);
        }
        // As Parquet has text: a dictionary, and a code per row.
        let read_as = match ty {
            DataType::Utf8View => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            other => other.clone(),
        };
        let nullable = schema::core_index(name).is_none_or(|i| schema::core_columns()[i].field.is_nullable());
        let file = Arc::new(Schema::new(vec![Field::new(name, read_as, nullable)]));
        let mut reader = SegmentReader::of_column(&self.store, &self.footers, segment, name);
        let found = reader.get_metadata(None).await?;
        let Some(leaf) = found.file_metadata().schema_descr().columns().first() else {
            let rows = u32::try_from(segment.rows).unwrap_or(u32::MAX);
            return Ok(Known::Bitmaps(Arc::new(ColumnBitmaps::absent(rows))));
        };
        // Typed JSON is text to us, and a type of its own to the Parquet reader.
        if *ty == DataType::Utf8View && leaf.logical_type_ref() != Some(&LogicalType::String) {
            return Ok(Known::Unfit);
        }
        let options = ArrowReaderOptions::new().with_schema(file);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
        let mut batches = builder.with_batch_size(BATCH_ROWS).build()?;
        if name == column::TIMESTAMP {
            let mut runs = SecondRunsBuilder::default();
            while let Some(batch) = batches.try_next().await? {
                runs.push(batch.column(0));
            }
            return Ok(runs.finish().map_or(Known::Unfit, |runs| Known::Seconds(Arc::new(runs))));
        }
        let mut bitmaps = BitmapBuilder::default();
        while let Some(batch) = batches.try_next().await? {
            bitmaps.push(batch.column(0))?;
        }
        Ok(Known::Bitmaps(Arc::new(bitmaps.finish(ty)?)))
    }
}
