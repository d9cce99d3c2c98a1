//! `broadloom demo`: generates the telemetry of an online shop, and investigates an incident in it.
//!
//! Makes the corpus ([`crate::demo`]) unless the data directory already contains it, runs the queries of the
//! investigation, and with `--serve` becomes a server that receives new events of the shop.

mod corpus;
mod live;
mod source;
mod tour;
mod write;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use self::corpus::Plan;
use self::source::Source;
use super::Globals;
use super::remote::{RemoteArgs, Server};
use super::serve::{self, ServeArgs};
use crate::config::{Clock, SystemClock};
use crate::db::Database;
use crate::demo::{DemoSettings, Generator};
use crate::error::{Error, ErrorKind, Result};

const AFTER_HELP: &str = "\
Examples:
  broadloom demo                               200,000 events in ./broadloom-data, investigated
  broadloom demo --serve                       the same, then a server that receives new events
  broadloom demo --url http://127.0.0.1:8080   send the events to a running server
  broadloom demo --write-otlp corpus           only write OTLP files, for: broadloom import corpus

The same --seed gives the same shop, visitors and incident; --start fixes the times too.
The data directory must be empty, or contain the same demo, which is then not generated again.";

const MINUTE_NS: i64 = 60_000_000_000;

/// Arguments of `broadloom demo`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DemoArgs {
    /// Events to generate: spans, logs and metric points
    #[arg(long, value_name = "COUNT", default_value_t = 200_000)]
    events: u64,
    /// Minutes over which the events are spread, 1 to 10080 (a week)
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Seed of the generator; another seed gives another shop
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Start of the first minute, such as 2026-01-05T09:00:00Z
    ///
    /// Default: --minutes before the current minute.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Only write the events to OTLP files, in a new or empty directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["serve", "url"])]
    write_otlp: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Then serve the data, and add new events of the shop, until stopped
    #[arg(long, conflicts_with = "url")]
    serve: bool,
    /// New events per second with --serve
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    #[command(flatten, next_help_heading = "With --serve")]
    server: ServeArgs,
}

impl DemoArgs {
    fn settings(&self) -> Result<DemoSettings> {
        let start_ns = match &self.start {
            Some(text) => {
                let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|e| {
                    Error::invalid(format!("--start {text:?} is not a time: {e}; write 2026-01-05T09:00:00Z"))
                })?;
                let ns = time.timestamp_nanos_opt().filter(|ns| *ns > 0);
                ns.ok_or_else(|| {
                    Error::invalid(format!(
                        "--start {text:?} is out of range; write a time between 1970 and 2262"
                    ))
                })?
            }
            None => (SystemClock.now_ns() / MINUTE_NS - i64::from(self.minutes)) * MINUTE_NS,
        };
        Ok(DemoSettings { seed: self.seed, events: self.events, start_ns, minutes: self.minutes })
    }
}

/// Runs `broadloom demo`.
pub(super) async fn run(args: DemoArgs, globals: &Globals) -> Result<()> {
    let settings = args.settings()?;
    if let Some(directory) = args.write_otlp {
        return source::blocking(move || write_files(settings, &directory)).await;
    }
    let mut out = std::io::stdout();
    match args.remote.server()? {
        Some(server) => remote(&args, settings, server, &mut out).await,
        None => local(args, settings, globals, &mut out).await,
    }
}

