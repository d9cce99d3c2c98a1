//! How does a chunk become events?

use std::ops::Range;

use super::source::{Chunk, Payload, Plan};
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::ingest::fields::FieldMap;
use crate::ingest::framing::{self, Framing};
use crate::ingest::otlp::{self, Encoding, RequestKind};
use crate::ingest::place::{line_ends, located};
use crate::ingest::sniff::{self, Format, Layout};
use crate::ingest::{Decoded, Hints, Ingested, csv, jaeger, ndjson, table};

/// Options of `broadloom import` that decide how files are read.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Format of all files; `None` recognises it for each.
    pub(super) format: Option<Format>,
    /// Signal of OTLP protobuf files; `None` recognises it for each message.
    pub(super) signal: Option<RequestKind>,
    /// Meanings of fields, and constants (`--map`, `--set`).
    pub(super) map: FieldMap,
    /// Time of the import, in nanoseconds since the Unix epoch.
    pub(super) now_ns: i64,
}

/// Events of a chunk, and its rejected records.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) batches: Vec<EventBatch>,
    pub(super) rejects: Vec<Reject>,
    pub(super) hints: Hints,
}

/// Rejected records, all for one reason.
#[derive(Debug)]
pub(super) struct Reject {
    /// Line, row or byte of the file, from 1.
    pub(super) position: u64,
    /// Column in that line, if it is known.
    pub(super) column: Option<u64>,
    /// Number of records.
    pub(super) records: u64,
    pub(super) reason: String,
    /// The record's text as read; `None` in binary formats.
    pub(super) raw: Option<String>,
}

/// Decodes a chunk. Records that cannot be read are in [`Events::rejects`].
pub(super) fn decode(chunk: &Chunk, options: &Options) -> Events {
    let mut events = Events::default();
    let Options { map, now_ns, .. } = options;
    match (&chunk.payload, &chunk.plan.layout) {
        (Payload::Rows(rows), _) => events.take(table::decode(rows, map, *now_ns), chunk, &[]),
        (Payload::Bytes(bytes), Layout::Ndjson { framing: Framing::Lines }) => {
            events.take(ndjson::decode_lines(bytes, map, *now_ns), chunk, bytes);
        }
        (Payload::Bytes(bytes), Layout::Ndjson { .. }) => {
            events.take(ndjson::decode_values(bytes, map, *now_ns), chunk, bytes);
        }
        (Payload::Bytes(bytes), Layout::Csv(layout)) => {
            events.take(csv::decode(bytes, layout, map, *now_ns), chunk, bytes);
        }
        (Payload::Bytes(bytes), Layout::Jaeger { framing }) => {
            decode_jaeger(&mut events, chunk, bytes, *framing);
        }
        (Payload::Bytes(bytes), Layout::OtlpJson { framing }) => {
            decode_otlp_json(&mut events, chunk, bytes, *framing, *now_ns);
        }
        (Payload::Bytes(bytes), Layout::Otlp { framing }) => {
            decode_otlp(&mut events, chunk, bytes, *framing, options);
        }
        // Tables arrive as `Payload::Rows`.
        (Payload::Bytes(_), _) => {}
    }
    events
}

impl Events {
    /// Adds a decoder's result for `bytes`, which are the chunk's or a part of it.
    fn take(&mut self, decoded: Result<Decoded>, chunk: &Chunk, bytes: &[u8]) {
        self.take_at(decoded, chunk.before, bytes);
    }

    fn take_at(&mut self, decoded: Result<Decoded>, before: u64, bytes: &[u8]) {
        match decoded {
            Ok(decoded) => {
                self.batches.push(decoded.batch);
                self.hints.merge(decoded.hints);
                for refused in decoded.refused {
                    let raw = bytes.get(refused.bytes).filter(|raw| !raw.is_empty());
                    self.rejects.push(Reject {
                        position: before + refused.position + 1,
                        column: refused.column,
                        records: 1,
                        reason: refused.reason,
                        raw: raw.map(|raw| String::from_utf8_lossy(raw.trim_ascii()).into_owned()),
                    });
                }
            }
            Err(error) => self.refuse(before + 1, &error, bytes),
        }
    }

