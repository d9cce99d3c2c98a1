//! Resolves one SELECT: its clauses in the order in which names become visible, and the names of its columns.
//!
//! A column without an alias is named by its key if it is an attribute, else by its text as written.

use std::collections::HashSet;

use sqlparser::ast::{
    Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, GroupByWithModifier, Ident,
    NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind, Select, SelectFlavor, SelectItem,
    WildcardAdditionalOptions,
};

use super::Resolver;
use super::names::{Clause, Meaning};
use super::node::{Node, NodeId, StarSource, is_core};
use super::relation::placeholder;
use super::scope::{Name, Scope, normalise, resolved};
use crate::error::Result;
use crate::query::functions::JsonReading;

/// One column of a select list, resolved.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) expr: Expr,
    /// Its text as written.
    pub(super) source: String,
    /// True if the author gave the name by AS.
    pub(super) is_explicit: bool,
    /// True if the rewritten select list gives it that name by AS.
    pub(super) is_aliased: bool,
}

impl Output {
    /// Expression by which ORDER BY refers to it.
    pub(super) fn reference(&self) -> Expr {
        if self.is_aliased { Expr::Identifier(resolved(&self.name)) } else { self.expr.clone() }
    }
}

/// Way in which a select item gets its name.
#[derive(Debug)]
enum Naming {
    Explicit(Ident),
    /// The planner gives it this name without AS.
    Plain(String),
    /// The first of these names that is free.
    FirstFree(Vec<String>),
    /// No AS is possible.
    Left,
}

/// A select list that is being resolved.
#[derive(Debug, Default)]
pub(super) struct SelectList {
    entries: Vec<Entry>,
    pub(super) sources: Vec<StarSource>,
    pub(super) blocked: Vec<String>,
    /// True if only the planner knows some of the columns.
    pub(super) is_opaque: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a select list is short and lives shortly")]
enum Entry {
    Column {
        expr: Expr,
        naming: Naming,
        source: String,
    },
    /// A wildcard that the planner expands, with the names of its columns.
    Wildcard {
        item: SelectItem,
        names: Vec<String>,
    },
}

impl SelectList {
    /// Adds a column that has the name `name` without AS.
    pub(super) fn push_plain(&mut self, expr: Expr, name: &str) {
        let naming = Naming::Plain(name.to_owned());
        self.entries.push(Entry::Column { expr, naming, source: name.to_owned() });
    }

    /// Adds a column that is to be named `name`.
    pub(super) fn push_named(&mut self, expr: Expr, name: &str) {
        let naming = Naming::Explicit(resolved(name));
        self.entries.push(Entry::Column { expr, naming, source: name.to_owned() });
    }

    pub(super) fn push_wildcard(&mut self, item: SelectItem, names: Vec<String>) {
        self.entries.push(Entry::Wildcard { item, names });
    }

    fn push(&mut self, expr: Expr, naming: Naming, source: String) {
        self.entries.push(Entry::Column { expr, naming, source });
    }

    fn taken(&self) -> HashSet<String> {
        let mut taken = HashSet::new();
        for entry in &self.entries {
            match entry {
                Entry::Column { naming: Naming::Explicit(ident), .. } => drop(taken.insert(normalise(ident))),
                Entry::Column { naming: Naming::Plain(name), .. } => drop(taken.insert(name.clone())),
                Entry::Column { .. } => {}
                Entry::Wildcard { names, .. } => taken.extend(names.iter().cloned()),
            }
        }
        taken
    }

    /// Names that several columns want: `a.k, b.k` are then named by their full text.
    fn repeated(&self) -> HashSet<String> {
        let mut seen = HashSet::new();
        let wanted = self.entries.iter().filter_map(|entry| match entry {
            Entry::Column { naming: Naming::FirstFree(candidates), .. } => candidates.first(),
            _ => None,
        });
        wanted.filter(|name| !seen.insert(*name)).cloned().collect()
    }

