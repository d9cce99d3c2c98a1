//! Does an index cover all values of its segments?
//!
//! An index may have false positives, but queries miss a value that it lacks. So the check looks up every value
//! of a lookup column in the postings of its segment, and every hash of a segment in the run that covers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::builder::places;
use super::footers;
use super::hash::ValueHash;
use super::place::Place;
use super::postings::PostingsReader;
use super::run::{Run, SLICE_BYTES};
use super::segment_index::{SegmentIndex, lookup_section};
use super::sidecar::Sidecar;
use super::words::{self, WORDS_OF_BODY};
use crate::error::{Error, Result};
use crate::segment::SegmentId;
use crate::segment::encoding::PAGE_ROWS;

/// Reads the whole side-car of a segment with `rows` rows; returns its damage.
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

/// Counts the values of `column`, or the words of [`WORDS_OF_BODY`], that the index does not list on their pages; `None`
/// if the column has no lookups. `values` has one value per row. Needs 8 bytes of memory per posting of the column.
pub async fn values_not_found(
    index: &SegmentIndex,
    column: &str,
    values: &ArrayRef,
) -> Result<Option<usize>> {
    let Some(reader) = index.lookups().get(column).filter(|_| index.page_rows() == PAGE_ROWS) else {
        return Ok(None);
    };
    let field = Field::new(column, values.data_type().clone(), true);
    let places = if column == WORDS_OF_BODY { words::places(values) } else { places(&field, values) };
    let Some(places) = places else { return Ok(None) };
    let mut known = Vec::new();
    visit_slice(index.sidecar(), column, reader, (0, 0), |hash, pages| {
        known.extend(pages.iter().map(|page| hash.get() << Place::PAGE_BITS | u64::from(*page)));
    })
    .await?;
    let of = |place: &Place| place.hash().get() << Place::PAGE_BITS | u64::from(place.page());
    // `known` ascends by hash, then by page.
    Ok(Some(places.iter().filter(|place| known.binary_search(&of(place)).is_err()).count()))
}

/// Counts the hashes that `run` lacks, per segment and column that it covers; complete ones are left out.
/// `indexes` are the readable indexes of the run's segments, `ids` their segments.
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
                // Damage to the side-car is reported elsewhere.
                let visited = visit_slice(index.sidecar(), column, reader, (slice, slice_bits), visit).await;
                if visited.is_ok() && lost > 0 {
                    *missing.entry((*id, column.to_string())).or_default() += lost;
                }
            }
        }
    }
    Ok(missing)
}

/// Calls `visit` with the entries of slice `slice` of the `2^bits` slices of a column's postings, in ascending
/// order.
async fn visit_slice(
    sidecar: &Sidecar,
    column: &str,
    reader: &PostingsReader,
    (slice, bits): (usize, u32),
    visit: impl FnMut(ValueHash, &[u32]),
) -> Result<()> {
    let section = lookup_section(column);
    let damaged = || sidecar.corrupt(&section, "its postings are damaged");
    let range = reader.slice_range(slice, bits).ok_or_else(damaged)?;
    let bytes = sidecar.read_range(&section, range).await?;
    reader.visit_slice(slice, bits, &bytes, visit).ok_or_else(damaged)
}
