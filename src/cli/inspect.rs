//! `broadloom inspect`: shows the contents of a data directory, or of one file.
//!
//! The library's findings are shown as they are serialized: plain fields as a list, lists of objects as tables. The
//! names of fields contain the units: `…bytes` and `…_ns`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};
use indicatif::HumanBytes;
use serde_json::{Map, Value};

use super::Globals;
use crate::config::{Location, Settings};
use crate::db::inspect::inspect;
use crate::db::overview::overview;
use crate::error::{Error, Result};

const AFTER_HELP: &str = "\
Examples:
  broadloom inspect                                     summary of the data directory
  broadloom inspect broadloom-data/wal/0…01.wal         one file: write-ahead log, segment, index,
                                                        run, mask, commit or checkpoint
  broadloom inspect 0193a5c2d0f47c1f8b0e6d1c2a3b4c5d    the segment or run with this id

Changes nothing and takes no lock: a server may be running.
Damage is reported and the rest is shown; then the exit code is 1.";

/// Arguments of `broadloom inspect`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct InspectArgs {
    /// File, path below --data, or id of a segment or run; without it the whole database is summarized
    #[arg(value_name = "FILE|ID")]
    what: Option<PathBuf>,
    /// Print the contents as JSON
    #[arg(long)]
    json: bool,
    /// Most rows to show of each table; 0 shows all, as --json does
    #[arg(long, value_name = "ROWS", default_value_t = 50)]
    limit: usize,
}

/// Runs `broadloom inspect`.
pub(super) async fn run(args: InspectArgs, globals: &Globals) -> Result<ExitCode> {
    let as_json = |e| Error::internal("cannot write the contents as JSON").with_source(e);
    let found = match &args.what {
        Some(directory) if directory.is_dir() => {
            let settings = Settings { data: Location::Directory(directory.clone()), ..globals.settings() };
            serde_json::to_value(overview(&settings).await?)
        }
        Some(what) => serde_json::to_value(inspect(&globals.settings(), what).await?),
        None => serde_json::to_value(overview(&globals.settings()).await?),
    };
    let found = found.map_err(as_json)?;
    let sound = found["problems"].as_array().is_none_or(Vec::is_empty);
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{found:#}")?;
    } else {
        let printer = Printer { limit: args.limit, colours: std::io::stdout().is_terminal() };
        printer.print(&mut out, &found)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Printer of the contents as text.
struct Printer {
    /// Most rows of a table; 0 means no limit.
    limit: usize,
    colours: bool,
}

impl Printer {
    fn print(&self, out: &mut impl Write, found: &Value) -> Result<()> {
        let Value::Object(fields) = found else { return Ok(()) };
        for problem in fields.get("problems").and_then(Value::as_array).into_iter().flatten() {
            let (red, off) = if self.colours { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            writeln!(out, "{red}damaged{off} {}: {}", text(&problem["path"]), text(&problem["what"]))?;
            if let (Value::String(expected), Value::String(is)) = (&problem["expected"], &problem["found"]) {
                writeln!(out, "    expected {expected}\n    found    {is}")?;
            }
        }
        let fields = fields.iter().filter(|(name, _)| *name != "problems");
        let (tables, facts): (Vec<_>, Vec<_>) = fields.partition(|(_, value)| is_table(value));
        let width = facts.iter().map(|(name, _)| label(name).len()).max().unwrap_or(0);
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_null()) {
            writeln!(out, "{:width$}  {}", label(name), show(name, value))?;
        }
        for (name, value) in tables {
            let rows: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
            self.table(out, &label(name), &rows)?;
        }
        Ok(())
    }

    fn table(&self, out: &mut impl Write, title: &str, rows: &[&Map<String, Value>]) -> Result<()> {
        let (bold, off) = if self.colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(out, "\n{bold}{title}{off}")?;
        let shown = if self.limit == 0 { rows.len() } else { rows.len().min(self.limit) };
        // Leave out columns without any value.
        let names: Vec<&String> =
            rows.iter().max_by_key(|row| row.len()).into_iter().flat_map(|row| row.keys()).collect();
        let names: Vec<&String> = names
            .into_iter()
            .filter(|name| rows.iter().any(|row| row.get(*name).is_some_and(|v| !v.is_null())))
            .collect();
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(names.iter().map(|name| Cell::new(label(name)).add_attribute(Attribute::Bold)));
        for row in &rows[..shown] {
            let is_time = row.get("type").is_some_and(|ty| text(ty).ends_with("TIMESTAMP"));
            table.add_row(names.iter().map(|name| {
                let value = row.get(*name).unwrap_or(&Value::Null);
                let bound = is_time && matches!(name.as_str(), "min" | "max");
                let shown = if bound { time(value) } else { show(name, value) };
                let cell = Cell::new(shown);
                let cell = if value.is_number() { cell.set_alignment(CellAlignment::Right) } else { cell };
                if *value == Value::Bool(false) && *name == "sound" { cell.fg(Color::Red) } else { cell }
            }));
        }
        writeln!(out, "{table}")?;
        if shown < rows.len() {
            writeln!(out, "{shown} of {} rows shown: --limit 0 shows all", rows.len())?;
        }
        Ok(())
    }
}

/// True for a list of objects that is not empty.
fn is_table(value: &Value) -> bool {
    value.as_array().is_some_and(|rows| rows.first().is_some_and(Value::is_object))
}

/// Label of a field: its name with spaces, and without the unit that is shown with the value.
fn label(name: &str) -> String {
    let name = name.strip_suffix("_ns").unwrap_or(name);
    name.strip_suffix("_bytes").unwrap_or(name).replace('_', " ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text of a value, in the unit that the field's name contains.
fn show(name: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(_) if name.ends_with("_ns") => time(value),
        Value::Number(number) if name.ends_with("bytes") => {
            number.as_u64().map_or_else(|| number.to_string(), |bytes| HumanBytes(bytes).to_string())
        }
        Value::Number(number) => number.to_string(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(|value| show("", value)).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{} {}", label(name), show(name, value)));
            fields.collect::<Vec<_>>().join(", ")
        }
    }
}

/// RFC 3339 text of a time in nanoseconds since the Unix epoch.
fn time(value: &Value) -> String {
    let at =
        |ns| chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    value.as_i64().map_or_else(|| value.to_string(), at)
}