    /// Names the items that have no name yet.
    fn finish(self) -> (Vec<SelectItem>, Vec<Output>) {
        let mut taken = self.taken();
        let repeated = self.repeated();
        let mut shown = HashSet::new();
        let (mut items, mut outputs) = (Vec::new(), Vec::new());
        for entry in self.entries {
            let (expr, naming, source) = match entry {
                Entry::Wildcard { item, names } => {
                    items.push(item);
                    outputs.extend(names.into_iter().map(Output::of_name));
                    continue;
                }
                Entry::Column { expr, naming, source } => (expr, naming, source),
            };
            let naming = match naming {
                // The same column once more, as in `SELECT name, *`: the planner wants another name.
                Naming::Plain(name) if !shown.insert(expr.to_string()) => Naming::FirstFree(vec![name]),
                naming => naming,
            };
            let (name, alias, is_explicit) = match naming {
                Naming::Explicit(ident) => (normalise(&ident), Some(ident), true),
                Naming::Plain(name) => (name, None, false),
                Naming::Left => (source.clone(), None, false),
                Naming::FirstFree(mut candidates) => {
                    if candidates.len() > 1 && repeated.contains(&candidates[0]) {
                        candidates.remove(0);
                    }
                    let name = first_free(candidates, &taken);
                    taken.insert(name.clone());
                    (name.clone(), Some(resolved(name)), false)
                }
            };
            let is_aliased = alias.is_some();
            items.push(match alias {
                Some(alias) => SelectItem::ExprWithAlias { expr: expr.clone(), alias },
                None => SelectItem::UnnamedExpr(expr.clone()),
            });
            outputs.push(Output { name, expr, source, is_explicit, is_aliased });
        }
        (items, outputs)
    }
}

impl Output {
    /// Creates a column of which only the name is known.
    pub(super) fn of_name(name: String) -> Self {
        let expr = Expr::Identifier(resolved(&name));
        Self { source: name.clone(), name, expr, is_explicit: false, is_aliased: true }
    }
}

fn first_free(candidates: Vec<String>, taken: &HashSet<String>) -> String {
    let last = candidates.last().cloned().unwrap_or_default();
    let numbered = (2..).map(|n| format!("{last} ({n})"));
    candidates.into_iter().chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

impl Resolver<'_> {
    /// Resolves a SELECT, and the ORDER BY of the query whose body it is.
    pub(super) fn resolve_select(
        &mut self,
        select: &mut Select,
        order_by: Option<&mut OrderBy>,
    ) -> Result<NodeId> {
        if select.into.is_some() {
            return Err(super::read_only("SELECT INTO"));
        }
        if select.flavor != SelectFlavor::Standard {
            if select.flavor == SelectFlavor::FromFirstNoSelect {
                select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
            }
            select.flavor = SelectFlavor::Standard;
        }
        self.scopes.push(Scope::default());
        let unfolded = super::unnest::unfold(&mut select.from)?;
        for table in &mut select.from {
            self.resolve_joined(table)?;
        }
        self.add_unfolded(unfolded);
        if let Some(selection) = &mut select.selection {
            self.resolve_expr(selection, Clause::Input)?;
        }
        let mut list = self.resolve_projection(std::mem::take(&mut select.projection))?;
        if changes_rows(select) {
            list.sources.clear();
        }
        let (sources, blocked) = (std::mem::take(&mut list.sources), std::mem::take(&mut list.blocked));
        let is_opaque = list.is_opaque && sources.is_empty();
        let (items, outputs) = list.finish();
        select.projection = items;
        self.resolve_grouping(select, &outputs)?;
        if let Some(order_by) = order_by {
            self.resolve_order_by(order_by, &outputs)?;
        }
        self.scopes.pop();
        let columns = outputs.into_iter().map(|o| o.name).collect();
        let is_open = !sources.is_empty();
        let node = if is_opaque { Node::Opaque } else { Node::Select { columns, sources, blocked } };
        let node = self.nodes.add(node);
        if is_open {
            select.projection.push(SelectItem::UnnamedExpr(Expr::Identifier(placeholder(node))));
        }
        Ok(node)
    }

    fn resolve_projection(&mut self, items: Vec<SelectItem>) -> Result<SelectList> {
        let mut list = SelectList::default();
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => self.resolve_unnamed(expr, &mut list)?,
                SelectItem::ExprWithAlias { mut expr, alias } => {
                    let source = expr.to_string();
                    self.resolve_expr(&mut expr, Clause::Input)?;
                    list.push(expr, Naming::Explicit(alias), source);
                }
                SelectItem::ExprWithAliases { mut expr, aliases } => {
                    self.resolve_expr(&mut expr, Clause::Input)?;
                    let names = aliases.iter().map(normalise).collect();
                    list.push_wildcard(SelectItem::ExprWithAliases { expr, aliases }, names);
                }
                SelectItem::Wildcard(options) => self.expand_wildcard(options, &mut list)?,
                SelectItem::QualifiedWildcard(kind, options) => {
                    self.expand_qualified_wildcard(&kind, options, &mut list)?;
                }
            }
        }
        Ok(list)
    }

    fn resolve_unnamed(&mut self, mut expr: Expr, list: &mut SelectList) -> Result<()> {
        let source = expr.to_string();
        if let Some(Meaning { expr, output, is_plain }) = self.resolve_if_name(&expr, Clause::Input)? {
            let naming = match (is_plain, is_core(&output)) {
                (true, _) => Naming::Plain(output),
                (false, false) => Naming::FirstFree(vec![output, source.clone()]),
                (false, true) if self.is_merged(&output) => Naming::FirstFree(vec![output]),
                // An attribute spelled like a core column.
                (false, true) => Naming::FirstFree(vec![format!("attributes['{output}']"), source.clone()]),
            };
            list.push(expr, naming, source);
            return Ok(());
        }
        self.resolve_expr(&mut expr, Clause::Input)?;
        let naming = if is_unnest(&expr) { Naming::Left } else { Naming::FirstFree(vec![source.clone()]) };
        list.push(expr, naming, source);
        Ok(())
    }

    fn is_merged(&self, name: &str) -> bool {
        self.scopes.last().is_some_and(|s| s.merged.iter().any(|m| m.name == name))
    }

    fn resolve_grouping(&mut self, select: &mut Select, outputs: &[Output]) -> Result<()> {
        let clause = Clause::Grouping(outputs);
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs {
                self.resolve_expr(expr, clause)?;
            }
        }
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = &mut select.group_by;
        for modifier in modifiers {
            if let GroupByWithModifier::GroupingSets(expr) = modifier {
                self.resolve_expr(expr, clause)?;
            }
        }
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1 {
                for expr in &mut spec.partition_by {
                    self.resolve_expr(expr, Clause::Input)?;
                }
                for order in &mut spec.order_by {
                    self.resolve_expr(&mut order.expr, Clause::Input)?;
                }
            }
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            for expr in exprs {
                self.resolve_expr(expr, clause)?;
            }
        }
        for expr in [&mut select.having, &mut select.qualify, &mut select.prewhere].into_iter().flatten() {
            self.resolve_expr(expr, clause)?;
        }
        let others = select.cluster_by.iter_mut().chain(&mut select.distribute_by);
        for expr in others.chain(select.sort_by.iter_mut().map(|o| &mut o.expr)) {
            self.resolve_expr(expr, clause)?;
        }
        Ok(())
    }

    pub(super) fn resolve_order_by(&mut self, order_by: &mut OrderBy, outputs: &[Output]) -> Result<()> {
        if is_all(order_by, outputs)
            && let OrderByKind::Expressions(exprs) = &order_by.kind
            && let Some(OrderByExpr { options, .. }) = exprs.first()
        {
            let all = outputs.iter().map(|output| OrderByExpr {
                expr: output.reference(),
                options: *options,
                with_fill: None,
            });
            order_by.kind = OrderByKind::Expressions(all.collect());
            return Ok(());
        }
        let OrderByKind::Expressions(exprs) = &mut order_by.kind else { return Ok(()) };
        for OrderByExpr { expr, .. } in exprs {
            let source = expr.to_string();
            let is_name = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_));
            match outputs.iter().find(|o| !is_name && o.is_aliased && o.source == source) {
                Some(output) => *expr = output.reference(),
                None => self.resolve_expr(expr, Clause::Ordering(outputs))?,
            }
        }
        Ok(())
    }

    /// Resolves ORDER BY of a set operation: it sees only the columns of the result.
    pub(super) fn order_result(&mut self, order_by: Option<&mut OrderBy>, node: NodeId) -> Result<()> {
        let Some(order_by) = order_by else { return Ok(()) };
        let Some(columns) = self.nodes.star(node) else { return Ok(()) };
        let outputs: Vec<_> = columns.into_iter().map(Output::of_name).collect();
        let scopes = std::mem::take(&mut self.scopes);
        let result = self.resolve_order_by(order_by, &outputs);
        self.scopes = scopes;
        result.map_err(|error| {
            let names: Vec<_> = outputs.iter().map(|o| o.name.as_str()).collect();
            let names = names.join(", ");
            error.followed_by(format!(
                "; ORDER BY of a set operation can name the columns of its result: {names}"
            ))
        })
    }
}

/// True if an additional column would change the rows of the result.
fn changes_rows(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
    };
    grouped
        || select.having.is_some()
        || matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_)))
}

/// True if an expression may unfold a struct into several columns.
fn is_unnest(expr: &Expr) -> bool {
    let Expr::Function(f) = expr else { return false };
    let argument = match &f.args {
        FunctionArguments::List(list) => list.args.first(),
        _ => None,
    };
    let is_json = |name: String| JsonReading::ALL.iter().any(|reading| reading.function() == name);
    let of_list = matches!(
        argument,
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(f)))) if is_json(f.name.to_string())
    );
    f.name.to_string().to_lowercase().starts_with("unnest") && !of_list
}

/// True for `ORDER BY ALL`, which the dialect reads as a name.
fn is_all(order_by: &OrderBy, outputs: &[Output]) -> bool {
    let OrderByKind::Expressions(exprs) = &order_by.kind else { return false };
    let [OrderByExpr { expr: Expr::Identifier(ident), .. }] = exprs.as_slice() else { return false };
    let name = Name::new(std::slice::from_ref(ident));
    !name.quoted && name.folded == "all" && outputs.iter().all(|o| o.name != "all")
}
