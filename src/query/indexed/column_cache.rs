//! Which columns of segments are kept in memory?
//!
//! There are two forms: *inverted*, the rows of each value, for predicates and counts; and *decoded*, the value of
//! each row, for scans. A column of a segment is cached in a form when it is requested again: the first query
//! reads Parquet as it would without a cache, so one-off queries cost nothing extra. Both forms share one limit of
//! bytes; rarely used columns are evicted first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;

use super::decode::Files;
use super::inverted::Inverted;
use crate::config::QuerySettings;
use crate::index::byte_cache::ByteCache;
use crate::segment::{SegmentId, SegmentMeta};

/// Memory for the numbers of requests of columns: enough for some 100,000 columns.
const ASKED_BYTES_MAX: usize = 16 << 20;
/// Largest share of the limit for one decoded column.
const LARGE_SHARE: usize = 8;

#[derive(Debug, Clone)]
enum Held {
    Inverted(Inverted),
    /// `None` if it is not to be cached: too large, or of a type that scans decode in their own way.
    Decoded(Option<ArrayRef>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum HeldAs {
    Inverted,
    Decoded,
}

type Key = (SegmentId, Box<str>, HeldAs);

/// Columns in memory, for all queries of a database.
#[derive(Debug)]
pub(crate) struct ColumnCache {
    held: ByteCache<Key, Held>,
    asked: ByteCache<Key, Arc<AtomicU32>>,
    bytes_max: usize,
    asks: Asks,
}

/// Numbers of requests for a column before it is cached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks {
    inverted: u32,
    decoded: u32,
}

impl Asks {
    /// Takes the numbers from `settings`.
    pub(crate) fn of(settings: &QuerySettings) -> Self {
        Self { inverted: settings.bitmap_asks, decoded: settings.decoded_asks }
    }
}

impl ColumnCache {
    /// Creates a cache of at most `bytes_max` bytes. Columns are cached after the requests in `asks`.
    pub(crate) fn new(bytes_max: usize, asks: Asks) -> Self {
        Self { held: ByteCache::new(bytes_max), asked: ByteCache::new(ASKED_BYTES_MAX), bytes_max, asks }
    }

    /// Memory in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.held.memory_bytes() + self.asked.memory_bytes()
    }

    /// The rows by value of `columns`, given with their types in memory, of `segment`. Counts a request for each;
    /// columns without enough requests are left out.
    pub(crate) async fn inverted(
        &self,
        segment: &Arc<SegmentMeta>,
        columns: &HashMap<&str, DataType>,
        files: &Files,
    ) -> Result<HashMap<String, Inverted>> {
        let mut known = HashMap::with_capacity(columns.len());
        for (name, ty) in columns {
            let key = (segment.id, Box::from(*name), HeldAs::Inverted);
            let found = match self.held.get(&key) {
                Some(Held::Inverted(found)) => found,
                _ if !self.is_earned(&key) => continue,
                _ => {
                    let found = files.invert(segment, name, ty).await?;
                    self.held.put(key, Held::Inverted(found.clone()), found.memory_bytes());
                    found
                }
            };
            known.insert((*name).to_owned(), found);
        }
        Ok(known)
    }

    /// All values of `columns`, given with their types, of `segment`, in the form of [`Files::decode`]; `None`
    /// if some are not cached. With `read`, missing columns are read once they have enough requests.
    pub(crate) async fn decoded(
        &self,
        segment: &Arc<SegmentMeta>,
        columns: &[(&str, DataType)],
        read: bool,
        files: &Files,
    ) -> Result<Option<Vec<ArrayRef>>> {
        let key = |name: &str| (segment.id, Box::from(name), HeldAs::Decoded);
        let mut found = Vec::with_capacity(columns.len());
        for (name, _) in columns {
            found.push(match self.held.get(&key(name)) {
                Some(Held::Decoded(Some(values))) => Some(values),
                Some(_) => return Ok(None),
                None => None,
            });
        }
        if found.iter().all(Option::is_some) {
            return Ok(Some(found.into_iter().flatten().collect()));
        }
        if !read {
            return Ok(None);
        }
        let missing = columns.iter().zip(&found).filter(|(_, found)| found.is_none());
        // Counts a request for every column, so no short circuit.
        let unearned = missing.filter(|((name, _), _)| !self.is_earned(&key(name))).count();
        if unearned > 0 {
            return Ok(None);
        }
        for ((name, ty), slot) in columns.iter().zip(&mut found) {
            if slot.is_some() {
                continue;
            }
            let values = files.decode(segment, name, ty, self.bytes_max / LARGE_SHARE).await?;
            let bytes = values.as_ref().map_or(0, Array::get_array_memory_size);
            self.held.put(key(name), Held::Decoded(values.clone()), bytes);
            let Some(values) = values else { return Ok(None) };
            *slot = Some(values);
        }
        Ok(Some(found.into_iter().flatten().collect()))
    }

    /// Number of values in the dictionary of `names`, the columns of one attribute in a segment. `None` if none or
    /// several of them are in memory, or the one in memory is not a dictionary.
    pub(crate) fn dictionary_len(&self, segment: SegmentId, names: &[String]) -> Option<usize> {
        let held = |name: &String| match self.held.get(&(segment, Box::from(name.as_str()), HeldAs::Decoded))
        {
            Some(Held::Decoded(Some(values))) => Some(values),
            _ => None,
        };
        let mut found = names.iter().filter_map(held);
        let column = found.next().filter(|_| found.next().is_none())?;
        Some(column.as_any_dictionary_opt()?.values().len())
    }

    /// Counts a request for a column. True if it has had enough to be cached.
    fn is_earned(&self, key: &Key) -> bool {
        let asks = match key.2 {
            HeldAs::Inverted => self.asks.inverted,
            HeldAs::Decoded => self.asks.decoded,
        };
        if asks == 0 {
            return true;
        }
        if let Some(asked) = self.asked.get(key) {
            return asked.fetch_add(1, Ordering::Relaxed) >= asks;
        }
        self.asked.put(key.clone(), Arc::new(AtomicU32::new(1)), key.1.len());
        false
    }
}
