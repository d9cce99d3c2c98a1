//! `broadloom backup` and `broadloom restore`: copy the database to another place, and back.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::progress::Progress;
use super::{Globals, cache_of, units};
use crate::config::{Location, Settings};
use crate::db::backup::{backup_to, restore_to};
use crate::db::{BackupProgress, BackupReport, Database};
use crate::error::{Error, Result};

const BACKUP_HELP: &str = "\
Examples:
  broadloom backup /mnt/backup/broadloom           every event acknowledged before the start
  broadloom backup /mnt/backup/broadloom           the next day: copies only what is new
  broadloom backup s3://bucket/broadloom           to an object store; --data may be one too
  broadloom check --data /mnt/backup/broadloom     a backup is a data directory: check or query it
  broadloom restore /mnt/backup/broadloom --data NEW

A server may be running. A backup that is interrupted leaves the previous one intact.
The target contains the newest backup only; to keep older ones, alternate between targets.

Exit codes: 0 success, 1 failure or damaged files, which are copied as they are, 2 wrong usage.";

const RESTORE_HELP: &str = "\
Example:
  broadloom restore /mnt/backup/broadloom --data ./restored

Copies a backup, or any other data directory, to --data and verifies checksums.
--data must be empty or not exist; both places may be in an object store.
If a restore is interrupted, delete the files in --data and start again.

Exit codes: 0 success, 1 failure or damaged files, which are restored as they are, 2 wrong usage.";

/// Arguments of `broadloom backup`.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_HELP)]
pub(super) struct BackupArgs {
    /// Target: a directory, created if it does not exist, or an object store's URL
    #[arg(value_name = "DIR|URL", value_parser = units::location())]
    target: Location,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `broadloom restore`.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub(super) struct RestoreArgs {
    /// Backup to restore: a directory, or an object store's URL
    #[arg(value_name = "DIR|URL", value_parser = units::location())]
    source: Location,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `broadloom backup`.
pub(super) async fn run(args: BackupArgs, globals: &Globals) -> Result<ExitCode> {
    let database = Database::open_read_only(globals.settings()).await?;
    let mut progress = Progress::start();
    let show = |step: BackupProgress| progress.show(step.rows_done, step.rows);
    let report = backup_to(&database, args.target, show).await;
    let seconds = progress.end();
    print(&report?, seconds, args.json)
}

/// Runs `broadloom restore`.
pub(super) async fn restore(args: RestoreArgs, globals: &Globals) -> Result<ExitCode> {
    let mut settings = Settings { data: args.source, ..globals.settings() };
    settings.remote.cache = Some(globals.cache.clone().unwrap_or_else(|| cache_of(&settings.data)));
    let source = Database::open_read_only(settings).await?;
    let mut progress = Progress::start();
    let show = |step: BackupProgress| progress.show(step.rows_done, step.rows);
    let report = restore_to(&source, globals.data.clone(), show).await;
    let seconds = progress.end();
    print(&report?, seconds, args.json)
}

fn print(report: &BackupReport, seconds: f64, json: bool) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let code = if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if json {
        let json = serde_json::to_value(report)
            .map_err(|e| Error::internal("cannot write the report as JSON").with_source(e))?;
        writeln!(out, "{json:#}")?;
        return Ok(code);
    }
    for problem in &report.problems {
        writeln!(out, "{}: {}", problem.path, problem.what)?;
    }
    if !report.problems.is_empty() {
        writeln!(
            out,
            "Damaged files were copied as they are, missing files were left out; all others are intact."
        )?;
    }
    for (what, files, bytes) in
        [("copied", report.copied, report.copied_bytes), ("already there", report.kept, report.kept_bytes)]
    {
        let (files, bytes) = (HumanCount(files).to_string(), HumanBytes(bytes).to_string());
        writeln!(out, "{what:14}{files:>10} files{bytes:>14}")?;
    }
    let (events, of_log) = (HumanCount(report.events), HumanCount(report.log_events));
    writeln!(out, "{events} events, {of_log} of them from the log, in {seconds:.1} s.")?;
    Ok(code)
}
