//! Rows as a table for people.
//!
//! Durations (columns whose name ends in `_ns`, and their aggregates) are shown with units. If rows do not fit
//! the terminal's width legibly, each is shown as a list of its columns, one per line. Colours and width only
//! apply on a terminal. Plans of EXPLAIN are shown unchanged.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement};

use super::{Encoder, cell};
use crate::error::Result;

/// Most rows that are shown; nobody reads more, so further rows are only counted.
const ROWS_MAX: usize = 10_000;
/// Most characters of a cell; longer ones are cut.
const CELL_CHARS_MAX: usize = 400;
/// A column narrower than this is not legible.
const COLUMN_CHARS_MIN: usize = 9;

/// Form of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// Columns side by side if they are legible, else lists.
    #[default]
    Fitting,
    /// Each row as a list of its columns.
    Lists,
}

/// Collects rows until all widths are known.
pub(super) struct Table {
    schema: SchemaRef,
    layout: Layout,
    rows: Vec<Vec<String>>,
    total: usize,
}

impl Table {
    /// Creates a table for rows of `schema`.
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, layout: Layout::default(), rows: Vec::new(), total: 0 }
    }

    /// Sets the form.
    pub(super) fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    fn columns(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(self.names().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        for row in &self.rows {
            table.add_row(row);
        }
        for (i, field) in self.schema.fields().iter().enumerate() {
            if field.data_type().is_numeric()
                && let Some(column) = table.column_mut(i)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    fn lists(&self) -> String {
        let width = self.names().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "── row {} ──", i + 1);
            for (name, value) in self.names().zip(row).filter(|(_, value)| !value.is_empty()) {
                let _ = writeln!(text, "{name:width$}  {value}");
            }
        }
        text.pop();
        text
    }

    /// True if the rows are the answer of EXPLAIN.
    fn is_plan(&self) -> bool {
        self.names().eq(["plan_type", "plan"])
    }

    /// Formats plans without a frame, each under its name, as their lines are long.
    fn plan(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "── {} ──\n{}", row[0], row[1].trim_end());
        }
        text
    }

    /// True if the columns would be too narrow to read.
    fn too_wide(&self) -> bool {
        let Some(terminal) = comfy_table::Table::new().width().map(usize::from) else { return false };
        let mut widths: Vec<usize> = self.names().map(|name| name.chars().count()).collect();
        for row in &self.rows {
            for (width, value) in widths.iter_mut().zip(row) {
                *width = (*width).max(value.chars().count());
            }
        }
        let natural: usize = widths.iter().map(|w| w + 3).sum();
        let least: usize = widths.iter().map(|w| w.min(&COLUMN_CHARS_MIN) + 3).sum();
        natural > terminal && least > terminal
    }
}

impl Encoder for Table {
    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        self.total += batch.num_rows();
        let room = ROWS_MAX.saturating_sub(self.rows.len());
        let is_plan = self.is_plan();
        for row in 0..batch.num_rows().min(room) {
            if is_plan {
                let cells = batch.columns().iter().zip(self.schema.fields());
                let whole = cells.map(|(column, field)| cell::display(column, row, field));
                self.rows.push(whole.collect::<Result<_>>()?);
                continue;
            }
            let cells = batch.columns().iter().zip(self.schema.fields());
            self.rows.push(cells.map(|(column, field)| show(column, row, field)).collect::<Result<_>>()?);
        }
        Ok(Vec::new())
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        if self.is_plan() {
            return Ok(self.plan().into_bytes());
        }
        let mut text =
            if self.layout == Layout::Lists || self.too_wide() { self.lists() } else { self.columns() };
        let hidden = self.total - self.rows.len();
        let rows = if self.total == 1 { "row" } else { "rows" };
        let _ = write!(text, "\n{} {rows}", self.total);
        if hidden > 0 {
            let _ = write!(text, ", {hidden} not shown: use another format, or LIMIT");
        }
        text.push('\n');
        Ok(text.into_bytes())
    }
}

fn show(column: &ArrayRef, row: usize, field: &Field) -> Result<String> {
    if column.is_null(row) {
        return Ok(String::new());
    }
    let text = cell::display(column, row, field)?;
    if is_duration(field)
        && let Ok(ns) = text.parse::<f64>()
    {
        return Ok(human_duration(ns));
    }
    if matches!(field.data_type(), DataType::Timestamp(..)) {
        return Ok(short_timestamp(&text));
    }
    Ok(printable(&text))
}

/// Replaces control characters, which must not reach the terminal, and cuts long texts.
fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(CELL_CHARS_MAX)
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn is_duration(field: &Field) -> bool {
    let name = field.name().trim_end_matches(')');
    field.data_type().is_numeric() && name.ends_with("_ns")
}

/// A duration with the unit that leaves one to three digits before the point.
pub(crate) fn human_duration(ns: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    if ns.abs() >= 60e9 {
        let sign = if ns < 0.0 { "-" } else { "" };
        let duration = std::time::Duration::from_secs((ns.abs() / 1e9).round() as u64);
        return format!("{sign}{}", humantime::format_duration(duration));
    }
    let (size, unit) = UNITS.into_iter().find(|(size, _)| ns.abs() >= *size).unwrap_or((1.0, "ns"));
    let value = ns / size;
    let digits = if size <= 1.0 || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// `2026-11-21 04:05:06.123`, with more digits if there are more, and with the offset if it is not UTC.
fn short_timestamp(rfc3339: &str) -> String {
    let text = rfc3339.trim_end_matches('Z').replace('T', " ");
    let Some((seconds, rest)) = text.split_once('.') else { return text };
    let (fraction, offset) = rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len()));
    let fraction = fraction.trim_end_matches('0');
    let digits = fraction.len().div_ceil(3).max(1) * 3;
    format!("{seconds}.{fraction:0<digits$}{offset}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_fits() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (999.0, "999 ns"),
            (1500.0, "1.50 µs"),
            (-12_345_678.0, "-12.3 ms"),
            (2_500_000_000.0, "2.50 s"),
            (90e9, "1m 30s"),
        ] {
            assert_eq!(human_duration(ns), text);
        }
    }

    #[test]
    fn timestamps_lose_only_zeros() {
        assert_eq!(short_timestamp("2026-11-21T04:05:06.000000000Z"), "2026-11-21 04:05:06.000");
        assert_eq!(short_timestamp("2026-11-21T04:05:06.123456000Z"), "2026-11-21 04:05:06.123456");
        assert_eq!(short_timestamp("2026-11-21T13:05:06.000000000+09:00"), "2026-11-21 13:05:06.000+09:00");
        assert_eq!(short_timestamp("2026-11-20T23:05:06.120000000-05:00"), "2026-11-20 23:05:06.120-05:00");
    }

    #[test]
    fn escape_sequences_of_data_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb"), "a\u{fffd}[31mb");
    }
}
