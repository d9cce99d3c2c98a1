//! Which log records are around one? `GET /v1/logs/context?event=2026-11-29T14:36:02.339Z~8c7d1e90&before=50&after=50`.
//!
//! ```jsonc
//! {"columns": […], "rows": {…}, "at": 50, "sql": "SELECT …", "cost": {…}, …}
//! ```
//!
//! Oldest first; `at` is the row of the record itself, null if more records than were asked for have its time. There is
//! no number that all records have, so `event` is a time and a hash of what the record says ([`hash`]); a time alone
//! means any record of that time.
//!
//! | option | means | default |
//! |---|---|---|
//! | `event` | the record | |
//! | `before`, `after` | numbers of neighbours, up to 5,000 each | 50 |
//! | `same` | attributes that neighbours share with the record, between commas: `service.name,k8s.pod.name` | none |
//! | `where` | condition of neighbours, in SQL | none |
//! | `within` | how far away neighbours may be: `1h`, `7d`, `any` | `1d` |

use std::time::Duration;

use axum::http::Uri;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::Problem;
use super::fields::{Instant, Sql, condition, literal, no_option, option, options};
use super::gate::Caller;
use super::table::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::query::language::build;

/// Most neighbours on one side.
const NEIGHBOURS_MAX: usize = 5_000;

/// Records of one instant among which the one is looked for.
const INSTANT_ROWS_MAX: usize = 1_000;

/// Most attributes in `same`.
const SAME_MAX: usize = 20;

/// Columns by which a record is shown, and told from others.
const RECORD: &str = "timestamp, severity, attributes['service.name'] AS service, body, trace_id, span_id";

/// Names of the columns that a hash is of.
const HASHED: [&str; 5] = ["severity", "service", "body", "trace_id", "span_id"];

const OPTIONS: &str = "event, before, after, same, where and within";

/// `GET /v1/logs/context`.
pub(super) async fn get(caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let wanted = Context::parse(uri.query().unwrap_or_default())?;
    let same = wanted.record(&caller).await?;
    let table = Table::read(&caller, wanted.statement(&same)).await?;
    let mut at = None;
    for row in 0..table.rows.num_rows() {
        if at.is_none() && wanted.event.is(&table, row)? {
            at = Some(row);
        }
    }
    table.answer(Map::from_iter([("at".to_owned(), json!(at))]))
}

/// Name of a record.
#[derive(Debug, PartialEq)]
struct Event {
    time: Instant,
    hash: Option<u32>,
}

impl Event {
    fn parse(text: &str) -> Result<Self> {
        let (time, hash) = text.split_once('~').map_or((text, None), |(time, hash)| (time, Some(hash)));
        let wrong = || {
            Error::invalid(format!("event={text} is not a time, or a time, ~ and eight hexadecimal digits"))
        };
        let hash =
            hash.map(|hash| u32::from_str_radix(hash, 16).ok().filter(|_| hash.len() == 8).ok_or_else(wrong));
        Ok(Self { time: time.parse()?, hash: hash.transpose()? })
    }

    /// True if it is that row.
    fn is(&self, table: &Table, row: usize) -> Result<bool> {
        let time = table.value("timestamp", row)?;
        if time.as_str().map(str::parse).transpose()? != Some(self.time) {
            return Ok(false);
        }
        let Some(wanted) = self.hash else { return Ok(true) };
        let said = HASHED.iter().map(|column| table.value(column, row)).collect::<Result<Vec<Value>>>()?;
        Ok(hash(&Value::from(said)) == wanted)
    }
}

/// Hash of what a record says: FNV-1a over the characters of its severity, service, body, trace id and span id as a JSON
/// array without spaces.
fn hash(said: &Value) -> u32 {
    said.to_string()
        .chars()
        .fold(2_166_136_261, |hash: u32, c| (hash ^ u32::from(c)).wrapping_mul(16_777_619))
}

/// Neighbours that are wanted.
#[derive(Debug)]
struct Context {
    event: Event,
    before: usize,
    after: usize,
    same: Vec<String>,
    condition: Option<Sql>,
    /// `None` if they may be anywhere.
    within: Option<Duration>,
}

impl Context {
    fn parse(query: &str) -> Result<Self> {
        let (mut event, mut before, mut after) = (None, 50, 50);
        let (mut same, mut filter, mut within) = (Vec::new(), None, Some(Duration::from_hours(24)));
        for (name, value) in options(query) {
            match name.as_str() {
                "event" => event = Some(Event::parse(&value)?),
                "before" => before = option("before", &value, "a number of records")?,
                "after" => after = option("after", &value, "a number of records")?,
                "same" => same = value.split(',').map(|key| key.trim().to_owned()).collect(),
                "where" => filter = condition(&value)?,
                "within" if value == "any" => within = None,
                "within" => {
                    let time = humantime::parse_duration(&value);
                    within = Some(time.map_err(|e| {
                        Error::invalid(format!("within={value} is not a duration or any; write 1h or 7d"))
                            .with_source(e)
                    })?);
                }
                other => return Err(no_option(other, OPTIONS)),
            }
        }
        let event =
            event.ok_or_else(|| Error::invalid("event is missing: the time of the record, or its name"))?;
        if before.max(after) > NEIGHBOURS_MAX {
            return Err(Error::invalid(format!("before and after are at most {NEIGHBOURS_MAX}")));
        }
        if same.iter().any(String::is_empty) || same.len() > SAME_MAX {
            return Err(Error::invalid(format!(
                "same is a list of 1 to {SAME_MAX} attributes, between commas"
            )));
        }
        Ok(Self { event, before, after, same, condition: filter, within })
    }

