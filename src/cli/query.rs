//! `broadloom query`: runs one statement and prints the result.
//!
//! The data directory is opened for reading, so a server may be writing it; `--url` queries a server instead
//! (`source.rs`).

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::remote::RemoteArgs;
use super::source::Source;
use super::{Globals, logging, units};
use crate::error::{Error, Position, Result};
use crate::query::output::Format;
use crate::query::{Ask, Parameter, Question};

const AFTER_HELP: &str = "\
Examples:
  broadloom query \"select * from events order by timestamp desc limit 5\"
  broadloom query \"select service.name, count(*), p99(duration_ns) from spans group by 1\"
  broadloom query \"select * from trace('4bf92f3577b34da6a3ce929d0e0e4736')\" --format ndjson
  broadloom query 'select count(*) from spans where http.route = $1' --param /checkout
  broadloom query -f slow.sql --output slow.parquet
  echo 'select 1' | broadloom query --format csv
  broadloom query --url http://127.0.0.1:8080 'select * from traces limit 5'

Attributes are named bare (http.route), quoted (\"http.route\"), or as attributes['http.route'].";

/// Arguments of `broadloom query`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct QueryArgs {
    /// The statement; without it, or with "-", it is read from stdin
    #[arg(value_name = "SQL", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the statement from this file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Value of $1; repeat the option for $2, $3 and so on
    ///
    /// A JSON literal is taken as such: 7, true, null, "7". Anything else is text: /checkout.
    #[arg(short, long = "param", value_name = "VALUE", allow_hyphen_values = true)]
    params: Vec<String>,
    /// Format of the result: table, json, ndjson, csv, arrow or parquet
    ///
    /// Default: the one that the extension of --output names (json, ndjson, jsonl, csv, arrow, arrows, parquet), else
    /// table.
    #[arg(long, value_name = "FORMAT", value_parser = |text: &str| text.parse::<Format>())]
    format: Option<Format>,
    /// Write the result to this file instead of stdout
    ///
    /// The file appears when it is complete; a query that fails leaves none.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write at most this many rows
    #[arg(long, value_name = "ROWS")]
    limit: Option<usize>,
    /// Time limit, such as 30s or 5m, after which the query fails
    ///
    /// Default: none; with --url, that of the server (serve --query-timeout).
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Memory for the query; beyond it the query spills to disk, then fails
    ///
    /// With --url, the server's --query-memory applies instead.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_QUERY_MEMORY", default_value = "2GiB", value_parser = units::bytes)]
    query_memory: usize,
}

/// Puts a space before a statement that begins with a comment (`-- …`), so that clap does not take it for an option.
pub(super) fn with_statement(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(query) = arguments.iter().position(|argument| argument == "query") else { return arguments };
    for i in query + 1..arguments.len() {
        let before = arguments[i - 1].to_str();
        if before == Some("--") {
            break;
        }
        let is_value = before.is_some_and(|flag| ["-p", "--param"].contains(&flag));
        if let Some(comment) = arguments[i].to_str().filter(|text| !is_value && is_comment(text)) {
            arguments[i] = format!(" {comment}").into();
        }
    }
    arguments
}

/// True if `text` begins with an SQL comment: the part before the first `=` is not the name of an option.
fn is_comment(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("--").filter(|rest| !rest.is_empty()) else { return false };
    let name = rest.split('=').next().unwrap_or_default();
    name.is_empty() || name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-')
}

/// Runs `broadloom query`.
pub(super) async fn run(args: QueryArgs, globals: &Globals) -> Result<()> {
    logging::start(globals, "warn")?;
    let sql = statement(args.sql.as_deref(), args.file.as_deref())?;
    let question = Question {
        ask: Ask::Sql(sql.clone()),
        params: args.params.iter().map(|text| Parameter::read(text)).collect::<Result<_>>()?,
        timeout: args.timeout,
        row_limit: args.limit,
    };
    let format = args.format.or_else(|| format_of(args.output.as_deref()?)).unwrap_or(Format::Table);
    let is_to_terminal = args.output.is_none() && std::io::stdout().is_terminal();
    if is_to_terminal && matches!(format, Format::Arrow | Format::Parquet) {
        return Err(Error::invalid(
            "this format is binary and stdout is a terminal: write it to a file with --output FILE",
        ));
    }
    let mut to = Sink::open(args.output)?;
    let answered = match Source::open(&args.remote, globals, args.query_memory).await {
        Ok(source) => source.write(question, format, &mut to).await,
        Err(error) => Err(error),
    };
    to.close(answered).map_err(|error| point_at(error, &sql))
}

