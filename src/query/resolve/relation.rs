//! FROM: tables, views, common table expressions, subqueries and joins become relations of a scope.
//!
//! A view is a macro: its query is inserted as a subquery and resolved without the scopes around it. So one
//! mechanism serves views, views on views, CTEs and subqueries. A join USING becomes a join ON, and the scope
//! records the merged columns: attributes merge like any other column.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, Fetch, FunctionArg, FunctionArgExpr, Ident, JoinConstraint, JoinOperator,
    LimitClause, ObjectName, Query, Select, SetExpr, SetOperator, SetQuantifier, TableAlias, TableFactor,
    TableWithJoins, Value, With,
};

use super::Resolver;
use super::errors::{at, nearest, position, unknown};
use super::flatten::flatten_part;
use super::function::{lacks_column, substitute};
use super::names::Clause;
use super::nested::read_as;
use super::node::{Hidden, Node, NodeId};
use super::scope::{Merged, Name, Relation, alias_of, column, derived, normalise, resolved};
use super::table_name::EVENTS;
use crate::error::{Error, Result};
use crate::query::functions::JsonReading;
use crate::query::language::build::{self, binary, call};
use crate::query::views::{EXPLAIN_DIFF, Names};

/// Largest depth of views that use views, which stops cycles.
const VIEW_DEPTH_MAX: usize = 16;

/// Placeholder in the tree for the name of an occurrence of the base table, and for the hidden columns of a
/// SELECT, until all demands are known. No identifier in a text that gets this far can contain it.
const PLACEHOLDER: &str = "\u{1}node ";

pub(super) fn placeholder(node: NodeId) -> Ident {
    resolved(format!("{PLACEHOLDER}{}", node.0))
}

pub(super) fn placeholder_node(ident: &Ident) -> Option<NodeId> {
    ident.value.strip_prefix(PLACEHOLDER)?.parse().ok().map(NodeId)
}

