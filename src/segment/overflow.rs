//! Which attributes are in the overflow of a segment?
//!
//! A query on an attribute reads the overflow of a segment only if the attribute may be there. The footer
//! has a list of names or, if there are too many, a Bloom filter, which has false positives.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{KeyValue, ParquetMetaData};

/// Footer key: a JSON array of the physical names.
const LIST_KEY: &str = "broadloom.overflow";
/// Footer key: Base64 of the bits of a split-block Bloom filter, as in Parquet, of the physical names.
const FILTER_KEY: &str = "broadloom.overflow_filter";
/// Longest list, in bytes: about as much as the catalog stores for the columns of a segment.
const LIST_BYTES_MAX: usize = 32 << 10;
/// Size of the filter per name: gives one false positive in 500.
const FILTER_BYTES_PER_NAME: usize = 2;
/// Largest filter, in bytes: with 100,000 names one in 20 lookups is a false positive.
const FILTER_BYTES_MAX: usize = 64 << 10;
const FILTER_BLOCK_BYTES: usize = 32;

/// Encodes the attributes `names` for the footer: as a list, or as a filter if the list is too long.
pub(super) fn pair(names: &BTreeSet<String>) -> KeyValue {
    let json = names.iter().map(String::as_str).collect::<serde_json::Value>().to_string();
    if json.len() <= LIST_BYTES_MAX {
        return KeyValue::new(LIST_KEY.to_owned(), json);
    }
    let filter = OverflowFilter::of(names);
    KeyValue::new(FILTER_KEY.to_owned(), BASE64_STANDARD.encode(filter.to_bytes()))
}

/// Names that a footer lists, sorted; `None` if there were too many to list.
pub(super) fn listed(footer: &ParquetMetaData) -> Option<Vec<String>> {
    let mut names: Vec<String> = serde_json::from_str(value(footer, LIST_KEY)?).ok()?;
    names.sort_unstable();
    Some(names)
}

fn value<'a>(footer: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    pairs.filter(|pair| pair.key == key).find_map(|pair| pair.value.as_deref())
}

/// Bloom filter of the attributes in the overflow: false positives, no false negatives.
#[derive(Debug, Clone)]
pub struct OverflowFilter(Sbbf);

impl OverflowFilter {
    fn of(names: &BTreeSet<String>) -> Self {
        let bytes = (names.len() * FILTER_BYTES_PER_NAME).min(FILTER_BYTES_MAX);
        let mut filter = Sbbf::new_with_num_of_bytes(bytes);
        for name in names {
            filter.insert(name.as_str());
        }
        Self(filter)
    }

    /// Reads the filter in a segment's footer; `None` if it has a list instead.
    pub fn from_footer(footer: &ParquetMetaData) -> Option<Self> {
        Self::parse(&BASE64_STANDARD.decode(value(footer, FILTER_KEY)?).ok()?)
    }

    /// Makes a filter of these bits; `None` if their size is not a filter's.
    pub fn parse(bits: &[u8]) -> Option<Self> {
        let fits = !bits.is_empty()
            && bits.len() <= FILTER_BYTES_MAX
            && bits.len().is_multiple_of(FILTER_BLOCK_BYTES);
        fits.then(|| Self(Sbbf::new(bits)))
    }

    /// Memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.0.num_blocks() * FILTER_BLOCK_BYTES
    }

    /// Bits of the filter, as the footer stores them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bits = Vec::with_capacity(self.0.num_blocks() * FILTER_BLOCK_BYTES);
        // Writing into memory does not fail.
        let _ = self.0.write_bitset(&mut bits);
        bits
    }

    /// True if the attribute of this physical name may have values in the overflow.
    pub fn may_have(&self, name: &str) -> bool {
        self.0.check(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> BTreeSet<String> {
        (0..count).map(|i| format!("attribute.number.{i:06}")).collect()
    }

    #[test]
    fn few_names_are_listed_and_many_filtered() {
        assert_eq!(
            pair(&names(2)).value.unwrap(),
            r#"["attribute.number.000000","attribute.number.000001"]"#
        );
        assert_eq!(pair(&names(0)).value.unwrap(), "[]");
        let pair = pair(&names(20_000));
        assert_eq!(pair.key, FILTER_KEY);
        let filter = OverflowFilter::parse(&BASE64_STANDARD.decode(pair.value.unwrap()).unwrap()).unwrap();
        assert!(names(20_000).iter().all(|name| filter.may_have(name)));
        let wrong = (0..10_000).filter(|i| filter.may_have(&format!("other.{i}"))).count();
        assert!(wrong < 100, "{wrong} of 10,000");
        assert_eq!(OverflowFilter::parse(&filter.to_bytes()).unwrap().to_bytes(), filter.to_bytes());
    }

    #[test]
    fn the_filter_is_bounded_and_other_bytes_are_none() {
        assert_eq!(OverflowFilter::of(&names(100_000)).to_bytes().len(), FILTER_BYTES_MAX);
        for bits in [&[][..], &[1; 31], &[1; 33], &vec![1; FILTER_BYTES_MAX + 32]] {
            assert!(OverflowFilter::parse(bits).is_none());
        }
    }
}
