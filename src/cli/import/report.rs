//! What does an import show? Progress, rejected records, and a summary.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::decode::Reject;
use crate::error::{Error, Result};
use crate::ingest::Hints;

/// Most rejected records that are shown; further ones are counted.
const SHOWN_MAX: u64 = 10;

/// Interval between progress lines when stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Interval between updates of the progress bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Progress and outcome of an import, shown on stderr.
pub(super) struct Report {
    started: Instant,
    shown: Instant,
    /// Bytes of all files; `None` if stdin is one of them.
    total: Option<u64>,
    bar: Option<ProgressBar>,
    rejects: Option<BufWriter<File>>,
    pub(super) rejected: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) hints: Hints,
}

impl Report {
    /// Starts the clock; `rejects` is the file for rejected records.
    pub(super) fn start(total: Option<u64>, rejects: Option<&Path>) -> Result<Self> {
        let rejects = rejects
            .map(|path| {
                File::create(path)
                    .map_err(|e| Error::from(e).context(format_args!("--rejects {}", path.display())))
            })
            .transpose()?
            .map(BufWriter::new);
        let started = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(total));
        Ok(Self {
            started,
            shown: started,
            total,
            bar,
            rejects,
            rejected: 0,
            failed: 0,
            skipped: 0,
            hints: Hints::default(),
        })
    }

    /// Prints a line, above the progress bar if there is one.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // A line that cannot be printed is not an error.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// Counts rejected records, shows the first ones, and writes all to the file for rejects.
    pub(super) fn reject(&mut self, file: &str, unit: &str, reject: &Reject) -> Result<()> {
        let before = self.rejected;
        self.rejected += reject.records;
        if before < SHOWN_MAX {
            let many =
                if reject.records > 1 { format!(" ({} records)", reject.records) } else { String::new() };
            let column = reject.column.filter(|column| *column > 0);
            let column = column.map(|column| format!(", column {column}")).unwrap_or_default();
            self.say(&format!(
                "rejected: {file}, {unit} {}{column}{many}: {}",
                reject.position, reject.reason
            ));
            if self.rejected >= SHOWN_MAX {
                self.say("rejected: further records are only counted; --rejects FILE writes all of them");
            }
        }
        if let Some(out) = &mut self.rejects {
            let mut entry = serde_json::Map::new();
            entry.insert("file".to_owned(), file.into());
            entry.insert(unit.to_owned(), reject.position.into());
            if let Some(column) = reject.column {
                entry.insert("column".to_owned(), column.into());
            }
            if reject.records > 1 {
                entry.insert("records".to_owned(), reject.records.into());
            }
            entry.insert("reason".to_owned(), reject.reason.as_str().into());
            entry.insert("raw".to_owned(), reject.raw.as_deref().into());
            serde_json::to_writer(&mut *out, &entry).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Adds remarks for the summary.
    pub(super) fn hint(&mut self, hints: Hints) {
        self.hints.merge(hints);
    }

    /// Shows the progress, unless the last update was a moment ago.
    pub(super) fn progress(&mut self, events: u64, bytes: u64) {
        let since = self.shown.elapsed();
        if since < if self.bar.is_some() { BAR_EVERY } else { LINE_EVERY } {
            return;
        }
        self.shown = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{} events, {}/s", HumanCount(events), HumanCount(self.rate(events))));
        } else {
            let of = self.total.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
            let left =
                self.left(bytes).map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
            self.say(&format!(
                "{} events, {}{of}, {} events/s, {}/s{left}",
                HumanCount(events),
                HumanBytes(bytes),
                HumanCount(self.rate(events)),
                HumanBytes(self.rate(bytes)),
            ));
        }
    }

    fn rate(&self, count: u64) -> u64 {
        (count as f64 / self.started.elapsed().as_secs_f64().max(1e-3)) as u64
    }

    fn left(&self, bytes: u64) -> Option<Duration> {
        let rest = self.total?.saturating_sub(bytes);
        (bytes > 0).then(|| self.started.elapsed().mul_f64(rest as f64 / bytes as f64))
    }

    /// Removes the progress bar and flushes the file of rejects.
    pub(super) fn finish(&mut self) -> Result<()> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        match &mut self.rejects {
            Some(out) => Ok(out.flush()?),
            None => Ok(()),
        }
    }

    /// Prints the summary and its remarks.
    pub(super) fn summary(&self, events: u64, bytes: u64, segments: u64, segment_bytes: u64) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.say(&format!(
            "imported {} events from {} in {seconds:.1} s: {} events/s, {}/s; {segments} segment{} of {} altogether",
            HumanCount(events),
            HumanBytes(bytes),
            HumanCount(self.rate(events)),
            HumanBytes(self.rate(bytes)),
            if segments == 1 { "" } else { "s" },
            HumanBytes(segment_bytes),
        ));
        if self.rejected > 0 {
            self.say(&format!("rejected: {} records", HumanCount(self.rejected)));
        }
        if self.skipped > 0 {
            self.say(&format!(
                "skipped: {} files in directories, which are not telemetry",
                HumanCount(self.skipped)
            ));
        }
        if self.hints.without_time > 0 {
            self.say(&format!(
                "note: {} events had no time and got that of the import; --map time=FIELD names their field",
                HumanCount(self.hints.without_time)
            ));
        }
        if self.hints.short_rows > 0 {
            self.say(&format!(
                "note: {} rows have fewer fields than the header; the missing ones are empty",
                HumanCount(self.hints.short_rows)
            ));
        }
        if let Some(process) = &self.hints.missing_process {
            self.say(&format!(
                "note: {} spans name a process that their file does not contain, such as {process:?}, and have no service",
                HumanCount(self.hints.without_process)
            ));
        }
        if let Some(field) = &self.hints.duration_without_unit {
            self.say(&format!(
                "note: field {field:?} looks like a duration without a unit, so it stays an attribute; \
                 --map duration_ms={field} (or _ns, _us, _s) makes it one"
            ));
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{wide_bar} {percent}% {bytes}/{total_bytes} {binary_bytes_per_sec} {msg} ETA {eta}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes} {binary_bytes_per_sec} {msg} {elapsed}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
