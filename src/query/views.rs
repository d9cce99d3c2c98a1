//! Views and functions that are defined in SQL.
//!
//! Each is a file in `sql/` whose header states its purpose and the meaning and units of its columns. Files are
//! parsed once per process; the resolver replaces a view's name by its query. Views over events end in
//! `SELECT *`, so that any attribute can be read through them; views that aggregate have fixed columns.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use datafusion::sql::parser::Statement;
use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, Statement as SqlStatement, VisitMut, VisitorMut};
use sqlparser::tokenizer::Span;

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
    ("attributes", include_str!("../../sql/attributes.sql")),
];

/// Name, parameters with their defaults, and SQL of the built-in table functions.
const FUNCTIONS: &[(&str, &[Declared], &str)] = &[
    ("trace", &[("trace_id", Kind::Constant, None)], include_str!("../../sql/trace.sql")),
    ("attribute_values", &[KEY, PREFIX, FROM_EVENTS], include_str!("../../sql/attribute_values.sql")),
    ("keys_of", &[SOURCE], include_str!("../../sql/keys_of.sql")),
    ("trace_rows", &[("trace_id", Kind::Constant, None)], include_str!("../../sql/trace_rows.sql")),
    ("critical_path", &[("trace_id", Kind::Constant, None)], include_str!("../../sql/critical_path.sql")),
    ("trace_links", &[("trace_id", Kind::Constant, None)], include_str!("../../sql/trace_links.sql")),
    (
        "trace_diff",
        &[("a", Kind::Constant, None), ("b", Kind::Constant, None)],
        include_str!("../../sql/trace_diff.sql"),
    ),
    ("find_traces", FIND, include_str!("../../sql/find_traces.sql")),
    ("heatmap", &[SOURCE, VALUE, STEP, PER_DECADE, WIDTH], include_str!("../../sql/heatmap.sql")),
    ("histogram", &[SOURCE, VALUE, PER_DECADE, WIDTH], include_str!("../../sql/histogram.sql")),
    ("red", &[SOURCE, BY, STEP, FILL], include_str!("../../sql/red.sql")),
    (
        "golden_signals",
        &[SOURCE, BY, STEP, CALLS, SATURATION, FILL],
        include_str!("../../sql/golden_signals.sql"),
    ),
    ("slo_status", &[SOURCE, OBJECTIVE, GOOD, BY, PERIOD, AT_NOW], include_str!("../../sql/slo_status.sql")),
    ("log_patterns", &[FROM_LOGS], include_str!("../../sql/log_patterns.sql")),
    ("log_context", &[AT, FROM_LOGS, BEFORE, AFTER], include_str!("../../sql/log_context.sql")),
    ("rate", COUNTER, include_str!("../../sql/rate.sql")),
    ("increase", COUNTER, include_str!("../../sql/increase.sql")),
    ("delta", COUNTER, include_str!("../../sql/delta.sql")),
    (
        "histogram_quantile",
        &[SOURCE, QUANTILE, BY_METRIC, STEP, SERIES, FILL],
        include_str!("../../sql/histogram_quantile.sql"),
    ),
    (
        EXPLAIN_DIFF,
        &[SOURCE, SELECTION, BASELINE, ACROSS, VALUES, KEYS],
        include_str!("../../sql/explain_diff.sql"),
    ),
];

/// The function whose query depends on the attributes that exist.
pub(super) const EXPLAIN_DIFF: &str = "explain_diff";

/// Name, kind and default of a parameter.
type Declared = (&'static str, Kind, Option<&'static str>);

