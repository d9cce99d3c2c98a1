//! How does SQL text become a syntax tree?
//!
//! A text is one statement, or one condition. Its tokens are counted before it is parsed, so that neither the
//! parser nor later code recurses too deeply. Names in the tree are unresolved: the resolver does that.

use std::collections::VecDeque;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement};
use sqlparser::ast::{Expr, Set, Statement as SqlStatement, Value};
#[cfg(feature = "postgres")]
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::with_stack;
use crate::error::{Error, Position, Result};

static DIALECT: GenericDialect = GenericDialect {};

/// Dialect of statements about PostgreSQL's catalogue.
#[cfg(feature = "postgres")]
static POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Most operators in one statement. Each may nest the tree by one level, and walking the tree recurses.
pub(super) const OPERATORS_MAX: usize = 1000;

/// Largest depth of expressions, subqueries and tables.
const NESTING_MAX: usize = 50;

/// Largest depth of parentheses anywhere: the parser does not count those of types and patterns.
const PARENTHESES_MAX: usize = 200;

/// Parses `sql`, which must be exactly one statement.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    parse_in(sql, &DIALECT)
}

/// Parses `sql` as PostgreSQL does, which must be exactly one statement. The tree is for [`with_stack`].
#[cfg(feature = "postgres")]
pub(crate) fn parse_postgres(sql: &str) -> Result<Statement> {
    parse_in(sql, &POSTGRES)
}

/// Settings that a text makes for its statement.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `SET weighted = on`: aggregates estimate what they would be without sampling.
    pub(crate) is_weighted: Option<bool>,
}

/// Parses `sql`, which must be exactly one statement, after settings for it: `SET weighted = on; SELECT …`.
pub(crate) fn parse_with_settings(sql: &str) -> Result<(Settings, Statement)> {
    let mut statements = parser(sql, &DIALECT)?.parse_statements().map_err(|e| explained(&e))?;
    let mut settings = Settings::default();
    while let Some(Statement::Statement(statement)) = statements.front()
        && let SqlStatement::Set(set) = &**statement
    {
        settings.is_weighted = Some(weighted(set)?);
        statements.pop_front();
        if statements.is_empty() {
            return Err(Error::invalid(
                "SET lasts for one text: put the statement behind it, as in SET weighted = on; SELECT …",
            ));
        }
    }
    Ok((settings, only(statements)?))
}

