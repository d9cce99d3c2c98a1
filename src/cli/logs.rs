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
    /// Only records whose body has this text, in any case
    #[arg(short, long, value_name = "TEXT")]
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
    conditions.extend(args.search.as_deref().map(has_text));
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

/// The condition for records whose body has `text`, in any case.
fn has_text(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("body ILIKE {}", literal(&format!("%{escaped}%")))
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

/// Parts of a message that differ from record to record of one kind, in the order in which they are replaced. They are
/// those of the web page. Whole numbers come before hexadecimal ones, so that a number is the same sign however many
/// digits it has.
const VARIABLES: [(&str, &str); 6] = [
    ("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", "<uuid>"),
    (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?",
        "<time>",
    ),
    (r"\b[0-9]+(\.[0-9]+)*\b", "<n>"),
    (r"\b(0x[0-9a-fA-F]+|[a-fA-F]*[0-9][0-9a-fA-F]{5,}|[a-fA-F]{4,}[0-9][0-9a-fA-F]*)\b", "<hex>"),
    (r"[0-9]+(\.[0-9]+)*", "<n>"),
    (r"<n>(\.<n>)+", "<n>"),
];

fn patterns_statement(conditions: &[String], limit: usize) -> String {
    let pattern = VARIABLES.iter().fold("substr(body, 1, 1000)".to_owned(), |sql, (variable, sign)| {
        format!("regexp_replace({sql},\n    {}, '{sign}', 'g')", literal(variable))
    });
    format!(
        "SELECT pattern, severity, max(severity_number) AS severity_number, count(*) AS records,\n  \
           min(timestamp) AS first, max(timestamp) AS last, array_sort(array_agg(DISTINCT service)) AS services,\n  \
           first_value(body ORDER BY timestamp DESC) AS example,\n  \
           count(*) OVER () AS all_patterns, sum(count(*)) OVER () AS all_records\n\
         FROM (\n  \
           SELECT timestamp, severity, severity_number, attributes['service.name'] AS service, body,\n    \
             {pattern} AS pattern\n  \
           FROM logs{}\n\
         ) AS by_record\n\
         GROUP BY pattern, severity\n\
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_means_its_characters() {
        assert_eq!(has_text("100%_a\\b it's"), r"body ILIKE '%100\%\_a\\b it''s%'");
    }

    #[test]
    fn patterns_are_those_of_the_page() {
        let page = include_str!("../server/ui/web/state/log-statements.js").replace("\\\\", "\\");
        for (variable, sign) in VARIABLES {
            assert!(page.contains(&format!("[\"{variable}\", \"{sign}\"]")), "{variable}");
        }
    }
}
