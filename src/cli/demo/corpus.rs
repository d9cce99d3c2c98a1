//! Which corpus does a data directory contain, and how does one get there?
//!
//! A file `demo.json` in the directory marks the events as the demo's, with its settings, and says whether all of
//! them were stored. So a second `broadloom demo` runs its queries at once, and a demo is never mixed into other data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::HumanCount;
use serde::{Deserialize, Serialize};

use super::source::{Source, blocking};
use crate::demo::{DemoRequest, DemoSettings, Generator};
use crate::error::{Error, ErrorKind, Result};

const MARKER: &str = "demo.json";
/// Most requests in the queue between generator and database.
const QUEUE_REQUESTS: usize = 16;

/// Content of the marker file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    seed: u64,
    events: u64,
    minutes: u32,
    start_ns: i64,
    /// True once all events are stored.
    complete: bool,
}

impl Marker {
    fn of(settings: DemoSettings) -> Self {
        let DemoSettings { seed, events, start_ns, minutes } = settings;
        Self { seed, events, minutes, start_ns, complete: false }
    }

    fn settings(self) -> DemoSettings {
        DemoSettings { seed: self.seed, events: self.events, start_ns: self.start_ns, minutes: self.minutes }
    }

    fn path(data: &Path) -> PathBuf {
        data.join(MARKER)
    }

    fn read(data: &Path) -> Result<Option<Self>> {
        let path = Self::path(data);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::corrupt(format!("{} was not written by the demo: {e}", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::from(e).context(path.display())),
        }
    }

    fn write(self, data: &Path) -> Result<()> {
        let path = Self::path(data);
        let text = serde_json::to_vec(&self).map_err(|e| Error::internal(e.to_string()))?;
        std::fs::write(&path, text).map_err(|e| Error::from(e).context(path.display()))
    }
}

/// Decision about a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// The directory is empty: make the corpus.
    Make,
    /// The directory already contains the corpus of these settings.
    Reuse(DemoSettings),
}

/// Decides what to do with `data`, which contains `events` events. With `any_start`, corpora that differ only in
/// their start time are the same.
///
/// Fails with [`ErrorKind::Conflict`] if the directory contains other events, or an incomplete corpus.
pub(super) fn plan(data: &Path, events: u64, wanted: DemoSettings, any_start: bool) -> Result<Plan> {
    let elsewhere = "name another directory with --data, or delete this one";
    let conflict = |what: String| {
        Err(Error::new(ErrorKind::Conflict, format!("{} {what}; {elsewhere}", data.display())))
    };
    let Some(marker) = Marker::read(data)? else {
        return if events == 0 {
            Ok(Plan::Make)
        } else {
            conflict(format!("contains {} events that are not the demo's", HumanCount(events)))
        };
    };
    let found = marker.settings();
    let wanted = if any_start { DemoSettings { start_ns: found.start_ns, ..wanted } } else { wanted };
    if events == 0 {
        Ok(Plan::Make)
    } else if !marker.complete {
        conflict("contains an incomplete demo corpus: an earlier run was interrupted".to_owned())
    } else if found == wanted {
        Ok(Plan::Reuse(found))
    } else {
        conflict(format!(
            "contains another demo corpus (--seed {} --events {} --minutes {})",
            found.seed, found.events, found.minutes
        ))
    }
}

/// Generates the corpus of `settings` and sends it to `source`. Writes the marker into `data`, if that is given.
pub(super) async fn make(
    settings: DemoSettings,
    source: &Source,
    data: Option<&Path>,
    out: &mut impl Write,
) -> Result<()> {
    if let Some(data) = data {
        Marker::of(settings).write(data)?;
    }
    let bar = super::progress(settings.events);
    let began = Instant::now();
    let (queue, mut requests) = tokio::sync::mpsc::channel::<DemoRequest>(QUEUE_REQUESTS);
    let generating = tokio::spawn(blocking(move || {
        for request in Generator::new(settings) {
            if queue.blocking_send(request).is_err() {
                break; // the receiver failed, and reports why
            }
        }
        Ok(())
    }));
    let mut loader = source.loader()?;
    let mut events = 0;
    while let Some(request) = requests.recv().await {
        let count = request.events;
        loader.take(request).await?;
        events += count;
        bar.inc(count);
    }
    loader.finish().await?;
    bar.finish_and_clear();
    generating.await.map_err(|e| Error::internal("the generator failed").with_source(e))??;
    if let Some(data) = data {
        Marker { complete: true, ..Marker::of(settings) }.write(data)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = HumanCount((events as f64 / seconds) as u64);
    writeln!(out, "{} events in {seconds:.1} s: {rate} per second.", HumanCount(events))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_is_never_mixed_into_other_data() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let settings = DemoSettings::new(1, 1000);
        assert_eq!(plan(data, 0, settings, true).unwrap(), Plan::Make);
        let refused = plan(data, 7, settings, true).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.message().contains("--data"), "{refused}");

        Marker::of(settings).write(data).unwrap();
        assert!(plan(data, 7, settings, true).unwrap_err().message().contains("interrupted"));
        Marker { complete: true, ..Marker::of(settings) }.write(data).unwrap();
        let later = DemoSettings { start_ns: settings.start_ns + 1, ..settings };
        assert_eq!(plan(data, 1000, later, true).unwrap(), Plan::Reuse(settings));
        assert!(plan(data, 1000, later, false).is_err(), "the time was asked for");
        assert!(plan(data, 1000, DemoSettings { seed: 2, ..settings }, true).is_err());
    }
}
