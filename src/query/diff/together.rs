//! Do two entries nearly always occur together?
//!
//! Each is a set of rows or traces. A set that the selection has less often than the baseline is replaced by its
//! complement: then `status = 'error'` and `exception.type` is absent are told to be one difference, too. Sets go
//! together if what they share is nearly what either has, both sides weighing the same. Traces are known; of rows, a
//! sample is.

use super::counts::Counts;
use super::found::{Entry, What};
use super::tally::{SIDES, Tally};

/// Share of the members of either set that both must have.
const TOGETHER_MIN: f64 = 0.95;
/// Least members of either set in a sample that is trusted.
const SAMPLE_MIN: usize = 5;

/// Members of an entry.
#[derive(Debug)]
pub(super) struct Oriented<T> {
    members: Members<T>,
    /// True if the members are those that are not in the set.
    complement: bool,
    totals: [u64; SIDES],
    counts: [u64; SIDES],
}

#[derive(Debug)]
enum Members<T> {
    /// Known ones.
    All(T),
    /// True for each row of the sample that is one.
    Sample([Vec<bool>; SIDES]),
}

/// The members of an entry of the key at the place `key`.
pub(super) fn orient<T: Tally>(entry: &Entry<T>, key: usize, counts: &Counts<T>) -> Oriented<T> {
    let is_less = entry.effect < 0.0;
    let (totals, of_entry) = (counts.totals.counts(), entry.tally.counts());
    if entry.tally.shared(&entry.tally).is_some() {
        let complement = is_less != matches!(entry.what, What::Absent);
        let members = Members::All(entry.tally.clone());
        return Oriented { members, complement, totals, counts: of_entry };
    }
    let has = |side| {
        let rows = counts.sample.rows(side);
        rows.map(|texts| is_in(&entry.what, texts.get(key).and_then(Option::as_deref))).collect()
    };
    let members = Members::Sample([has(0), has(1)]);
    Oriented { members, complement: is_less, totals, counts: of_entry }
}

fn is_in(what: &What, text: Option<&str>) -> bool {
    match (what, text) {
        (What::Value(value), Some(text)) => value == text,
        (What::Prefix(prefix), Some(text)) => text.starts_with(prefix.as_str()),
        (What::Range(low, high), Some(text)) => {
            text.parse::<f64>().is_ok_and(|number| *low <= number && number < *high)
        }
        (What::Absent, text) => text.is_none(),
        (What::Unique, _) | (_, None) => false,
    }
}

/// True if the members of both are nearly the same.
pub(super) fn are_together<T: Tally>(one: &Oriented<T>, other: &Oriented<T>) -> bool {
    let (mut both, mut either, mut seen) = (0.0, 0.0, 0);
    for side in 0..SIDES {
        let (all, a, b, shared) = match (&one.members, &other.members) {
            (Members::All(a), Members::All(b)) => {
                let shared = a.shared(b).unwrap_or_default();
                (one.totals[side], one.counts[side], other.counts[side], shared[side])
            }
            (Members::Sample(a), Members::Sample(b)) => {
                let (a, b) = (&a[side], &b[side]);
                let count = |set: &[bool]| set.iter().filter(|is_in| **is_in).count() as u64;
                let shared = a.iter().zip(b).filter(|(a, b)| **a && **b).count() as u64;
                (a.len() as u64, count(a), count(b), shared)
            }
            _ => return false,
        };
        if all == 0 {
            continue;
        }
        let [all, a, b, shared] = [all, a, b, shared].map(|count| count as f64);
        // Parts of a Venn diagram.
        let (only_a, only_b, neither) = (a - shared, b - shared, all - a - b + shared);
        let (inside, outside) = match (one.complement, other.complement) {
            (false, false) => (shared, neither),
            (true, false) => (only_b, only_a),
            (false, true) => (only_a, only_b),
            (true, true) => (neither, shared),
        };
        both += inside / all;
        either += (all - outside) / all;
        seen += (all - outside) as usize;
    }
    if seen < SAMPLE_MIN && matches!(one.members, Members::Sample(_)) {
        return one.counts == other.counts && one.complement == other.complement;
    }
    either > 0.0 && both >= TOGETHER_MIN * either
}
