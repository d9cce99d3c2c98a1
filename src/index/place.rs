//! Which page of a segment has a value with this hash?

use super::hash::ValueHash;
use crate::segment::encoding::PAGE_ROWS;

/// Hash and page of a value, as one number that sorts by hash, then page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    pub(super) const PAGE_BITS: u32 = u64::BITS - ValueHash::BITS;

    pub(super) fn new(hash: ValueHash, row: usize) -> Self {
        // A segment has at most 128 pages.
        Self(hash.get() << Self::PAGE_BITS | (row / PAGE_ROWS) as u64)
    }

    pub(super) fn hash(self) -> ValueHash {
        ValueHash::from_bits(self.0 >> Self::PAGE_BITS)
    }

    pub(super) fn page(self) -> u32 {
        (self.0 & ((1 << Self::PAGE_BITS) - 1)) as u32
    }
}
