//! `broadloom demo`: an online shop's telemetry, and an investigation of what went wrong there.

mod write;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use super::Globals;
use crate::config::{Clock, SystemClock};
use crate::demo::DemoSettings;
use crate::error::{Error, Result};

const AFTER_HELP: &str = "\
Examples:
  broadloom demo                                  200,000 events into ./broadloom-data, then an investigation
  broadloom demo --serve                          and then a server, with the shop still open
  broadloom demo --url http://127.0.0.1:8080      send the events to a running server
  broadloom demo --write-otlp corpus              only write OTLP files, then: broadloom import corpus

The same seed gives the same shop, the same visitors and the same incident; --start pins the times too.";

const MINUTE_NS: i64 = 60_000_000_000;

/// Arguments of `broadloom demo`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DemoArgs {
    /// How many events to make: spans, logs, metric points
    #[arg(long, value_name = "COUNT", default_value_t = 200_000)]
    events: u64,
    /// How many minutes they span
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Another seed makes another shop
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// When the first minute begins, in RFC 3339; by default so that the last one ends now
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Write the corpus to OTLP files in a new directory, and do nothing else
    #[arg(long, value_name = "DIR")]
    write_otlp: Option<PathBuf>,
}

impl DemoArgs {
    fn settings(&self) -> Result<DemoSettings> {
        let start_ns = match &self.start {
            Some(text) => {
                let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|e| {
                    Error::invalid(format!("--start {text:?}: {e}; write 2026-01-05T09:00:00Z"))
                })?;
                time.timestamp_nanos_opt()
                    .filter(|ns| *ns > 0)
                    .ok_or_else(|| Error::invalid(format!("--start {text:?} is not between 1970 and 2262")))?
            }
            None => (SystemClock.now_ns() / MINUTE_NS - i64::from(self.minutes)) * MINUTE_NS,
        };
        Ok(DemoSettings { seed: self.seed, events: self.events, start_ns, minutes: self.minutes })
    }
}

/// Runs the command.
pub(super) async fn run(args: DemoArgs, _globals: &Globals) -> Result<()> {
    let settings = args.settings()?;
    if let Some(directory) = args.write_otlp {
        return tokio::task::spawn_blocking(move || write_files(settings, &directory))
            .await
            .map_err(|e| Error::internal(e.to_string()))?;
    }
    Err(Error::internal("not built yet"))
}

fn write_files(settings: DemoSettings, directory: &std::path::Path) -> Result<()> {
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

/// A bar on a terminal, nothing elsewhere.
fn progress(events: u64) -> ProgressBar {
    const TEMPLATE: &str = "{bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(events).with_style(style)
}
