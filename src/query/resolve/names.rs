//! Which column or attribute does a name in an expression mean?
//!
//! The rules do not depend on the existing attributes, so that new data never changes the meaning of a working
//! statement. A name is the first of these that applies:
//!
//! 1. an alias of a relation followed by a name in it (`s.http.route`);
//! 2. a declared column, innermost scope first (in ORDER BY the select list's names come before them, in
//!    GROUP BY, HAVING and QUALIFY its explicit aliases after the innermost ones);
//! 3. `attributes.` followed by a key;
//! 4. a field of a declared column of a relation that has no attributes;
//! 5. a core column that an open relation does not show in `*`;
//! 6. the key of an attribute of the one open relation of the innermost scope that has any, or such a key and
//!    a path in the list or map that it holds ([`nested`](super::nested)).
//!
//! If a relation in scope has columns that only the planner knows, an undeclared unqualified name is left to
//! the planner.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectNamePart, Query, SetExpr, Subscript, UnaryOperator, Value, ValueWithSpan, Values, VisitMut,
    VisitorMut,
};
use sqlparser::tokenizer::Location;

use super::Resolver;
use super::errors::{at, nearest, position, unknown};
use super::nested::{Readings, fields_of, read_arguments, read_operands};
use super::node::{Hidden, Node, NodeId, SeveralSources};
use super::scope::{Name, Relation, column, is_resolved, leave, normalise, resolved};
use super::select::Output;
use crate::error::{Error, Result};
use crate::event::schema;
use crate::query::functions::{SEARCH, UNARY_MINUS};
use crate::query::language::build::{self, call};

