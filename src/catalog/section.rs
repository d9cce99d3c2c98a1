//! How does a checkpoint store one column's statistics of all segments?
//!
//! ```text
//! section = columns:u32 overflowing:u32 text:u32
//!           ordinal:u32 × columns              segments that have the column, ascending
//!           nulls:u64 × columns                rows without a value
//!           min:u64 × columns max:u64 × columns
//!           type:u8 × columns                  code of the attribute's type, 255 for a core column
//!           kind:u8 × columns                  of minimum and maximum: 0 none | 1 int | 2 double | 3 text
//!           ordinal:u32 × overflowing          segments that have it in the overflow, ascending
//!           text bytes                         a text bound is offset | length << 32 of a range in here
//! ```
//!
//! A segment's ordinal is its position in the checkpoint. `overflow` itself is not an attribute: its second
//! list has the segments whose overflow has too many attributes to list.
//!
//! The bytes are used in place: decoding only checks them.

use std::collections::HashMap;

use bytes::Bytes;

use super::columns::ColumnFact;
use crate::event::AttributeType;
use crate::segment::Bound;

const HEAD_BYTES: usize = 12;
/// Bytes per segment that has the column: ordinal, nulls, minimum, maximum, type, kind.
const COLUMN_BYTES: usize = 4 + 8 + 8 + 8 + 1 + 1;
const CORE: u8 = u8::MAX;
const KIND_NONE: u8 = 0;
const KIND_INT: u8 = 1;
const KIND_DOUBLE: u8 = 2;
const KIND_TEXT: u8 = 3;

/// Collects a section, by ascending ordinal.
#[derive(Debug, Default)]
pub(super) struct SectionWriter {
    ordinals: Vec<u32>,
    nulls: Vec<u64>,
    minima: Vec<u64>,
    maxima: Vec<u64>,
    types: Vec<u8>,
    kinds: Vec<u8>,
    overflowing: Vec<u32>,
    text: Vec<u8>,
    /// Offset and length of each text written so far.
    known: HashMap<Box<str>, u64>,
}

impl SectionWriter {
    /// Adds the statistics of the segment `ordinal`, which has the column.
    pub(super) fn column(&mut self, ordinal: u32, fact: ColumnFact<'_>) {
        let (kind, min, max) = match fact.bounds {
            Some((Bound::Int(min), Bound::Int(max))) => (KIND_INT, min as u64, max as u64),
            Some((Bound::Double(min), Bound::Double(max))) => (KIND_DOUBLE, min.to_bits(), max.to_bits()),
            Some((Bound::Text(min), Bound::Text(max))) => (KIND_TEXT, self.put(min), self.put(max)),
            _ => (KIND_NONE, 0, 0),
        };
        self.ordinals.push(ordinal);
        self.nulls.push(fact.null_count);
        self.minima.push(min);
        self.maxima.push(max);
        self.types.push(fact.attribute_type.map_or(CORE, |ty| ty as u8));
        self.kinds.push(kind);
    }

    /// Adds the segment `ordinal`, which has the attribute in its overflow.
    pub(super) fn overflowing(&mut self, ordinal: u32) {
        self.overflowing.push(ordinal);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ordinals.is_empty() && self.overflowing.is_empty()
    }

