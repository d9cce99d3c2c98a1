//! How does one key differ between the sides? Its values, prefixes, or range of numbers that differ most.

use std::cmp::Ordering;

use hashbrown::HashMap;

use super::column::{Column, Slots, Values};
use super::number as codes;
use super::statistics::p_value;
use super::tally::{SIDES, Tally};
use crate::query::functions::number;

/// Most numbers that are shown one by one; of more, one range is.
const SINGLE_NUMBERS_MAX: usize = 20;
/// Least rows, or traces, of a value that is compared: of fewer, no difference can be told from chance.
const MEMBERS_MIN: u64 = 3;
/// Most texts whose prefixes are tried.
const PREFIXED_TEXTS_MAX: usize = 5000;
/// Most prefixes of one text.
const PREFIXES_MAX: usize = 4;
/// Characters after which a prefix may end.
const SEPARATORS: [char; 6] = ['.', '-', '/', '_', ':', ' '];
/// By this much a prefix must have a larger effect than any text.
const BETTER_BY: f64 = 0.01;

/// Values that an entry counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// One value, by its text.
    Value(String),
    /// Texts with this beginning.
    Prefix(String),
    /// Numbers from the first up to, and without, the second.
    Range(f64, f64),
    /// No value.
    Absent,
    /// Any value of a key whose values hardly occur twice.
    Unique,
}

/// One difference.
#[derive(Debug, Clone)]
pub(super) struct Entry<T> {
    pub(super) what: What,
    pub(super) tally: T,
    /// Share of the selection less that of the baseline.
    pub(super) effect: f64,
    /// Probability by chance, corrected.
    pub(super) p: f64,
    /// Number of entries that it was chosen from.
    tests: f64,
}

/// Sizes of the sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals(pub(super) [u64; SIDES]);

impl Totals {
    /// Share of each side.
    pub(super) fn shares(self, counts: [u64; SIDES]) -> [f64; SIDES] {
        [0, 1].map(|side| counts[side] as f64 / self.0[side] as f64)
    }

    fn effect(self, counts: [u64; SIDES]) -> f64 {
        let [baseline, selection] = self.shares(counts);
        selection - baseline
    }

    fn entry<T: Tally>(self, what: What, tally: T, tests: usize) -> Entry<T> {
        let effect = self.effect(tally.counts());
        Entry { what, tally, effect, p: 1.0, tests: tests as f64 }
    }

    /// Members that do not have a key. Its `tally` are those that have it.
    pub(super) fn absent<T: Tally>(self, present: T) -> Entry<T> {
        let entry = self.entry(What::Absent, present, 1);
        Entry { effect: -entry.effect, ..entry }
    }
}

impl<T: Tally> Entry<T> {
    /// Numbers of members of each side that it counts.
    pub(super) fn counts(&self, totals: Totals) -> [u64; SIDES] {
        let counts = self.tally.counts();
        match self.what {
            What::Absent => [0, 1].map(|side| totals.0[side].saturating_sub(counts[side])),
            _ => counts,
        }
    }

    /// Computes the probability, corrected for the number of entries of the key, and of `keys`.
    pub(super) fn test(&mut self, totals: Totals, keys: usize) {
        let p = p_value(self.counts(totals), totals.0);
        self.p = (p * self.tests * keys as f64).min(1.0);
    }

    /// True unless all members are in it, or none: then the sides cannot differ.
    pub(super) fn can_differ(&self, totals: Totals) -> bool {
        let [all, own] = [totals.0, self.tally.counts()].map(|counts| counts.iter().sum::<u64>());
        0 < own && own < all
    }

    /// Order of the entries of a key: largest effect first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let size = other.effect.abs().total_cmp(&self.effect.abs());
        let sign = || other.effect.total_cmp(&self.effect);
        size.then_with(sign).then_with(|| self.what.order().cmp(&other.what.order()))
    }
}

impl What {
    fn order(&self) -> (u8, &str) {
        match self {
            Self::Prefix(text) => (0, text),
            Self::Value(text) => (1, text),
            Self::Range(..) => (2, ""),
            Self::Absent => (3, ""),
            Self::Unique => (4, ""),
        }
    }
}

