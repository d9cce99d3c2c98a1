//! Runs the SQL scripts in `tests/slt/*.slt` on the telemetry in `tests/slt/data`, and likewise in each folder of
//! `tests/slt` that has its own `data`.
//!
//! Each file runs three times: with all events in the buffer, all in segments, and some in each. The results must
//! not depend on where an event is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use broadloom::config::Settings;
use broadloom::ingest::otlp::{Encoding, RequestKind, decode};
use broadloom::{Database, Error, Result};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

/// 2026-01-05 11:00 UTC, an hour after the events.
const NOW_NS: i64 = 1_767_610_800_000_000_000;

/// Place of the events.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Buffer,
    Segments,
    Both,
}

/// Connection of the script runner.
struct Connection(Database);

#[async_trait::async_trait]
impl AsyncDB for Connection {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>> {
        let result = self.0.sql(sql).await?;
        let schema = Arc::clone(&result.schema);
        let mut rows = Vec::new();
        for batch in result.collect().await? {
            rows.extend(rows_of(&batch)?);
        }
        Ok(DBOutput::Rows { types: types(&schema), rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &'static str {
        "broadloom"
    }
}

fn types(schema: &SchemaRef) -> Vec<DefaultColumnType> {
    let of = |data_type: &DataType| match data_type {
        t if t.is_integer() => DefaultColumnType::Integer,
        t if t.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    };
    schema.fields().iter().map(|f| of(f.data_type())).collect()
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<_, _>>()?;
    let text = |column: &ArrayFormatter<'_>, row| match column.value(row).to_string() {
        empty if empty.is_empty() => "(empty)".to_owned(),
        text => text,
    };
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|c| text(c, row)).collect()).collect())
}

async fn load(place: Place, data: &Path, folder: &Path) -> Result<Database> {
    let mut settings = Settings::new(data);
    settings.query.bitmap_asks = 0;
    // With `Both`, scans read columns from memory, else from Parquet.
    settings.query.decoded_asks = if place == Place::Both { 0 } else { u32::MAX };
    let database = Database::open(settings).await?;
    for (kind, file) in [
        (RequestKind::Traces, "traces.json"),
        (RequestKind::Logs, "logs.json"),
        (RequestKind::Metrics, "metrics.json"),
    ] {
        let file = folder.join("data").join(file);
        if !file.exists() {
            continue;
        }
        let bytes = std::fs::read(file)?;
        let ingested = decode(kind, Encoding::Json, &bytes, NOW_NS)?;
        assert_eq!(ingested.rejected.count(), 0, "{}", ingested.rejected.message());
        database.append(ingested.batch).await?;
        if place == Place::Both && kind == RequestKind::Traces {
            database.flush().await?;
        }
    }
    if place == Place::Segments {
        database.flush().await?;
    }
    Ok(database)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt")
}

/// Folders with scripts and their data.
fn folders() -> Vec<PathBuf> {
    let inside = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let own = inside.filter(|path| path.join("data").is_dir());
    std::iter::once(folder()).chain(own).collect()
}

async fn run_scripts(place: Place) {
    for folder in folders() {
        run_folder(place, &folder).await;
    }
}

async fn run_folder(place: Place, folder: &Path) {
    let data = tempfile::tempdir().unwrap();
    let database = load(place, data.path(), folder).await.unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "slt"));
    files.sort();
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for file in files {
        let mut runner = Runner::new(|| std::future::ready(Ok(Connection(database.clone()))));
        runner.add_label(match place {
            Place::Buffer => "buffer",
            Place::Segments => "segments",
            Place::Both => "both",
        });
        if let Err(failure) = runner.run_file_async(&file).await {
            failures.push(failure.display(false).to_string());
        }
    }
    database.close().await.unwrap();
    assert!(failures.is_empty(), "with events in {place:?}:\n{}", failures.join("\n\n"));
}

#[tokio::test]
async fn scripts_hold_while_events_are_buffered() {
    run_scripts(Place::Buffer).await;
}

#[tokio::test]
async fn scripts_hold_once_events_are_in_segments() {
    run_scripts(Place::Segments).await;
}

#[tokio::test]
async fn scripts_hold_while_a_trace_is_half_flushed() {
    run_scripts(Place::Both).await;
}
