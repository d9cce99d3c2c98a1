//! `LIKE … ESCAPE '!'`: patterns in the one form that the planner knows, escaped by backslashes.
//!
//! ```text
//! 'a!%b\c!!' ESCAPE '!'   'a\%b\\c!'
//! 'a\%b'     ESCAPE ''    'a\\%b'       (nothing is an escape)
//! pattern    ESCAPE '!'   regexp_replace(replace(pattern, '\', '\\'), '[!](.)', '\${1}', 'gs')
//! ```
//!
//! The last is for patterns that are calculated. A character behind an escape means itself, whatever it is; an escape
//! at the end is an error in a literal (SQL-92, 8.5 general rule 3) and itself in a calculated pattern.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Value, ValueWithSpan,
};

use crate::error::{Error, Result};

/// Rewrites the pattern at the top of `expr`, if it is one with an ESCAPE.
pub(super) fn unescape(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            let Some(escape) = escape_char.take() else { return Ok(()) };
            let escape = character(&escape)?;
            if escape != Some('\\') {
                rewrite(pattern, escape)?;
            }
            Ok(())
        }
        Expr::SimilarTo { escape_char: Some(_), .. } => Err(Error::invalid(
            "SIMILAR TO takes no ESCAPE: put a backslash before what is meant as it is, or write x ~ 'pattern'",
        )),
        _ => Ok(()),
    }
}

/// The escape character; none is written as ''.
fn character(escape: &ValueWithSpan) -> Result<Option<char>> {
    let wrong = || {
        Error::invalid(format!("ESCAPE {escape}: the escape is one character in quotes, such as ESCAPE '!'"))
    };
    let text = match &escape.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text,
        _ => return Err(wrong()),
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => Err(wrong()),
    }
}

fn rewrite(pattern: &mut Expr, escape: Option<char>) -> Result<()> {
    match pattern {
        Expr::Nested(inner) => rewrite(inner, escape),
        Expr::Value(ValueWithSpan { value, .. }) => {
            let text = match value {
                Value::SingleQuotedString(text)
                | Value::EscapedStringLiteral(text)
                | Value::NationalStringLiteral(text) => text,
                Value::DollarQuotedString(quoted) => &mut quoted.value,
                Value::Null => return Ok(()),
                _ => return calculated(pattern, escape),
            };
            *text = backslashed(text, escape)?;
            Ok(())
        }
        _ => calculated(pattern, escape),
    }
}

/// The same pattern with backslashes.
fn backslashed(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(meant) = chars.next() else {
                let message = format!("LIKE '{pattern}' ends with its escape character, {c}: write it twice");
                return Err(Error::invalid(message));
            };
            if matches!(meant, '%' | '_' | '\\') {
                out.push('\\');
            }
            out.push(meant);
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(out)
}

/// Does the same to a pattern that is calculated.
fn calculated(pattern: &mut Expr, escape: Option<char>) -> Result<()> {
    let text = |text: &str| Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span());
    let given = std::mem::replace(pattern, text(""));
    let doubled = call("replace", vec![given, text("\\"), text("\\\\")]);
    *pattern = match escape {
        None => doubled,
        Some(escape) => {
            let escaped = text(&format!("[{}](.)", class_member(escape)));
            call("regexp_replace", vec![doubled, escaped, text("\\${1}"), text("gs")])
        }
    };
    Ok(())
}

/// `c` within the brackets of a regular expression.
fn class_member(c: char) -> String {
    if matches!(c, '[' | ']' | '^' | '-' | '&' | '~') { format!("\\{c}") } else { c.to_string() }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_character_escapes() {
        for (pattern, escape, wanted) in [
            ("100!%", Some('!'), "100\\%"),
            ("a!_b_", Some('!'), "a\\_b_"),
            ("a!!b%", Some('!'), "a!b%"),
            ("a!xb", Some('!'), "axb"),
            ("C:\\x!%", Some('!'), "C:\\\\x\\%"),
            ("%%%", Some('%'), "\\%%"),
            ("ü%ü", None, "ü%ü"),
            ("a\\%", None, "a\\\\%"),
            ("aü%", Some('ü'), "a\\%"),
        ] {
            if pattern == "%%%" {
                // The last sign escapes nothing.
                assert!(backslashed(pattern, escape).is_err());
                assert_eq!(backslashed("%%a", escape).unwrap(), "\\%a");
                continue;
            }
            assert_eq!(backslashed(pattern, escape).unwrap(), wanted, "{pattern}");
        }
        let error = backslashed("abc!", Some('!')).unwrap_err();
        assert!(error.message().contains("LIKE 'abc!' ends with its escape character"), "{error}");
    }
}
