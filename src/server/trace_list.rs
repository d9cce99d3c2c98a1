//! Which traces, or spans, meet a condition? `GET /v1/traces?from=…&to=…&where=…&order=slowest&limit=100`, in pages.
//!
//! ```jsonc
//! {"columns": […], "rows": {…}, "remaining": 1204, "next": "WyJ0…", "sql": "SELECT …", "cost": {…}, …}
//! ```
//!
//! | option | means | default |
//! |---|---|---|
//! | `of` | `traces`: traces with a span that meets the condition; `spans`: these spans | `traces` |
//! | `from`, `to` | time of the spans, in RFC 3339 | all |
//! | `where` | condition of spans, in SQL | none |
//! | `order` | `newest`, `slowest`, `fastest`, `errors`, `largest` (traces) | `newest` |
//! | `limit` | rows of a page, up to 5,000 | 100 |
//! | `after` | `next` of the page before | first page |
//!
//! Every order ends with the ids, so that it is total, and `next` has the values by which the last row stands where it
//! does. A page has what comes after that place: what was added before it meanwhile moves no row into another page.
//! `remaining` counts this page and all after it.

use axum::http::Uri;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::answer::Problem;
use super::fields::{Range, Sql, condition, filter, literal, no_option, option, options};
use super::gate::Caller;
use super::table::Table;
use crate::error::{Error, Result};
use crate::event::{SpanId, TraceId};

/// Most rows of a page.
const ROWS_MAX: usize = 5_000;

/// Rows of a page.
const ROWS: usize = 100;

const OPTIONS: &str = "of, from, to, where, order, limit and after";

/// `GET /v1/traces`.
pub(super) async fn get(caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let list = List::parse(uri.query().unwrap_or_default())?;
    let table = Table::read(&caller, list.statement()).await?;
    let remaining = table.value(REMAINING, 0)?.as_u64().unwrap_or(0);
    let rows = table.rows.num_rows();
    let next = if remaining > rows as u64 { Some(list.next(&table, rows - 1)?) } else { None };
    let more = Map::from_iter([("remaining".to_owned(), json!(remaining)), ("next".to_owned(), json!(next))]);
    table.without(REMAINING).answer(more)
}

/// Column of the statement that counts rows, on this page and after it.
const REMAINING: &str = "remaining";

/// Rows of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Traces,
    Spans,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Spans => "spans",
        }
    }

    /// Columns that stand for a row, besides those of the order.
    fn ids(self) -> &'static [Key] {
        const IDS: [Key; 2] = [Key::up("trace_id", Type::Trace), Key::up("span_id", Type::Span)];
        match self {
            Self::Traces => &IDS[..1],
            Self::Spans => &IDS,
        }
    }
}

/// Type of the values of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Time,
    Integer,
    Trace,
    Span,
    /// The column `status`, of which only matters if it is `error`.
    Failed,
}

impl Type {
    /// The value in a place as SQL; none for null. Fails if it is no value of this type.
    fn literal(self, value: &Value) -> Result<Option<String>> {
        let literal = match (self, value) {
            (Self::Failed, Value::String(status)) => (status == "error").to_string(),
            (Self::Failed, Value::Null) => false.to_string(),
            (_, Value::Null) => return Ok(None),
            (Self::Time, Value::String(time)) => literal(time.parse::<super::fields::Instant>()?),
            (Self::Integer, Value::Number(number)) if number.is_i64() => number.to_string(),
            (Self::Integer, Value::String(text)) => option::<i64>("after", text, "an integer")?.to_string(),
            (Self::Trace, Value::String(id)) => literal(id.parse::<TraceId>()?),
            (Self::Span, Value::String(id)) => literal(id.parse::<SpanId>()?),
            _ => return Err(not_a_place()),
        };
        Ok(Some(literal))
    }
}

/// A key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    column: &'static str,
    of: Type,
    is_descending: bool,
}

impl Key {
    const fn up(column: &'static str, of: Type) -> Self {
        Self { column, of, is_descending: false }
    }

    const fn down(column: &'static str, of: Type) -> Self {
        Self { column, of, is_descending: true }
    }

    fn sql(self) -> String {
        match self.of {
            Type::Failed => "coalesce(status = 'error', false)".to_owned(),
            _ => self.column.to_owned(),
        }
    }

