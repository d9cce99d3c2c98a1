//! How are numbers of events distributed over time? `POST /v1/heatmap`, by the SQL function `heatmap`.
//!
//! ```jsonc
//! {"source": "spans", "t": ["2026-11-29T14:00:00Z", "2026-11-29T15:00:00Z"], "where": "http.route = '/checkout'",
//!  "value": "duration_ns", "step": "30s", "per_decade": 10}
//! ```
//!
//! `source` is `spans`, `logs` or `events`; without `t` all events are meant, and without `value` `duration_ns`. `step` is
//! a minute. `width` instead of `per_decade` makes cells of one length. The answer has a row per cell with an event,
//! with the columns of the function; of more than 200,000 cells the first ones, and `is_cut` is true.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;

use super::answer::Problem;
use super::fields::{self, Instant, Range, Source, Sql, condition, filter, interval};
use super::gate::Caller;
use super::table::Table;
use crate::error::{Error, Result};

/// Most cells of an answer.
const CELLS_MAX: usize = 200_000;

/// Most cells from a value to its tenfold.
const PER_DECADE_MAX: u32 = 1_000;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeatMap {
    #[serde(default)]
    source: Source,
    t: Option<[Instant; 2]>,
    #[serde(default)]
    r#where: String,
    value: Option<Sql>,
    step: Option<String>,
    per_decade: Option<u32>,
    width: Option<f64>,
}

/// `POST /v1/heatmap`.
pub(super) async fn post(caller: Caller, body: Body) -> Result<Response, Problem> {
    let wanted: HeatMap = fields::body(body).await?;
    Table::read(&caller, wanted.statement()?).await?.answer_first(CELLS_MAX)
}

impl HeatMap {
    fn statement(&self) -> Result<String> {
        let condition = condition(&self.r#where)?;
        let source = self.source.name();
        let filter = filter(&Range::of(self.t), &condition);
        let value = self.value.as_ref().map_or_else(|| "duration_ns".to_owned(), Sql::to_string);
        let step = interval(self.step.as_deref(), Duration::from_mins(1))?;
        let scale = match (self.per_decade, self.width) {
            (Some(_), Some(_)) => return Err(Error::invalid("per_decade and width exclude each other")),
            (_, Some(width)) if width.is_finite() && width > 0.0 => format!("width => {width:?}"),
            (_, Some(width)) => return Err(Error::invalid(format!("width={width} is not above 0"))),
            (per_decade, None) => {
                let per_decade = per_decade.unwrap_or(10);
                if !(1..=PER_DECADE_MAX).contains(&per_decade) {
                    return Err(Error::invalid(format!("per_decade is not between 1 and {PER_DECADE_MAX}")));
                }
                format!("per_decade => {per_decade}")
            }
        };
        Ok(format!(
            "SELECT * FROM heatmap((SELECT * FROM {source}{filter}), {value}, step => {step}, {scale}) \
             ORDER BY time, low LIMIT {}",
            CELLS_MAX + 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(body: &serde_json::Value) -> Result<String> {
        let wanted: HeatMap =
            serde_json::from_value(body.clone()).map_err(|e| Error::invalid(e.to_string()))?;
        wanted.statement()
    }

    #[test]
    fn fields_become_arguments_and_nothing_else() {
        let body = json!({ "where": "a = 1 or b = 2", "value": "cart.items", "step": "30s", "width": 5 });
        let wanted = "SELECT * FROM heatmap((SELECT * FROM spans WHERE (a = 1 OR b = 2)), (cart.items), \
                      step => INTERVAL '30000000000 nanoseconds', width => 5.0) ORDER BY time, low LIMIT 200001";
        assert_eq!(statement(&body).unwrap(), wanted);
        for wrong in [
            json!({ "source": "users" }),
            json!({ "valu": "x" }),
            json!({ "value": "x), step => (1" }),
            json!({ "where": "true)) --" }),
            json!({ "step": "0s" }),
            json!({ "step": "soon" }),
            json!({ "width": -1 }),
            json!({ "per_decade": 10, "width": 1 }),
            json!({ "per_decade": 0 }),
            json!({ "t": ["2026-11-29T14:00:00Z"] }),
        ] {
            assert!(statement(&wrong).is_err(), "{wrong}");
        }
    }
}
