//! `LIKE … ESCAPE '!'`: converts patterns to the form that the planner knows, escaped by backslashes.
//!
//! ```text
//! 'a!%b\c!!' ESCAPE '!'   'a\%b\\c!'
//! 'a\%b'     ESCAPE ''    'a\\%b'       (nothing is an escape)
//! pattern    ESCAPE '!'   regexp_replace(replace(pattern, '\', '\\'), '[!](.)', '\${1}', 'gs')
//! ```
//!
//! The last form is for computed patterns. Any character after an escape means itself. An escape at the end is
//! an error in a literal (SQL-92, 8.5 general rule 3) and means itself in a computed pattern.

use sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};

use crate::error::{Error, Result};
use crate::query::language::build::call;

/// Rewrites `expr` if it is a pattern match with an ESCAPE.
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
        Expr::SimilarTo { .. } => similar(expr),
        _ => Ok(()),
    }
}

/// Turns `x SIMILAR TO 'pattern'` into a match with a regular expression. The planner would take the pattern as
/// one, but `%` and `_` mean what they mean in LIKE, and the pattern must match the whole text.
fn similar(expr: &mut Expr) -> Result<()> {
    let Expr::SimilarTo { negated, expr: value, pattern, escape_char } = expr else { return Ok(()) };
    let escape = escape_char.as_ref().map_or(Ok(Some('\\')), character)?;
    let Some(text) = literal(pattern) else {
        let message = "SIMILAR TO takes a pattern in quotes; x ~ pattern takes any regular expression";
        return Err(Error::invalid(message));
    };
    *text = regular(text, escape);
    let null = Expr::Value(Value::Null.with_empty_span());
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let [left, right] = [value, pattern].map(|side| Box::new(std::mem::replace(side.as_mut(), null.clone())));
    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
    Ok(())
}

/// Returns the text of a text literal.
fn literal(expr: &mut Expr) -> Option<&mut String> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::NationalStringLiteral(text) => Some(text),
            Value::DollarQuotedString(quoted) => Some(&mut quoted.value),
            _ => None,
        },
        _ => None,
    }
}

/// Regular expression over the whole text, for a pattern of SIMILAR TO. Brackets mean the same in both.
fn regular(pattern: &str, escape: Option<char>) -> String {
    let mut out = "^(?s:".to_owned();
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => plain(&mut out, chars.next().unwrap_or(c)),
            '\\' => out.push_str("\\\\"),
            c if in_brackets => {
                in_brackets = c != ']';
                out.push(c);
            }
            '[' => {
                in_brackets = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' => plain(&mut out, c),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    out
}

/// Appends a character, escaped so that it means itself.
fn plain(out: &mut String, c: char) {
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}

/// The escape character; `None` for `''`.
fn character(escape: &ValueWithSpan) -> Result<Option<char>> {
    let wrong = || {
        Error::invalid(format!("ESCAPE {escape}: the escape is one character in quotes, such as ESCAPE '!'"))
    };
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = &escape.value else {
        return Err(wrong());
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => Err(wrong()),
    }
}

fn rewrite(pattern: &mut Expr, escape: Option<char>) -> Result<()> {
    match literal(pattern) {
        Some(text) => *text = backslashed(text, escape)?,
        None => calculated(pattern, escape),
    }
    Ok(())
}

/// The same pattern, escaped by backslashes.
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

/// Rewrites a computed pattern to one that is escaped by backslashes.
fn calculated(pattern: &mut Expr, escape: Option<char>) {
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
}

/// `c`, escaped for use within the brackets of a regular expression.
fn class_member(c: char) -> String {
    if matches!(c, '[' | ']' | '^' | '-' | '&' | '~') { format!("\\{c}") } else { c.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_to_is_of_all_of_the_text() {
        for (pattern, escape, wanted) in [
            ("a%", Some('\\'), "^(?s:a.*)$"),
            ("(a|b)_{2}", Some('\\'), "^(?s:(a|b).{2})$"),
            ("1.5$^", Some('\\'), "^(?s:1\\.5\\$\\^)$"),
            ("[%_.]+", Some('\\'), "^(?s:[%_.]+)$"),
            ("a\\%b!%", Some('\\'), "^(?s:a\\%b!.*)$"),
            ("a!%\\", Some('!'), "^(?s:a\\%\\\\)$"),
            ("a!x", Some('!'), "^(?s:ax)$"),
        ] {
            assert_eq!(regular(pattern, escape), wanted, "{pattern}");
        }
    }

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
                // The escape at the end escapes nothing.
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
