//! Which rows does a bitmap hold, as one bit for each row?
//!
//! The iterators of `roaring` yield runs or single numbers, of which a dense bitmap has very many. Its serialized form
//! holds words of bits, so this module reads that. The format is fixed:
//! <https://github.com/RoaringBitmap/RoaringFormatSpec>.

use arrow::buffer::BooleanBuffer;
use bytes::Buf;
use datafusion::error::{DataFusionError, Result};
use roaring::RoaringBitmap;

/// First field of a bitmap that has no run containers.
const COOKIE_WITHOUT_RUNS: u32 = 12346;
/// Lower half of the first field of other bitmaps.
const COOKIE_WITH_RUNS: u32 = 12347;
/// A bitmap of at least so many containers has a table of their offsets.
const OFFSETS_FROM: usize = 4;
/// Containers of more rows are bits.
const ARRAY_ROWS_MAX: usize = 4096;
/// Bytes of a container of bits, for 65,536 rows.
const CONTAINER_BYTES: usize = 8192;

/// One bit for each of the rows `0..total`.
pub(super) fn dense(rows: &RoaringBitmap, total: usize) -> Result<BooleanBuffer> {
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    rows.serialize_into(&mut bytes)?;
    let containers = total.div_ceil(CONTAINER_BYTES * 8);
    let mut bits = vec![0; containers * CONTAINER_BYTES];
    if fill(&bytes, &mut bits).is_none() {
        return Err(DataFusionError::Internal("a bitmap was serialized in an unknown format".to_owned()));
    }
    Ok(BooleanBuffer::new(bits.into(), 0, total))
}

/// Sets the bits of the rows of a serialized bitmap, least significant bit first. Rows beyond `bits` are ignored.
fn fill(mut bytes: &[u8], bits: &mut [u8]) -> Option<()> {
    let cookie = bytes.try_get_u32_le().ok()?;
    let with_runs = cookie & 0xFFFF == COOKIE_WITH_RUNS;
    let count = match cookie {
        COOKIE_WITHOUT_RUNS => bytes.try_get_u32_le().ok()? as usize,
        _ if with_runs => (cookie >> 16) as usize + 1,
        _ => return None,
    };
    let is_run = bytes.split_off(..if with_runs { count.div_ceil(8) } else { 0 })?;
    let mut headers = bytes.split_off(..count.checked_mul(4)?)?;
    if !with_runs || count >= OFFSETS_FROM {
        bytes.split_off(..count * 4)?;
    }
    for i in 0..count {
        let start = usize::from(headers.get_u16_le()) * CONTAINER_BYTES;
        let rows = usize::from(headers.get_u16_le()) + 1;
        let bits = bits.get_mut(start..start + CONTAINER_BYTES);
        if is_run.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1) {
            let runs = usize::from(bytes.try_get_u16_le().ok()?);
            let runs = bytes.split_off(..runs * 4)?;
            if let Some(bits) = bits {
                fill_runs(runs, bits);
            }
        } else if rows > ARRAY_ROWS_MAX {
            let words = bytes.split_off(..CONTAINER_BYTES)?;
            if let Some(bits) = bits {
                bits.copy_from_slice(words);
            }
        } else {
            let rows = bytes.split_off(..rows * 2)?;
            if let Some(bits) = bits {
                fill_rows(rows, bits);
            }
        }
    }
    Some(())
}

fn fill_rows(mut rows: &[u8], bits: &mut [u8]) {
    while let Ok(row) = rows.try_get_u16_le() {
        bits[usize::from(row) / 8] |= 1 << (row % 8);
    }
}

/// `runs` are pairs of the first row and the number of further rows.
fn fill_runs(mut runs: &[u8], bits: &mut [u8]) {
    while let (Ok(first), Ok(more)) = (runs.try_get_u16_le(), runs.try_get_u16_le()) {
        let last = first.saturating_add(more);
        let (from, to) = (usize::from(first / 8), usize::from(last / 8));
        // Bits of the first byte from `first`, and of the last byte up to `last`.
        let (head, tail) = (0xFF_u8 << (first % 8), 0xFF_u8 >> (7 - last % 8));
        if from == to {
            bits[from] |= head & tail;
        } else {
            bits[from] |= head;
            bits[from + 1..to].fill(0xFF);
            bits[to] |= tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: u32 = 400_000;

    fn as_bitmap(bits: &BooleanBuffer) -> RoaringBitmap {
        bits.set_indices_u32().collect()
    }

    #[test]
    fn full_containers_and_their_edges_are_kept() {
        let mut rows = RoaringBitmap::new();
        rows.insert_range(0..200_000);
        rows.remove_range(65_536..65_540);
        for rows in [rows.clone(), {
            rows.optimize();
            rows
        }] {
            assert_eq!(as_bitmap(&dense(&rows, 200_000).unwrap()), rows);
        }
        assert_eq!(dense(&RoaringBitmap::new(), 0).unwrap().len(), 0);
        assert_eq!(dense(&RoaringBitmap::new(), 70_000).unwrap().count_set_bits(), 0);
        assert_eq!(dense(&RoaringBitmap::full(), 70_000).unwrap().count_set_bits(), 70_000);
    }

    #[test]
    fn bytes_that_end_early_are_reported() {
        let rows: RoaringBitmap = (0..10_000).step_by(3).chain(70_000..90_000).collect();
        let mut bytes = Vec::new();
        rows.serialize_into(&mut bytes).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(fill(&bytes[..end], &mut vec![0; 2 * CONTAINER_BYTES]), None, "{end} bytes");
        }
    }

    proptest! {
        #[test]
        fn the_bits_are_those_of_the_bitmap(
            ranges in prop::collection::vec((0..TOTAL, 1..70_000_u32, 1..9_usize), 0..12),
            optimized: bool,
        ) {
            let mut rows: RoaringBitmap = RoaringBitmap::new();
            for (start, len, step) in ranges {
                rows.extend((start..(start + len).min(TOTAL)).step_by(step));
            }
            if optimized {
                rows.optimize();
            }
            prop_assert_eq!(as_bitmap(&dense(&rows, TOTAL as usize).unwrap()), rows);
        }
    }
}
