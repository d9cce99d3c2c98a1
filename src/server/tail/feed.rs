//! Which messages does a tail have? See the table in `tail/mod.rs`.
//!
//! ```text
//! columns, backlog ─▶ ( arrivals ─▶ statement on them ─▶ rows, skipped │ change │ beat )*
//! ```
//! One item is one or more lines. An item is made only when the one before it was taken, so that a slow client holds back
//! its own tail alone.

use std::fmt::Write as _;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use chrono::{DateTime, SecondsFormat};
use futures::{Stream, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::super::answer::Refusal;
use super::super::fields::{Source, Sql, condition, no_option, option, options};
use super::super::gate::{Answer, Caller, Follow, QueryId};
use crate::config::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::maintenance::Arrived;
use crate::query::output::{columns, write_data};
use crate::query::{QueryResult, Question};

/// Most rows a second; twice as many may come at once.
pub(super) const RATE_MAX: u32 = 500;

/// Most rows of the backlog.
const BACKLOG_MAX: usize = 2_000;

/// Age of the oldest rows of the backlog, in minutes.
const BACKLOG_MINUTES: u32 = 5;

/// Shortest time between two statements: batches that come within it are asked about together.
const PAUSE: Duration = Duration::from_millis(100);

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(5);

/// Longest time that one statement about arrivals takes.
const STATEMENT_MAX: Duration = Duration::from_secs(30);

/// Column of the statements that counts the rows that meet the condition.
const MATCHED: &str = "matched";

const OPTIONS: &str = "source, where, backlog and credit";

/// Events that a client wants to see.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tail {
    source: Source,
    condition: Option<Sql>,
    backlog: usize,
    credit: Option<u64>,
}

impl Tail {
    /// Reads the options of an address.
    pub(super) fn parse(query: &str) -> Result<Self> {
        let mut tail = Self { source: Source::Logs, condition: None, backlog: 0, credit: None };
        for (name, value) in options(query) {
            match name.as_str() {
                "source" => tail.source = option("source", &value, Source::NAMES)?,
                "where" => tail.condition = condition(&value)?,
                "backlog" => tail.backlog = option("backlog", &value, "a number of rows")?,
                "credit" => tail.credit = Some(option("credit", &value, "a number of rows")?),
                other => return Err(no_option(other, OPTIONS)),
            }
        }
        if tail.backlog > BACKLOG_MAX {
            return Err(Error::invalid(format!("backlog={} is more than {BACKLOG_MAX} rows", tail.backlog)));
        }
        Ok(tail)
    }

    /// True if rows come only for credit.
    pub(super) fn has_credit(&self) -> bool {
        self.credit.is_some()
    }

    /// Statement of at most `rows` rows, the newest, by time.
    fn statement(&self, rows: u64, since: &str) -> String {
        let shown = match self.source {
            Source::Spans => {
                "trace_id, span_id, attributes['service.name'] AS service, name, kind, status, timestamp, duration_ns"
            }
            Source::Logs => {
                "timestamp, severity, attributes['service.name'] AS service, body, trace_id, span_id"
            }
            Source::Events => {
                "timestamp, signal, attributes['service.name'] AS service, name, body, trace_id, span_id"
            }
        };
        let conditions: Vec<String> = self
            .condition
            .iter()
            .map(Sql::to_string)
            .chain((!since.is_empty()).then(|| since.to_owned()))
            .collect();
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        format!(
            "SELECT * FROM (SELECT {shown}, count(*) OVER () AS {MATCHED} FROM {}{filter} \
             ORDER BY timestamp DESC, trace_id, span_id LIMIT {rows}) AS newest ORDER BY timestamp, trace_id, span_id",
            self.source.name()
        )
    }
}

/// Something that a client changes while it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    /// More rows may come.
    Credit(u32),
    /// Nothing comes while this is true.
    Pause(bool),
}

/// The changes of one client.
#[derive(Debug)]
pub(super) struct Changes(Option<mpsc::Receiver<Change>>);

impl Changes {
    /// Changes of a client that makes none.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Changes that come through `from`.
    pub(super) fn of(from: mpsc::Receiver<Change>) -> Self {
        Self(Some(from))
    }

