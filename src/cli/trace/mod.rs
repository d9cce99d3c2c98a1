//! `broadloom trace`: draws one trace as a waterfall.
//!
//! ```text
//! traces           ─▶ head: root, duration, counts, notes
//! trace_rows('…')  ─▶ a line per span, in the order of the tree        ─┐
//! critical_path('…') ─▶ the strong parts of the bars, and the summary   ├─▶ waterfall
//! trace('…')       ─▶ log records and span events under their spans    ─┘
//! ```
//! A large trace is folded by its statement: the roots and what is near them, what failed with everything above it, and
//! what takes most of the critical path. Rows have the numbers of `trace_rows`, so a gap between two numbers is the
//! number of spans that are left out. With `--all` spans are drawn as they come, and memory does not grow with them.

mod guides;
mod read;
mod waterfall;

use std::io::{BufWriter, Write};

use clap::Args;
use futures::StreamExt;

use super::Globals;
use super::ask::{AskArgs, Desk};
use super::draw::row::{rows, rows_of};
use super::draw::text::literal;
use crate::error::{Error, ErrorKind, Result};
use read::{Head, PathStep, Record, Span};
use waterfall::Waterfall;

const AFTER_HELP: &str = "\
Examples:
  broadloom trace 4bf92f3577b34da6a3ce929d0e0e4736
  broadloom trace --url http://127.0.0.1:8080 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
  broadloom trace 4bf92f3577b34da6a3ce929d0e0e4736 --all | less
  broadloom trace 4bf92f3577b34da6a3ce929d0e0e4736 --format csv     the rows of trace_rows

A bar is a span: █ where the duration of the trace depends on it (the critical path), ▒ elsewhere. ✗ failed, ◆ is a log
record or span event, ⋯ stands for spans that are folded: --spans N shows more, --all every one.";

/// Most parts of the critical path that are drawn; shorter ones are narrower than a column.
const PARTS_MAX: usize = 5_000;
/// Log records and span events that are drawn without `--all`, and with it.
const RECORDS: usize = 100;
const RECORDS_MAX: usize = 10_000;
/// Steps of the critical path that are listed.
const STEPS: usize = 5;

/// Arguments of `broadloom trace`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TraceArgs {
    /// Trace id, or a text with one, such as a traceparent header or a log line
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    id: String,
    /// Spans that are drawn, the most important ones
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    spans: u32,
    /// Draw every span
    #[arg(long, conflicts_with = "spans")]
    all: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// Runs `broadloom trace`.
pub(super) async fn run(args: TraceArgs, globals: &Globals) -> Result<()> {
    let id = literal(&trace_id(&args.id)?);
    let desk = args.ask.open(globals).await?;
    if desk.write(&format!("SELECT * FROM trace_rows({id})")).await? {
        return Ok(());
    }
    let head = head(&desk, &id).await?;
    let path = desk.ask(&path_statement(&id), STEPS).await?;
    let path: Vec<PathStep> = rows(&path.batches).map(PathStep::read).collect();
    let parts = desk.ask(&parts_statement(&id), PARTS_MAX).await?;
    let records_max = if args.all { RECORDS_MAX } else { RECORDS };
    let records = desk.ask(&records_statement(&id, records_max), records_max + 1).await?;
    let records: Vec<Record> = rows(&records.batches).map(Record::read).collect();
    let has_more = records.len() > records_max;

    let mut out = BufWriter::new(std::io::stdout());
    let mut waterfall = Waterfall::new(&desk.screen, &head);
    waterfall.take_parts(rows(&parts.batches));
    waterfall.take_records(records, has_more);
    out.write_all(waterfall.begin().as_bytes())?;
    if args.all {
        let mut batches = desk.stream(&all_statement(&id)).await?;
        while let Some(batch) = batches.next().await {
            for row in rows_of(&batch?) {
                out.write_all(waterfall.span(&Span::read(row)).as_bytes())?;
            }
        }
    } else {
        let spans = args.spans as usize;
        let found = desk.ask(&folded_statement(&id, spans), spans).await?;
        for row in rows(&found.batches) {
            out.write_all(waterfall.span(&Span::read(row)).as_bytes())?;
        }
    }
    out.write_all(waterfall.end(&path).as_bytes())?;
    Ok(out.flush()?)
}

