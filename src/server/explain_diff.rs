//! What is different about some events? `POST /v1/explain_diff`, by the SQL function `explain_diff`.
//!
//! ```jsonc
//! {"source": "spans", "t": ["2026-11-29T14:00:00Z", "2026-11-29T15:00:00Z"], "where": "http.route = '/checkout'",
//!  "selection": "duration_ns > 1e9", "baseline": "duration_ns < 1e8", "across": "traces", "values": 8, "keys": 40}
//! ```
//!
//! Without `baseline` the selected events are compared with all others of the source. The answer has the rows and columns
//! of the function, the most different key first.

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Map;

use super::answer::Problem;
use super::fields::{self, Instant, Range, Source, Sql, condition, filter};
use super::gate::Caller;
use super::table::Table;
use crate::error::{Error, Result};

/// Most values of a key, and most keys, that may be asked for.
const MOST: u32 = 1_000;

/// Things that are compared.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Across {
    #[default]
    Rows,
    Traces,
}

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    #[serde(default)]
    source: Source,
    t: Option<[Instant; 2]>,
    #[serde(default)]
    r#where: String,
    selection: Sql,
    baseline: Option<Sql>,
    #[serde(default)]
    across: Across,
    values: Option<u32>,
    keys: Option<u32>,
}

/// `POST /v1/explain_diff`.
pub(super) async fn post(caller: Caller, body: Body) -> Result<Response, Problem> {
    let wanted: Difference = fields::body(body).await?;
    Table::read(&caller, wanted.statement()?).await?.answer(Map::new())
}

impl Difference {
    fn statement(&self) -> Result<String> {
        let condition = condition(&self.r#where)?;
        let (source, filter) = (self.source.name(), filter(&Range::of(self.t), &condition));
        let mut arguments = vec![format!("(SELECT * FROM {source}{filter})"), self.selection.to_string()];
        arguments.extend(self.baseline.as_ref().map(|baseline| format!("baseline => {baseline}")));
        if matches!(self.across, Across::Traces) {
            arguments.push("across => 'traces'".to_owned());
        }
        for (name, number) in [("values", self.values), ("keys", self.keys)] {
            let Some(number) = number else { continue };
            if !(1..=MOST).contains(&number) {
                return Err(Error::invalid(format!("{name} is not between 1 and {MOST}")));
            }
            arguments.push(format!("{name} => {number}"));
        }
        Ok(format!(
            "SELECT * FROM explain_diff({}) ORDER BY rank, abs(effect) DESC NULLS LAST, value",
            arguments.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(body: serde_json::Value) -> Result<String> {
        let wanted: Difference = serde_json::from_value(body).map_err(|e| Error::invalid(e.to_string()))?;
        wanted.statement()
    }

    #[test]
    fn fields_become_arguments_and_nothing_else() {
        let body =
            json!({ "selection": "duration_ns > 1e9", "baseline": "a = 'x'", "across": "traces", "keys": 5 });
        let wanted = "SELECT * FROM explain_diff((SELECT * FROM spans), (duration_ns > 1e9), baseline => (a = 'x'), \
                      across => 'traces', keys => 5) ORDER BY rank, abs(effect) DESC NULLS LAST, value";
        assert_eq!(statement(body).unwrap(), wanted);
        for wrong in [
            json!({}),
            json!({ "selection": "" }),
            json!({ "selection": "true, across => 'traces'" }),
            json!({ "selection": "true", "across": "services" }),
            json!({ "selection": "true", "values": 0 }),
            json!({ "selection": "true", "more": 1 }),
        ] {
            assert!(statement(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