/// Part of a `SELECT` that an expression is in.
#[derive(Clone, Copy)]
pub(super) enum Clause<'a> {
    /// Select list, WHERE, ON: columns of FROM.
    Input,
    /// GROUP BY, HAVING, QUALIFY: then explicit aliases of the select list.
    Grouping(&'a [Output]),
    /// ORDER BY: names of the select list first.
    Ordering(&'a [Output]),
}

/// Meaning of a name.
pub(super) struct Meaning {
    pub(super) expr: Expr,
    /// Name of the column that an unaliased select item of this name yields.
    pub(super) output: String,
    /// True if the expression is a column that the planner would name `output` without an alias.
    pub(super) is_plain: bool,
}

impl Meaning {
    fn plain(expr: Expr, output: impl Into<String>) -> Self {
        Self { expr, output: output.into(), is_plain: true }
    }

    pub(super) fn named(expr: Expr, output: impl Into<String>) -> Self {
        Self { expr, output: output.into(), is_plain: false }
    }
}

impl Resolver<'_> {
    /// Resolves every name of an expression, and the subqueries in it.
    pub(super) fn resolve_expr(&mut self, expr: &mut Expr, clause: Clause<'_>) -> Result<()> {
        let mut visitor = ExprVisitor { resolver: self, clause, held: Vec::new() };
        match expr.visit(&mut visitor) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }

    /// Returns the meaning of an expression that is a name; `None` for any other expression.
    pub(super) fn resolve_if_name(&mut self, expr: &Expr, clause: Clause<'_>) -> Result<Option<Meaning>> {
        match expr {
            Expr::Identifier(ident) => self.resolve_name(std::slice::from_ref(ident), clause).map(Some),
            Expr::CompoundIdentifier(idents) => self.resolve_name(idents, clause).map(Some),
            Expr::CompoundFieldAccess { root, access_chain } if access_chain.len() == 1 => {
                self.resolve_subscript(root, &access_chain[0])
            }
            _ => Ok(None),
        }
    }

    pub(super) fn resolve_name(&mut self, idents: &[Ident], clause: Clause<'_>) -> Result<Meaning> {
        if let Some((depth, relation, rest)) = self.qualifier(idents) {
            return self.resolve_qualified(depth, relation, idents, &idents[rest..]);
        }
        let name = Name::new(idents);
        if let Some(meaning) = self.declared(&name, idents, clause)? {
            return Ok(meaning);
        }
        if let Some(key) = key_after_attributes(idents) {
            return self.attribute_named(&idents[1..], &key)?.ok_or_else(|| self.unknown_column(&key));
        }
        if let Some(meaning) = self.field_of_declared(idents) {
            return Ok(meaning);
        }
        if let Some(meaning) = self.hidden_core(&name)? {
            return Ok(meaning);
        }
        self.attribute_named(idents, &name)?.ok_or_else(|| self.unknown_column(&name))
    }

    /// Finds the relation that the name begins with: depth of its scope, its index, number of parts.
    fn qualifier(&self, idents: &[Ident]) -> Option<(usize, usize, usize)> {
        let parts: Vec<_> = idents.iter().map(normalise).collect();
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            for length in 1..idents.len().min(4) {
                let called = |r: &Relation| r.is_called(&parts[..length]);
                if let Some(index) = scope.relations.iter().position(called) {
                    return Some((depth, index, length));
                }
            }
        }
        None
    }

    fn resolve_qualified(
        &mut self,
        depth: usize,
        index: usize,
        idents: &[Ident],
        rest: &[Ident],
    ) -> Result<Meaning> {
        let relation = self.scopes[depth].relations[index].clone();
        let (node, alias) = (relation.node, relation.alias.as_str());
        let name = Name { at: Name::new(idents).at, ..Name::new(rest) };
        if self.nodes.is_opaque(node) {
            return Ok(left_to_planner(idents));
        }
        if self.nodes.declares(node, &name.folded) {
            return Ok(Meaning::plain(column(alias, &name.folded), name.folded));
        }
        let first = normalise(&rest[0]);
        if rest.len() > 1 && !self.nodes.is_open(node) && self.nodes.declares(node, &first) {
            return Ok(Meaning::named(fields_of(alias, &first, &rest[1..]), name.folded));
        }
        if self.nodes.is_open(node) {
            let key = key_after_attributes(rest);
            if key.is_none() && self.nodes.offers_core(node, &name.folded) {
                let hidden = Hidden::Core(name.folded.clone());
                self.demand(node, &hidden, &name)?;
                return Ok(Meaning::plain(column(alias, &name.folded), name.folded));
            }
            let idents = if key.is_some() { &rest[1..] } else { rest };
            if let Some(readings) = self.readings(idents, key.as_ref().unwrap_or(&name)) {
                return self.attribute_or_nested(depth, index, &readings, &name);
            }
        }
        Err(self.unknown_in_relation(&relation.path, node, &name, idents))
    }

    /// Finds a column that the select list or a relation declares.
    fn declared(&mut self, name: &Name, idents: &[Ident], clause: Clause<'_>) -> Result<Option<Meaning>> {
        if let Clause::Ordering(outputs) = clause
            && let Some(output) = outputs.iter().find(|o| o.name == name.folded)
        {
            return Ok(Some(Meaning::plain(output.reference(), &name.folded)));
        }
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            if let Some(merged) = scope.merged.iter().find(|m| m.name == name.folded) {
                return Ok(Some(Meaning::named(merged.expr.clone(), &name.folded)));
            }
            let relations: Vec<_> = scope
                .relations
                .iter()
                .filter(|r| !r.is_part && self.nodes.declares(r.node, &name.folded))
                .collect();
            match relations.as_slice() {
                [] => {}
                [relation] => {
                    let expr = column(&relation.alias, &name.folded);
                    return Ok(Some(Meaning::plain(expr, &name.folded)));
                }
                several => {
                    return Err(ambiguous(name, several.iter().map(|r| r.alias.as_str())));
                }
            }
            if depth + 1 == self.scopes.len()
                && let Clause::Grouping(outputs) = clause
                && let Some(output) = outputs.iter().find(|o| o.is_explicit && o.name == name.folded)
            {
                return Ok(Some(Meaning::plain(Expr::Identifier(resolved(&output.name)), &name.folded)));
            }
            if scope.relations.iter().any(|r| self.nodes.is_opaque(r.node)) {
                return Ok(Some(left_to_planner(idents)));
            }
        }
        Ok(None)
    }

    /// Finds `column.field`, if only closed relations declare the column. Open relations have no nested columns
    /// that a name could reach, so there the name is a key.
    fn field_of_declared(&self, idents: &[Ident]) -> Option<Meaning> {
        let (first, fields) = idents.split_first()?;
        if fields.is_empty() {
            return None;
        }
        let first = normalise(first);
        let relation = self.scopes.iter().rev().find_map(|scope| {
            let declares = |r: &&Relation| !self.nodes.is_open(r.node) && self.nodes.declares(r.node, &first);
            scope.relations.iter().find(declares)
        })?;
        Some(Meaning::named(fields_of(&relation.alias, &first, fields), Name::new(idents).folded))
    }

    /// Finds a core column that an open relation has although its `*` leaves it out.
    fn hidden_core(&mut self, name: &Name) -> Result<Option<Meaning>> {
        for depth in (0..self.scopes.len()).rev() {
            let relations = self.scopes[depth].relations.iter();
            let offering: Vec<_> =
                relations.filter(|r| self.nodes.offers_core(r.node, &name.folded)).cloned().collect();
            match offering.as_slice() {
                [] => {}
                [relation] => {
                    self.demand(relation.node, &Hidden::Core(name.folded.clone()), name)?;
                    let expr = column(&relation.alias, &name.folded);
                    return Ok(Some(Meaning::plain(expr, &name.folded)));
                }
                several => return Err(ambiguous(name, several.iter().map(|r| r.alias.as_str()))),
            }
        }
        Ok(None)
    }

    /// Finds the attribute that a name means, or the entry of one.
    fn attribute_named(&mut self, idents: &[Ident], name: &Name) -> Result<Option<Meaning>> {
        match self.readings(idents, name) {
            Some(readings) => self.attribute_in_scope(&readings, name),
            None => Ok(None),
        }
    }

    /// The same, of the only open relation in the innermost scope that has one.
    fn attribute_in_scope(&mut self, readings: &Readings, name: &Name) -> Result<Option<Meaning>> {
        for depth in (0..self.scopes.len()).rev() {
            let scope = &self.scopes[depth];
            if let Some(merged) = scope.merged.iter().find(|m| Some(&m.name) == readings.flat.as_ref()) {
                return Ok(Some(Meaning::named(merged.expr.clone(), &merged.name)));
            }
            let is_open = |(_, r): &(usize, &Relation)| self.nodes.is_open(r.node);
            let open: Vec<_> = scope.relations.iter().enumerate().filter(is_open).collect();
            match open.as_slice() {
                [] => {}
                [(index, _)] => {
                    let index = *index;
                    return self.attribute_or_nested(depth, index, readings, name).map(Some);
                }
                several => return Err(ambiguous(name, several.iter().map(|(_, r)| r.alias.as_str()))),
            }
        }
        Ok(None)
    }

    pub(super) fn attribute_of(
        &mut self,
        depth: usize,
        index: usize,
        key: &str,
        name: &Name,
    ) -> Result<Meaning> {
        let relation = &self.scopes[depth].relations[index];
        let (node, alias) = (relation.node, relation.alias.clone());
        let hidden = Hidden::Attribute(key.to_owned());
        self.demand(node, &hidden, name)?;
        Ok(Meaning::named(column(&alias, hidden.column()), key))
    }

    pub(super) fn demand(&mut self, node: NodeId, hidden: &Hidden, name: &Name) -> Result<()> {
        self.nodes.demand(node, hidden).map_err(|SeveralSources(sources)| {
            Error::invalid(format!(
                "column \"{}\"{} is ambiguous: the * that would provide it reads {}; select it there, \
                 for example {}.{}",
                name.exact,
                at(name.at),
                sources.join(" and "),
                sources.first().map_or("", String::as_str),
                name.exact,
            ))
            .at(position(name.at))
        })
    }

    /// Finds the key that a name means: the exact one, or the only one that differs in case.
    pub(super) fn known_key(&self, name: &Name) -> Option<String> {
        let keys = self.context.keys;
        let exact = keys.lookup(&name.exact);
        let found = exact.or_else(|| if name.quoted { None } else { keys.lookup_ignore_case(&name.exact) });
        found.map(|attribute| attribute.name)
    }

    /// `attributes['k']`, `s.attributes['k']`: the key of an open relation, known or not.
    fn resolve_subscript(&mut self, root: &Expr, access: &AccessExpr) -> Result<Option<Meaning>> {
        let idents = match root {
            Expr::Identifier(ident) => std::slice::from_ref(ident),
            Expr::CompoundIdentifier(idents) => idents.as_slice(),
            _ => return Ok(None),
        };
        let (Some((last, qualifier)), Some((key, quoted_at))) = (idents.split_last(), literal_key(access))
        else {
            return Ok(None);
        };
        if is_resolved(last) || normalise(last) != schema::ATTRIBUTES {
            return Ok(None);
        }
        let name = Name { exact: key.clone(), folded: key.clone(), quoted: true, at: quoted_at };
        let target = if qualifier.is_empty() {
            self.attributes_in_scope(&name)?
        } else {
            self.qualifier(idents).filter(|(_, _, length)| *length == qualifier.len()).map(|(d, i, _)| (d, i))
        };
        let Some((depth, index)) = target else { return Ok(None) };
        if !self.nodes.is_open(self.scopes[depth].relations[index].node) {
            return Ok(None);
        }
        if self.context.keys.lookup(&key).is_none() {
            self.warn_unknown_key(&key);
        }
        self.attribute_of(depth, index, &key, &name).map(Some)
    }

    /// Finds the relation whose `attributes` an unqualified `attributes['k']` means.
    fn attributes_in_scope(&self, name: &Name) -> Result<Option<(usize, usize)>> {
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            let has = |(_, r): &(usize, &Relation)| {
                self.nodes.is_open(r.node) || self.nodes.declares(r.node, schema::ATTRIBUTES)
            };
            let having: Vec<_> = scope.relations.iter().enumerate().filter(has).collect();
            match having.as_slice() {
                [] => {}
                [(index, _)] => return Ok(Some((depth, *index))),
                several => {
                    let name = Name { exact: format!("attributes['{}']", name.exact), ..name.clone() };
                    return Err(ambiguous(&name, several.iter().map(|(_, r)| r.alias.as_str())));
                }
            }
        }
        Ok(None)
    }

    fn warn_unknown_key(&mut self, key: &str) {
        if self.view_depth > 0 {
            return; // Not what the person wrote.
        }
        let nearest = self.context.keys.nearest(key, 2);
        let hint = if nearest.is_empty() { String::new() } else { format!("; near: {}", nearest.join(", ")) };
        let warning = format!("no event has the attribute '{key}': it reads as null{hint}");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn unknown_column(&self, name: &Name) -> Error {
        let relations = || self.scopes.iter().flat_map(|s| &s.relations);
        let any_open = relations().any(|r| self.nodes.is_open(r.node));
        let columns: Vec<_> = relations().flat_map(|r| self.column_names(r.node)).collect();
        let mut found = nearest(&name.exact, columns.iter().map(String::as_str), 2);
        if any_open {
            for key in self.context.keys.nearest(&name.exact, 3) {
                if !found.contains(&key) && found.len() < 3 {
                    found.push(key);
                }
            }
        }
        let error = unknown("column", &name.exact, name.at, &found);
        if !found.is_empty() {
            return error;
        }
        if self.known_key(name).is_some() && relations().next().is_some() && !any_open {
            let lists: Vec<_> = relations().map(|r| self.describe(&r.path, r.node)).collect();
            return error.followed_by(format!(": {}", lists.join("; ")));
        }
        if name.quoted && !name.exact.contains('.') {
            return error.followed_by(": text is written in single quotes");
        }
        error
    }

    fn unknown_in_relation(&self, path: &[String], node: NodeId, name: &Name, idents: &[Ident]) -> Error {
        let mut found = nearest(&name.exact, self.column_names(node).iter().map(String::as_str), 2);
        if self.nodes.is_open(node) {
            let keys = self.context.keys.nearest(&name.exact, 2);
            found.extend(keys.into_iter().filter(|key| !schema::is_reserved(key)));
        }
        let whole = Name::new(idents);
        if let Some(key) = self.known_key(&whole) {
            return Error::invalid(format!(
                "unknown column \"{}\" in {}{}: for the attribute write \"{key}\" in double quotes",
                name.exact,
                path.join("."),
                at(name.at),
            ))
            .at(position(name.at));
        }
        let what = format!("column of {}", path.join("."));
        let error = unknown(&what, &name.exact, name.at, &found);
        if found.is_empty() && !self.nodes.is_open(node) {
            return error.followed_by(format!(": {}", self.describe(path, node)));
        }
        error
    }

    fn column_names(&self, node: NodeId) -> Vec<String> {
        match self.nodes.get(node) {
            Node::Base => {
                let core = schema::core_columns().iter().map(|c| c.field.name().as_str());
                core.chain([schema::TYPED_ATTRIBUTES]).map(str::to_owned).collect()
            }
            _ => self.nodes.star(node).unwrap_or_default(),
        }
    }

    fn describe(&self, path: &[String], node: NodeId) -> String {
        let mut columns = self.column_names(node);
        let more = if columns.len() > 20 { ", …" } else { "" };
        columns.truncate(20);
        format!("{} has a fixed list of columns ({}{more})", path.join("."), columns.join(", "))
    }

    /// Refuses unknown functions, if the context lists the known ones.
    fn check_function(&self, function: &Function) -> Result<()> {
        let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else { return Ok(()) };
        let name = ident.value.to_lowercase();
        let known = self.context.functions;
        if known.is_empty() || BY_PLANNER.contains(&name.as_str()) || known.contains(&name) {
            return Ok(());
        }
        let found = nearest(&name, known.iter().map(String::as_str), 3);
        Err(unknown("function", &ident.value, ident.span.start, &found))
    }
}

