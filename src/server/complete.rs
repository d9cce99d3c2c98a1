//! What can follow in a statement? `POST /v1/complete` with `{"sql": "select http.ro", "position": 14}`.
//!
//! ```jsonc
//! [{"text": "http.route", "kind": "key", "detail": "text", "from": 7, "to": 14}]
//! ```
//!
//! `text` may replace the characters `from..to`; `position`, `from` and `to` count characters. Kinds are `key`, `column`,
//! `table`, `function`, `keyword` and, in quotes after a name and an operator, `value`: the most frequent values of the
//! attribute, with the quote that ends them. Values that are not found within half a second are left out.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use axum::Json;
use axum::body::Body;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlparser::ast::Expr;

use super::answer::{Problem, Refusal};
use super::fields;
use super::gate::{Caller, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::query::Question;
use crate::query::complete::{Suggestion, complete, complete_value, wanted_values};
use crate::query::language::{build, parse_condition, with_stack};

/// Longest wait for values: completion must not hold up typing.
const VALUES_WAIT: Duration = Duration::from_millis(500);

/// Most values.
const VALUES_MAX: usize = 50;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    sql: String,
    position: usize,
}

/// `POST /v1/complete`.
pub(super) async fn post(caller: Caller, body: Body) -> Result<Json<Value>, Problem> {
    let Complete { sql, position } = fields::body(body).await?;
    let at = byte_of(&sql, position)?;
    let found = match wanted_values(&sql, at) {
        Some((key, place)) => {
            let typed = sql.get(place.clone()).unwrap_or_default().replace("''", "'");
            complete_value(&sql, &place, values(&caller, &key, &typed).await?)
        }
        None => complete(&sql, at, &caller.vocabulary()?),
    };
    let character = |byte: usize| sql.get(..byte).map_or(0, |before| before.chars().count());
    let suggestion = |found: Suggestion| {
        json!({
            "text": found.text,
            "kind": found.kind.name(),
            "detail": found.detail,
            "from": character(found.from),
            "to": character(found.to),
        })
    };
    Ok(Json(found.into_iter().map(suggestion).collect()))
}

/// The byte at which character `position` of `text` begins.
fn byte_of(text: &str, position: usize) -> Result<usize> {
    let borders = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    borders.into_iter().nth(position).ok_or_else(|| {
        Error::invalid(format!(
            "position={position} is beyond the end of a statement of {} characters",
            text.chars().count()
        ))
    })
}

/// The most frequent values of `key`, as it is written in a statement, that begin with `prefix`; none if there is no such
/// attribute.
async fn values(caller: &Caller, key: &str, prefix: &str) -> Result<Vec<String>, Problem> {
    // The key is one word or one quoted name of the statement.
    let name = with_stack(|| match parse_condition(key) {
        Ok(name @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => Some(name.to_string()),
        _ => None,
    });
    let Some(name) = name else { return Ok(Vec::new()) };
    let prefix = build::text(prefix);
    let sql = format!("SELECT value FROM attribute_values({name}, {prefix}) LIMIT {VALUES_MAX}");
    let question = Question { timeout: Some(VALUES_WAIT), ..Question::sql(sql) };
    match texts(caller, question).await {
        Ok(values) => Ok(values),
        Err(refusal) if matches!(refusal.kind(), ErrorKind::InvalidInput | ErrorKind::Cancelled) => {
            Ok(Vec::new())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// The texts in the first column of an answer.
async fn texts(caller: &Caller, question: Question) -> Result<Vec<String>, Refusal> {
    let answer = caller.ask(Protocol::Sql, question, |found| found.stream.map_err(Error::from)).await?;
    let batches: Vec<RecordBatch> = answer.items.try_collect().await?;
    let mut texts = Vec::new();
    for batch in &batches {
        let column = cast(batch.column(0), &DataType::Utf8View).map_err(Error::from)?;
        texts.extend(column.as_string_view().iter().flatten().map(str::to_owned));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        assert_eq!(byte_of("é1", 0).unwrap(), 0);
        assert_eq!(byte_of("é1", 1).unwrap(), 2);
        assert_eq!(byte_of("é1", 2).unwrap(), 3);
        assert_eq!(byte_of("é1", 3).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