impl Resolver<'_> {
    pub(super) fn resolve_query(&mut self, query: &mut Query) -> Result<NodeId> {
        if !query.pipe_operators.is_empty() {
            return Err(Error::invalid("pipe operators (|>) are not supported"));
        }
        self.ctes.push(HashMap::new());
        if let Some(with) = &mut query.with {
            self.resolve_with(with)?;
        }
        let node = self.resolve_body(&mut query.body, query.order_by.as_mut())?;
        limit_by_fetch(query);
        self.ctes.pop();
        Ok(node)
    }

    fn resolve_with(&mut self, with: &mut With) -> Result<()> {
        for cte in &mut with.cte_tables {
            let name = normalise(&cte.alias.name);
            let node = if with.recursive && refers_to(&cte.query, &name) {
                self.resolve_recursive(cte, &name)?
            } else {
                let node = self.resolve_query(&mut cte.query)?;
                self.renamed(node, Some(&cte.alias))
            };
            if let Some(frame) = self.ctes.last_mut() {
                frame.insert(name, node);
            }
        }
        Ok(())
    }

    /// Resolves a recursive CTE: it has the columns of its first branch; the second branch reads them by its name.
    fn resolve_recursive(&mut self, cte: &mut Cte, name: &str) -> Result<NodeId> {
        let query = &mut *cte.query;
        let SetExpr::SetOperation { left, right, .. } = &mut *query.body else {
            return Err(Error::invalid(format!("recursive \"{name}\" must be a UNION of two queries")));
        };
        let first = self.resolve_body(left, None)?;
        let columns = self.nodes.star(first).unwrap_or_default();
        let first = self.nodes.add(Node::Closed { columns });
        let node = self.renamed(first, Some(&cte.alias));
        self.ctes.push(HashMap::from([(name.to_owned(), node)]));
        self.resolve_body(right, None)?;
        self.ctes.pop();
        self.order_result(query.order_by.as_mut(), node)?;
        Ok(node)
    }

    fn resolve_body(
        &mut self,
        body: &mut SetExpr,
        order_by: Option<&mut sqlparser::ast::OrderBy>,
    ) -> Result<NodeId> {
        if let SetExpr::Table(table) = body {
            let parts = table.schema_name.iter().chain(&table.table_name);
            let name = parts.map(|part| Ident::with_quote('"', part.to_lowercase())).collect();
            *body = SetExpr::Select(Box::new(build::select_all(build::table_named(name))));
        }
        let node = match body {
            SetExpr::Select(select) => return self.resolve_select(select, order_by),
            SetExpr::Query(query) => self.resolve_query(query)?,
            SetExpr::SetOperation { left, right, op, set_quantifier } => {
                let branches = [self.resolve_body(left, None)?, self.resolve_body(right, None)?];
                self.set_operation(*op, *set_quantifier, branches)
            }
            SetExpr::Values(values) => {
                for expr in values.rows.iter_mut().flat_map(|row| row.iter_mut()) {
                    self.resolve_expr(expr, Clause::Input)?;
                }
                let width = values.rows.first().map_or(0, |row| row.len());
                let columns = (1..=width).map(|i| format!("column{i}")).collect();
                self.nodes.add(Node::Closed { columns })
            }
            SetExpr::Insert(s) | SetExpr::Update(s) | SetExpr::Delete(s) | SetExpr::Merge(s) => {
                return Err(super::read_only(&super::verb(&s.to_string())));
            }
            SetExpr::Table(_) => return Err(Error::internal("a TABLE statement was not replaced")),
        };
        self.order_result(order_by, node)?;
        Ok(node)
    }

    fn set_operation(&mut self, op: SetOperator, quantifier: SetQuantifier, branches: [NodeId; 2]) -> NodeId {
        let all = matches!(quantifier, SetQuantifier::All | SetQuantifier::AllByName);
        let open = branches.iter().all(|b| self.nodes.is_open(*b));
        let node = match self.nodes.star(branches[0]) {
            None => Node::Opaque,
            Some(columns) if op == SetOperator::Union && all && open => Node::Union { columns, branches },
            Some(columns) => Node::Closed { columns },
        };
        self.nodes.add(node)
    }

    /// Makes `node` closed if its alias lists columns: then it has these and no others.
    pub(super) fn renamed(&mut self, node: NodeId, alias: Option<&TableAlias>) -> NodeId {
        let Some(alias) = alias.filter(|a| !a.columns.is_empty()) else { return node };
        let columns = alias.columns.iter().map(|c| normalise(&c.name)).collect();
        self.nodes.add(Node::Closed { columns })
    }

    /// Resolves one item of FROM, with its joins.
    pub(super) fn resolve_joined(&mut self, table: &mut TableWithJoins) -> Result<()> {
        let start = self.relations().len();
        self.resolve_factor(&mut table.relation)?;
        for join in &mut table.joins {
            let split = self.relations().len();
            self.resolve_factor(&mut join.relation)?;
            self.resolve_join(&mut join.join_operator, start, split)?;
        }
        Ok(())
    }

    fn relations(&self) -> &[Relation] {
        self.scopes.last().map_or(&[], |scope| &scope.relations)
    }

    fn add_relation(&mut self, alias: String, path: Vec<String>, node: NodeId) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.relations.push(Relation { alias, path, node, is_part: false });
        }
    }

    fn resolve_factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                Err(Error::invalid("TABLESAMPLE is not supported"))
            }
            TableFactor::Table { args: Some(_), .. } => self.resolve_function(factor),
            TableFactor::Table { .. } => self.resolve_table(factor),
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let inner = if *lateral { None } else { self.scopes.pop() };
                let node = self.resolve_query(subquery)?;
                self.scopes.extend(inner);
                let node = self.renamed(node, alias.as_ref());
                self.add_aliased(alias, None, node);
                Ok(())
            }
            TableFactor::Function { args, alias, name, .. } => {
                let fallback = name.to_string();
                self.resolve_arguments(args)?;
                let node = self.nodes.add(Node::Opaque);
                let node = self.renamed(node, alias.as_ref());
                self.add_aliased(alias, Some(fallback), node);
                Ok(())
            }
            TableFactor::UNNEST { alias, array_exprs, .. } => {
                for expr in array_exprs {
                    read_as(JsonReading::Items, expr);
                    self.resolve_expr(expr, Clause::Input)?;
                }
                let node = self.nodes.add(Node::Opaque);
                let node = self.renamed(node, alias.as_ref());
                self.add_aliased(alias, None, node);
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.resolve_joined(table_with_joins)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let from = vec![(**table_with_joins).clone()];
                let select = Select { from, ..build::select_all(build::table(EVENTS)) };
                *factor = derived(build::query_of(select), alias.take());
                self.resolve_factor(factor)
            }
            other => Err(Error::invalid(format!("not supported in FROM: {other}"))),
        }
    }

    /// Adds a relation that can be named only by its alias; gives it one if it has none.
    fn add_aliased(&mut self, alias: &mut Option<TableAlias>, fallback: Option<String>, node: NodeId) {
        let path = alias.as_ref().map(|a| normalise(&a.name)).or(fallback);
        let name = path.clone().unwrap_or_else(|| {
            self.unnamed += 1;
            format!("subquery {}", self.unnamed)
        });
        match alias {
            Some(alias) => alias.name = resolved(&name),
            None => *alias = Some(alias_of(&name)),
        }
        self.add_relation(name, path.into_iter().collect(), node);
    }

    fn resolve_table(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, .. } = factor else { return Ok(()) };
        let idents: Vec<_> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let path: Vec<_> = idents.iter().map(normalise).collect();
        let Some(table) = path.last().cloned() else { return Ok(()) };
        let cte = (path.len() == 1)
            .then(|| self.ctes.iter().rev().find_map(|frame| frame.get(&table).copied()))
            .flatten();
        let in_default_schema = path.len() == 1 || path[path.len() - 2] == self.context.schema;
        if cte.is_none() && in_default_schema {
            if let Some(view) = self.context.views.view(&table) {
                let mut query = Box::new(view.clone());
                flatten_part(query.as_mut())?;
                let node = self.resolve_view(&mut query, Names::Own)?;
                let mut alias = alias.take();
                let node = self.renamed(node, alias.as_ref());
                self.add_table(&mut alias, path, node);
                *factor = derived(*query, alias);
                return Ok(());
            }
            if table == EVENTS && alias.as_ref().is_some_and(|a| !a.columns.is_empty()) {
                let query = build::query_of(build::select_all(build::table(EVENTS)));
                *factor = derived(query, alias.take());
                return self.resolve_factor(factor);
            }
            if table == EVENTS {
                let node = self.nodes.add(Node::Base);
                self.add_table(alias, path, node);
                *name = ObjectName::from(vec![placeholder(node)]);
                return Ok(());
            }
        }
        let node = match cte {
            Some(node) => node,
            None => self.closed_table(&path, &idents)?,
        };
        let node = self.renamed(node, alias.as_ref());
        self.add_table(alias, path, node);
        Ok(())
    }

    /// Adds a table under its alias, else under its own, possibly qualified, name.
    pub(super) fn add_table(&mut self, alias: &mut Option<TableAlias>, path: Vec<String>, node: NodeId) {
        if let Some(alias) = alias {
            let name = normalise(&alias.name);
            alias.name = resolved(&name);
            self.add_relation(name.clone(), vec![name], node);
        } else {
            let name = path.last().cloned().unwrap_or_default();
            *alias = Some(alias_of(&name));
            self.add_relation(name, path, node);
        }
    }

    fn closed_table(&mut self, path: &[String], idents: &[Ident]) -> Result<NodeId> {
        let full = path.join(".");
        let table = path.last().map_or("", String::as_str);
        let is_information = path.len() > 1 && path[path.len() - 2] == "information_schema";
        let columns = self.context.tables.get(&full).or_else(|| self.context.tables.get(table));
        match columns {
            Some(columns) => Ok(self.nodes.add(Node::Closed { columns: columns.clone() })),
            None if is_information => Ok(self.nodes.add(Node::Opaque)),
            None => {
                let ctes = self.ctes.iter().flat_map(|frame| frame.keys().map(String::as_str));
                let tables = self.context.tables.keys().map(String::as_str);
                let known = ctes.chain(self.context.views.names()).chain(tables).chain([EVENTS]);
                let found = nearest(table, known, 2);
                Err(unknown("table", &Name::new(idents).exact, Name::new(idents).at, &found))
            }
        }
    }

    /// Resolves a copy of a view's query, without the scopes around it. `names` says whether it sees the common table
    /// expressions around it.
    pub(super) fn resolve_view(&mut self, query: &mut Query, names: Names) -> Result<NodeId> {
        if self.view_depth == VIEW_DEPTH_MAX {
            return Err(Error::invalid(format!("views are nested more than {VIEW_DEPTH_MAX} levels deep")));
        }
        self.view_depth += 1;
        let scopes = std::mem::take(&mut self.scopes);
        let ctes = match names {
            Names::OfCaller => self.ctes.clone(),
            Names::Own => std::mem::take(&mut self.ctes),
        };
        let node = self.resolve_query(query)?;
        (self.scopes, self.ctes) = (scopes, ctes);
        self.view_depth -= 1;
        Ok(node)
    }

    /// Resolves `trace('…')`: a function defined in SQL, or one that the planner knows.
    fn resolve_function(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = factor else { return Ok(()) };
        let ident = name.0.last().and_then(|part| part.as_ident().cloned());
        let Some(ident) = ident else { return Ok(()) };
        let function = ident.value.to_lowercase();
        if function == EXPLAIN_DIFF {
            return self.resolve_explain_diff(factor);
        }
        if let Some(defined) = self.context.views.function(&function) {
            let mut query = Box::new(defined.query.clone());
            flatten_part(query.as_mut())?;
            substitute(query.as_mut(), defined, &ident, args)?;
            let resolved = self.resolve_view(&mut query, defined.names());
            let node = resolved.map_err(|error| lacks_column(error, defined, &ident))?;
            let mut alias = alias.take();
            let node = self.renamed(node, alias.as_ref());
            self.add_table(&mut alias, vec![function], node);
            *factor = derived(*query, alias);
            return Ok(());
        }
        let known = self.context.table_functions;
        if !known.is_empty() && !known.contains(&function) {
            let names = self.context.views.functions().chain(known.iter().map(String::as_str));
            let found = nearest(&function, names, 2);
            return Err(unknown("table function", &ident.value, ident.span.start, &found));
        }
        self.resolve_arguments(&mut args.args)?;
        let node = match function.as_str() {
            "generate_series" | "range" => Node::Closed { columns: vec!["value".to_owned()] },
            _ => Node::Opaque,
        };
        let node = self.nodes.add(node);
        let node = self.renamed(node, alias.as_ref());
        self.add_table(alias, vec![function], node);
        Ok(())
    }

    fn resolve_arguments(&mut self, args: &mut [FunctionArg]) -> Result<()> {
        for arg in args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. } = arg
            {
                self.resolve_expr(expr, Clause::Input)?;
            }
        }
        Ok(())
    }

    /// Resolves the condition of a join of the relations from `start` (left) with those from `split` (right).
    fn resolve_join(&mut self, operator: &mut JoinOperator, start: usize, split: usize) -> Result<()> {
        let kind = JoinKind::of(operator);
        let Some(constraint) = constraint_of(operator) else { return Ok(()) };
        match constraint {
            JoinConstraint::On(expr) => self.resolve_expr(expr, Clause::Input)?,
            JoinConstraint::Natural => {
                if self.relations()[start..].iter().any(|r| self.nodes.is_open(r.node)) {
                    return Err(Error::invalid(
                        "NATURAL JOIN of relations with attributes would compare every attribute they have in \
                         common: write USING (…) or ON …",
                    ));
                }
            }
            JoinConstraint::Using(names) => {
                if !self.relations()[start..].iter().any(|r| self.nodes.is_opaque(r.node)) {
                    let names = std::mem::take(names);
                    *constraint = JoinConstraint::On(self.resolve_using(&names, kind, start, split)?);
                }
            }
            JoinConstraint::None => {}
        }
        if let Some(scope) = self.scopes.last_mut() {
            match kind {
                JoinKind::OnlyLeft => scope.relations.truncate(split),
                JoinKind::OnlyRight => drop(scope.relations.drain(start..split)),
                JoinKind::Left | JoinKind::Right | JoinKind::Full => {}
            }
        }
        Ok(())
    }

    fn resolve_using(
        &mut self,
        names: &[ObjectName],
        kind: JoinKind,
        start: usize,
        split: usize,
    ) -> Result<Expr> {
        let mut condition: Option<Expr> = None;
        for object in names {
            let idents: Vec<_> = object.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
            let name = Name::new(&idents);
            let (left, left_members) = self.join_column(&name, start, split)?;
            let (right, right_members) = self.join_column(&name, split, self.relations().len())?;
            let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
            condition = Some(match condition {
                Some(condition) => binary(condition, BinaryOperator::And, equal),
                None => equal,
            });
            let expr = match kind {
                JoinKind::Left | JoinKind::OnlyLeft => left,
                JoinKind::Right | JoinKind::OnlyRight => right,
                JoinKind::Full => call("coalesce", vec![left, right]),
            };
            let members: Vec<_> = left_members.into_iter().chain(right_members).collect();
            let label = if self.declares_any(&name, start) {
                name.folded
            } else {
                self.known_key(&name).unwrap_or(name.exact)
            };
            if let Some(scope) = self.scopes.last_mut() {
                scope.merged.retain(|m| !m.members.iter().any(|member| members.contains(member)));
                scope.merged.push(Merged { name: label, expr, members });
            }
        }
        condition.ok_or_else(|| Error::invalid("USING needs at least one column"))
    }

    fn declares_any(&self, name: &Name, start: usize) -> bool {
        self.relations()[start..].iter().any(|r| {
            self.nodes.declares(r.node, &name.folded) || self.nodes.offers_core(r.node, &name.folded)
        })
    }

    /// Resolves a name in USING on one side of the join, and returns the columns that this merges.
    fn join_column(&mut self, name: &Name, from: usize, to: usize) -> Result<(Expr, Vec<(String, String)>)> {
        let depth = self.scopes.len().saturating_sub(1);
        let side = self.relations()[from..to].to_vec();
        let merged = self.scopes.last().into_iter().flat_map(|s| &s.merged);
        let known = self.known_key(name);
        let is_it = |m: &&Merged| {
            let named = m.name == name.folded || Some(&m.name) == known.as_ref();
            named && m.members.iter().any(|(alias, _)| side.iter().any(|r| r.alias == *alias))
        };
        if let Some(merged) = merged.clone().find(is_it) {
            return Ok((merged.expr.clone(), merged.members.clone()));
        }
        let matching = |test: &dyn Fn(&Relation) -> bool| -> Vec<usize> {
            side.iter().enumerate().filter(|(_, r)| !r.is_part && test(r)).map(|(i, _)| from + i).collect()
        };
        let declaring = matching(&|r| self.nodes.declares(r.node, &name.folded));
        let offering = matching(&|r| self.nodes.offers_core(r.node, &name.folded));
        let open = matching(&|r| self.nodes.is_open(r.node));
        let (found, hidden) = match (declaring.as_slice(), offering.as_slice(), known) {
            ([_, ..], _, _) => (declaring, None),
            ([], [_, ..], _) => (offering, Some(Hidden::Core(name.folded.clone()))),
            ([], [], Some(key)) => (open, Some(Hidden::Attribute(key))),
            ([], [], None) => (Vec::new(), None),
        };
        match found.as_slice() {
            [index] => {
                let (node, alias) = (self.relations()[*index].node, self.relations()[*index].alias.clone());
                let column_name = match &hidden {
                    Some(hidden) => {
                        self.demand(node, hidden, name)?;
                        hidden.column()
                    }
                    None => name.folded.clone(),
                };
                debug_assert!(depth < self.scopes.len());
                Ok((column(&alias, &column_name), vec![(alias, column_name)]))
            }
            [] => {
                let names: Vec<_> = side.iter().filter_map(|r| self.nodes.star(r.node)).flatten().collect();
                let mut found = nearest(&name.exact, names.iter().map(String::as_str), 2);
                found.extend(self.context.keys.nearest(&name.exact, 2));
                Err(unknown("column", &name.exact, name.at, &found))
            }
            _ => Err(Error::invalid(format!(
                "column \"{}\"{} in USING is in several relations of one side: write ON …",
                name.exact,
                at(name.at)
            ))
            .at(position(name.at))),
        }
    }
}

