//! `broadloom delete`: deletes the events that fit a condition.

use std::io::Write;

use clap::Args;

use super::{Globals, units};
use crate::db::{CompactionOptions, Database, DeleteRequest, DeletionReceipt};
use crate::error::{Error, Result};

const AFTER_HELP: &str = "\
Examples:
  broadloom delete --where \"user.id = 'u-7'\" --dry-run
  broadloom delete --where \"user.id = 'u-7'\"
  broadloom delete --where \"body like '%password%'\" --from 2026-11-01T00:00:00Z
  broadloom delete --status 6d2f…

The condition is SQL on the table `events`, without subqueries. No later query sees the events that
fit it. Their segments are then rewritten without them, and the old files are deleted after --grace;
--status lists those that still exist. The id, the condition and the counts are kept: do not write
secrets into the condition.

Stop `broadloom serve` first: only one process may write. --status works while it is running.";

/// Arguments of `broadloom delete`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DeleteArgs {
    /// SQL condition that selects the events to delete, such as "user.id = 'u-7'"
    #[arg(long = "where", value_name = "SQL", required_unless_present = "status")]
    condition: Option<String>,
    /// Delete only events at or after this time, such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    from: Option<i64>,
    /// Delete only events before this time
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    to: Option<i64>,
    /// Only count the events that would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Show the state of an earlier deletion, by the id on its receipt
    #[arg(long, value_name = "ID", conflicts_with_all = ["condition", "from", "to", "dry_run"])]
    status: Option<String>,
    /// Time for which replaced files are kept, for running queries of other processes; 0s deletes them now
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = units::duration)]
    grace: std::time::Duration,
    /// Print the receipt as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `broadloom delete`.
pub(super) async fn run(args: DeleteArgs, globals: &Globals) -> Result<()> {
    globals.refuse_new_directory()?;
    if let Some(id) = &args.status {
        let database = Database::open_read_only(globals.settings()).await?;
        return print(&database.deletion(id).await?, args.json);
    }
    let condition = args.condition.unwrap_or_default();
    let request = DeleteRequest { condition, from_ns: args.from, to_ns: args.to };
    let database = Database::open(globals.settings()).await?;
    if args.dry_run {
        let counted = database.count_deletable(&request).await;
        database.close().await?;
        let (rows, segments) = counted?;
        writeln!(std::io::stdout(), "{rows} events in {segments} segments would be deleted")?;
        return Ok(());
    }
    let receipt = delete(&database, &request, args.grace).await;
    database.close().await?;
    let id = receipt?.deletion.id;
    // Read after closing: closing truncates the log, so that it no longer counts as pending.
    print(&database.deletion(&id).await?, args.json)
}

async fn delete(
    database: &Database,
    request: &DeleteRequest,
    grace: std::time::Duration,
) -> Result<DeletionReceipt> {
    let receipt = database.delete(request).await?;
    let options = CompactionOptions { grace, ..CompactionOptions::default() };
    database.rewrite_deleted(options).await?;
    Ok(receipt)
}

fn print(receipt: &DeletionReceipt, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let DeletionReceipt { deletion, pending } = receipt;
    if json {
        let mut value = serde_json::to_value(receipt)
            .map_err(|e| Error::internal("cannot write the receipt as JSON").with_source(e))?;
        value["complete"] = receipt.is_complete().into();
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let time = |ns: i64| {
        chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
    };
    writeln!(out, "deletion   {}", deletion.id)?;
    writeln!(out, "at         {}", time(deletion.at_ns))?;
    writeln!(out, "where      {}", deletion.condition)?;
    for (name, ns) in [("from", deletion.from_ns), ("to", deletion.to_ns)] {
        if let Some(ns) = ns {
            writeln!(out, "{name:<11}{}", time(ns))?;
        }
    }
    writeln!(
        out,
        "events     {} in {} segments; no later query sees them",
        deletion.rows, deletion.segments
    )?;
    if receipt.is_complete() {
        writeln!(out, "complete   no file contains them any more")?;
    } else {
        writeln!(out, "pending    {} files may still contain them:", pending.len())?;
        for path in pending {
            writeln!(out, "           {path}")?;
        }
    }
    Ok(())
}