    /// Rejects `raw`, which begins at `position`, as one record.
    fn refuse(&mut self, position: u64, error: &Error, raw: &[u8]) {
        let text = (!raw.is_empty()).then(|| String::from_utf8_lossy(raw).into_owned());
        let (reason, place) = located(error.message());
        let lines = place.map_or(0, |(line, _)| line - 1);
        self.rejects.push(Reject {
            position: position + lines,
            column: place.map(|(_, column)| column),
            records: 1,
            reason: reason.to_owned(),
            raw: text,
        });
    }

    fn ingest(&mut self, position: u64, ingested: Ingested) {
        let reasons = ingested.rejected.message();
        if ingested.rejected.count() > 0 {
            self.rejects.push(Reject {
                position,
                column: None,
                records: ingested.rejected.count(),
                reason: reasons,
                raw: None,
            });
        }
        self.batches.push(ingested.batch);
    }
}

fn decode_jaeger(events: &mut Events, chunk: &Chunk, bytes: &[u8], framing: Framing) {
    let documents = match framing::records(framing, bytes) {
        Ok(documents) => documents,
        Err(error) => return events.refuse(chunk.before + 1, &error, &[]),
    };
    for range in documents {
        let before = chunk.before + line_ends(&bytes[..range.start]);
        let document = &bytes[range];
        events.take_at(jaeger::decode(document), before, document);
    }
}

fn decode_otlp_json(events: &mut Events, chunk: &Chunk, bytes: &[u8], framing: Framing, now_ns: i64) {
    let documents = match framing::records(framing, bytes) {
        Ok(documents) => documents,
        Err(error) => return events.refuse(chunk.before + 1, &error, &[]),
    };
    let (mut counted, mut position) = (0, chunk.before + 1);
    for range in documents {
        position += line_ends(&bytes[counted..range.start]);
        counted = range.start;
        let document = &bytes[ndjson::trimmed(bytes, range)];
        let decoded = match sniff::otlp_json_kind(document) {
            Some(kind) => otlp::decode(kind, Encoding::Json, document, now_ns),
            None if matches!(document, b"" | b"{}") => continue,
            None => {
                Err(Error::invalid("not OTLP JSON: expected resourceSpans, resourceLogs or resourceMetrics"))
            }
        };
        match decoded {
            Ok(ingested) => events.ingest(position, ingested),
            Err(error) => events.refuse(position, &error, document),
        }
    }
}

/// Decodes OTLP messages. Consecutive messages of one kind are concatenated: the fields of a request are repeated, so
/// the result is one request, and one batch is cheaper than many.
fn decode_otlp(events: &mut Events, chunk: &Chunk, bytes: &[u8], framing: Framing, options: &Options) {
    if framing == Framing::ProtobufFields {
        return match kind_of(bytes, &chunk.plan, options) {
            Ok(Some(kind)) => {
                Run::new(kind, 0..bytes.len()).decode(events, chunk, bytes, options);
            }
            Ok(None) => {}
            Err(error) => events.refuse(chunk.before + 1, &error, &[]),
        };
    }
    let messages = match framing::records(framing, bytes) {
        Ok(messages) => messages,
        Err(error) => return events.refuse(chunk.before + 1, &error, &[]),
    };
    let mut run: Option<Run> = None;
    for range in messages {
        match kind_of(&bytes[range.clone()], &chunk.plan, options) {
            Ok(Some(kind)) => match &mut run {
                Some(run) if run.kind == kind => run.messages.push(range),
                _ => {
                    if let Some(ended) = run.replace(Run::new(kind, range)) {
                        ended.decode(events, chunk, bytes, options);
                    }
                }
            },
            Ok(None) => {}
            Err(error) => events.refuse(chunk.before + range.start as u64 + 1, &error, &[]),
        }
    }
    if let Some(run) = run {
        run.decode(events, chunk, bytes, options);
    }
}

/// Signal of a message: `--signal`, else by its records, else by the file's name. `None` if it has no records.
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it has records and none of these decides.
fn kind_of(message: &[u8], plan: &Plan, options: &Options) -> Result<Option<RequestKind>> {
    if options.signal.is_some() {
        return Ok(options.signal);
    }
    let tried = sniff::otlp_kind(message);
    if let Some(kind) = tried.or(plan.name_kind) {
        return Ok(Some(kind));
    }
    // A message that reads as all three kinds has no records, and nothing to lose.
    let empty = |kind| {
        otlp::decode(kind, Encoding::Protobuf, message, 0)
            .is_ok_and(|i| i.batch.is_empty() && i.rejected.is_empty())
    };
    if RequestKind::ALL.into_iter().all(empty) {
        return Ok(None);
    }
    Err(Error::invalid(
        "the signal of this OTLP protobuf message cannot be recognised: write --signal traces, logs or metrics",
    ))
}

