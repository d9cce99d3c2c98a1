//! Can what a footer says of places be true?
//!
//! A Parquet footer has no checksum, and the library panics when it is asked for a column that begins or ends before
//! the file. So whoever reads a footer from an object of a segment has it looked through first. The copies in
//! side-cars have checksums.

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use crate::error::{Error, Result};

/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) when a leaf of a column is not within an object of
/// `object_bytes` bytes.
pub fn check_places(footer: &ParquetMetaData, object_bytes: u64) -> Result<()> {
    for leaf in footer.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let start = leaf.dictionary_page_offset().unwrap_or_else(|| leaf.data_page_offset());
        let bytes = leaf.compressed_size();
        let end = u64::try_from(start).ok().zip(u64::try_from(bytes).ok()).map(|(a, b)| a.saturating_add(b));
        if end.is_none_or(|end| end > object_bytes) {
            let column = leaf.column_path();
            return Err(Error::corrupt(format!(
                "its footer says that {column} has {bytes} bytes from offset {start}, of {object_bytes}"
            )));
        }
    }
    Ok(())
}
