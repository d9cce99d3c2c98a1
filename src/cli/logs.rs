//! `broadloom logs`: log records, newest last, or the patterns of their messages.

use std::io::{BufWriter, Write};

use clap::Args;
use indicatif::HumanCount;

use super::Globals;
use super::ask::{AskArgs, Desk, Form};
use super::draw::row::{Row, rows};
use super::draw::text::{left, literal, right};
use super::draw::{Screen, style_of_severity};
use super::events::{EventsArgs, where_clause};
use super::record::{self, LOG_COLUMNS};
use crate::error::Result;

const AFTER_HELP: &str = "\
Examples:
  broadloom logs --last 15m --where \"severity_number >= 13\"
  broadloom logs --search 'index does not exist' --where \"service.name = 'payment'\"
  broadloom logs --patterns --last 1h              which messages there are, the most frequent first
  broadloom logs --last 1d --limit 100000 --format csv > logs.csv
  broadloom logs --search timeout --sql            the statement

Piped, or with --format, records have all their attributes. broadloom tail follows new ones.";

/// Arguments of `broadloom logs`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct LogsArgs {
    /// Only records whose body has all these words, in any order and case
    #[arg(short, long, value_name = "WORDS")]
    search: Option<String>,
    #[command(flatten)]
    events: EventsArgs,
    /// Most records, the newest, or most patterns
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    limit: usize,
    /// Group the records by their messages without numbers, ids and times
    #[arg(long)]
    patterns: bool,
    /// Show the trace id of each record
    #[arg(long)]
    ids: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// Runs `broadloom logs`.
pub(super) async fn run(args: LogsArgs, globals: &Globals) -> Result<()> {
    let desk = args.ask.open(globals).await?;
    let mut conditions = args.events.conditions();
    conditions.extend(args.search.as_deref().map(|words| format!("search({})", literal(words))));
    let sql = if args.patterns {
        patterns_statement(&conditions, args.limit)
    } else {
        statement(&conditions, args.limit, desk.form)
    };
    if desk.write(&sql).await? {
        return Ok(());
    }
    if args.patterns { draw_patterns(&desk, &sql, args.limit).await } else { draw(&desk, &sql, &args).await }
}

fn statement(conditions: &[String], limit: usize, form: Form) -> String {
    let attributes = if form == Form::Picture { "" } else { ", attributes" };
    format!(
        "SELECT * FROM (\n  \
           SELECT {LOG_COLUMNS}{attributes} FROM logs{}\n  \
           ORDER BY timestamp DESC LIMIT {limit}\n\
         ) AS newest ORDER BY timestamp",
        where_clause(conditions)
    )
}

async fn draw(desk: &Desk, sql: &str, args: &LogsArgs) -> Result<()> {
    let found = desk.ask(sql, args.limit).await?;
    let mut out = BufWriter::new(std::io::stdout());
    let mut shown = 0;
    for row in rows(&found.batches) {
        shown += 1;
        out.write_all(record::draw(row, &desk.screen, args.ids).as_bytes())?;
    }
    let more = if shown == args.limit { ", the newest; --limit shows more" } else { "" };
    let records = if shown == 1 { "record" } else { "records" };
    let summary =
        format!("{} {records}{more}; times are {}", HumanCount(shown as u64), desk.screen.zone.name());
    writeln!(out, "{}", desk.screen.weak(&summary))?;
    Ok(out.flush()?)
}

fn patterns_statement(conditions: &[String], limit: usize) -> String {
    format!(
        "SELECT *, count(*) OVER () AS all_patterns, sum(records) OVER () AS all_records\n\
         FROM log_patterns((SELECT * FROM logs{}\n))\n\
         ORDER BY records DESC, pattern, severity LIMIT {limit}",
        where_clause(conditions)
    )
}

async fn draw_patterns(desk: &Desk, sql: &str, limit: usize) -> Result<()> {
    let found = desk.ask(sql, limit).await?;
    let mut out = BufWriter::new(std::io::stdout());
    let (mut shown, mut patterns, mut records) = (0_u64, 0, 0);
    for row in rows(&found.batches) {
        shown += 1;
        patterns = row.integer("all_patterns").unwrap_or(0).unsigned_abs();
        records = row.integer("all_records").unwrap_or(0).unsigned_abs();
        writeln!(out, "{}", pattern_line(row, &desk.screen))?;
    }
    let summary = format!(
        "{shown} of {} patterns, in {} records; times are {}",
        HumanCount(patterns),
        HumanCount(records),
        desk.screen.zone.name()
    );
    writeln!(out, "{}", desk.screen.weak(&summary))?;
    Ok(out.flush()?)
}

fn pattern_line(row: Row<'_>, screen: &Screen) -> String {
    let records = HumanCount(row.integer("records").unwrap_or(0).unsigned_abs()).to_string();
    let severity = left(&row.text("severity"), 6);
    let severity = screen.paint(style_of_severity(row.integer("severity_number").unwrap_or(0)), &severity);
    let last = row.integer("last").map_or_else(String::new, |ns| screen.zone.time(ns));
    let services = row.list("services").join(", ");
    let about = screen.weak(&format!("{services}; last {last}"));
    format!("{} {severity} {}\n{}{about}", right(&records, 9), row.text("pattern"), " ".repeat(17))
}
