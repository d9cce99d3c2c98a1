//! Which attribute keys exist, with which types?
//!
//! The dictionary only grows: it has every key of every event that was ever acknowledged. With it, a query can
//! distinguish a key from a typing error and chooses the type of its values. Ingest and queries share it; it
//! locks internally. It may have keys that are not in a query's snapshot; they read as null there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::DataType;
use parking_lot::RwLock;

use super::{AttributeKey, AttributeType, EventBatch, Level, TypeSet};

/// An attribute name in SQL and its types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlAttribute {
    /// Name, in the producers' spelling of the key.
    pub name: String,
    /// All types that occurred at any level that the name may refer to.
    pub types: TypeSet,
}

impl SqlAttribute {
    /// Type of the attribute in SQL.
    pub fn data_type(&self) -> DataType {
        self.types.sql_type()
    }
}

/// Keys of all events and their types. Shared; locks internally.
#[derive(Debug, Default)]
pub struct KeyDictionary {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Types per level, by key.
    types: HashMap<Arc<str>, [TypeSet; 4]>,
    /// SQL names by their lower-case spelling.
    folded: HashMap<String, Vec<Arc<str>>>,
}

impl Inner {
    fn knows(&self, key: &AttributeKey, seen: TypeSet) -> bool {
        self.types.get(&key.key).is_some_and(|levels| levels[key.level as usize].contains_all(seen))
    }

    fn insert(&mut self, key: &AttributeKey, seen: TypeSet) {
        let levels = self.types.entry(Arc::clone(&key.key)).or_default();
        let types = &mut levels[key.level as usize];
        if types.is_empty() {
            let name: Arc<str> = key.sql_name().into();
            let spellings = self.folded.entry(name.to_lowercase()).or_default();
            if !spellings.contains(&name) {
                spellings.push(name);
            }
        }
        *types = types.union(seen);
    }

    fn types(&self, name: &str) -> TypeSet {
        AttributeKey::candidates(name).iter().fold(TypeSet::default(), |types, key| {
            let levels = self.types.get(&key.key);
            types.union(levels.map_or_else(TypeSet::default, |levels| levels[key.level as usize]))
        })
    }
}

impl KeyDictionary {
    /// An empty dictionary.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one key with one type.
    pub fn insert(&self, key: &AttributeKey, ty: AttributeType) {
        self.insert_types(key, TypeSet::default().with(ty));
    }

    /// Adds one key with types. If `seen` is empty, the key is not added.
    pub fn insert_types(&self, key: &AttributeKey, seen: TypeSet) {
        if !seen.is_empty() && !self.inner.read().knows(key, seen) {
            self.inner.write().insert(key, seen);
        }
    }

    /// Adds the keys of a batch. Takes the write lock only if a key or type is new.
    pub fn observe(&self, batch: &EventBatch) {
        let seen = batch.attributes().iter().map(|column| (column.key(), column.types()));
        let seen: Vec<_> = seen.filter(|(_, seen)| !seen.is_empty()).collect();
        let new: Vec<_> = {
            let inner = self.inner.read();
            seen.into_iter().filter(|(key, seen)| !inner.knows(key, *seen)).collect()
        };
        if !new.is_empty() {
            let mut inner = self.inner.write();
            for (key, seen) in new {
                inner.insert(key, seen);
            }
        }
    }

    /// Lists all keys with their types, in no particular order.
    pub fn all(&self) -> Vec<(AttributeKey, TypeSet)> {
        let inner = self.inner.read();
        let of = |(key, levels): (&Arc<str>, &[TypeSet; 4])| {
            let key = Arc::clone(key);
            let known = Level::ALL.into_iter().zip(*levels).filter(|(_, types)| !types.is_empty());
            known
                .map(move |(level, types)| (AttributeKey { level, key: Arc::clone(&key) }, types))
                .collect::<Vec<_>>()
        };
        inner.types.iter().flat_map(of).collect()
    }

