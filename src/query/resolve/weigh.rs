//! Aggregates under sampling: plain ones where `SET weighted = on`, and `estimate(…)` always.
//!
//! A sampled event stands for `sample_weight` events. Where weighing is on, an aggregate over a relation with that column
//! becomes an estimate of what it would be over all events:
//!
//! | written              | becomes                                                       |
//! |----------------------|---------------------------------------------------------------|
//! | `count(*)`           | `coalesce(sum(w), 0.0)`                                       |
//! | `count(x)`           | the same over the rows with x                                 |
//! | `sum(x)`             | `sum(x * w)`                                                  |
//! | `avg(x)`             | `sum(x * w) / sum(w)`, both over the rows with x              |
//! | `p99(x)`, `quantile` | the same with w as weight                                     |
//! | `approx_distinct(x)` | `estimated_distinct(x, trace_id, w)`                          |
//! | `estimate(count(*))` | `estimated_count(trace_id, w)`, and so on                     |
//!
//! An aggregate that names `sample_weight` weighs by itself and is left as it is; so are `min`, `max` and others that
//! return something of a row. Aggregates that cannot be estimated, such as `stddev` or `count(DISTINCT x)`, are refused.
//! Views and functions that are defined in SQL say themselves how they weigh.
//!
//! `exemplar(x)` is a row at random, in proportion to its weight, with or without weighing: the one with the greatest
//! ln(u)/w, u being uniform between 0 and 1 (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006).

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, Value, visit_expressions,
};

use super::Resolver;
use super::errors::{at, position};
use super::node::Hidden;
use super::scope::{Name, Relation, column};
use crate::error::{Error, Result};
use crate::event::schema::column::{SAMPLE_WEIGHT, TRACE_ID};
use crate::query::estimate::{ESTIMATED_DISTINCT, Estimated};
use crate::query::language::build::{binary, call};

/// Name of the function that gives bounds.
const ESTIMATE: &str = "estimate";

/// Quantiles with one argument.
const QUANTILES: [(&str, &str); 6] =
    [("p50", "0.5"), ("p75", "0.75"), ("p90", "0.9"), ("p95", "0.95"), ("p99", "0.99"), ("p999", "0.999")];

/// Aggregates without an estimate, and the way out. Those that begin like this.
const REFUSED: [(&str, &str); 10] = [
    ("approx_median", "p50(x)"),
    ("approx_percentile_cont", "quantile(x, 0.99)"),
    ("percentile_cont", "quantile(x, 0.99)"),
    ("quantile_cont", "quantile(x, 0.99)"),
    ("median", "p50(x)"),
    ("stddev", ""),
    ("var", ""),
    ("covar", ""),
    ("corr", ""),
    ("regr_", ""),
];