    fn order(self) -> String {
        format!("{} {} NULLS LAST", self.sql(), if self.is_descending { "DESC" } else { "ASC" })
    }

    /// Condition of rows that have the value.
    fn is(self, value: Option<&str>) -> String {
        match value {
            Some(value) => format!("{} = {value}", self.sql()),
            None => format!("{} IS NULL", self.sql()),
        }
    }

    /// Condition of rows that stand after all with the value; none if there are no such rows.
    fn is_after(self, value: Option<&str>) -> Option<String> {
        let (sql, sign) = (self.sql(), if self.is_descending { "<" } else { ">" });
        value.map(|value| format!("({sql} {sign} {value} OR {sql} IS NULL)"))
    }
}

const ORDERS: &str = "newest, slowest, fastest, errors or, of traces, largest";

/// Keys of an order, without the ids.
fn order(of: Of, name: &str) -> Result<Vec<Key>> {
    let newest = match of {
        Of::Traces => Key::down("start", Type::Time),
        Of::Spans => Key::down("timestamp", Type::Time),
    };
    let keys = match (name, of) {
        ("newest", _) => vec![newest],
        ("slowest", _) => vec![Key::down("duration_ns", Type::Integer)],
        ("fastest", _) => vec![Key::up("duration_ns", Type::Integer)],
        ("errors", Of::Traces) => vec![Key::down("errors", Type::Integer), newest],
        ("errors", Of::Spans) => vec![Key::down("status", Type::Failed), newest],
        ("largest", Of::Traces) => vec![Key::down("spans", Type::Integer), newest],
        _ => return Err(Error::invalid(format!("order={name} is not {ORDERS}"))),
    };
    Ok(keys)
}

/// A page of a list.
#[derive(Debug)]
struct List {
    of: Of,
    range: Range,
    condition: Option<Sql>,
    order: String,
    keys: Vec<Key>,
    limit: usize,
    /// Values of the keys of the last row before the page.
    after: Option<Vec<Option<String>>>,
}

impl List {
    fn parse(query: &str) -> Result<Self> {
        let (mut of, mut range, mut filter) = (Of::Traces, Range::default(), None);
        let (mut by, mut limit, mut after) = ("newest".to_owned(), ROWS, None);
        for (name, value) in options(query) {
            match name.as_str() {
                "of" => {
                    let known = [Of::Traces, Of::Spans].into_iter().find(|of| of.name() == value);
                    of = known.ok_or_else(|| Error::invalid(format!("of={value} is not traces or spans")))?;
                }
                "from" => range.from = Some(value.parse()?),
                "to" => range.to = Some(value.parse()?),
                "where" => filter = condition(&value)?,
                "order" => by = value,
                "limit" => limit = option("limit", &value, "a number of rows")?,
                "after" => after = Some(value),
                other => return Err(no_option(other, OPTIONS)),
            }
        }
        if !(1..=ROWS_MAX).contains(&limit) {
            return Err(Error::invalid(format!("limit={limit} is not between 1 and {ROWS_MAX}")));
        }
        let mut keys = order(of, &by)?;
        keys.extend(of.ids());
        let after = after.map(|place| values(&place, of, &by, &keys)).transpose()?;
        Ok(Self { of, range, condition: filter, order: by, keys, limit, after })
    }

    fn statement(&self) -> String {
        let filter = filter(&self.range, &self.condition);
        let after = self.after.as_ref().map(|values| after(&self.keys, values));
        let order: Vec<String> = self.keys.iter().map(|key| key.order()).collect();
        let (order, limit) = (order.join(", "), self.limit);
        match self.of {
            Of::Traces => {
                let after = after.map_or_else(String::new, |after| format!(" AND {after}"));
                format!(
                    "SELECT trace_id, root_service, root_name, start, duration_ns, spans, errors, services, notes, \
                     count(*) OVER () AS {REMAINING} FROM traces \
                     WHERE trace_id IN (SELECT trace_id FROM spans{filter}){after} ORDER BY {order} LIMIT {limit}"
                )
            }
            Of::Spans => {
                let after = match (after, filter.is_empty()) {
                    (None, _) => String::new(),
                    (Some(after), true) => format!(" WHERE {after}"),
                    (Some(after), false) => format!(" AND {after}"),
                };
                format!(
                    "SELECT trace_id, span_id, attributes['service.name'] AS service, name, kind, status, timestamp, \
                     duration_ns, count(*) OVER () AS {REMAINING} FROM spans{filter}{after} \
                     ORDER BY {order} LIMIT {limit}"
                )
            }
        }
    }

