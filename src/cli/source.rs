//! The database that a command asks: a data directory or object store, or a server.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::Globals;
use super::remote::{RemoteArgs, Server, cut_off};
use crate::db::Database;
use crate::error::{Error, Result};
use crate::query::Question;
use crate::query::output::{self, Format};

/// Most names of one kind that are completed.
pub(super) const NAMES_MAX: usize = 100_000;

/// A database, or a server; cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A database that is open for reading.
    Directory(Database),
    /// A server.
    Server(Server),
}

/// Rows of a statement.
pub(super) struct Found {
    /// Their columns.
    pub(super) schema: SchemaRef,
    /// The rows, at most as many as were wanted.
    pub(super) batches: Vec<RecordBatch>,
    /// Warnings for the author of the statement.
    pub(super) warnings: Vec<String>,
    /// True if there are more.
    pub(super) is_cut: bool,
}

impl Source {
    /// The server that `remote` names, else the data directory or object store, which is opened for reading.
    /// `query_memory` is the most memory of a statement there, in bytes.
    pub(super) async fn open(remote: &RemoteArgs, globals: &Globals, query_memory: usize) -> Result<Self> {
        if let Some(server) = remote.server()? {
            return Ok(Self::Server(server));
        }
        let mut settings = globals.settings();
        settings.query.memory_bytes_max = query_memory;
        Ok(Self::Directory(Database::open_read_only(settings).await?))
    }

    /// Name for people: a directory or a URL.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(database) => database.settings().data.to_string(),
            Self::Server(server) => server.url().to_owned(),
        }
    }

    /// Runs a question, and returns its first `rows_max` rows. Sees what was written before. Dropping the future ends the
    /// question.
    pub(super) async fn ask(&self, question: Question, rows_max: usize) -> Result<Found> {
        let one_more = rows_max.saturating_add(1);
        let (schema, batches, warnings) = match self {
            Self::Directory(database) => {
                database.refresh().await?;
                let found = database.query(question).await?.first_rows(one_more);
                let (schema, warnings) = (Arc::clone(&found.schema), found.warnings.clone());
                (schema, found.collect().await?, warnings)
            }
            Self::Server(server) => {
                let question = Question { row_limit: Some(one_more), ..question };
                let (warnings, schema, batches) = server.rows(&question).await?;
                (schema, batches, warnings)
            }
        };
        let (batches, is_cut) = first_rows(batches, rows_max);
        Ok(Found { schema, batches, warnings, is_cut })
    }

    /// Runs a question, and returns its rows as they come; memory does not grow with their number. Sees what was written
    /// before. Dropping the stream ends the question.
    pub(super) async fn stream(&self, question: Question) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        Ok(match self {
            Self::Directory(database) => {
                database.refresh().await?;
                database.query(question).await?.stream.map_err(Error::from).boxed()
            }
            Self::Server(server) => server.stream(&question).await?.boxed(),
        })
    }

    /// Runs a question, and writes its rows to `to` as they come; warnings go to stderr. A row limit of the question cuts
    /// its answer without an error.
    pub(super) async fn write(&self, question: Question, format: Format, to: &mut impl Write) -> Result<()> {
        match self {
            Self::Directory(database) => write_local(database, question, format, to).await,
            Self::Server(server) => write_remote(server, &question, format, to).await,
        }
    }

    /// The texts in the first column of the answer to `sql`.
    pub(super) async fn names(&self, sql: &str) -> Result<Vec<String>> {
        let found = self.ask(Question::sql(sql), NAMES_MAX).await?;
        let mut names = Vec::new();
        for batch in found.batches {
            let Some(column) = batch.columns().first() else { continue };
            let texts = arrow::compute::cast(column, &DataType::Utf8View)?;
            names.extend(texts.as_string_view().iter().flatten().map(str::to_owned));
        }
        Ok(names)
    }
}

async fn write_local(
    database: &Database,
    question: Question,
    format: Format,
    to: &mut impl Write,
) -> Result<()> {
    let rows_max = question.row_limit;
    let question = Question { row_limit: rows_max.filter(|rows| *rows > 0), ..question };
    let mut result = database.query(question).await?;
    if let Some(rows_max) = rows_max {
        result = result.first_rows(rows_max);
    }
    for warning in &result.warnings {
        warn(warning);
    }
    let mut chunks = std::pin::pin!(output::encode(result, format));
    while let Some(chunk) = chunks.next().await {
        to.write_all(&chunk?)?;
    }
    Ok(())
}

async fn write_remote(
    server: &Server,
    question: &Question,
    format: Format,
    to: &mut impl Write,
) -> Result<()> {
    if format == Format::Table {
        let (warnings, schema, batches) = server.rows(question).await?;
        for warning in &warnings {
            warn(warning);
        }
        to.write_all(output::table(&schema, &batches)?.as_bytes())?;
        return Ok(());
    }
    let (warnings, mut answer) = server.ask(question, format).await?;
    for warning in &warnings {
        warn(warning);
    }
    while let Some(piece) = answer.chunk().await.map_err(cut_off)? {
        to.write_all(&piece)?;
    }
    Ok(())
}

/// Prints a warning about the result on stderr.
pub(super) fn warn(warning: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {warning}");
}

/// The first `rows_max` rows, and whether there are more.
fn first_rows(batches: Vec<RecordBatch>, rows_max: usize) -> (Vec<RecordBatch>, bool) {
    let mut left = rows_max;
    let mut is_cut = false;
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        is_cut |= batch.num_rows() > left;
        let batch = batch.slice(0, batch.num_rows().min(left));
        left -= batch.num_rows();
        kept.push(batch);
    }
    (kept, is_cut)
}
