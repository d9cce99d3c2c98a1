//! `broadloom heatmap`: how a number is distributed over time, as blocks.
//!
//! Two statements: one asks for the ends of time and value, from which [`scale`] makes cells that fit the terminal; the
//! other is the SQL function `heatmap` with these cells. [`grid`] draws them.

mod grid;
mod scale;

use std::io::Write;

use clap::Args;

use super::Globals;
use super::ask::AskArgs;
use super::draw::row::rows;
use super::events::EventsArgs;
use crate::error::Result;
use grid::{Cell, Grid};
use scale::{Extent, Scale};

const AFTER_HELP: &str = "\
Examples:
  broadloom heatmap                                            durations of all spans
  broadloom heatmap --where \"http.route = '/checkout'\" --last 1h
  broadloom heatmap --value http.response.body.size --width 1000
  broadloom heatmap --source logs --value \"length(body)\"

Time goes to the right, values go up, on a logarithmic scale unless --width makes it linear. A bright cell has many
events; a red one (× without colours) is a cell where half of them or more failed.";

/// Most cells of an answer: more than any terminal has.
const CELLS_MAX: usize = 100_000;
/// Columns of the values at the left.
const LABEL: usize = 10;

/// Arguments of `broadloom heatmap`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct HeatmapArgs {
    /// Number of each event: a column, an attribute, or an expression
    #[arg(long, value_name = "SQL", default_value = "duration_ns")]
    value: String,
    /// Events: a view, or a query in parentheses
    #[arg(long, value_name = "SOURCE", default_value = "spans")]
    source: String,
    /// Length of a cell in values, which makes the scale linear
    #[arg(long, value_name = "NUMBER", value_parser = length)]
    width: Option<f64>,
    #[command(flatten)]
    events: EventsArgs,
    #[command(flatten)]
    ask: AskArgs,
}

fn length(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number above 0".to_owned())
}

/// Runs `broadloom heatmap`.
pub(super) async fn run(args: HeatmapArgs, globals: &Globals) -> Result<()> {
    let desk = args.ask.open(globals).await?;
    let source = args.events.source(&args.source);
    let extent = desk.ask(&extent_statement(&source, &args.value), 1).await?;
    let extent = rows(&extent.batches).next().and_then(Extent::read);
    let columns = desk.screen.width.saturating_sub(LABEL + 1);
    let scale = Scale::fitting(extent.as_ref(), columns, desk.screen.height);
    let sql = statement(&source, &args, &scale);
    if desk.write(&sql).await? {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    if extent.is_none() {
        writeln!(out, "There is no event with a number {} in {}.", args.value, desk.source_name())?;
        return Ok(());
    }
    let found = desk.ask(&sql, CELLS_MAX).await?;
    let cells: Vec<Cell> = rows(&found.batches).filter_map(Cell::read).collect();
    let grid =
        Grid { cells: &cells, value: &args.value, scale: &scale, width: args.width, is_cut: found.is_cut };
    out.write_all(grid.draw(&desk.screen).as_bytes())?;
    Ok(())
}

fn extent_statement(source: &str, value: &str) -> String {
    format!(
        "SELECT min(timestamp) AS first, max(timestamp) AS last,\n  \
           min(number) FILTER (WHERE number > 0) AS least, max(number) AS most, count(number) AS events\n\
         FROM (SELECT timestamp, try_cast({value} AS DOUBLE) AS number FROM {source}) AS numbers\n\
         WHERE number IS NOT NULL"
    )
}

fn statement(source: &str, args: &HeatmapArgs, scale: &Scale) -> String {
    let values = match args.width {
        Some(width) => format!("width => {width:?}"),
        None => format!("per_decade => {}", scale.per_decade),
    };
    format!(
        "SELECT * FROM heatmap({source}, {}, step => INTERVAL '{}', {values}) ORDER BY time, low",
        args.value,
        scale.interval()
    )
}
