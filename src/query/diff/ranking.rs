//! Which keys differ most? Significant entries of all keys, largest effect first, each cause once.
//!
//! A key counts as different if one of its entries has a p value of at most [`P_MAX`], which is corrected (Bonferroni)
//! for the number of keys and for the number of entries that were tried for the key. Keys whose first entries nearly
//! always occur together are one difference: the one that people know best, or has few values, stands for the others
//! (`cloud.region`, not `k8s.pod.ip`), which have no rows of their own.

use std::cmp::Reverse;

use super::column::Column;
use super::counts::Counts;
use super::found::{Entry, Totals, What, entries};
use super::settings::{Across, Settings};
use super::tally::{SIDES, Tally};
use super::together::{are_together, orient};

/// Largest p value of a difference.
const P_MAX: f64 = 0.01;
/// Keys that are compared with the better ones, for each key of the result.
const COMPARED: usize = 8;
/// Most values of a key with few, and with many values.
const VARIETIES: [usize; 2] = [16, 256];
/// Keys by which people tell events apart, from the semantic conventions of OpenTelemetry.
const FAMILIAR: [&str; 22] = [
    "service.name",
    "service.version",
    "http.route",
    "http.request.method",
    "http.response.status_code",
    "rpc.method",
    "error.type",
    "exception.type",
    "db.query.text",
    "db.query.summary",
    "db.system.name",
    "messaging.destination.name",
    "cloud.region",
    "cloud.availability_zone",
    "deployment.environment.name",
    "os.name",
    "os.version",
    "browser.name",
    "user_agent.name",
    "app.version",
    "host.name",
    "name",
];

/// One row of the result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Position of its key, from 1.
    pub(super) rank: usize,
    pub(super) what: What,
    /// Place of its key in the settings.
    pub(super) key: usize,
    pub(super) service: Option<Box<str>>,
    /// Difference of the shares and its corrected p value; `None` for unique values.
    pub(super) effect: Option<(f64, f64)>,
    /// Numbers of rows or traces: of the baseline, then of the selection.
    pub(super) counts: [u64; SIDES],
    /// Names of keys that it stands for.
    pub(super) goes_with: Vec<String>,
}

/// The differences of one key in one service.
struct Found<T> {
    key: usize,
    service: Option<Box<str>>,
    entries: Vec<Entry<T>>,
    /// Number of values of the key, roughly: 0 few, 1 many, 2 very many.
    variety: usize,
    goes_with: Vec<String>,
}

impl<T: Tally> Found<T> {
    /// Keys that are easier to understand are less.
    fn ease<'s>(&self, settings: &'s Settings) -> impl Ord + use<'s, T> {
        let first = &self.entries[0];
        let effect = (first.effect.abs() * 100.0).round() as usize;
        let [baseline, selection] = first.tally.counts();
        let name = &settings.keys[self.key].name;
        let familiar = FAMILIAR.iter().position(|key| key == name).unwrap_or(FAMILIAR.len());
        let by_name = (familiar, self.variety, Reverse(effect), name.len(), name);
        (by_name, Reverse(baseline + selection), self.service.clone())
    }
}

/// The rows of the result. There are none if a side is empty.
pub(super) fn rank<T: Tally>(counts: &Counts<T>, settings: &Settings) -> Vec<Line> {
    let totals = Totals(counts.totals.counts());
    if totals.0.contains(&0) {
        return Vec::new();
    }
    let mut found = all(counts, settings, totals);
    for found in &mut found {
        found.entries.retain(|entry| entry.can_differ(totals));
    }
    let keys = found.iter().filter(|found| !found.entries.is_empty()).count();
    for found in &mut found {
        found.entries.iter_mut().for_each(|entry| entry.test(totals, keys));
        found.entries.retain(|entry| entry.p <= P_MAX);
        found.entries.sort_by(Entry::order);
    }
    found.retain(|found| !found.entries.is_empty());
    let name = |found: &Found<T>| (&settings.keys[found.key].name, found.service.clone());
    found.sort_by(|a, b| a.entries[0].order(&b.entries[0]).then_with(|| name(a).cmp(&name(b))));
    let ranked = grouped(found, counts, settings);
    let mut lines = Vec::new();
    for (rank, found) in (1..).zip(&ranked) {
        for (place, entry) in found.entries.iter().enumerate() {
            let goes_with = if place == 0 { found.goes_with.clone() } else { Vec::new() };
            lines.push(Line {
                rank,
                what: entry.what.clone(),
                key: found.key,
                service: found.service.clone(),
                effect: Some((entry.effect, entry.p)),
                counts: entry.counts(totals),
                goes_with,
            });
        }
    }
    let is_known = |key: usize| {
        let name = &settings.keys[key].name;
        ranked.iter().any(|found| found.key == key || found.goes_with.contains(name))
    };
    let room = settings.shown.saturating_sub(ranked.len());
    let unique = unique(counts).filter(|(key, _)| !is_known(*key));
    for (rank, (key, counts)) in (ranked.len() + 1..).zip(unique.take(room)) {
        let (what, service) = (What::Unique, None);
        lines.push(Line { rank, what, key, service, effect: None, counts, goes_with: Vec::new() });
    }
    lines
}

