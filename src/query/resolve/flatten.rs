//! Corrects misparsed names, before other steps see the tree.
//!
//! The parser does not take `user.id` for a name: `user`, `current_date`, `localtime` and a few more are
//! functions without parentheses. So it yields
//!
//! ```text
//! user.id     field "id" of the function call user
//! l.user.id   field "user" (a function call) of l, then field "id"
//! db.user     a call of the function "db.user"
//! ```
//!
//! and all three become compound names here. Patterns are also brought into one form ([`like`]).

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArguments, Ident, ObjectNamePart, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};

use super::like;
use crate::error::{Error, Result};

/// Turns misparsed function calls into names, and brings patterns into one form.
pub(super) fn flatten(statement: &mut Statement) -> Result<()> {
    match statement {
        Statement::Statement(statement) => flatten_part(statement.as_mut()),
        Statement::Explain(explain) => flatten(&mut explain.statement),
        _ => Ok(()),
    }
}

/// Like [`flatten`], for a part of a statement.
pub(super) fn flatten_part(part: &mut impl VisitMut) -> Result<()> {
    match part.visit(&mut Flatten) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Flatten;

impl VisitorMut for Flatten {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Err(error) = like::unescape(expr).and_then(|()| check_zone(expr)) {
            return ControlFlow::Break(Box::new(error));
        }
        match expr {
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let Some(mut name) = name_of(root) {
                    let fields = access_chain.iter().map_while(|access| match access {
                        AccessExpr::Dot(field) => name_of(field),
                        AccessExpr::Subscript(_) => None,
                    });
                    let fields: Vec<_> = fields.collect();
                    let rest = access_chain.split_off(fields.len());
                    name.extend(fields.into_iter().flatten());
                    let name = compound(name);
                    *expr = if rest.is_empty() {
                        name
                    } else {
                        Expr::CompoundFieldAccess { root: Box::new(name), access_chain: rest }
                    };
                }
            }
            Expr::Function(function) if function.name.0.len() > 1 => {
                if let Some(name) = bare_call(function) {
                    *expr = compound(name);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Refuses computed zones: a zone is part of a type, so it must be known before rows are read.
fn check_zone(expr: &Expr) -> Result<()> {
    let Expr::AtTimeZone { time_zone, .. } = expr else { return Ok(()) };
    match time_zone.as_ref() {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }) => Ok(()),
        other => Err(Error::invalid(format!(
            "AT TIME ZONE {other}: the zone is a name in quotes, such as 'Europe/Brussels', or an offset such as '+02:00'"
        ))),
    }
}

fn compound(mut parts: Vec<Ident>) -> Expr {
    match parts.len() {
        1 => Expr::Identifier(parts.remove(0)),
        _ => Expr::CompoundIdentifier(parts),
    }
}

fn name_of(expr: &Expr) -> Option<Vec<Ident>> {
    match expr {
        Expr::Identifier(ident) => Some(vec![ident.clone()]),
        Expr::CompoundIdentifier(idents) => Some(idents.clone()),
        Expr::Function(function) => bare_call(function),
        _ => None,
    }
}

/// Returns the name of a function call without parentheses.
fn bare_call(function: &Function) -> Option<Vec<Ident>> {
    let bare = matches!(function.args, FunctionArguments::None)
        && function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty();
    if !bare {
        return None;
    }
    function
        .name
        .0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(ident.clone()),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::Statement as SqlStatement;

    use super::*;
    use crate::query::language::parse;

    fn flattened(expr: &str) -> Expr {
        let mut statement = parse(&format!("SELECT {expr}")).unwrap();
        flatten(&mut statement).unwrap();
        let Statement::Statement(statement) = statement else { panic!() };
        let SqlStatement::Query(query) = *statement else { panic!() };
        match query.body.as_select().unwrap().projection.first().unwrap() {
            sqlparser::ast::SelectItem::UnnamedExpr(expr) => expr.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keyword_functions_inside_names_become_names() {
        for name in [
            "user.id",
            "l.user.id",
            "db.user",
            "a.current_date.b",
            "current_timestamp.x.y",
            "s.user",
            "session_user.name",
            "localtime.zone",
        ] {
            let Expr::CompoundIdentifier(parts) = flattened(name) else { panic!("{name}") };
            let parts: Vec<_> = parts.into_iter().map(|i| i.value).collect();
            assert_eq!(parts.join("."), name);
        }
    }

    #[test]
    fn calls_stay_calls() {
        assert!(matches!(flattened("current_date"), Expr::Function(_)));
        assert!(matches!(flattened("now()"), Expr::Function(_)));
        assert!(matches!(flattened("attributes['a'].b"), Expr::CompoundFieldAccess { .. }));
    }
}
