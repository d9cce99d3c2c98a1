//! Names that statements on a source can use.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::super::source::{NAMES_MAX, Source};
use crate::error::Result;
use crate::event::schema;
use crate::query::Question;
use crate::query::complete::{Vocabulary, is_keyword};
use crate::query::language::lex::{Piece, lex};
use crate::query::views::Views;

/// The names that a statement can use.
pub(super) async fn vocabulary(source: &Source) -> Result<Vocabulary> {
    let columns = schema::core_columns().iter().map(|column| column.field.name().clone());
    let tables = "SELECT DISTINCT table_name FROM information_schema.tables ORDER BY 1";
    let functions = "SELECT DISTINCT routine_name FROM information_schema.routines ORDER BY 1";
    Ok(Vocabulary {
        tables: source.names(tables).await?.into_iter().filter(|name| !name.contains('[')).collect(),
        table_functions: Views::builtin()?.functions().map(str::to_owned).collect(),
        functions: source.names(functions).await?,
        columns: columns.filter(|name| !name.starts_with('_')).collect(),
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

/// A key as a statement names it: bare if possible.
fn written(key: &str, is_of_body: bool) -> String {
    let name = if is_of_body { format!("body.{key}") } else { key.to_owned() };
    let is_word = matches!(lex(&name).as_slice(), [one] if one.piece == Piece::Word);
    let is_bare = is_word && !is_keyword(&name) && !name.contains(char::is_uppercase);
    if is_bare { name } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_so_that_a_statement_can_name_them() {
        assert_eq!(written("http.route", false), "http.route");
        assert_eq!(written("order", true), "body.order");
        assert_eq!(written("User-Agent", false), "\"User-Agent\"");
        assert_eq!(written("a\"b", false), "\"a\"\"b\"");
        assert_eq!(written("group", false), "\"group\"");
    }
}
