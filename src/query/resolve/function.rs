//! Functions that are defined in SQL: `trace('…')`, `heatmap(spans, duration_ns)`.
//!
//! Such a function is a macro: its arguments are put into a copy of its query, which then is resolved like a view.
//!
//! | parameter  | argument                                        | in the query                            |
//! |------------|-------------------------------------------------|-----------------------------------------|
//! | source     | a name of a table, or a subquery in parentheses | `FROM source`                           |
//! | constant   | a value, `$1`, or an interval                   | `$name`                                 |
//! | expression | any expression over the columns of the source   | `$name`                                 |
//! | list       | an expression, or several in parentheses        | `$name` in SELECT and in GROUP BY, and its [forms](ListForm) |
//! | name       | an attribute or column, or its name as text     | `$name`                                 |
//!
//! Arguments come in the order of the parameters, or by name: `step => interval '1 hour'`. Those with a default may
//! be left out.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, ObjectName, Select, SelectItem,
    Subscript, TableFactor, TableFunctionArgs, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
    WindowType,
};

use super::errors::{at, nearest, position};
use super::scope::{Name, alias_of, derived, normalise};
use crate::error::{Error, Result};
use crate::query::language::build;
use crate::query::views::{Function, Kind, Parameter};

/// Name of the table in the query of a function that stands for its source.
const SOURCE: &str = "source";

/// Puts the arguments of a call into `part`, a copy of the query of `function`.
pub(super) fn substitute(
    part: &mut impl VisitMut,
    function: &Function,
    ident: &Ident,
    args: &TableFunctionArgs,
) -> Result<()> {
    let bound = Call { function, ident }.bind(args)?;
    put(part, &bound);
    Ok(())
}

/// Puts arguments in the place of their parameters.
pub(super) fn put(part: &mut impl VisitMut, bound: &Bound<'_>) {
    let _ = part.visit(&mut Substitute { bound });
}

/// Says of an unknown column that only the text of `function` names that its source lacks it.
pub(super) fn lacks_column(error: Error, function: &Function, ident: &Ident) -> Error {
    let is_of_function = error.position().is_none() && error.message().starts_with("unknown column");
    if !is_of_function || !function.has_source() {
        return error;
    }
    let start = ident.span.start;
    let place = at(start);
    let hint = format!(
        "; {}(…){place} needs it of its source: events, a view of them, or SELECT * of these",
        function.name
    );
    error.followed_by(hint).at(position(start))
}

/// Arguments by parameter.
pub(super) type Bound<'a> = Vec<(&'a Parameter, Expr)>;

/// A call of a function in a statement.
pub(super) struct Call<'a> {
    pub(super) function: &'a Function,
    pub(super) ident: &'a Ident,
}