/// Functions that the planner knows although no registry lists them.
const BY_PLANNER: [&str; 2] = ["unnest", "unnest_outer"];

/// Functions that SQL calls without parentheses.
const BARE: [&str; 6] =
    ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "now"];

/// The column meant by `user` and similar words, which the parser reads as function calls.
fn bare_column(function: &Function) -> Option<Ident> {
    let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else { return None };
    let is_call = !matches!(function.args, FunctionArguments::None)
        || BARE.contains(&ident.value.to_lowercase().as_str());
    if is_call { None } else { Some(ident.clone()) }
}

fn ambiguous<'a>(name: &Name, aliases: impl Iterator<Item = &'a str>) -> Error {
    let spellings: Vec<_> = aliases.map(|alias| format!("{alias}.{}", name.exact)).collect();
    Error::invalid(format!(
        "column \"{}\"{} is ambiguous: write {}",
        name.exact,
        at(name.at),
        spellings.join(" or ")
    ))
    .at(position(name.at))
}

fn left_to_planner(idents: &[Ident]) -> Meaning {
    let mut idents = idents.to_vec();
    idents.iter_mut().for_each(leave);
    let output = idents.last().map(normalise).unwrap_or_default();
    let expr = match idents.len() {
        1 => Expr::Identifier(idents.remove(0)),
        _ => Expr::CompoundIdentifier(idents),
    };
    Meaning::plain(expr, output)
}