/// The first 32 hexadecimal digits in a row.
fn trace_id(text: &str) -> Result<String> {
    let found = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit()));
    found.map(str::to_ascii_lowercase).ok_or_else(|| {
        Error::invalid(format!(
            "there is no trace id in {text:?}: write 32 hexadecimal digits, such as 4bf92f3577b34da6a3ce929d0e0e4736"
        ))
    })
}

/// Facts about the whole trace. Fails with [`ErrorKind::NotFound`] if it has no spans.
async fn head(desk: &Desk, id: &str) -> Result<Head> {
    let sql = format!(
        "SELECT trace_id, root_service, root_name, start, duration_ns, spans, errors, \
         array_length(services) AS services, notes FROM traces WHERE trace_id = {id}"
    );
    let found = desk.ask(&sql, 1).await?;
    let head = rows(&found.batches).next().map(Head::read);
    head.ok_or_else(|| {
        let message = format!(
            "{} has no span of the trace {id}; log records without spans are listed by: \
             broadloom logs --where \"trace_id = {id}\"",
            desk.source_name()
        );
        Error::new(ErrorKind::NotFound, message)
    })
}

const SPAN: &str = "\"row\", depth, span_id, \"service.name\", name, status, timestamp, duration_ns, critical_ns, \
     spans_below, error_origin, notes";

fn all_statement(id: &str) -> String {
    format!("SELECT {SPAN} FROM trace_rows({id}) ORDER BY \"row\"")
}

/// The most important spans: the first of three orders take turns.
fn folded_statement(id: &str, spans: usize) -> String {
    format!(
        "SELECT {SPAN} FROM (\n  \
           SELECT *, least(\n    \
             row_number() OVER (ORDER BY error_path DESC, depth, \"row\"),\n    \
             row_number() OVER (ORDER BY critical_ns DESC NULLS LAST, \"row\"),\n    \
             row_number() OVER (ORDER BY depth, duration_ns DESC NULLS LAST, \"row\")\n  \
           ) AS importance\n  \
           FROM trace_rows({id})\n  \
           ORDER BY importance, \"row\" LIMIT {spans}\n\
         ) AS shown ORDER BY \"row\""
    )
}

fn path_statement(id: &str) -> String {
    format!(
        "SELECT \"service.name\", name, sum(duration_ns) AS duration_ns, sum(share) AS share, \
         count(DISTINCT \"row\") AS spans FROM critical_path({id}) GROUP BY \"service.name\", name \
         ORDER BY duration_ns DESC LIMIT {STEPS}"
    )
}

fn parts_statement(id: &str) -> String {
    format!(
        "SELECT \"row\", timestamp, duration_ns FROM critical_path({id}) \
         ORDER BY duration_ns DESC LIMIT {PARTS_MAX}"
    )
}

/// The most severe records, in the order of time. One more than is drawn says that there are more.
fn records_statement(id: &str, records: usize) -> String {
    format!(
        "SELECT * FROM (\n  \
           SELECT timestamp, signal, span_id, severity, severity_number, name, body,\n    \
             attributes['exception.type'] AS exception_type, attributes['exception.message'] AS exception_message\n  \
           FROM trace({id}) WHERE signal IN ('log', 'span_event')\n  \
           ORDER BY coalesce(severity_number, 0) DESC, timestamp LIMIT {}\n\
         ) AS records ORDER BY timestamp",
        records + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_found_in_what_people_paste() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for text in [
            id,
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "failed trace_id=4bf92f3577b34da6a3ce929d0e0e4736 after 3s",
        ] {
            assert_eq!(trace_id(text).unwrap(), id, "{text}");
        }
        for text in ["", "4bf92f35", "4bf92f3577b34da6a3ce929d0e0e47361", "zbf92f3577b34da6a3ce929d0e0e4736"]
        {
            assert!(trace_id(text).unwrap_err().message().contains("32 hexadecimal digits"), "{text}");
        }
    }
}
