//! Is a statement about the catalogue?

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, Visit, Visitor};

use super::INFORMATION_SCHEMA;
use super::rewrite::{FUNCTIONS, is_word};
use super::syntax::last_name;
use crate::query::language::lex::{Piece, lex};
use crate::query::language::{parse_postgres, with_stack};

/// True if a relation of `sql` is one of the catalogue, or if it has no relation and calls a function of sessions.
pub(in super::super) fn concerns(sql: &str) -> bool {
    if !may_concern(sql) {
        return false;
    }
    with_stack(|| {
        let Ok(statement) = parse_postgres(sql) else { return false };
        let datafusion::sql::parser::Statement::Statement(statement) = statement else { return false };
        let mut names = Names::default();
        let _ = statement.visit(&mut names);
        names.has_catalogue || !names.has_relation && names.has_function
    })
}

/// Looks at the words alone, since few statements are about the catalogue.
fn may_concern(sql: &str) -> bool {
    lex(sql).iter().any(|lexeme| {
        let word = sql[lexeme.from..lexeme.to].trim_matches('"').to_ascii_lowercase();
        let is_name = matches!(lexeme.piece, Piece::Word | Piece::Quoted);
        is_name && word.split('.').any(|part| is_catalogue(part) || FUNCTIONS.contains(&part))
    })
}

fn is_catalogue(name: &str) -> bool {
    name.starts_with("pg_") || name == INFORMATION_SCHEMA
}

#[derive(Default)]
struct Names {
    has_catalogue: bool,
    has_relation: bool,
    has_function: bool,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.has_relation = true;
        let parts = relation.0.iter().filter_map(|part| part.as_ident());
        self.has_catalogue |= parts.into_iter().any(|part| is_catalogue(&part.value.to_ascii_lowercase()));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Function(function) => last_name(&function.name),
            Expr::Identifier(ident) if is_word(ident) => ident.value.to_ascii_lowercase(),
            _ => return ControlFlow::Continue(()),
        };
        self.has_function |= FUNCTIONS.contains(&name.as_str()) || name.starts_with("pg_");
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_about_the_catalogue_by_its_relations() {
        for sql in [
            "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) '^(spans)$'",
            "select * from pg_type",
            "select table_name from information_schema.tables",
            "SELECT version()",
            "SELECT current_schema(), current_user",
            "select pg_catalog.set_config('search_path', '', false)",
            "SHOW x",
        ] {
            assert_eq!(concerns(sql), sql != "SHOW x", "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SELECT pg_version FROM spans",
            "SELECT user FROM spans",
            "SELECT \"pg_catalog.x\", version FROM logs",
            "SELECT 'pg_class' FROM spans",
            "SELECT broken FROM (pg_class",
        ] {
            assert!(!concerns(sql), "{sql}");
        }
    }
}
