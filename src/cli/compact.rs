//! `broadloom compact`: few large segments instead of many small ones.

use std::io::Write;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};

use super::progress::Progress;
use super::{Globals, units};
use crate::config::SegmentLimits;
use crate::db::{CompactionOptions, CompactionReport, Database, SegmentTotals};
use crate::error::{Error, ErrorKind, Result};
use crate::maintenance::GRACE;
use crate::segment::ROWS_MAX;
use crate::server::Signals;

const AFTER_HELP: &str = "\
Merges small segments, and segments that overlap in time, into ones of about --segment-rows events or
--segment-bytes that do not overlap. Events stay as they are. Interrupted, it keeps what is done and goes on
from there the next time; when there is nothing to gain it changes nothing.

Needs the directory for itself: stop `broadloom serve` first. Queries of other processes go on; the files
that they may be reading are deleted after --grace, by the next compaction or start.";

/// Arguments of `broadloom compact`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompactArgs {
    /// Events of a full segment
    #[arg(long, value_name = "N", default_value_t = ROWS_MAX)]
    segment_rows: usize,
    /// Bytes of a full segment, if that is reached first; a merge takes several times as much memory
    #[arg(long, value_name = "BYTES", default_value = "128MiB", value_parser = units::segment_bytes)]
    segment_bytes: usize,
    /// How long to keep the files of merged segments, for queries that began before
    #[arg(long, value_name = "TIME", default_value_t = humantime::Duration::from(GRACE), value_parser = grace)]
    grace: humantime::Duration,
}

fn grace(text: &str) -> Result<humantime::Duration, String> {
    units::duration(text).map(humantime::Duration::from)
}

/// Compacts.
pub(super) async fn run(args: CompactArgs, globals: &Globals) -> Result<()> {
    let segment = SegmentLimits { rows: args.segment_rows, bytes: args.segment_bytes as u64 };
    let options = CompactionOptions { segment, grace: args.grace.into() };
    let mut signals = Signals::install()?;
    globals.refuse_new_directory()?;
    let database = Database::open(globals.settings()).await?;
    // What is in the log becomes a segment at the end; so it may as well be merged.
    database.flush().await?;
    let mut progress = Progress::start();
    let compacted = tokio::select! {
        compacted = database.compact(options, |step| progress.show(step.rows_done, step.rows_planned)) => compacted,
        signal = signals.next() => {
            Err(Error::new(ErrorKind::Cancelled, format!("stopped by {signal}; what was merged stays merged")))
        }
    };
    let seconds = progress.end();
    let closed = database.close().await;
    let report = compacted?;
    closed?;
    print(&report, seconds)
}

fn print(report: &CompactionReport, seconds: f64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:8}{:>10}{:>16}{:>14}{:>14}", "", "segments", "events", "size", "bytes/event")?;
    for (name, totals) in [("before", report.before), ("after", report.after)] {
        let SegmentTotals { segments, rows, bytes } = totals;
        writeln!(
            out,
            "{name:8}{:>10}{:>16}{:>14}{:>14.1}",
            HumanCount(segments).to_string(),
            HumanCount(rows).to_string(),
            HumanBytes(bytes).to_string(),
            bytes as f64 / rows.max(1) as f64,
        )?;
    }
    if report.rewritten_rows == 0 {
        writeln!(out, "There was nothing to gain; nothing was changed.")?;
    } else {
        let rewritten = HumanCount(report.rewritten_rows);
        writeln!(out, "{rewritten} events were written in {seconds:.1} s.")?;
    }
    Ok(())
}
