//! How is OTLP/JSON read, as specified and as producers really write it?
//!
//! OTLP/JSON is protobuf's JSON mapping with two exceptions: ids are hex, and enums are numbers. Accepted are
//! - 64-bit integers as strings or numbers, including integral floats like `1e3`; doubles as numbers,
//!   `"NaN"`, `"Infinity"`, `"-Infinity"` or digits in a string;
//! - enums by number or by name; `null` for any field that is not set;
//! - names in lowerCamelCase, and in snake_case like protobuf's own readers;
//! - base64 of both alphabets, padded or not;
//! - a field given twice, read as in protobuf ([`tree`]): lists are concatenated, the last scalar counts;
//! - text with half an emoji or with bytes that are not UTF-8, both replaced by U+FFFD; a byte order mark;
//! - metrics as Python's console exporter prints them ([`console`]);
//! - unknown fields, which are ignored; a group that has nothing else is reported as refused.
//!
//! A record becomes the generated message and then its bytes, so that there is one decoder of records.
//! It is as slow as a tree of JSON values; for speed, producers send protobuf. The JSON reader limits nesting to
//! 128 levels.

mod console;
mod message;
mod scalar;
mod tree;

use std::borrow::Cow;

use prost::Message as _;
use serde_json::{Map, Value};

use super::RequestKind;
use super::groups::Refusals;
use super::record::{Defect, Position, Sink};
use crate::ingest::surrogates;

/// Entries of an object, without nulls.
fn entries(value: Value) -> Result<impl Iterator<Item = (String, Value)>, Defect> {
    let Value::Object(map) = value else { return Err(scalar::unexpected("an object", &value)) };
    Ok(map_entries(map))
}

fn map_entries(map: Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    map.into_iter().filter(|(_, value)| !value.is_null())
}

fn list(value: Value) -> Result<Vec<Value>, Defect> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(scalar::unexpected("an array", &other)),
    }
}

/// Reads a list with `read`.
fn each<T>(value: Value, read: impl Fn(Value) -> Result<T, Defect>) -> Result<Vec<T>, Defect> {
    list(value)?.into_iter().map(read).collect()
}

/// Names of the lists of groups, scope groups and records. Until OTLP 0.15, a scope was called an instrumentation
/// library.
fn names(kind: RequestKind) -> [&'static [&'static str]; 3] {
    match kind {
        RequestKind::Traces => [
            &["resourceSpans", "resource_spans"],
            &["scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"],
            &["spans"],
        ],
        RequestKind::Logs => [
            &["resourceLogs", "resource_logs"],
            &["scopeLogs", "scope_logs", "instrumentationLibraryLogs", "instrumentation_library_logs"],
            &["logRecords", "log_records", "logs"],
        ],
        RequestKind::Metrics => [
            &["resourceMetrics", "resource_metrics"],
            &[
                "scopeMetrics",
                "scope_metrics",
                "instrumentationLibraryMetrics",
                "instrumentation_library_metrics",
            ],
            &["metrics"],
        ],
    }
}

/// Names of the owner of a group.
const RESOURCE: &[&str] = &["resource"];
/// Names of the owner of a scope group.
const SCOPE: &[&str] = &["scope", "instrumentationLibrary", "instrumentation_library"];

/// Takes all records of the request in `bytes`.
pub(super) fn walk(sink: &mut Sink, kind: RequestKind, bytes: &[u8]) -> Result<(), Defect> {
    let text = console::with_ids_in_hex(text(bytes));
    let root = tree::parse(&text).map_err(|e| Defect::new(format!("not JSON: {e}")))?;
    let [groups, scope_groups, records] = names(kind);
    let root = Group::read(root, &[], groups)?;
    others(sink, kind, &root)?;
    let mut refusals = Refusals::default();
    for (resource, group) in root.members.into_iter().enumerate() {
        let at = format!("resource {resource}");
        let read = Group::read(group, RESOURCE, scope_groups);
        let Some(group) = refusals.unless(sink, &at, 1, read) else { continue };
        if let Some(defect) = group.strays(kind, 1) {
            refusals.add(sink, &at, 1, &defect);
        }
        let count = group.members.iter().map(|member| Group::count(member, records)).sum::<usize>().max(1);
        let owner = message::resource(group.owner).map(|resource| resource.encode_to_vec());
        let entered = owner.and_then(|owner| sink.enter_resource(&owner, &group.schema_url));
        if refusals.unless(sink, &at, count, entered).is_none() {
            continue;
        }
        for (scope, scope_group) in group.members.into_iter().enumerate() {
            let at = format!("resource {resource}, scope {scope}");
            let count = Group::count(&scope_group, records).max(1);
            let scope_group = Group::read(scope_group, SCOPE, records);
            let Some(scope_group) = refusals.unless(sink, &at, count, scope_group) else { continue };
            if let Some(defect) = scope_group.strays(kind, 2) {
                refusals.add(sink, &at, 1, &defect);
            }
            let owner = message::scope(scope_group.owner).map(|scope| scope.encode_to_vec());
            let entered = owner.and_then(|owner| sink.enter_scope(&owner, &scope_group.schema_url));
            if refusals.unless(sink, &at, count, entered).is_none() {
                continue;
            }
            for (record, value) in scope_group.members.into_iter().enumerate() {
                let at = Position { resource, scope, what: kind.record(), record, point: None };
                match message::record(kind, value) {
                    Ok(bytes) => kind.take(sink, &bytes, at),
                    Err(defect) => sink.rejected.add(at, defect),
                }
                if !sink.has_room() {
                    return Ok(());
                }
            }
        }
    }
    refusals.verdict(sink)
}

