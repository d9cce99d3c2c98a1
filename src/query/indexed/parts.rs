//! How much of a segment is in memory at once?
//!
//! The Parquet reader fetches all pages of a row group before it decodes the first, and a segment is one row group. A
//! query of many columns would hold most of an object in each partition. So large reads are split into parts of a
//! limited size, read one after another. A query that ends early, such as a search for the newest rows, does not
//! fetch the later parts.

use std::ops::Range;

use roaring::RoaringBitmap;

use crate::segment::encoding::PAGE_ROWS;

/// Largest part of a segment that is fetched at once, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// Smallest part, in bytes: opening smaller ones costs more than it saves.
const BYTES_MIN: u64 = 1 << 20;
/// Share of the queries' memory that the parts in all partitions of one scan take.
const MEMORY_SHARE: usize = 16;

/// Approximate bytes of a segment that a partition fetches at once, if queries have `memory` bytes.
pub(crate) fn bytes_max(memory: usize, partitions: usize) -> u64 {
    ((memory / MEMORY_SHARE / partitions.max(1)) as u64).clamp(BYTES_MIN, BYTES_MAX)
}

/// Cuts the `rows` of `total`, or all rows, into ranges of whole pages, for a scan that reads `bytes` for `total`
/// rows; `None` if they can be read at once.
pub(super) fn cut(
    rows: Option<&RoaringBitmap>,
    total: u32,
    bytes: u64,
    bytes_max: u64,
) -> Option<Vec<Range<u32>>> {
    let page = |page: usize| (page * PAGE_ROWS) as u32..((page + 1) * PAGE_ROWS).min(total as usize) as u32;
    let pages = (total as usize).div_ceil(PAGE_ROWS);
    let is_read = |range: &Range<u32>| rows.is_none_or(|rows| rows.range_cardinality(range.clone()) > 0);
    let read: Vec<Range<u32>> = (0..pages).map(page).filter(is_read).collect();
    let pages_max = bytes_max.saturating_mul(pages as u64) / bytes.max(1);
    let parts: Vec<_> = read
        .chunks(usize::try_from(pages_max).unwrap_or(usize::MAX).max(1))
        .map(|pages| pages[0].start..pages[pages.len() - 1].end)
        .collect();
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_pages_and_hold_all_rows_once() {
        let page = PAGE_ROWS as u32;
        let total = 10 * page + 7;
        assert_eq!(cut(None, total, 11 << 20, 11 << 20), None);
        assert_eq!(cut(None, 0, 0, 1), None);
        let parts = cut(None, total, 11 << 20, 4 << 20).unwrap();
        assert_eq!(parts, [0..4 * page, 4 * page..8 * page, 8 * page..total]);
        // A part has at least one page.
        assert_eq!(cut(None, total, 11 << 20, 1).unwrap().len(), 11);
        // Pages without rows are not counted.
        let rows = RoaringBitmap::from_iter([3, page * 5, page * 5 + 1, page * 9]);
        assert_eq!(cut(Some(&rows), total, 11 << 20, 3 << 20), None);
        let parts = cut(Some(&rows), total, 11 << 20, 2 << 20).unwrap();
        assert_eq!(parts, [0..6 * page, 9 * page..10 * page]);
    }

    #[test]
    fn what_parts_share_of_the_memory_has_limits() {
        assert_eq!(bytes_max(2 << 30, 2), BYTES_MAX);
        assert_eq!(bytes_max(48 << 20, 2), 3 << 19);
        assert_eq!(bytes_max(0, 0), BYTES_MIN);
    }
}
