//! How attributes are named: in storage, and in SQL.
//!
//! OTLP has attributes at three levels, and a structured log body has entries too. The **physical name**
//! of an attribute is the name of its Parquet column. It is chosen to be what a person would expect, and
//! escaped only where that would be ambiguous:
//!
//! | level    | key                | physical name                 |
//! |----------|--------------------|-------------------------------|
//! | record   | `http.route`       | `http.route`                  |
//! | resource | `service.name`     | `resource.service.name`       |
//! | scope    | `feature`          | `scope.feature`               |
//! | body     | `user.id`          | `body.user.id`                |
//! | record   | `name`, a core column | `attributes.name`          |
//! | record   | `resource.x`       | `attributes.resource.x`       |
//! | record   | the empty key      | `attributes.`                 |
//! | scope    | `name`, as `scope.name` is a core column | `scope.attributes.name` |
//!
//! [`AttributeKey::physical_name`] and [`AttributeKey::from_physical_name`] are inverse, whatever the key.
//!
//! A **SQL name** means the record's attribute of that key, else the scope's, else the resource's; with a
//! level prefix it means that level alone, whatever keys there are. [`AttributeKey::candidates`] lists them in
//! that order. Keys that themselves begin with such a prefix are named with their level in front:
//!
//! | level    | key                | SQL name                      |
//! |----------|--------------------|-------------------------------|
//! | record   | `http.route`       | `http.route`                  |
//! | resource | `service.name`     | `service.name`, `resource.service.name` |
//! | record   | `resource.x`       | `record.resource.x`           |
//! | scope    | `resource.x`       | `scope.resource.x`            |
//! | body     | `user.id`          | `body.user.id`                |

use std::borrow::Cow;
use std::sync::Arc;

use super::schema;

/// Where an attribute was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// On the span, span event, log record or metric point itself.
    Record = 0,
    /// On the instrumentation scope.
    Scope = 1,
    /// On the resource.
    Resource = 2,
    /// An entry of a structured log body, shredded so that it can be queried; the body itself is kept too.
    Body = 3,
}

/// What the SQL name of a record's attribute begins with, where its key spells a level. Other keys that begin so
/// are keys like any other: loggers send `record.level`.
const RECORD: &str = "record.";

/// Escape that makes a physical name unambiguous.
const ESCAPE: &str = "attributes.";

impl Level {
    /// All levels, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Record, Self::Scope, Self::Resource, Self::Body];

    /// What physical names of this level begin with; a record's attributes have no prefix.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Record => "",
            Self::Scope => "scope.",
            Self::Resource => "resource.",
            Self::Body => "body.",
        }
    }

    /// Reads the code that `self as u8` wrote.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Identifies an attribute: its level and its key, which may be any string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeKey {
    /// Where it was set.
    pub level: Level,
    /// The key as the producer spells it.
    pub key: Arc<str>,
}

impl AttributeKey {
    /// The key `key` at `level`.
    pub fn new(level: Level, key: impl Into<Arc<str>>) -> Self {
        Self { level, key: key.into() }
    }

    /// Name of the Parquet column and of entries in the overflow; unique per attribute key.
    pub fn physical_name(&self) -> String {
        let (prefix, key) = (self.level.prefix(), &*self.key);
        let plain = format!("{prefix}{key}");
        if self.is_ambiguous(&plain) { format!("{prefix}{ESCAPE}{key}") } else { plain }
    }

    fn is_ambiguous(&self, plain: &str) -> bool {
        let other_level = self.level == Level::Record
            && Level::ALL.iter().any(|l| *l != Level::Record && plain.starts_with(l.prefix()));
        self.key.is_empty() || self.key.starts_with(ESCAPE) || other_level || schema::is_reserved(plain)
    }

    /// The attribute key that has this physical name; `None` for names that are not attributes (core
    /// columns and the overflow).
    pub fn from_physical_name(name: &str) -> Option<Self> {
        if schema::is_reserved(name) {
            return None;
        }
        let level = [Level::Scope, Level::Resource, Level::Body]
            .into_iter()
            .find(|level| name.starts_with(level.prefix()))
            .unwrap_or(Level::Record);
        let key = &name[level.prefix().len()..];
        Some(Self::new(level, key.strip_prefix(ESCAPE).unwrap_or(key)))
    }

