//! Do the offsets in a footer lie within the object?
//!
//! A Parquet footer has no checksum, and the library panics if a column's offset or size is negative. So every
//! footer read from a segment's object is checked first. The copies in side-cars have checksums.

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::error::{Error, Result};

/// Checks that all leaves of all columns lie within an object of `object_bytes` bytes. Fails with
/// [`Corrupt`](crate::ErrorKind::Corrupt) if one does not.
pub fn check_places(footer: &ParquetMetaData, object_bytes: u64) -> Result<()> {
    for leaf in footer.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let start = leaf.dictionary_page_offset().unwrap_or_else(|| leaf.data_page_offset());
        let bytes = leaf.compressed_size();
        let end = u64::try_from(start).ok().zip(u64::try_from(bytes).ok()).map(|(a, b)| a.saturating_add(b));
        if end.is_none_or(|end| end > object_bytes) {
            let column = leaf.column_path();
            return Err(Error::corrupt(format!(
                "the footer places {column} at offset {start} with {bytes} bytes, outside the object of {object_bytes} bytes"
            )));
        }
    }
    Ok(())
}