/// Consecutive OTLP messages of one kind.
struct Run {
    kind: RequestKind,
    /// Range of each message in the bytes of the chunk.
    messages: Vec<Range<usize>>,
}

impl Run {
    fn new(kind: RequestKind, message: Range<usize>) -> Self {
        Self { kind, messages: vec![message] }
    }

    fn decode(&self, events: &mut Events, chunk: &Chunk, bytes: &[u8], options: &Options) {
        let joined: Vec<u8>;
        let request = if let [only] = self.messages.as_slice() {
            &bytes[only.clone()]
        } else {
            joined = self.messages.iter().flat_map(|r| &bytes[r.clone()]).copied().collect();
            &joined
        };
        let first = chunk.before + self.messages.first().map_or(0, |r| r.start as u64) + 1;
        if let Ok(ingested) = otlp::decode(self.kind, Encoding::Protobuf, request, options.now_ns) {
            return events.ingest(first, ingested);
        }
        // Decode part by part, so that only the broken one is rejected.
        for message in &self.messages {
            for part in framing::fields(&bytes[message.clone()]) {
                let part = message.start + part.start..message.start + part.end;
                let position = chunk.before + part.start as u64 + 1;
                match otlp::decode(self.kind, Encoding::Protobuf, &bytes[part], options.now_ns) {
                    Ok(ingested) => events.ingest(position, ingested),
                    Err(error) => events.refuse(position, &error, &[]),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use super::*;

    fn example(name: &str) -> Vec<u8> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/otlp").join(name);
        let json = std::fs::read(path).unwrap();
        match name {
            "trace.json" => {
                serde_json::from_slice::<ExportTraceServiceRequest>(&json).unwrap().encode_to_vec()
            }
            "metrics.json" => {
                serde_json::from_slice::<ExportMetricsServiceRequest>(&json).unwrap().encode_to_vec()
            }
            _ => serde_json::from_slice::<ExportLogsServiceRequest>(&json).unwrap().encode_to_vec(),
        }
    }

    fn events(bytes: Vec<u8>, name: &str) -> Events {
        let layout = sniff::sniff(&bytes, true).unwrap();
        events_of(layout, bytes, name, None)
    }

    fn events_of(layout: Layout, bytes: Vec<u8>, name: &str, signal: Option<RequestKind>) -> Events {
        let plan = Arc::new(Plan { index: 0, layout, name_kind: sniff::kind_of_name(name) });
        let chunk = Chunk { plan, behind: bytes.len() as u64, payload: Payload::Bytes(bytes), before: 0 };
        decode(&chunk, &Options { format: None, signal, map: FieldMap::default(), now_ns: 0 })
    }

    fn rows(events: &Events) -> Vec<usize> {
        events.batches.iter().map(EventBatch::rows).collect()
    }

    #[test]
    fn messages_of_all_signals_may_follow_each_other() {
        let mut bytes = Vec::new();
        for name in ["trace.json", "trace.json", "logs.json", "metrics.json", "events.json"] {
            prost::encode_length_delimiter(example(name).len(), &mut bytes).unwrap();
            bytes.extend(example(name));
        }
        let events = events(bytes, "everything.pb");
        assert_eq!(rows(&events), [2, 1, 4, 1], "{:?}", events.rejects);
        assert!(events.rejects.is_empty(), "{:?}", events.rejects);
    }

    #[test]
    fn records_overrule_the_name_of_their_file() {
        assert_eq!(rows(&events(example("trace.json"), "logs.pb")), [1]);
    }

    #[test]
    fn a_broken_part_costs_itself() {
        // A resource with the right length, whose contents are not protobuf.
        let bytes = [&example("trace.json")[..], &[0x0a, 2, 0x0f, 0xff], &example("trace.json")].concat();
        let layout = Layout::Otlp { framing: Framing::ProtobufFields };
        let events = events_of(layout, bytes, "", Some(RequestKind::Traces));
        assert_eq!(rows(&events).iter().sum::<usize>(), 2);
        assert_eq!(events.rejects.len(), 1);
    }
}
