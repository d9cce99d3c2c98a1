//! Which events does a command look at? Options that become conditions of its statement.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use clap::Args;

use super::units;

/// Options that select events.
#[derive(Debug, Clone, Args)]
pub(super) struct EventsArgs {
    /// SQL condition of the events, such as "service.name = 'cart'"
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Only events of this time before now, such as 15m, 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "from")]
    last: Option<Duration>,
    /// Only events at or after this time, such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    from: Option<i64>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    to: Option<i64>,
}

impl EventsArgs {
    /// The conditions that the options make.
    pub(super) fn conditions(&self) -> Vec<String> {
        let last = self.last.map(since);
        let from = self.from.map(|ns| format!("timestamp >= '{}'", instant(ns)));
        let to = self.to.map(|ns| format!("timestamp < '{}'", instant(ns)));
        let condition = self.condition.as_deref().map(in_parentheses);
        [last, from, to, condition].into_iter().flatten().collect()
    }

    /// The events of `table`, a view or a query in parentheses, that fit; as the argument of a table function.
    pub(super) fn source(&self, table: &str) -> String {
        let conditions = self.conditions();
        if conditions.is_empty() {
            return table.to_owned();
        }
        format!("(SELECT * FROM {table}{})", where_clause(&conditions))
    }
}

/// ` WHERE …` of all conditions; empty without any.
pub(super) fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// The condition for events of the last time, by the clock of whoever answers.
pub(super) fn since(time: Duration) -> String {
    format!("timestamp >= now() - INTERVAL '{}'", interval(time))
}

/// A duration as the text of an SQL interval.
pub(super) fn interval(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        format!("{} seconds", time.as_secs())
    } else {
        format!("{} milliseconds", time.as_millis().max(1))
    }
}

/// A condition of the user, so that it stays one beside others.
pub(super) fn in_parentheses(condition: &str) -> String {
    // A comment would go on to the end of the line.
    let end = if condition.contains("--") { "\n" } else { "" };
    format!("({condition}{end})")
}

/// RFC 3339 text of a time in nanoseconds since 1970.
fn instant(ns: i64) -> String {
    DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_conditions() {
        let none = EventsArgs { condition: None, last: None, from: None, to: None };
        assert_eq!(none.source("spans"), "spans");
        let some = EventsArgs {
            condition: Some("a = 1 or b -- why".to_owned()),
            last: Some(Duration::from_hours(1)),
            from: None,
            to: Some(1_000_000_000),
        };
        assert_eq!(
            some.source("logs"),
            "(SELECT * FROM logs WHERE timestamp >= now() - INTERVAL '3600 seconds' \
             AND timestamp < '1970-01-01T00:00:01Z' AND (a = 1 or b -- why\n))"
        );
        assert_eq!(interval(Duration::from_millis(1500)), "1500 milliseconds");
    }
}
