//! What do other layouts of a segment cost, in bytes and time?
//!
//! ```text
//! cargo bench --bench layout -- DIR [events]
//! ```
//!
//! Reads up to `events` events (default 1,048,576) of the segments below DIR, newest first, and writes them as one
//! segment in several layouts. Prints for each layout: bytes per event; seconds to encode; the time to read one row of
//! all columns, as a lookup by trace id does; the time to read a few whole columns, as an aggregation does. Then it
//! lists the largest columns in today's layout. `docs/design/layout.md` has the decisions that came out of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broadloom::event::EventBatch;
use broadloom::ingest::fields::FieldMap;
use broadloom::ingest::table;
use broadloom::segment::{SegmentId, Tuning, Unobserved, build_tuned};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;

/// Number of single rows to read, spread over the segment.
const LOOKUPS: usize = 20;
/// Columns that a typical aggregation reads.
const SCANNED: &[&str] =
    &["timestamp", "duration_ns", "name", "resource.service.name", "http.route", "status"];
/// Number of columns to list.
const COSTLIEST: usize = 40;

fn main() {
    // `cargo bench` adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let Some(folder) = words.next() else { return };
    let events: usize = words.next().map_or(1 << 20, |word| word.parse().expect("a number of events"));
    let batches = read(Path::new(&folder), events);
    let rows: usize = batches.iter().map(|batch| batch.rows()).sum();
    println!("{rows} events");
    println!("{:<44}{:>9}{:>9}{:>12}{:>10}", "", "B/event", "encode", "one row", "scan");
    let today = Tuning::SEGMENT;
    let mut ways = vec![("as segments are written".to_owned(), today)];
    for page_rows in [1024, 2048, 4096, 8192, 16_384] {
        ways.push((format!("{page_rows} rows per page"), Tuning { page_rows, ..today }));
    }
    for zstd_level in [3, 6] {
        ways.push((format!("ZSTD {zstd_level}"), Tuning { zstd_level, ..today }));
    }
    for text_repeats in [2, 4, 16] {
        let what = format!("dictionary for text that occurs {text_repeats} times");
        ways.push((what, Tuning { text_repeats, ..today }));
    }
    for number_repeats in [4, 8, 50] {
        let what = format!("dictionary for numbers that occur {number_repeats} times");
        ways.push((what, Tuning { number_repeats, ..today }));
    }
    for compression_saves_min in [0.0, 0.02, 0.1, 0.2, 1.0] {
        let what = format!("compressed if that saves {compression_saves_min} B per row");
        ways.push((what, Tuning { compression_saves_min, ..today }));
    }
    for (what, tuning) in ways {
        let started = Instant::now();
        let built = build_tuned(SegmentId::new(0), &batches, &Unobserved, &tuning).expect("events");
        let encode = started.elapsed();
        let (one_row, scan) = (lookup(&built.object), scan(&built.object));
        println!(
            "{what:<44}{:>9.2}{:>8.1}s{:>10.2}ms{:>8.1}ms",
            built.object.len() as f64 / rows as f64,
            encode.as_secs_f64(),
            milliseconds(one_row),
            milliseconds(scan),
        );
    }
    columns(&build_tuned(SegmentId::new(0), &batches, &Unobserved, &today).expect("events").object);
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("an entry").path());
    let paths = entries.flat_map(|path| if path.is_dir() { segments(&path) } else { vec![path] });
    paths.filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect()
}

/// Reads the newest segments below `folder` that have at most `events` events together.
fn read(folder: &Path, events: usize) -> Vec<Arc<EventBatch>> {
    let batches = segments(folder).into_iter().map(|path| {
        let object = Bytes::from(std::fs::read(path).expect("a segment"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(object).expect("a segment");
        let rows = reader.metadata().file_metadata().num_rows() as usize;
        let batch =
            reader.with_batch_size(rows).build().expect("columns").next().expect("rows").expect("values");
        Arc::new(table::decode(&batch, &FieldMap::default(), 0).expect("events").batch)
    });
    let mut batches: Vec<Arc<EventBatch>> = batches.collect();
    batches.sort_by_key(|batch| std::cmp::Reverse(batch.time_range().map(|time| time.max_ns)));
    let mut rows = 0;
    batches.retain(|batch| {
        let fits = rows + batch.rows() <= events;
        rows += if fits { batch.rows() } else { 0 };
        fits
    });
    batches
}

fn metadata(object: &Bytes) -> ArrowReaderMetadata {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ArrowReaderMetadata::load(object, options).expect("a footer")
}

/// Average time to read one row of all columns.
fn lookup(object: &Bytes) -> Duration {
    let metadata = metadata(object);
    let rows = metadata.metadata().file_metadata().num_rows() as usize;
    let started = Instant::now();
    for i in 0..LOOKUPS {
        let at = (2 * i + 1) * rows / (2 * LOOKUPS);
        let selection = RowSelection::from(vec![RowSelector::skip(at), RowSelector::select(1)]);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(object.clone(), metadata.clone());
        let mut reader = reader.with_row_selection(selection).build().expect("columns");
        assert_eq!(reader.next().map(|batch| batch.expect("values").num_rows()), Some(1));
    }
    started.elapsed() / LOOKUPS as u32
}

/// Time to read the columns in [`SCANNED`].
fn scan(object: &Bytes) -> Duration {
    let metadata = metadata(object);
    let schema = metadata.metadata().file_metadata().schema_descr_ptr();
    let started = Instant::now();
    let mask = ProjectionMask::columns(&schema, SCANNED.iter().copied());
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(object.clone(), metadata);
    let reader = reader.with_projection(mask).with_batch_size(8192).build().expect("columns");
    let rows: usize = reader.map(|batch| batch.expect("values").num_rows()).sum();
    assert!(rows > 0);
    started.elapsed()
}

/// Prints the bytes per event of the largest columns.
fn columns(object: &Bytes) {
    let metadata = metadata(object);
    let group = metadata.metadata().row_group(0);
    let rows = group.num_rows() as f64;
    let mut costs: Vec<(i64, &str)> = Vec::new();
    for leaf in group.columns() {
        let name = leaf.column_path().parts()[0].as_str();
        match costs.last_mut() {
            Some((bytes, last)) if *last == name => *bytes += leaf.compressed_size(),
            _ => costs.push((leaf.compressed_size(), name)),
        }
    }
    let all: i64 = costs.iter().map(|(bytes, _)| bytes).sum();
    let rest = object.len() as f64 - all as f64;
    println!(
        "\n{:>8.2} B/event in {} columns, {:.2} in footer and page indexes",
        all as f64 / rows,
        costs.len(),
        rest / rows
    );
    costs.sort_unstable_by_key(|cost| std::cmp::Reverse(*cost));
    for (bytes, name) in costs.into_iter().take(COSTLIEST) {
        println!("{:>8.2}  {name}", bytes as f64 / rows);
    }
}
