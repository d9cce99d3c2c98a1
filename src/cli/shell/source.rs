//! What a session asks: a data directory, or a server.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::super::remote::Server;
use crate::config::Settings;
use crate::db::Database;
use crate::error::Result;
use crate::query::Question;
use crate::query::complete::{Vocabulary, core_names, written};
use crate::query::views::Views;

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
    /// Opens a data directory or object store for reading.
    pub(super) async fn directory(settings: Settings) -> Result<Self> {
        Ok(Self::Directory(Database::open_read_only(settings).await?))
    }

    /// A server.
    pub(super) fn server(server: Server) -> Self {
        Self::Server(server)
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

    /// The names that a statement can use.
    pub(super) async fn vocabulary(&self) -> Result<Vocabulary> {
        let tables = "SELECT DISTINCT table_name FROM information_schema.tables ORDER BY 1";
        let functions = "SELECT DISTINCT routine_name FROM information_schema.routines ORDER BY 1";
        Ok(Vocabulary {
            tables: self.names(tables).await?.into_iter().filter(|name| !name.contains('[')).collect(),
            table_functions: Views::builtin()?.functions().map(str::to_owned).collect(),
            functions: self.names(functions).await?,
            columns: core_names(),
            keys: self.keys().await?,
        })
    }

    /// Attribute keys, as they are written in a statement, and the types of their values.
    pub(super) async fn keys(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT key, level, types FROM attributes";
        let found = self.ask(Question::sql(sql), NAMES_MAX).await?;
        let mut keys = Vec::new();
        for batch in found.batches {
            let columns =
                batch.columns().iter().map(|column| arrow::compute::cast(column, &DataType::Utf8View));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let [names, levels, types] = columns.as_slice() else { continue };
            let text = |column: &ArrayRef, row| column.as_string_view().value(row).to_owned();
            let key = |row| (written(&text(names, row), text(levels, row) == "body"), text(types, row));
            keys.extend((0..batch.num_rows()).map(key));
        }
        keys.sort_unstable();
        keys.dedup_by(|a, b| a.0 == b.0);
        Ok(keys)
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

/// Most names of one kind that are completed.
const NAMES_MAX: usize = 100_000;

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
