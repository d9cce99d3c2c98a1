//! How many rows, or which traces, have a value? Counted for both sides at once.
//!
//! Rows are only counted. Traces are sets, as a trace that has a value in several events counts once.

use std::fmt::Debug;

use roaring::RoaringBitmap;

use crate::query::bytes::{Reader, write};

/// Number of sides: the baseline, then the selection.
pub(super) const SIDES: usize = 2;

/// A row of a batch that is on one of the sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Its place in the batch.
    pub(super) at: usize,
    pub(super) side: usize,
    /// Number of its trace; 0 if rows are counted.
    pub(super) member: u32,
    /// Place of its service.
    pub(super) service: usize,
}

/// The rows or traces that have a value, on each side.
pub(super) trait Tally: Clone + Default + Debug + Send + Sync + 'static {
    /// Adds a member of a side; rows need no number.
    fn add(&mut self, side: usize, member: u32);
    /// Adds the members of `other`.
    fn merge(&mut self, other: &Self);
    /// Numbers of members: of the baseline, then of the selection.
    fn counts(&self) -> [u64; SIDES];
    /// Members that both have, if members are known.
    fn shared(&self, other: &Self) -> Option<[u64; SIDES]>;
    /// Approximate memory beside its own size, in bytes.
    fn heap_bytes(&self) -> usize;
    /// Appends its bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what [`encode`](Self::encode) wrote.
    fn decode(from: &mut Reader<'_>) -> Option<Self>;
}

/// Counts of rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rows([u64; SIDES]);

impl Tally for Rows {
    fn add(&mut self, side: usize, _: u32) {
        self.0[side] += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.0[0] += other.0[0];
        self.0[1] += other.0[1];
    }

    fn counts(&self) -> [u64; SIDES] {
        self.0
    }

    fn shared(&self, _: &Self) -> Option<[u64; SIDES]> {
        None
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write::number(out, self.0[0]);
        write::number(out, self.0[1]);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self([from.number()?, from.number()?]))
    }
}

/// Sets of traces, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces([RoaringBitmap; SIDES]);

impl Tally for Traces {
    fn add(&mut self, side: usize, member: u32) {
        self.0[side].insert(member);
    }

    fn merge(&mut self, other: &Self) {
        self.0[0] |= &other.0[0];
        self.0[1] |= &other.0[1];
    }

    fn counts(&self) -> [u64; SIDES] {
        [self.0[0].len(), self.0[1].len()]
    }

    fn shared(&self, other: &Self) -> Option<[u64; SIDES]> {
        Some([self.0[0].intersection_len(&other.0[0]), self.0[1].intersection_len(&other.0[1])])
    }

    fn heap_bytes(&self) -> usize {
        self.0.iter().map(|traces| if traces.is_empty() { 0 } else { traces.serialized_size() + 32 }).sum()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for traces in &self.0 {
            let mut bytes = Vec::with_capacity(traces.serialized_size());
            // Writing to memory does not fail.
            let _ = traces.serialize_into(&mut bytes);
            write::bytes(out, &bytes);
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut side = || RoaringBitmap::deserialize_from(from.bytes()?).ok();
        Some(Self([side()?, side()?]))
    }
}
