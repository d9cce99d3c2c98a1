//! OTLP/JSON, read as the specification asks and as producers write it.
//!
//! It is protobuf's JSON mapping with two exceptions: ids are hex, and enums are numbers. Read here:
//! - 64-bit integers as strings or numbers, integral floats such as `1e3` too; doubles as numbers or
//!   `"NaN"`, `"Infinity"`, `"-Infinity"` or digits in a string;
//! - enums by number or by name; `null` for any field that is not set;
//! - names in lowerCamelCase, and in snake_case as protobuf's own readers do;
//! - base64 of both alphabets, padded or not;
//! - fields that nobody knows, which are ignored.
//!
//! A record becomes the generated message and then its bytes, so that there is one decoder of records.
//! Speed is that of a tree of JSON values; producers that care send protobuf. Nesting is limited by the
//! JSON reader, to 128 levels.

mod message;
mod scalar;

use prost::Message as _;
use serde_json::{Map, Value};

use super::RequestKind;
use super::record::{Defect, Position, Sink};

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

/// Names of the lists of groups, scope groups and records.
fn names(kind: RequestKind) -> [[&'static str; 2]; 3] {
    match kind {
        RequestKind::Traces => {
            [["resourceSpans", "resource_spans"], ["scopeSpans", "scope_spans"], ["spans"; 2]]
        }
        RequestKind::Logs => {
            [["resourceLogs", "resource_logs"], ["scopeLogs", "scope_logs"], ["logRecords", "log_records"]]
        }
        RequestKind::Metrics => {
            [["resourceMetrics", "resource_metrics"], ["scopeMetrics", "scope_metrics"], ["metrics"; 2]]
        }
    }
}

/// Takes all records of the request in `bytes`.
pub(super) fn walk(sink: &mut Sink, kind: RequestKind, bytes: &[u8]) -> Result<(), Defect> {
    let root: Value = serde_json::from_slice(bytes).map_err(|e| Defect::new(format!("not JSON: {e}")))?;
    let [groups, scope_groups, records] = names(kind);
    let root = Group::read(root, "", groups)?;
    for (resource, group) in root.members.into_iter().enumerate() {
        let group = Group::read(group, "resource", scope_groups)?;
        let owner = message::resource(group.owner)?.encode_to_vec();
        sink.enter_resource(&owner, &group.schema_url)?;
        for (scope, scope_group) in group.members.into_iter().enumerate() {
            let scope_group = Group::read(scope_group, "scope", records)?;
            let owner = message::scope(scope_group.owner)?.encode_to_vec();
            sink.enter_scope(&owner, &scope_group.schema_url)?;
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
    Ok(())
}

/// An owner, members, a schema URL: the request, its groups, their scope groups.
struct Group {
    owner: Value,
    members: Vec<Value>,
    schema_url: String,
}

impl Group {
    fn read(value: Value, owner: &str, members: [&str; 2]) -> Result<Self, Defect> {
        let mut group =
            Self { owner: Value::Object(Map::new()), members: Vec::new(), schema_url: String::new() };
        for (name, value) in entries(value)? {
            match name.as_str() {
                name if members.contains(&name) => group.members = list(value)?,
                name if name == owner => group.owner = value,
                "schemaUrl" | "schema_url" => group.schema_url = scalar::text(value)?,
                _ => {}
            }
        }
        Ok(group)
    }
}
