//! What do tests of databases share? Made-up events, settings without background work, and readers of the result.

mod backup;
mod check;
mod deletion;
mod deliveries;
pub(crate) mod duties;
mod inspect;
mod maintenance;
mod resources;
mod store;
mod writing;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::config::BufferSettings;
use crate::event::{CoreEvent, EventBatchBuilder, Level, Value};

/// Events with the numbers of `range` in the attribute `n`; `more` adds to each.
fn batch_with(range: Range<i64>, mut more: impl FnMut(&mut EventBatchBuilder, i64)) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let n = builder.key(Level::Record, "n");
    for i in range {
        builder.push(&CoreEvent { timestamp_ns: i, ..CoreEvent::default() });
        builder.attribute(n, Value::Int(i));
        more(&mut builder, i);
    }
    builder.finish().unwrap()
}

/// Events with the numbers of `range` in the attribute `n`.
fn batch(range: Range<i64>) -> EventBatch {
    batch_with(range, |_, _| ())
}

/// Every `n` that a query would see, sorted; duplicates are kept.
async fn numbers(snapshot: &ReadSnapshot) -> Vec<i64> {
    let mut numbers = Vec::new();
    for batch in snapshot.buffer.iter() {
        for column in batch.attributes() {
            numbers.extend(column.values().as_primitive::<Int64Type>().values());
        }
    }
    for segment in &snapshot.catalog.segments {
        let path = object_store::path::Path::from(segment.path());
        let object = snapshot.store.get(&path).await.unwrap().bytes().await.unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(object).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            assert_eq!(column.null_count(), 0);
            numbers.extend(column.values());
        }
    }
    numbers.sort_unstable();
    numbers
}

fn upto(n: i64) -> Vec<i64> {
    (0..n).collect()
}

/// Settings without background flushes: tests flush themselves.
fn manual(data: &Path) -> Settings {
    let mut settings = Settings::new(data);
    settings.buffer = BufferSettings {
        flush_bytes: usize::MAX,
        flush_rows: usize::MAX,
        flush_age_ms: u64::MAX,
        bytes_max: usize::MAX,
    };
    settings
}

/// Opens a database. Waits for the lock, which a dropped database may hold a moment longer for running work; a closed
/// one has released it.
async fn open(data: &Path) -> Database {
    for _ in 0..1000 {
        match Database::open(manual(data)).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays locked", data.display())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(data: &Path, folder: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(data.join(folder)) else { return 0 };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() { files(data, &name) } else { 1 }
        })
        .sum()
}

/// Returns the single text column of a result, joined.
async fn text(database: &Database, sql: &str) -> String {
    let batches = database.sql(sql).await.unwrap().collect().await.unwrap();
    let lines = batches.iter().flat_map(|batch| {
        let last = batch.column(batch.num_columns() - 1);
        (0..batch.num_rows())
            .map(|i| arrow::util::display::array_value_to_string(last, i).unwrap())
            .collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn delete(condition: &str) -> DeleteRequest {
    DeleteRequest { condition: condition.to_owned(), ..DeleteRequest::default() }
}

fn message(n: u8) -> DeliveryId {
    DeliveryId::of(0, &[n])
}

#[derive(Debug, Default)]
struct SetClock(std::sync::atomic::AtomicI64);

impl crate::config::Clock for SetClock {
    fn now_ns(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

const SECOND_NS: i64 = 1_000_000_000;
