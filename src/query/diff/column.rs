//! How often does each value of one key occur, on each side?
//!
//! Memory is bounded. A key with very many texts, such as an id, is given up: it has [`Values::TooMany`]. Very many
//! numbers become ranges of numbers, whose counts are exact as well.

use std::hash::Hash;

use hashbrown::HashMap;

use super::number;
use super::tally::Tally;
use crate::query::bytes::{Reader, write};

/// Most values of a key. Beyond it the key is given up.
const VALUES_MAX: usize = 1 << 18;
/// Number of values from which a key is given up if nearly each row so far has its own: there is no need to see more.
/// Of rows of 100,000 users, so many are of 8 % fewer users.
const UNIQUE_VALUES_MIN: usize = 1 << 14;
/// Most numbers of a key that are counted one by one.
const NUMBERS_MAX: usize = 4096;
/// Least rows of a key that is called unique.
const UNIQUE_ROWS_MIN: u64 = 20;

/// The values of one key, and of one service if services are told apart.
#[derive(Debug, Clone)]
pub(super) struct Column<T> {
    /// Rows or traces with any value.
    pub(super) present: T,
    /// Number of rows with a value.
    pub(super) rows: u64,
    pub(super) values: Values<T>,
}

/// Values with their counts.
#[derive(Debug, Clone)]
pub(super) enum Values<T> {
    /// None was seen.
    None,
    Texts(Slots<Box<str>, T>),
    Integers(Slots<u64, T>),
    Doubles(Slots<u64, T>),
    /// Ranges of numbers, by the code of their beginning.
    Ranges(Slots<u64, T>),
    /// More values than are kept.
    TooMany,
    /// Values of a type that has no texts and no numbers, such as a list.
    Unread,
}

/// Counts by value.
#[derive(Debug, Clone)]
pub(super) struct Slots<K, T> {
    places: HashMap<K, u32>,
    tallies: Vec<T>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self { places: HashMap::new(), tallies: Vec::new() }
    }
}

impl<K: Hash + Eq, T: Tally> Slots<K, T> {
    pub(super) fn len(&self) -> usize {
        self.tallies.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.places.iter().map(|(key, place)| (key, &self.tallies[*place as usize]))
    }

    pub(super) fn at(&mut self, place: u32) -> &mut T {
        &mut self.tallies[place as usize]
    }

    fn tally(&mut self, key: K) -> &mut T {
        let place = self.place(key);
        self.at(place)
    }

    /// Place of the counts of `key`.
    pub(super) fn place(&mut self, key: K) -> u32 {
        let next = self.tallies.len() as u32;
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.tallies.push(T::default());
        }
        place
    }

    fn merge(&mut self, other: Self) {
        let Self { places, tallies } = other;
        for (key, place) in places {
            self.tally(key).merge(&tallies[place as usize]);
        }
    }

    fn bytes(&self) -> usize {
        let heap: usize = self.tallies.iter().map(Tally::heap_bytes).sum();
        self.places.capacity() * (size_of::<(K, u32)>() + 1) + self.tallies.capacity() * size_of::<T>() + heap
    }
}

impl<T: Tally> Slots<Box<str>, T> {
    /// Place of the counts of a text.
    pub(super) fn place_of_text(&mut self, text: &str) -> u32 {
        match self.places.get(text) {
            Some(place) => *place,
            None => self.place(text.into()),
        }
    }
}

impl<T: Tally> Slots<u64, T> {
    /// The same counts, by ranges.
    fn coarse(&self, range: impl Fn(u64) -> u64) -> Self {
        let mut ranges = Self::default();
        for (code, tally) in self.iter() {
            ranges.tally(range(*code)).merge(tally);
        }
        ranges
    }
}

impl<T: Tally> Default for Column<T> {
    fn default() -> Self {
        Self { present: T::default(), rows: 0, values: Values::None }
    }
}

impl<T: Tally> Column<T> {
    /// Makes room: gives up a key with too many values, and turns many numbers into ranges.
    pub(super) fn limit(&mut self) {
        let rows = self.rows;
        match &self.values {
            Values::Texts(texts) => {
                let many = texts.len() >= UNIQUE_VALUES_MIN && is_share(98, texts.len(), rows);
                if many || texts.len() > VALUES_MAX {
                    self.values = Values::TooMany;
                }
            }
            Values::Integers(numbers) if numbers.len() > NUMBERS_MAX => {
                self.values = Values::Ranges(numbers.coarse(range_of_integer));
            }
            Values::Doubles(numbers) if numbers.len() > NUMBERS_MAX => {
                self.values = Values::Ranges(numbers.coarse(number::coarse));
            }
            _ => {}
        }
    }