/// Key of `attributes.http.route`: `http.route`.
fn key_after_attributes(idents: &[Ident]) -> Option<Name> {
    let (first, rest) = idents.split_first()?;
    let is_map = !rest.is_empty() && normalise(first) == schema::ATTRIBUTES;
    is_map.then(|| Name { at: first.span.start, ..Name::new(rest) })
}

/// The key in `['k']`, also in `["k"]`.
fn literal_key(access: &AccessExpr) -> Option<(String, Location)> {
    let AccessExpr::Subscript(Subscript::Index { index }) = access else { return None };
    match index {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(key) | Value::DoubleQuotedString(key),
            span,
        }) => Some((key.clone(), span.start)),
        Expr::Identifier(ident) if ident.quote_style == Some('"') => {
            Some((ident.value.clone(), ident.span.start))
        }
        _ => None,
    }
}

struct ExprVisitor<'r, 'a, 'c> {
    resolver: &'r mut Resolver<'a>,
    clause: Clause<'c>,
    /// Resolved subqueries, kept out of the tree while it is walked.
    held: Vec<Query>,
}

impl VisitorMut for ExprVisitor<'_, '_, '_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match self.enter(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some(subquery) = subquery_of(expr)
            && let Some(held) = self.held.pop()
        {
            **subquery = held;
        }
        minus_as_call(expr);
        ControlFlow::Continue(())
    }
}

