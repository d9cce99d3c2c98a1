//! How is Broadloom used from a terminal?
//!
//! One file per subcommand, each with its arguments (a clap struct) and `run`. The work itself is done by the
//! library; this module has options, progress, tables and exit codes.
//!
//! A setting comes from the command line, else from the environment (`BROADLOOM_…`), else from the file of
//! `--config` (see `config_file.rs`), else from the built-in default. Exit codes: 0 success, 1 failure, 2 wrong
//! usage, 3 `import` rejected records. Results go to stdout, everything else to stderr.

mod ask;
mod backup;
mod check;
mod compact;
mod config_file;
mod delete;
mod demo;
mod diff;
mod doctor;
mod draw;
mod events;
mod heatmap;
pub(crate) mod import;
mod inspect;
mod key;
mod logging;
mod logs;
mod manual;
mod progress;
mod query;
mod record;
mod remote;
mod serve;
mod shell;
mod source;
mod tail;
mod top;
mod trace;
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
Examples:
  broadloom demo                                  telemetry of an online shop, and an investigation
  broadloom serve                                 receive OTLP on ports 4317 (gRPC) and 4318 (HTTP)
  broadloom import traces.json logs/*.ndjson.gz   import files
  broadloom query \"select * from events limit 5\"  run a SQL statement
  broadloom sql                                   enter statements, with completion
  broadloom logs --search timeout --last 1h       log records; also trace, tail, diff, heatmap, top
  broadloom doctor                                what is wrong with a set-up

The command line overrides environment variables, and these override the file of --config.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 import rejected records.";

/// Wide-events analytics database: traces, logs and metrics in one table, queried with SQL.
#[derive(Debug, Parser)]
#[command(name = "broadloom", version, after_help = AFTER_HELP, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Data directory, or URL of an object store: s3://bucket/path, gs://bucket/path or az://container/path
    ///
    /// serve, import, demo and restore create a data directory that does not exist; other commands fail. Credentials,
    /// region and endpoint of an object store come from the environment: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
    /// GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME and so on.
    #[arg(
        long,
        global = true,
        value_name = "DIR|URL",
        env = "BROADLOOM_DATA",
        default_value = "./broadloom-data",
        value_parser = units::location()
    )]
    pub(crate) data: Location,
    /// TOML file with values of options; environment and command line override it
    ///
    /// A key is the long name of an option; options of a subcommand follow the header of its table. Example, in three
    /// lines: data = "/var/lib/broadloom", then [serve], then message-max = "32MiB".
    #[arg(long, global = true, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub(crate) config: Option<PathBuf>,
    /// Retention rule, such as 14d or "90d where status = 'error'"; repeat the option for more rules
    ///
    /// The first rule whose condition fits an event says how long it is kept, at least; after an eighth more it is
    /// gone. A rule without a condition fits every event, and an event that no rule fits is kept. Without any rule,
    /// everything is kept. The condition is SQL on the table events. serve applies the rules once a minute, compact
    /// before it merges. In the configuration file: [[retention]] with keep = "90d" and where = "…".
    #[arg(long, global = true, value_name = "RULE", value_parser = units::retention)]
    pub(crate) retention: Vec<RetentionRule>,
    /// Total size of segments and indexes, such as 200GiB, above which the oldest segments are removed
    ///
    /// Default: no limit. Applied together with the rules of --retention.
    #[arg(long, global = true, value_name = "BYTES", env = "BROADLOOM_RETENTION_BYTES", value_parser = units::bytes)]
    pub(crate) retention_bytes: Option<usize>,
    /// Attributes to index by value, such as user.id,order.id; trace_id always is
    ///
    /// Worth it for attributes whose values occur in few events each; attributes that look like ids are indexed even
    /// if they are not named. Costs about 6 bytes per value and page of rows. Applies to segments written from now on.
    #[arg(long, global = true, value_name = "NAME,…", env = "BROADLOOM_LOOKUP_KEYS", value_delimiter = ',')]
    pub(crate) lookup_keys: Vec<String>,
    /// Place of the write-ahead log when the data is in an object store: "object", or a local directory
    ///
    /// object: in the object store. An event is acknowledged when the store has it, so that this machine may be lost
    /// and any other can continue. A directory: events are acknowledged sooner, but those that are not yet in a segment
    /// are lost with its disk, and only a process with this directory may write. A data directory always contains its
    /// log: leave --wal out.
    #[arg(long, global = true, value_name = "object|DIR", env = "BROADLOOM_WAL", default_value = "object", value_parser = units::log_place)]
    wal: LogPlace,
    /// Local directory that caches what queries read from an object store
    ///
    /// Default: a directory for each --data below $XDG_CACHE_HOME/broadloom or ~/.cache/broadloom. Only one process at
    /// a time uses a directory; others cache up to 64 MiB in memory.
    #[arg(long, global = true, value_name = "DIR", env = "BROADLOOM_CACHE", value_parser = units::directory())]
    cache: Option<PathBuf>,
    /// Size of the cache directory, at least 64MiB
    #[arg(long, global = true, value_name = "BYTES", env = "BROADLOOM_CACHE_BYTES", default_value = "10GiB", value_parser = units::bytes)]
    cache_bytes: usize,
    /// Write or back up although the previous writer's log cannot be reached; events only in that log are lost
    ///
    /// Needed when a writer to an object store did not stop cleanly and had its write-ahead log somewhere else (--wal).
    /// Without this option the command fails and names that writer.
    #[arg(long, global = true)]
    abandon_log: bool,
    /// Log level (error, warn, info, debug or trace), or levels by module: "info,broadloom::wal=debug"
    ///
    /// Default: info for serve, error for check and inspect, warn for the others. RUST_LOG is read when this option is
    /// not set. The log goes to stderr.
    #[arg(long, global = true, value_name = "FILTER", env = "BROADLOOM_LOG")]
    pub(crate) log: Option<String>,
    /// Format of the log
    #[arg(long, global = true, value_name = "FORMAT", env = "BROADLOOM_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: logging::LogFormat,
}

impl Globals {
    /// Database settings from the options of every subcommand.
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
    /// Fails with [`ErrorKind::NotFound`] if the data directory does not exist, for subcommands that must not create
    /// one.
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

/// Default cache directory for `data`: below the user's cache directory, named by the hash of the URL.
fn cache_of(data: &Location) -> PathBuf {
    let caches = directory_of_user("XDG_CACHE_HOME", ".cache");
    let hash = crc32c::crc32c(data.to_string().as_bytes());
    caches.unwrap_or_else(std::env::temp_dir).join(format!("broadloom/{hash:08x}"))
}

/// Directory that the environment variable `name` has, else `default` below the user's home.
fn directory_of_user(name: &str, default: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(name).or_else(|| Some(set("HOME")?.join(default)))
}

const CONFIG_VARIABLE: &str = "BROADLOOM_CONFIG";

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive telemetry over OTLP and answer SQL queries, until stopped
    Serve(serve::ServeArgs),
    /// Import files: OTLP, NDJSON, CSV, Parquet, Arrow, Jaeger
    Import(import::ImportArgs),
    /// Run one SQL statement and print the result
    Query(query::QueryArgs),
    /// Enter SQL statements one after the other, with completion and history
    Sql(shell::SqlArgs),
    /// Draw one trace: its spans as a tree over time, the critical path, errors and logs
    Trace(trace::TraceArgs),
    /// List log records, or the patterns of their messages
    Logs(logs::LogsArgs),
    /// Follow new log records, spans or other events, until stopped
    Tail(tail::TailArgs),
    /// Show what is different about some events: slow or failed ones against the others
    Diff(diff::DiffArgs),
    /// Draw how a number is distributed over time
    Heatmap(heatmap::HeatmapArgs),
    /// Show rate, errors and durations of calls by service, live
    Top(top::TopArgs),
    /// Make, list and revoke the keys that clients of a server need
    Key(key::KeyArgs),
    /// Merge small and overlapping segments, so that queries open fewer files
    Compact(compact::CompactArgs),
    /// Delete the events that fit an SQL condition
    Delete(delete::DeleteArgs),
    /// Verify all stored data: read everything, compare checksums, report damage
    Check(check::CheckArgs),
    /// Copy the database, also while a server is running; the next backup copies only what is new
    Backup(backup::BackupArgs),
    /// Create a database from a backup
    Restore(backup::RestoreArgs),
    /// Show what a data directory, or one file of it, contains
    Inspect(inspect::InspectArgs),
    /// Generate the telemetry of an online shop, and investigate an incident in it
    Demo(demo::DemoArgs),
    /// Look at a data directory and this machine, or at a server: what is wrong, and what helps
    Doctor(doctor::DoctorArgs),
    /// Print a script with which a shell completes commands and options
    Completions(manual::CompletionsArgs),
    /// Write manual pages
    Man(manual::ManArgs),
}

/// Runs the program: parses the command line, runs the subcommand, and returns the exit code.
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
        // If the terminal is gone, the error cannot be shown anywhere.
        let _ = error.print();
        if let (Some(path), true) = (file, error.use_stderr()) {
            let _ = writeln!(std::io::stderr(), "\nnote: options are also set by {}", path.display());
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Time after which an idle blocking thread ends. While it lives, the allocator does not reuse memory that this thread
/// allocated and others freed.
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
            Command::Key(args) => key::run(args, globals).map(|()| ExitCode::SUCCESS),
            Command::Query(args) => query::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Sql(args) => shell::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Trace(args) => trace::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Logs(args) => logs::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Tail(args) => tail::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Diff(args) => diff::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Heatmap(args) => heatmap::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Top(args) => top::run(args, globals).await.map(|()| ExitCode::SUCCESS),
            Command::Doctor(args) => doctor::run(args, globals).await,
            Command::Completions(args) => {
                manual::completions(&args, Cli::command()).map(|()| ExitCode::SUCCESS)
            }
            Command::Man(args) => manual::man(&args, Cli::command()).map(|()| ExitCode::SUCCESS),
        }
    })
}

/// Prints the error and returns exit code 1; 0 if stdout was closed by its reader (`| head`), which is not an error.
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