    /// True if almost each row has a text of its own.
    pub(super) fn is_unique(&self) -> bool {
        match &self.values {
            Values::TooMany => true,
            Values::Texts(texts) => self.rows >= UNIQUE_ROWS_MIN && is_share(90, texts.len(), self.rows),
            _ => false,
        }
    }

    /// Adds the counts of another part of the rows.
    pub(super) fn merge(&mut self, other: Self) {
        self.present.merge(&other.present);
        self.rows += other.rows;
        let values = std::mem::replace(&mut self.values, Values::Unread);
        self.values = match (values, other.values) {
            (Values::None, values) | (values, Values::None) => values,
            (Values::TooMany, _) | (_, Values::TooMany) => Values::TooMany,
            (Values::Texts(mut texts), Values::Texts(others)) => {
                texts.merge(others);
                Values::Texts(texts)
            }
            (Values::Integers(mut numbers), Values::Integers(others)) => {
                numbers.merge(others);
                Values::Integers(numbers)
            }
            (Values::Doubles(mut numbers), Values::Doubles(others)) => {
                numbers.merge(others);
                Values::Doubles(numbers)
            }
            (one, other) => match (one.into_ranges(), other.into_ranges()) {
                (Some(mut ranges), Some(others)) => {
                    ranges.merge(others);
                    Values::Ranges(ranges)
                }
                _ => Values::Unread,
            },
        };
        self.limit();
    }

    /// Approximate memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::None | Values::TooMany | Values::Unread => 0,
            Values::Texts(texts) => texts.bytes() + texts.places.keys().map(|text| text.len()).sum::<usize>(),
            Values::Integers(numbers) | Values::Doubles(numbers) | Values::Ranges(numbers) => numbers.bytes(),
        };
        size_of::<Self>() + self.present.heap_bytes() + values
    }

    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.present.encode(out);
        write::number(out, self.rows);
        write::number(out, self.values.tag());
        match &self.values {
            Values::None | Values::TooMany | Values::Unread => {}
            Values::Texts(texts) => {
                write::number(out, texts.len() as u64);
                for (text, tally) in texts.iter() {
                    write::bytes(out, text.as_bytes());
                    tally.encode(out);
                }
            }
            Values::Integers(numbers) | Values::Doubles(numbers) | Values::Ranges(numbers) => {
                write::number(out, numbers.len() as u64);
                for (code, tally) in numbers.iter() {
                    write::number(out, *code);
                    tally.encode(out);
                }
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let (present, rows) = (T::decode(from)?, from.number()?);
        let values = match from.number()? {
            0 => Values::None,
            1 => Values::Texts(slots(from, |from| from.text().map(Box::from))?),
            2 => Values::Integers(slots(from, Reader::number)?),
            3 => Values::Doubles(slots(from, Reader::number)?),
            4 => Values::Ranges(slots(from, Reader::number)?),
            5 => Values::TooMany,
            6 => Values::Unread,
            _ => return None,
        };
        Some(Self { present, rows, values })
    }
}

impl<T: Tally> Values<T> {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Texts(texts) => texts.len(),
            Self::Integers(numbers) | Self::Doubles(numbers) | Self::Ranges(numbers) => numbers.len(),
            Self::TooMany | Self::Unread => usize::MAX,
        }
    }

    fn tag(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Texts(_) => 1,
            Self::Integers(_) => 2,
            Self::Doubles(_) => 3,
            Self::Ranges(_) => 4,
            Self::TooMany => 5,
            Self::Unread => 6,
        }
    }

    fn into_ranges(self) -> Option<Slots<u64, T>> {
        match self {
            Self::Integers(numbers) => Some(numbers.coarse(range_of_integer)),
            Self::Doubles(numbers) => Some(numbers.coarse(number::coarse)),
            Self::Ranges(ranges) => Some(ranges),
            Self::None | Self::Texts(_) | Self::TooMany | Self::Unread => None,
        }
    }
}

/// True if there are at least `percent` values for 100 rows.
fn is_share(percent: u64, values: usize, rows: u64) -> bool {
    values as u64 * 100 >= rows * percent
}

/// The range of an integer, given by its code.
fn range_of_integer(code: u64) -> u64 {
    number::coarse(number::code(number::integer(code) as f64).unwrap_or_default())
}

fn slots<'a, K: Hash + Eq, T: Tally>(
    from: &mut Reader<'a>,
    key: impl Fn(&mut Reader<'a>) -> Option<K>,
) -> Option<Slots<K, T>> {
    let mut slots = Slots::default();
    for _ in 0..from.number()? {
        let key = key(from)?;
        let tally = T::decode(from)?;
        *slots.tally(key) = tally;
    }
    Some(slots)
}
