//! `broadloom top`: rate, errors and durations of calls by service, refreshed in place.
//!
//! Two statements, both of the SQL function `red`: one with a step longer than any window, which has one row per group;
//! the other with short steps, for the lines of the rate. `live` keeps the terminal, [`table`] draws.

mod live;
mod table;

use std::io::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ask::{AskArgs, Desk, Form};
use super::draw::row::rows;
use super::events::{in_parentheses, interval, since, where_clause};
use super::{Globals, units};
use crate::error::Result;
use table::{Group, Table};

const AFTER_HELP: &str = "\
Examples:
  broadloom top                                        services of ./broadloom-data, also beside a server
  broadloom top --url http://127.0.0.1:8080 --by service.name,name --window 5m
  broadloom top --where \"kind = 'server'\" --sort p99
  broadloom top --once                                 one table, for scripts and watch

Keys: e, r and p sort by errors, rate and p99; q or Ctrl-C ends.
Piped, or with --format, there is one answer: the rows of the statement.";

/// Longest step of `date_bin`, about: all events of now are in one step.
const ONE_STEP: &str = "100000 days";
/// Steps of the window, for the lines.
const STEPS: u32 = 20;

/// Arguments of `broadloom top`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TopArgs {
    /// Attributes or expressions that make a group, separated by commas
    #[arg(long, value_name = "NAME,…", default_value = "service.name")]
    by: String,
    /// Time before now that is counted
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = window)]
    window: Duration,
    /// SQL condition of the spans, such as "kind = 'server'"
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Order of the groups
    #[arg(long, value_name = "FIGURE", default_value = "errors")]
    sort: Sort,
    /// Most groups
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    limit: usize,
    /// Time between two tables
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration)]
    interval: Duration,
    /// Print one table and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// Figure by which groups are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Errors,
    Rate,
    P99,
}

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Rate => "rate",
            Self::P99 => "p99",
        }
    }

    /// The figures by which rows are ordered.
    fn order(self) -> &'static str {
        match self {
            Self::Errors => "errors DESC, calls DESC",
            Self::Rate => "calls DESC",
            Self::P99 => "p99_ns DESC NULLS LAST",
        }
    }
}

fn window(text: &str) -> std::result::Result<Duration, String> {
    let window = units::duration(text)?;
    if window < Duration::from_secs(1) { Err("write at least 1s".to_owned()) } else { Ok(window) }
}

/// Runs `broadloom top`.
pub(super) async fn run(args: TopArgs, globals: &Globals) -> Result<()> {
    let desk = args.ask.open(globals).await?;
    if desk.write(&statement(&args, args.sort)).await? {
        return Ok(());
    }
    let is_live =
        !args.once && desk.form == Form::Picture && std::io::IsTerminal::is_terminal(&std::io::stdout());
    if is_live {
        return live::run(&desk, &args).await;
    }
    let table = ask(&desk, &args, args.sort).await?;
    std::io::stdout().write_all(table.draw(&desk.screen, args.limit).as_bytes())?;
    Ok(())
}

/// Asks for the groups and their rates over time.
async fn ask(desk: &Desk, args: &TopArgs, sort: Sort) -> Result<Table> {
    let found = desk.ask(&statement(args, sort), args.limit).await?;
    let names = Table::group_names(&found.schema);
    let mut groups: Vec<Group> = rows(&found.batches).map(|row| Group::read(row, &names)).collect();
    let most = args.limit.saturating_mul(STEPS as usize * 4).max(1_000);
    let rates = desk.ask(&rates_statement(args), most).await?;
    let step = step(args.window);
    table::take_rates(&mut groups, rows(&rates.batches), &names, step);
    Ok(Table {
        names,
        groups,
        sort: sort.name(),
        source: desk.source_name(),
        window: humantime::format_duration(args.window).to_string(),
    })
}

/// Length of a step of the lines, at least a second.
fn step(window: Duration) -> Duration {
    Duration::from_secs((window / STEPS).as_secs().max(1))
}

fn source(args: &TopArgs) -> String {
    let mut conditions = vec![since(args.window)];
    conditions.extend(args.condition.as_deref().map(in_parentheses));
    format!("(SELECT * FROM spans{})", where_clause(&conditions))
}

fn statement(args: &TopArgs, sort: Sort) -> String {
    format!(
        "SELECT * EXCLUDE (time, rate), calls / {:?} AS per_second\n\
         FROM red({}, by => ({}), step => INTERVAL '{ONE_STEP}')\n\
         ORDER BY {} LIMIT {}",
        args.window.as_secs_f64(),
        source(args),
        args.by,
        sort.order(),
        args.limit
    )
}

fn rates_statement(args: &TopArgs) -> String {
    format!(
        "SELECT * FROM red({}, by => ({}), step => INTERVAL '{}') ORDER BY time DESC",
        source(args),
        args.by,
        interval(step(args.window))
    )
}
