//! `FROM spans s, unnest(s.accept) AS t(item)`: a row for each item of a list of each row.
//!
//! The planner does not support this join. It unfolds lists in a select list. As an unfolded row is still a
//! row of its relation, the result is the same:
//!
//! ```text
//! FROM spans s, unnest(s.accept) AS t(item)
//! FROM (SELECT *, unnest(s.accept) AS item FROM spans s) s
//! ```
//!
//! `t` is kept as another name for the added columns: `t.item` is `s.item`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor,
    TableWithJoins, Value, visit_expressions,
};

use super::Resolver;
use super::node::Node;
use super::scope::{Relation, alias_of, derived, normalise};
use crate::error::{Error, Result};
use crate::query::language::build::{self, call};

/// An unfolded list that was moved into the relation it comes from.
#[derive(Debug)]
pub(super) struct Unfolded {
    /// Alias of the relation.
    relation: String,
    /// Alias of the list; `None` if it has no name.
    name: Option<String>,
    columns: Vec<String>,
}

/// A list to unfold, as written.
struct Unnest {
    lists: Vec<Expr>,
    alias: Option<TableAlias>,
    /// True if rows without items stay, with a null.
    keeps_all: bool,
}

/// Moves lists of other relations from FROM into these relations, where they are unfolded.
pub(super) fn unfold(from: &mut Vec<TableWithJoins>) -> Result<Vec<Unfolded>> {
    let mut unfolded = Vec::new();
    let mut item = 0;
    while item < from.len() {
        if item > 0
            && from[item].joins.is_empty()
            && let Some(unnest) = unnest_of(&from[item].relation, false)
        {
            from.remove(item);
            unfolded.push(put_in(&mut from[..item], unnest)?);
            continue;
        }
        let mut joined = 0;
        while joined < from[item].joins.len() {
            let join = &from[item].joins[joined];
            match keeps_all(join).and_then(|keeps_all| unnest_of(&join.relation, keeps_all)) {
                Some(unnest) => {
                    from[item].joins.remove(joined);
                    unfolded.push(put_in(&mut from[..=item], unnest)?);
                }
                None => joined += 1,
            }
        }
        item += 1;
    }
    Ok(unfolded)
}

/// True if a join without a condition keeps rows without a partner; `None` for other joins.
fn keeps_all(join: &Join) -> Option<bool> {
    let always = |constraint: &JoinConstraint| match constraint {
        JoinConstraint::None => true,
        JoinConstraint::On(Expr::Value(value)) => value.value == Value::Boolean(true),
        _ => false,
    };
    match &join.join_operator {
        JoinOperator::CrossJoin(c) | JoinOperator::Join(c) | JoinOperator::Inner(c) => {
            always(c).then_some(false)
        }
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => always(c).then_some(true),
        _ => None,
    }
}

/// Returns the lists that a factor unfolds, if they are columns of another relation.
fn unnest_of(factor: &TableFactor, keeps_all: bool) -> Option<Unnest> {
    let (lists, alias) = match factor {
        TableFactor::UNNEST { array_exprs, alias, with_offset: false, with_ordinality: false, .. } => {
            (array_exprs.clone(), alias.clone())
        }
        TableFactor::Function { name, args, alias, .. }
            if name.to_string().eq_ignore_ascii_case("unnest") =>
        {
            let lists = args.iter().map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            });
            (lists.collect::<Option<Vec<_>>>()?, alias.clone())
        }
        _ => return None,
    };
    let is_name = |expr: &Expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let names_columns = lists.iter().any(|list| visit_expressions(list, is_name).is_break());
    (names_columns && !lists.is_empty()).then_some(Unnest { lists, alias, keeps_all })
}

/// Unfolds the lists in the relation whose columns they are.
fn put_in(from: &mut [TableWithJoins], unnest: Unnest) -> Result<Unfolded> {
    let mut factors: Vec<&mut TableFactor> = from.iter_mut().flat_map(kept).collect();
    let names: Vec<Option<String>> = factors.iter().map(|factor| name_of(factor)).collect();
    let owner = match names.as_slice() {
        [_] => Some(0),
        names => names.iter().position(|name| name.as_ref().is_some_and(|n| qualifies(n, &unnest.lists))),
    };
    let Some(factor) = owner.and_then(|owner| factors.get_mut(owner)) else {
        let list = unnest.lists.first().map(ToString::to_string).unwrap_or_default();
        return Err(Error::invalid(format!(
            "unnest({list}) in FROM: name the relation that the list comes from, for example s.{list}"
        )));
    };
    let relation = name_of(factor).unwrap_or_else(|| "unfolded".to_owned());
    let columns = column_names(&unnest);
    let mut select = build::select_all(factor.clone());
    let function = if unnest.keeps_all { "unnest_outer" } else { "unnest" };
    for (list, column) in unnest.lists.into_iter().zip(&columns) {
        select.projection.push(build::aliased(call(function, vec![list]), column));
    }
    **factor = derived(build::query_of(select), Some(alias_of(&relation)));
    Ok(Unfolded { relation, name: unnest.alias.map(|alias| normalise(&alias.name)), columns })
}

/// Relations of one item of FROM whose rows no join drops or makes null.
fn kept(table: &mut TableWithJoins) -> Vec<&mut TableFactor> {
    use JoinOperator::{CrossJoin, Inner, Join, Left, LeftOuter};
    let is_left = |join: &sqlparser::ast::Join| matches!(join.join_operator, Left(_) | LeftOuter(_));
    let is_inner =
        |join: &sqlparser::ast::Join| matches!(join.join_operator, CrossJoin(_) | Join(_) | Inner(_));
    if !table.joins.iter().all(|join| is_left(join) || is_inner(join)) {
        return Vec::new();
    }
    let inner = table.joins.iter_mut().filter(|join| is_inner(join)).map(|join| &mut join.relation);
    std::iter::once(&mut table.relation).chain(inner).collect()
}

/// Name of a relation: its alias, else its last part.
fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => Some(normalise(&alias.name)),
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()).map(normalise),
        _ => None,
    }
}

/// True if the first name in `lists` begins with the relation `name`.
fn qualifies(name: &str, lists: &[Expr]) -> bool {
    let first = lists.iter().find_map(|list| {
        let qualifier = visit_expressions(list, |expr| match expr {
            Expr::CompoundIdentifier(idents) => ControlFlow::Break(idents.first().map(normalise)),
            _ => ControlFlow::Continue(()),
        });
        qualifier.break_value().flatten()
    });
    first.is_some_and(|first| first == name)
}

/// Names of the columns: those of the alias, else the alias itself, as in PostgreSQL.
fn column_names(unnest: &Unnest) -> Vec<String> {
    let name = unnest.alias.as_ref().map_or_else(|| "unnest".to_owned(), |alias| normalise(&alias.name));
    let given = unnest.alias.iter().flat_map(|alias| &alias.columns).map(|column| normalise(&column.name));
    let numbered = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name} ({n})") });
    let given: Vec<_> = given.collect();
    let missing = numbered.skip(given.len());
    let all = given.iter().cloned().chain(missing);
    all.take(unnest.lists.len()).collect()
}

impl Resolver<'_> {
    /// Makes the unfolded columns visible under the alias of the list.
    pub(super) fn add_unfolded(&mut self, unfolded: Vec<Unfolded>) {
        for Unfolded { relation, name, columns } in unfolded {
            let node = self.nodes.add(Node::Closed { columns });
            let part = Relation { alias: relation, path: name.into_iter().collect(), node, is_part: true };
            if let Some(scope) = self.scopes.last_mut() {
                scope.relations.push(part);
            }
        }
    }
}
