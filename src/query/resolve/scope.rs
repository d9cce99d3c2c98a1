//! The relations that a clause can name, and names as written.

use sqlparser::ast::{Expr, Ident, Query, TableAlias, TableFactor};
use sqlparser::tokenizer::{Location, Span};

use super::node::NodeId;

/// The relations of one `FROM`.
#[derive(Debug, Default, Clone)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
    pub(super) merged: Vec<Merged>,
}

/// One relation of a `FROM`.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// Its name in the rewritten statement.
    pub(super) alias: String,
    /// Its name for the author: the alias, or catalog, schema and table; empty if it has no name.
    pub(super) path: Vec<String>,
    pub(super) node: NodeId,
    /// True if its columns are columns of another relation, under another name.
    pub(super) is_part: bool,
}

/// Columns that `USING` merged into one.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    /// Its SQL name.
    pub(super) name: String,
    /// Expression that replaces a reference to it.
    pub(super) expr: Expr,
    /// Alias and column of the merged columns.
    pub(super) members: Vec<(String, String)>,
}

impl Relation {
    /// True if `prefix`, all parts normalised, names this relation.
    pub(super) fn is_called(&self, prefix: &[String]) -> bool {
        self.path.ends_with(prefix)
    }
}

/// A name as written.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// Name as written, parts joined by dots.
    pub(super) exact: String,
    /// Name with unquoted parts in lower case, as SQL compares it.
    pub(super) folded: String,
    /// True if case matters.
    pub(super) quoted: bool,
    /// Position of its start.
    pub(super) at: Location,
}

impl Name {
    pub(super) fn new(parts: &[Ident]) -> Self {
        let join = |part: fn(&Ident) -> String| parts.iter().map(part).collect::<Vec<_>>().join(".");
        Self {
            exact: join(|i| i.value.clone()),
            folded: join(normalise),
            quoted: parts.iter().all(|i| i.quote_style.is_some()),
            at: parts.first().map_or(Span::empty().start, |i| i.span.start),
        }
    }
}

/// An identifier as SQL reads it: unquoted ones in lower case.
pub(super) fn normalise(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Marks resolved identifiers by a position that no text reaches.
const RESOLVED: Span = Span {
    start: Location { line: u64::MAX, column: u64::MAX },
    end: Location { line: u64::MAX, column: u64::MAX },
};

/// A resolved identifier; quoted, so that the planner keeps its case.
pub(super) fn resolved(name: impl Into<String>) -> Ident {
    let mut ident = Ident::with_quote('"', name);
    ident.span = RESOLVED;
    ident
}

/// Leaves an identifier to the planner, as written.
pub(super) fn leave(ident: &mut Ident) {
    ident.span = RESOLVED;
}

pub(super) fn is_resolved(ident: &Ident) -> bool {
    ident.span == RESOLVED
}

/// `alias.column`, resolved.
pub(super) fn column(alias: &str, column: impl Into<String>) -> Expr {
    Expr::CompoundIdentifier(vec![resolved(alias), resolved(column)])
}

/// The alias `name`.
pub(super) fn alias_of(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: resolved(name), columns: Vec::new(), at: None }
}

/// A query in FROM.
pub(super) fn derived(query: Query, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }
}
