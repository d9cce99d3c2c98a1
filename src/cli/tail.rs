//! `broadloom tail`: follows new events.
//!
//! Once a second the events of the last minute (`--late`) are read, and those that were not there before are shown. So
//! an event that arrives up to a minute after its time is found, whatever came meanwhile, and nothing is shown twice. The
//! memory is that of the events of one answer: at most [`ROWS_MAX`].

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use clap::{Args, ValueEnum};

use super::ask::{AskArgs, Desk, Form, text_of};
use super::draw::row::rows_of;
use super::events::{in_parentheses, since, where_clause};
use super::record::{self, COLUMNS, LOG_COLUMNS};
use super::{Globals, units};
use crate::error::Result;
use crate::query::output::Format;

const AFTER_HELP: &str = "\
Examples:
  broadloom tail                                       log records of ./broadloom-data, also beside a server
  broadloom tail --url http://127.0.0.1:8080 --where \"severity_number >= 17\"
  broadloom tail --source spans --where \"duration_ns > 1e9\" --late 5m
  broadloom tail --format ndjson | jq .body

Each second the events of the last minute are read, and new ones are shown. An event that arrives later than a minute
after its time (for a span, its start) is missed: raise --late. Ctrl-C ends.";

/// Most events that one answer has.
const ROWS_MAX: usize = 20_000;

/// Arguments of `broadloom tail`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TailArgs {
    /// Events to follow
    #[arg(long, value_name = "SOURCE", default_value = "logs")]
    source: Followed,
    /// SQL condition of the events, such as "service.name = 'cart'"
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Events of the last minute that are shown at first
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    lines: usize,
    /// Time between two questions
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Longest time between an event and its arrival
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = interval)]
    late: Duration,
    /// Show the trace id of each event
    #[arg(long)]
    ids: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// Events that can be followed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Followed {
    Logs,
    Spans,
    Events,
}

fn interval(text: &str) -> std::result::Result<Duration, String> {
    let time = units::duration(text)?;
    if time < Duration::from_millis(100) { Err("write at least 100ms".to_owned()) } else { Ok(time) }
}

/// Runs `broadloom tail` until Ctrl-C.
pub(super) async fn run(args: TailArgs, globals: &Globals) -> Result<()> {
    let desk = args.ask.open(globals).await?;
    let sql = statement(&args, desk.form);
    if args.ask.prints_statement() {
        return desk.write(&sql).await.map(|_| ());
    }
    let mut output = Output { form: desk.form, has_header: false, ids: args.ids };
    let end = tokio::signal::ctrl_c();
    tokio::pin!(end);
    tokio::select! {
        failed = follow(&desk, &sql, &args, &mut output) => failed,
        pressed = &mut end => Ok(pressed?),
    }
}

fn statement(args: &TailArgs, form: Form) -> String {
    let (table, columns) = match args.source {
        Followed::Logs => ("logs", LOG_COLUMNS),
        Followed::Spans => ("spans", COLUMNS),
        Followed::Events => ("events", COLUMNS),
    };
    let attributes = if form == Form::Picture { "" } else { ", attributes" };
    let mut conditions = vec![since(args.late)];
    conditions.extend(args.condition.as_deref().map(in_parentheses));
    format!(
        "SELECT * FROM (\n  SELECT {columns}{attributes} FROM {table}{}\n  \
         ORDER BY timestamp DESC LIMIT {}\n) AS newest ORDER BY timestamp",
        where_clause(&conditions),
        ROWS_MAX
    )
}

/// Asks again and again; returns only if that fails for good.
async fn follow(desk: &Desk, sql: &str, args: &TailArgs, output: &mut Output) -> Result<()> {
    let mut seen = Seen::default();
    let first = desk.ask(sql, ROWS_MAX).await?.batches;
    let new: Vec<RecordBatch> = first.iter().map(|batch| seen.take(batch)).collect::<Result<_>>()?;
    output.show(desk, &last_rows(&new, args.lines))?;
    note(&format!(
        "following {} of {}, found up to {} late; Ctrl-C ends",
        format!("{:?}", args.source).to_lowercase(),
        desk.source_name(),
        humantime::format_duration(args.late)
    ));
    let mut has_warned = false;
    loop {
        tokio::time::sleep(args.interval).await;
        let found = match desk.ask(sql, ROWS_MAX).await {
            Ok(found) => found.batches,
            Err(error) if error.kind().is_retryable() => {
                note(&format!("{}; trying again", error.chain()));
                continue;
            }
            Err(error) => return Err(error),
        };
        if !has_warned && found.iter().map(RecordBatch::num_rows).sum::<usize>() >= ROWS_MAX {
            has_warned = true;
            note("only the newest 20,000 events are read at a time, so late ones are missed: narrow --where");
        }
        seen.next();
        let new: Vec<RecordBatch> = found.iter().map(|batch| seen.take(batch)).collect::<Result<_>>()?;
        output.show(desk, &new)?;
    }
}

