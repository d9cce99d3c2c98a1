//! What is the format of this file?
//!
//! The content decides, never the name: magic numbers (Parquet, Arrow), the shape of the JSON, the frames of
//! protobuf, a header that fits the lines after it. An unknown format is an error; nothing here guesses.
//!
//! An OTLP protobuf message does not name its signal. [`otlp_kind`] reads its records strictly as each of the
//! three signals. It checks wire types by field, lengths of ids, ranges of enumerations and times, and UTF-8.
//! Field 1 of a log record is a time, the others have bytes there; a span has times in the fields in which a
//! metric has its points. So no record passes as two signals. Fields with higher numbers than the known ones
//! belong to a later version and may hold anything.

use std::ops::Range;

use super::csv::CsvLayout;
use super::envelope;
use super::fields::{FieldMap, Slot, Target};
use super::framing::{self, Framing};
use super::ndjson;
use super::otlp::RequestKind;
use crate::error::{Error, Result};

/// A format that the user can request with `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OTLP protobuf: one request, or length-delimited ones.
    Otlp,
    /// OTLP JSON: one document, or lines.
    OtlpJson,
    /// JSON objects, one event each.
    Ndjson,
    /// Delimited text with a header.
    Csv,
    /// Parquet table.
    Parquet,
    /// Arrow IPC file or stream.
    Arrow,
    /// Jaeger JSON.
    Jaeger,
}

/// A format with the details needed to decode it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// OTLP protobuf messages.
    Otlp {
        /// Rule that separates them.
        framing: Framing,
    },
    /// OTLP JSON documents.
    OtlpJson {
        /// Rule that separates them.
        framing: Framing,
    },
    /// JSON objects.
    Ndjson {
        /// Rule that separates them.
        framing: Framing,
    },
    /// Delimited text.
    Csv(CsvLayout),
    /// Jaeger documents.
    Jaeger {
        /// Rule that separates them.
        framing: Framing,
    },
    /// Parquet file.
    Parquet,
    /// Arrow IPC file.
    ArrowFile,
    /// Arrow IPC stream.
    ArrowStream,
}

impl Layout {
    /// Framing of the records; `None` for tables, which have their own readers.
    pub fn framing(&self) -> Option<Framing> {
        match self {
            Self::Otlp { framing }
            | Self::OtlpJson { framing }
            | Self::Ndjson { framing }
            | Self::Jaeger { framing } => Some(*framing),
            Self::Csv(layout) => Some(Framing::Csv { delimiter: layout.delimiter }),
            Self::Parquet | Self::ArrowFile | Self::ArrowStream => None,
        }
    }

    /// Name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Otlp { framing: Framing::ProtobufFields } => "OTLP protobuf",
            Self::Otlp { .. } => "OTLP protobuf, length-delimited",
            Self::OtlpJson { .. } => "OTLP JSON",
            Self::Ndjson { .. } => "NDJSON",
            Self::Csv(_) => "CSV",
            Self::Jaeger { .. } => "Jaeger JSON",
            Self::Parquet => "Parquet",
            Self::ArrowFile | Self::ArrowStream => "Arrow IPC",
        }
    }
}

/// Length of the sample, from the start of a file, that decides its format and the types of its columns.
pub const SAMPLE_BYTES: usize = 1 << 20;

/// Detects the format of the file that starts with `sample` (or, if `complete`, is `sample`).
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the format is unknown.
pub fn sniff(sample: &[u8], complete: bool) -> Result<Layout> {
    let text = without_mark(sample);
    let layout = if sample.starts_with(b"PAR1") {
        Some(Layout::Parquet)
    } else if sample.starts_with(b"ARROW1") {
        Some(Layout::ArrowFile)
    } else if sample.starts_with(b"\xff\xff\xff\xff") {
        Some(Layout::ArrowStream)
    } else if let Some(framing) = otlp_framing(sample) {
        // Before JSON: the length 123 is the byte of an opening brace, but JSON never continues like a message.
        Some(Layout::Otlp { framing })
    } else {
        let start = text.get(ndjson::trimmed(text, 0..text.len())).unwrap_or_default();
        let is_json = matches!(start.first(), Some(b'{' | b'['));
        // A rotated file may begin within a line.
        (is_json || json_framing(text) == Framing::Lines).then(|| json(text))
    };
    if let Some(layout) = layout {
        return Ok(layout);
    }
    if let Some(delimiter) = is_text(text).then(|| CsvLayout::sniff_delimiter(text)).flatten() {
        return Ok(Layout::Csv(CsvLayout::infer(sample, delimiter, complete)?));
    }
    Err(Error::invalid(
        "unknown format: expected OTLP (protobuf or JSON), NDJSON, CSV with a header, Parquet, Arrow IPC or \
         Jaeger JSON; if the file is one of these, name it with --format",
    ))
}

