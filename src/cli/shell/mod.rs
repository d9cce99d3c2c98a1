//! `broadloom sql`: statements one after the other, on a data directory or a server.
//!
//! ```text
//! reedline ─▶ line ─┬─▶ command (`\d`, `\x`, …) ─▶ session ─▶ pager ─▶ terminal
//!   ▲               └─▶ statements up to `;` ──────┘
//!   └ highlight, completion (names of the source), history
//! ```
//! Without a terminal on stdin the statements are read from there, and the first that fails ends the program.

mod command;
mod completion;
mod highlight;
mod names;
mod pager;
mod prompt;
mod session;

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use reedline::Signal;

use super::remote::RemoteArgs;
use super::source::Source;
use super::{Globals, directory_of_user, logging, units};
use crate::error::{Error, Result};
use crate::query::complete::Vocabulary;
use crate::query::language::lex::is_blank;
use crate::query::output::Format;
use session::{Next, Session};

const AFTER_HELP: &str = "\
Statements end with a semicolon and may have several lines. Commands begin with a backslash: \\? lists them.
Tab completes tables, attributes, functions and values; Ctrl-C ends a statement, Ctrl-D the session.

Examples:
  broadloom sql                                the data directory ./broadloom-data
  broadloom sql --url http://127.0.0.1:8080    a server
  broadloom sql --format csv < report.sql      statements from a file";

/// Arguments of `broadloom sql`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SqlArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Format of the rows: table, json, ndjson or csv
    ///
    /// Default: table on a terminal, else csv.
    #[arg(long, value_name = "FORMAT", value_parser = units::text_format)]
    format: Option<Format>,
    /// Rows of a statement that are shown; more are cut, and a note says so
    #[arg(long, value_name = "ROWS", default_value_t = 10_000)]
    limit: usize,
    /// Time limit of each statement, such as 30s or 5m
    ///
    /// Default: none; with --url, that of the server (serve --query-timeout).
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Memory for a statement; beyond it the statement spills to disk, then fails
    ///
    /// With --url, the server's --query-memory applies instead.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_QUERY_MEMORY", default_value = "2GiB", value_parser = units::bytes)]
    query_memory: usize,
    /// File of the statements that were entered
    ///
    /// Default: broadloom/history below $XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "FILE", env = "BROADLOOM_HISTORY")]
    history: Option<PathBuf>,
}

/// Runs `broadloom sql`.
pub(super) async fn run(args: SqlArgs, globals: &Globals) -> Result<()> {
    logging::start(globals, "warn")?;
    let source = Source::open(&args.remote, globals, args.query_memory).await?;
    let is_terminal = std::io::stdin().is_terminal();
    let is_shown = std::io::stdout().is_terminal();
    let format = args.format.unwrap_or(if is_shown { Format::Table } else { Format::Csv });
    let mut session = Session::new(source, format, args.limit, args.timeout, is_terminal && is_shown);
    if is_terminal {
        converse(session, args.history).await
    } else {
        session.run_all(&standard_input()?).await
    }
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Reads lines and runs them until the user leaves.
async fn converse(mut session: Session, history: Option<PathBuf>) -> Result<()> {
    greet(&session);
    let words = Arc::new(Mutex::new(Vocabulary::default()));
    session.learn(&words).await;
    let default = || Some(directory_of_user("XDG_STATE_HOME", ".local/state")?.join("broadloom/history"));
    let history = history.or_else(default);
    let handle = tokio::runtime::Handle::current();
    let values = completion::Values::new(session.source(), handle);
    let mut editor = prompt::Editor::new(history.as_deref(), Arc::clone(&words), values)?;
    loop {
        // Reading blocks; queries run meanwhile only to complete values.
        let read = tokio::task::spawn_blocking(move || (editor.read(), editor));
        let (line, same) =
            read.await.map_err(|e| Error::internal("the line editor failed").with_source(e))?;
        editor = same;
        let next = match line? {
            Signal::Success(text) if is_blank(&text) => Next::Read,
            Signal::Success(text) => {
                let next = session.enter(&text).await;
                session.learn_keys(&words).await;
                next
            }
            Signal::CtrlD => Next::Leave,
            _ => Next::Read,
        };
        match next {
            Next::Read => {}
            Next::Edit(text) => editor.insert(&text),
            Next::Leave => return Ok(()),
        }
    }
}

fn greet(session: &Session) {
    let version = env!("CARGO_PKG_VERSION");
    // A greeting that cannot be shown is not an error.
    let _ =
        writeln!(std::io::stdout(), "Broadloom {version}, {}. \\? for help, \\q to leave.", session.name());
}
