//! The table of `broadloom top`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::super::draw::Screen;
use super::super::draw::bar::sparkline;
use super::super::draw::row::Row;
use super::super::draw::text::{cut, left, right};
use super::super::draw::units::{count, human_duration, percent};

/// Columns of the statement that do not make a group.
const FIGURES: [&str; 10] =
    ["time", "calls", "rate", "errors", "error_rate", "p50_ns", "p95_ns", "p99_ns", "trace_id", "per_second"];
/// Columns of all figures, with the spaces before them.
const FIGURES_WIDTH: usize = 9 + 9 + 8 + 3 * 9 + 1;
/// Steps that are drawn.
const STEPS: usize = super::STEPS as usize;
/// Fewest and most columns of a group's name.
const NAME_MIN: usize = 12;
const NAME_MAX: usize = 48;

/// A group and its figures.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    name: Vec<String>,
    per_second: f64,
    errors: f64,
    error_rate: f64,
    percentiles_ns: [Option<f64>; 3],
    /// Rate in each step, the oldest first; none if it is not known yet.
    rates: Vec<Option<f64>>,
}

impl Group {
    /// Reads a group of the columns `names`.
    pub(super) fn read(row: Row<'_>, names: &[String]) -> Self {
        let figure = |name| row.number(name).unwrap_or(0.0);
        Self {
            name: names.iter().map(|name| row.text(name)).collect(),
            per_second: figure("per_second"),
            errors: figure("errors"),
            error_rate: figure("error_rate"),
            percentiles_ns: ["p50_ns", "p95_ns", "p99_ns"].map(|name| row.number(name)),
            rates: Vec::new(),
        }
    }
}

/// Gives groups their rates over time, from rows of `names`, `time` and `rate`.
pub(super) fn take_rates<'r>(
    groups: &mut [Group],
    rows: impl Iterator<Item = Row<'r>>,
    names: &[String],
    step: Duration,
) {
    let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    let mut by_name: HashMap<Vec<String>, HashMap<i64, f64>> = HashMap::new();
    let mut newest = i64::MIN;
    for row in rows {
        let (Some(time), Some(rate)) = (row.integer("time"), row.number("rate")) else { continue };
        newest = newest.max(time / step);
        let name = names.iter().map(|name| row.text(name)).collect();
        by_name.entry(name).or_default().insert(time / step, rate);
    }
    for group in groups {
        let Some(rates) = by_name.get(&group.name) else { continue };
        // The newest step has just begun, so its rate would look like a fall.
        let steps = (1..=STEPS as i64).rev().map(|back| newest - back);
        group.rates = steps.map(|at| Some(rates.get(&at).copied().unwrap_or(0.0))).collect();
    }
}

/// The groups, and what they are of.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) names: Vec<String>,
    pub(super) groups: Vec<Group>,
    pub(super) sort: &'static str,
    pub(super) source: String,
    pub(super) window: String,
}

impl Table {
    /// The columns of `schema` that make a group.
    pub(super) fn group_names(schema: &SchemaRef) -> Vec<String> {
        let names = schema.fields().iter().map(|field| field.name().clone());
        names.filter(|name| !FIGURES.contains(&name.as_str())).collect()
    }

    /// The head and at most `lines` groups.
    pub(super) fn draw(&self, screen: &Screen, lines: usize) -> String {
        let has_lines = screen.width > FIGURES_WIDTH + NAME_MIN + STEPS;
        let figures = FIGURES_WIDTH + if has_lines { STEPS + 1 } else { 0 };
        let name_width = screen.width.saturating_sub(figures).clamp(NAME_MIN, NAME_MAX);
        let mut text = format!(
            "{}, calls of the last {}, by {}\n",
            screen.bold(&cut(&self.source, screen.width / 2)),
            self.window,
            self.sort
        );
        let mut head = left(&self.names.join(", "), name_width);
        for name in ["calls/s", "errors", "share"].into_iter().zip([9, 9, 8]) {
            head += &right(name.0, name.1);
        }
        for name in ["p50", "p95", "p99"] {
            head += &right(name, 9);
        }
        if has_lines {
            head += "  rate";
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", screen.bold(&head));
        for group in self.groups.iter().take(lines) {
            let _ = writeln!(text, "{}", line(group, screen, name_width, has_lines));
        }
        if self.groups.is_empty() {
            text += "There was no call.\n";
        }
        text
    }
}

fn line(group: &Group, screen: &Screen, name_width: usize, has_lines: bool) -> String {
    let name: Vec<&str> = group.name.iter().map(|part| if part.is_empty() { "–" } else { part }).collect();
    let mut text = left(&name.join(" "), name_width);
    text += &right(&count(group.per_second), 9);
    let errors = right(&count(group.errors), 9) + &right(&percent(group.error_rate), 8);
    text += &if group.errors > 0.0 { screen.red(&errors) } else { errors };
    for ns in group.percentiles_ns {
        text += &right(&ns.map_or_else(|| "–".to_owned(), human_duration), 9);
    }
    if has_lines {
        text += "  ";
        text += &screen.weak(&sparkline(&group.rates));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringViewArray, TimestampNanosecondArray};

    use super::super::super::draw::row::rows_of;
    use super::*;

    #[test]
    fn groups_have_their_figures_and_their_line() {
        let number = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let name = Arc::new(StringViewArray::from(vec!["cart"])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            ("service.name", Arc::clone(&name)),
            ("per_second", number(12.5)),
            ("calls", number(750.0)),
            ("errors", number(3.0)),
            ("error_rate", number(0.004)),
            ("p50_ns", number(1.5e6)),
            ("p99_ns", number(2.5e9)),
        ]);
        let batch = batch.unwrap();
        let names = Table::group_names(&batch.schema());
        assert_eq!(names, ["service.name"]);
        let mut groups = vec![Group::read(rows_of(&batch).next().unwrap(), &names)];
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![30_000_000_000, 27_000_000_000]));
        let rates: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 12.0]));
        let names_of_rates: ArrayRef = Arc::new(StringViewArray::from(vec!["cart", "cart"]));
        let steps =
            RecordBatch::try_from_iter([("time", times), ("rate", rates), ("service.name", names_of_rates)]);
        take_rates(&mut groups, rows_of(&steps.unwrap()), &names, Duration::from_secs(3));
        let table = Table { names, groups, sort: "errors", source: "here".into(), window: "1m".into() };
        let screen = Screen { width: 100, height: 24, has_colours: false, zone: "UTC".parse().unwrap() };
        let drawn = table.draw(&screen, 9);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "here, calls of the last 1m, by errors");
        assert!(lines[1].starts_with("service.name") && lines[1].ends_with("p99  rate"), "{drawn}");
        let words: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(words[..8], ["cart", "12.5", "3", "0.40", "%", "1.50", "ms", "–"], "{drawn}");
        assert!(lines[2].ends_with("_█"), "{drawn}");
    }
}