impl Resolver<'_> {
    /// Turns a call of an aggregate into an estimate, where that is asked for.
    pub(super) fn weigh(&mut self, expr: &mut Expr) -> Result<()> {
        let Expr::Function(function) = expr else { return Ok(()) };
        let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else { return Ok(()) };
        let (ident, name) = (ident.clone(), ident.value.to_lowercase());
        let changed = if name == ESTIMATE {
            Some(self.estimate(function, &ident)?)
        } else if name == "exemplar" && arguments(function).is_some_and(|args| args.len() == 1) {
            Some(self.at_random(function)?)
        } else if self.is_weighted && self.view_depth == 0 && !names_weight(function) {
            self.weighted(function, &ident, &name)?
        } else {
            None
        };
        if let Some(changed) = changed {
            *expr = changed;
        }
        Ok(())
    }

    /// The relation in the innermost FROM whose rows have weights; `None` if there is none.
    fn weighing(&self, ident: &Ident) -> Result<Option<Relation>> {
        let relations = self.scopes.last().map_or(&[][..], |scope| scope.relations.as_slice());
        let weighs = |relation: &&Relation| !relation.is_part && self.shows(relation, SAMPLE_WEIGHT);
        let found: Vec<&Relation> = relations.iter().filter(weighs).collect();
        match found.as_slice() {
            [] => Ok(None),
            [relation] => Ok(Some((*relation).clone())),
            several => {
                let aliases: Vec<_> =
                    several.iter().map(|r| format!("{}.{SAMPLE_WEIGHT}", r.alias)).collect();
                let message = format!(
                    "{}(…){}: a row has several weights, {}: say which one counts, as in sum({}), or SET weighted = off",
                    ident.value,
                    at(ident.span.start),
                    aliases.join(" and "),
                    aliases.first().map_or("", String::as_str),
                );
                Err(Error::invalid(message).at(position(ident.span.start)))
            }
        }
    }

    fn shows(&self, relation: &Relation, name: &str) -> bool {
        self.nodes.declares(relation.node, name) || self.nodes.offers_core(relation.node, name)
    }

    /// The column `name` of a relation; NULL if it has none.
    fn column_of(&mut self, relation: &Relation, name: &str, ident: &Ident) -> Result<Expr> {
        if !self.shows(relation, name) {
            return Ok(Expr::Value(Value::Null.into()));
        }
        if !self.nodes.declares(relation.node, name) {
            let at = Name::new(&[Ident::with_span(ident.span, name)]);
            self.demand(relation.node, &Hidden::Core(name.to_owned()), &at)?;
        }
        Ok(column(&relation.alias, name))
    }

    fn weighted(&mut self, function: &Function, ident: &Ident, name: &str) -> Result<Option<Expr>> {
        let is_quantile = QUANTILES.iter().any(|(quantile, _)| *quantile == name);
        let refused = REFUSED.iter().find(|(refused, _)| name.starts_with(refused));
        let is_estimated =
            is_quantile || matches!(name, "count" | "sum" | "avg" | "mean" | "quantile" | "approx_distinct");
        if !is_estimated && refused.is_none() {
            return Ok(None);
        }
        let Some(relation) = self.weighing(ident)? else { return Ok(None) };
        if let Some((_, instead)) = refused {
            let instead = if instead.is_empty() { String::new() } else { format!("write {instead}, or ") };
            let why = format!("cannot be estimated from a sample: {instead}SET weighted = off");
            return Err(refuse(ident, &why));
        }
        if is_distinct(function) {
            let instead = match name {
                "count" => "write approx_distinct(x), or ",
                _ => "",
            };
            let why = format!("of DISTINCT values counts what sampling kept: {instead}SET weighted = off");
            return Err(refuse(ident, &why));
        }
        let weight = self.column_of(&relation, SAMPLE_WEIGHT, ident)?;
        let like = |name: &str, args: Vec<Expr>| with(function, name, args);
        let of = |place: usize| argument(function, place);
        Ok(Some(match name {
            "count" => {
                let sum = like("sum", vec![weight]);
                let sum = if let Some(x) = of(0) { filtered(sum, Expr::IsNotNull(Box::new(x))) } else { sum };
                call("coalesce", vec![sum, number("0.0")])
            }
            "sum" | "avg" | "mean" => {
                let Some(x) = of(0) else { return Ok(None) };
                let product = binary(x, BinaryOperator::Multiply, weight.clone());
                let sum = like("sum", vec![product.clone()]);
                if name == "sum" {
                    sum
                } else {
                    let weights = filtered(
                        like("sum", vec![weight]),
                        Expr::IsNotNull(Box::new(Expr::Nested(Box::new(product)))),
                    );
                    Expr::Nested(Box::new(binary(sum, BinaryOperator::Divide, weights)))
                }
            }
            "approx_distinct" => {
                let Some(x) = of(0) else { return Ok(None) };
                let trace = self.column_of(&relation, TRACE_ID, ident)?;
                like(ESTIMATED_DISTINCT, vec![x, trace, weight])
            }
            _ => {
                let wanted = if is_quantile { 1 } else { 2 };
                let Some(mut args) = arguments(function).filter(|args| args.len() == wanted) else {
                    return Ok(None);
                };
                args.push(weight);
                like(name, args)
            }
        }))
    }

    /// `estimate(aggregate)`.
    fn estimate(&mut self, function: &Function, ident: &Ident) -> Result<Expr> {
        let form = "takes one aggregate, such as estimate(count(*)), estimate(avg(x)) or estimate(p99(x))";
        let args = arguments(function).unwrap_or_default();
        let [Expr::Function(inner)] = args.as_slice() else { return Err(refuse(ident, form)) };
        if function.over.is_some() || inner.over.is_some() {
            return Err(refuse(ident, "is no window function: leave OVER out"));
        }
        if is_distinct(inner) {
            return Err(refuse(
                ident,
                "cannot estimate DISTINCT values: write approx_distinct(x) with SET weighted = on",
            ));
        }
        let Some(relation) = self.weighing(ident)? else {
            return Err(refuse(ident, "needs events: nothing in FROM has a sample_weight"));
        };
        let weight = self.column_of(&relation, SAMPLE_WEIGHT, ident)?;
        let trace = self.column_of(&relation, TRACE_ID, ident)?;
        let name = inner.name.to_string().to_lowercase();
        let quantile = QUANTILES.iter().find(|(quantile, _)| *quantile == name).map(|(_, q)| number(q));
        let args = arguments(inner).unwrap_or_default();
        let (of, mut args, present) = match (name.as_str(), quantile, args.as_slice()) {
            ("count", _, []) => (Estimated::Count, vec![], None),
            ("count", _, [x]) => (Estimated::Count, vec![], Some(x.clone())),
            ("sum", _, [x]) => (Estimated::Sum, vec![x.clone()], None),
            ("avg" | "mean", _, [x]) => (Estimated::Avg, vec![x.clone()], None),
            (_, Some(q), [x]) => (Estimated::Quantile, vec![x.clone(), q], None),
            ("quantile", _, [x, q]) => (Estimated::Quantile, vec![x.clone(), q.clone()], None),
            _ => return Err(refuse(ident, &format!("{form}; not {inner}"))),
        };
        args.extend([trace, weight]);
        let mut estimate = with(inner, of.function(), args);
        if let Some(filter) = &function.filter {
            estimate = filtered(estimate, (**filter).clone());
        }
        Ok(match present {
            Some(x) => filtered(estimate, Expr::IsNotNull(Box::new(x))),
            None => estimate,
        })
    }

    /// `exemplar(x)`.
    fn at_random(&mut self, function: &Function) -> Result<Expr> {
        let ident = Ident::new("exemplar");
        let weight = match self.weighing(&ident)? {
            Some(relation) => self.column_of(&relation, SAMPLE_WEIGHT, &ident)?,
            None => number("1.0"),
        };
        let rank = call("ln", vec![call("random", Vec::new())]);
        let mut args = arguments(function).unwrap_or_default();
        args.push(binary(rank, BinaryOperator::Divide, weight));
        Ok(with(function, "exemplar", args))
    }
}

