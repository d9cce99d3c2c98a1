//! Completion in the shell: names of the source, and values of an attribute in quotes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reedline::{Completer, CompletionResult, Span, Suggestion};
use tokio::runtime::Handle;

use super::super::source::Source;
use super::command::Command;
use crate::query::complete::{Kind, Vocabulary, complete, complete_value, wanted_values};

/// Longest wait for values: completion must not hold up typing.
const VALUES_WAIT: Duration = Duration::from_millis(500);
/// Values of an attribute that are known, the most frequent.
const VALUES_MAX: usize = 1000;

/// Values of attributes, asked when they are wanted.
pub(super) struct Values {
    source: Source,
    runtime: Handle,
    known: HashMap<String, Vec<String>>,
}

impl Values {
    /// Values of the attributes of `source`, which is asked on `runtime`.
    pub(super) fn new(source: Source, runtime: Handle) -> Self {
        Self { source, runtime, known: HashMap::new() }
    }

    /// The most frequent values of `key`, as it is written in a statement; blocks for a moment. None if there is no such
    /// attribute, or the answer takes too long.
    fn of(&mut self, key: &str) -> &[String] {
        if !self.known.contains_key(key) {
            let sql = format!("SELECT value FROM attribute_values({key}) LIMIT {VALUES_MAX}");
            let asked = self.runtime.block_on(tokio::time::timeout(VALUES_WAIT, self.source.names(&sql)));
            let values = asked.ok().and_then(Result::ok).unwrap_or_default();
            self.known.insert(key.to_owned(), values);
        }
        self.known.get(key).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Completes statements and commands.
pub(super) struct Names {
    words: Arc<Mutex<Vocabulary>>,
    values: Values,
}

impl Names {
    /// Completes `words` and `values`.
    pub(super) fn new(words: Arc<Mutex<Vocabulary>>, values: Values) -> Self {
        Self { words, values }
    }

    fn suggestions(&mut self, line: &str, at: usize) -> Vec<Suggestion> {
        if let Some(command) = line.get(..at).filter(|text| text.starts_with('\\')) {
            return self.of_command(command);
        }
        if let Some((key, place)) = wanted_values(line, at) {
            let found = complete_value(line, &place, self.values.of(&key));
            return found.into_iter().map(|one| suggestion(one.text, None, one.from, one.to)).collect();
        }
        let found = complete(line, at, &self.words.lock());
        let described = found.into_iter().map(|found| {
            let detail = match found.kind {
                Kind::Key => Some(found.detail),
                Kind::Column => Some("column".to_owned()),
                Kind::Table => Some("table".to_owned()),
                Kind::Function | Kind::Keyword | Kind::Value => None,
            };
            suggestion(found.text, detail, found.from, found.to)
        });
        described.collect()
    }

    /// Suggestions for a line that begins with a backslash.
    fn of_command(&self, text: &str) -> Vec<Suggestion> {
        match text.split_once(' ') {
            None => {
                let names = Command::names().filter(|name| name.starts_with(text));
                names.map(|name| suggestion(name.to_owned(), None, 0, text.len())).collect()
            }
            Some(("\\d", prefix)) => {
                let words = self.words.lock();
                let names = words.tables.iter().filter(|name| name.starts_with(prefix));
                names
                    .map(|name| suggestion(name.clone(), None, text.len() - prefix.len(), text.len()))
                    .collect()
            }
            Some(_) => Vec::new(),
        }
    }
}

fn suggestion(value: String, description: Option<String>, from: usize, to: usize) -> Suggestion {
    Suggestion { value, description, span: Span::new(from, to), ..Suggestion::default() }
}

impl Completer for Names {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        CompletionResult::fresh(self.suggestions(line, pos))
    }
}
