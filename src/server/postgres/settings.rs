//! Which settings does a session have? Those that clients ask for at their beginning, and whatever they set.
//!
//! Few have an effect: `statement_timeout` and `weighted`. Those whose other values would change what is sent have one value.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::{Failure, Report};
use crate::query::language::switch;

/// Version that clients read numbers from; the features of this server are of that time.
const VERSION: &str = concat!("16.6 (Broadloom ", env!("CARGO_PKG_VERSION"), ")");
/// The same as a number.
const VERSION_NUMBER: &str = "160006";

/// Most settings that a client may add.
const ADDED_MAX: usize = 200;
/// Most bytes of a value.
const VALUE_BYTES_MAX: usize = 4 << 10;

/// A setting that every session has.
struct Known {
    name: &'static str,
    value: &'static str,
    change: Change,
}

/// Changes that a client may make to a setting.
#[derive(Clone, Copy)]
enum Change {
    /// Any value; it has no effect.
    Any,
    /// Any value; the client is told of it.
    Told,
    /// Values of the same meaning only.
    Same(fn(&str) -> bool),
    /// No other value.
    Fixed,
}

const fn known(name: &'static str, value: &'static str, change: Change) -> Known {
    Known { name, value, change }
}

fn is_utf8(value: &str) -> bool {
    ["utf8", "utf-8", "unicode"].contains(&value)
}

fn is_iso(value: &str) -> bool {
    value.starts_with("iso")
}

fn is_on(value: &str) -> bool {
    ["on", "true", "1", "yes"].contains(&value)
}

fn is_hex(value: &str) -> bool {
    value == "hex"
}

fn is_postgres(value: &str) -> bool {
    value == "postgres"
}

/// Settings of every session, by name.
const KNOWN: [Known; 30] = [
    known("application_name", "", Change::Told),
    known("bytea_output", "hex", Change::Same(is_hex)),
    known("client_encoding", "UTF8", Change::Same(is_utf8)),
    known("client_min_messages", "notice", Change::Any),
    known("datestyle", "ISO, MDY", Change::Same(is_iso)),
    known("default_table_access_method", "heap", Change::Any),
    known("default_transaction_isolation", "read committed", Change::Any),
    known("default_transaction_read_only", "on", Change::Any),
    known("extra_float_digits", "1", Change::Any),
    known("in_hot_standby", "off", Change::Fixed),
    known("integer_datetimes", "on", Change::Fixed),
    known("intervalstyle", "postgres", Change::Same(is_postgres)),
    known("is_superuser", "off", Change::Fixed),
    known("lc_collate", "C", Change::Fixed),
    known("lc_ctype", "C", Change::Fixed),
    known("lc_monetary", "C", Change::Any),
    known("max_identifier_length", "63", Change::Fixed),
    known("max_index_keys", "32", Change::Fixed),
    known("search_path", "\"$user\", public", Change::Any),
    known("server_encoding", "UTF8", Change::Fixed),
    known("server_version", VERSION, Change::Fixed),
    known("server_version_num", VERSION_NUMBER, Change::Fixed),
    known("session_authorization", "", Change::Fixed),
    known("standard_conforming_strings", "on", Change::Same(is_on)),
    known("statement_timeout", "0", Change::Any),
    known("timezone", "UTC", Change::Any),
    known("transaction_deferrable", "off", Change::Any),
    known("transaction_isolation", "read committed", Change::Any),
    known("transaction_read_only", "on", Change::Any),
    known("weighted", "off", Change::Any),
];

/// Settings that clients are told of when a session begins, spelled as PostgreSQL spells them.
const TOLD: [&str; 13] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// The settings of a session.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    user: String,
    values: BTreeMap<String, String>,
}

/// Consequences of a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// A setting that the client is told of: name and value.
    pub(super) told: Option<(String, String)>,
    /// A notice for the person.
    pub(super) notice: Option<Report>,
}

