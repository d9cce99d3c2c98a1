//! `broadloom delete`: events that must go.

use std::io::Write;

use clap::Args;

use super::{Globals, units};
use crate::db::{CompactionOptions, Database, DeleteRequest, DeletionReceipt};
use crate::error::{Error, Result};

const AFTER_HELP: &str = "\
Examples:
  broadloom delete --where \"user.id = 'u-7'\" --dry-run
  broadloom delete --where \"user.id = 'u-7'\"
  broadloom delete --where \"service.name = 'cart' and body like '%password%'\" --from 2026-11-01T00:00:00Z
  broadloom delete --status 6d2f…

The condition is SQL on the table `events`. What it fits is gone from every query at once. The files that held
it are then written again without it, and deleted after --grace; --status says which are still there. The id,
the condition and the numbers are kept, so do not write into the condition what nobody may know.

Needs the directory for itself: stop `broadloom serve` first. --status does not.";

/// Arguments of `broadloom delete`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DeleteArgs {
    /// Which events: an SQL condition
    #[arg(long = "where", value_name = "SQL", required_unless_present = "status")]
    condition: Option<String>,
    /// Only events at this time or later, such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    from: Option<i64>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    to: Option<i64>,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
    /// Say what has become of an earlier deletion
    #[arg(long, value_name = "ID", conflicts_with_all = ["condition", "from", "to", "dry_run"])]
    status: Option<String>,
    /// How long to keep the files, for queries of other processes that began before
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = units::duration)]
    grace: std::time::Duration,
    /// Write the receipt as JSON
    #[arg(long)]
    json: bool,
}

/// Deletes, or says what has become of it.
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
    // After closing, as the log is truncated then.
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
        let mut value =
            serde_json::to_value(receipt).map_err(|e| Error::internal("a receipt as JSON").with_source(e))?;
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
    writeln!(out, "events     {} in {} segments; no query sees them", deletion.rows, deletion.segments)?;
    if receipt.is_complete() {
        writeln!(out, "complete   no file holds them any more")?;
    } else {
        writeln!(out, "pending    {} files may still hold them:", pending.len())?;
        for path in pending {
            writeln!(out, "           {path}")?;
        }
    }
    Ok(())
}
