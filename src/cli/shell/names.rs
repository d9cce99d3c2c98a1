//! Names that statements on a source can use.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::super::source::{NAMES_MAX, Source};
use crate::error::Result;
use crate::query::Question;
use crate::query::complete::{Vocabulary, core_names, written};
use crate::query::views::Views;

/// The names that a statement can use.
pub(super) async fn vocabulary(source: &Source) -> Result<Vocabulary> {
    let tables = "SELECT DISTINCT table_name FROM information_schema.tables ORDER BY 1";
    let functions = "SELECT DISTINCT routine_name FROM information_schema.routines ORDER BY 1";
    Ok(Vocabulary {
        tables: source.names(tables).await?.into_iter().filter(|name| !name.contains('[')).collect(),
        table_functions: Views::builtin()?.functions().map(str::to_owned).collect(),
        functions: source.names(functions).await?,
        columns: core_names(),
        keys: keys(source).await?,
    })
}

/// Attribute keys, as they are written in a statement, and the types of their values.
pub(super) async fn keys(source: &Source) -> Result<Vec<(String, String)>> {
    let sql = "SELECT key, level, types FROM attributes";
    let found = source.ask(Question::sql(sql), NAMES_MAX).await?;
    let mut known = Vec::new();
    for batch in found.batches {
        let columns = batch.columns().iter().map(|column| arrow::compute::cast(column, &DataType::Utf8View));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let [names, levels, types] = columns.as_slice() else { continue };
        let text = |column: &ArrayRef, row| column.as_string_view().value(row).to_owned();
        let key = |row| (written(&text(names, row), text(levels, row) == "body"), text(types, row));
        known.extend((0..batch.num_rows()).map(key));
    }
    known.sort_unstable();
    known.dedup_by(|a, b| a.0 == b.0);
    Ok(known)
}
