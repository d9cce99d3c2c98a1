//! Which encoding does a column get?
//!
//! A sample of the values decides. Values that repeat go into a dictionary. Otherwise integers are stored as
//! bit-packed differences, doubles as one stream per byte, and text with its lengths apart. All encodings are
//! standard Parquet. The measurements are in `docs/design/layout.md`.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};

/// Rows of a page: the unit that a lookup by id reads and that pruning skips.
pub const PAGE_ROWS: usize = 8192;
/// Number of values sampled to decide whether a column repeats.
const SAMPLE_VALUES: usize = 4096;

/// Settings chosen by measurement; `benches/layout.rs` measures other values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Rows of a page, in every column.
    pub page_rows: usize,
    /// ZSTD compression level.
    pub zstd_level: i32,
    /// A text column gets a dictionary if each value occurs at least this many times on average.
    pub text_repeats: usize,
    /// A numeric column gets a dictionary if each value occurs at least this many times on average.
    pub number_repeats: usize,
    /// Smallest saving by ZSTD, in bytes per row, for which a column is compressed. A lookup must decompress each
    /// compressed column, and setting up the decompression context takes longer than that.
    pub compression_saves_min: f64,
}

impl Tuning {
    /// Settings for segments.
    pub const SEGMENT: Self = Self {
        page_rows: PAGE_ROWS,
        zstd_level: 1,
        text_repeats: 2,
        number_repeats: 4,
        compression_saves_min: 0.05,
    };

    /// Writer properties common to all columns.
    pub(super) fn properties(&self) -> WriterPropertiesBuilder {
        WriterProperties::builder()
            .set_created_by(concat!("broadloom ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_data_page_row_count_limit(self.page_rows)
            .set_write_batch_size(self.page_rows)
            .set_max_row_group_row_count(None)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_compression(self.zstd())
    }

    fn zstd(&self) -> Compression {
        Compression::ZSTD(ZstdLevel::try_new(self.zstd_level).unwrap_or_default())
    }
}

/// Encoding of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnEncoding {
    dictionary: bool,
    encoding: Encoding,
    compressed: bool,
}

/// Chooses the encoding for these values.
pub(super) fn choose(field: &Field, values: &dyn Array, tuning: &Tuning) -> ColumnEncoding {
    let plain = ColumnEncoding { dictionary: false, encoding: Encoding::PLAIN, compressed: true };
    match field.data_type() {
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(..) => ColumnEncoding {
            dictionary: repeats(values, tuning.number_repeats),
            encoding: Encoding::DELTA_BINARY_PACKED,
            ..plain
        },
        DataType::Float64 => ColumnEncoding {
            dictionary: repeats(values, tuning.number_repeats),
            encoding: Encoding::BYTE_STREAM_SPLIT,
            ..plain
        },
        DataType::Utf8View | DataType::BinaryView => ColumnEncoding {
            dictionary: repeats(values, tuning.text_repeats),
            encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
            ..plain
        },
        DataType::Boolean | DataType::FixedSizeBinary(_) => plain,
        // Nested: the leaves are few and of all types, so Parquet decides by itself when a dictionary is too large.
        _ => ColumnEncoding { dictionary: true, ..plain },
    }
}

impl ColumnEncoding {
    /// Returns the same encoding without compression.
    pub(super) fn uncompressed(self) -> Self {
        Self { compressed: false, ..self }
    }

    /// Writer properties of a file whose columns all have this encoding.
    pub(super) fn properties(self, tuning: &Tuning) -> WriterProperties {
        let compression = if self.compressed { tuning.zstd() } else { Compression::UNCOMPRESSED };
        let properties = tuning.properties().set_dictionary_enabled(self.dictionary);
        properties.set_encoding(self.encoding).set_compression(compression).build()
    }
}

/// True if each value occurs at least `times` times on average, in a sample spread over the column.
fn repeats(values: &dyn Array, times: usize) -> bool {
    let step = (values.len() / SAMPLE_VALUES).max(1);
    let rows = (0..values.len()).step_by(step).filter(|i| values.is_valid(*i));
    let (seen, distinct) = match values.data_type() {
        DataType::Int64 => count(rows, |i| values.as_primitive::<Int64Type>().value(i).to_le_bytes()),
        DataType::UInt64 => count(rows, |i| values.as_primitive::<UInt64Type>().value(i).to_le_bytes()),
        DataType::Float64 => count(rows, |i| values.as_primitive::<Float64Type>().value(i).to_le_bytes()),
        DataType::Timestamp(..) => {
            count(rows, |i| values.as_primitive::<TimestampNanosecondType>().value(i).to_le_bytes())
        }
        DataType::Utf8View => count(rows, |i| values.as_string_view().value(i).as_bytes()),
        DataType::BinaryView => count(rows, |i| values.as_binary_view().value(i)),
        _ => return false,
    };
    distinct * times <= seen
}

fn count<B: AsRef<[u8]>>(rows: impl Iterator<Item = usize>, value: impl Fn(usize) -> B) -> (usize, usize) {
    let hash = RandomState::new();
    let mut distinct = HashSet::new();
    let mut seen = 0;
    for i in rows {
        let mut hasher = hash.build_hasher();
        hasher.write(value(i).as_ref());
        distinct.insert(hasher.finish());
        seen += 1;
    }
    (seen, distinct.len())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn repeating_text_gets_a_dictionary_and_unique_text_does_not() {
        let field = Field::new("t", DataType::Utf8View, true);
        let routes: StringViewArray = (0..10_000).map(|i| Some(format!("/route/{}", i % 30))).collect();
        assert!(choose(&field, &routes, &Tuning::SEGMENT).dictionary);
        let ids: StringViewArray = (0..10_000).map(|i| Some(format!("id-{i}"))).collect();
        let chosen = choose(&field, &ids, &Tuning::SEGMENT);
        assert!(!chosen.dictionary);
        assert_eq!(chosen.encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY);
    }

    #[test]
    fn integers_are_packed_unless_they_are_few() {
        let field = Field::new("n", DataType::Int64, true);
        let few = Int64Array::from_iter_values((0..10_000).map(|i| 200 + i % 5));
        assert!(choose(&field, &few, &Tuning::SEGMENT).dictionary);
        let many = Int64Array::from_iter_values(0..10_000);
        assert!(!choose(&field, &many, &Tuning::SEGMENT).dictionary);
    }
}
