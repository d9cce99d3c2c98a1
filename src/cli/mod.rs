//! How does a person at a terminal use all this?
//!
//! One file per subcommand, each with its arguments (a clap struct) and `run`. What a command does is in
//! the library; here are the words around it: flags, progress, tables, exit codes.
//!
//! Settings come from flags, else from the environment (`BROADLOOM_…`), else from the file of `--config`
//! (see `config_file.rs`), else they are built in. Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 `import`
//! rejected records.
//! Answers go to stdout, everything about them to stderr.

mod backup;
mod check;
mod compact;
mod config_file;
mod delete;
mod demo;
pub(crate) mod import;
mod inspect;
mod logging;
mod progress;
mod query;
mod remote;
mod serve;
mod units;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Location, LogPlace, RetentionRule, Settings};
use crate::error::{Error, ErrorKind, Result};

const AFTER_HELP: &str = "\
Begin with:
  broadloom demo                                  an online shop's telemetry, and an investigation of it
  broadloom serve                                 take OTLP on 127.0.0.1:4317 (gRPC) and :4318 (HTTP)
  broadloom import traces.json logs/*.ndjson.gz   take files
  broadloom query \"select * from events limit 5\"  ask

Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 import rejected records.";

/// Broadloom: traces, logs and metrics as one table of wide events, asked in SQL.
#[derive(Debug, Parser)]
#[command(name = "broadloom", version, after_help = AFTER_HELP, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// Where the data is: a directory, or an object store as s3://bucket/path, gs://… or az://…, with
    /// credentials from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …)
    #[arg(
        long,
        global = true,
        value_name = "DIR|URL",
        env = "BROADLOOM_DATA",
        default_value = "./broadloom-data",
        value_parser = units::location()
    )]
    pub(crate) data: Location,
    /// Where the log is when the data is in a store: `object` for there too, so that this machine may vanish; or
    /// a directory of this machine
    #[arg(long, global = true, value_name = "object|DIR", env = "BROADLOOM_WAL", default_value = "object", value_parser = units::log_place)]
    wal: LogPlace,
    /// Directory for copies of what queries read from a store
    #[arg(long, global = true, value_name = "DIR", env = "BROADLOOM_CACHE", value_parser = units::directory())]
    cache: Option<PathBuf>,
    /// Size of the copies
    #[arg(long, global = true, value_name = "BYTES", env = "BROADLOOM_CACHE_BYTES", default_value = "10GiB", value_parser = units::bytes)]
    cache_bytes: usize,
    /// Write, or back up, although the last writer may have left events in a log that is out of reach: give them up
    #[arg(long, global = true)]
    abandon_log: bool,
    /// A TOML file with flags: `data = "…"`, and those of a subcommand in its table: `[serve]`
    #[arg(long, global = true, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub(crate) config: Option<PathBuf>,
    /// Attributes to be found quickly by value, such as user.id: each value stands in few events. trace_id
    /// is always one. For what is written from now on
    #[arg(long, global = true, value_name = "NAME,…", env = "BROADLOOM_LOOKUP_KEYS", value_delimiter = ',')]
    pub(crate) lookup_keys: Vec<String>,
    /// How long to keep which events, first fit decides: "90d where status_code = 'ERROR'", then "14d"; in the
    /// file [[retention]] with keep and where. Without any, everything is kept
    #[arg(long, global = true, value_name = "RULE", value_parser = units::retention)]
    pub(crate) retention: Vec<RetentionRule>,
    /// Remove the oldest segments when all together are larger
    #[arg(long, global = true, value_name = "BYTES", env = "BROADLOOM_RETENTION_BYTES", value_parser = units::bytes)]
    pub(crate) retention_bytes: Option<usize>,
    /// What to log: error, warn, info, debug, trace, or by module ("info,broadloom::wal=debug"); RUST_LOG
    /// is read too
    #[arg(long, global = true, value_name = "FILTER", env = "BROADLOOM_LOG")]
    pub(crate) log: Option<String>,
    /// How to write the log to stderr
    #[arg(long, global = true, value_name = "FORMAT", env = "BROADLOOM_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: logging::LogFormat,
}

impl Globals {
    /// Settings of a database, as far as every subcommand has them.
    fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.data.clone());
        settings.remote.log.clone_from(&self.wal);
        settings.remote.cache = Some(self.cache.clone().unwrap_or_else(|| cache_of(&self.data)));
        settings.remote.cache_bytes = self.cache_bytes as u64;
        settings.remote.abandon_log = self.abandon_log;
        settings.index.lookup_keys.clone_from(&self.lookup_keys);
        settings.maintenance.retention.rules.clone_from(&self.retention);
        settings.maintenance.retention.bytes_max = self.retention_bytes.map(|bytes| bytes as u64);
        settings
    }
}

impl Globals {
    /// For subcommands that make no database where there is none.
    fn refuse_new_directory(&self) -> Result<()> {
        match self.data.directory() {
            Some(directory) if !directory.is_dir() => {
                let message = format!("there is no Broadloom database in {}", self.data);
                Err(Error::new(ErrorKind::NotFound, message))
            }
            _ => Ok(()),
        }
    }
}

/// Where copies of objects of `data` are kept when nobody says where: where the system keeps caches, by the
/// hash of the URL.
fn cache_of(data: &Location) -> PathBuf {
    let home = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = home("XDG_CACHE_HOME").or_else(|| Some(home("HOME")?.join(".cache")));
    let hash = crc32c::crc32c(data.to_string().as_bytes());
    caches.unwrap_or_else(std::env::temp_dir).join(format!("broadloom/{hash:08x}"))
}

const CONFIG_VARIABLE: &str = "BROADLOOM_CONFIG";

#[derive(Debug, Subcommand)]
enum Command {
    /// Take telemetry in and answer questions, until told to stop
    Serve(serve::ServeArgs),
    /// Take files: OTLP, NDJSON, CSV, Parquet, Arrow, Jaeger
    Import(import::ImportArgs),
    /// Answer one SQL statement
    Query(query::QueryArgs),
    /// Merge small and overlapping segments, so that queries open fewer
    Compact(compact::CompactArgs),
    /// Delete events by an SQL condition
    Delete(delete::DeleteArgs),
    /// Look whether everything in the data directory is what was written
    Check(check::CheckArgs),
    /// Copy the database, also while a server is at work; again later, only what is new
    Backup(backup::BackupArgs),
    /// Make a database of a backup
    Restore(backup::RestoreArgs),
    /// Show what is in the data directory, or in one file of it
    Inspect(inspect::InspectArgs),
    /// Make an online shop's telemetry, and investigate what went wrong there
    Demo(demo::DemoArgs),
}

/// The program: reads the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let arguments = query::with_statement(std::env::args_os().collect());
    match parse(arguments) {
        Ok(cli) => match run(cli) {
            Ok(code) => code,
            Err(error) => report(&error),
        },
        Err(code) => code,
    }
}

fn parse(arguments: Vec<OsString>) -> std::result::Result<Cli, ExitCode> {
    let file = config_file::path(&arguments, std::env::var_os(CONFIG_VARIABLE));
    let command = match &file {
        Some(path) => config_file::apply(Cli::command(), path).map_err(|e| {
            report(&e);
            ExitCode::from(2)
        })?,
        None => Cli::command(),
    };
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // Nothing can be done about a terminal that is gone.
        let _ = error.print();
        if let (Some(path), true) = (file, error.use_stderr()) {
            let _ = writeln!(std::io::stderr(), "\nnote: flags are also set by {}", path.display());
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// How long a thread that does nothing is kept. The allocator keeps for it what it has allocated and others have freed.
const IDLE: Duration = Duration::from_millis(100);

fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(IDLE)
        .build()
        .map_err(|e| Error::from(e).context("cannot start"))?;
    let globals = &cli.globals;
    runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => {
                logging::start(globals, "warn")?;
                demo::run(args, globals).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Serve(args) => serve::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Import(args) => {
                logging::start(globals, "warn")?;
                import::run(args, globals).await
            }
            Command::Compact(args) => {
                logging::start(globals, "warn")?;
                compact::run(args, globals).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Delete(args) => {
                logging::start(globals, "warn")?;
                delete::run(args, globals).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Check(args) => {
                logging::start(globals, "error")?;
                check::run(args, globals).await
            }
            Command::Backup(args) => {
                logging::start(globals, "warn")?;
                backup::run(args, globals).await
            }
            Command::Restore(args) => {
                logging::start(globals, "warn")?;
                backup::restore(args, globals).await
            }
            Command::Inspect(args) => {
                logging::start(globals, "error")?;
                inspect::run(args, globals).await
            }
            Command::Query(args) => query::run(args, globals).await.map(|()| ExitCode::SUCCESS),
        }
    })
}

/// Says what went wrong. A reader that left early (`| head`) is nothing wrong.
fn report(error: &Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(std::io::stderr(), "error: {}", error.chain());
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