/// Layout of a file whose format the user named.
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the format is CSV and the header is
/// missing or too long.
pub fn layout_of(format: Format, sample: &[u8], complete: bool) -> Result<Layout> {
    let text = without_mark(sample);
    Ok(match format {
        Format::Otlp => Layout::Otlp { framing: otlp_framing(sample).unwrap_or(Framing::ProtobufFields) },
        Format::OtlpJson => Layout::OtlpJson { framing: json_framing(text) },
        Format::Ndjson => Layout::Ndjson { framing: json_framing(text) },
        Format::Csv => {
            let delimiter = CsvLayout::sniff_delimiter(text).unwrap_or(b',');
            Layout::Csv(CsvLayout::infer(sample, delimiter, complete)?)
        }
        Format::Jaeger => Layout::Jaeger { framing: json_framing(text) },
        Format::Parquet => Layout::Parquet,
        Format::Arrow if sample.starts_with(b"ARROW1") => Layout::ArrowFile,
        Format::Arrow => Layout::ArrowStream,
    })
}

/// True if the NDJSON or CSV records in the sample have a time: a time field, or a start together with an id, an end
/// or a duration. Always true for other formats. JSON or CSV without a time is not telemetry: a manifest, a list.
pub fn says_when(layout: &Layout, sample: &[u8], map: &FieldMap) -> bool {
    let names = match layout {
        Layout::Ndjson { .. } => {
            let object = first_object(without_mark(sample));
            // The records of an envelope have the time, not the envelope.
            match envelope::open(object).and_then(|envelope| envelope.records.into_iter().next()) {
                Some(record) => envelope::keys(&object[record]),
                None => top_keys(object),
            }
        }
        Layout::Csv(layout) => layout.columns.clone(),
        _ => return true,
    };
    let slots: Vec<Slot> = names
        .iter()
        .filter_map(|name| match map.role(name).target {
            Target::Core(slot, _) => Some(slot),
            Target::Attribute(_) => None,
        })
        .collect();
    let any = |wanted: &[Slot]| slots.iter().any(|slot| wanted.contains(slot));
    any(&[Slot::Time, Slot::Observed])
        || any(&[Slot::Start]) && any(&[Slot::Trace, Slot::Span, Slot::End, Slot::Duration])
}

fn without_mark(sample: &[u8]) -> &[u8] {
    sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample)
}

fn is_text(sample: &[u8]) -> bool {
    let control = |b: &u8| *b < 0x20 && !b.is_ascii_whitespace();
    !sample.iter().take(4096).any(control)
}

/// Layout of the JSON in `text`, from the keys of its first object.
fn json(text: &[u8]) -> Layout {
    let framing = json_framing(text);
    let object = first_object(text);
    let keys = top_keys(object);
    let has = |key: &str| keys.iter().any(|k| k == key);
    if otlp_json_kind(object).is_some() {
        return Layout::OtlpJson { framing };
    }
    let holds = |needle: &str| text.windows(needle.len()).any(|w| w == needle.as_bytes());
    let trace = has("spans") && (has("processes") || has("traceID"));
    if trace || has("data") && holds("\"traceID\"") && holds("\"spans\"") {
        return Layout::Jaeger { framing };
    }
    Layout::Ndjson { framing }
}

/// Number of lines that are examined.
const TRIAL_LINES_MAX: usize = 20;

/// The text from its first object on. If the text is lines, from the first line that is an object with a key.
fn first_object(text: &[u8]) -> &[u8] {
    if json_framing(text) == Framing::Lines {
        let whole =
            |line: &Range<usize>| is_object(&text[line.clone()]) && !top_keys(&text[line.clone()]).is_empty();
        if let Some(line) = lines(text).take(TRIAL_LINES_MAX + 1).find(whole) {
            return &text[line.start..];
        }
    }
    text
}

