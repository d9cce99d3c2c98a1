//! Texts of a width: cut, filled, and without what would move the cursor.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that `text` takes.
pub(in crate::cli) fn width(text: &str) -> usize {
    text.width()
}

/// `text` as one line: spaces for line breaks and tabs, and U+FFFD for other characters that a terminal would obey or
/// that would turn the direction of text.
pub(in crate::cli) fn line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.trim_end().chars().map(shown).collect()
}

/// The beginning of `text` in at most `columns` columns; `…` ends one that was cut.
pub(in crate::cli) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut kept = String::new();
    for c in text.chars() {
        let taken = c.width().unwrap_or(0);
        if taken > left {
            break;
        }
        left -= taken;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// `text` in at most `lines` lines of at most `columns` columns, broken at spaces where there are some; `…` ends one that
/// was cut.
pub(in crate::cli) fn wrapped(text: &str, columns: usize, lines: usize) -> Vec<String> {
    let mut broken = Vec::new();
    let mut rest = text.trim();
    while broken.len() + 1 < lines && width(rest) > columns {
        let mut taken = 0;
        let fits = rest.char_indices().find(|(_, c)| {
            taken += c.width().unwrap_or(0);
            taken > columns
        });
        let end = fits.map_or(rest.len(), |(at, _)| at);
        let is_word_end = rest[end..].starts_with(' ');
        let end = rest[..end].rfind(' ').filter(|at| *at > 0 && !is_word_end).unwrap_or(end);
        if end == 0 {
            break;
        }
        broken.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    broken.push(cut(rest, columns));
    broken
}

/// `text` in exactly `columns` columns, at the left.
pub(in crate::cli) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let fill = columns - width(&text);
    text + &" ".repeat(fill)
}

/// `text` in exactly `columns` columns, at the right.
pub(in crate::cli) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    " ".repeat(columns - width(&text)) + &text
}

/// `text` as a literal of SQL.
pub(in crate::cli) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_width_that_they_should() {
        assert_eq!(left("abc", 5), "abc  ");
        assert_eq!(right("abc", 5), "  abc");
        assert_eq!(left("abcdef", 4), "abc…");
        // Two columns each: the second does not fit beside the sign.
        assert_eq!(left("界界界", 4), "界… ");
        assert_eq!((cut("abc", 0), cut("abc", 1)), (String::new(), "…".to_owned()));
    }

    #[test]
    fn long_texts_are_broken_at_spaces() {
        assert_eq!(wrapped("a bc def", 4, 9), ["a bc", "def"]);
        assert_eq!(wrapped("abcdefgh", 3, 9), ["abc", "def", "gh"]);
        assert_eq!(wrapped("a bc def", 4, 1), ["a b…"]);
        assert_eq!(wrapped("界界 界", 1, 9), ["…"]);
        assert_eq!(wrapped("", 4, 2), [""]);
    }

    #[test]
    fn text_of_others_cannot_move_the_cursor() {
        assert_eq!(line("a\u{1b}[2Jb\nc\td\u{202e}\n"), "a\u{fffd}[2Jb c d\u{fffd}");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