/// Keys with a value of its own for almost each row, and how many have one.
fn unique<T: Tally>(counts: &Counts<T>) -> impl Iterator<Item = (usize, [u64; SIDES])> {
    counts.keys.iter().enumerate().filter_map(|(key, columns)| {
        let mut used = columns.iter().filter(|column| column.rows > 0).peekable();
        used.peek()?;
        let is_unique = used.all(Column::is_unique);
        is_unique.then(|| (key, present(columns).counts()))
    })
}

/// Rows or traces with a value in any service.
fn present<T: Tally>(columns: &[Column<T>]) -> T {
    let mut present = T::default();
    for column in columns {
        present.merge(&column.present);
    }
    present
}

/// Columns that have values, with their keys and services.
fn columns<T>(counts: &Counts<T>) -> impl Iterator<Item = (usize, Option<Box<str>>, &Column<T>)> {
    counts.keys.iter().enumerate().flat_map(|(key, columns)| {
        let named = columns.iter().zip(&counts.services).filter(|(column, _)| column.rows > 0);
        named.map(move |(column, service)| (key, service.clone(), column))
    })
}

/// Entries of all keys, not tested yet.
fn all<T: Tally>(counts: &Counts<T>, settings: &Settings, totals: Totals) -> Vec<Found<T>> {
    let mut all: Vec<Found<T>> = columns(counts)
        .map(|(key, service, column)| {
            let entries = entries(column, totals, settings.values);
            let variety = VARIETIES.iter().filter(|most| column.values.len() > **most).count();
            Found { key, service, entries, variety, goes_with: Vec::new() }
        })
        .collect();
    for (key, columns) in counts.keys.iter().enumerate() {
        let present = present(columns);
        let have = present.counts();
        if have == [0, 0] || have == totals.0 {
            continue;
        }
        let absent = totals.absent(present);
        match all.iter_mut().find(|found| found.key == key) {
            Some(found) if settings.across == Across::Rows => found.entries.push(absent),
            _ => {
                let entries = vec![absent];
                all.push(Found { key, service: None, entries, variety: 0, goes_with: Vec::new() });
            }
        }
    }
    all
}

/// Differences in order, at most as many as the result shows; of keys that go together the easiest.
fn grouped<T: Tally>(found: Vec<Found<T>>, counts: &Counts<T>, settings: &Settings) -> Vec<Found<T>> {
    let mut groups: Vec<Vec<Found<T>>> = Vec::new();
    let mut oriented = Vec::new();
    for found in found.into_iter().take(settings.shown.saturating_mul(COMPARED)) {
        let own = orient(&found.entries[0], found.key, counts);
        match oriented.iter().position(|other| are_together(other, &own)) {
            Some(place) => groups[place].push(found),
            None if groups.len() < settings.shown => {
                oriented.push(own);
                groups.push(vec![found]);
            }
            None => {}
        }
    }
    groups.into_iter().filter_map(|group| merged(group, settings)).collect()
}

/// The easiest of keys that go together, with the names of the others.
fn merged<T: Tally>(mut group: Vec<Found<T>>, settings: &Settings) -> Option<Found<T>> {
    let easiest = (0..group.len()).min_by_key(|place| group[*place].ease(settings))?;
    let mut easiest = group.remove(easiest);
    for other in group {
        let name = &settings.keys[other.key].name;
        if other.key != easiest.key && !easiest.goes_with.contains(name) {
            easiest.goes_with.push(name.clone());
        }
    }
    Some(easiest)
}
