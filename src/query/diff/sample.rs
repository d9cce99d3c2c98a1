//! Some rows of each side as a whole, which show the values that occur together.
//!
//! The rows are those with the smallest hashes of their timestamps. So the sample does not depend on the order of the
//! rows, and samples of parts can be merged.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::tally::{Row, SIDES};
use crate::query::bytes::{Reader, write};
use crate::query::functions::number;

/// Most rows of a side.
const ROWS_MAX: usize = 1000;
/// Approximate memory of a text, its bytes included.
const TEXT_BYTES: usize = 32;

/// Texts of a row, in the order of the keys; `None` where it has no value.
pub(super) type Texts = Vec<Option<Box<str>>>;

/// Rows of each side, by hash.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample([BTreeMap<u64, Texts>; SIDES]);

impl Sample {
    /// Offers the rows of a batch, each with a number that is the same in every run, such as its timestamp.
    pub(super) fn offer(&mut self, rows: &[Row], number: impl Fn(&Row) -> u64, columns: &[ArrayRef]) {
        for side in 0..SIDES {
            let limit = self.limit(side);
            let of_side = rows.iter().filter(|row| row.side == side);
            let hashed = of_side.map(|row| (mixed(number(row)), row.at));
            let mut wanted: Vec<(u64, usize)> = hashed.filter(|(hash, _)| *hash < limit).collect();
            wanted.sort_unstable();
            wanted.truncate(ROWS_MAX);
            for (hash, at) in wanted {
                let texts = || columns.iter().map(|column| text(column, at)).collect();
                self.0[side].entry(hash).or_insert_with(texts);
            }
            self.shrink(side);
        }
    }

    /// The rows of a side.
    pub(super) fn rows(&self, side: usize) -> impl ExactSizeIterator<Item = &Texts> {
        self.0[side].values()
    }

    /// Adds the sample of another part of the rows.
    pub(super) fn merge(&mut self, other: Self) {
        for (side, rows) in other.0.into_iter().enumerate() {
            for (hash, texts) in rows {
                self.0[side].entry(hash).or_insert(texts);
            }
            self.shrink(side);
        }
    }

    /// Approximate memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let texts = |rows: &BTreeMap<u64, Texts>| rows.len() * rows.values().next().map_or(0, Vec::len);
        self.0.iter().map(texts).sum::<usize>() * TEXT_BYTES
    }

    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for rows in &self.0 {
            write::number(out, rows.len() as u64);
            for (hash, texts) in rows {
                write::number(out, *hash);
                write::number(out, texts.len() as u64);
                for text in texts {
                    write::optional(out, text.as_deref());
                }
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut sample = Self::default();
        for rows in &mut sample.0 {
            for _ in 0..from.number()? {
                let (hash, texts) = (from.number()?, from.number()?);
                let texts = (0..texts).map(|_| from.optional(|text| text.map(Box::from)));
                rows.insert(hash, texts.collect::<Option<Texts>>()?);
            }
        }
        Some(sample)
    }

    /// Hash below which a row is among the sample.
    fn limit(&self, side: usize) -> u64 {
        let rows = &self.0[side];
        let last = rows.last_key_value().filter(|_| rows.len() >= ROWS_MAX);
        last.map_or(u64::MAX, |(hash, _)| *hash)
    }

    fn shrink(&mut self, side: usize) {
        while self.0[side].len() > ROWS_MAX {
            self.0[side].pop_last();
        }
    }
}

/// A hash of a number (the finalizer of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut hash = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// The text of a value, as the result shows it.
fn text(column: &ArrayRef, at: usize) -> Option<Box<str>> {
    if column.is_null(at) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8View => column.as_string_view().value(at).into(),
        DataType::Utf8 => column.as_string::<i32>().value(at).into(),
        DataType::Boolean => column.as_boolean().value(at).to_string().into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(at).to_string().into(),
        DataType::Float64 => number::spell(column.as_primitive::<Float64Type>().value(at)).into(),
        other => arrow::util::display::array_value_to_string(column, at)
            .unwrap_or_else(|_| other.to_string())
            .into(),
    })
}
