//! Expands `*` and `x.*`: the planner would also show the hidden columns of an open relation. EXCEPT, EXCLUDE,
//! REPLACE, RENAME and ILIKE are applied here.

use sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, RenameSelectItem, SelectItem, SelectItemQualifiedWildcardKind,
    WildcardAdditionalOptions,
};

use super::Resolver;
use super::errors::{nearest, unknown};
use super::names::Clause;
use super::node::StarSource;
use super::scope::{Merged, Name, Relation, Scope, column, normalise, resolved};
use super::select::SelectList;
use crate::error::{Error, Result};
use crate::event::schema;

/// A column that a wildcard expands to.
struct Column {
    name: String,
    expr: Expr,
    /// True if `expr` is a column of this name.
    is_plain: bool,
}

impl Resolver<'_> {
    pub(super) fn expand_wildcard(
        &mut self,
        options: WildcardAdditionalOptions,
        list: &mut SelectList,
    ) -> Result<()> {
        let Some(mut scope) = self.scopes.last().cloned() else { return Ok(()) };
        scope.relations.retain(|relation| !relation.is_part);
        if scope.relations.is_empty() {
            return Err(Error::invalid("SELECT * needs a FROM"));
        }
        self.expand(&scope, SelectItem::Wildcard, options, list)
    }

    pub(super) fn expand_qualified_wildcard(
        &mut self,
        kind: &SelectItemQualifiedWildcardKind,
        options: WildcardAdditionalOptions,
        list: &mut SelectList,
    ) -> Result<()> {
        let name = match kind {
            SelectItemQualifiedWildcardKind::ObjectName(name) => name,
            SelectItemQualifiedWildcardKind::Expr(expr) => {
                return Err(Error::invalid(format!("{expr}.* is not supported: name the fields")));
            }
        };
        let idents: Vec<_> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let parts: Vec<_> = idents.iter().map(normalise).collect();
        let found =
            self.scopes.iter().rev().find_map(|scope| scope.relations.iter().find(|r| r.is_called(&parts)));
        let Some(relation) = found.cloned() else {
            let name = Name::new(&idents);
            let relations = self.scopes.iter().flat_map(|s| &s.relations);
            let known: Vec<_> = relations.map(|r| r.alias.as_str()).collect();
            return Err(unknown("table", &name.exact, name.at, &nearest(&name.exact, known, 2)));
        };
        let alias = relation.alias.clone();
        let scope = Scope { relations: vec![relation], merged: Vec::new() };
        self.expand(&scope, |options| qualified_star(&alias, options), options, list)
    }

    fn expand(
        &mut self,
        scope: &Scope,
        as_is: impl FnOnce(WildcardAdditionalOptions) -> SelectItem,
        mut options: WildcardAdditionalOptions,
        list: &mut SelectList,
    ) -> Result<()> {
        let any_open = scope.relations.iter().any(|r| self.nodes.is_open(r.node));
        let any_opaque = scope.relations.iter().any(|r| self.nodes.is_opaque(r.node));
        if any_opaque && !any_open && scope.merged.is_empty() {
            list.is_opaque = true;
            if let Some(replace) = &mut options.opt_replace {
                for item in &mut replace.items {
                    self.resolve_expr(&mut item.expr, Clause::Input)?;
                }
            }
            list.push_wildcard(as_is(options), Vec::new());
            return Ok(());
        }
        let mut columns = Vec::new();
        for merged in scope.merged.iter().filter(|m| !self.is_shown(scope, m)) {
            columns.push(Column { name: merged.name.clone(), expr: merged.expr.clone(), is_plain: false });
        }
        let mut emitted: Vec<&str> = Vec::new();
        for relation in &scope.relations {
            if self.nodes.is_open(relation.node) {
                list.sources.push(StarSource { alias: relation.alias.clone(), node: relation.node });
            }
            let Some(names) = self.nodes.star(relation.node) else {
                list.is_opaque = true;
                list.push_wildcard(qualified_star(&relation.alias, <_>::default()), Vec::new());
                continue;
            };
            for name in names {
                match merged_column(scope, relation, &name) {
                    Some(merged) if emitted.contains(&merged.name.as_str()) => {}
                    Some(merged) => {
                        emitted.push(&merged.name);
                        columns.push(Column { name, expr: merged.expr.clone(), is_plain: false });
                    }
                    None => {
                        let expr = column(&relation.alias, &name);
                        columns.push(Column { name, expr, is_plain: true });
                    }
                }
            }
        }
        list.sources.dedup();
        self.apply(options, &mut columns, list)?;
        for Column { name, expr, is_plain } in columns {
            if is_plain { list.push_plain(expr, &name) } else { list.push_named(expr, &name) }
        }
        Ok(())
    }

    /// True if `*` shows the merged column anyway.
    fn is_shown(&self, scope: &Scope, merged: &Merged) -> bool {
        merged.members.iter().any(|(alias, column)| {
            let relation = scope.relations.iter().find(|r| r.alias == *alias);
            relation.and_then(|r| self.nodes.star(r.node)).is_some_and(|names| names.contains(column))
        })
    }

    fn apply(
        &mut self,
        options: WildcardAdditionalOptions,
        columns: &mut Vec<Column>,
        list: &mut SelectList,
    ) -> Result<()> {
        if let Some(ilike) = &options.opt_ilike {
            let (kept, dropped): (Vec<_>, Vec<_>) = columns
                .drain(..)
                .partition(|c| is_like(&c.name.to_lowercase(), &ilike.pattern.to_lowercase()));
            *columns = kept;
            list.blocked.extend(dropped.into_iter().map(|c| c.name));
        }
        for idents in excluded(&options) {
            let index = find(columns, &idents)?;
            let name = columns[index].name.clone();
            columns.retain(|c| c.name != name);
            list.blocked.push(name);
        }
        for item in options.opt_replace.into_iter().flat_map(|r| r.items) {
            let index = find(columns, std::slice::from_ref(&item.column_name))?;
            let mut expr = item.expr;
            self.resolve_expr(&mut expr, Clause::Input)?;
            columns[index].expr = expr;
            columns[index].is_plain = false;
        }
        let renamed = match options.opt_rename {
            None => Vec::new(),
            Some(RenameSelectItem::Single(item)) => vec![item],
            Some(RenameSelectItem::Multiple(items)) => items,
        };
        for item in renamed {
            let index = find(columns, std::slice::from_ref(&item.ident))?;
            let column = &mut columns[index];
            list.blocked.push(std::mem::replace(&mut column.name, normalise(&item.alias)));
            column.is_plain = false;
        }
        Ok(())
    }
}

