//! How is the progress of long work shown?

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Interval between progress lines when stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress in events, on stderr: a bar on a terminal, else a line every few seconds.
pub(super) struct Progress {
    started: Instant,
    shown: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts the clock, and shows an empty bar on a terminal.
    pub(super) fn start() -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0).with_message("events");
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("{wide_bar} {percent}% {human_pos}/{human_len} {msg} ETA {eta}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { started: now, shown: now, bar }
    }

    /// Shows that `done` of `total` events are done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if self.shown.elapsed() >= LINE_EVERY {
            self.shown = Instant::now();
            let line = format!("{} of {} events", HumanCount(done), HumanCount(total));
            // Progress that cannot be shown is not an error.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Removes the bar; returns the seconds since the start.
    pub(super) fn end(self) -> f64 {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed().as_secs_f64()
    }
}
