//! Which attribute keys are there, how often, and since when? From the key dictionary, the catalog and the buffer.

use std::collections::HashMap;

use crate::catalog::{Usage, Usages};
use crate::event::physical::timestamps;
use crate::event::{AttributeKey, EventBatch, TimeRange, TypeSet};
use crate::query::snapshot::ReadSnapshot;

/// Facts about one key at one level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    /// The key.
    pub(super) key: AttributeKey,
    /// All types that it ever had.
    pub(super) types: TypeSet,
    /// Number of events with a value.
    pub(super) events: u64,
    /// False if there may be more events, or some of them are deleted.
    pub(super) is_exact: bool,
    /// Times of the first and last of these, as far as the catalog knows; `None` without any.
    pub(super) time: Option<TimeRange>,
}

impl Fact {
    /// Number of events with a value; `None` if it is so rare that none was counted.
    pub(super) fn counted(&self) -> Option<u64> {
        Some(self.events).filter(|events| *events > 0 || self.is_exact)
    }
}

/// All keys with their types, by name and level.
fn keys(snapshot: &ReadSnapshot) -> Vec<(AttributeKey, TypeSet)> {
    let mut keys = snapshot.keys.all();
    keys.sort_unstable_by(|(a, _), (b, _)| (&a.key, a.level).cmp(&(&b.key, b.level)));
    keys
}

/// Lists all keys, by name and level, without counting anything.
pub(super) fn names(snapshot: &ReadSnapshot) -> Vec<Fact> {
    let fact = |(key, types)| Fact { key, types, events: 0, is_exact: false, time: None };
    keys(snapshot).into_iter().map(fact).collect()
}

/// Lists all keys, by name and level.
pub(super) async fn facts(snapshot: &ReadSnapshot) -> Vec<Fact> {
    let keys = keys(snapshot);
    let names: Vec<String> = keys.iter().map(|(key, _)| key.physical_name()).collect();
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let Usages { columns, is_open } = snapshot.catalog.usages(&wanted).await;
    let is_masked = snapshot.catalog.segments.iter().any(|segment| segment.mask.is_some());
    let buffered = buffered(&snapshot.buffer);
    let fact = |((key, types), name): ((AttributeKey, TypeSet), &String)| {
        let mut usage = columns.get(name.as_str()).copied().unwrap_or_default();
        if let Some(Usage { events, time: Some(time), .. }) = buffered.get(&key) {
            usage.add(*events, *time);
        }
        let is_exact = !is_open && !is_masked && !usage.may_be_more;
        Fact { key, types, events: usage.events, is_exact, time: usage.time }
    };
    keys.into_iter().zip(&names).map(fact).collect()
}

/// Occurrences in the buffer.
fn buffered(batches: &[std::sync::Arc<EventBatch>]) -> HashMap<AttributeKey, Usage> {
    let mut found: HashMap<AttributeKey, Usage> = HashMap::new();
    for batch in batches {
        let times = timestamps(batch);
        for column in batch.attributes() {
            let of_rows = column.rows().iter().filter_map(|row| times.get(*row as usize).copied());
            let time = of_rows.fold(None, |range: Option<TimeRange>, ns| {
                let at = TimeRange { min_ns: ns, max_ns: ns };
                Some(range.map_or(at, |range| range.union(at)))
            });
            if let Some(time) = time {
                let usage = found.entry(column.key().clone()).or_default();
                usage.add(column.rows().len() as u64, time);
            }
        }
    }
    found
}
