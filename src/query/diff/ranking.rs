//! Which keys differ most? Significant entries of all keys, largest effect first, each cause once.
//!
//! A key counts as different if one of its entries has a p value of at most [`P_MAX`], which is corrected (Bonferroni)
//! for the number of keys and for the number of entries that were tried for the key. A key whose first entry nearly
//! always occurs together with that of a better key is named there, and has no rows of its own.

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
    goes_with: Vec<String>,
}

/// The rows of the result. There are none if a side is empty.
pub(super) fn rank<T: Tally>(counts: &Counts<T>, settings: &Settings) -> Vec<Line> {
    let totals = Totals(counts.totals.counts());
    if totals.0.contains(&0) {
        return Vec::new();
    }
    let mut found = all(counts, settings, totals);
    let keys = found.len();
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
    let known =
        |key, service: &Option<Box<str>>| ranked.iter().any(|f| f.key == key && f.service == *service);
    let unique = columns(counts).filter(|(key, service, column)| column.is_unique() && !known(*key, service));
    let room = settings.shown.saturating_sub(ranked.len());
    for (rank, (key, service, column)) in (ranked.len() + 1..).zip(unique.take(room)) {
        let counts = column.present.counts();
        let what = What::Unique;
        lines.push(Line { rank, what, key, service, effect: None, counts, goes_with: Vec::new() });
    }
    lines
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
            Found { key, service, entries, goes_with: Vec::new() }
        })
        .collect();
    for (key, columns) in counts.keys.iter().enumerate() {
        let mut present = T::default();
        columns.iter().for_each(|column| present.merge(&column.present));
        let have = present.counts();
        if have == [0, 0] || have == totals.0 {
            continue;
        }
        let absent = totals.absent(present);
        match all.iter_mut().find(|found| found.key == key) {
            Some(found) if settings.across == Across::Rows => found.entries.push(absent),
            _ => all.push(Found { key, service: None, entries: vec![absent], goes_with: Vec::new() }),
        }
    }
    all
}

/// Keeps the first key of those that go together, at most as many as the result shows.
fn grouped<T: Tally>(found: Vec<Found<T>>, counts: &Counts<T>, settings: &Settings) -> Vec<Found<T>> {
    let mut kept: Vec<Found<T>> = Vec::new();
    let mut oriented = Vec::new();
    for found in found.into_iter().take(settings.shown.saturating_mul(COMPARED)) {
        let own = orient(&found.entries[0], found.key, counts);
        let better = oriented.iter().position(|other| are_together(other, &own));
        match better {
            Some(place) => {
                let name = &settings.keys[found.key].name;
                let same = kept[place].service == found.service;
                let name = match &found.service {
                    Some(service) if !same => format!("{name} ({service})"),
                    _ => name.clone(),
                };
                if !kept[place].goes_with.contains(&name) && kept[place].key != found.key {
                    kept[place].goes_with.push(name);
                }
            }
            None if kept.len() < settings.shown => {
                oriented.push(own);
                kept.push(found);
            }
            None => {}
        }
    }
    kept
}