/// Lines that are not blank, without the harmless bytes around them ([`ndjson::trimmed`]).
fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let lines = text.split(|b| *b == b'\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    });
    lines.map(|line| ndjson::trimmed(text, line)).filter(|line| !line.is_empty())
}

fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// Kind of request of an OTLP JSON document; `None` if it is not one.
pub fn otlp_json_kind(document: &[u8]) -> Option<RequestKind> {
    top_keys(document).iter().find_map(|key| match key.as_str() {
        "resourceSpans" | "resource_spans" => Some(RequestKind::Traces),
        "resourceLogs" | "resource_logs" => Some(RequestKind::Logs),
        "resourceMetrics" | "resource_metrics" => Some(RequestKind::Metrics),
        _ => None,
    })
}

/// Framing of JSON objects: one per line, or spread over lines.
fn json_framing(text: &[u8]) -> Framing {
    let mut lines = lines(text);
    let first = lines.next().map_or(&text[..0], |line| &text[line]);
    // A line longer than the sample cannot be checked. An object spread over lines has short lines.
    if is_object(first) || !text.contains(&b'\n') && first.starts_with(b"{") {
        return Framing::Lines;
    }
    // A file of lines may begin with a bad line or within a line; an array of objects begins with its bracket.
    let (mut good, mut bad) = (0, usize::from(first == b"["));
    for line in lines.take(TRIAL_LINES_MAX) {
        if is_object(&text[line]) { good += 1 } else { bad += 1 }
    }
    if good > bad { Framing::Lines } else { Framing::JsonValues }
}

/// Keys of the first object in `text`, up to 100, as far as the text goes; escapes are not decoded.
fn top_keys(text: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut depth, mut i) = (0_usize, text.iter().position(|b| *b == b'{').unwrap_or(text.len()));
    while i < text.len() && keys.len() < 100 {
        match text[i] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            b'"' => {
                let start = i + 1;
                i = start;
                while i < text.len() && text[i] != b'"' {
                    i += if text[i] == b'\\' { 2 } else { 1 };
                }
                let after = text.get(i + 1..).unwrap_or_default().trim_ascii_start();
                if depth == 1 && after.starts_with(b":") {
                    keys.push(String::from_utf8_lossy(&text[start..i]).into_owned());
                }
            }
            _ => {}
        }
        i += 1;
    }
    keys
}

/// Framing of the OTLP messages at the start of `sample`; `None` if these are not OTLP.
fn otlp_framing(sample: &[u8]) -> Option<Framing> {
    // Length prefixes first: the length of a ten-byte message looks like the tag of a field.
    [Framing::Be32Delimited, Framing::VarintDelimited, Framing::ProtobufFields]
        .into_iter()
        .find(|framing| first_message(*framing, sample).is_some_and(|message| otlp_kind(message).is_some()))
}

/// The first message that is not empty, or the part of it within the sample.
fn first_message(framing: Framing, sample: &[u8]) -> Option<&[u8]> {
    if framing == Framing::ProtobufFields {
        return Some(sample);
    }
    let end = framing::whole(framing, sample).ok()?;
    if let Ok(Some(range)) = framing::records(framing, &sample[..end]).map(|r| r.into_iter().next()) {
        return sample.get(range);
    }
    let header =
        if framing == Framing::Be32Delimited { 4 } else { 1 + sample.iter().position(|b| b & 0x80 == 0)? };
    sample.get(header..).filter(|rest| !rest.is_empty())
}

/// Kind of request of a protobuf message, which may be cut off; `None` if it is not a request, holds no record, or
/// fits several kinds.
pub fn otlp_kind(message: &[u8]) -> Option<RequestKind> {
    let mut fitting = RequestKind::ALL.into_iter().filter(|kind| fits(*kind, message));
    fitting.next().filter(|_| fitting.next().is_none())
}

/// Most records that are examined.
const TRIAL_RECORDS_MAX: usize = 64;