    async fn next(&mut self) -> Change {
        if let Some(changes) = &mut self.0
            && let Some(change) = changes.recv().await
        {
            return change;
        }
        // The end of the items ends the tail, not the end of changes.
        self.0 = None;
        std::future::pending().await
    }
}

/// Begins a tail. Fails if its condition is wrong, or too many follow.
pub(super) async fn begin(caller: &Caller, tail: Tail, changes: Changes) -> Result<Answer<String>, Refusal> {
    let text = format!("tail: {}", tail.statement(u64::from(RATE_MAX), ""));
    caller.follow(text, move |id, follow| lines(id, tail, follow, changes)).await
}

/// Rows that may be sent.
#[derive(Debug)]
struct Allowance {
    /// Rows that the rate leaves.
    rate: f64,
    refilled: Instant,
    /// Rows that the client has asked for; `None` is any number.
    credit: Option<u64>,
}

impl Allowance {
    fn new(credit: Option<u64>, now: Instant) -> Self {
        Self { rate: f64::from(RATE_MAX), refilled: now, credit }
    }

    /// Rows that may be sent at `now`.
    fn rows(&mut self, now: Instant) -> u64 {
        let more = (now - self.refilled).as_secs_f64() * f64::from(RATE_MAX);
        self.rate = (self.rate + more).min(f64::from(2 * RATE_MAX));
        self.refilled = now;
        self.credit.unwrap_or(u64::MAX).min(self.rate as u64)
    }

    /// The reason why no more than [`rows`](Self::rows) may be sent.
    fn reason(&self) -> &'static str {
        if self.credit.is_some_and(|credit| credit <= self.rate as u64) { "credit" } else { "rate" }
    }

    fn take(&mut self, rows: u64) {
        self.rate -= rows as f64;
        self.credit = self.credit.map(|credit| credit.saturating_sub(rows));
    }

    fn give(&mut self, rows: u32) {
        self.credit = self.credit.map(|credit| credit.saturating_add(rows.into()));
    }
}

/// State of a tail.
struct State {
    tail: Tail,
    follow: Follow,
    changes: Changes,
    allowance: Allowance,
    is_paused: bool,
    beat: Interval,
    /// Time before which no statement runs.
    pause_until: Instant,
    /// `None` once the first lines were made.
    id: Option<QueryId>,
}

fn lines(
    id: QueryId,
    tail: Tail,
    follow: Follow,
    changes: Changes,
) -> impl Stream<Item = Result<String>> + Send + 'static {
    let mut beat = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let allowance = Allowance::new(tail.credit, Instant::now());
    let pause_until = Instant::now();
    let state = State { tail, follow, changes, allowance, is_paused: false, beat, pause_until, id: Some(id) };
    futures::stream::try_unfold(state, |mut state| async move {
        let lines = match state.id.take() {
            Some(id) => state.first(id).await?,
            None => state.next().await?,
        };
        Ok(Some((lines, state)))
    })
}

impl State {
    /// Columns and backlog.
    async fn first(&mut self, id: QueryId) -> Result<String> {
        let credit = self.allowance.credit.unwrap_or(u64::MAX);
        let rows = credit.min(self.tail.backlog as u64);
        let since = format!("timestamp >= now() - INTERVAL '{BACKLOG_MINUTES} minutes'");
        let sql = self.tail.statement(rows, &since);
        let found = self.follow.before(question(sql.clone())).await?;
        let shown = without_matched(&found);
        let mut backlog = String::new();
        let (sent, _) = write(&mut backlog, found).await?;
        self.allowance.credit = self.allowance.credit.map(|credit| credit.saturating_sub(sent));
        let head = json!({ "columns": shown, "query": id.to_string(), "sql": sql, "backlog": sent });
        Ok(format!("{head}\n{backlog}"))
    }

