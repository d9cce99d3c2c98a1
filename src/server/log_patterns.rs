//! Which kinds of log messages are there? `GET /v1/logs/patterns?from=…&to=…&where=…&limit=100`.
//!
//! What differs from record to record of one kind (UUIDs, times, numbers, hexadecimal digits) is replaced by a sign in
//! the first 1,000 characters of each body; equal texts of one severity are one pattern. All records are counted. Columns:
//! `pattern`, `severity`, `records`, `first`, `last`, `services`, `example`, `all_patterns`, `all_records`; the most
//! frequent pattern is first.

use axum::http::Uri;
use axum::response::Response;
use serde_json::Map;

use super::answer::Problem;
use super::fields::{Range, Sql, condition, filter, no_option, option, options};
use super::gate::Caller;
use super::table::Table;
use crate::error::{Error, Result};

/// Most patterns of an answer.
const PATTERNS_MAX: usize = 10_000;

const OPTIONS: &str = "from, to, where and limit";

/// Texts that differ, as regular expressions, and their signs, in the order in which they are replaced. The page has the
/// same list.
const VARIABLES: [(&str, &str); 6] = [
    ("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", "<uuid>"),
    (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?",
        "<time>",
    ),
    (r"\b[0-9]+(\.[0-9]+)*\b", "<n>"),
    (r"\b(0x[0-9a-fA-F]+|[a-fA-F]*[0-9][0-9a-fA-F]{5,}|[a-fA-F]{4,}[0-9][0-9a-fA-F]*)\b", "<hex>"),
    (r"[0-9]+(\.[0-9]+)*", "<n>"),
    (r"<n>(\.<n>)+", "<n>"),
];

/// `GET /v1/logs/patterns`.
pub(super) async fn get(caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let sql = statement(uri.query().unwrap_or_default())?;
    Table::read(&caller, sql).await?.answer(Map::new())
}

fn statement(query: &str) -> Result<String> {
    let (mut range, mut wanted, mut limit): (_, Option<Sql>, _) = (Range::default(), None, 100);
    for (name, value) in options(query) {
        match name.as_str() {
            "from" => range.from = Some(value.parse()?),
            "to" => range.to = Some(value.parse()?),
            "where" => wanted = condition(&value)?,
            "limit" => limit = option("limit", &value, "a number of patterns")?,
            other => return Err(no_option(other, OPTIONS)),
        }
    }
    if !(1..=PATTERNS_MAX).contains(&limit) {
        return Err(Error::invalid(format!("limit={limit} is not between 1 and {PATTERNS_MAX}")));
    }
    let pattern = VARIABLES.iter().fold("substr(body, 1, 1000)".to_owned(), |sql, (variable, sign)| {
        format!("regexp_replace({sql}, '{variable}', '{sign}', 'g')")
    });
    Ok(format!(
        "SELECT pattern, severity, count(*) AS records, min(timestamp) AS first, max(timestamp) AS last, \
         array_sort(array_agg(DISTINCT service)) AS services, \
         first_value(body ORDER BY timestamp DESC) AS example, \
         count(*) OVER () AS all_patterns, sum(count(*)) OVER () AS all_records \
         FROM (SELECT timestamp, severity, attributes['service.name'] AS service, body, {pattern} AS pattern \
         FROM logs{}) AS by_record GROUP BY pattern, severity ORDER BY records DESC, pattern, severity LIMIT {limit}",
        filter(&range, &wanted)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_the_route_replace_the_same_texts() {
        let page = include_str!("ui/web/state/log-statements.js");
        for (variable, sign) in VARIABLES {
            let line = format!("[\"{}\", \"{sign}\"]", variable.replace('\\', "\\\\"));
            assert!(page.contains(&line), "{line}");
        }
    }

    #[test]
    fn only_known_options_are_taken() {
        let sql = statement("where=severity_number%20>%3D%2017&limit=5").unwrap();
        assert!(sql.contains("FROM logs WHERE (severity_number >= 17)) AS by_record"), "{sql}");
        for wrong in ["limit=0", "limit=many", "wher=x", "from=today"] {
            assert!(statement(wrong).is_err(), "{wrong}");
        }
    }
}
