//! What do the names in a statement mean?
//!
//! The planner must not see columns that only some events have: planning over thousands of columns takes
//! seconds. So every statement is rewritten first, in these steps:
//!
//! 1. Text is parsed; a question that is a tree starts after that. [`flatten`] turns misparsed names such as
//!    `user.id` into names, and gives patterns one escape ([`like`]).
//! 2. [`relation`], [`select`], [`names`], [`wildcard`]: bottom-up over queries, every relation becomes a
//!    node ([`node`]); the names of views are replaced by their queries; every name is resolved in the [`scope`]s
//!    around it; functions that are defined in SQL are macros ([`function`]), and so is [`explain_diff`]. An undeclared name
//!    is an attribute, **demanded** from the open relation in scope. Demands pass down through wildcards to the base
//!    table. `*` is expanded. Aggregates are weighed where that is asked for ([`weigh`]). Names may lead into lists and maps ([`nested`]),
//!    and lists may be unfolded to rows ([`unnest`]).
//! 3. [`finish`]: every occurrence of the base table gets a name that carries the attributes demanded from
//!    it ([`table_name`]), and every open SELECT on the path gets its hidden columns.
//!
//! ```text
//! SELECT http.route, count(*) FROM spans GROUP BY http.route
//!
//! SELECT "spans"."attributes['http.route']" AS "http.route", count(*) AS "count(*)"
//! FROM (SELECT "events"."timestamp", …, "events"."attributes", "events"."attributes['http.route']"
//!       FROM "events[""http.route""]" AS "events" WHERE "events"."signal" = 'span') AS "spans"
//! GROUP BY "spans"."attributes['http.route']"
//! ```
//!
//! Invariants: the existing attributes decide whether a name is known, never which of two meanings it has, so
//! new data does not change the result of a working statement; only demanded columns are in the plan; only
//! read-only statements pass. Not here: types, literals, and ids as text, which are rewrites of the plan.

mod errors;
mod explain_diff;
mod finish;
mod flatten;
mod function;
mod like;
mod names;
mod nested;
mod node;
mod relation;
mod scope;
mod select;
mod table_name;
mod unnest;
mod weigh;
mod wildcard;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use datafusion::sql::parser::Statement;
use sqlparser::ast::{DescribeAlias, Query, Statement as SqlStatement};

use self::node::{NodeId, Nodes};
use self::scope::Scope;
pub use self::table_name::{EVENTS, attribute_column, decode_table_name, encode_table_name};
use crate::error::{Error, Result};
use crate::event::KeyDictionary;
use crate::query::language::{Ask, build, parse_with_settings, with_stack};
use crate::query::views::Views;

/// Names that a statement can refer to.
#[derive(Debug, Clone, Copy)]
pub struct ResolveContext<'a> {
    /// Attribute keys that exist.
    pub keys: &'a KeyDictionary,
    /// Views and functions that are defined in SQL.
    pub views: &'a Views,
    /// Other tables and their columns, by name (`t`, or `schema.t`), in lower case.
    pub tables: &'a BTreeMap<String, Vec<String>>,
    /// Schema of tables that are written without one.
    pub schema: &'a str,
    /// Names of all functions, in lower case. If empty, the planner reports unknown functions.
    pub functions: &'a [String],
    /// Names of the planner's table functions. If empty, the planner reports unknown ones.
    pub table_functions: &'a [String],
}

/// A statement that the planner understands.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The statement. Occurrences of the base table are named by [`encode_table_name`].
    pub statement: Statement,
    /// Warnings for a person, although the statement works.
    pub warnings: Vec<String>,
}

/// Parses a statement if it is text, and resolves its names.
///
/// Errors are [`InvalidInput`](crate::error::ErrorKind::InvalidInput), with a position if the statement is text.
pub fn resolve(ask: Ask, context: &ResolveContext<'_>) -> Result<Resolved> {
    with_stack(|| {
        let (statement, is_weighted) = statement_of(ask)?;
        resolve_statement(statement, is_weighted.unwrap_or(false), context)
    })
}

