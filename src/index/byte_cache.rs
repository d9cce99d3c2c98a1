//! How is the memory of cached objects bounded?

use std::borrow::Borrow;
use std::hash::Hash;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Cache of values by key, up to a number of bytes. Values used repeatedly stay, however many are used once
/// in between (CLOCK-Pro). It returns clones, so values should be cheap to clone.
#[derive(Debug)]
pub struct ByteCache<K, V> {
    cache: Cache<K, Weighed<V>, Bytes>,
}

#[derive(Debug, Clone)]
struct Weighed<V> {
    value: V,
    bytes: u64,
}

#[derive(Debug, Clone)]
struct Bytes;

impl<K, V> Weighter<K, Weighed<V>> for Bytes {
    fn weight(&self, _: &K, value: &Weighed<V>) -> u64 {
        value.bytes
    }
}

impl<K: Eq + Hash, V: Clone> ByteCache<K, V> {
    /// Keeps values up to `bytes_max` bytes in total. A larger value is not kept.
    pub fn new(bytes_max: usize) -> Self {
        let mut options = OptionsBuilder::new();
        // Leaves room for large new values beside those that are used repeatedly.
        options.hot_allocation(0.8);
        // One shard: with several, each would have a share of the limit, and large values would not fit.
        options
            .shards(1)
            .estimated_items_capacity((bytes_max >> 16).max(64))
            .weight_capacity(bytes_max as u64);
        let cache = match options.build() {
            Ok(options) => Cache::with_options(
                options,
                Bytes,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Fails only if options are missing.
            Err(_) => Cache::with_weighter(64, bytes_max as u64, Bytes),
        };
        Self { cache }
    }

    /// Returns the value of `key`, if it is cached.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.cache.get(key).map(|weighed| weighed.value)
    }

    /// Caches `value`, which takes `bytes` bytes of memory.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        // Adds the approximate overhead of the cache.
        let bytes = (bytes + 2 * size_of::<(K, Weighed<V>)>()) as u64;
        self.cache.insert(key, Weighed { value, bytes });
    }

    /// Memory of the cached values, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.cache.weight() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_again_stays_within_the_limit() {
        let cache = ByteCache::new(100_000);
        for _ in 0..3 {
            for key in 0..5 {
                if cache.get(&key).is_none() {
                    cache.put(key, key, 5000);
                }
            }
        }
        for key in 100..1000 {
            cache.put(key, key, 5000);
            assert!(cache.memory_bytes() <= 100_000);
        }
        assert_eq!((0..5).filter_map(|key| cache.get(&key)).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        cache.put(0, 7, 20_000);
        assert_eq!(cache.get(&0), Some(7));
        cache.put(1, 7, 1 << 20);
        assert_ne!(cache.get(&1), Some(1), "a value that is too large still replaces the old one");
    }
}
