//! Which keys does `explain_diff` compare, and by which statement?
//!
//! ```text
//! explain_diff(spans, duration_ns > 1e9)
//!
//! SELECT explain_difference('{"across":"rows",…}', duration_ns > 1e9, true, timestamp, NULL,
//!                           "name", "kind", …, "http.route", …) AS entries
//! FROM spans
//! ```
//!
//! Across traces the statement first finds the side of each trace, and then reads all events of these traces. A trace
//! is on the side of its selected events if it has one.

use std::collections::{BTreeMap, HashSet};

use super::aggregate::NAME;
use super::settings::{Across, Key, Settings};
use crate::event::{AttributeType, KeyDictionary, TypeSet, schema};

/// Most keys that are compared.
pub(crate) const COMPARED_MAX: usize = 1000;
/// Largest option `values` and `keys`.
pub(crate) const SHOWN_MAX: usize = 1000;

/// Core columns that are compared, with their types. Ids and times say nothing, and bodies are as good as unique.
const CORE: [(&str, &str); 12] = [
    ("signal", "text"),
    ("name", "text"),
    ("kind", "text"),
    ("status", "text"),
    ("status_message", "text"),
    ("duration_ns", "integer"),
    ("severity", "text"),
    ("value", "double"),
    ("scope.name", "text"),
    ("scope.version", "text"),
    ("metric.type", "text"),
    ("metric.unit", "text"),
];
/// Columns of events that are not compared.
const OTHERS: [&str; 11] = [
    "timestamp",
    "trace_id",
    "span_id",
    "parent_span_id",
    "severity_number",
    "body",
    "sample_weight",
    "attributes",
    "observed_timestamp",
    "start_timestamp",
    "typed_attributes",
];
/// Columns that say the same as another one.
const TWINS: [(&str, &str); 2] = [("severity_number", "severity"), ("severity_text", "severity")];

/// Sources of keys.
pub(crate) struct Keys<'a> {
    /// Names that the conditions mention, in lower case.
    pub(crate) without: HashSet<String>,
    /// Columns that the source declares.
    pub(crate) declared: Vec<String>,
    /// True if it can show a core column that it does not declare.
    pub(crate) offers: &'a dyn Fn(&str) -> bool,
    /// Attributes that can be demanded from the source; `None` if none can.
    pub(crate) attributes: Option<&'a KeyDictionary>,
}

impl Keys<'_> {
    /// Lists the keys: core columns, other columns of the source, then attributes by name.
    pub(crate) fn list(mut self) -> Vec<Key> {
        for (one, twin) in TWINS {
            if self.without.contains(one) {
                self.without.insert(twin.to_owned());
            }
        }
        let mut keys: Vec<Key> = Vec::new();
        let mut names: HashSet<String> = OTHERS.into_iter().map(str::to_owned).collect();
        let mut add = |name: &str, level: &str, ty: &str| {
            if !self.without.contains(&name.to_lowercase()) && names.insert(name.to_owned()) {
                keys.push(Key { name: name.to_owned(), level: level.to_owned(), ty: ty.to_owned() });
            }
        };
        for (name, ty) in CORE {
            if self.declared.iter().any(|declared| declared == name) || (self.offers)(name) {
                add(name, "core", ty);
            }
        }
        for name in &self.declared {
            add(name, "core", "");
        }
        for (name, (level, types)) in self.attributes.map(by_name).unwrap_or_default() {
            // SQL has no name for the empty key, and that of a core column means the column.
            if !name.is_empty() && schema::core_index(&name).is_none() && !is_only_bytes(types) {
                add(&name, level, type_name(types));
            }
        }
        keys
    }
}

/// Attributes by the names that mean them, with the most specific level, and all types.
fn by_name(dictionary: &KeyDictionary) -> BTreeMap<String, (&'static str, TypeSet)> {
    let mut all = dictionary.all();
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut named: BTreeMap<String, (&'static str, TypeSet)> = BTreeMap::new();
    for (key, types) in all {
        let known =
            named.entry(key.sql_name().into_owned()).or_insert((key.level.name(), TypeSet::default()));
        known.1 = known.1.union(types);
    }
    named
}

fn is_only_bytes(types: TypeSet) -> bool {
    types.iter().all(|ty| ty == AttributeType::Bytes)
}

fn type_name(types: TypeSet) -> &'static str {
    let mut all = types.iter();
    match (all.next(), all.next()) {
        (Some(ty), None) => ty.name(),
        (Some(AttributeType::Int), Some(AttributeType::Double)) if all.next().is_none() => "double",
        _ => "mixed",
    }
}

