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
    AccessExpr, Expr, Function, FunctionArguments, Ident, ObjectNamePart, Statement as SqlStatement, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::like;
use crate::error::{Error, Position, Result};

/// Operators in one statement. Each may nest the tree by one, and the tree is walked recursively.
const OPERATORS_MAX: usize = 1000;

/// Depth of expressions, subqueries and tables.
const NESTING_MAX: usize = 50;

/// Depth of parentheses, wherever: the parser does not count those of types and of patterns.
const PARENTHESES_MAX: usize = 200;

/// Parses `sql`, which must be exactly one statement.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let dialect = sqlparser::dialect::GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|e| syntax_error(&sqlparser::parser::ParserError::from(e)))?;
    check_depth(&tokens)?;
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
    flatten(&mut statement)?;
    Ok(statement)
}

/// Refuses what might make a tree that is too deep, whatever the parser makes of it.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut operators, mut comparisons, mut depth, mut depth_max) = (0, 0, 0_usize, 0);
    for TokenWithSpan { token, .. } in tokens {
        match role(token) {
            Role::Operator => operators += 1,
            Role::Comparison => comparisons += 1,
            Role::Open => {
                depth += 1;
                depth_max = depth_max.max(depth);
            }
            Role::Close => depth = depth.saturating_sub(1),
            Role::Flat => {}
        }
    }
    for (count, what) in [(operators, "operators"), (comparisons, "comparisons")] {
        if count > OPERATORS_MAX {
            return Err(Error::invalid(format!(
                "the statement has {count} {what}, at most {OPERATORS_MAX} are allowed: \
                 write `x IN (…)` in place of a long chain of OR"
            )));
        }
    }
    if depth_max > PARENTHESES_MAX {
        return Err(Error::invalid(format!(
            "the statement has parentheses in parentheses, {depth_max} deep: at most {PARENTHESES_MAX} are allowed"
        )));
    }
    Ok(())
}

/// What a token may do to the depth of the tree.
enum Role {
    /// Nothing.
    Flat,
    /// Nests it by one.
    Operator,
    /// As well; but in conditions there is one to each operator, so they are counted apart.
    Comparison,
    Open,
    Close,
}

fn role(token: &Token) -> Role {
    use sqlparser::keywords::Keyword as K;
    match token {
        Token::Word(w) if w.quote_style.is_some() => Role::Flat,
        Token::Word(w) => match w.keyword {
            K::AND | K::OR | K::XOR | K::NOT | K::IS | K::UNION | K::EXCEPT | K::INTERSECT | K::MINUS => {
                Role::Operator
            }
            K::DIV | K::COLLATE | K::AT | K::EXPLAIN | K::ANALYZE | K::DESCRIBE => Role::Operator,
            K::LIKE | K::ILIKE | K::SIMILAR | K::RLIKE | K::REGEXP | K::BETWEEN | K::IN | K::OVERLAPS => {
                Role::Comparison
            }
            K::NOTNULL | K::MEMBER | K::OPERATOR => Role::Comparison,
            _ => Role::Flat,
        },
        Token::Eq | Token::DoubleEq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => {
            Role::Comparison
        }
        Token::LParen | Token::LBrace => Role::Open,
        Token::RParen | Token::RBrace => Role::Close,
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::HexStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Comma
        | Token::Whitespace(_)
        | Token::Period
        | Token::RBracket
        | Token::SemiColon => Role::Flat,
        // Every other sign is one operator or another, a subscript's `[` too.
        _ => Role::Operator,
    }
}

/// The parser says "sql parser error: Expected: …, found: x at Line: 1, Column: 8".
fn syntax_error(error: &sqlparser::parser::ParserError) -> Error {
    use sqlparser::parser::ParserError;
    let message = match error {
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m.clone(),
        ParserError::RecursionLimitExceeded => format!("nested deeper than {NESTING_MAX} levels"),
    };
    let position = place_in(&message);
    let message = message.replace(" at Line: ", " at line ").replace(", Column: ", ", column ");
    Error::invalid(format!("syntax error: {message}")).at(position)
}

/// The place that the parser's words name, which has it in no other form. It stands last: what comes before may
/// quote the statement.
fn place_in(message: &str) -> Option<Position> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, rest) = place.split_once(", Column: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Position::new(line.parse().ok()?, rest[..digits].parse().ok()?)
}

/// Makes names of what the parser took for function calls, and one form of patterns.
fn flatten(statement: &mut Statement) -> Result<()> {
    match statement {
        Statement::Statement(statement) => flatten_sql(statement),
        Statement::Explain(explain) => flatten(&mut explain.statement),
        _ => Ok(()),
    }
}

fn flatten_sql(statement: &mut SqlStatement) -> Result<()> {
    match statement.visit(&mut Flatten) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Flatten;

impl VisitorMut for Flatten {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Err(error) = like::unescape(expr).and_then(|()| check_zone(expr)) {
            return ControlFlow::Break(error);
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

/// Refuses zones that are calculated: a zone is a part of a type, so it has to be known before there are rows.
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
        assert_eq!(error.position().map(|at| at.line), Some(1), "{error}");
    }
}