/// Makes the demo in the data directory, and serves it with `--serve`.
async fn local(args: DemoArgs, wanted: DemoSettings, globals: &Globals, out: &mut impl Write) -> Result<()> {
    let Some(data) = globals.data.directory() else {
        let message = "the demo needs a data directory, not an object store: write --data DIR, or send it to a server with --url";
        return Err(Error::invalid(message));
    };
    let server = if args.serve { Some(serve::Prepared::bind(&args.server, globals).await?) } else { None };
    let database = Database::open(args.server.settings(globals)).await?;
    let source = Source::Local(database.clone());
    let events = database.stats().events;
    let settings = match corpus::plan(data, events, wanted, args.start.is_none())? {
        Plan::Make => {
            writeln!(
                out,
                "Generating {} minutes of an online shop with two dozen services, in {}:",
                wanted.minutes, globals.data
            )?;
            corpus::make(wanted, &source, Some(data), out).await?;
            wanted
        }
        Plan::Reuse(settings) => {
            let count = HumanCount(events);
            writeln!(out, "The demo corpus is already in {}: {count} events.", globals.data)?;
            settings
        }
    };
    tour::investigate(&source, settings, out).await?;
    let Some(server) = server else {
        write!(out, "{}", what_next(data))?;
        return database.close().await;
    };
    writeln!(out, "\nThe shop stays open, with {} new events per second. Ctrl-C stops it.", args.rate)?;
    if let Some(page) = server.page()? {
        writeln!(out, "The incident, against the time before it: {page}?t={}", second_half(settings))?;
    }
    let generator = Generator::live(settings, SystemClock.now_ns().unsigned_abs());
    let shop = live::keep_open(generator, source, args.rate);
    server.serve(&args.server, database, globals, shop).await
}

/// The second half of the corpus as a range of the web page: the incident begins about there.
fn second_half(settings: DemoSettings) -> String {
    let at = |half: i64| {
        let ns = settings.start_ns + half * i64::from(settings.minutes) * MINUTE_NS / 2;
        chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
    };
    format!("{}..{}", at(1), at(2))
}

/// Sends the demo to a running server.
async fn remote(args: &DemoArgs, settings: DemoSettings, server: Server, out: &mut impl Write) -> Result<()> {
    let url = server.url().to_owned();
    let source = Source::Remote(server);
    let there =
        source.count("select count(*) from events where attributes['service.namespace'] = 'heddle'").await?;
    if there > 0 {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "{url} already has {} events of a demo: send it to another server",
                HumanCount(there.unsigned_abs())
            ),
        ));
    }
    writeln!(out, "Sending {} minutes of an online shop with two dozen services to {url}:", args.minutes)?;
    corpus::make(settings, &source, None, out).await?;
    tour::investigate(&source, settings, out).await?;
    writeln!(out, "\nNow query it yourself: broadloom query --url {url} \"select * from traces limit 5\"")?;
    Ok(())
}

fn what_next(data: &Path) -> String {
    let data = if data == Path::new("./broadloom-data") {
        String::new()
    } else {
        format!(" --data {}", data.display())
    };
    format!(
        "\nNow query it yourself, with any attribute by its name:\n  \
         broadloom query{data} \"select service.name, count(*), p99(duration_ns) from spans group by 1 order by 2 desc\"\n  \
         broadloom query{data} \"select user.id, count(*) from spans where http.route = '/checkout' group by 1 order by 2 desc limit 5\"\n  \
         broadloom query{data} \"select exception.type, service.name, count(*) from exceptions group by 1, 2\"\n  \
         broadloom query{data} \"select * from traces order by duration_ns desc limit 5\"\n\
         Or serve it, and receive new events:\n  \
         broadloom demo{data} --serve\n"
    )
}

fn write_files(settings: DemoSettings, directory: &Path) -> Result<()> {
    let bar = progress(settings.events);
    let began = Instant::now();
    let manifest = write::write(settings, directory, |events| bar.inc(events))?;
    bar.finish_and_clear();
    println!(
        "{} events in {} files, {}, written to {} in {:.1} s",
        HumanCount(manifest.events),
        manifest.files.len(),
        HumanBytes(manifest.bytes),
        directory.display(),
        began.elapsed().as_secs_f64()
    );
    println!("Next: broadloom import {}", directory.display());
    Ok(())
}

/// Progress bar; nothing if stderr is not a terminal.
fn progress(events: u64) -> ProgressBar {
    const TEMPLATE: &str = "{bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(events).with_style(style)
}