/// Properties of a call that the statement depends on, beside the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// True if the call has a baseline.
    pub(crate) has_baseline: bool,
    /// True if the source has `timestamp`.
    pub(crate) has_timestamp: bool,
    /// True if events have a service.
    pub(crate) has_service: bool,
}

/// The statement, with the parameters `$selection` and `$baseline` and the table `source`; its only row has the
/// column `entries`. Traces come first, so that a join keeps them, and not their events, in memory.
pub(crate) fn statement(settings: &Settings, form: Form) -> String {
    // A struct of texts and numbers has JSON.
    let json = serde_json::to_string(settings).unwrap_or_default().replace('\'', "''");
    let keys = settings.keys.iter().map(|key| format!(", \"{}\"", key.name.replace('"', "\"\"")));
    let keys: String = keys.collect();
    match settings.across {
        Across::Rows => {
            let member = if form.has_timestamp { "timestamp" } else { "NULL" };
            let (baseline, only) = if form.has_baseline {
                ("$baseline", " WHERE $selection OR $baseline")
            } else {
                ("true", "")
            };
            format!(
                "SELECT {NAME}('{json}', $selection, {baseline}, {member}, NULL{keys}) AS entries FROM source{only}"
            )
        }
        Across::Traces => {
            let service = if form.has_service { "\"service.name\"" } else { "NULL" };
            let baseline = if form.has_baseline { "bool_or($baseline)" } else { "true" };
            format!(
                "SELECT {NAME}('{json}', \"diff selected\", \"diff compared\", \"diff member\", {service}{keys}) \
                   AS entries \
                 FROM (\
                   SELECT trace_id AS \"diff trace\", \"diff selected\", \"diff compared\", \
                     row_number() OVER () AS \"diff member\" \
                   FROM (\
                     SELECT trace_id, bool_or($selection) AS \"diff selected\", {baseline} AS \"diff compared\" \
                     FROM source WHERE trace_id IS NOT NULL GROUP BY trace_id\
                   ) AS \"diff sides\" WHERE \"diff selected\" OR \"diff compared\"\
                 ) AS \"diff traces\" JOIN events AS \"diff events\" ON trace_id = \"diff trace\""
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AttributeKey, Level};

    fn names(without: &[&str], declared: &[&str], dictionary: Option<&KeyDictionary>) -> Vec<String> {
        let keys = Keys {
            without: without.iter().map(ToString::to_string).collect(),
            declared: declared.iter().map(ToString::to_string).collect(),
            offers: &|name| name == "scope.name",
            attributes: dictionary,
        };
        keys.list().into_iter().map(|key| format!("{} {} {}", key.name, key.level, key.ty)).collect()
    }

    #[test]
    fn each_key_is_compared_once_unless_a_condition_names_it() {
        let dictionary = KeyDictionary::new();
        for (level, key, ty) in [
            (Level::Resource, "service.name", AttributeType::Text),
            (Level::Record, "size", AttributeType::Int),
            (Level::Resource, "size", AttributeType::Double),
            (Level::Record, "Http.Route", AttributeType::Text),
            (Level::Record, "mixed", AttributeType::Int),
            (Level::Record, "mixed", AttributeType::Text),
            (Level::Record, "", AttributeType::Text),
            (Level::Record, "name", AttributeType::Text),
            (Level::Record, "bytes", AttributeType::Bytes),
            (Level::Body, "user", AttributeType::Bool),
        ] {
            dictionary.insert(&AttributeKey::new(level, key), ty);
        }
        let declared = ["timestamp", "trace_id", "name", "severity", "own", "attributes"];
        assert_eq!(
            names(&["http.route", "severity_number"], &declared, Some(&dictionary)),
            [
                "name core text",
                "scope.name core text",
                "own core ",
                "body.user body boolean",
                "mixed record mixed",
                "service.name resource text",
                "size record double",
            ]
        );
        assert_eq!(names(&["name"], &["name", "n"], None), ["scope.name core text", "n core "]);
    }

    #[test]
    fn the_statement_is_sql_whatever_keys_are_called() {
        let keys = ["it's", "a\"b", "line\nbreak"];
        let keys = keys.map(|name| Key { name: name.to_owned(), level: String::new(), ty: String::new() });
        for across in [Across::Rows, Across::Traces] {
            for has in [false, true] {
                let settings = Settings { across, values: 8, shown: 40, keys: keys.to_vec() };
                let form = Form { has_baseline: has, has_timestamp: has, has_service: has };
                let sql = statement(&settings, form);
                crate::query::language::parse(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }
}
