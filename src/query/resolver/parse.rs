//! SQL text to syntax tree: one statement, with attribute names that the parser took for something else
//! put right.
//!
//! `user.id` is not a name to the parser: `user`, `current_date`, `localtime` and a few more are functions
//! that need no parentheses. So it yields
//!
//! ```text
//! user.id     field "id" of the function call user
//! l.user.id   field "user" (a function call) of l, then field "id"
//! db.user     a call of the function "db.user"
//! ```
//!
//! and all three become compound names here, before anything else looks at the tree.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArguments, Ident, ObjectNamePart, Statement as SqlStatement,
    VisitMut, VisitorMut,
};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, Result};

/// Operators in one statement. Each may nest the tree by one, and the tree is walked recursively.
const OPERATORS_MAX: usize = 1000;

/// Depth of parentheses and subqueries.
const NESTING_MAX: usize = 50;

/// Parses `sql`, which must be exactly one statement.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let dialect = sqlparser::dialect::GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|e| syntax_error(&sqlparser::parser::ParserError::from(e)))?;
    let operators = tokens.iter().filter(|t| is_operator(&t.token)).count();
    if operators > OPERATORS_MAX {
        return Err(Error::invalid(format!(
            "the statement has {operators} operators, at most {OPERATORS_MAX} are allowed: \
             write `x IN (…)` in place of a long chain of OR"
        )));
    }
    let mut statements = DFParserBuilder::new(tokens)
        .with_recursion_limit(NESTING_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| match e.find_root() {
            datafusion::error::DataFusionError::SQL(e, _) => syntax_error(e),
            other => Error::invalid(other.strip_backtrace()),
        })?;
    let mut statement = match (statements.pop_front(), statements.len()) {
        (None, _) => return Err(Error::invalid("there is no statement in the text")),
        (Some(statement), 0) => statement,
        (Some(_), more) => {
            return Err(Error::invalid(format!("one statement at a time: the text has {}", more + 1)));
        }
    };
    flatten(&mut statement);
    Ok(statement)
}

fn is_operator(token: &Token) -> bool {
    use sqlparser::keywords::Keyword;
    match token {
        Token::Word(w) => {
            w.quote_style.is_none()
                && matches!(
                    w.keyword,
                    Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::UNION | Keyword::IS
                )
        }
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon
        | Token::LBracket => true,
        _ => false,
    }
}

/// The parser says "sql parser error: Expected: …, found: x at Line: 1, Column: 8".
fn syntax_error(error: &sqlparser::parser::ParserError) -> Error {
    use sqlparser::parser::ParserError;
    let message = match error {
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m.clone(),
        ParserError::RecursionLimitExceeded => format!("nested deeper than {NESTING_MAX} levels"),
    };
    let message = message.replace(" at Line: ", " at line ").replace(", Column: ", ", column ");
    Error::invalid(format!("syntax error: {message}"))
}

/// Makes names of what the parser took for function calls.
fn flatten(statement: &mut Statement) {
    match statement {
        Statement::Statement(statement) => flatten_sql(statement),
        Statement::Explain(explain) => flatten(&mut explain.statement),
        _ => {}
    }
}

fn flatten_sql(statement: &mut SqlStatement) {
    let _ = statement.visit(&mut Flatten);
}

struct Flatten;

impl VisitorMut for Flatten {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
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

/// The name of a function call without parentheses.
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
    use super::*;

    fn flattened(expr: &str) -> Expr {
        let Statement::Statement(statement) = parse(&format!("SELECT {expr}")).unwrap() else { panic!() };
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

    #[test]
    fn exactly_one_statement_is_accepted() {
        assert!(parse("SELECT 1;").is_ok());
        assert_eq!(
            parse("SELECT 1; SELECT 2").unwrap_err().message(),
            "one statement at a time: the text has 2"
        );
        assert!(parse("  -- nothing").is_err());
        let error = parse("SELECT 1\nFROM (").unwrap_err();
        assert!(error.message().starts_with("syntax error:"), "{error}");
        let error = parse("SELECT 'a\n").unwrap_err();
        assert!(error.message().contains("line 1"), "{error}");
    }
}