impl ExprVisitor<'_, '_, '_> {
    fn enter(&mut self, expr: &mut Expr) -> Result<()> {
        if let Expr::Function(function) = expr
            && let Some(ident) = bare_column(function)
        {
            *expr = Expr::Identifier(ident);
        }
        self.resolver.weigh(expr)?;
        search_in_body(expr);
        match expr {
            Expr::Identifier(ident) if is_resolved(ident) => return Ok(()),
            Expr::CompoundIdentifier(idents) if idents.iter().all(is_resolved) => return Ok(()),
            Expr::CompoundFieldAccess { .. } => return self.enter_access(expr),
            Expr::Function(function) => {
                self.resolver.check_function(function)?;
                if let FunctionArguments::List(list) = &mut function.args {
                    plain_argument_names(list);
                }
                read_arguments(function);
            }
            _ => read_operands(expr),
        }
        if let Some(subquery) = subquery_of(expr) {
            let mut taken = std::mem::replace(&mut **subquery, empty_query());
            self.resolver.resolve_query(&mut taken)?;
            self.held.push(taken);
            return Ok(());
        }
        if let Some(meaning) = self.resolver.resolve_if_name(expr, self.clause)? {
            *expr = meaning.expr;
        }
        Ok(())
    }

    /// `attributes['k']`, `attributes[expression]`, `column[1].field`.
    fn enter_access(&mut self, expr: &mut Expr) -> Result<()> {
        let Expr::CompoundFieldAccess { root, access_chain } = expr else { return Ok(()) };
        let Some(first) = access_chain.first() else { return Ok(()) };
        if let Some(meaning) = self.resolver.resolve_subscript(root, first)? {
            access_chain.remove(0);
            **root = meaning.expr;
        } else if let Some(key) = computed_key(root, first) {
            // The planner reads a map only by a literal key.
            let one = Expr::Value(Value::Number("1".to_owned(), false).into());
            access_chain[0] = AccessExpr::Subscript(Subscript::Index { index: one });
            let map = std::mem::replace(&mut **root, Expr::Tuple(Vec::new()));
            **root = call("map_extract", vec![map, key]);
        }
        access_chain.iter_mut().for_each(leave_field);
        access_chain.iter_mut().for_each(quote_key);
        if access_chain.is_empty() {
            *expr = std::mem::replace(&mut **root, Expr::Tuple(Vec::new()));
        }
        Ok(())
    }
}