impl<'a> Call<'a> {
    /// Checks the arguments, and adds the defaults.
    pub(super) fn bind(&self, args: &TableFunctionArgs) -> Result<Bound<'a>> {
        let parameters = &self.function.parameters;
        let mut bound: Bound<'a> = Vec::with_capacity(parameters.len());
        for (place, arg) in args.args.iter().enumerate() {
            let (parameter, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    (parameters.get(place).ok_or_else(|| self.wrong_count(args.args.len()))?, expr)
                }
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    (self.parameter(name)?, expr)
                }
                other => return Err(self.wrong(format!("does not take {other}"))),
            };
            if bound.iter().any(|(other, _)| other.name == parameter.name) {
                return Err(self.wrong(format!("takes {} once", parameter.name)));
            }
            self.check(parameter, expr)?;
            bound.push((parameter, named(parameter, expr)));
        }
        for parameter in parameters {
            if bound.iter().any(|(other, _)| other.name == parameter.name) {
                continue;
            }
            match &parameter.default {
                Some(default) => bound.push((parameter, default.clone())),
                None => return Err(self.wrong_count(args.args.len())),
            }
        }
        Ok(bound)
    }

    /// The parameter that an argument names.
    fn parameter(&self, name: &Ident) -> Result<&'a Parameter> {
        let parameters = &self.function.parameters;
        let named = normalise(name);
        parameters.iter().find(|parameter| parameter.name == named).ok_or_else(|| {
            let names = parameters.iter().map(|parameter| parameter.name);
            let hint =
                nearest(&named, names.clone(), 1).first().map(|near| format!(": did you mean {near}?"));
            let all = || format!(": it has {}", names.collect::<Vec<_>>().join(", "));
            self.wrong(format!("has no parameter {name}{}", hint.unwrap_or_else(all)))
        })
    }

    fn check(&self, parameter: &Parameter, expr: &Expr) -> Result<()> {
        let is_source = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_));
        match parameter.kind {
            Kind::Constant if !is_constant(expr) => Err(self.wrong(format!(
                "takes a value or a parameter such as $1, not {expr}; text is written in single quotes"
            ))),
            Kind::Source if !is_source => Err(self.wrong(format!(
                "takes the name of a table as {}, or a query in parentheses, not {expr}",
                parameter.name
            ))),
            Kind::Name if !is_name(expr) => Err(self.wrong(format!(
                "takes the name of an attribute as {}, such as http.route or 'http.route', not {expr}",
                parameter.name
            ))),
            Kind::Constant | Kind::Source | Kind::Expression | Kind::List | Kind::Name => Ok(()),
        }
    }

    fn wrong_count(&self, given: usize) -> Error {
        let parameters = &self.function.parameters;
        let needed = parameters.iter().filter(|parameter| parameter.default.is_none()).count();
        let plural = |count| if count == 1 { "" } else { "s" };
        let takes = if needed == parameters.len() {
            format!("{needed} argument{}", plural(needed))
        } else {
            format!("{needed} to {} arguments", parameters.len())
        };
        let names: Vec<_> = parameters.iter().map(|parameter| parameter.name).collect();
        self.wrong(format!("takes {takes} ({}), not {given}", names.join(", ")))
    }

    /// An error about the call, at its place.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        let start = self.ident.span.start;
        Error::invalid(format!("{}(…){} {what}", self.function.name, at(start))).at(position(start))
    }
}

fn is_name(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::SingleQuotedString(_)),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => true,
        _ => false,
    }
}

/// An argument as its parameter reads it: a text in the place of a name is the name.
fn named(parameter: &Parameter, expr: &Expr) -> Expr {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. })
            if parameter.kind == Kind::Name =>
        {
            build::name(text)
        }
        other => other.clone(),
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Interval(interval) => is_constant(&interval.value),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_constant(expr),
        _ => false,
    }
}

/// Replaces parameters by arguments. Arguments are not searched for parameters.
struct Substitute<'a> {
    bound: &'a Bound<'a>,
}

impl Substitute<'_> {
    fn argument(&self, expr: &Expr) -> Option<(&Parameter, &Expr)> {
        let name = placeholder(expr)?;
        let (parameter, argument) = self.bound.iter().find(|(parameter, _)| parameter.name == name)?;
        Some((*parameter, argument))
    }

    /// The form of a list that `expr` stands for, and the expressions of the list.
    fn list(&self, expr: &Expr) -> Option<(ListForm, Vec<Expr>)> {
        let name = placeholder(expr)?;
        let of_form = |form: ListForm| {
            let name = name.strip_suffix(form.suffix())?;
            let is_it = |parameter: &Parameter| parameter.name == name && parameter.kind == Kind::List;
            let (_, argument) = self.bound.iter().find(|(parameter, _)| is_it(parameter))?;
            Some((form, listed(argument)))
        };
        ListForm::ALL.into_iter().find_map(of_form)
    }

    /// Puts lists in the place of their parameters in GROUP BY or PARTITION BY.
    fn put_lists(&self, exprs: &mut Vec<Expr>) {
        let all = std::mem::take(exprs);
        for expr in all {
            match self.list(&expr) {
                Some((form, list)) => {
                    exprs.extend(list.into_iter().zip(1..).map(|(expr, i)| form.expr(expr, i)));
                }
                None => exprs.push(expr),
            }
        }
    }
}

