//! `broadloom demo --write-otlp`: writes the corpus to files, for benchmarks and to try `broadloom import`.
//!
//! ```text
//! DIR/traces-00000.binpb   logs-00000.binpb   metrics-00000.binpb   traces-00001.binpb …
//! DIR/manifest.json        settings, and requests, events and bytes of every file
//! ```
//! A file is a sequence of OTLP requests in order of arrival, each preceded by its length as a varint.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use prost::Message;
use serde::Serialize;

use crate::demo::{DemoPayload, DemoRequest, DemoSettings, Generator};
use crate::error::{Error, Result};

/// Size of a file after which the next one is begun.
const FILE_BYTES: u64 = 64 << 20;

/// Summary of the written files; also `manifest.json`.
#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    seed: u64,
    start_ns: i64,
    minutes: u32,
    /// Events in all files.
    pub(super) events: u64,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// The files, in the order of their creation.
    pub(super) files: Vec<Written>,
}

/// One written file.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    name: String,
    signal: &'static str,
    requests: u64,
    events: u64,
    bytes: u64,
}

/// Writes the corpus of `settings` to `directory`, which must be new or empty; `progress` gets the number of events of
/// each request.
pub(super) fn write(
    settings: DemoSettings,
    directory: &Path,
    mut progress: impl FnMut(u64),
) -> Result<Manifest> {
    let fails = |e: std::io::Error| Error::from(e).context(directory.display());
    std::fs::create_dir_all(directory).map_err(fails)?;
    if std::fs::read_dir(directory).map_err(fails)?.next().is_some() {
        return Err(Error::invalid(format!(
            "{} is not empty: name a new or empty directory",
            directory.display()
        )));
    }
    let mut writer = CorpusWriter { directory, open: [None, None, None], begun: [0; 3], files: Vec::new() };
    for request in Generator::new(settings) {
        writer.take(&request).map_err(fails)?;
        progress(request.events);
    }
    writer.close().map_err(fails)?;
    let files = writer.files;
    let (events, bytes) = files.iter().fold((0, 0), |(e, b), f| (e + f.events, b + f.bytes));
    let DemoSettings { seed, start_ns, minutes, .. } = settings;
    let manifest = Manifest { seed, start_ns, minutes, events, bytes, files };
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| Error::internal(e.to_string()))?;
    std::fs::write(directory.join("manifest.json"), text + "\n").map_err(fails)?;
    Ok(manifest)
}

const SIGNALS: [&str; 3] = ["traces", "logs", "metrics"];

struct CorpusWriter<'a> {
    directory: &'a Path,
    /// Open file of each signal, and its index in `files`.
    open: [Option<(BufWriter<File>, usize)>; 3],
    begun: [usize; 3],
    files: Vec<Written>,
}

impl CorpusWriter<'_> {
    fn take(&mut self, request: &DemoRequest) -> std::io::Result<()> {
        let (signal, bytes) = match &request.payload {
            DemoPayload::Traces(r) => (0, r.encode_length_delimited_to_vec()),
            DemoPayload::Logs(r) => (1, r.encode_length_delimited_to_vec()),
            DemoPayload::Metrics(r) => (2, r.encode_length_delimited_to_vec()),
        };
        if self.open[signal].as_ref().is_some_and(|(_, at)| self.files[*at].bytes >= FILE_BYTES) {
            self.end(signal)?;
        }
        if self.open[signal].is_none() {
            let name = format!("{}-{:05}.binpb", SIGNALS[signal], self.begun[signal]);
            self.begun[signal] += 1;
            let file = BufWriter::with_capacity(1 << 20, File::create_new(self.directory.join(&name))?);
            self.open[signal] = Some((file, self.files.len()));
            self.files.push(Written { name, signal: SIGNALS[signal], requests: 0, events: 0, bytes: 0 });
        }
        if let Some((file, at)) = &mut self.open[signal] {
            file.write_all(&bytes)?;
            let written = &mut self.files[*at];
            written.requests += 1;
            written.events += request.events;
            written.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self, signal: usize) -> std::io::Result<()> {
        if let Some((mut file, _)) = self.open[signal].take() {
            file.flush()?;
        }
        Ok(())
    }

    fn close(&mut self) -> std::io::Result<()> {
        (0..SIGNALS.len()).try_for_each(|signal| self.end(signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    #[test]
    fn files_hold_the_requests_of_the_generator() {
        let settings = DemoSettings::new(3, 1_500);
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("corpus");
        let manifest = write(settings, &target, |_| {}).unwrap();
        let expected: Vec<DemoRequest> = Generator::new(settings).collect();
        assert_eq!(manifest.events, expected.iter().map(|r| r.events).sum::<u64>());
        let mut bytes = bytes::Bytes::from(std::fs::read(target.join("traces-00000.binpb")).unwrap());
        for request in &expected {
            if let DemoPayload::Traces(wanted) = &request.payload {
                assert_eq!(&ExportTraceServiceRequest::decode_length_delimited(&mut bytes).unwrap(), wanted);
            }
        }
        assert!(bytes.is_empty());
        assert!(write(settings, &target, |_| {}).is_err(), "an earlier corpus is not written over");
    }
}
