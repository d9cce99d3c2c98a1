//! `broadloom check`: verifies all stored data.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::Globals;
use super::progress::Progress;
use crate::db::check::{CheckReport, Part, check};
use crate::error::{Error, Result};

const AFTER_HELP: &str = "\
Reads and decodes everything: catalog, all columns of all segments, indexes, masks, write-ahead log.
Changes nothing and takes no lock: a server may be running. Memory: one column of one segment.

Each problem is printed with what was expected and found, and with a remedy. Orphaned files are not
problems, only notes: a crash leaves them, and the next start deletes them.

Exit codes: 0 no problems, 1 problems or failure, 2 wrong usage.";

/// Arguments of `broadloom check`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CheckArgs {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `broadloom check`.
pub(super) async fn run(args: CheckArgs, globals: &Globals) -> Result<ExitCode> {
    let mut progress = Progress::start();
    let report = check(&globals.settings(), |step| progress.show(step.rows_done, step.rows)).await;
    let seconds = progress.end();
    let report = report?;
    if args.json {
        let json = serde_json::to_value(&report)
            .map_err(|e| Error::internal("cannot write the report as JSON").with_source(e))?;
        writeln!(std::io::stdout(), "{json:#}")?;
    } else {
        print(&report, seconds)?;
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &CheckReport, seconds: f64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for problem in &report.problems {
        let what = &problem.problem;
        writeln!(out, "{}: {}", what.path, what.what)?;
        if let (Some(expected), Some(found)) = (&what.expected, &what.found) {
            writeln!(out, "    expected {expected}\n    found    {found}")?;
        }
        writeln!(out, "    to do: {}", problem.advice)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "{:10}{:>10}{:>14}{:>10}", "", "files", "size", "problems")?;
    for part in Part::ALL {
        let totals = report.parts.get(&part).copied().unwrap_or_default();
        writeln!(
            out,
            "{:10}{:>10}{:>14}{:>10}",
            part.name(),
            HumanCount(totals.objects).to_string(),
            HumanBytes(totals.bytes).to_string(),
            HumanCount(totals.problems).to_string(),
        )?;
    }
    let (rows, batches) = (HumanCount(report.rows), HumanCount(report.batches));
    writeln!(out, "{rows} events in segments and {batches} batches in the log, read in {seconds:.1} s.")?;
    if report.problems.is_empty() {
        writeln!(out, "No problem was found.")?;
    }
    Ok(())
}
