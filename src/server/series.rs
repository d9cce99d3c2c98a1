//! How do figures of events go over time? `POST /v1/series`: figures by group and step.
//!
//! ```jsonc
//! {"source": "spans", "t": ["2026-11-29T14:00:00Z", "2026-11-29T15:00:00Z"], "where": "http.route = '/checkout'",
//!  "figures": ["p99(duration_ns)", "count(*)"], "by": ["os.version"], "step": "1m", "groups": 7}
//! ```
//!
//! A figure is SQL that aggregates. `groups` is how many there are at most: those with the greatest first figure over the
//! whole range. The answer has a row per step and group with an event: `step`, then each expression of `by`, then
//! each figure, named as it was sent. Of more than 200,000 rows the first are given, and `is_cut` is true.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;

use super::answer::Problem;
use super::fields::{self, Instant, Range, Source, Sql, condition, filter, interval};
use super::gate::Caller;
use super::table::Table;
use crate::error::{Error, Result};
use crate::query::language::build;

/// Most rows of an answer.
const ROWS_MAX: usize = 200_000;

/// Most groups.
const GROUPS_MAX: u32 = 1_000;

/// Most figures, and most expressions to group by.
const EXPRESSIONS_MAX: usize = 50;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    #[serde(default)]
    source: Source,
    t: Option<[Instant; 2]>,
    #[serde(default)]
    r#where: String,
    figures: Vec<String>,
    #[serde(default)]
    by: Vec<String>,
    step: Option<String>,
    groups: Option<u32>,
}

/// `POST /v1/series`.
pub(super) async fn post(caller: Caller, body: Body) -> Result<Response, Problem> {
    let wanted: Series = fields::body(body).await?;
    Table::read(&caller, wanted.statement()?).await?.answer_first(ROWS_MAX)
}

impl Series {
    fn statement(&self) -> Result<String> {
        if self.figures.is_empty() || self.figures.len().max(self.by.len()) > EXPRESSIONS_MAX {
            return Err(Error::invalid(format!(
                "figures has 1 to {EXPRESSIONS_MAX} members, and by at most as many"
            )));
        }
        let groups = self.groups.unwrap_or(7);
        if !(1..=GROUPS_MAX).contains(&groups) {
            return Err(Error::invalid(format!("groups is not between 1 and {GROUPS_MAX}")));
        }
        let condition = condition(&self.r#where)?;
        let (source, filter) = (self.source.name(), filter(&Range::of(self.t), &condition));
        let step = interval(self.step.as_deref(), Duration::from_mins(1))?;
        let figures = self.figures.iter().map(|text| Ok((text.parse::<Sql>()?, text)));
        let figures = figures.collect::<Result<Vec<_>>>()?;
        let by = self.by.iter().map(|text| text.parse::<Sql>()).collect::<Result<Vec<_>>>()?;
        let shown = figures.iter().map(|(sql, text)| format!(", {sql} AS {}", build::name(text)));
        let shown = shown.collect::<Vec<_>>().concat();
        let limit = ROWS_MAX + 1;
        if by.is_empty() {
            return Ok(format!(
                "SELECT date_bin({step}, timestamp) AS step{shown} FROM {source}{filter} GROUP BY 1 ORDER BY 1 \
                 LIMIT {limit}"
            ));
        }
        let list = |part: &dyn Fn(usize) -> String| (0..by.len()).map(part).collect::<Vec<_>>().join(", ");
        let keys = list(&|i| format!("{} AS group_{i}", by[i]));
        let own = list(&|i| format!("{} AS own_{i}", by[i]));
        let places = list(&|i| (i + 1).to_string());
        let names = list(&|i| format!("own_{i} AS {}", build::name(&self.by[i])));
        let same: Vec<_> =
            (0..by.len()).map(|i| format!("(own_{i} IS NOT DISTINCT FROM group_{i})")).collect();
        let same = same.join(" AND ");
        let all = list(&|i| (i + 2).to_string());
        let first = &figures[0].0;
        Ok(format!(
            "WITH ranked AS (SELECT {keys} FROM {source}{filter} GROUP BY {places} \
             ORDER BY {first} DESC NULLS LAST, {places} LIMIT {groups}) \
             SELECT date_bin({step}, timestamp) AS step, {names}{shown} \
             FROM (SELECT *, {own} FROM {source}{filter}) AS e JOIN ranked ON {same} \
             GROUP BY 1, {all} ORDER BY 1, {all} LIMIT {limit}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(body: &serde_json::Value) -> Result<String> {
        let wanted: Series =
            serde_json::from_value(body.clone()).map_err(|e| Error::invalid(e.to_string()))?;
        wanted.statement()
    }

    #[test]
    fn expressions_become_columns_and_nothing_else() {
        let body = json!({ "source": "logs", "where": "a = 1", "figures": ["count(*)"], "step": "1m" });
        let wanted = "SELECT date_bin(INTERVAL '60000000000 nanoseconds', timestamp) AS step, (count(*)) AS \"count(*)\" \
                      FROM logs WHERE (a = 1) GROUP BY 1 ORDER BY 1 LIMIT 200001";
        assert_eq!(statement(&body).unwrap(), wanted);
        let groups =
            statement(&json!({ "figures": ["max(duration_ns)"], "by": ["os.version"], "groups": 2 }))
                .unwrap();
        assert!(groups.contains("ORDER BY (max(duration_ns)) DESC NULLS LAST, 1 LIMIT 2)"), "{groups}");
        for wrong in [
            json!({}),
            json!({ "figures": [] }),
            json!({ "figures": ["count(*) as n"] }),
            json!({ "figures": ["count(*)) from logs --"] }),
            json!({ "figures": ["count(*)"], "by": ["a, b"] }),
            json!({ "figures": ["count(*)"], "groups": 0 }),
            json!({ "figures": ["count(*)"], "order": "x" }),
        ] {
            assert!(statement(&wrong).is_err(), "{wrong}");
        }
    }
}