    /// Number of distinct keys; a key that occurs at several levels counts once.
    pub fn len(&self) -> usize {
        self.inner.read().types.len()
    }

    /// True if no event had an attribute.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds the attribute with exactly this SQL name.
    pub fn lookup(&self, name: &str) -> Option<SqlAttribute> {
        let types = self.inner.read().types(name);
        (!types.is_empty()).then(|| SqlAttribute { name: name.to_owned(), types })
    }

    /// Finds the attribute with this SQL name in any case; `None` unless exactly one spelling exists.
    pub fn lookup_ignore_case(&self, name: &str) -> Option<SqlAttribute> {
        let lower = name.to_lowercase();
        let inner = self.inner.read();
        let spelling = match inner.folded.get(&lower).map(Vec::as_slice) {
            Some([name]) => name.to_string(),
            Some(_) => return None,
            None => explicit_level(&inner, &lower)?,
        };
        let types = inner.types(&spelling);
        (!types.is_empty()).then_some(SqlAttribute { name: spelling, types })
    }

    /// Lists all SQL names of attributes, sorted.
    pub fn names(&self) -> Vec<String> {
        let inner = self.inner.read();
        let mut names: Vec<_> = inner.folded.values().flatten().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    /// Lists the existing attribute keys for a SQL name with their types, most specific first.
    pub fn keys_of(&self, name: &str) -> Vec<(AttributeKey, TypeSet)> {
        let inner = self.inner.read();
        let keys = AttributeKey::candidates(name).into_iter().filter_map(|key| {
            let types = inner.types.get(&key.key)?[key.level as usize];
            (!types.is_empty()).then_some((key, types))
        });
        keys.collect()
    }

    /// Lists up to `n` existing names similar to `name`, best first, for "did you mean" hints.
    pub fn nearest(&self, name: &str, n: usize) -> Vec<String> {
        let lower = name.to_lowercase();
        let inner = self.inner.read();
        let mut scored: Vec<(u32, &str)> = inner
            .folded
            .iter()
            .filter_map(|(folded, names)| Some((distance(&lower, folded)?, names.first()?.as_ref())))
            .collect();
        scored.sort_unstable();
        let mut seen = HashSet::new();
        scored
            .into_iter()
            .map(|(_, name)| name.to_owned())
            .filter(|n| seen.insert(n.clone()))
            .take(n)
            .collect()
    }
}

/// Finds the spelling of `resource.<key>` or `scope.<key>` for a name in lower case; `None` unless the key has
/// exactly one spelling at that level.
fn explicit_level(inner: &Inner, lower: &str) -> Option<String> {
    [Level::Scope, Level::Resource].into_iter().find_map(|level| {
        let key = lower.strip_prefix(level.prefix())?;
        let has = |key: &&Arc<str>| inner.types.get(*key).is_some_and(|l| !l[level as usize].is_empty());
        let mut spellings = inner.folded.get(key)?.iter().filter(has);
        match (spellings.next(), spellings.next()) {
            (Some(key), None) => Some(format!("{}{key}", level.prefix())),
            _ => None,
        }
    })
}

/// Distance of two names, smaller is nearer; `None` if they are too different. Names that end in the typed text are
/// near, because people leave out prefixes.
fn distance(typed: &str, known: &str) -> Option<u32> {
    if known.strip_suffix(typed).is_some_and(|rest| rest.ends_with(['.', '_'])) {
        return Some(1);
    }
    let limit = typed.len() / 3 + 1;
    if typed.len().abs_diff(known.len()) > limit {
        return None;
    }
    let edits = strsim::osa_distance(typed, known);
    (edits <= limit).then_some(edits as u32 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CoreEvent, EventBatchBuilder, Value};

    fn dictionary(keys: &[(Level, &str, AttributeType)]) -> KeyDictionary {
        let dictionary = KeyDictionary::new();
        for (level, key, ty) in keys {
            dictionary.insert(&AttributeKey::new(*level, *key), *ty);
        }
        dictionary
    }

    #[test]
    fn a_bare_name_unites_the_levels() {
        let d = dictionary(&[
            (Level::Resource, "service.name", AttributeType::Text),
            (Level::Record, "retries", AttributeType::Int),
            (Level::Scope, "retries", AttributeType::Double),
            (Level::Body, "user", AttributeType::Bool),
        ]);
        assert_eq!(d.lookup("service.name").unwrap().data_type(), DataType::Utf8View);
        assert_eq!(d.lookup("resource.service.name").unwrap().data_type(), DataType::Utf8View);
        assert_eq!(d.lookup("retries").unwrap().data_type(), DataType::Float64);
        assert_eq!(d.lookup("scope.retries").unwrap().data_type(), DataType::Float64);
        assert_eq!(d.lookup("body.user").unwrap().data_type(), DataType::Boolean);
        assert_eq!(d.lookup("user"), None);
    }

    #[test]
    fn what_values_are_is_seen_in_batches() {
        let batch = |value: Value<'_>| {
            let mut builder = EventBatchBuilder::new();
            builder.push(&CoreEvent::default());
            let key = builder.key(Level::Record, "k");
            builder.attribute(key, value);
            builder.finish().unwrap()
        };
        let d = KeyDictionary::new();
        d.observe(&batch(Value::Json("null")));
        assert_eq!(d.lookup("k"), None);
        d.observe(&batch(Value::Double(0.5)));
        d.observe(&batch(Value::Int(7)));
        d.observe(&batch(Value::Json("null")));
        assert_eq!(d.lookup("k").unwrap().data_type(), DataType::Float64);
        d.observe(&batch(Value::Int(i64::MAX)));
        assert!(d.lookup("k").unwrap().types.is_mixed());
    }

