//! `explain_diff(source, selection, …)`: a macro like other [functions](super::function), whose query names every key
//! that the source has.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Expr, Ident, Query, Subscript, TableFactor, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::Resolver;
use super::flatten::flatten_part;
use super::function::{Bound, Call, put};
use super::node::{Node, NodeId};
use super::scope::{Name, Scope, alias_of, derived};
use crate::error::{Error, Result};
use crate::query::diff::call::{COMPARED_MAX, Form, Keys, SHOWN_MAX, statement};
use crate::query::diff::columns;
use crate::query::diff::settings::{Across, Settings};
use crate::query::language::build;
use crate::query::views::{EXPLAIN_DIFF, Names, parse_query};

/// Table in the function's query that stands for the computed differences.
const DIFFERENCES: &str = "differences";

impl Resolver<'_> {
    /// Resolves a call.
    pub(super) fn resolve_explain_diff(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = factor else { return Ok(()) };
        let ident = name.0.last().and_then(|part| part.as_ident().cloned());
        let views = self.context.views;
        let (Some(ident), Some(function)) = (ident, views.function(EXPLAIN_DIFF)) else {
            return Err(Error::internal("explain_diff is not defined"));
        };
        let call = Call { function, ident: &ident };
        let bound = call.bind(args)?;
        let (settings, form) = self.compared(&call, &bound)?;
        let mut inner = parse_query(EXPLAIN_DIFF, &statement(&settings, form))?;
        flatten_part(&mut inner)?;
        put(&mut inner, &bound);
        self.resolve_view(&mut inner, Names::OfCaller)?;
        let mut query = function.query.clone();
        let _ = VisitMut::visit(&mut query, &mut Insert(Some(inner)));
        let node = self.nodes.add(Node::Closed { columns: columns().map(str::to_owned).collect() });
        let mut alias = alias.take();
        let node = self.renamed(node, alias.as_ref());
        self.add_table(&mut alias, vec![EXPLAIN_DIFF.to_owned()], node);
        *factor = derived(query, alias);
        Ok(())
    }

    /// Chooses the keys to compare.
    fn compared(&mut self, call: &Call<'_>, bound: &Bound<'_>) -> Result<(Settings, Form)> {
        let across = match argument(bound, "across") {
            Some(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. })) => {
                match &**text {
                    "rows" => Across::Rows,
                    "traces" => Across::Traces,
                    _ => return Err(call.wrong(format!("takes 'rows' or 'traces' as across, not '{text}'"))),
                }
            }
            other => {
                let other = other.map(ToString::to_string).unwrap_or_default();
                return Err(call.wrong(format!("takes 'rows' or 'traces' as across, not {other}")));
            }
        };
        let count = |name: &str| {
            let expr = argument(bound, name).map(ToString::to_string).unwrap_or_default();
            let count = expr.parse().ok().filter(|count| (1..=SHOWN_MAX).contains(count));
            count.ok_or_else(|| {
                call.wrong(format!("takes a number from 1 to {SHOWN_MAX} as {name}, not {expr}"))
            })
        };
        let (values, shown) = (count("values")?, count("keys")?);
        let baseline = argument(bound, "baseline").filter(|expr| !is_null(expr));
        let mut mentioned = Mentioned(HashSet::new());
        for condition in argument(bound, "selection").into_iter().chain(baseline) {
            let _ = Visit::visit(condition, &mut mentioned);
        }
        let node = self.probe(bound)?;
        let nodes = &self.nodes;
        let Some(declared) = nodes.star(node) else {
            return Err(
                call.wrong("cannot compare a source whose columns are not known: name them in a query")
            );
        };
        let has = |name: &str| nodes.declares(node, name) || nodes.offers_core(node, name);
        let dictionary = self.context.keys;
        let is_rows = across == Across::Rows;
        if !is_rows && !has("trace_id") {
            return Err(call.wrong("needs a source with trace_id to compare across traces"));
        }
        let (offers, all) = (|name: &str| nodes.offers_core(node, name), |_: &str| true);
        let keys = Keys {
            without: mentioned.0,
            declared: if is_rows { declared } else { Vec::new() },
            offers: if is_rows { &offers } else { &all },
            attributes: (!is_rows || nodes.is_open(node)).then_some(dictionary),
        };
        let mut keys = keys.list();
        let form = Form {
            has_baseline: baseline.is_some(),
            has_timestamp: has("timestamp"),
            has_service: dictionary.lookup("service.name").is_some(),
        };
        if keys.len() > COMPARED_MAX {
            let all = keys.len();
            keys.truncate(COMPARED_MAX);
            self.warnings.push(format!("explain_diff compares only the first {COMPARED_MAX} of {all} keys"));
        }
        Ok((Settings { across, values, shown, keys }, form))
    }

    /// Resolves a copy of the source, to know its columns.
    fn probe(&mut self, bound: &Bound<'_>) -> Result<NodeId> {
        let mut query = build::query_of(build::select_all(build::table("source")));
        put(&mut query, bound);
        self.scopes.push(Scope::default());
        let node = self.resolve_view(&mut query, Names::OfCaller);
        self.scopes.pop();
        node
    }
}

fn argument<'a>(bound: &'a Bound<'_>, name: &str) -> Option<&'a Expr> {
    bound.iter().find(|(parameter, _)| parameter.name == name).map(|(_, expr)| expr)
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Null, .. }))
}

/// Names in conditions, in lower case, with and without a table in front.
struct Mentioned(HashSet<String>);

impl Mentioned {
    fn add(&mut self, idents: &[Ident]) {
        self.0.insert(Name::new(idents).exact.to_lowercase());
    }
}

impl Visitor for Mentioned {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.add(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) => {
                self.add(idents);
                self.add(&idents[1..]);
            }
            // `attributes['http.route']`
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Subscript(Subscript::Index { index }) = access
                        && let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(key), .. }) =
                            index
                    {
                        self.0.insert(key.to_lowercase());
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Puts a query in the place of [`DIFFERENCES`].
struct Insert(Option<Query>);

impl VisitorMut for Insert {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let is_it = matches!(factor, TableFactor::Table { name, .. } if name.to_string() == DIFFERENCES);
        if let Some(query) = is_it.then(|| self.0.take()).flatten() {
            *factor = derived(query, Some(alias_of(DIFFERENCES)));
        }
        ControlFlow::Continue(())
    }
}
