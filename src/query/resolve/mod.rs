//! What do the names in a statement mean?
//!
//! The planner cannot know columns that exist only in some events: planning over thousands of columns
//! takes seconds. So it never sees them. Every statement is rewritten first, in these steps:
//!
//! 1. Text is parsed; a question that is a tree already goes the same way from here. [`flatten`]: `user.id` and
//!    its like become names, patterns get one escape ([`like`]).
//! 2. [`relation`], [`select`], [`names`], [`wildcard`]: bottom-up over queries, every relation becomes a
//!    node ([`node`]); views are put in place of their names; every name is resolved in the [`scope`]s
//!    around it. A name that nobody declares is an attribute, **demanded** from the open relation in
//!    scope. Demands go down through wildcards to the base table. `*` is written out. Names may lead into lists and
//!    maps ([`nested`]), and lists of rows may be unfolded ([`unnest`]).
//! 3. [`finish`]: every occurrence of the base table gets a name that carries the attributes demanded from
//!    it ([`table_name`]), every open SELECT on the way its hidden columns.
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
//! Invariants: which attributes exist decides whether a name is known, never which of two things it means,
//! so new data does not change the result of a working statement; a column that was not demanded is not in
//! the plan; only statements that read are let through. What it does not do: types, literals, ids as text
//! — those are rewrites of the plan.

mod errors;
mod finish;
mod flatten;
mod like;
mod names;
mod nested;
mod node;
mod relation;
mod scope;
mod select;
mod table_name;
mod unnest;
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
use crate::query::language::{Ask, build, parse, with_stack};
use crate::query::views::Views;

/// What a statement can refer to.
#[derive(Debug, Clone, Copy)]
pub struct ResolveContext<'a> {
    /// The attribute keys that exist.
    pub keys: &'a KeyDictionary,
    /// Views and functions that are defined in SQL.
    pub views: &'a Views,
    /// Other tables and their columns, by name (`t`, or `schema.t`), in lower case.
    pub tables: &'a BTreeMap<String, Vec<String>>,
    /// Name of the schema that tables are in when none is written.
    pub schema: &'a str,
    /// Names of the functions that exist, in lower case; empty leaves unknown ones to the planner.
    pub functions: &'a [String],
    /// Names of the table functions that the planner knows; empty leaves unknown ones to it.
    pub table_functions: &'a [String],
}

/// A statement that the planner understands.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The statement. Occurrences of the base table are named as [`encode_table_name`] says.
    pub statement: Statement,
    /// What a person should know though the statement works.
    pub warnings: Vec<String>,
}

/// Resolves the names of a statement, once it is a tree.
///
/// Errors are of kind [`InvalidInput`](crate::error::ErrorKind::InvalidInput) and say where in a text.
pub fn resolve(ask: Ask, context: &ResolveContext<'_>) -> Result<Resolved> {
    with_stack(|| {
        let statement = match ask {
            Ask::Sql(text) => parse(&text)?,
            Ask::Query(tree) => tree.into_statement(),
        };
        resolve_statement(statement, context)
    })
}

fn resolve_statement(mut statement: Statement, context: &ResolveContext<'_>) -> Result<Resolved> {
    flatten::flatten(&mut statement)?;
    let mut resolver = Resolver {
        context,
        nodes: Nodes::default(),
        scopes: Vec::new(),
        ctes: Vec::new(),
        warnings: Vec::new(),
        unnamed: 0,
        view_depth: 0,
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

    /// `DESCRIBE spans` describes `SELECT * FROM spans`, as a view is no table to the planner.
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

/// The error for statements that would change something.
fn read_only(what: &str) -> Error {
    Error::invalid(format!(
        "Broadloom's SQL is read-only: {what} is not allowed; use SELECT, EXPLAIN, SHOW or DESCRIBE"
    ))
}

/// The first word of a statement.
fn verb(statement: &str) -> String {
    statement.split_whitespace().next().unwrap_or("this statement").to_uppercase()
}