impl Settings {
    /// The settings of a session of `user`.
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned(), values: BTreeMap::new() }
    }

    /// Name of the user.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Value of a setting; `None` if there is none of this name.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let name = name.to_lowercase();
        if name == "session_authorization" {
            return Some(self.user.clone());
        }
        let default = || Some(KNOWN.iter().find(|known| known.name == name)?.value.to_owned());
        self.values.get(&name).cloned().or_else(default)
    }

    /// Every setting, by name.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        let mut all: BTreeMap<String, String> =
            KNOWN.iter().filter_map(|known| Some((known.name.to_owned(), self.get(known.name)?))).collect();
        all.extend(self.values.clone());
        all.into_iter().collect()
    }

    /// Settings that the client is told of when the session begins.
    pub(super) fn told(&self) -> impl Iterator<Item = (String, String)> {
        TOLD.iter().filter_map(|name| Some(((*name).to_owned(), self.get(name)?)))
    }

    /// Changes a setting, or sets it to its default.
    pub(super) fn set(&mut self, name: &str, value: Option<String>) -> Result<Changed, Failure> {
        let name = name.to_lowercase();
        let known = KNOWN.iter().find(|known| known.name == name);
        let mut changed = Changed::default();
        match (known.map(|known| known.change), &value) {
            (Some(Change::Fixed), Some(_)) => {
                return Err(Failure::refused("55P02", format!("parameter \"{name}\" cannot be changed")));
            }
            (Some(Change::Same(is_same)), Some(value)) => {
                if !is_same(value.to_lowercase().trim()) {
                    let message =
                        format!("{name} can only be {}, not {value}", self.get(&name).unwrap_or_default());
                    return Err(Failure::refused("22023", message));
                }
                return Ok(changed);
            }
            _ => {}
        }
        match (name.as_str(), &value) {
            ("statement_timeout", Some(value)) => drop(timeout(value)?),
            ("weighted", Some(value)) if switch(value).is_none() => {
                return Err(Failure::refused("22023", format!("weighted can be on or off, not {value}")));
            }
            // Times are sent with their offset, so the instants are right.
            ("timezone", Some(zone)) => {
                if !["utc", "gmt", "etc/utc", "zulu", "z", "0", "default", "local"]
                    .contains(&zone.to_lowercase().as_str())
                {
                    let message = format!(
                        "times are sent in UTC, not in {zone}; write timestamp AT TIME ZONE '{zone}'"
                    );
                    changed.notice = Some(Report::new("01000", message));
                }
                return Ok(changed);
            }
            _ => {}
        }
        let Some(value) = value else {
            self.values.remove(&name);
            return Ok(changed);
        };
        let is_new = known.is_none() && !self.values.contains_key(&name);
        if value.len() > VALUE_BYTES_MAX || name.len() > 100 || is_new && self.values.len() >= ADDED_MAX {
            return Err(Failure::refused("53400", "the session has too many settings, or one is too long"));
        }
        if known.is_some_and(|known| matches!(known.change, Change::Told)) {
            changed.told = Some((name.clone(), value.clone()));
        }
        self.values.insert(name, value);
        Ok(changed)
    }

    /// Sets every setting to its default.
    pub(super) fn reset(&mut self) {
        self.values.clear();
    }

    /// True if aggregates estimate what they would be without sampling.
    pub(super) fn is_weighted(&self) -> bool {
        self.values.get("weighted").and_then(|value| switch(value)).unwrap_or(false)
    }

    /// Timeout of statements; `None` is that of the server.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let value = self.values.get("statement_timeout")?;
        timeout(value).ok().filter(|timeout| !timeout.is_zero())
    }
}

/// `0`, `5000` (milliseconds), `5s`, `1 min`.
fn timeout(value: &str) -> Result<Duration, Failure> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let factor_ms = match value[digits..].trim() {
        "" | "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let ms = value[..digits]
        .parse::<u64>()
        .ok()
        .zip(factor_ms)
        .and_then(|(count, factor)| count.checked_mul(factor));
    let wrong = || {
        Failure::refused(
            "22023",
            format!("statement_timeout is a time such as 5000, 30s or 5min, not {value}"),
        )
    };
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_what_was_set_where_that_changes_nothing() {
        let mut settings = Settings::new("ada");
        let some = |value: &str| Some(value.to_owned());
        assert_eq!(settings.get("DateStyle").as_deref(), Some("ISO, MDY"));
        settings.set("datestyle", some("ISO")).unwrap();
        assert!(settings.set("DateStyle", some("German")).is_err());
        assert!(settings.set("server_version", some("9")).is_err());
        settings.set("my.own", some("x")).unwrap();
        assert_eq!(settings.get("my.own").as_deref(), Some("x"));
        assert_eq!(settings.get("unheard_of"), None);
        let told = settings.set("application_name", some("test")).unwrap().told;
        assert_eq!(told, Some(("application_name".to_owned(), "test".to_owned())));
        assert!(settings.set("timezone", some("Asia/Tokyo")).unwrap().notice.is_some());
        assert_eq!(settings.get("timezone").as_deref(), Some("UTC"));
        assert_eq!(settings.told().count(), TOLD.len());
        settings.reset();
        assert_eq!(settings.get("my.own"), None);
    }

    #[test]
    fn a_session_has_so_many_settings() {
        let mut settings = Settings::new("ada");
        let failed =
            (0..=ADDED_MAX).find(|i| settings.set(&format!("a.b{i}"), Some("x".to_owned())).is_err());
        assert_eq!(failed, Some(ADDED_MAX));
    }

    #[test]
    fn a_timeout_has_a_unit() {
        let mut settings = Settings::new("ada");
        for (value, timeout) in [
            ("0", None),
            ("5000", Some(Duration::from_secs(5))),
            ("30s", Some(Duration::from_secs(30))),
            ("2 min", Some(Duration::from_mins(2))),
        ] {
            settings.set("statement_timeout", Some(value.to_owned())).unwrap();
            assert_eq!(settings.statement_timeout(), timeout, "{value}");
        }
        assert!(settings.set("statement_timeout", Some("soon".to_owned())).is_err());
    }
}
