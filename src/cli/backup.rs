//! `broadloom backup` and `broadloom restore`: the database in another place, and back.

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
  broadloom backup /mnt/backup/broadloom               all that was acknowledged before, as of one moment
  broadloom backup /mnt/backup/broadloom               the next day: only what is new is copied
  broadloom backup s3://bucket/broadloom               to an object store; --data may be in one as well
  broadloom check --data /mnt/backup/broadloom         a backup is a data directory: check it, query it
  broadloom restore /mnt/backup/broadloom --data NEW

A server may be at work. A backup that is cut off leaves the one before as it was. The place holds the newest
backup only; for older ones use several. Exit code 1 with damaged files, which are copied as they are.";

const RESTORE_HELP: &str = "\
Makes a database in --data, which must be empty or not there, of a backup or of any other data directory, and
compares checksums on the way; both may be in an object store. Exit code 1 with damaged files, which are restored as
they are. What a restore that was cut off has left is no database: remove it, and begin again.";

/// Arguments of `broadloom backup`.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_HELP)]
pub(super) struct BackupArgs {
    /// Where the backup is: a directory, made when it is not there, or an object store
    #[arg(value_name = "DIR|URL", value_parser = units::location())]
    target: Location,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `broadloom restore`.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub(super) struct RestoreArgs {
    /// Where the backup is
    #[arg(value_name = "DIR|URL", value_parser = units::location())]
    source: Location,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

/// Backs up.
pub(super) async fn run(args: BackupArgs, globals: &Globals) -> Result<ExitCode> {
    let database = Database::open_read_only(globals.settings()).await?;
    let mut progress = Progress::start();
    let show = |step: BackupProgress| progress.show(step.rows_done, step.rows);
    let report = backup_to(&database, args.target, show).await;
    let seconds = progress.end();
    print(&report?, seconds, args.json)
}

/// Restores.
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
        let json =
            serde_json::to_value(report).map_err(|e| Error::internal("the report as JSON").with_source(e))?;
        writeln!(out, "{json:#}")?;
        return Ok(code);
    }
    for problem in &report.problems {
        writeln!(out, "{}: {}", problem.path, problem.what)?;
    }
    if !report.problems.is_empty() {
        writeln!(
            out,
            "What is damaged is copied as it is, and what is missing left out; all else is whole."
        )?;
    }
    for (what, files, bytes) in
        [("copied", report.copied, report.copied_bytes), ("there before", report.kept, report.kept_bytes)]
    {
        let (files, bytes) = (HumanCount(files).to_string(), HumanBytes(bytes).to_string());
        writeln!(out, "{what:14}{files:>10} files{bytes:>14}")?;
    }
    let (events, of_log) = (HumanCount(report.events), HumanCount(report.log_events));
    writeln!(out, "{events} events, {of_log} of them from the log, in {seconds:.1} s.")?;
    Ok(code)
}
