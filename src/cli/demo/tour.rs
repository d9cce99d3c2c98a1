//! How is the incident investigated? One query after the other, each shown with its statement, result and time, and
//! a line that says what the result means for the next query.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;

use super::source::Source;
use crate::demo::{DemoSettings, incident, investigation, investigation::Question};
use crate::error::Result;
use crate::query::output;

/// A minute is bad if its p99 exceeds the usual one (the median of the first half) by this factor.
const BAD_FACTOR: f64 = 4.0;

/// Runs all queries on `source`, and prints them with their results.
pub(super) async fn investigate(source: &Source, settings: DemoSettings, out: &mut impl Write) -> Result<()> {
    let mut tour = Tour { source, out, asked: 0, bold: std::io::stdout().is_terminal() };
    let minutes = tour.ask(&investigation::is_anything_wrong()).await?;
    let since_ns = tour.say_since_when(&minutes, settings)?;
    let since = rfc3339(since_ns);

    let visitors = tour.ask(&investigation::who_is_affected(&since)).await?;
    tour.say_who(&visitors)?;

    let services = tour.ask(&investigation::which_service(&since)).await?;
    if let Some(row) = services.rows().first() {
        tour.say(&format!(
            "The time is spent in {} version {}, in {:?}.",
            cell(row, 0),
            cell(row, 1),
            cell(row, 2)
        ))?;
    }

    let slowest = tour.ask(&investigation::slowest_checkouts(&since)).await?;
    let trace_id = slowest.rows().first().map(|row| cell(row, 0).to_owned());
    let Some(trace_id) = trace_id else {
        return tour.say("There was no checkout since then: generate more events with --events.");
    };
    tour.ask(&investigation::what_happened(&trace_id)).await?;
    tour.say(&format!("The request waits for one query of {}.", incident::SERVICE))?;
    tour.ask(&investigation::what_was_logged(&trace_id)).await?;
    tour.say(&format!(
        "This is the cause: version {} of {} reads {} by a column that has no index ({}).",
        incident::VERSION_AFTER,
        incident::SERVICE,
        incident::TABLE,
        incident::MISSING_INDEX
    ))
}

/// Result of a query.
struct Answer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Answer {
    /// All rows, each cell as text; a cell that cannot be shown is empty.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for batch in &self.batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| {
                    if let Some(ids) = column.as_any().downcast_ref::<arrow::array::FixedSizeBinaryArray>() {
                        return hex::encode(ids.value(row));
                    }
                    if matches!(column.data_type(), DataType::Timestamp(_, _)) {
                        let ns = arrow::compute::cast(column, &DataType::Int64).ok();
                        return ns.map_or_else(String::new, |ns| text(&ns, row));
                    }
                    text(column, row)
                });
                rows.push(cells.collect());
            }
        }
        rows
    }
}

fn text(column: &dyn arrow::array::Array, row: usize) -> String {
    ArrayFormatter::try_new(column, &FormatOptions::default())
        .map_or_else(|_| String::new(), |f| f.value(row).to_string())
}

/// Row in the result of the first query.
struct Minute {
    start_ns: i64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Minute {
    fn read(row: &[String]) -> Option<Self> {
        let start_ns = cell(row, 0).parse().ok()?;
        Some(Self { start_ns, p50_ms: milliseconds(row, 2)?, p99_ms: milliseconds(row, 3)? })
    }
}

struct Tour<'a, W> {
    source: &'a Source,
    out: &'a mut W,
    asked: u32,
    bold: bool,
}

impl<W: Write> Tour<'_, W> {
    async fn ask(&mut self, question: &Question) -> Result<Answer> {
        self.asked += 1;
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(self.out, "\n{on}{}. {}{off}\n", self.asked, question.title)?;
        writeln!(self.out, "{}\n", question.sql)?;
        self.out.flush()?;
        let began = Instant::now();
        let (schema, batches) = self
            .source
            .ask(&question.sql)
            .await
            .map_err(|e| e.context(format!("question {}", self.asked)))?;
        let took = began.elapsed();
        let answer = Answer { schema, batches };
        let table = output::table(&answer.schema, &answer.batches)?;
        writeln!(self.out, "{} in {} ms", table.trim_end(), took.as_millis())?;
        Ok(answer)
    }

    fn say(&mut self, what: &str) -> Result<()> {
        writeln!(self.out, "→ {what}")?;
        Ok(())
    }

    /// Finds when the incident began, in the result of the first query; returns that time.
    fn say_since_when(&mut self, answer: &Answer, settings: DemoSettings) -> Result<i64> {
        let minutes: Vec<Minute> = answer.rows().iter().filter_map(|row| Minute::read(row)).collect();
        let usual_ms = middle(minutes.iter().map(|m| m.p99_ms).take(minutes.len() / 2));
        let is_bad = |minute: Option<&Minute>| minute.is_some_and(|m| m.p99_ms > BAD_FACTOR * usual_ms);
        // A single slow request makes one minute bad; an incident lasts longer.
        let lasts =
            |i: &usize| is_bad(minutes.get(*i)) && (is_bad(minutes.get(i + 1)) || is_bad(minutes.get(i + 2)));
        let Some(first) = (0..minutes.len()).find(lasts) else {
            self.say("No minute stands out: there are too few events; generate more with --events.")?;
            return Ok(settings.incident_ns());
        };
        let worst_ms = minutes[first..].iter().map(|m| m.p99_ms).fold(0.0, f64::max);
        let middle_ms = middle(minutes[first..].iter().map(|m| m.p50_ms));
        self.say(&format!(
            "From {} on, the 99th percentile rises from {} to {}; the median is {}: few are hit, but hard.",
            &rfc3339(minutes[first].start_ns)[11..16],
            human_ms(usual_ms),
            human_ms(worst_ms),
            human_ms(middle_ms)
        ))?;
        Ok(minutes[first].start_ns)
    }

    /// Says which visitors are affected, from the result of the second query.
    fn say_who(&mut self, answer: &Answer) -> Result<()> {
        let slow_ms = investigation::SLOW_NS as f64 / 1e6;
        let rows = answer.rows();
        let (hit, spared): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| milliseconds(row, 5).is_some_and(|p99| p99 > slow_ms));
        let names: Vec<String> =
            hit.iter().map(|row| format!("{} {} in {}", cell(row, 0), cell(row, 1), cell(row, 2))).collect();
        if names.is_empty() {
            return Ok(());
        }
        let worst_ms = spared.iter().filter_map(|row| milliseconds(row, 5)).fold(0.0, f64::max);
        self.say(&format!(
            "Affected: {}. The worst of the others have {}.",
            names.join(", "),
            human_ms(worst_ms)
        ))
    }
}

fn cell(row: &[String], at: usize) -> &str {
    row.get(at).map_or("", String::as_str)
}

fn milliseconds(row: &[String], at: usize) -> Option<f64> {
    cell(row, at).parse().ok()
}

/// The median; 0 if there are no values.
fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

fn human_ms(ms: f64) -> String {
    if ms >= 1000.0 { format!("{:.1} s", ms / 1000.0) } else { format!("{ms:.0} ms") }
}

fn rfc3339(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
