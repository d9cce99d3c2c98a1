//! Commands that ask one question and draw the answer: their options, and the way of the answer to stdout.
//!
//! On a terminal a command draws rows. Piped, or with `--format`, the rows of its statement go out as those of
//! `broadloom query` do, and with `--sql` the statement itself, so that every picture can be asked again.

use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::time::Duration;

use arrow::array::RecordBatch;
use clap::Args;
use futures::stream::BoxStream;

use super::draw::Screen;
use super::draw::units::Zone;
use super::query::point_at;
use super::remote::RemoteArgs;
use super::source::{Found, Source, warn};
use super::{Globals, logging, units};
use crate::error::{Error, Result};
use crate::query::Question;
use crate::query::output::{Format, Layout, document};

/// Options of a command that asks and draws.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Source and output")]
pub(super) struct AskArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Format of the answer: picture, table, json, ndjson or csv
    ///
    /// Default: picture on a terminal, else ndjson. All but picture have the rows of the statement that --sql prints.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Form>,
    /// Print the SQL statement instead of running it
    #[arg(long)]
    sql: bool,
    /// Time zone of the times in pictures: UTC, local, Europe/Brussels or +02:00
    #[arg(long, value_name = "ZONE", env = "BROADLOOM_ZONE", default_value = "UTC")]
    zone: Zone,
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
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Drawn for people.
    Picture,
    /// Rows.
    Rows(Format),
}

impl FromStr for Form {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if name == "picture" { Ok(Self::Picture) } else { units::text_format(name).map(Self::Rows) }
    }
}

/// Attributes that the statements of commands name, whether events have them or not.
const OWN_ATTRIBUTES: [&str; 3] = ["service.name", "exception.type", "exception.message"];

impl AskArgs {
    /// Form of the answer.
    pub(super) fn form(&self) -> Form {
        let default =
            if std::io::stdout().is_terminal() { Form::Picture } else { Form::Rows(Format::Ndjson) };
        self.format.unwrap_or(default)
    }

    /// True if the statement is to be printed instead of run.
    pub(super) fn prints_statement(&self) -> bool {
        self.sql
    }

    /// Opens the source, and starts the log.
    pub(super) async fn open(&self, globals: &Globals) -> Result<Desk> {
        logging::start(globals, "warn")?;
        Ok(Desk {
            source: Source::open(&self.remote, globals, self.query_memory).await?,
            screen: Screen::of_stdout(self.zone.clone()),
            timeout: self.timeout,
            prints: self.sql,
            form: self.form(),
        })
    }
}

/// A place where statements are asked and answers come out.
pub(super) struct Desk {
    source: Source,
    /// The terminal.
    pub(super) screen: Screen,
    /// Form of the answer.
    pub(super) form: Form,
    timeout: Option<Duration>,
    prints: bool,
}

impl Desk {
    /// Writes the statement, or its rows, unless they are to be drawn. Returns false if they are.
    pub(super) async fn write(&self, sql: &str) -> Result<bool> {
        if self.prints {
            writeln!(std::io::stdout(), "{sql}")?;
            return Ok(true);
        }
        let Form::Rows(format) = self.form else { return Ok(false) };
        let mut to = std::io::BufWriter::new(std::io::stdout());
        self.source.write(self.question(sql), format, &mut to).await.map_err(|e| point_at(e, sql))?;
        to.flush()?;
        Ok(true)
    }

    /// Runs a statement, and returns its first `rows_max` rows.
    pub(super) async fn ask(&self, sql: &str, rows_max: usize) -> Result<Found> {
        let found = self.source.ask(self.question(sql), rows_max).await.map_err(|e| point_at(e, sql))?;
        let is_own = |warning: &str| OWN_ATTRIBUTES.iter().any(|key| warning.contains(key));
        for warning in found.warnings.iter().filter(|warning| !is_own(warning)) {
            warn(warning);
        }
        Ok(found)
    }

    /// Runs a statement, and returns its rows as they come.
    pub(super) async fn stream(&self, sql: &str) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        self.source.stream(self.question(sql)).await.map_err(|e| point_at(e, sql))
    }

    /// Name of the source, for people.
    pub(super) fn source_name(&self) -> String {
        self.source.name()
    }

    fn question(&self, sql: &str) -> Question {
        Question { timeout: self.timeout, ..Question::sql(sql) }
    }
}

/// Rows as text in a format, whole.
pub(super) fn text_of(format: Format, batch: &RecordBatch) -> Result<String> {
    let bytes = document(format, Layout::Fitting, &batch.schema(), std::slice::from_ref(batch))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