/// True if the message has a record and every record is plausible as this kind.
fn fits(kind: RequestKind, message: &[u8]) -> bool {
    let mut seen = 0;
    let all = nested(message, 0, &mut |record| {
        seen += 1;
        let plausible = match kind {
            RequestKind::Traces => is_span(record),
            RequestKind::Logs => is_log(record),
            RequestKind::Metrics => is_metric(record),
        };
        (plausible == Some(true)).then_some(seen < TRIAL_RECORDS_MAX)
    });
    all.is_some() && seen > 0
}

/// Calls `record` with every complete record. `None` if the message does not have the shape that all requests
/// share or if `record` returns `None`; `Some(false)` if `record` asked to stop.
fn nested(message: &[u8], depth: usize, record: &mut impl FnMut(&[u8]) -> Option<bool>) -> Option<bool> {
    let mut fields = Fields(message);
    loop {
        match fields.next()? {
            Next::End | Next::Cut(_, []) => return Some(true),
            Next::Field(number, Wire::Bytes(bytes)) => match (depth, number) {
                (0, 1) | (1, 2 | 1000) => {
                    if !nested(bytes, depth + 1, record)? {
                        return Some(false);
                    }
                }
                (2, 2) => {
                    if !record(bytes)? {
                        return Some(false);
                    }
                }
                (1 | 2, 3) => drop(text(bytes)?),
                (1 | 2, 1) => {}
                (depth, number) if number > fields_max(depth) => {}
                _ => return None,
            },
            Next::Field(number, _) if number > fields_max(depth) => {}
            // The sample ends here: the cut field may still hold whole records.
            Next::Cut(1, rest) if depth == 0 => return nested(rest, 1, record),
            Next::Cut(2, rest) if depth == 1 => return nested(rest, 2, record),
            Next::Cut(..) => return Some(true),
            Next::Field(..) => return None,
        }
    }
}