const SOURCE: Declared = ("source", Kind::Source, None);
const VALUE: Declared = ("value", Kind::Expression, None);
const STEP: Declared = ("step", Kind::Constant, Some("INTERVAL '1 minute'"));
const PER_DECADE: Declared = ("per_decade", Kind::Constant, Some("10"));
const WIDTH: Declared = ("width", Kind::Constant, Some("NULL"));
const BY: Declared = ("by", Kind::List, Some("service.name"));
const BY_METRIC: Declared = ("by", Kind::List, Some("name"));
const FILL: Declared = ("fill", Kind::Constant, Some("false"));
const CALLS: Declared = ("calls", Kind::Expression, Some("true"));
const SATURATION: Declared = ("saturation", Kind::Constant, Some("NULL"));
const NUMBER: Declared = ("value", Kind::Expression, Some("value"));
/// Names the attributes of all levels as they are, so that equal texts are equal attributes.
const SERIES: Declared = ("series", Kind::List, Some("(name, scope.name, scope.version, typed_attributes)"));
const QUANTILE: Declared = ("q", Kind::Constant, Some("0.99"));
const COUNTER: &[Declared] = &[SOURCE, BY_METRIC, STEP, NUMBER, SERIES, FILL];
const KEY: Declared = ("key", Kind::Name, None);
const PREFIX: Declared = ("prefix", Kind::Constant, Some("''"));
const FROM_EVENTS: Declared = ("source", Kind::Source, Some("events"));
const FROM_LOGS: Declared = ("source", Kind::Source, Some("logs"));
const OBJECTIVE: Declared = ("objective", Kind::Constant, None);
const GOOD: Declared = ("good", Kind::Expression, Some("status IS DISTINCT FROM 'error'"));
const PERIOD: Declared = ("period", Kind::Constant, Some("INTERVAL '30 days'"));
const AT_NOW: Declared = ("at", Kind::Constant, Some("now()"));
const AT: Declared = ("at", Kind::Constant, None);
const BEFORE: Declared = ("before", Kind::Constant, Some("20"));
const AFTER: Declared = ("after", Kind::Constant, Some("20"));
const FIND: &[Declared] = &[
    SOURCE,
    ("shape", Kind::Constant, None),
    ("a", Kind::Expression, None),
    ("b", Kind::Expression, None),
    ("c", Kind::Expression, Some("NULL")),
    ("d", Kind::Expression, Some("NULL")),
];
const SELECTION: Declared = ("selection", Kind::Expression, None);
const BASELINE: Declared = ("baseline", Kind::Expression, Some("NULL"));
const ACROSS: Declared = ("across", Kind::Constant, Some("'rows'"));
const VALUES: Declared = ("values", Kind::Constant, Some("8"));
const KEYS: Declared = ("keys", Kind::Constant, Some("40"));

/// Kind of a parameter of a function; see [`function`](super::resolve).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value.
    Constant,
    /// An expression over the columns of the source.
    Expression,
    /// One expression, or several.
    List,
    /// A name of an attribute or column, also as text.
    Name,
    /// A table.
    Source,
}

/// A parameter of a function.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Option<Expr>,
}

/// The common table expressions that a query may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Its own.
    Own,
    /// Also those of the statement that it is put into.
    OfCaller,
}

/// A function that is defined in SQL.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) query: Query,
}

impl Function {
    fn parse(name: &str, parameters: &[Declared], sql: &str) -> Result<Self> {
        let parameters = parameters.iter().map(|(name, kind, default)| {
            let mut default = default.map(parse_expr).transpose()?;
            let _ = default.visit(&mut Unplaced);
            Ok(Parameter { name, kind: *kind, default })
        });
        let parameters = parameters.collect::<Result<_>>()?;
        let mut query = parse_query(name, sql)?;
        let _ = query.visit(&mut Unplaced);
        Ok(Self { name: name.to_owned(), parameters, query })
    }

    /// True if it reads a table of the caller's choice.
    pub(super) fn has_source(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.kind == Kind::Source)
    }

    /// The names that its query sees: a source may be a common table expression.
    pub(super) fn names(&self) -> Names {
        if self.has_source() { Names::OfCaller } else { Names::Own }
    }
}

/// Names of the built-in views.
#[cfg(feature = "postgres")]
pub(crate) fn view_names() -> impl Iterator<Item = &'static str> {
    VIEWS.iter().map(|(name, _)| *name)
}

/// Views and functions by name.
#[derive(Debug, Clone)]
pub struct Views {
    views: BTreeMap<String, Arc<View>>,
    functions: BTreeMap<String, Arc<Function>>,
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
            let function = Function::parse(name, parameters, sql)?;
            views.functions.insert((*name).to_owned(), Arc::new(function));
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

    /// Returns a function.
    pub(super) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(name).map(AsRef::as_ref)
    }
}

/// Takes the positions of names away: errors are about the text of the caller, and say nothing of that of a function.
struct Unplaced;

impl VisitorMut for Unplaced {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => ident.span = Span::empty(),
            Expr::CompoundIdentifier(idents) => {
                for ident in idents {
                    ident.span = Span::empty();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Parses an expression.
fn parse_expr(sql: &str) -> Result<Expr> {
    let query = parse_query("default", &format!("SELECT {sql}"))?;
    match *query.body {
        SetExpr::Select(select) => match select.projection.into_iter().next() {
            Some(SelectItem::UnnamedExpr(expr)) => Ok(expr),
            _ => Err(Error::invalid(format!("{sql} is not an expression"))),
        },
        _ => Err(Error::invalid(format!("{sql} is not an expression"))),
    }
}

/// Parses the query of `name`.
pub(super) fn parse_query(name: &str, sql: &str) -> Result<Query> {
    let statement = parse(sql).map_err(|e| e.context(format!("view {name}")))?;
    match statement {
        Statement::Statement(statement) => match *statement {
            SqlStatement::Query(query) => Ok(*query),
            _ => Err(Error::invalid(format!("view {name} is not a query"))),
        },
        _ => Err(Error::invalid(format!("view {name} is not a query"))),
    }
}
