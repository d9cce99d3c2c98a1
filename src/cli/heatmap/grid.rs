//! Draws the cells: values from bottom to top, time from left to right.

use std::collections::HashMap;
use std::fmt::Write as _;

use indicatif::HumanCount;

use super::super::draw::Screen;
use super::super::draw::bar::{colour, shade};
use super::super::draw::row::Row;
use super::super::draw::text::{left, right, width};
use super::super::draw::units::value;
use super::LABEL;
use super::scale::Scale;

/// Columns from one time of the axis to the next.
const TICK: usize = 16;
/// Most lines for ranges of values without events, between two with some.
const GAP_MAX: usize = 6;

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    time_ns: i64,
    low: f64,
    high: f64,
    events: i64,
    errors: i64,
    trace: String,
}

impl Cell {
    pub(super) fn read(row: Row<'_>) -> Option<Self> {
        Some(Self {
            time_ns: row.integer("time")?,
            low: row.number("low")?,
            high: row.number("high")?,
            events: row.integer("events")?,
            errors: row.integer("errors").unwrap_or(0),
            trace: row.text("trace_id"),
        })
    }
}

/// A map of cells.
pub(super) struct Grid<'a> {
    pub(super) cells: &'a [Cell],
    /// The expression of the values.
    pub(super) value: &'a str,
    pub(super) scale: &'a Scale,
    /// Length of a cell in values, of a linear scale.
    pub(super) width: Option<f64>,
    /// True if there are more cells.
    pub(super) is_cut: bool,
}

/// A line of the map: cells of one range of values, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    Range(f64),
    Empty,
    /// More empty ranges than are drawn.
    Skipped,
}

impl Grid<'_> {
    /// The map, its axes and its legend.
    pub(super) fn draw(&self, screen: &Screen) -> String {
        let Some(first) = self.cells.iter().map(|cell| cell.time_ns).min() else { return String::new() };
        let last = self.cells.iter().map(|cell| cell.time_ns).max().unwrap_or(first);
        let step = self.scale.step_ms.saturating_mul(1_000_000).max(1);
        let columns = usize::try_from((last - first) / step).unwrap_or(0).min(screen.width) + 1;
        let most = self.cells.iter().map(|cell| cell.events).max().unwrap_or(1).max(1);
        let by_place: HashMap<(u64, usize), &Cell> = self
            .cells
            .iter()
            .map(|cell| {
                let column = usize::try_from((cell.time_ns - first) / step).unwrap_or(0);
                ((cell.low.to_bits(), column), cell)
            })
            .collect();
        let mut text = String::new();
        for line in self.lines().into_iter().rev() {
            let (label, cells) = match line {
                Line::Range(low) => {
                    let cell = |column| by_place.get(&(low.to_bits(), column));
                    let cells = (0..columns)
                        .map(|column| cell(column).map_or_else(|| " ".to_owned(), |c| sign(c, most, screen)));
                    (value(self.value, low), cells.collect())
                }
                Line::Empty => (String::new(), String::new()),
                Line::Skipped => ("⋮".to_owned(), String::new()),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}{}", screen.weak(&format!("{}│", right(&label, LABEL))), cells);
        }
        text += &axis(screen, first, step, columns);
        text += &self.legend(screen, most);
        text
    }

    /// Ranges of values from the least up, with those between that have no events.
    fn lines(&self) -> Vec<Line> {
        let mut ranges: Vec<(f64, f64)> = self.cells.iter().map(|cell| (cell.low, cell.high)).collect();
        ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranges.dedup_by(|a, b| a.0.to_bits() == b.0.to_bits());
        let mut lines = Vec::new();
        let mut end = None;
        for (low, high) in ranges {
            match end.map_or(0, |end| self.ranges_between(end, low)) {
                gap if gap > GAP_MAX => lines.push(Line::Skipped),
                gap => lines.extend(std::iter::repeat_n(Line::Empty, gap)),
            }
            lines.push(Line::Range(low));
            end = Some(high);
        }
        lines
    }

    /// Number of ranges from `end` to `low`.
    fn ranges_between(&self, end: f64, low: f64) -> usize {
        let ranges = match self.width {
            Some(width) => (low - end) / width,
            None if end > 0.0 => (low / end).log10() * self.scale.per_decade as f64,
            // From zero and negative values to positive ones there is no number of ranges.
            None => 0.0,
        };
        ranges.round().max(0.0) as usize
    }

    fn legend(&self, screen: &Screen, most: i64) -> String {
        let steps = [0.05, 0.25, 0.5, 0.75, 1.0];
        let ramp: String = steps
            .into_iter()
            .map(|weight| {
                if screen.has_colours {
                    screen.paint(colour(weight, false).normal(), "█")
                } else {
                    shade(weight).to_string()
                }
            })
            .collect();
        let failed = if screen.has_colours {
            screen.paint(colour(0.8, true).normal(), "█")
        } else {
            "×".to_owned()
        };
        let events: i64 = self.cells.iter().map(|cell| cell.events).sum();
        let step =
            humantime::format_duration(std::time::Duration::from_millis(self.scale.step_ms.unsigned_abs()));
        let mut text = format!(
            "{} events, a column is {step}; {ramp} 1 to {} events a cell, {failed} half or more failed\n",
            HumanCount(events.unsigned_abs()),
            HumanCount(most.unsigned_abs())
        );
        let greatest =
            self.cells.iter().filter(|cell| !cell.trace.is_empty()).max_by(|a, b| a.low.total_cmp(&b.low));
        if let Some(cell) = greatest {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "greatest: broadloom trace {}", cell.trace);
        }
        if self.is_cut {
            text += "There are more cells than are drawn: narrow it with --where or --last.\n";
        }
        text
    }
}

