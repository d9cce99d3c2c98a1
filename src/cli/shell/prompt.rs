//! The line editor: keys, history, and when a text is complete.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder,
    Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline, ReedlineEvent,
    ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};

use super::completion::{Names, Values};
use super::highlight::Colours;
use crate::error::{Error, Result};
use crate::query::complete::Vocabulary;
use crate::query::language::lex::{is_blank, statements};

/// Entries that are kept in the history.
const HISTORY_MAX: usize = 10_000;
/// Name of the menu of completions.
const MENU: &str = "completion_menu";

/// A line editor with a history.
pub(super) struct Editor(Reedline);

impl Editor {
    /// Creates an editor that completes `words`. Without `history` nothing is kept.
    pub(super) fn new(history: Option<&Path>, words: Arc<Mutex<Vocabulary>>, values: Values) -> Result<Self> {
        let mut keys = default_emacs_keybindings();
        let next =
            ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, next);
        keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
        let newline = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
        keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, newline);
        let menu = ColumnarMenu::default().with_name(MENU).with_columns(3);
        let mut editor = Reedline::create()
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_completer(Box::new(Names::new(words, values)))
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_hinter(Box::new(DefaultHinter::default().with_style(nu_ansi_term::Style::new().dimmed())))
            .with_highlighter(Box::new(Colours))
            .with_validator(Box::new(UntilSemicolon))
            .use_bracketed_paste(true);
        if let Some(path) = history {
            let kept = FileBackedHistory::with_file(HISTORY_MAX, path.to_owned()).map_err(|e| {
                Error::invalid(format!(
                    "the history {} cannot be read: name another file with --history",
                    path.display()
                ))
                .with_source(std::io::Error::other(e.to_string()))
            })?;
            editor = editor.with_history(Box::new(kept));
        }
        Ok(Self(editor))
    }

    /// Reads a text; blocks.
    pub(super) fn read(&mut self) -> Result<Signal> {
        Ok(self.0.read_line(&Shown)?)
    }

    /// Puts `text` into the next line.
    pub(super) fn insert(&mut self, text: &str) {
        self.0.run_edit_commands(&[EditCommand::Clear, EditCommand::InsertString(text.to_owned())]);
    }
}

/// The prompt.
struct Shown;

impl Prompt for Shown {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("broadloom")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failed = matches!(search.status, PromptHistorySearchStatus::Failing);
        Cow::Owned(format!("{}search {}: ", if failed { "no match, " } else { "" }, search.term))
    }
}

/// A text is complete when its last statement has a semicolon, or it is a command.
struct UntilSemicolon;

impl Validator for UntilSemicolon {
    fn validate(&self, line: &str) -> ValidationResult {
        let is_command = line.trim_start().starts_with('\\');
        if is_command || is_blank(statements(line).1) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_complete_with_its_semicolon() {
        let is_complete = |line: &str| matches!(UntilSemicolon.validate(line), ValidationResult::Complete);
        for line in ["select 1;", "\\d spans", "", "select ';';", "select 1; -- why"] {
            assert!(is_complete(line), "{line}");
        }
        for line in ["select 1", "select ';", "select 1; select 2", "select 1 -- ;"] {
            assert!(!is_complete(line), "{line}");
        }
    }
}