/// Converts the document to text. Half a character, from a program that cuts texts at any byte, must not affect other
/// records.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    match surrogates::repaired(text.as_bytes()) {
        Some(repaired) => Cow::Owned(String::from_utf8_lossy(&repaired).into_owned()),
        None => text,
    }
}

/// Checks the other fields of the document. Refuses the document if it holds only another signal's request or only
/// unknown fields; counts another signal's request next to the expected one as refused.
fn others(sink: &mut Sink, kind: RequestKind, root: &Group) -> Result<(), Defect> {
    let other =
        |name: &String| RequestKind::ALL.into_iter().find(|kind| names(*kind)[0].contains(&name.as_str()));
    let found = root.unknown.iter().find_map(|name| other(name).map(|kind| (name, kind)));
    match found {
        Some((name, other)) if !root.is_found => Err(Defect::new(format!(
            "{name} belongs to {}; {} takes {}",
            other.path(),
            kind.path(),
            names(kind)[0][0]
        ))),
        Some((name, other)) => {
            sink.rejected.add(name, format_args!("belongs to {} and was not stored", other.path()));
            Ok(())
        }
        None => root.strays(kind, 0).map_or(Ok(()), Err),
    }
}

/// The request, a group or a scope group: an owner, members, a schema URL.
struct Group {
    owner: Value,
    members: Vec<Value>,
    schema_url: String,
    /// True if there was a list of members, even an empty one.
    is_found: bool,
    /// Names of other fields.
    unknown: Vec<String>,
}

impl Group {
    fn read(value: Value, owner: &[&str], members: &[&str]) -> Result<Self, Defect> {
        let mut group = Self {
            owner: Value::Object(Map::new()),
            members: Vec::new(),
            schema_url: String::new(),
            is_found: false,
            unknown: Vec::new(),
        };
        for (name, value) in entries(value)? {
            match name.as_str() {
                field if members.contains(&field) => {
                    group.is_found = true;
                    let more = list(value).map_err(|defect| Defect::new(format!("{name}: {defect}")))?;
                    group.members.extend(more);
                }
                field if owner.contains(&field) => group.owner = value,
                "schemaUrl" | "schema_url" => group.schema_url = scalar::text(value)?,
                _ => group.unknown.push(name),
            }
        }
        Ok(group)
    }

    /// Number of members of the group in `value`.
    fn count(value: &Value, members: &[&str]) -> usize {
        let lists = members.iter().filter_map(|name| value.get(name)?.as_array());
        lists.map(Vec::len).sum()
    }

    /// Reports fields that would be lost silently: the members of another signal, or everything in a group without a
    /// known field. `level` is 0 for the request, 1 for a group, 2 for a scope group.
    fn strays(&self, kind: RequestKind, level: usize) -> Option<Defect> {
        if !self.is_found {
            let unknown = self.unknown.first()?;
            let members = names(kind)[level][0];
            return Some(Defect::new(format!("has no {members}, but an unknown field {unknown:?}")));
        }
        let is_other =
            |name: &&String| RequestKind::ALL.iter().any(|k| names(*k)[level].contains(&name.as_str()));
        let other = self.unknown.iter().find(is_other)?;
        Some(Defect::new(format!("{other:?} belongs to another signal and was not stored")))
    }
}
