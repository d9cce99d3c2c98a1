//! Pieces of SQL text that need not be complete, for editors: colours, completion, and where a statement ends.
//!
//! Statements are parsed by [`parse`](super::parse); this only tells words, literals and comments apart.

/// Kind of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Spaces and line ends.
    Space,
    /// `-- …` and `/* … */`.
    Comment,
    /// `'…'`, `E'…'`, `$$…$$`.
    Text,
    /// `"…"`.
    Quoted,
    /// `42`, `1.5e3`.
    Number,
    /// `select`, `http.route`, `$1`.
    Word,
    /// `;`.
    End,
    /// Anything else, one character each.
    Sign,
}

/// A piece, and its place in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lexeme {
    /// Kind.
    pub(crate) piece: Piece,
    /// First byte.
    pub(crate) from: usize,
    /// Byte after the last one.
    pub(crate) to: usize,
    /// False for a comment or quote without its end.
    pub(crate) is_closed: bool,
}

/// The pieces of `text`, in order and without gaps.
pub(crate) fn lex(text: &str) -> Vec<Lexeme> {
    let mut lexemes = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
        let (piece, length, is_closed) = first(rest);
        lexemes.push(Lexeme { piece, from, to: from + length, is_closed });
        from += length;
    }
    lexemes
}

/// The statements of `text` that end in a semicolon, and what is left after the last of them.
pub(crate) fn statements(text: &str) -> (Vec<&str>, &str) {
    let mut from = 0;
    let mut found = Vec::new();
    for end in lex(text).into_iter().filter(|lexeme| lexeme.piece == Piece::End) {
        found.push(text[from..end.from].trim());
        from = end.to;
    }
    found.retain(|statement| !is_blank(statement));
    (found, text[from..].trim())
}

/// True if `text` has nothing but spaces and comments.
pub(crate) fn is_blank(text: &str) -> bool {
    lex(text).iter().all(|lexeme| matches!(lexeme.piece, Piece::Space | Piece::Comment))
}

/// Kind and length in bytes of the first piece of a text that is not empty, and whether it has its end.
fn first(text: &str) -> (Piece, usize, bool) {
    let start = text.chars().next().unwrap_or_default();
    let while_is = |is: fn(char) -> bool| text.find(|c| !is(c)).unwrap_or(text.len());
    match start {
        c if c.is_whitespace() => (Piece::Space, while_is(char::is_whitespace), true),
        '-' if text.starts_with("--") => (Piece::Comment, text.find('\n').unwrap_or(text.len()), true),
        '/' if text.starts_with("/*") => match text[2..].find("*/") {
            Some(end) => (Piece::Comment, end + 4, true),
            None => (Piece::Comment, text.len(), false),
        },
        '\'' | '"' => {
            let piece = if start == '\'' { Piece::Text } else { Piece::Quoted };
            let (length, is_closed) = quoted(text, start);
            (piece, length, is_closed)
        }
        'e' | 'E' if text[1..].starts_with('\'') => {
            let (length, is_closed) = escaped(text);
            (Piece::Text, length, is_closed)
        }
        '$' if dollar_tag(text).is_some() => {
            let tag = dollar_tag(text).unwrap_or_default();
            match text[tag.len()..].find(tag) {
                Some(end) => (Piece::Text, end + 2 * tag.len(), true),
                None => (Piece::Text, text.len(), false),
            }
        }
        c if c.is_ascii_digit() => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
            (Piece::Number, while_is(is_part), true)
        }
        c if c.is_alphabetic() || c == '_' || c == '$' || c == '@' => {
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '@');
            (Piece::Word, while_is(is_part), true)
        }
        ';' => (Piece::End, 1, true),
        other => (Piece::Sign, other.len_utf8(), true),
    }
}

/// Length of a text such as `E'it\'s'`, in which a backslash takes the next character along.
fn escaped(text: &str) -> (usize, bool) {
    let mut chars = text.char_indices().skip(2).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\'' if chars.next_if(|(_, next)| *next == '\'').is_none() => return (at + 1, true),
            _ => {}
        }
    }
    (text.len(), false)
}

/// The `$$` or `$tag$` that a text in dollars begins with.
fn dollar_tag(text: &str) -> Option<&str> {
    let length = text[1..].find('$')?;
    let tag = &text[1..=length];
    let is_name = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| &text[..length + 2])
}

/// Length of a quoted text; two quotes in it are one character.
fn quoted(text: &str, quote: char) -> (usize, bool) {
    let mut from = 1;
    while let Some(place) = text[from..].find(quote) {
        let after = from + place + 1;
        if !text[after..].starts_with(quote) {
            return (after, true);
        }
        from = after + 1;
    }
    (text.len(), false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn semicolons_end_statements_outside_of_quotes_and_comments() {
        let (all, rest) = statements("select ';' -- ;\n; select \"a;b\" /* ; */;; select 1");
        assert_eq!(all, ["select ';' -- ;", "select \"a;b\" /* ; */"]);
        assert_eq!(rest, "select 1");
        assert_eq!(statements("select 'it''s; "), (vec![], "select 'it''s;"));
        assert_eq!(statements("select E'it\\'s;''\\\\'; x").0, ["select E'it\\'s;''\\\\'"]);
        assert_eq!(statements("select $$;'$$, $a$;$$;$a$; $1").0, ["select $$;'$$, $a$;$$;$a$"]);
        assert!(is_blank(" -- nothing\n/* open"));
        assert!(!is_blank("-- a\n1"));
    }

    #[test]
    fn names_with_dots_are_one_word() {
        let pieces: Vec<_> = lex("http.route='x' and $1>=1.5e3").into_iter().map(|l| l.piece).collect();
        use Piece::{Number, Sign, Space, Text, Word};
        assert_eq!(pieces, [Word, Sign, Text, Space, Word, Space, Word, Sign, Sign, Number]);
    }

    proptest! {
        /// Pieces follow each other without gaps, whatever the text.
        #[test]
        fn every_byte_is_in_one_piece(text in "[a-z'\";\\-/* é\u{1F600}\n0-9.]{0,40}") {
            let lexemes = lex(&text);
            let mut at = 0;
            for lexeme in &lexemes {
                prop_assert_eq!(lexeme.from, at);
                prop_assert!(lexeme.to > lexeme.from && text.is_char_boundary(lexeme.to));
                at = lexeme.to;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