/// The value that a text sets `weighted` to, if it does nothing else.
pub(crate) fn setting(sql: &str) -> Option<bool> {
    let mut statements = parser(sql, &DIALECT).ok()?.parse_statements().ok()?;
    match (statements.pop_front()?, statements.is_empty()) {
        (Statement::Statement(statement), true) => match &*statement {
            SqlStatement::Set(set) => weighted(set).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The value of `SET weighted = …`.
fn weighted(set: &Set) -> Result<bool> {
    let unknown = || Error::invalid(format!("unknown setting: {set}; there is SET weighted = on and off"));
    let Set::SingleAssignment { variable, values, .. } = set else { return Err(unknown()) };
    let [value] = values.as_slice() else { return Err(unknown()) };
    if !variable.to_string().eq_ignore_ascii_case("weighted") {
        return Err(unknown());
    }
    let word = match value {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        _ => return Err(unknown()),
    };
    switch(&word).ok_or_else(unknown)
}

/// The switch that a word means, as in PostgreSQL.
pub(crate) fn switch(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn parse_in(sql: &str, dialect: &'static dyn Dialect) -> Result<Statement> {
    only(parser(sql, dialect)?.parse_statements().map_err(|e| explained(&e))?)
}

fn only(mut statements: VecDeque<Statement>) -> Result<Statement> {
    match (statements.pop_front(), statements.len()) {
        (None, _) => Err(Error::invalid("the text has no statement")),
        (Some(statement), 0) => Ok(statement),
        (Some(_), more) => Err(Error::invalid(format!("one statement at a time: the text has {}", more + 1))),
    }
}

/// Parses `text`, which must be exactly one expression, as after WHERE.
pub(crate) fn parse_condition(text: &str) -> Result<Expr> {
    let parse = || parser(text, &DIALECT)?.parse_into_expr().map_err(|e| explained(&e));
    let parsed = with_stack(parse).map_err(|e| e.context("the condition"))?;
    match parsed.alias {
        None => Ok(parsed.expr),
        Some(alias) => {
            Err(Error::invalid(format!("the condition: syntax error: expected its end, found {alias}")))
        }
    }
}

/// Creates a parser of `text`; fails if `text` is nested too deeply.
fn parser(text: &str, dialect: &'static dyn Dialect) -> Result<DFParser<'static>> {
    let tokens = Tokenizer::new(dialect, text)
        .tokenize_with_location()
        .map_err(|e| syntax_error(&sqlparser::parser::ParserError::from(e)))?;
    check_depth(&tokens)?;
    let builder = DFParserBuilder::new(tokens).with_dialect(dialect).with_recursion_limit(NESTING_MAX);
    builder.build().map_err(|e| explained(&e))
}

fn explained(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::SQL(e, _) => syntax_error(e),
        other => Error::invalid(other.strip_backtrace()),
    }
}

/// Refuses tokens that could become a tree deeper than the limits.
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
    check_operators(operators, comparisons)?;
    if depth_max > PARENTHESES_MAX {
        return Err(Error::invalid(format!(
            "the statement has parentheses nested {depth_max} deep; at most {PARENTHESES_MAX} levels are allowed"
        )));
    }
    Ok(())
}

/// Refuses a statement with more than [`OPERATORS_MAX`] operators or comparisons.
pub(super) fn check_operators(operators: usize, comparisons: usize) -> Result<()> {
    for (count, what) in [(operators, "operators"), (comparisons, "comparisons")] {
        if count > OPERATORS_MAX {
            return Err(Error::invalid(format!(
                "the statement has {count} {what}; at most {OPERATORS_MAX} are allowed: \
                 write `x IN (…)` in place of a long chain of OR"
            )));
        }
    }
    Ok(())
}

/// Effect of a token on the depth of the tree.
enum Role {
    /// Nothing.
    Flat,
    /// Nests by one level.
    Operator,
    /// Also nests by one. Counted separately: a condition has one comparison per logical operator.
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
        // Every other sign is an operator, or the `[` of a subscript.
        _ => Role::Operator,
    }
}

/// Converts the parser's message: "sql parser error: Expected: …, found: x at Line: 1, Column: 8".
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

/// Position from the end of the parser's message; the parser gives it in no other form. Text before it may quote
/// the statement.
fn place_in(message: &str) -> Option<Position> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, rest) = place.split_once(", Column: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Position::new(line.parse().ok()?, rest[..digits].parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::Condition;

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

    #[test]
    fn settings_stand_before_the_statement() {
        let read = |text: &str| {
            parse_with_settings(text)
                .map(|(settings, statement)| (settings.is_weighted, statement.to_string()))
        };
        assert_eq!(read("SELECT 1").unwrap(), (None, "SELECT 1".to_owned()));
        for (word, on) in
            [("on", true), ("TRUE", true), ("'on'", true), ("1", true), ("off", false), ("false", false)]
        {
            assert_eq!(
                read(&format!("set weighted = {word}; select 1")).unwrap(),
                (Some(on), "SELECT 1".to_owned())
            );
        }
        assert_eq!(read("SET weighted TO on; SET weighted = off; SELECT 1;").unwrap().0, Some(false));
        assert_eq!(
            (setting("set weighted = off;"), setting("SET weighted = on; SELECT 1")),
            (Some(false), None)
        );
        for (wrong, words) in [
            ("SET weighted = on", "put the statement behind it"),
            ("SET weighted = maybe; SELECT 1", "unknown setting"),
            ("SET search_path = x; SELECT 1", "unknown setting"),
            ("SET weighted = on; SELECT 1; SELECT 2", "one statement at a time"),
            ("SELECT 1; SET weighted = on", "one statement at a time"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.message().contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_condition_is_one_expression() {
        assert_eq!(parse_condition("a = 1 OR b IS NULL").unwrap().to_string(), "a = 1 OR b IS NULL");
        for wrong in ["", "a = 1 b", "a = 1; DELETE", "a = 1) OR (b = 2", "(", "'a"] {
            let error = parse_condition(wrong).unwrap_err();
            assert!(error.message().starts_with("the condition: syntax error:"), "{wrong}: {error}");
        }
        // The deepest accepted condition fits the stack of a server thread.
        let deepest = || {
            let text = format!("{} OR {}", vec!["a"; 1000].join(" = "), vec!["a"; 1000].join(" + "));
            let condition = Condition::new(parse_condition(&text).unwrap());
            assert_eq!(Condition::new(condition.expr()).to_string(), text);
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(deepest).unwrap().join().unwrap();
        let error = parse_condition(&vec!["a"; 100_000].join(" = ")).unwrap_err();
        assert!(error.message().contains("at most 1000"), "{error}");
    }
}