fn refuse(ident: &Ident, why: &str) -> Error {
    let message = format!("{}(…){} {why}", ident.value, at(ident.span.start));
    Error::invalid(message).at(position(ident.span.start))
}

fn number(text: &str) -> Expr {
    Expr::Value(Value::Number(text.to_owned(), false).into())
}

/// A call like `function`, with its FILTER and OVER, of another function.
fn with(function: &Function, name: &str, args: Vec<Expr>) -> Expr {
    let Expr::Function(called) = call(name, args) else { return number("0") };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        args: called.args,
        null_treatment: None,
        within_group: Vec::new(),
        ..function.clone()
    })
}

/// Adds a condition to the FILTER of a call.
fn filtered(expr: Expr, condition: Expr) -> Expr {
    let Expr::Function(mut function) = expr else { return expr };
    let both = match function.filter.take() {
        Some(filter) => binary(*filter, BinaryOperator::And, condition),
        None => condition,
    };
    function.filter = Some(Box::new(both));
    Expr::Function(function)
}

/// Arguments without a name; `*` is none. `None` if there are others.
fn arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(Some(expr.clone())),
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Some(None),
        _ => None,
    };
    let args: Option<Vec<Option<Expr>>> = list.args.iter().map(plain).collect();
    Some(args?.into_iter().flatten().collect())
}

fn argument(function: &Function, place: usize) -> Option<Expr> {
    arguments(function)?.into_iter().nth(place)
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// True if a call names the weight itself.
fn names_weight(function: &Function) -> bool {
    let is_weight = |expr: &Expr| {
        let last = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(idents) => idents.last(),
            _ => None,
        };
        last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(SAMPLE_WEIGHT))
    };
    let found = visit_expressions(function, |expr: &Expr| {
        if is_weight(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}