    /// Condition of the records that share attributes with the one. Fails if there is no such record.
    async fn record(&self, caller: &Caller) -> Result<Vec<String>, Problem> {
        let keys = self.same.iter().enumerate();
        let keys = keys.map(|(at, key)| format!(", {} AS same_{at}", attribute(key)));
        let keys = keys.collect::<Vec<_>>().concat();
        let time = literal(self.event.time);
        let sql =
            format!("SELECT {RECORD}{keys} FROM logs WHERE timestamp = {time} LIMIT {INSTANT_ROWS_MAX}");
        let table = Table::read(caller, sql).await?;
        for row in 0..table.rows.num_rows() {
            if self.event.is(&table, row)? {
                let shared = self.same.iter().enumerate().map(|(at, key)| {
                    let value = table.value(&format!("same_{at}"), row)?;
                    Ok(is(&attribute(key), &value))
                });
                return Ok(shared.collect::<Result<_>>()?);
            }
        }
        let message =
            format!("no log record of {} is the one that is meant: it may have expired", self.event.time);
        Err(Error::new(ErrorKind::NotFound, message).into())
    }

    fn statement(&self, same: &[String]) -> String {
        let time = literal(self.event.time);
        let conditions: String = same
            .iter()
            .map(ToString::to_string)
            .chain(self.condition.iter().map(Sql::to_string))
            .fold(String::new(), |all, condition| all + " AND " + &condition);
        let reach = |sign: &str| {
            self.within.map_or_else(String::new, |within| {
                let compare = if sign == "-" { ">=" } else { "<" };
                let ns = within.as_nanos();
                format!(" AND timestamp {compare} TIMESTAMP {time} {sign} INTERVAL '{ns} nanoseconds'")
            })
        };
        format!(
            "SELECT * FROM (SELECT {RECORD} FROM logs WHERE timestamp <= {time}{}{conditions} \
             ORDER BY timestamp DESC, trace_id DESC, span_id DESC LIMIT {}) AS before \
             UNION ALL SELECT * FROM (SELECT {RECORD} FROM logs WHERE timestamp > {time}{}{conditions} \
             ORDER BY timestamp, trace_id, span_id LIMIT {}) AS after ORDER BY timestamp, trace_id, span_id",
            reach("-"),
            self.before + 1,
            reach("+"),
            self.after,
        )
    }
}

/// An attribute, which need not exist.
fn attribute(key: &str) -> String {
    format!("attributes[{}]", literal(key))
}

/// Condition that an attribute has a value.
fn is(attribute: &str, value: &Value) -> String {
    match value {
        Value::Null => format!("{attribute} IS NULL"),
        Value::Number(number) => format!("{attribute} = {number}"),
        Value::Bool(value) => format!("{attribute} = {value}"),
        Value::String(text) => format!("{attribute} = {}", build::text(text.clone())),
        other => format!("{attribute} = {}", literal(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_name_that_pages_give_it() {
        // Made by `eventOf` of the page.
        let said = json!(["WARN", "payment", "index \"a\" is missing\n", null, "00f067aa0ba902b7"]);
        assert_eq!(format!("{:08x}", hash(&said)), "885bd8af");
    }

    #[test]
    fn neighbours_share_what_was_said_and_are_within_reach() {
        let wanted = "event=2026-11-29T14:36:02.339Z~8c7d1e90&before=2&same=a,b&where=severity_number%20>%209&within=1h";
        let context = Context::parse(wanted).unwrap();
        assert_eq!(context.event.hash, Some(0x8c7d_1e90));
        let same = [is("attributes['a']", &json!("it's")), is("attributes['b']", &Value::Null)];
        let sql = context.statement(&same);
        let conditions =
            "AND attributes['a'] = 'it''s' AND attributes['b'] IS NULL AND (severity_number > 9)";
        assert_eq!(sql.matches(conditions).count(), 2, "{sql}");
        assert!(sql.contains("LIMIT 3)") && sql.contains("LIMIT 50)"), "{sql}");
        assert!(sql.contains("- INTERVAL '3600000000000 nanoseconds'"), "{sql}");
        for wrong in [
            "",
            "event=now",
            "event=2026-11-29T14:36:02Z~xyz",
            "event=2026-11-29T14:36:02Z&before=9999",
            "event=2026-11-29T14:36:02Z&same=",
            "event=2026-11-29T14:36:02Z&within=soon",
            "event=2026-11-29T14:36:02Z&evnt=1",
        ] {
            assert!(Context::parse(wrong).is_err(), "{wrong}");
        }
    }
}