fn qualified_star(alias: &str, options: WildcardAdditionalOptions) -> SelectItem {
    let name = vec![resolved(alias)].into();
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

fn merged_column<'s>(scope: &'s Scope, relation: &Relation, name: &str) -> Option<&'s Merged> {
    let is_member = |(alias, column): &(String, String)| *alias == relation.alias && column == name;
    scope.merged.iter().find(|m| m.members.iter().any(is_member))
}

/// Names after EXCEPT and EXCLUDE.
fn excluded(options: &WildcardAdditionalOptions) -> Vec<Vec<Ident>> {
    let mut names: Vec<Vec<Ident>> = Vec::new();
    if let Some(except) = &options.opt_except {
        names.push(vec![except.first_element.clone()]);
        names.extend(except.additional_elements.iter().map(|i| vec![i.clone()]));
    }
    let objects = match &options.opt_exclude {
        None => &[][..],
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.as_slice(),
    };
    names.extend(objects.iter().map(|n| n.0.iter().filter_map(|p| p.as_ident().cloned()).collect()));
    names
}

fn find(columns: &[Column], idents: &[Ident]) -> Result<usize> {
    let name = Name::new(idents);
    columns.iter().position(|c| c.name == name.folded).ok_or_else(|| {
        let known: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
        let error = unknown("column", &name.exact, name.at, &nearest(&name.exact, known.iter().copied(), 2));
        if known.contains(&schema::ATTRIBUTES) {
            return error.followed_by("; * shows core columns and `attributes`, not single attributes");
        }
        error
    })
}

/// True if `text` matches `pattern`, with SQL's `%` and `_`.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for p in pattern {
        let mut next = vec![false; text.len() + 1];
        next[0] = p == '%' && reached[0];
        for (i, c) in text.iter().enumerate() {
            next[i + 1] = match p {
                '%' => reached[i + 1] || next[i],
                '_' => reached[i],
                _ => reached[i] && *c == p,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn like_has_two_wildcards() {
        assert!(is_like("trace_id", "%id"));
        assert!(is_like("trace_id", "tr_ce%"));
        assert!(is_like("", "%"));
        assert!(!is_like("trace_id", "id%"));
        assert!(!is_like("ab", "_"));
    }
}