    /// The name under which SQL shows it when no level is asked for.
    pub fn sql_name(&self) -> Cow<'_, str> {
        if self.level != Level::Body && spelled(&self.key).is_none() {
            return Cow::Borrowed(&self.key);
        }
        let prefix = if self.level == Level::Record { RECORD } else { self.level.prefix() };
        Cow::Owned(format!("{prefix}{}", self.key))
    }

    /// The attributes that the SQL name `name` may mean, most specific first.
    pub fn candidates(name: &str) -> Vec<Self> {
        if let Some((level, key)) = spelled(name) {
            return vec![Self::new(level, key)];
        }
        let name: Arc<str> = name.into();
        let levels = [Level::Record, Level::Scope, Level::Resource];
        levels.into_iter().map(|level| Self::new(level, Arc::clone(&name))).collect()
    }
}

/// The level that a SQL name spells, and the key at that level; `None` where it is a key of any level.
fn spelled(name: &str) -> Option<(Level, &str)> {
    // Each `record.` in front makes one key more reachable: all but the first are part of the key.
    let mut bare = name;
    while let Some(rest) = bare.strip_prefix(RECORD) {
        bare = rest;
    }
    let level =
        [Level::Scope, Level::Resource, Level::Body].into_iter().find(|l| bare.starts_with(l.prefix()))?;
    match name.strip_prefix(RECORD) {
        Some(key) => Some((Level::Record, key)),
        None => Some((level, &name[level.prefix().len()..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn physical(level: Level, key: &str) -> String {
        AttributeKey::new(level, key).physical_name()
    }

    #[test]
    fn physical_names_are_what_a_person_expects() {
        assert_eq!(physical(Level::Record, "http.route"), "http.route");
        assert_eq!(physical(Level::Resource, "service.name"), "resource.service.name");
        assert_eq!(physical(Level::Record, "name"), "attributes.name");
        assert_eq!(physical(Level::Record, "resource.x"), "attributes.resource.x");
        assert_eq!(physical(Level::Record, ""), "attributes.");
        assert_eq!(physical(Level::Scope, "name"), "scope.attributes.name");
        assert_eq!(physical(Level::Scope, ""), "scope.attributes.");
        assert_eq!(physical(Level::Record, "overflow"), "attributes.overflow");
    }

    #[test]
    fn physical_names_are_unique_and_reversible() {
        let keys = [
            "",
            "name",
            "resource.x",
            "x",
            "attributes.x",
            "scope.x",
            "body.x",
            "attributes.",
            "overflow",
            "attributes.attributes.x",
            "a b",
            "q\"uote",
            "ünï",
            "attributes",
            "resource.attributes.x",
            "version",
        ];
        let mut seen = std::collections::HashMap::new();
        for level in Level::ALL {
            for key in keys {
                let key = AttributeKey::new(level, key);
                let name = key.physical_name();
                assert_eq!(AttributeKey::from_physical_name(&name).as_ref(), Some(&key), "{name}");
                assert_eq!(seen.insert(name.clone(), key), None, "{name} is taken twice");
            }
        }
    }

    #[test]
    fn a_level_that_is_spelled_is_meant_alone() {
        let one = |level, key: &str| vec![AttributeKey::new(level, key)];
        assert_eq!(AttributeKey::candidates("resource.service.name"), one(Level::Resource, "service.name"));
        assert_eq!(AttributeKey::candidates("scope.x"), one(Level::Scope, "x"));
        assert_eq!(AttributeKey::candidates("body.x.y"), one(Level::Body, "x.y"));
        assert_eq!(AttributeKey::candidates("record.resource.x"), one(Level::Record, "resource.x"));
        assert_eq!(AttributeKey::candidates("resource.record.x"), one(Level::Resource, "record.x"));
        for bare in ["x", "record.level", "record.", "resource", "resources.x", ""] {
            let levels: Vec<_> = AttributeKey::candidates(bare).iter().map(|k| k.level).collect();
            assert_eq!(levels, [Level::Record, Level::Scope, Level::Resource], "{bare}");
        }
    }

    #[test]
    fn every_attribute_is_reachable_by_its_sql_name() {
        let keys =
            ["x", "resource.x", "scope.x", "body.", "record.x", "record.body.x", "record.record.scope.x", ""];
        for level in Level::ALL {
            for key in keys {
                let key = AttributeKey::new(level, key);
                let name = key.sql_name();
                assert!(AttributeKey::candidates(&name).contains(&key), "{name} is not {key:?}");
            }
        }
    }

    #[test]
    fn core_columns_are_not_attributes() {
        assert_eq!(AttributeKey::from_physical_name("trace_id"), None);
        assert_eq!(AttributeKey::from_physical_name("scope.name"), None);
        assert_eq!(AttributeKey::from_physical_name(schema::OVERFLOW), None);
    }
}