/// The entries of one key with the largest effects, at most `most`, largest first.
pub(super) fn entries<T: Tally>(column: &Column<T>, totals: Totals, most: usize) -> Vec<Entry<T>> {
    let mut entries = match &column.values {
        Values::Texts(texts) if !column.is_unique() => of_texts(texts, totals, most),
        Values::Integers(numbers) if numbers.len() <= SINGLE_NUMBERS_MAX => {
            let named = numbers.iter().map(|(code, tally)| (codes::integer(*code).to_string(), tally));
            singles(named, totals, most)
        }
        Values::Doubles(numbers) if numbers.len() <= SINGLE_NUMBERS_MAX => {
            let named = numbers.iter().map(|(code, tally)| (number::spell(codes::number(*code)), tally));
            singles(named, totals, most)
        }
        Values::Integers(numbers) => {
            let ends = |code| (codes::integer(code) as f64, codes::integer(code).saturating_add(1) as f64);
            range(numbers, totals, ends).into_iter().collect()
        }
        Values::Doubles(numbers) => {
            let ends = |code| (codes::number(code), codes::number(code).next_up());
            range(numbers, totals, ends).into_iter().collect()
        }
        Values::Ranges(numbers) => {
            let ends = |code| (codes::number(code), codes::number(codes::coarse_end(code)));
            range(numbers, totals, ends).into_iter().collect()
        }
        _ => Vec::new(),
    };
    entries.sort_by(Entry::order);
    entries.truncate(most);
    entries
}

fn of_texts<T: Tally>(texts: &Slots<Box<str>, T>, totals: Totals, most: usize) -> Vec<Entry<T>> {
    let mut entries = singles(texts.iter().map(|(text, tally)| (text.to_string(), tally)), totals, most);
    let best = entries.iter().map(|entry| entry.effect.abs()).fold(0.0, f64::max);
    if texts.len() > 2 && texts.len() <= PREFIXED_TEXTS_MAX {
        entries.extend(prefix(texts, totals).filter(|prefix| prefix.effect.abs() > best + BETTER_BY));
    }
    entries
}

/// The values with the largest effects.
fn singles<'a, T: Tally>(
    values: impl Iterator<Item = (String, &'a T)>,
    totals: Totals,
    most: usize,
) -> Vec<Entry<T>> {
    let many = values.filter(|(_, tally)| tally.counts().iter().sum::<u64>() >= MEMBERS_MIN);
    let mut all: Vec<(f64, String, &T)> =
        many.map(|(text, tally)| (totals.effect(tally.counts()), text, tally)).collect();
    let order = |a: &(f64, String, &T), b: &(f64, String, &T)| {
        b.0.abs().total_cmp(&a.0.abs()).then_with(|| b.0.total_cmp(&a.0)).then_with(|| a.1.cmp(&b.1))
    };
    let tests = all.len();
    if most > 0 && most < all.len() {
        all.select_nth_unstable_by(most - 1, order);
        all.truncate(most);
    }
    all.into_iter().map(|(_, text, tally)| totals.entry(What::Value(text), tally.clone(), tests)).collect()
}

/// The prefix of several, and not of all, texts with the largest effect.
fn prefix<T: Tally>(texts: &Slots<Box<str>, T>, totals: Totals) -> std::option::IntoIter<Entry<T>> {
    let mut prefixes: HashMap<&str, (T, usize)> = HashMap::new();
    for (text, tally) in texts.iter() {
        for (at, separator) in text.match_indices(SEPARATORS).take(PREFIXES_MAX) {
            let (sum, count) = prefixes.entry(&text[..at + separator.len()]).or_default();
            sum.merge(tally);
            *count += 1;
        }
    }
    prefixes.retain(|_, (_, count)| (2..texts.len()).contains(count));
    let tests = prefixes.len() + texts.len();
    let best = prefixes.into_iter().max_by(|(a, (x, _)), (b, (y, _))| {
        let size = |tally: &T| totals.effect(tally.counts()).abs();
        size(x).total_cmp(&size(y)).then_with(|| a.len().cmp(&b.len())).then_with(|| b.cmp(a))
    });
    best.map(|(text, (tally, _))| totals.entry(What::Prefix(text.to_owned()), tally, tests)).into_iter()
}