/// The key of `attributes[expression]`, if it is not a literal.
fn computed_key(root: &Expr, access: &AccessExpr) -> Option<Expr> {
    let last = match root {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(idents) => idents.last(),
        _ => None,
    };
    let AccessExpr::Subscript(Subscript::Index { index }) = access else { return None };
    let is_literal = matches!(index, Expr::Value(v) if !matches!(v.value, Value::Placeholder(_)));
    let is_map = last.is_some_and(|ident| normalise(ident) == schema::ATTRIBUTES);
    (is_map && !is_literal).then(|| index.clone())
}

/// `search('words')` becomes `search(body, 'words')`.
fn search_in_body(expr: &mut Expr) {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return };
    if list.args.len() == 1 && name.to_string().eq_ignore_ascii_case(SEARCH) {
        let body = Expr::Identifier(Ident::new(schema::column::BODY));
        list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(body)));
    }
}

/// Turns a minus before anything but a literal into a function call: text may hold numbers.
fn minus_as_call(expr: &mut Expr) {
    if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: negated } = expr
        && !matches!(**negated, Expr::Value(_) | Expr::Interval(_))
    {
        let negated = std::mem::replace(&mut **negated, Expr::Tuple(Vec::new()));
        *expr = call(UNARY_MINUS, vec![negated]);
    }
}

/// Turns the part after a dot, a field and not a column, into `['field']` for the planner.
fn leave_field(access: &mut AccessExpr) {
    if let AccessExpr::Dot(Expr::Identifier(field)) = access {
        let value = Value::SingleQuotedString(field.value.clone()).with_span(field.span);
        *access = AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) });
    }
}

/// Turns `["key"]` into an entry, as in `attributes["key"]`.
fn quote_key(access: &mut AccessExpr) {
    if let Some((key, _)) = literal_key(access) {
        let index = Expr::Value(Value::SingleQuotedString(key).into());
        *access = AccessExpr::Subscript(Subscript::Index { index });
    }
}

/// Leaves `a` in `f(a => 1)` unresolved: it is not a column.
fn plain_argument_names(list: &mut FunctionArgumentList) {
    for arg in &mut list.args {
        if let FunctionArg::ExprNamed { name: Expr::Identifier(ident), .. } = arg {
            leave(ident);
        }
    }
}

fn subquery_of(expr: &mut Expr) -> Option<&mut Box<Query>> {
    match expr {
        Expr::Subquery(query)
        | Expr::Exists { subquery: query, .. }
        | Expr::InSubquery { subquery: query, .. }
        | Expr::Function(Function { args: FunctionArguments::Subquery(query), .. }) => Some(query),
        _ => None,
    }
}

fn empty_query() -> Query {
    let values = Values { explicit_row: false, value_keyword: false, rows: Vec::new() };
    build::query(SetExpr::Values(values))
}
