//! Rows as bytes: JSON, NDJSON, CSV, Arrow IPC, Parquet, and tables for people.
//!
//! [`encode`] turns an answer into chunks as its rows come, so that memory does not grow with the answer.
//! Tables are the exception: they need all widths, and stop at a number of rows.
//!
//! Values as text, in all formats ([`cell`]):
//!
//! | type                     | JSON                                          | CSV, table            |
//! |--------------------------|-----------------------------------------------|-----------------------|
//! | integers, decimals       | number                                        | digits                |
//! | floats                   | number; NaN and infinities are null           | digits; `NaN`, `inf`  |
//! | timestamps               | `"2026-11-21T04:05:06.123456789Z"`             | the same              |
//! | … of another zone        | `"2026-11-21T13:05:06.123456789+09:00"`        | the same              |
//! | fixed-size binary (ids)  | lower-case hex                                | lower-case hex        |
//! | other binary             | base64                                        | base64                |
//! | lists, structs, maps     | array, object, object                         | as JSON               |
//! | columns with `arrow.json` | embedded as they are                          | as they are           |
//!
//! Columns with equal names get a number: `name`, `name_2`.

mod binary;
pub(crate) mod cell;
mod columns;
mod text;
mod terminal;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::{Stream, StreamExt};

pub use columns::{columns, write_data};
pub use terminal::Layout;
pub(crate) use terminal::human_duration;

use super::QueryResult;
use crate::error::{Error, Result};

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An array of objects.
    Json,
    /// One object per line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
    /// A table for a terminal.
    Table,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow, Self::Parquet, Self::Table];

    /// Name in options and URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
            Self::Table => "table",
        }
    }

    /// Media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Table => "text/plain; charset=utf-8",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("unknown format '{name}': the formats are {known}"))
        })
    }
}

/// Turns batches of one schema into bytes, in order: start, batches, finish.
trait Encoder: Send {
    fn start(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>>;

    fn finish(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn encoder(format: Format, schema: &SchemaRef) -> Result<Box<dyn Encoder>> {
    let schema = distinct_names(schema);
    Ok(match format {
        Format::Json => Box::new(text::Json::array(schema)),
        Format::Ndjson => Box::new(text::Json::lines(schema)),
        Format::Csv => Box::new(text::Csv::new(schema)),
        Format::Arrow => Box::new(binary::ArrowStream::new(&schema)?),
        Format::Parquet => Box::new(binary::Parquet::new(&schema)?),
        Format::Table => Box::new(terminal::Table::new(schema)),
    })
}

enum State {
    Start(QueryResult, Format),
    Rows(QueryResult, Box<dyn Encoder>),
    End,
}

/// Encodes the answer as chunks of bytes, about one per batch of rows. An error ends the stream; the bytes before
/// it are then not a complete document. Dropping the stream cancels the query.
pub fn encode(result: QueryResult, format: Format) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let steps = futures::stream::unfold(State::Start(result, format), async |state| match state {
        State::Start(result, format) => Some(start(result, format)),
        State::Rows(result, encoder) => Some(next(result, encoder).await),
        State::End => None,
    });
    steps.filter(|chunk| {
        let empty = matches!(chunk, Ok(bytes) if bytes.is_empty());
        std::future::ready(!empty)
    })
}

fn start(result: QueryResult, format: Format) -> (Result<Bytes>, State) {
    let started = encoder(format, &result.schema).and_then(|mut encoder| Ok((encoder.start()?, encoder)));
    match started {
        Ok((bytes, encoder)) => (Ok(bytes.into()), State::Rows(result, encoder)),
        Err(e) => (Err(e), State::End),
    }
}

async fn next(mut result: QueryResult, mut encoder: Box<dyn Encoder>) -> (Result<Bytes>, State) {
    match result.stream.next().await {
        Some(Ok(batch)) => match encoder.batch(&batch) {
            Ok(bytes) => (Ok(bytes.into()), State::Rows(result, encoder)),
            Err(e) => (Err(e), State::End),
        },
        Some(Err(e)) => (Err(e.into()), State::End),
        None => (encoder.finish().map(Bytes::from), State::End),
    }
}

/// Formats rows as a table for a terminal.
pub fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let bytes = document(Format::Table, Layout::Fitting, schema, batches)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Encodes rows as a complete document; `layout` is that of a table.
pub fn document(
    format: Format,
    layout: Layout,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<Vec<u8>> {
    let mut encoder = match format {
        Format::Table => Box::new(terminal::Table::new(distinct_names(schema)).with_layout(layout)),
        other => encoder(other, schema)?,
    };
    let mut bytes = encoder.start()?;
    for batch in batches {
        bytes.extend(encoder.batch(batch)?);
    }
    bytes.extend(encoder.finish()?);
    Ok(bytes)
}

/// The schema with equal names numbered.
fn distinct_names(schema: &SchemaRef) -> SchemaRef {
    let mut taken: HashSet<String> = HashSet::new();
    if schema.fields().iter().all(|field| taken.insert(field.name().clone())) {
        return Arc::clone(schema);
    }
    let mut used = HashSet::new();
    let fields: Vec<Arc<Field>> = schema
        .fields()
        .iter()
        .map(|field| {
            if used.insert(field.name().clone()) {
                return Arc::clone(field);
            }
            let mut number = 2;
            let name = loop {
                let name = format!("{}_{number}", field.name());
                if !taken.contains(&name) && used.insert(name.clone()) {
                    break name;
                }
                number += 1;
            };
            Arc::new(field.as_ref().clone().with_name(name))
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests;