    /// The place of a row, for the page after it.
    fn next(&self, table: &Table, row: usize) -> Result<String> {
        let mut place = vec![json!(self.of.name()), json!(self.order)];
        for key in &self.keys {
            place.push(table.value(key.column, row)?);
        }
        Ok(URL_SAFE_NO_PAD.encode(Value::from(place).to_string()))
    }
}

/// Values of a place: the name of the list and its order come first.
fn values(place: &str, of: Of, order: &str, keys: &[Key]) -> Result<Vec<Option<String>>> {
    let bytes = URL_SAFE_NO_PAD.decode(place).map_err(|_| not_a_place())?;
    let values: Vec<Value> = serde_json::from_slice(&bytes).map_err(|_| not_a_place())?;
    let (list, values) = values.split_at_checked(2).ok_or_else(not_a_place)?;
    if list != [json!(of.name()), json!(order)] || values.len() != keys.len() {
        return Err(not_a_place());
    }
    keys.iter().zip(values).map(|(key, value)| key.of.literal(value)).collect()
}

fn not_a_place() -> Error {
    Error::invalid(
        "after is not the member next of a page of this list and order; leave it out to begin anew",
    )
}

/// Condition of the rows after the place `values`.
fn after(keys: &[Key], values: &[Option<String>]) -> String {
    let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
    let ways = keys.iter().enumerate().filter_map(|(at, key)| {
        let equal = keys.iter().zip(&values).take(at).map(|(key, value)| key.is(*value));
        let all: Vec<String> = equal.chain([key.is_after(values[at])?]).collect();
        Some(format!("({})", all.join(" AND ")))
    });
    let ways: Vec<String> = ways.collect();
    if ways.is_empty() { "false".to_owned() } else { format!("({})", ways.join(" OR ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_after_the_place_of_the_last_row() {
        let place = |values: Value| URL_SAFE_NO_PAD.encode(values.to_string());
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let after = place(json!(["traces", "slowest", 7, trace]));
        let list = List::parse(&format!("order=slowest&after={after}")).unwrap();
        let sql = list.statement();
        let wanted = format!(
            "AND (((duration_ns < 7 OR duration_ns IS NULL)) OR (duration_ns = 7 AND (trace_id > '{trace}' OR \
             trace_id IS NULL))) ORDER BY duration_ns DESC NULLS LAST, trace_id ASC NULLS LAST LIMIT 100"
        );
        assert!(sql.ends_with(&wanted), "{sql}");
        let unknown = place(json!(["spans", "slowest", null, trace, "00f067aa0ba902b7"]));
        let sql = List::parse(&format!("of=spans&order=slowest&after={unknown}")).unwrap().statement();
        assert!(sql.contains("FROM spans WHERE ((duration_ns IS NULL AND (trace_id > "), "{sql}");
        for wrong in [
            "after=x".to_owned(),
            format!("after={after}"),
            format!("of=spans&order=slowest&after={after}"),
            format!("order=slowest&after={}", place(json!(["traces", "slowest", "1 or true", trace]))),
            format!("order=slowest&after={}", place(json!(["traces", "slowest", 7, "x"]))),
            format!("order=slowest&after={}", place(json!(["traces", "slowest", 7]))),
            format!("order=slowest&after={}", place(json!({ "a": 1 }))),
        ] {
            assert!(
                List::parse(&wrong).unwrap_err().message().contains("after") || wrong.contains("WyJ0"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn only_known_options_are_taken() {
        for wrong in [
            "of=logs",
            "order=oldest",
            "of=spans&order=largest",
            "limit=0",
            "limit=5001",
            "from=now",
            "wher=x",
        ] {
            assert!(List::parse(wrong).is_err(), "{wrong}");
        }
        let list = List::parse("where=name%20%3D%20'a'&from=2026-11-29T14:00:00Z&limit=5").unwrap();
        let inner = "(SELECT trace_id FROM spans WHERE timestamp >= '2026-11-29T14:00:00Z' AND (name = 'a'))";
        assert!(list.statement().contains(inner), "{}", list.statement());
    }
}
