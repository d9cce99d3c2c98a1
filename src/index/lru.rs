//! How is the memory of what was read bounded?

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use parking_lot::Mutex;

/// Values by key, the least recently used dropped first. Cheap to clone values only: they are handed out.
#[derive(Debug)]
pub struct Lru<K, V> {
    bytes_max: usize,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, K>,
    bytes: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    /// Keeps values up to `bytes_max` bytes; one is always kept.
    pub fn new(bytes_max: usize) -> Self {
        let inner = Inner { entries: HashMap::new(), order: BTreeMap::new(), bytes: 0, tick: 0 };
        Self { bytes_max, inner: Mutex::new(inner) }
    }

    /// The value of `key`. O(log n).
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let inner = &mut *self.inner.lock();
        let entry = inner.entries.get_mut(key)?;
        inner.tick += 1;
        if let Some(key) = inner.order.remove(&entry.used) {
            inner.order.insert(inner.tick, key);
        }
        entry.used = inner.tick;
        Some(entry.value.clone())
    }

    /// Keeps `value`, which takes `bytes` bytes of memory.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        let inner = &mut *self.inner.lock();
        // What the maps themselves take, about.
        let bytes = bytes + 2 * size_of::<(K, Entry<V>)>();
        inner.tick += 1;
        inner.bytes += bytes;
        inner.order.insert(inner.tick, key.clone());
        if let Some(old) = inner.entries.insert(key, Entry { value, bytes, used: inner.tick }) {
            inner.order.remove(&old.used);
            inner.bytes -= old.bytes;
        }
        while inner.bytes > self.bytes_max && inner.entries.len() > 1 {
            let Some((_, oldest)) = inner.order.pop_first() else { return };
            if let Some(old) = inner.entries.remove(&oldest) {
                inner.bytes -= old.bytes;
            }
        }
    }

    /// Memory of what is kept.
    pub fn memory_bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let cache = Lru::new(3 * 1000 + 500);
        for key in ["a", "b", "c"] {
            cache.put(key, 1, 1000);
        }
        assert_eq!(cache.get("a"), Some(1));
        cache.put("d", 1, 1000);
        assert_eq!(["a", "b", "c", "d"].map(|key| cache.get(key).is_some()), [true, false, true, true]);
        assert!(cache.memory_bytes() <= 3500);
        cache.put("a", 2, 1000);
        assert_eq!(cache.get("a"), Some(2));
        cache.put("huge", 1, 1 << 20);
        assert_eq!((cache.get("huge"), cache.get("a")), (Some(1), None), "one is always kept");
        cache.put("a", 1, 0);
        assert_eq!(cache.get("huge"), None);
        assert!(cache.memory_bytes() < 1000);
    }
}