    #[test]
    fn case_is_ignored_only_where_that_is_unambiguous() {
        let d = dictionary(&[
            (Level::Record, "K8s.Pod", AttributeType::Text),
            (Level::Record, "User.Id", AttributeType::Text),
            (Level::Record, "user.id", AttributeType::Text),
            (Level::Resource, "Host", AttributeType::Text),
        ]);
        assert_eq!(d.lookup_ignore_case("k8s.pod").unwrap().name, "K8s.Pod");
        assert_eq!(d.lookup_ignore_case("USER.ID"), None);
        assert_eq!(d.lookup_ignore_case("resource.host").unwrap().name, "resource.Host");
    }

    #[test]
    fn a_spelled_level_is_that_level_whatever_keys_are_called() {
        let d = dictionary(&[
            (Level::Resource, "size", AttributeType::Int),
            (Level::Resource, "Zone", AttributeType::Int),
            (Level::Record, "zone", AttributeType::Text),
            (Level::Record, "resource.size", AttributeType::Text),
            (Level::Record, "scope.only", AttributeType::Text),
        ]);
        assert_eq!(d.lookup("resource.size").unwrap().data_type(), DataType::Int64);
        assert_eq!(d.lookup("record.resource.size").unwrap().data_type(), DataType::Utf8View);
        assert_eq!(d.lookup_ignore_case("RESOURCE.SIZE").unwrap().name, "resource.size");
        assert_eq!(d.lookup_ignore_case("resource.zone").unwrap().name, "resource.Zone");
        assert_eq!(d.lookup("scope.only"), None);
        assert_eq!(d.nearest("scope.only", 1), ["record.scope.only"]);
    }

    #[test]
    fn typing_errors_find_their_name() {
        let d = dictionary(&[
            (Level::Record, "http.route", AttributeType::Text),
            (Level::Record, "http.response.status_code", AttributeType::Int),
        ]);
        assert_eq!(d.nearest("htp.route", 3), ["http.route"]);
        assert_eq!(d.nearest("status_code", 3), ["http.response.status_code"]);
        assert!(d.nearest("zebra", 3).is_empty());
    }
}