/// The range of numbers with the largest effect. `ends` are the range of one code.
fn range<T: Tally>(
    numbers: &Slots<u64, T>,
    totals: Totals,
    ends: impl Fn(u64) -> (f64, f64),
) -> Option<Entry<T>> {
    let mut sorted: Vec<(u64, &T)> = numbers.iter().map(|(code, tally)| (*code, tally)).collect();
    sorted.sort_unstable_by_key(|(code, _)| *code);
    let effects: Vec<f64> = sorted.iter().map(|(_, tally)| totals.effect(tally.counts())).collect();
    let opposite: Vec<f64> = effects.iter().map(|effect| -effect).collect();
    let (more, less) = (largest_sum(&effects), largest_sum(&opposite));
    let sum = |of: &[f64], range: &std::ops::Range<usize>| of[range.clone()].iter().sum::<f64>();
    let best = if sum(&opposite, &less) > sum(&effects, &more) { less } else { more };
    let chosen = &sorted[best];
    let ((first, _), (last, _)) = (chosen.first()?, chosen.last()?);
    let mut tally = T::default();
    for (_, other) in chosen {
        tally.merge(other);
    }
    let tests = sorted.len().saturating_mul(sorted.len() + 1) / 2;
    Some(totals.entry(What::Range(ends(*first).0, ends(*last).1), tally, tests))
}

/// The range of `numbers` with the largest sum (Kadane's algorithm); empty if there is none above zero.
fn largest_sum(numbers: &[f64]) -> std::ops::Range<usize> {
    let (mut best, mut best_sum) = (0..0, 0.0);
    let (mut start, mut sum) = (0, 0.0);
    for (at, number) in numbers.iter().enumerate() {
        if sum <= 0.0 {
            (start, sum) = (at, 0.0);
        }
        sum += number;
        if sum > best_sum {
            (best, best_sum) = (start..at + 1, sum);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::tally::Rows;
    use super::*;

    fn texts(values: &[(&str, [u64; 2])]) -> Column<Rows> {
        let mut column = Column::default();
        let mut slots: Slots<Box<str>, Rows> = Slots::default();
        for (text, counts) in values {
            let place = slots.place_of_text(text);
            for (side, count) in counts.iter().enumerate() {
                for _ in 0..*count {
                    slots.at(place).add(side, 0);
                    column.rows += 1;
                }
            }
        }
        column.values = Values::Texts(slots);
        column
    }

    #[test]
    fn a_prefix_is_one_value_if_its_texts_differ_together() {
        let column = texts(&[("17.1", [2, 30]), ("17.2", [3, 40]), ("16.4", [50, 20]), ("15.0", [45, 10])]);
        let found = entries(&column, Totals([100, 100]), 8);
        assert_eq!(found[0].what, What::Prefix("17.".to_owned()));
        assert_eq!(found[0].tally.counts(), [5, 70]);
        let one = texts(&[("17.1", [2, 70]), ("17.2", [3, 2]), ("16.4", [95, 28])]);
        assert_eq!(entries(&one, Totals([100, 100]), 8)[0].what, What::Value("17.1".to_owned()));
    }

    #[test]
    fn a_range_has_the_largest_difference_of_shares() {
        let mut slots: Slots<u64, Rows> = Slots::default();
        for number in 0..100_i64 {
            let place = slots.place(codes::integer_code(number));
            slots.at(place).add(0, 0);
            if (40..60).contains(&number) {
                (0..5).for_each(|_| slots.at(place).add(1, 0));
            }
        }
        let column = Column { values: Values::Integers(slots), ..Column::default() };
        let found = entries(&column, Totals([100, 100]), 8);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, What::Range(40.0, 60.0));
        assert_eq!(found[0].tally.counts(), [20, 100]);
    }

    #[test]
    fn the_largest_sum_is_that_of_neighbours() {
        assert_eq!(largest_sum(&[1.0, -3.0, 2.0, -1.0, 4.0, -9.0, 5.0]), 2..5);
        assert_eq!(largest_sum(&[-1.0, -2.0]), 0..0);
        assert_eq!(largest_sum(&[]), 0..0);
    }
}