/// The statement: an argument, a file, or stdin.
fn statement(argument: Option<&str>, file: Option<&Path>) -> Result<String> {
    match (argument, file) {
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|e| Error::from(e).context(format!("cannot read {}", file.display()))),
        (Some(sql), _) if sql != "-" => Ok(sql.to_owned()),
        (None, None) if std::io::stdin().is_terminal() => {
            Err(Error::invalid("no statement: write broadloom query \"select …\", or name a file with -f"))
        }
        _ => {
            let mut sql = String::new();
            std::io::stdin().read_to_string(&mut sql)?;
            Ok(sql)
        }
    }
}

/// The format that the extension of `path` names.
fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "csv" => Some(Format::Csv),
        "arrow" | "arrows" => Some(Format::Arrow),
        "parquet" => Some(Format::Parquet),
        _ => None,
    }
}

/// Target of the result: stdout, or a file that appears when it is complete.
struct Sink {
    to: BufWriter<Box<dyn Write + Send>>,
    file: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn open(path: Option<PathBuf>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self { to: BufWriter::new(Box::new(std::io::stdout())), file: None });
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part)
            .map_err(|e| Error::from(e).context(format!("cannot write {}", part.display())))?;
        Ok(Self { to: BufWriter::new(Box::new(file)), file: Some((part, path)) })
    }

    /// Flushes the result. A complete file gets its name, an incomplete one is removed.
    fn close(mut self, answered: Result<()>) -> Result<()> {
        let written = answered.and_then(|()| Ok(self.to.flush()?));
        let Some((part, path)) = self.file else { return written };
        match written {
            Ok(()) => Ok(std::fs::rename(part, path)?),
            Err(error) => {
                // Report the first error, not one of the cleanup.
                let _ = std::fs::remove_file(part);
                Err(error)
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// Adds to an error the line of the statement at which it points, with a caret below the position.
pub(super) fn point_at(error: Error, sql: &str) -> Error {
    match error.position().and_then(|at| picture(at, sql)) {
        Some(picture) => error.followed_by(format!("\n{picture}")),
        None => error,
    }
}

fn picture(at: Position, sql: &str) -> Option<String> {
    let line = sql.lines().nth(at.line.checked_sub(1)?)?;
    let number = at.line.to_string();
    // Tabs are kept, so that the caret lines up.
    let before: String =
        line.chars().take(at.column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let margin = " ".repeat(number.len());
    Some(format!("{margin} |\n{number} | {line}\n{margin} | {before}^"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_in_its_statement() {
        let sql = "select name,\n\tdurationn\nfrom spans";
        let wrong = || Error::invalid("no column named durationn; nearest: duration_ns");
        let shown = |line, column| point_at(wrong().at(Position { line, column }), sql).message().to_owned();
        let words = wrong().message().to_owned();
        assert_eq!(shown(2, 2), format!("{words}\n  |\n2 | \tdurationn\n  | \t^"));
        assert_eq!(shown(9, 1), words, "there is no such line");
        assert_eq!(point_at(wrong(), sql).message(), words);
    }

    #[test]
    fn a_statement_that_begins_with_a_comment_is_no_flag() {
        for text in
            ["-- how many?\nselect 1", "--how many?\nselect 1", "--\nselect 1", "--=\n", "--é\nselect 1"]
        {
            assert!(is_comment(text), "{text}");
        }
        for text in
            ["--", "--format", "--format=csv", "--param=a b", "--no-such-flag", "-p", "select 1 -- x", ""]
        {
            assert!(!is_comment(text), "{text}");
        }
        let arguments = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        let given = arguments(&["broadloom", "query", "--data", "d", "-- a\nselect 1", "-p", "-- b"]);
        let taken = arguments(&["broadloom", "query", "--data", "d", " -- a\nselect 1", "-p", "-- b"]);
        assert_eq!(with_statement(given), taken);
        let other = arguments(&["broadloom", "import", "-- a"]);
        assert_eq!(with_statement(other.clone()), other);
    }

    #[test]
    fn a_broken_answer_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer.csv");
        let mut sink = Sink::open(Some(path.clone())).unwrap();
        sink.write_all(b"a,b\n").unwrap();
        assert!(sink.close(Err(Error::invalid("broken"))).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut sink = Sink::open(Some(path.clone())).unwrap();
        sink.write_all(b"a,b\n").unwrap();
        sink.close(Ok(())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n");
        assert_eq!(format_of(&path), Some(Format::Csv));
    }
}