    /// Encodes the section.
    pub(super) fn finish(self) -> Vec<u8> {
        let columns = self.ordinals.len();
        let mut out = Vec::with_capacity(
            HEAD_BYTES + columns * COLUMN_BYTES + self.overflowing.len() * 4 + self.text.len(),
        );
        for count in [columns, self.overflowing.len(), self.text.len()] {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        out.extend(self.ordinals.iter().flat_map(|n| n.to_le_bytes()));
        for words in [&self.nulls, &self.minima, &self.maxima] {
            out.extend(words.iter().flat_map(|n| n.to_le_bytes()));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.kinds);
        out.extend(self.overflowing.iter().flat_map(|n| n.to_le_bytes()));
        out.extend_from_slice(&self.text);
        out
    }

    /// Stores a text once, since many segments share their bounds; returns its offset and length.
    fn put(&mut self, text: &str) -> u64 {
        if let Some(word) = self.known.get(text) {
            return *word;
        }
        let word = self.text.len() as u64 | (text.len() as u64) << 32;
        self.text.extend_from_slice(text.as_bytes());
        self.known.insert(text.into(), word);
        word
    }
}

/// Bytes of a text bound.
fn slice(text: &[u8], word: u64) -> Option<&[u8]> {
    let (start, length) = (word as u32 as usize, (word >> 32) as usize);
    text.get(start..start.checked_add(length)?)
}

/// A section, checked.
#[derive(Debug, Clone)]
pub(super) struct ColumnSection {
    bytes: Bytes,
    columns: usize,
    overflowing: usize,
}

impl ColumnSection {
    /// Checks `bytes`; `None` if they are not a section of a checkpoint with `segments` segments.
    pub(super) fn parse(bytes: Bytes, segments: usize) -> Option<Self> {
        let count = |i: usize| Some(u32::from_le_bytes(*bytes.get(i * 4..)?.first_chunk()?) as usize);
        let (columns, overflowing, text) = (count(0)?, count(1)?, count(2)?);
        let expected = HEAD_BYTES + columns * COLUMN_BYTES + overflowing * 4 + text;
        let section = Self { bytes, columns, overflowing };
        let fits = section.bytes.len() == expected
            && ascend((0..columns).map(|i| section.ordinal(i)), segments)
            && ascend((0..overflowing).map(|i| section.overflowing_ordinal(i)), segments)
            && (0..columns).all(|i| section.text_is_there(i));
        fits.then_some(section)
    }

    /// Statistics of the column in the segment `ordinal`, if that has it.
    pub(super) fn get(&self, ordinal: u32) -> Option<ColumnFact<'_>> {
        find(self.columns, ordinal, |i| self.ordinal(i)).map(|i| self.fact(i))
    }

    /// True if the segment `ordinal` is in the second list.
    pub(super) fn overflows(&self, ordinal: u32) -> bool {
        find(self.overflowing, ordinal, |i| self.overflowing_ordinal(i)).is_some()
    }