/// The scale of time, with its zone.
fn axis(screen: &Screen, first: i64, step: i64, columns: usize) -> String {
    let range = step.saturating_mul(columns as i64);
    let mut line = format!("{}└", " ".repeat(LABEL));
    let mut labels = " ".repeat(LABEL + 1);
    for column in (0..columns).step_by(TICK) {
        let at = first.saturating_add(step.saturating_mul(column as i64));
        let part = TICK.min(columns - column);
        line.push('┴');
        line += &"─".repeat(part - 1);
        let label = screen.zone.tick(at, range);
        if column == 0 || part >= width(&label) {
            labels += &left(&label, TICK);
        }
    }
    let date = screen.zone.time(first);
    let date = date.get(..10).unwrap_or_default();
    let line = screen.weak(&line);
    format!(
        "{line}\n{}\n{}{date}, times are {}\n",
        labels.trim_end(),
        " ".repeat(LABEL + 1),
        screen.zone.name()
    )
}

/// Sign of a cell: the more events the stronger, by the logarithm of their number.
fn sign(cell: &Cell, most: i64, screen: &Screen) -> String {
    let weight = (cell.events as f64 + 1.0).ln() / (most as f64 + 1.0).ln();
    let is_error = cell.errors > 0 && cell.errors * 2 >= cell.events;
    if screen.has_colours {
        screen.paint(colour(weight, is_error).normal(), "█")
    } else if is_error {
        "×".to_owned()
    } else {
        shade(weight).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000_000;

    fn cell(minute: i64, low: f64, events: i64, errors: i64) -> Cell {
        let time_ns = 1_767_607_200_000_000_000 + minute * MINUTE;
        Cell { time_ns, low, high: low * 10.0, events, errors, trace: format!("t{low}") }
    }

    #[test]
    fn cells_stand_at_their_value_and_time() {
        let screen = Screen { width: 80, height: 24, has_colours: false, zone: "UTC".parse().unwrap() };
        let scale = Scale { step_ms: 60_000, per_decade: 1, lines: 18 };
        let cells = [cell(0, 1e6, 100, 0), cell(2, 1e6, 1, 0), cell(1, 1e9, 4, 4)];
        let grid = Grid { cells: &cells, value: "duration_ns", scale: &scale, width: None, is_cut: false };
        let text = grid.draw(&screen);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "    1.00 s│ × ", "{text}");
        assert_eq!((lines[1], lines[2]), ("          │", "          │"), "ranges without events");
        assert_eq!(lines[3], "   1.00 ms│█ ·", "{text}");
        assert_eq!(lines[4], "          └┴──");
        assert_eq!(lines[5], "           10:00:00");
        assert!(
            text.contains("2026-01-05, times are UTC") && text.contains("105 events, a column is 1m"),
            "{text}"
        );
        assert!(text.contains("greatest: broadloom trace t1000000000"), "{text}");
    }

    #[test]
    fn long_gaps_zero_and_linear_scales_are_drawn() {
        let scale = Scale { step_ms: 60_000, per_decade: 10, lines: 18 };
        let zero = Cell { high: 0.0, ..cell(0, 0.0, 1, 0) };
        let cells = [zero, cell(0, 1.0, 1, 0), cell(0, 1e9, 1, 0)];
        let grid = Grid { cells: &cells, value: "x", scale: &scale, width: None, is_cut: false };
        assert_eq!(grid.lines(), [Line::Range(0.0), Line::Range(1.0), Line::Skipped, Line::Range(1e9)]);
        let cells = [Cell { high: 5.0, ..cell(0, 0.0, 1, 0) }, Cell { high: 15.0, ..cell(0, 10.0, 1, 0) }];
        let grid = Grid { cells: &cells, value: "x", scale: &scale, width: Some(5.0), is_cut: false };
        assert_eq!(grid.lines(), [Line::Range(0.0), Line::Empty, Line::Range(10.0)]);
    }
}
