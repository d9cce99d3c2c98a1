//! Which kinds of log messages are there? `GET /v1/logs/patterns?from=…&to=…&where=…&limit=100`.
//!
//! By the SQL function `log_patterns`, whose columns the rows have; the most frequent pattern is first.

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
    let filter = filter(&range, &wanted);
    Ok(format!(
        "SELECT * FROM log_patterns((SELECT * FROM logs{filter})) ORDER BY records DESC, pattern, severity LIMIT {limit}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_options_are_taken() {
        let sql = statement("where=severity_number%20>%3D%2017&limit=5").unwrap();
        assert!(sql.contains("(SELECT * FROM logs WHERE (severity_number >= 17)))"), "{sql}");
        for wrong in ["limit=0", "limit=many", "wher=x", "from=today"] {
            assert!(statement(wrong).is_err(), "{wrong}");
        }
    }
}