    /// All segments that have the column, with its statistics.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, ColumnFact<'_>)> {
        (0..self.columns).map(|i| (self.ordinal(i), self.fact(i)))
    }

    /// All segments in the second list.
    pub(super) fn overflowing(&self) -> impl Iterator<Item = u32> {
        (0..self.overflowing).map(|i| self.overflowing_ordinal(i))
    }

    /// Memory use in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    fn fact(&self, i: usize) -> ColumnFact<'_> {
        let at = HEAD_BYTES + self.columns * 4;
        let word = |column: usize| self.u64(at + (column * self.columns + i) * 8);
        let (min, max) = (word(1), word(2));
        let bounds = match self.kind(i) {
            KIND_INT => Some((Bound::Int(min as i64), Bound::Int(max as i64))),
            KIND_DOUBLE => Some((Bound::Double(f64::from_bits(min)), Bound::Double(f64::from_bits(max)))),
            KIND_TEXT => self.text(min).zip(self.text(max)).map(|(a, b)| (Bound::Text(a), Bound::Text(b))),
            _ => None,
        };
        let code = self.bytes[HEAD_BYTES + self.columns * (4 + 3 * 8) + i];
        ColumnFact { attribute_type: AttributeType::from_code(code), null_count: word(0), bounds }
    }

    fn ordinal(&self, i: usize) -> u32 {
        self.u32(HEAD_BYTES + i * 4)
    }

    fn overflowing_ordinal(&self, i: usize) -> u32 {
        self.u32(HEAD_BYTES + self.columns * COLUMN_BYTES + i * 4)
    }

    fn kind(&self, i: usize) -> u8 {
        self.bytes[HEAD_BYTES + self.columns * (COLUMN_BYTES - 1) + i]
    }

    fn text_is_there(&self, i: usize) -> bool {
        let at = HEAD_BYTES + self.columns * 4;
        let there = |column: usize| self.text(self.u64(at + (column * self.columns + i) * 8)).is_some();
        self.kind(i) != KIND_TEXT || (there(1) && there(2))
    }

    fn text(&self, word: u64) -> Option<&str> {
        let texts = &self.bytes[HEAD_BYTES + self.columns * COLUMN_BYTES + self.overflowing * 4..];
        std::str::from_utf8(slice(texts, word)?).ok()
    }

    fn u32(&self, at: usize) -> u32 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&self, at: usize) -> u64 {
        self.bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// True if all ordinals are below `segments` and each is larger than the previous one.
fn ascend(mut ordinals: impl Iterator<Item = u32>, segments: usize) -> bool {
    let mut next = 0;
    ordinals.all(|ordinal| {
        let fits = ordinal >= next && (ordinal as usize) < segments;
        next = ordinal.saturating_add(1);
        fits
    })
}

/// Position of `ordinal` among `count` ascending ordinals. O(1) if all segments up to it have the column, as usual.
fn find(count: usize, ordinal: u32, at: impl Fn(usize) -> u32) -> Option<usize> {
    // Ordinals are distinct, so one is at most at the position of its own value.
    let mut high = count.min(ordinal as usize + 1);
    if high > 0 && high == ordinal as usize + 1 && at(high - 1) == ordinal {
        return Some(high - 1);
    }
    let mut low = 0;
    while low < high {
        let middle = low.midpoint(high);
        match at(middle).cmp(&ordinal) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Owned = (Option<AttributeType>, u64, Option<(Bound, Bound)>);

    fn owned() -> impl Strategy<Value = Owned> {
        let bounds = prop_oneof![
            Just(None),
            (any::<i64>(), any::<i64>()).prop_map(|(a, b)| Some((Bound::Int(a), Bound::Int(b)))),
            (-1e9..1e9, -1e9..1e9).prop_map(|(a, b)| Some((Bound::Double(a), Bound::Double(b)))),
            (".{0,3}", ".{0,3}").prop_map(|(a, b)| Some((Bound::Text(a), Bound::Text(b)))),
        ];
        (proptest::option::of(prop::sample::select(AttributeType::ALL.to_vec())), any::<u64>(), bounds)
    }

    fn borrowed((attribute_type, null_count, bounds): &Owned) -> ColumnFact<'_> {
        let bounds = bounds.as_ref().map(|(min, max)| (min.borrowed(), max.borrowed()));
        ColumnFact { attribute_type: *attribute_type, null_count: *null_count, bounds }
    }

    const SEGMENTS: u32 = 30;

    proptest! {
        #[test]
        fn what_went_in_is_found(
            columns in prop::collection::btree_map(0..SEGMENTS, owned(), 0..30),
            overflowing in prop::collection::btree_set(0..SEGMENTS, 0..30),
        ) {
            let mut writer = SectionWriter::default();
            for (ordinal, fact) in &columns {
                writer.column(*ordinal, borrowed(fact));
            }
            for ordinal in &overflowing {
                writer.overflowing(*ordinal);
            }
            prop_assert_eq!(writer.is_empty(), columns.is_empty() && overflowing.is_empty());
            let section = ColumnSection::parse(writer.finish().into(), SEGMENTS as usize).unwrap();
            for ordinal in 0..=SEGMENTS {
                prop_assert_eq!(section.get(ordinal), columns.get(&ordinal).map(borrowed));
                prop_assert_eq!(section.overflows(ordinal), overflowing.contains(&ordinal));
            }
            let all: BTreeMap<_, _> = section.iter().collect();
            prop_assert_eq!(all, columns.iter().map(|(ordinal, fact)| (*ordinal, borrowed(fact))).collect());
            prop_assert!(section.overflowing().eq(overflowing));
        }

        #[test]
        fn other_bytes_are_refused_or_harmless(
            columns in 0_u32..4, overflowing in 0_u32..4, text in 0_u32..9,
            bytes in prop::collection::vec(prop_oneof![Just(0), Just(3), any::<u8>()], 0..140),
        ) {
            let head = [columns, overflowing, text].map(u32::to_le_bytes).concat();
            let mut fitting = [&head[..], &bytes].concat();
            fitting.resize(HEAD_BYTES + columns as usize * COLUMN_BYTES + overflowing as usize * 4 + text as usize, 0);
            for bytes in [bytes, fitting] {
                if let Some(section) = ColumnSection::parse(bytes.into(), 5) {
                    prop_assert!(section.iter().count() < 5 && section.overflowing().count() < 5);
                    for i in 0..9 {
                        let _ = (section.get(i), section.overflows(i));
                    }
                }
            }
        }
    }
}
