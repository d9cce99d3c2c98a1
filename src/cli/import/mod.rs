//! `broadloom import`: imports files of telemetry.
//!
//! [`inputs`] finds the files, [`unpack`] decompresses them, [`encoding`] converts text to UTF-8, [`source`] splits
//! them into chunks of whole records, and [`decode`] makes events of a chunk. [`pipeline`] does this on several
//! threads and keeps the order; [`report`] shows progress and rejects. The formats themselves are in
//! [`crate::ingest`].

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

Files: the format is recognised by content. gzip and Zstandard are decompressed, zeros behind them
are ignored; text may be UTF-8 or UTF-16. In directories, files that are not telemetry are
skipped. The signal of OTLP protobuf is recognised by its records, unless --signal names it. A
file that begins or ends within a line loses only that line.

Fields of NDJSON, CSV and tables: common spellings of time, level, message, ids, duration, service
and so on are recognised, also those of journald and OpenTelemetry's console exporters. Other
fields become attributes; nested objects get dotted names. An object that only contains a list of
records, such as {\"Records\":[...]}, becomes one event per record. A record with a span id and a
duration becomes a span, and its events become span events; any other record becomes a log.

Times: from 1677 to 2262. A record without a time gets the time of the import. A record whose time
is out of range or cannot be read is rejected, unless it has another one.

CSV: a row may have fewer fields than the header, not more. A quote that never closes costs its
line.

--map TARGET=FIELD: TARGET is time, start, end, duration, trace_id, span_id, parent_id, name,
kind, status, status_message, level, message, service, pod, signal, sample_rate, trace_state, or
the name of an attribute, with its level if it is not on the record: resource.x, scope.x. Times
and durations that are bare numbers need a unit: duration_ms, time_us.

Exit codes: 0 all imported, 1 failure, interruption or an unreadable file (the others were
imported), 2 wrong usage, 3 some records were rejected (the others were imported).";

/// Arguments of `broadloom import`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ImportArgs {
    /// Files, directories (with all files below), glob patterns, or - for stdin
    #[arg(required = true, value_name = "FILE|DIR|GLOB|-")]
    inputs: Vec<String>,
    /// Format of the files; by default it is recognised for each file
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// Signal in OTLP protobuf files; by default it is recognised
    #[arg(long, value_name = "SIGNAL")]
    signal: Option<SignalArg>,
    /// Meanings of fields, such as time=StartTime,duration_us=Took,http.route=Path; see below for targets
    #[arg(long, value_name = "TARGET=FIELD")]
    map: Vec<String>,
    /// Attribute or core field for every event, such as service.name=cart or signal=span
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write rejected records to this file, as JSON lines with file, line, reason and raw
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

/// Runs `broadloom import`.
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

/// Bytes of all inputs; `None` if stdin is one of them.
fn total_bytes(inputs: &[Input]) -> Option<u64> {
    inputs
        .iter()
        .map(|input| match input {
            Input::Stdin => None,
            // The pipeline reports a file that cannot be read.
            Input::Named(path) | Input::Found(path) => Some(std::fs::metadata(path).map_or(0, |m| m.len())),
        })
        .sum()
}

struct Import<'a> {
    labels: Vec<String>,
    importer: Importer,
    ledger: Ledger,
    /// Indexes of the inputs that were read to their end.
    complete: Vec<usize>,
    /// Unit of positions (byte, row or line), by input.
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
        // After an error, too: events that were handed over before it are kept.
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

    /// After a failure or interruption: reports how much of each file is durable.
    fn report_durable(&self) {
        let progress = self.importer.progress();
        self.report
            .say(&format!("not finished: {} events are durable in the database:", progress.committed_rows));
        for (index, label) in self.labels.iter().enumerate() {
            let durable = self.ledger.durable(index);
            if durable.events == 0 {
                continue;
            }
            if self.complete.contains(&index) && durable.events == self.ledger.events(index) {
                self.report.say(&format!("  {label}: complete, {} events", durable.events));
            } else {
                let unit = self.units.get(&index).copied().unwrap_or("byte");
                self.report
                    .say(&format!("  {label}: up to {unit} {}, {} events", durable.behind, durable.events));
            }
        }
        self.report.say("  nothing of other files");
    }
}

/// Decodes a file with these bytes and hands its events to `take`.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_file(bytes: Vec<u8>, now_ns: i64, take: impl Fn(&crate::event::EventBatch)) {
    let options = Options { format: None, signal: None, map: FieldMap::default(), now_ns };
    let raw = Box::new(std::io::Cursor::new(bytes));
    let _ = source::read_from(raw, &Input::Stdin, 0, &options, |chunk| {
        decode::decode(&chunk, &options).batches.iter().for_each(&take);
        true
    });
}
