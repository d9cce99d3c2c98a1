//! `broadloom diff`: the differences between some events and the others, most different first, with bars.

use std::fmt::Write as _;
use std::io::Write;

use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use nu_ansi_term::Color;

use super::Globals;
use super::ask::{AskArgs, Desk};
use super::draw::Screen;
use super::draw::bar::bar;
use super::draw::row::{Row, rows};
use super::draw::text::{cut, left, right, width};
use super::draw::units::{percent, value};
use super::events::{EventsArgs, in_parentheses};
use crate::error::Result;

const AFTER_HELP: &str = "\
Examples:
  broadloom diff --selection \"duration_ns > 1e9\"                 slow spans, against all others
  broadloom diff --selection \"duration_ns > 2e9\" --where \"http.route = '/checkout'\" --across traces
  broadloom diff --selection \"timestamp >= '2026-11-21T08:00:00Z'\" --baseline \"timestamp < '2026-11-21T08:00:00Z'\"
  broadloom diff --source logs --selection \"severity = 'ERROR'\" --last 1h

A value's share among the selected events less its share among the others is its effect. Only differences that chance
makes in less than 1 of 100 such questions are listed; keys that differ together are one entry. --across traces compares
whole traces: the cause is seldom on the event that is slow.";

/// Most rows that are drawn; the statement has at most 40 keys of 8 values.
const ROWS_MAX: usize = 1_000;
/// Columns of a bar.
const BAR: usize = 24;

/// Arguments of `broadloom diff`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DiffArgs {
    /// SQL condition of the events to explain, such as "duration_ns > 1e9"
    #[arg(long, value_name = "SQL")]
    selection: String,
    /// SQL condition of the events to compare with; default: all others
    #[arg(long, value_name = "SQL")]
    baseline: Option<String>,
    /// Compare events, or whole traces
    #[arg(long, value_name = "UNIT", default_value = "rows")]
    across: Across,
    /// Events: a view, or a query in parentheses
    #[arg(long, value_name = "SOURCE", default_value = "spans")]
    source: String,
    /// Most keys
    #[arg(long, value_name = "COUNT", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=100))]
    keys: u16,
    /// Most values of a key
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    values: u16,
    #[command(flatten)]
    events: EventsArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// Unit of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Across {
    Rows,
    Traces,
}

/// Runs `broadloom diff`.
pub(super) async fn run(args: DiffArgs, globals: &Globals) -> Result<()> {
    let desk = args.ask.open(globals).await?;
    let sql = statement(&args);
    if desk.write(&sql).await? {
        return Ok(());
    }
    let found = desk.ask(&sql, ROWS_MAX).await?;
    let mut out = std::io::stdout();
    let mut rank = None;
    for row in rows(&found.batches) {
        if rank.is_none() {
            writeln!(out, "{}", head(row, args.across))?;
        }
        let is_first = rank.replace(row.integer("rank")) != Some(row.integer("rank"));
        out.write_all(entry(row, &desk.screen, is_first).as_bytes())?;
    }
    if rank.is_none() {
        writeln!(out, "{}", why_nothing(&desk, &args).await?)?;
    }
    Ok(())
}

/// Explains an answer without rows: nothing is selected, or nothing differs.
async fn why_nothing(desk: &Desk, args: &DiffArgs) -> Result<String> {
    let sql = format!(
        "SELECT count(*) AS events, count(*) FILTER (WHERE {}) AS selected FROM {} AS events",
        in_parentheses(&args.selection),
        args.events.source(&args.source)
    );
    let found = desk.ask(&sql, 1).await?;
    let row = rows(&found.batches).next();
    let count = |name| HumanCount(row.and_then(|row| row.integer(name)).unwrap_or(0).unsigned_abs());
    let (events, selected) = (count("events"), count("selected"));
    Ok(match selected.0 {
        0 => format!("None of {events} events is selected: is the condition right, and the time?"),
        _ => format!(
            "{selected} of {events} events are selected, and no attribute differs by more than chance."
        ),
    })
}

