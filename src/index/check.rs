//! Does an index know what is in the segments?
//!
//! An index may say too much; what it does not say is not found. So every value of a lookup column is looked
//! up in the postings of its segment, and every hash of a segment in the run that covers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::builder::{Place, places};
use super::footers;
use super::hash::ValueHash;
use super::postings::PostingsReader;
use super::run::{Run, SLICE_BYTES};
use super::segment_index::{SegmentIndex, lookup_section};
use super::sidecar::Sidecar;
use crate::error::{Error, Result};
use crate::segment::SegmentId;
use crate::segment::encoding::PAGE_ROWS;

/// Reads all of a side-car of a segment with `rows` rows; returns what of it is damaged.
pub async fn damage(index: &SegmentIndex, rows: u64) -> Vec<Error> {
    let sidecar = index.sidecar();
    let mut wrong = sidecar.verify().await;
    match footers::names(sidecar).await {
        Ok(Some(names)) => {
            for name in names.iter() {
                wrong.extend(footers::read(sidecar, &names, rows, [name]).await.err());
            }
        }
        Ok(None) => {}
        Err(error) => wrong.push(error),
    }
    wrong
}

/// How many values of `column` are not found in the index on the pages where they are; none when the column
/// is not looked up. `values` are those of all rows. Memory is that of the column's postings, 8 bytes each.
pub async fn values_not_found(
    index: &SegmentIndex,
    column: &str,
    values: &ArrayRef,
) -> Result<Option<usize>> {
    let Some(reader) = index.lookups().get(column).filter(|_| index.page_rows() == PAGE_ROWS) else {
        return Ok(None);
    };
    let field = Field::new(column, values.data_type().clone(), true);
    let Some(places) = places(&field, values) else { return Ok(None) };
    let mut known = Vec::new();
    visit_slice(index.sidecar(), column, reader, (0, 0), |hash, pages| {
        known.extend(pages.iter().map(|page| hash.get() << Place::PAGE_BITS | u64::from(*page)));
    })
    .await?;
    let of = |place: &Place| place.hash().get() << Place::PAGE_BITS | u64::from(place.page());
    // They ascend by hash, and by page within it.
    Ok(Some(places.iter().filter(|place| known.binary_search(&of(place)).is_err()).count()))
}

/// Of each segment and column that `run` covers: how many hashes are not found in it, where there are any.
/// `indexes` are those of the run's segments that can be read.
pub async fn hashes_not_found(
    run: &Run,
    indexes: &[Arc<SegmentIndex>],
    ids: &[SegmentId],
) -> Result<BTreeMap<(SegmentId, String), u64>> {
    let mut missing: BTreeMap<(SegmentId, String), u64> = BTreeMap::new();
    let numbers = |id: &SegmentId| run.meta().segments.iter().position(|other| other == id);
    let numbered: Vec<_> =
        indexes.iter().zip(ids).filter_map(|(index, id)| Some((index, *id, numbers(id)? as u32))).collect();
    for (column, reader) in run.lookups() {
        let bytes = run.sidecar().length(&lookup_section(column)).unwrap_or(0);
        let slice_bits = bytes.div_ceil(SLICE_BYTES).next_power_of_two().ilog2();
        for slice in 0..1_usize << slice_bits {
            let place = |hash: ValueHash, number: u32| (hash.get(), number);
            let mut known = Vec::new();
            visit_slice(run.sidecar(), column, reader, (slice, slice_bits), |hash, numbers| {
                known.extend(numbers.iter().map(|number| place(hash, *number)));
            })
            .await?;
            for (index, id, number) in numbered.iter().filter(|(.., n)| run.covers(column, *n)) {
                let Some(reader) = index.lookups().get(column) else { continue };
                let mut lost = 0;
                let visit = |hash, _: &[u32]| {
                    lost += u64::from(known.binary_search(&place(hash, *number)).is_err());
                };
                // A side-car that is damaged is a problem of its own.
                let visited = visit_slice(index.sidecar(), column, reader, (slice, slice_bits), visit).await;
                if visited.is_ok() && lost > 0 {
                    *missing.entry((*id, column.to_string())).or_default() += lost;
                }
            }
        }
    }
    Ok(missing)
}

/// Calls `visit` with the entries of slice `slice` of `2^bits` of a column's postings, in ascending order.
async fn visit_slice(
    sidecar: &Sidecar,
    column: &str,
    reader: &PostingsReader,
    (slice, bits): (usize, u32),
    visit: impl FnMut(ValueHash, &[u32]),
) -> Result<()> {
    let section = lookup_section(column);
    let damaged = || sidecar.corrupt(&section, "damaged postings");
    let range = reader.slice_range(slice, bits).ok_or_else(damaged)?;
    let bytes = sidecar.read_range(&section, range).await?;
    reader.visit_slice(slice, bits, &bytes, visit).ok_or_else(damaged)
}
