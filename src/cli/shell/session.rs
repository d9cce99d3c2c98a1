//! A session: statements and commands one after the other, and the settings that commands change.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use super::super::query::point_at;
use super::super::source::{Found, Source, warn};
use super::command::Command;
use super::{names, pager};
use crate::error::{Error, ErrorKind, Result};
use crate::query::Question;
use crate::query::complete::Vocabulary;
use crate::query::language::lex::{is_blank, statements};
use crate::query::language::setting;
use crate::query::output::{Format, Layout, document};

/// Time after which a running statement is shown to run.
const PATIENCE: Duration = Duration::from_millis(500);

/// Longest wait for names before a prompt.
const LEARNING_MAX: Duration = Duration::from_secs(2);

/// Statement of `\d`.
const TABLES: &str = "SELECT table_name AS name, table_type AS type FROM information_schema.tables \
    WHERE table_schema <> 'information_schema' AND table_name NOT LIKE '%[%' ORDER BY 1";

/// Step after an entry.
pub(super) enum Next {
    /// Read the next entry.
    Read,
    /// Read the next entry, which begins with this text.
    Edit(String),
    /// End the session.
    Leave,
}

/// A session on a source.
pub(super) struct Session {
    source: Source,
    format: Format,
    layout: Layout,
    rows_max: usize,
    timeout: Option<Duration>,
    shows_time: bool,
    /// True if a person reads the output: pages, notes and colours.
    is_interactive: bool,
    /// True after `SET weighted = on`.
    is_weighted: bool,
    last: String,
}

impl Session {
    /// Begins a session.
    pub(super) fn new(
        source: Source,
        format: Format,
        rows_max: usize,
        timeout: Option<Duration>,
        is_interactive: bool,
    ) -> Self {
        Self {
            source,
            format,
            layout: Layout::Fitting,
            rows_max,
            timeout,
            shows_time: is_interactive,
            is_interactive,
            is_weighted: false,
            last: String::new(),
        }
    }

    /// Name of the source.
    pub(super) fn name(&self) -> String {
        self.source.name()
    }

    /// The source.
    pub(super) fn source(&self) -> Source {
        self.source.clone()
    }

    /// Learns the names that statements can use. A source out of reach is reported by the next statement.
    pub(super) async fn learn(&self, words: &Mutex<Vocabulary>) {
        if let Ok(Ok(vocabulary)) = tokio::time::timeout(LEARNING_MAX, names::vocabulary(&self.source)).await
        {
            *words.lock() = vocabulary;
        }
    }

    /// Learns the attributes of events that came meanwhile; the other names stay the same in a session.
    pub(super) async fn learn_keys(&self, words: &Mutex<Vocabulary>) {
        if let Ok(Ok(keys)) = tokio::time::timeout(LEARNING_MAX, names::keys(&self.source)).await {
            words.lock().keys = keys;
        }
    }

    /// Runs all statements of a text, the last also without a semicolon. Stops at the first that fails.
    pub(super) async fn run_all(&mut self, text: &str) -> Result<()> {
        let (ended, rest) = statements(text);
        for sql in ended.into_iter().chain([rest]).filter(|sql| !is_blank(sql)) {
            self.run(sql).await?;
        }
        Ok(())
    }

    /// Runs an entry, a command or statements. Failures are shown, and the session goes on.
    pub(super) async fn enter(&mut self, text: &str) -> Next {
        let entered = if text.trim_start().starts_with('\\') {
            self.command(text).await
        } else {
            text.clone_into(&mut self.last);
            self.run_all(text).await.map(|()| Next::Read)
        };
        entered.unwrap_or_else(|error| {
            complain(&error);
            Next::Read
        })
    }

    /// Runs one statement and shows its rows.
    async fn run(&mut self, sql: &str) -> Result<()> {
        let began = Instant::now();
        if let Some(is_weighted) = setting(sql) {
            self.is_weighted = is_weighted;
            note(if is_weighted {
                "Aggregates estimate what they would be without sampling."
            } else {
                "Aggregates are those of the events that are stored."
            });
            return Ok(());
        }
        let question = Question { timeout: self.timeout, ..Question::sql(sql) };
        let question = if self.is_weighted { question.weighted() } else { question };
        let found = self.wait(question).await.map_err(|error| point_at(error, sql))?;
        let took = began.elapsed();
        for warning in &found.warnings {
            warn(warning);
        }
        let text = document(self.format, self.layout, &found.schema, &found.batches)?;
        pager::show(&String::from_utf8_lossy(&text), self.is_interactive)?;
        if found.is_cut {
            note(&format!("Only the first {} rows: add LIMIT, or raise \\limit.", self.rows_max));
        }
        if self.shows_time {
            note(&format!("Time: {}", shown(took)));
        }
        Ok(())
    }

