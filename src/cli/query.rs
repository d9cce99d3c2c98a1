//! `broadloom query`: one statement, answered on stdout.
//!
//! The data directory is opened for reading, beside a server that may be writing it; `--url` asks a
//! server instead.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::units;

const AFTER_HELP: &str = "\
Examples:
  broadloom query \"select * from events order by timestamp desc limit 5\"
  broadloom query \"select service.name, count(*), p99(duration_ns) from spans group by 1\"   any attribute by its name
  broadloom query \"select * from trace('4bf92f3577b34da6a3ce929d0e0e4736')\" --format ndjson
  broadloom query \"select count(*) from spans where http.route = \\$1\" --param /checkout
  broadloom query -f slow.sql --output slow.parquet
  echo \"select 1\" | broadloom query --format csv";

/// Arguments of `broadloom query`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct QueryArgs {
    /// The statement; "-" or nothing reads it from stdin
    #[arg(value_name = "SQL", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the statement from a file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to write the answer; by default as the name of --output says, else a table
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The value of $1, then of $2 …: a JSON literal (7, true, null, "7"), anything else is text
    #[arg(short, long = "param", value_name = "VALUE")]
    params: Vec<String>,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Write at most this many rows
    #[arg(long, value_name = "ROWS")]
    limit: Option<usize>,
    /// Write to a file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Ask this server, http://host:port, instead of the data directory
    #[arg(long, value_name = "URL", env = "BROADLOOM_URL")]
    url: Option<String>,
}
