//! `broadloom import`: files of other people's telemetry go in.
//!
//! [`inputs`] finds the files, [`source`] cuts them into chunks of whole records after [`unpack`] and [`encoding`]
//! have undone what was done to their bytes, [`decode`] makes events of a chunk, [`pipeline`] does that on several
//! threads and keeps the order, [`report`] shows it. What the formats mean is in [`crate::ingest`].

mod inputs;
mod unpack;
mod encoding;
mod source;
mod tables;
mod decode;
mod pipeline;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::decode::Options;
use self::inputs::Input;
use self::pipeline::{Ledger, Pipeline, Step};
use self::report::Report;
use self::source::Failure;
use super::Globals;
use crate::db::{Database, Importer};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::fields::FieldMap;
use crate::ingest::otlp::RequestKind;
use crate::ingest::sniff::Format;
use crate::server::Signals;

const AFTER_HELP: &str = "\
Examples:
  broadloom import traces.json logs/*.ndjson.gz
  kubectl logs deploy/cart | broadloom import - --set service.name=cart
  broadloom import spans.csv --map time=StartedAt,duration_us=Took,name=Op --set signal=span
  broadloom import telemetry/ --rejects rejects.ndjson

Formats are told from content; in directories, what is no telemetry is skipped. OTLP protobuf does not say
which signal it carries: that is found out from its records, and --signal overrides it. gzip and Zstandard
are undone, padding with zeros is none of their business, and text may be UTF-8 or UTF-16 with a byte order
mark. A file that begins or ends within a line loses that line alone.

Fields of NDJSON, CSV and tables: the usual spellings of time, level, message, ids, duration, service and so
on are recognised, journald's and those of OpenTelemetry's console exporters too; the rest become attributes,
nested objects dotted names. An object that only holds a list of records ({\"Records\":[...]}) is one event for
each. A record with a span id and a duration is a span, its events are span events; any other is a log. Times
reach from 1677 to 2262: a record whose time is beyond, or cannot be read, is rejected unless it has another;
one without any gets the time of the import. Rows of CSV may be shorter than the header, not longer; a quote
that never closes costs its line. TARGET of --map is one of time, start, end, duration, trace_id,
span_id, parent_id, name, kind, status, status_message, level, message, service, pod, signal, sample_rate,
trace_state (times and durations with a unit where they are bare numbers: duration_ms, time_us), or the name
of an attribute, with its level: resource.x, scope.x.

Exit codes: 0 everything is in, 1 it failed, was interrupted, or a file could not be read (the others are
in), 2 wrong usage, 3 some records were rejected (the others are in).";

/// Arguments of `broadloom import`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ImportArgs {
    /// Files, directories, patterns, or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|GLOB|-")]
    inputs: Vec<String>,
    /// What the files are, instead of finding out
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// What OTLP protobuf files carry, instead of finding out
    #[arg(long, value_name = "SIGNAL")]
    signal: Option<SignalArg>,
    /// Which field is what: time=StartTime,duration_us=Took,http.route=Path
    #[arg(long, value_name = "TARGET=FIELD")]
    map: Vec<String>,
    /// An attribute or core field that every event gets: service.name=cart, signal=span
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to write rejected records, as lines of JSON: file, line, reason, raw
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    Otlp,
    OtlpJson,
    Ndjson,
    Csv,
    Parquet,
    Arrow,
    Jaeger,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SignalArg {
    Traces,
    Logs,
    Metrics,
}

impl ImportArgs {
    fn format(&self) -> Option<Format> {
        self.format.map(|format| match format {
            FormatArg::Otlp => Format::Otlp,
            FormatArg::OtlpJson => Format::OtlpJson,
            FormatArg::Ndjson => Format::Ndjson,
            FormatArg::Csv => Format::Csv,
            FormatArg::Parquet => Format::Parquet,
            FormatArg::Arrow => Format::Arrow,
            FormatArg::Jaeger => Format::Jaeger,
        })
    }

    fn options(&self, now_ns: i64) -> Result<Options> {
        let signal = self.signal.map(|signal| match signal {
            SignalArg::Traces => RequestKind::Traces,
            SignalArg::Logs => RequestKind::Logs,
            SignalArg::Metrics => RequestKind::Metrics,
        });
        Ok(Options { format: self.format(), signal, map: FieldMap::parse(&self.map, &self.set)?, now_ns })
    }
}

/// Imports.
pub(super) async fn run(args: ImportArgs, globals: &Globals) -> Result<ExitCode> {
    let settings = globals.settings();
    let options = args.options(settings.clock.now_ns())?;
    let inputs = inputs::expand(&args.inputs)?;
    let signals = Signals::install()?;
    let mut report = Report::start(total_bytes(&inputs), args.rejects.as_deref())?;
    let database = Database::open(settings).await?;
    let importing = Import {
        labels: inputs.iter().map(Input::label).collect(),
        importer: database.importer()?,
        ledger: Ledger::default(),
        complete: Vec::new(),
        units: BTreeMap::new(),
        report: &mut report,
    };
    let pipeline = Pipeline::start(inputs, options)?;
    let outcome = importing.run(pipeline, signals).await;
    let closed = database.close().await;
    outcome?;
    closed?;
    Ok(match &report {
        Report { failed: 1.., .. } => ExitCode::FAILURE,
        Report { rejected: 1.., .. } => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    })
}

/// Bytes of all inputs; `None` when that is not known.
fn total_bytes(inputs: &[Input]) -> Option<u64> {
    inputs
        .iter()
        .map(|input| match input {
            Input::Stdin => None,
            // A file that cannot be read is reported when its turn comes.
            Input::Named(path) | Input::Found(path) => Some(std::fs::metadata(path).map_or(0, |m| m.len())),
        })
        .sum()
}

struct Import<'a> {
    labels: Vec<String>,
    importer: Importer,
    ledger: Ledger,
    /// Inputs that were read to their end.
    complete: Vec<usize>,
    /// What positions count, by input.
    units: BTreeMap<usize, &'static str>,
    report: &'a mut Report,
}

impl Import<'_> {
    async fn run(mut self, mut pipeline: Pipeline, mut signals: Signals) -> Result<()> {
        let stopped = loop {
            let step = tokio::select! {
                biased;
                signal = signals.next() => break Some(Error::new(ErrorKind::Cancelled, format!("stopped by {signal}"))),
                step = pipeline.next() => step,
            };
            let Some(step) = step else { break None };
            if let Err(error) = self.take(step, &pipeline).await {
                break Some(error);
            }
        };
        let bytes = pipeline.bytes_read();
        drop(pipeline);
        // After an error, too: what was handed over before it is worth keeping.
        let committed = tokio::select! {
            committed = self.importer.commit() => committed,
            signal = signals.next() => Err(Error::new(ErrorKind::Cancelled, format!("{signal} again: stopped at once"))),
        };
        self.ledger.committed(self.importer.progress().committed_rows);
        self.report.finish()?;
        if let Some(error) = stopped.or(committed.err()) {
            self.report_durable();
            return Err(error);
        }
        let progress = self.importer.progress();
        self.report.summary(progress.committed_rows, bytes, progress.segments, progress.segment_bytes);
        Ok(())
    }

    async fn take(&mut self, step: Step, pipeline: &Pipeline) -> Result<()> {
        match step {
            Step::Events { plan, events, behind } => {
                let label = &self.labels[plan.index];
                self.units.insert(plan.index, plan.unit());
                for reject in &events.rejects {
                    self.report.reject(label, plan.unit(), reject)?;
                }
                self.report.hint(events.hints);
                let mut rows = 0;
                for batch in events.batches {
                    rows += batch.rows() as u64;
                    self.importer.append(batch).await?;
                }
                pipeline.done();
                self.ledger.appended(plan.index, rows, behind);
                let progress = self.importer.progress();
                self.ledger.committed(progress.committed_rows);
                self.report.progress(progress.appended_rows, pipeline.bytes_read());
            }
            Step::End { index, failure } => {
                let label = &self.labels[index];
                match failure {
                    None => self.complete.push(index),
                    Some(Failure::Skipped(reason)) => {
                        self.report.skipped += 1;
                        tracing::debug!(file = %label, reason, "skipped");
                    }
                    Some(Failure::Failed(error)) => {
                        self.report.failed += 1;
                        self.report.say(&format!("failed: {label}: {}", error.message()));
                    }
                }
            }
        }
        Ok(())
    }

    /// After an interruption: how much of which file is in, for good.
    fn report_durable(&self) {
        let progress = self.importer.progress();
        self.report
            .say(&format!("not finished: {} events are in the database, for good:", progress.committed_rows));
        for (index, label) in self.labels.iter().enumerate() {
            let durable = self.ledger.durable(index);
            if durable.events == 0 {
                continue;
            }
            if self.complete.contains(&index) && durable.events == self.ledger.events(index) {
                self.report.say(&format!("  {label}: all of it, {} events", durable.events));
            } else {
                let unit = self.units.get(&index).copied().unwrap_or("byte");
                self.report
                    .say(&format!("  {label}: up to {unit} {}, {} events", durable.behind, durable.events));
            }
        }
        self.report.say("  of other files nothing is in");
    }
}

/// Decodes a file with these bytes, and hands its events to `take`.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_file(bytes: Vec<u8>, now_ns: i64, take: impl Fn(&crate::event::EventBatch)) {
    let options = Options { format: None, signal: None, map: FieldMap::default(), now_ns };
    let raw = Box::new(std::io::Cursor::new(bytes));
    let _ = source::read_from(raw, None, false, 0, &options, |chunk| {
        decode::decode(&chunk, &options).batches.iter().for_each(&take);
        true
    });
}