    /// Waits for an answer; Ctrl-C ends the question.
    async fn wait(&self, question: Question) -> Result<Found> {
        let answer = self.source.ask(question, self.rows_max);
        if !self.is_interactive {
            return answer.await;
        }
        let spinner = tokio::time::sleep(PATIENCE);
        tokio::pin!(answer, spinner);
        let mut shown: Option<ProgressBar> = None;
        let ended = loop {
            tokio::select! {
                ended = &mut answer => break ended,
                _ = tokio::signal::ctrl_c() => {
                    break Err(Error::new(ErrorKind::Cancelled, "the statement was ended by Ctrl-C"));
                }
                () = &mut spinner, if shown.is_none() => shown = Some(running()),
            }
        };
        if let Some(bar) = shown {
            bar.finish_and_clear();
        }
        ended
    }

    async fn command(&mut self, text: &str) -> Result<Next> {
        match Command::parse(text)? {
            Command::Tables => self.list(TABLES).await?,
            Command::Columns(table) => self.run(&format!("DESCRIBE {table}")).await?,
            Command::Attributes(prefix) => self.attributes(&prefix).await?,
            Command::Functions(prefix) => {
                let prefix = prefix.replace('\'', "''");
                self.list(&format!(
                    "SELECT DISTINCT routine_name AS name, function_type AS type, description \
                     FROM information_schema.routines WHERE starts_with(routine_name, '{prefix}') ORDER BY 1"
                ))
                .await?;
            }
            Command::Expanded(on) => {
                let on = on.unwrap_or(self.layout != Layout::Lists);
                self.layout = if on { Layout::Lists } else { Layout::Fitting };
                note(if on { "Each row is a list." } else { "Rows are a table if they fit." });
            }
            Command::Timing(on) => {
                self.shows_time = on.unwrap_or(!self.shows_time);
                note(if self.shows_time { "Times are shown." } else { "Times are not shown." });
            }
            Command::Format(format) => {
                self.format = format.unwrap_or(self.format);
                note(&format!("Format: {}", self.format));
            }
            Command::Limit(rows) => {
                self.rows_max = rows.unwrap_or(self.rows_max);
                note(&format!("At most {} rows are shown.", self.rows_max));
            }
            Command::Edit => return Ok(Next::Edit(edit(&self.last)?)),
            Command::Run(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| Error::from(e).context(format!("cannot read {path}")))?;
                self.run_all(&text).await?;
            }
            Command::Help => pager::show(&Command::help(), self.is_interactive)?,
            Command::Leave => return Ok(Next::Leave),
        }
        Ok(Next::Read)
    }

    /// Shows rows of a statement that is not the user's.
    async fn list(&mut self, sql: &str) -> Result<()> {
        let found = self.wait(Question::sql(sql)).await?;
        let text = document(Format::Table, self.layout, &found.schema, &found.batches)?;
        pager::show(&String::from_utf8_lossy(&text), self.is_interactive)
    }

    async fn attributes(&self, prefix: &str) -> Result<()> {
        let keys = names::keys(&self.source).await?;
        let keys: Vec<_> =
            keys.iter().filter(|(key, _)| key.trim_start_matches('"').starts_with(prefix)).collect();
        let width = keys.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        let mut lines = String::new();
        for (key, types) in &keys {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{key:width$}  {types}");
        }
        let count = format!("{} attribute{}\n", keys.len(), if keys.len() == 1 { "" } else { "s" });
        pager::show(&(lines + &count), self.is_interactive)
    }
}

/// Prints a note for a person on stderr, so that rows alone are on stdout.
fn note(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

fn complain(error: &Error) {
    let has_colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let sign = if has_colours { nu_ansi_term::Color::Red.bold() } else { nu_ansi_term::Style::new() };
    let _ = writeln!(std::io::stderr(), "{} {}", sign.paint("error:"), error.chain());
}

fn running() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} running for {elapsed}, Ctrl-C ends it") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn shown(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{:.1} ms", took.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}

/// Lets the user change `text` with `$VISUAL` or `$EDITOR`.
fn edit(text: &str) -> Result<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let file = tempfile::Builder::new().prefix("broadloom-").suffix(".sql").tempfile()?;
    std::fs::write(file.path(), text)?;
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = std::process::Command::new(program).args(words).arg(file.path()).status();
    let status = status.map_err(|e| {
        Error::from(e).context(format!("the editor {editor} cannot be started: set $EDITOR to another one"))
    })?;
    if !status.success() {
        return Err(Error::invalid(format!(
            "the editor {editor} failed ({status}): the statement is as it was"
        )));
    }
    Ok(std::fs::read_to_string(file.path())?.trim_end().to_owned())
}