/// Name of the parameter that `expr` is.
fn placeholder(expr: &Expr) -> Option<&str> {
    let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr else { return None };
    name.strip_prefix('$')
}

/// The expressions of a list.
fn listed(argument: &Expr) -> Vec<Expr> {
    match argument {
        Expr::Tuple(exprs) => exprs.clone(),
        Expr::Nested(expr) => vec![expr.as_ref().clone()],
        other => vec![other.clone()],
    }
}

/// Form of a list in a query of several levels: `$by_as` names its columns, outer levels refer to them by
/// `$by_numbered`, and the outermost gives them the names that people expect, by `$by_named`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListForm {
    /// `$by`: the expressions.
    Given,
    /// `$by_as`: `expression AS "by 1", …`.
    As,
    /// `$by_numbered`: `"by 1", …`.
    Numbered,
    /// `$by_named`: `"by 1" AS expression, …`.
    Named,
}

impl ListForm {
    const ALL: [Self; 4] = [Self::As, Self::Numbered, Self::Named, Self::Given];

    fn suffix(self) -> &'static str {
        match self {
            Self::Given => "",
            Self::As => "_as",
            Self::Numbered => "_numbered",
            Self::Named => "_named",
        }
    }

    fn expr(self, expr: Expr, number: usize) -> Expr {
        if matches!(self, Self::Given | Self::As) { expr } else { build::name(&numbered(number)) }
    }

    fn item(self, expr: Expr, number: usize) -> SelectItem {
        match self {
            Self::Given | Self::Numbered => SelectItem::UnnamedExpr(self.expr(expr, number)),
            Self::As => build::aliased(expr, &numbered(number)),
            Self::Named => build::aliased(build::name(&numbered(number)), &label(&expr)),
        }
    }
}

/// Name of a column of a list inside of a query.
fn numbered(number: usize) -> String {
    format!("by {number}")
}

/// Name of the column of an expression: that of its attribute, else its text.
fn label(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(idents) => Name::new(idents).exact,
        Expr::Nested(expr) => label(expr),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.as_slice() {
            [AccessExpr::Subscript(Subscript::Index { index: Expr::Value(key) })] => match &key.value {
                Value::SingleQuotedString(key) => key.clone(),
                _ => expr.to_string(),
            },
            _ => expr.to_string(),
        },
        other => other.to_string(),
    }
}

impl VisitorMut for Substitute<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((parameter, argument)) = self.argument(expr)
            && parameter.kind != Kind::List
        {
            *expr = build::operand(argument.clone());
        }
        if let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(window)) = &mut function.over
        {
            self.put_lists(&mut window.partition_by);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let is_source =
            matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|i| i.value == SOURCE));
        let source = self.bound.iter().find(|(parameter, _)| parameter.kind == Kind::Source);
        if let (true, Some((_, argument))) = (is_source, source) {
            match argument {
                Expr::Identifier(ident) => *name = ObjectName::from(vec![ident.clone()]),
                Expr::CompoundIdentifier(idents) => *name = ObjectName::from(idents.clone()),
                Expr::Subquery(query) => {
                    let alias = alias.take().unwrap_or_else(|| alias_of(SOURCE));
                    *factor = derived(query.as_ref().clone(), Some(alias));
                }
                // Refused when it was bound.
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let items = std::mem::take(&mut select.projection);
        for item in items {
            match &item {
                SelectItem::UnnamedExpr(expr) => match self.list(expr) {
                    Some((form, list)) => {
                        let items = list.into_iter().zip(1..).map(|(expr, i)| form.item(expr, i));
                        select.projection.extend(items);
                    }
                    None => select.projection.push(item),
                },
                _ => select.projection.push(item),
            }
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            self.put_lists(exprs);
        }
        ControlFlow::Continue(())
    }
}