/// Turns `FETCH FIRST n ROWS ONLY` into `LIMIT n`.
fn limit_by_fetch(query: &mut Query) {
    let Some(fetch) = query.fetch.take_if(|fetch| !fetch.percent && !fetch.with_ties) else { return };
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let quantity = Some(fetch.quantity.unwrap_or_else(one));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = quantity,
        Some(_) => query.fetch = Some(Fetch { quantity, ..fetch }),
        none => {
            *none = Some(LimitClause::LimitOffset { limit: quantity, offset: None, limit_by: Vec::new() });
        }
    }
}

/// Kind of a join: decides which side a merged column reads, and which sides stay visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JoinKind {
    Left,
    Right,
    Full,
    OnlyLeft,
    OnlyRight,
}

impl JoinKind {
    fn of(operator: &JoinOperator) -> Self {
        match operator {
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Self::Right,
            JoinOperator::FullOuter(_) => Self::Full,
            JoinOperator::Semi(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::Anti(_)
            | JoinOperator::LeftAnti(_) => Self::OnlyLeft,
            JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => Self::OnlyRight,
            _ => Self::Left,
        }
    }
}

fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::CrossJoin(c)
        | JoinOperator::Semi(c)
        | JoinOperator::LeftSemi(c)
        | JoinOperator::RightSemi(c)
        | JoinOperator::Anti(c)
        | JoinOperator::LeftAnti(c)
        | JoinOperator::RightAnti(c)
        | JoinOperator::StraightJoin(c)
        | JoinOperator::AsOf { constraint: c, .. } => Some(c),
        _ => None,
    }
}

/// True if a query reads a relation of this name.
fn refers_to(query: &Query, name: &str) -> bool {
    sqlparser::ast::visit_relations(query, |relation| {
        let is_it =
            matches!(relation.0.as_slice(), [part] if part.as_ident().is_some_and(|i| normalise(i) == name));
        if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .is_break()
}