/// Highest known field number of a request (depth 0), its groups (1) and their scope groups (2).
fn fields_max(depth: usize) -> u64 {
    if depth == 0 { 1 } else { 3 }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// True if the record can be a span; `None` if a wire type or value rules it out.
fn is_span(record: &[u8]) -> Option<bool> {
    let (mut ids, mut times) = (0, 0);
    each(record, |number, wire| {
        Some(match (number, wire) {
            (1, Wire::Bytes(b)) => {
                ids += usize::from(b.len() == 16);
                matches!(b.len(), 0 | 16)
            }
            (2, Wire::Bytes(b)) => {
                ids += usize::from(b.len() == 8);
                matches!(b.len(), 0 | 8)
            }
            (4, Wire::Bytes(b)) => matches!(b.len(), 0 | 8),
            (3 | 5, Wire::Bytes(b)) => text(b).is_some(),
            (6, Wire::Varint(v)) => v <= 5,
            (7 | 8, Wire::Fixed64(v)) => {
                times += 1;
                plausible_time(v)
            }
            (9 | 11 | 13 | 15, Wire::Bytes(b)) => is_message(b),
            (10 | 12 | 14, Wire::Varint(v)) => u32::try_from(v).is_ok(),
            (16, Wire::Fixed32) => true,
            _ => number > 16,
        })
    })?;
    Some(ids == 2 && times > 0)
}

/// True if the record can be a log record; `None` if a wire type or value rules it out.
fn is_log(record: &[u8]) -> Option<bool> {
    let mut evidence = 0;
    each(record, |number, wire| {
        Some(match (number, wire) {
            (1 | 11, Wire::Fixed64(v)) => {
                evidence += 1;
                plausible_time(v)
            }
            (2, Wire::Varint(v)) => v <= 24,
            (3 | 12, Wire::Bytes(b)) => text(b).is_some(),
            (5 | 6, Wire::Bytes(b)) => {
                evidence += 1;
                is_message(b)
            }
            (7, Wire::Varint(v)) => u32::try_from(v).is_ok(),
            (8, Wire::Fixed32) => true,
            (9, Wire::Bytes(b)) => matches!(b.len(), 0 | 16),
            (10, Wire::Bytes(b)) => matches!(b.len(), 0 | 8),
            _ => number > 12,
        })
    })?;
    Some(evidence > 0)
}

/// True if the record can be a metric; `None` if a wire type or value rules it out.
fn is_metric(record: &[u8]) -> Option<bool> {
    let (mut named, mut points) = (false, 0);
    each(record, |number, wire| {
        Some(match (number, wire) {
            (1, Wire::Bytes(b)) => {
                named = !b.is_empty();
                text(b).is_some_and(|name| !name.chars().any(char::is_control))
            }
            (2 | 3, Wire::Bytes(b)) => text(b).is_some(),
            (5 | 7 | 9 | 10 | 11, Wire::Bytes(b)) => {
                points += 1;
                is_message(b)
            }
            (12, Wire::Bytes(b)) => is_message(b),
            _ => number > 12,
        })
    })?;
    Some(named && points == 1)
}

/// True for zero and times from 1980 to 2200.
fn plausible_time(ns: u64) -> bool {
    ns == 0 || (315_532_800_000_000_000..7_258_118_400_000_000_000).contains(&ns)
}

fn is_message(bytes: &[u8]) -> bool {
    each(bytes, |_, _| Some(true)).is_some()
}

/// Calls `field` with every field of a complete message; `None` if one is not plausible or the message is cut off.
fn each(message: &[u8], mut field: impl FnMut(u64, Wire<'_>) -> Option<bool>) -> Option<()> {
    let mut fields = Fields(message);
    loop {
        match fields.next()? {
            Next::End => return Some(()),
            Next::Field(number, wire) => {
                if !field(number, wire)? {
                    return None;
                }
            }
            Next::Cut(..) => return None,
        }
    }
}

/// Remaining bytes of a protobuf message.
struct Fields<'a>(&'a [u8]);

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

enum Next<'a> {
    Field(u64, Wire<'a>),
    /// The message ends within the field of this number. Holds the present part if the field is bytes.
    Cut(u64, &'a [u8]),
    End,
}

impl<'a> Fields<'a> {
    /// Reads the next field; `None` if the bytes are not protobuf.
    fn next(&mut self) -> Option<Next<'a>> {
        if self.0.is_empty() {
            return Some(Next::End);
        }
        let Some(tag) = self.varint()? else { return Some(Next::Cut(0, &[])) };
        let number = tag >> 3;
        if number == 0 {
            return None;
        }
        let wire = match tag & 7 {
            0 => match self.varint()? {
                Some(value) => Wire::Varint(value),
                None => return Some(Next::Cut(number, &[])),
            },
            1 => match self.0.split_first_chunk::<8>() {
                Some((bytes, rest)) => {
                    self.0 = rest;
                    Wire::Fixed64(u64::from_le_bytes(*bytes))
                }
                None => return Some(Next::Cut(number, &[])),
            },
            2 => {
                let Some(length) = self.varint()? else { return Some(Next::Cut(number, &[])) };
                match usize::try_from(length).ok().and_then(|n| self.0.split_at_checked(n)) {
                    Some((bytes, rest)) => {
                        self.0 = rest;
                        Wire::Bytes(bytes)
                    }
                    None => return Some(Next::Cut(number, std::mem::take(&mut self.0))),
                }
            }
            5 => match self.0.split_first_chunk::<4>() {
                Some((_, rest)) => {
                    self.0 = rest;
                    Wire::Fixed32
                }
                None => return Some(Next::Cut(number, &[])),
            },
            _ => return None,
        };
        Some(Next::Field(number, wire))
    }

    /// Reads a varint; `Some(None)` if the bytes end within it, `None` if it is longer than 10 bytes.
    #[expect(clippy::option_option, reason = "a value, its end missing and nonsense are three cases")]
    fn varint(&mut self) -> Option<Option<u64>> {
        let mut value = 0_u64;
        for i in 0..10 {
            let Some((byte, rest)) = self.0.split_first() else { return Some(None) };
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Some(Some(value));
            }
        }
        None
    }
}

/// Signal named in a file's name by a word such as `traces`, `span`, `logs` or `metrics`; `None` if no word or
/// several different ones do.
pub fn kind_of_name(name: &str) -> Option<RequestKind> {
    let name = name.to_ascii_lowercase();
    let mut kinds = name.split(|c: char| !c.is_ascii_alphabetic()).filter_map(|word| match word {
        "trace" | "traces" | "span" | "spans" => Some(RequestKind::Traces),
        "log" | "logs" => Some(RequestKind::Logs),
        "metric" | "metrics" => Some(RequestKind::Metrics),
        _ => None,
    });
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then_some(first)
}

#[cfg(test)]
mod tests;
