//! How is a protobuf request walked, from resources over scopes to records, and when is a group refused?
//!
//! All requests have the same shape and field numbers down to the record. If a resource or scope cannot be read,
//! the records under it are refused. If no record is left, or the bytes contain nothing of the request, the whole
//! request is refused.

use std::borrow::Cow;

use super::RequestKind;
use super::record::{Defect, Position, Sink};
use super::wire::{Message, merge};
use crate::ingest::sniff;

/// Field numbers of scope groups: now, and until OTLP 0.15, when they were called instrumentation libraries.
const SCOPE_GROUPS: &[u32] = &[2, 1000];

/// Field number of records.
const RECORDS: &[u32] = &[2];

/// Defect of the first refused group.
#[derive(Default)]
pub(super) struct Refusals {
    first: Option<Defect>,
}

impl Refusals {
    /// Counts `records` as refused because of a defect of their group.
    pub(super) fn add(&mut self, sink: &mut Sink, at: &str, records: usize, defect: &Defect) {
        sink.rejected.add_all(records as u64, at, defect);
        self.first.get_or_insert_with(|| Defect::new(format!("{at} {defect}")));
    }

    /// Returns the value, or calls [`add`](Self::add) and returns `None`.
    pub(super) fn unless<T>(
        &mut self,
        sink: &mut Sink,
        at: &str,
        records: usize,
        read: Result<T, Defect>,
    ) -> Option<T> {
        read.map_err(|defect| self.add(sink, at, records, &defect)).ok()
    }

    /// Fails if a group was refused and no record was taken.
    pub(super) fn verdict(self, sink: &Sink) -> Result<(), Defect> {
        self.first.filter(|_| sink.rows() == 0).map_or(Ok(()), Err)
    }
}

/// Takes all records of the request in `bytes`.
pub(super) fn walk(sink: &mut Sink, kind: RequestKind, bytes: &[u8]) -> Result<(), Defect> {
    let mut refusals = Refusals::default();
    let (mut groups, mut unknown) = (Vec::new(), None);
    let mut message = Message::new(bytes);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => groups.push(field.bytes()?),
            number => unknown = Some(number),
        }
    }
    if let Some(number) = unknown.filter(|_| groups.is_empty()) {
        return Err(Defect::new(format!("it has no field 1, but an unknown field {number}")));
    }
    for (resource, bytes) in groups.into_iter().enumerate() {
        let at = format!("resource {resource}");
        let Some(group) = refusals.unless(sink, &at, 1, Group::read(bytes, SCOPE_GROUPS)) else { continue };
        if let Some(defect) = group.holds_nothing() {
            refusals.add(sink, &at, 1, &defect);
        }
        let entered = sink.enter_resource(&group.owner, group.schema_url);
        if refusals.unless(sink, &at, group.records().max(1), entered).is_none() {
            continue;
        }
        for (scope, bytes) in group.members.into_iter().enumerate() {
            let at = format!("resource {resource}, scope {scope}");
            let Some(group) = refusals.unless(sink, &at, 1, Group::read(bytes, RECORDS)) else { continue };
            if let Some(defect) = group.holds_nothing() {
                refusals.add(sink, &at, 1, &defect);
            }
            let entered = sink.enter_scope(&group.owner, group.schema_url);
            if refusals.unless(sink, &at, group.members.len().max(1), entered).is_none() {
                continue;
            }
            for (record, bytes) in group.members.into_iter().enumerate() {
                let at = Position { resource, scope, what: kind.record(), record, point: None };
                kind.take(sink, bytes, at);
                if !sink.has_room() {
                    return Ok(());
                }
            }
        }
    }
    if sink.rows() == 0
        && sink.rejected.count() > 0
        && let Some(other) = sniff::otlp_kind(bytes).filter(|other| *other != kind)
    {
        return Err(Defect::new(format!("it holds {}s, which belong to {}", other.record(), other.path())));
    }
    refusals.verdict(sink)
}

/// `ResourceSpans`, `ScopeSpans` and the other groups: an owner, members, and a schema URL as the last field.
#[derive(Default)]
struct Group<'a> {
    owner: Cow<'a, [u8]>,
    members: Vec<&'a [u8]>,
    schema_url: &'a str,
    /// Number of a field that is not one of these.
    unknown: Option<u32>,
}

impl<'a> Group<'a> {
    fn read(bytes: &'a [u8], members: &[u32]) -> Result<Self, Defect> {
        let mut group = Self::default();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => merge(&mut group.owner, field.bytes()?),
                3 => group.schema_url = field.text()?,
                number if members.contains(&number) => group.members.push(field.bytes()?),
                number => group.unknown = Some(number),
            }
        }
        Ok(group)
    }

    /// Number of records in a group of groups; unreadable members count as zero.
    fn records(&self) -> usize {
        self.members.iter().filter_map(|bytes| Self::read(bytes, RECORDS).ok()).map(|g| g.members.len()).sum()
    }

    /// Returns a defect if the group has no member but an unknown field.
    fn holds_nothing(&self) -> Option<Defect> {
        let number = self.unknown.filter(|_| self.members.is_empty())?;
        Some(Defect::new(format!("has no field 2, but an unknown field {number}")))
    }
}