/// The events of the last answer, by hash: how often each was there. Equal events are counted, not dropped.
#[derive(Default)]
struct Seen {
    before: HashMap<u64, u32>,
    now: HashMap<u64, u32>,
}

impl Seen {
    /// Begins with the next answer.
    fn next(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// The rows of `batch` that were not in the answer before.
    fn take(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = batch.schema_ref();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let is_new = rows_of(batch).map(|row| {
            let mut hasher = DefaultHasher::new();
            // The map of attributes need not have one order.
            for name in names.iter().filter(|name| **name != "attributes") {
                row.raw(name).hash(&mut hasher);
            }
            let hash = hasher.finish();
            let count = self.now.entry(hash).or_default();
            *count += 1;
            *count > self.before.get(&hash).copied().unwrap_or(0)
        });
        let is_new: BooleanArray = is_new.map(Some).collect();
        Ok(filter_record_batch(batch, &is_new)?)
    }
}

/// The last `count` rows.
fn last_rows(batches: &[RecordBatch], count: usize) -> Vec<RecordBatch> {
    let mut skipped = batches.iter().map(RecordBatch::num_rows).sum::<usize>().saturating_sub(count);
    let mut kept = Vec::new();
    for batch in batches {
        let from = skipped.min(batch.num_rows());
        skipped -= from;
        kept.push(batch.slice(from, batch.num_rows() - from));
    }
    kept
}

/// The stream of events on stdout.
struct Output {
    form: Form,
    has_header: bool,
    ids: bool,
}

impl Output {
    fn show(&mut self, desk: &Desk, batches: &[RecordBatch]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
            match self.form {
                Form::Picture => {
                    for row in rows_of(batch) {
                        out.write_all(record::draw(row, &desk.screen, self.ids).as_bytes())?;
                    }
                }
                Form::Rows(Format::Csv) => {
                    let text = text_of(Format::Csv, batch)?;
                    let header = text.find('\n').map_or(text.len(), |end| end + 1);
                    let from = if std::mem::replace(&mut self.has_header, true) { header } else { 0 };
                    out.write_all(&text.as_bytes()[from..])?;
                }
                // A document or table would never end.
                Form::Rows(_) => out.write_all(text_of(Format::Ndjson, batch)?.as_bytes())?,
            }
        }
        Ok(out.flush()?)
    }
}

/// Prints a note for a person on stderr.
fn note(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, StringViewArray};

    use super::*;

    fn batch(texts: &[&str]) -> RecordBatch {
        let column = Arc::new(StringViewArray::from(texts.to_vec())) as ArrayRef;
        RecordBatch::try_from_iter([("body", column)]).unwrap()
    }

    fn texts(batch: &RecordBatch) -> Vec<&str> {
        batch.column(0).as_string_view().iter().flatten().collect()
    }

    #[test]
    fn each_event_is_new_once_and_equal_ones_are_counted() {
        let mut seen = Seen::default();
        assert_eq!(texts(&seen.take(&batch(&["a", "b", "b"])).unwrap()), ["a", "b", "b"]);
        seen.next();
        assert_eq!(texts(&seen.take(&batch(&["late", "a", "b", "b", "b"])).unwrap()), ["late", "b"]);
        seen.next();
        assert_eq!(texts(&seen.take(&batch(&["b", "b", "b"])).unwrap()), [""; 0]);
    }

    #[test]
    fn the_last_rows_may_be_of_several_batches() {
        let batches = [batch(&["a", "b"]), batch(&["c"])];
        let kept = last_rows(&batches, 2);
        let kept: Vec<_> = kept.iter().flat_map(texts).collect();
        assert_eq!(kept, ["b", "c"]);
        assert_eq!(last_rows(&batches, 9).iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }
}
