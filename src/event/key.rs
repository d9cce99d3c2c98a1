//! What are attributes called, in storage and in SQL?
//!
//! OTLP has attributes at three levels; the entries of a structured log body are a fourth. The **physical name**
//! of an attribute is the name of its Parquet column. It is the name that a person would expect, escaped only if
//! that would be ambiguous:
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
//! [`AttributeKey::physical_name`] and [`AttributeKey::from_physical_name`] are inverse for any key.
//!
//! A **SQL name** refers to the record's attribute with that key, otherwise the scope's, otherwise the resource's.
//! A name with a level prefix refers to that level alone, whichever keys exist. [`AttributeKey::candidates`] lists
//! the attributes in that order. A key that itself begins with such a prefix gets its level in front:
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

/// Level at which an attribute was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// On the span, span event, log record or metric point itself.
    Record = 0,
    /// On the instrumentation scope.
    Scope = 1,
    /// On the resource.
    Resource = 2,
    /// An entry of a structured log body, extracted for queries; the body itself is also stored.
    Body = 3,
}

/// Prefix of the SQL name of a record's attribute whose key begins with a level prefix. Other keys may begin with it
/// too, without a special meaning: loggers send `record.level`.
const RECORD: &str = "record.";

/// Escape that makes a physical name unambiguous.
const ESCAPE: &str = "attributes.";

impl Level {
    /// All levels, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Record, Self::Scope, Self::Resource, Self::Body];

    /// Prefix of physical names of this level; empty for a record's attributes.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Record => "",
            Self::Scope => "scope.",
            Self::Resource => "resource.",
            Self::Body => "body.",
        }
    }

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Scope => "scope",
            Self::Resource => "resource",
            Self::Body => "body",
        }
    }

    /// Reverses `self as u8`; `None` for other codes.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// Identifies an attribute: its level and its key, which may be any string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeKey {
    /// Level at which it was set.
    pub level: Level,
    /// Key in the producer's spelling.
    pub key: Arc<str>,
}

impl AttributeKey {
    /// Creates the key `key` at `level`.
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

    /// Attribute key with this physical name; `None` for names that are not attributes (core columns and the
    /// overflow).
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

    /// Shortest name of the attribute in SQL. It has a level only for body entries and for keys that begin like one.
    pub fn sql_name(&self) -> Cow<'_, str> {
        if self.level != Level::Body && spelled(&self.key).is_none() {
            return Cow::Borrowed(&self.key);
        }
        let prefix = if self.level == Level::Record { RECORD } else { self.level.prefix() };
        Cow::Owned(format!("{prefix}{}", self.key))
    }

    /// Lists the attributes that the SQL name `name` may refer to, most specific first.
    pub fn candidates(name: &str) -> Vec<Self> {
        if let Some((level, key)) = spelled(name) {
            return vec![Self::new(level, key)];
        }
        let name: Arc<str> = name.into();
        let levels = [Level::Record, Level::Scope, Level::Resource];
        levels.into_iter().map(|level| Self::new(level, Arc::clone(&name))).collect()
    }
}

/// Level that a SQL name spells, and the key at that level; `None` if the name is a key of any level.
fn spelled(name: &str) -> Option<(Level, &str)> {
    // Only the first `record.` is a level; the others are part of the key.
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
