//! Colours of a statement that is being written.

use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

use crate::query::complete::is_keyword;
use crate::query::language::lex::{Lexeme, Piece, lex};

/// Colours words of SQL, literals and comments.
pub(super) struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut styled = StyledText::new();
        for lexeme in lex(line) {
            let text = &line[lexeme.from..lexeme.to];
            styled.push((style(lexeme, text), text.to_owned()));
        }
        styled
    }
}

fn style(lexeme: Lexeme, text: &str) -> Style {
    match lexeme.piece {
        Piece::Comment => Style::new().dimmed(),
        Piece::Text if lexeme.is_closed => Color::Green.normal(),
        // The quote that is missing would end the statement somewhere else.
        Piece::Text | Piece::Quoted if !lexeme.is_closed => Color::Red.normal(),
        Piece::Number => Color::Cyan.normal(),
        Piece::Word if is_keyword(text) => Color::Blue.bold(),
        Piece::Sign if text == "\\" => Color::Purple.normal(),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_keeps_its_text_and_gets_colours() {
        let line = "select 'é', 42 from spans -- all";
        let styled = Colours.highlight(line, 0);
        assert_eq!(styled.raw_string(), line);
        let coloured: Vec<_> = styled
            .buffer
            .iter()
            .filter(|(style, _)| *style != Style::new())
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(coloured, ["select", "'é'", "42", "from", "-- all"]);
    }
}
