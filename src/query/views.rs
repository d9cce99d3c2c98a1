//! Views and functions that are defined in SQL.
//!
//! Each is a file in `sql/` whose header states its purpose and the meaning and units of its columns. Files are
//! parsed once per process; the resolver replaces a view's name by its query. Views over events end in
//! `SELECT *`, so that any attribute can be read through them; views that aggregate have fixed columns.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::sql::parser::Statement;
use sqlparser::ast::{Query, Statement as SqlStatement};

use super::language::parse;
use crate::error::{Error, Result};

/// Name and SQL of the built-in views.
const VIEWS: &[(&str, &str)] = &[
    ("spans", include_str!("../../sql/spans.sql")),
    ("logs", include_str!("../../sql/logs.sql")),
    ("span_events", include_str!("../../sql/span_events.sql")),
    ("exceptions", include_str!("../../sql/exceptions.sql")),
    ("metrics", include_str!("../../sql/metrics.sql")),
    ("traces", include_str!("../../sql/traces.sql")),
    ("services", include_str!("../../sql/services.sql")),
    ("operations", include_str!("../../sql/operations.sql")),
    ("service_graph", include_str!("../../sql/service_graph.sql")),
];

/// Name, number of parameters and SQL of the built-in table functions.
const FUNCTIONS: &[(&str, usize, &str)] = &[("trace", 1, include_str!("../../sql/trace.sql"))];

/// Views and functions by name.
#[derive(Debug, Clone)]
pub struct Views {
    views: BTreeMap<String, Arc<View>>,
    functions: BTreeMap<String, (Arc<Query>, usize)>,
}

#[derive(Debug)]
struct View {
    sql: String,
    query: Query,
}

impl Views {
    /// Creates an empty set.
    pub fn empty() -> Self {
        Self { views: BTreeMap::new(), functions: BTreeMap::new() }
    }

    /// Returns the built-in views and functions, from `sql/`.
    pub fn builtin() -> Result<Self> {
        static PARSED: OnceLock<Views> = OnceLock::new();
        if let Some(views) = PARSED.get() {
            return Ok(views.clone());
        }
        let mut views = Self::empty();
        for (name, sql) in VIEWS {
            views.add_view(name, sql)?;
        }
        for (name, parameters, sql) in FUNCTIONS {
            views.functions.insert((*name).to_owned(), (Arc::new(parse_query(name, sql)?), *parameters));
        }
        Ok(PARSED.get_or_init(|| views).clone())
    }

    /// Adds or replaces a view.
    pub fn add_view(&mut self, name: &str, sql: &str) -> Result<()> {
        let view = View { sql: sql.to_owned(), query: parse_query(name, sql)? };
        self.views.insert(name.to_owned(), Arc::new(view));
        Ok(())
    }

    /// Names of the views, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.views.keys().map(String::as_str)
    }

    /// Names of the functions, sorted.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// Returns the SQL of a view, header included.
    pub fn sql(&self, name: &str) -> Option<&str> {
        self.views.get(name).map(|view| view.sql.as_str())
    }

    pub(super) fn view(&self, name: &str) -> Option<&Query> {
        self.views.get(name).map(|view| &view.query)
    }

    /// Returns the query and the number of parameters of a function.
    pub(super) fn function(&self, name: &str) -> Option<(&Query, usize)> {
        self.functions.get(name).map(|(query, parameters)| (query.as_ref(), *parameters))
    }
}

fn parse_query(name: &str, sql: &str) -> Result<Query> {
    let statement = parse(sql).map_err(|e| e.context(format!("view {name}")))?;
    match statement {
        Statement::Statement(statement) => match *statement {
            SqlStatement::Query(query) => Ok(*query),
            _ => Err(Error::invalid(format!("view {name} is not a query"))),
        },
        _ => Err(Error::invalid(format!("view {name} is not a query"))),
    }
}