/// The statement of a question, and whether its aggregates are weighed, if it says so.
fn statement_of(ask: Ask) -> Result<(Statement, Option<bool>)> {
    Ok(match ask {
        Ask::Sql(text) => {
            let (settings, statement) = parse_with_settings(&text)?;
            (statement, settings.is_weighted)
        }
        Ask::Query(tree) => (tree.into_statement(), None),
        Ask::Weighted(ask) => {
            let (statement, is_weighted) = statement_of(*ask)?;
            (statement, Some(is_weighted.unwrap_or(true)))
        }
    })
}

fn resolve_statement(
    mut statement: Statement,
    is_weighted: bool,
    context: &ResolveContext<'_>,
) -> Result<Resolved> {
    flatten::flatten(&mut statement)?;
    let mut resolver = Resolver {
        context,
        nodes: Nodes::default(),
        scopes: Vec::new(),
        ctes: Vec::new(),
        warnings: Vec::new(),
        unnamed: 0,
        view_depth: 0,
        is_weighted,
    };
    resolver.resolve_any(&mut statement)?;
    Ok(Resolved { statement, warnings: resolver.warnings })
}

/// State of the rewriting of one statement.
struct Resolver<'a> {
    context: &'a ResolveContext<'a>,
    nodes: Nodes,
    /// Scopes around the current place, innermost last.
    scopes: Vec<Scope>,
    /// Common table expressions around the current place, innermost last.
    ctes: Vec<HashMap<String, NodeId>>,
    warnings: Vec<String>,
    unnamed: usize,
    view_depth: usize,
    /// True if aggregates estimate what sampling left out.
    is_weighted: bool,
}

impl Resolver<'_> {
    fn resolve_any(&mut self, statement: &mut Statement) -> Result<()> {
        match statement {
            Statement::Explain(explain) => self.resolve_any(&mut explain.statement),
            Statement::Statement(statement) => self.resolve_sql(statement),
            other => Err(read_only(&verb(&other.to_string()))),
        }
    }

    fn resolve_sql(&mut self, statement: &mut SqlStatement) -> Result<()> {
        match statement {
            SqlStatement::Query(query) => self.resolve_top(query),
            SqlStatement::Explain { statement, .. } => self.resolve_sql(statement),
            SqlStatement::ExplainTable { .. } => self.resolve_describe(statement),
            SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowFunctions { .. } => Ok(()),
            other => Err(read_only(&verb(&other.to_string()))),
        }
    }

    fn resolve_top(&mut self, query: &mut Query) -> Result<()> {
        self.resolve_query(query)?;
        finish::finish(query, &self.nodes);
        Ok(())
    }

    /// Describes `SELECT * FROM spans` for `DESCRIBE spans`: a view is not a table to the planner.
    fn resolve_describe(&mut self, statement: &mut SqlStatement) -> Result<()> {
        let SqlStatement::ExplainTable { table_name, .. } = statement else { return Ok(()) };
        let name = table_name.0.last().and_then(|part| part.as_ident()).map(scope::normalise);
        let Some(name) = name.filter(|name| self.context.views.view(name).is_some()) else { return Ok(()) };
        let mut query = build::query_of(build::select_all(build::table(&name)));
        self.resolve_top(&mut query)?;
        *statement = SqlStatement::Explain {
            describe_alias: DescribeAlias::Describe,
            analyze: false,
            verbose: false,
            query_plan: false,
            estimate: false,
            statement: Box::new(SqlStatement::Query(Box::new(query))),
            format: None,
            options: None,
        };
        Ok(())
    }
}

/// Error for statements that would write.
fn read_only(what: &str) -> Error {
    Error::invalid(format!(
        "Broadloom's SQL is read-only: {what} is not allowed; use SELECT, EXPLAIN, SHOW or DESCRIBE"
    ))
}

/// The first word of a statement.
fn verb(statement: &str) -> String {
    statement.split_whitespace().next().unwrap_or("this statement").to_uppercase()
}
