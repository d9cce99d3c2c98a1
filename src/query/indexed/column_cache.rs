//! Which columns of segments are in memory?
//!
//! In two forms: *inverted*, the rows of each value, for predicates and counts; and *decoded*, the value of
//! each row, for scans. A column of a segment earns either by being asked for a second time: the first query
//! reads Parquet, as it would without any cache, so that a question that is asked once costs nothing extra.
//! Both share one limit of bytes; what is rarely used goes first.

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

/// How often columns were asked for is remembered up to this size: of some 100,000 columns.
const ASKED_BYTES_MAX: usize = 16 << 20;
/// A decoded column may take this share of the limit.
const LARGE_SHARE: usize = 8;

#[derive(Debug, Clone)]
enum Held {
    Inverted(Inverted),
    /// None: it is not to be held, as it is too large, or of a type that scans decode in their own way.
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

/// How often a column is asked for before it is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks {
    inverted: u32,
    decoded: u32,
}

impl Asks {
    /// As `settings` say.
    pub(crate) fn of(settings: &QuerySettings) -> Self {
        Self { inverted: settings.bitmap_asks, decoded: settings.decoded_asks }
    }
}

impl ColumnCache {
    /// Keeps at most `bytes_max` bytes, of columns that were asked for as often as `asks` says.
    pub(crate) fn new(bytes_max: usize, asks: Asks) -> Self {
        Self { held: ByteCache::new(bytes_max), asked: ByteCache::new(ASKED_BYTES_MAX), bytes_max, asks }
    }

    /// Memory that is in use, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.held.memory_bytes() + self.asked.memory_bytes()
    }

    /// The rows by value of `columns`, with their types in memory, of `segment`. Those that have not been
    /// asked for often enough are left out; they now have been once more.
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

    /// All values of `columns`, with their types, of `segment`, in the form of [`Files::decode`]; `None`
    /// when not all of them are to be held. With `read` those that are missing are read, once they have been
    /// asked for often enough.
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
        // All are asked for, whatever the first of them says.
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

    /// How many values the dictionary of `names`, the columns of a segment that are one attribute, has; `None`
    /// when none or several of them are in memory, or not as a dictionary.
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

    /// Whether a column has been asked for often enough to be held; it now has been once more.
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
