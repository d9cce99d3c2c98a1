//! The words of a statement, read from the front.

use crate::query::language::lex::{Lexeme, Piece, lex};

/// The words of a statement, for reading it from the front.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    text: &'a str,
    left: std::vec::IntoIter<Lexeme>,
}

impl<'a> Words<'a> {
    /// The words of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        let mut words = lex(text);
        words.retain(|word| !matches!(word.piece, Piece::Space | Piece::Comment));
        Self { text, left: words.into_iter() }
    }

    /// The next word, and the byte after it.
    pub(super) fn next(&mut self) -> Option<(Piece, &'a str, usize)> {
        self.left.next().map(|word| (word.piece, &self.text[word.from..word.to], word.to))
    }

    /// Takes the next word if it is `wanted`, in any case.
    pub(super) fn take(&mut self, wanted: &str) -> bool {
        let mut ahead = self.clone();
        let is_next = ahead.next().is_some_and(|(_, word, _)| word.eq_ignore_ascii_case(wanted));
        if is_next {
            *self = ahead;
        }
        is_next
    }

    /// Takes one of `wanted`.
    pub(super) fn take_any(&mut self, wanted: &[&'static str]) -> Option<&'static str> {
        wanted.iter().copied().find(|word| self.take(word))
    }

    /// Takes a name: in lower case, unless it is quoted.
    pub(super) fn name(&mut self) -> Option<String> {
        let (piece, word, _) = self.next()?;
        match piece {
            Piece::Word => Some(word.to_lowercase()),
            Piece::Quoted => Some(unquoted(word)),
            _ => None,
        }
    }

    /// Takes everything that is left as a value: texts without their quotes, joined.
    pub(super) fn value(&mut self) -> String {
        let mut value = String::new();
        while let Some((piece, word, _)) = self.next() {
            if !value.is_empty() && word != "," && !value.ends_with('-') {
                value.push(' ');
            }
            match piece {
                Piece::Text | Piece::Quoted => value.push_str(&unquoted(word)),
                _ => value.push_str(word),
            }
        }
        value
    }

    /// True if no word is left.
    pub(super) fn is_empty(&self) -> bool {
        self.left.as_slice().is_empty()
    }

    /// The text from the next word on.
    pub(super) fn rest(&self) -> &'a str {
        self.left.as_slice().first().map_or("", |next| &self.text[next.from..])
    }
}

/// A word without its quotes.
pub(super) fn unquoted(word: &str) -> String {
    let body = word.trim_start_matches(['e', 'E']);
    let Some(quote) = body.chars().next().filter(|c| ['\'', '"'].contains(c)) else { return word.to_owned() };
    let inner = body.strip_prefix(quote).and_then(|body| body.strip_suffix(quote)).unwrap_or(body);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}
