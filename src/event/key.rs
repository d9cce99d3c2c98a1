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
//! level prefix it also means that level alone. [`AttributeKey::candidates`] lists them in that order.

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
        match self.level {
            Level::Body => Cow::Owned(format!("{}{}", Level::Body.prefix(), self.key)),
            _ => Cow::Borrowed(&self.key),
        }
    }

    /// The attributes that the SQL name `name` may mean, most specific first.
    pub fn candidates(name: &str) -> Vec<Self> {
        let name: Arc<str> = name.into();
        let mut keys: Vec<_> = [Level::Record, Level::Scope, Level::Resource]
            .into_iter()
            .map(|level| Self::new(level, Arc::clone(&name)))
            .collect();
        for level in [Level::Scope, Level::Resource, Level::Body] {
            if let Some(key) = name.strip_prefix(level.prefix()) {
                keys.push(Self::new(level, key));
            }
        }
        keys
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
    fn core_columns_are_not_attributes() {
        assert_eq!(AttributeKey::from_physical_name("trace_id"), None);
        assert_eq!(AttributeKey::from_physical_name("scope.name"), None);
        assert_eq!(AttributeKey::from_physical_name(schema::OVERFLOW), None);
    }
}