    async fn next(&mut self) -> Result<String> {
        loop {
            let is_open = !self.is_paused && self.allowance.credit != Some(0);
            let arrived = async {
                if !is_open {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep_until(self.pause_until).await;
                self.follow.arrived().await
            };
            tokio::select! {
                change = self.changes.next() => match change {
                    Change::Credit(rows) => self.allowance.give(rows),
                    Change::Pause(is_paused) => self.is_paused = is_paused,
                },
                arrived = arrived => {
                    self.pause_until = Instant::now() + PAUSE;
                    let out = self.rows(&arrived).await?;
                    if !out.is_empty() {
                        self.beat.reset();
                        return Ok(out);
                    }
                }
                _ = self.beat.tick() => {
                    let now = DateTime::from_timestamp_nanos(SystemClock.now_ns());
                    let now = now.to_rfc3339_opts(SecondsFormat::Millis, true);
                    return Ok(format!("{}\n", json!({ "at": now })));
                }
            }
        }
    }

    /// Lines about events that have arrived; none if no event meets the condition.
    async fn rows(&mut self, arrived: &Arrived) -> Result<String> {
        let mut out = String::new();
        if arrived.lost > 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", json!({ "skipped": { "events": arrived.lost, "why": "behind" } }));
        }
        let allowed = self.allowance.rows(Instant::now());
        // One row at least tells how many there are.
        let sql = self.tail.statement(allowed.max(1), "");
        let found = self.follow.among(arrived, question(sql)).await?;
        let mut rows = String::new();
        let (sent, matched) = write(&mut rows, found).await?;
        let sent = sent.min(allowed);
        if sent > 0 {
            out.push_str(&rows);
        }
        if matched > sent {
            let skipped = json!({ "rows": matched - sent, "why": self.allowance.reason() });
            let _ = writeln!(out, "{}", json!({ "skipped": skipped }));
        }
        self.allowance.take(sent);
        Ok(out)
    }
}

fn question(sql: String) -> Question {
    Question { timeout: Some(STATEMENT_MAX), ..Question::sql(sql) }
}

/// The columns of an answer, without the one that counts.
fn without_matched(found: &QueryResult) -> Value {
    let mut shown = columns(&found.schema);
    if let Some(shown) = shown.as_array_mut() {
        shown.retain(|column| column["name"] != MATCHED);
    }
    shown
}

/// Appends a line for each batch; returns the numbers of rows and of those that meet the condition.
async fn write(out: &mut String, found: QueryResult) -> Result<(u64, u64)> {
    let (mut sent, mut matched) = (0, 0);
    let mut batches = found.stream;
    while let Some(mut batch) = batches.try_next().await? {
        if batch.num_rows() == 0 {
            continue;
        }
        sent += batch.num_rows() as u64;
        matched = matched_of(&mut batch).unwrap_or(sent);
        // Writing to a String cannot fail.
        let _ = write!(out, "{{\"rows\":{{\"count\":{},\"data\":", batch.num_rows());
        write_data(out, &batch)?;
        out.push_str("}}\n");
    }
    Ok((sent, matched.max(sent)))
}

/// Takes the column that counts out of a batch, and returns the count.
fn matched_of(batch: &mut RecordBatch) -> Option<u64> {
    let at = batch.schema().column_with_name(MATCHED)?.0;
    let counts = batch.remove_column(at);
    let counts = counts.as_primitive_opt::<Int64Type>()?;
    (!counts.is_empty()).then(|| u64::try_from(counts.value(0)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_options_are_taken() {
        let tail = Tail::parse("source=spans&where=status%20%3D%20'error'&backlog=5&credit=7").unwrap();
        assert_eq!((tail.source, tail.backlog, tail.credit), (Source::Spans, 5, Some(7)));
        assert!(tail.statement(9, "").contains("FROM spans WHERE (status = 'error') ORDER BY"), "{tail:?}");
        for wrong in
            ["source=users", "backlog=2001", "backlog=-1", "credit=x", "wher=1", "where=a)%20or%20(b"]
        {
            assert!(Tail::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rows_are_thinned_to_the_rate_and_to_the_credit() {
        let begin = Instant::now();
        let mut free = Allowance::new(None, begin);
        assert_eq!(free.rows(begin), 500);
        free.take(500);
        assert_eq!((free.rows(begin), free.reason()), (0, "rate"));
        assert_eq!(free.rows(begin + Duration::from_millis(100)), 50);
        assert_eq!(free.rows(begin + Duration::from_mins(1)), 1_000, "a pause saves up no more");
        let mut given = Allowance::new(Some(3), begin);
        assert_eq!((given.rows(begin), given.reason()), (3, "credit"));
        given.take(3);
        given.give(2);
        assert_eq!(given.rows(begin), 2);
    }
}
