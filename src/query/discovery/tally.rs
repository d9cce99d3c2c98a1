//! Values of one key: the types, the most frequent values, and how many different ones there are.
//!
//! Up to [`VALUES_MAX`] values are counted exactly. Of more, a HyperLogLog with 1,024 registers estimates the number,
//! with a standard error of 3 % (Flajolet et al. 2007), and only the values that came first are counted.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::event::{AttributeType, TypeSet};
use crate::query::bytes::{Reader, write};

/// Most values of a key that are counted.
const VALUES_MAX: usize = 4096;
/// Longest value that is counted as it is, in bytes; longer ones are cut, and those that begin alike are one.
const VALUE_BYTES_MAX: usize = 256;
/// Memory of a value beside its text, in bytes.
const ENTRY_BYTES: usize = 48;
/// Number of registers of a sketch, a power of two.
const REGISTERS: usize = 1024;
/// Bias correction for that number of registers.
const ALPHA: f64 = 0.7213 / (1.0 + 1.079 / 1024.0);

/// Values of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Types that occurred.
    pub(super) types: TypeSet,
    /// Number of events with a value.
    pub(super) events: u64,
    values: HashMap<Box<str>, u64>,
    /// Sketch of all values, once there are too many to be counted.
    sketch: Option<Box<[u8; REGISTERS]>>,
    text_bytes: usize,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn note(sketch: &mut [u8; REGISTERS], hash: u64) {
    let register = hash as usize % REGISTERS;
    // The other bits: one more than the number of zeros before the first one.
    let rest = hash >> REGISTERS.trailing_zeros();
    let rank = (rest.trailing_zeros() + 1).min(u64::BITS - REGISTERS.trailing_zeros()) as u8;
    sketch[register] = sketch[register].max(rank);
}

fn cut(text: &str) -> &str {
    if text.len() <= VALUE_BYTES_MAX {
        return text;
    }
    let end = (0..=VALUE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

impl Tally {
    /// Adds a value.
    pub(super) fn add(&mut self, ty: AttributeType, text: &str) {
        self.types = self.types.with(ty);
        self.events += 1;
        self.count(cut(text), 1);
    }

    /// Adds a value of which only the type counts.
    pub(super) fn add_uncounted(&mut self, ty: AttributeType) {
        self.types = self.types.with(ty);
        self.events += 1;
    }

    fn count(&mut self, text: &str, times: u64) {
        if let Some(sketch) = &mut self.sketch {
            note(sketch, hash(text));
        }
        if let Some(count) = self.values.get_mut(text) {
            *count += times;
        } else if self.values.len() < VALUES_MAX {
            self.text_bytes += text.len();
            self.values.insert(text.into(), times);
        } else if self.sketch.is_none() {
            let mut sketch = Box::new([0; REGISTERS]);
            self.values.keys().for_each(|known| note(&mut sketch, hash(known)));
            note(&mut sketch, hash(text));
            self.sketch = Some(sketch);
        }
    }

    /// Number of different values: exact up to [`VALUES_MAX`], else an estimate.
    pub(super) fn distinct(&self) -> u64 {
        let Some(sketch) = &self.sketch else { return self.values.len() as u64 };
        let sum: f64 = sketch.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let registers = REGISTERS as f64;
        ((ALPHA * registers * registers / sum).round() as u64).max(self.values.len() as u64)
    }

    /// Number of different values that occurred once: an estimate where [`distinct`](Self::distinct) is one.
    pub(super) fn once(&self) -> u64 {
        let known = self.values.values().filter(|count| **count == 1).count() as u64;
        known * self.distinct() / (self.values.len() as u64).max(1)
    }

    /// The most frequent values, at most `most`.
    pub(super) fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut top: Vec<(&str, u64)> =
            self.values.iter().map(|(text, count)| (text.as_ref(), *count)).collect();
        top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        top.truncate(most);
        top
    }

    /// Appends the tally as bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write::number(out, u64::from(self.types.bits()));
        write::number(out, self.events);
        write::number(out, self.values.len() as u64);
        for (text, count) in &self.values {
            write::bytes(out, text.as_bytes());
            write::number(out, *count);
        }
        write::bytes(out, self.sketch.as_ref().map_or(&[][..], |sketch| sketch.as_slice()));
    }

    /// Adds a tally that [`write`](Self::write) wrote; `None` if the bytes are of another form.
    pub(super) fn merge(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.types = self.types.union(TypeSet::from_bits(reader.number()? as u8));
        self.events += reader.number()?;
        for _ in 0..reader.number()? {
            let text = reader.text()?;
            self.count(text, reader.number()?);
        }
        let sketch = reader.bytes()?;
        if !sketch.is_empty() {
            let other: &[u8; REGISTERS] = sketch.try_into().ok()?;
            let keys = &self.values;
            let mine = self.sketch.get_or_insert_with(|| {
                let mut sketch = Box::new([0; REGISTERS]);
                for known in keys.keys() {
                    note(&mut sketch, hash(known));
                }
                sketch
            });
            mine.iter_mut().zip(other).for_each(|(mine, other)| *mine = (*mine).max(*other));
        }
        Some(())
    }

    /// Memory beside the value itself, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        self.text_bytes + self.values.capacity() * ENTRY_BYTES + self.sketch.as_ref().map_or(0, |_| REGISTERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = String>) -> Tally {
        let mut tally = Tally::default();
        values.into_iter().for_each(|value| tally.add(AttributeType::Text, &value));
        tally
    }

    #[test]
    fn few_values_are_counted_and_many_estimated() {
        let few = of(["a", "b", "a"].map(str::to_owned));
        assert_eq!((few.distinct(), few.once(), few.top(1)), (2, 1, vec![("a", 2)]));
        for count in [5_000_u64, 100_000] {
            let many = of((0..count).map(|i| format!("value {i}")));
            let error = many.distinct() as f64 / count as f64 - 1.0;
            assert!(error.abs() < 0.1, "{count}: {}", many.distinct());
            assert!(many.once() > count * 9 / 10);
        }
    }

    #[test]
    fn parts_are_as_good_as_the_whole() {
        let values = |range: std::ops::Range<u32>| range.map(|i| format!("{}", i % 6000));
        let (whole, first, second) = (of(values(0..9000)), of(values(0..3000)), of(values(3000..9000)));
        let mut merged = Tally::default();
        for part in [&first, &second] {
            let mut bytes = Vec::new();
            part.write(&mut bytes);
            merged.merge(&mut Reader::new(&bytes)).unwrap();
        }
        assert_eq!((merged.distinct(), merged.events), (whole.distinct(), 9000));
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        assert_eq!(cut(&"é".repeat(200)).len(), VALUE_BYTES_MAX);
        assert_eq!(cut(&format!("x{}", "é".repeat(200))).len(), VALUE_BYTES_MAX - 1);
    }
}
