//! OTLP/JSON, read as the specification asks and as producers write it.
//!
//! It is protobuf's JSON mapping with two exceptions: ids are hex, and enums are numbers. Read here:
//! - 64-bit integers as strings or numbers, integral floats such as `1e3` too; doubles as numbers or
//!   `"NaN"`, `"Infinity"`, `"-Infinity"` or digits in a string;
//! - enums by number or by name; `null` for any field that is not set;
//! - names in lowerCamelCase, and in snake_case as protobuf's own readers do;
//! - base64 of both alphabets, padded or not;
//! - a field given twice, as protobuf reads it ([`tree`]): lists go on, of scalars the last counts;
//! - text with half an emoji or bytes that are no UTF-8, with U+FFFD in their place, and a byte order mark;
//! - metrics as Python's console exporter prints them ([`console`]);
//! - fields that nobody knows, which are ignored; a group in which there is nothing else is told of.
//!
//! A record becomes the generated message and then its bytes, so that there is one decoder of records.
//! Speed is that of a tree of JSON values; producers that care send protobuf. Nesting is limited by the
//! JSON reader, to 128 levels.

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

/// An object's entries that are set.
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

/// Names of the lists of groups, scope groups and records. Until OTLP 0.15 a scope was an instrumentation library.
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

/// Names of the owners of groups and of scope groups.
const RESOURCE: &[&str] = &["resource"];
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

/// The document as text. Half a character, as programs write it that cut texts anywhere, must not cost the records
/// beside it.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    match surrogates::repaired(text.as_bytes()) {
        Some(repaired) => Cow::Owned(String::from_utf8_lossy(&repaired).into_owned()),
        None => text,
    }
}

/// What the document holds beside the request that it was sent as: that of another signal, or nothing that is known.
fn others(sink: &mut Sink, kind: RequestKind, root: &Group) -> Result<(), Defect> {
    let other =
        |name: &String| RequestKind::ALL.into_iter().find(|kind| names(*kind)[0].contains(&name.as_str()));
    let found = root.unknown.iter().find_map(|name| other(name).map(|kind| (name, kind)));
    match found {
        Some((name, other)) if !root.is_found => Err(Defect::new(format!(
            "{name} belongs to {}, {} to {}",
            other.path(),
            names(kind)[0][0],
            kind.path()
        ))),
        Some((name, other)) => {
            sink.rejected.add(name, format_args!("belongs to {}, was not taken here", other.path()));
            Ok(())
        }
        None => root.strays(kind, 0).map_or(Ok(()), Err),
    }
}

/// An owner, members, a schema URL: the request, its groups, their scope groups.
struct Group {
    owner: Value,
    members: Vec<Value>,
    schema_url: String,
    /// Whether there was a list of members, even an empty one.
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

    /// What would be lost without a word: the members of another signal, or all of a group in which nothing is
    /// known. The group is at this level, 0 the request.
    fn strays(&self, kind: RequestKind, level: usize) -> Option<Defect> {
        if !self.is_found {
            let unknown = self.unknown.first()?;
            let members = names(kind)[level][0];
            return Some(Defect::new(format!("has no {members}, but {unknown:?}, which is not known here")));
        }
        let is_other =
            |name: &&String| RequestKind::ALL.iter().any(|k| names(*k)[level].contains(&name.as_str()));
        let other = self.unknown.iter().find(is_other)?;
        Some(Defect::new(format!("{other:?} is of another signal, and was not taken")))
    }
}