fn statement(args: &DiffArgs) -> String {
    let mut more = String::new();
    if let Some(baseline) = &args.baseline {
        // Writing to a String cannot fail.
        let _ = write!(more, ", baseline => {baseline}");
    }
    if args.across == Across::Traces {
        more += ", across => 'traces'";
    }
    format!(
        "SELECT * FROM explain_diff({}, {}{more}, values => {}, keys => {})",
        args.events.source(&args.source),
        args.selection,
        args.values,
        args.keys
    )
}

fn head(row: Row<'_>, across: Across) -> String {
    let total = |name| HumanCount(row.integer(name).unwrap_or(0).unsigned_abs());
    let unit = if across == Across::Traces { "traces" } else { "events" };
    format!("{} selected {unit}, compared with {}", total("selection_total"), total("baseline_total"))
}

/// One value: what it is, and its share on both sides.
fn entry(row: Row<'_>, screen: &Screen, is_first: bool) -> String {
    let mut text = String::new();
    let kind = row.raw("kind");
    let key = row.text("key");
    let service = row.text("service");
    let of = if service.is_empty() { String::new() } else { format!(" of {service}") };
    let what = match kind.as_str() {
        "unique" => "a value of its own for nearly each event".to_owned(),
        "absent" => "is absent".to_owned(),
        "range" => {
            let end = |name| row.number(name).map_or_else(|| "…".to_owned(), |number| value(&key, number));
            format!("from {} to below {}", end("low"), end("high"))
        }
        _ => format!("= {}", row.text("value")),
    };
    let rank = if is_first {
        row.integer("rank").map_or_else(String::new, |rank| rank.to_string())
    } else {
        String::new()
    };
    let effect = row.number("effect");
    let sign = effect.map_or_else(String::new, |effect| format!("{:+.0} points", effect * 100.0));
    let room = screen.width.saturating_sub(4 + width(&sign) + 2);
    let title = cut(&format!("{key} {what}{of}"), room);
    if effect.is_none() {
        return format!("{} {}\n", right(&rank, 3), screen.weak(&title));
    }
    let gap = if is_first { "\n" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{gap}{} {} {sign}", right(&rank, 3), screen.bold(&left(&title, room)));
    let sides = [("selected", "selection", Color::Yellow), ("others", "baseline", Color::Cyan)];
    for (name, side, colour) in sides {
        let share = row.number(side).unwrap_or(0.0);
        let count = HumanCount(row.integer(&format!("{side}_rows")).unwrap_or(0).unsigned_abs());
        let bar = screen.paint(colour.normal(), &bar(share, BAR));
        let _ = writeln!(text, "    {name:<9}▕{bar}▏{} ({count})", right(&percent(share), 7));
    }
    let with = row.list("goes_with");
    if !with.is_empty() {
        let with = cut(&format!("    together with {}", with.join(", ")), screen.width);
        let _ = writeln!(text, "{}", screen.weak(&with));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};

    use super::super::draw::row::rows_of;
    use super::*;

    #[test]
    fn an_entry_has_both_shares() {
        let text = |value: &str| Arc::new(StringViewArray::from(vec![value])) as ArrayRef;
        let number = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let count = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            ("rank", count(1)),
            ("kind", text("value")),
            ("key", text("os.version")),
            ("value", text("17.*")),
            ("effect", number(0.81)),
            ("selection", number(0.95)),
            ("baseline", number(0.14)),
            ("selection_rows", count(19)),
            ("baseline_rows", count(83)),
        ]);
        let batch = batch.unwrap();
        let screen = Screen { width: 60, height: 24, has_colours: false, zone: "UTC".parse().unwrap() };
        let drawn = entry(rows_of(&batch).next().unwrap(), &screen, true);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "");
        assert!(lines[1].starts_with("  1 os.version = 17.*") && lines[1].ends_with("+81 points"), "{drawn}");
        assert!(
            lines[2].starts_with("    selected ▕██████") && lines[2].ends_with("▏   95 % (19)"),
            "{drawn}"
        );
        assert!(lines[3].starts_with("    others   ▕███") && lines[3].ends_with("   14 % (83)"), "{drawn}");
    }
}
