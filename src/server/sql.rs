//! How does a statement come in over HTTP, and how do its rows go out? `/v1/sql`.
//!
//! `POST` takes the statement as text, or as JSON `{"query": "…", "params": [1, "a"]}` if Content-Type is JSON;
//! `GET` takes it as `?query=…`, with `?param=…` for each parameter. `?format=`, else `Accept`, chooses the format
//! of the answer: `json` (an array of objects; the default), `ndjson`, `csv`, `arrow` (IPC stream), `parquet`,
//! `table` (for terminals), `stream` (lines with progress, see `sql_stream.rs`).
//! `?timeout=30s` and `?limit=1000` bound time and rows. Warnings are in the header
//! `broadloom-warnings`, a JSON array of strings, and the name of the query in `broadloom-query` (see `queries.rs`).
//!
//! The answer is streamed while the query runs, and the query ends when the client disconnects. A query that fails
//! before its first rows is answered with a problem. A later failure cannot change the status, so the connection is
//! cut: the chunked body has no end, which every HTTP client reports as an error. Such an answer is also never a
//! complete JSON, Arrow or Parquet document.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde::Deserialize;

use super::answer::Problem;
use super::content::{accepted, broken_off, media_type};
use super::gate::{Caller, Protocol};
use super::port::is_stalled;
use super::queries::set_query;
use super::sql_stream;
use crate::error::{Error, ErrorKind, Result};
use crate::query::language::switch;
use crate::query::output::{self, Format};
use crate::query::{Parameter, QueryResult, Question};

/// Most bytes of a statement with its parameters: no person writes more, and programs can use parameters.
pub(super) const STATEMENT_BYTES_MAX: usize = 4 << 20;

/// `GET /v1/sql?query=…`.
pub(super) async fn get(caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let options = Options::parse(uri.query().unwrap_or_default())?;
    let Some(sql) = options.query.clone() else {
        return Err(Error::invalid("no statement; write it as ?query=… or POST it").into());
    };
    let params = options.params.clone();
    answer(&caller, &headers, options, sql, params).await
}

/// `POST /v1/sql`.
pub(super) async fn post(
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let options = Options::parse(uri.query().unwrap_or_default())?;
    let body = axum::body::to_bytes(body, STATEMENT_BYTES_MAX).await.map_err(|e| {
        if is_stalled(&e) {
            return broken_off(e);
        }
        let message = format!("the statement cannot be read, or has more than {STATEMENT_BYTES_MAX} bytes");
        Error::new(ErrorKind::TooLarge, message).with_source(e)
    })?;
    let (sql, params) = if media_type(&headers).as_deref() == Some("application/json") {
        let statement: Statement = serde_json::from_slice(&body).map_err(|e| {
            Error::invalid(format!("the body is not {{\"query\": \"…\", \"params\": […]}}: {e}"))
                .with_source(e)
        })?;
        (statement.query, statement.params)
    } else {
        let sql = std::str::from_utf8(&body)
            .map_err(|e| Error::invalid(format!("the statement is not UTF-8: {e}")).with_source(e))?;
        (sql.to_owned(), options.params.clone())
    };
    answer(&caller, &headers, options, sql, params).await
}

/// A statement with the values of its parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    query: String,
    #[serde(default)]
    params: Vec<Parameter>,
}

/// Form of the answer that is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A document.
    Document(Format),
    /// Lines that tell of progress.
    Stream,
}

impl Wanted {
    fn parse(name: &str) -> Result<Self> {
        if name.eq_ignore_ascii_case(sql_stream::FORMAT) {
            return Ok(Self::Stream);
        }
        let format =
            name.parse::<Format>().map_err(|e| e.followed_by(format!(", {}", sql_stream::FORMAT)))?;
        Ok(Self::Document(format))
    }
}

/// Options in the query string.
#[derive(Debug, Default, PartialEq)]
struct Options {
    query: Option<String>,
    params: Vec<Parameter>,
    format: Option<Wanted>,
    timeout: Option<Duration>,
    limit: Option<usize>,
    is_weighted: bool,
}

impl Options {
    fn parse(query: &str) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "query" => options.query = Some(value.into_owned()),
                "param" => options.params.push(Parameter::read(&value)?),
                "format" => options.format = Some(Wanted::parse(&value)?),
                "timeout" => options.timeout = Some(timeout(&value)?),
                "limit" => {
                    let limit = value.parse();
                    options.limit = Some(limit.map_err(|_| {
                        Error::invalid(format!("limit={value} is not a number of rows; write limit=1000"))
                    })?);
                }
                "weighted" => {
                    options.is_weighted = switch(&value).ok_or_else(|| {
                        Error::invalid(format!("weighted={value} is neither on nor off; write weighted=on"))
                    })?;
                }
                other => {
                    return Err(Error::invalid(format!(
                        "unknown option {other:?}; the options are query, param, format, timeout, limit and weighted"
                    )));
                }
            }
        }
        Ok(options)
    }
}

fn timeout(text: &str) -> Result<Duration> {
    let parsed = match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => humantime::parse_duration(text),
    };
    parsed.map_err(|e| {
        Error::invalid(format!("timeout={text} is not a duration; write 30s or 2m: {e}")).with_source(e)
    })
}

/// Chooses the format by `Accept`; 406 if none that it lists is available.
fn negotiate(headers: &HeaderMap) -> Result<Format, Problem> {
    let accepted = accepted(headers);
    if accepted.is_empty() {
        return Ok(Format::Json);
    }
    accepted.iter().find_map(|media| of_media_range(media)).ok_or_else(|| {
        let known = Format::ALL.map(essence);
        let message =
            format!("no format that Accept lists is available; the formats are {}", known.join(", "));
        Problem::with_status(StatusCode::NOT_ACCEPTABLE, Error::invalid(message))
    })
}

fn of_media_range(media: &str) -> Option<Format> {
    match media {
        "*/*" | "application/*" => Some(Format::Json),
        "text/*" => Some(Format::Csv),
        "application/ndjson" | "application/jsonl" => Some(Format::Ndjson),
        exact => Format::ALL.into_iter().find(|format| essence(*format) == exact),
    }
}

/// The media type of `format` without its parameters.
fn essence(format: Format) -> &'static str {
    format.media_type().split(';').next().unwrap_or_default()
}

async fn answer(
    caller: &Caller,
    headers: &HeaderMap,
    options: Options,
    sql: String,
    params: Vec<Parameter>,
) -> Result<Response, Problem> {
    let rows_max = options.limit;
    let row_limit = rows_max.filter(|rows| *rows > 0);
    let question = Question { params, timeout: options.timeout, row_limit, ..Question::sql(sql) };
    let question = if options.is_weighted { question.weighted() } else { question };
    let limit = move |found: QueryResult| match rows_max {
        Some(rows_max) => found.first_rows(rows_max),
        None => found,
    };
    let format = match options.format {
        Some(Wanted::Stream) => return sql_stream::answer(caller, question, limit).await,
        Some(Wanted::Document(format)) => format,
        None => negotiate(headers)?,
    };
    let encode = move |found| output::encode(limit(found), format);
    let answer = caller.ask(Protocol::Sql, question, encode).await?;
    let warnings = warnings_header(&answer.warnings);
    let mut response = Response::new(Body::from_stream(answer.items));
    set_query(&mut response, answer.id);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if let Some(warnings) = warnings {
        headers.insert("broadloom-warnings", warnings);
    }
    Ok(response)
}

/// Most bytes of the header with warnings: proxies refuse long headers.
const WARNINGS_BYTES_MAX: usize = 4 << 10;

/// Warnings as a JSON array in ASCII; those that do not fit are left out.
fn warnings_header(warnings: &[String]) -> Option<HeaderValue> {
    let mut text = String::new();
    for warning in warnings {
        let mut item = String::new();
        for c in serde_json::Value::from(warning.as_str()).to_string().chars() {
            if c.is_ascii() {
                item.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    item.extend(["\\u", hex::encode(unit.to_be_bytes()).as_str()]);
                }
            }
        }
        if text.len() + item.len() > WARNINGS_BYTES_MAX {
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&item);
    }
    (!text.is_empty()).then(|| HeaderValue::from_str(&format!("[{text}]")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        headers
    }

    #[test]
    fn the_format_is_what_is_accepted() {
        let of = |accepted: &str| negotiate(&accept(accepted)).map_err(|p| p.status());
        assert_eq!(of("text/html, application/x-ndjson;q=0.9, */*;q=0.1"), Ok(Format::Ndjson));
        assert_eq!(of("application/vnd.apache.parquet"), Ok(Format::Parquet));
        assert_eq!(of("*/*"), Ok(Format::Json));
        assert_eq!(of("image/png"), Err(StatusCode::NOT_ACCEPTABLE));
        assert_eq!(negotiate(&HeaderMap::new()).unwrap(), Format::Json);
    }

    #[test]
    fn options_are_read_from_the_address() {
        let options = Options::parse(
            "query=select+%241&param=7&param=seven&format=csv&timeout=1m&limit=10&weighted=on",
        )
        .unwrap();
        assert_eq!(options.query.as_deref(), Some("select $1"));
        assert_eq!(options.params, [Parameter::Integer(7), Parameter::Text("seven".to_owned())]);
        assert_eq!((options.timeout, options.limit), (Some(Duration::from_mins(1)), Some(10)));
        assert!(options.is_weighted);
        assert_eq!(options.format, Some(Wanted::Document(Format::Csv)));
        assert_eq!(Options::parse("format=stream").unwrap().format, Some(Wanted::Stream));
        assert_eq!(Options::parse("timeout=30").unwrap().timeout, Some(Duration::from_secs(30)));
        for wrong in ["weighted=so", "format=xml", "timeout=soon", "limit=-1", "fromat=csv"] {
            assert_eq!(Options::parse(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn warnings_fit_into_a_header() {
        let header = warnings_header(&["no \"key\"".to_owned(), "Größe 😀\n".to_owned()]).unwrap();
        let back: Vec<String> = serde_json::from_str(header.to_str().unwrap()).unwrap();
        assert_eq!(back, ["no \"key\"", "Größe 😀\n"]);
        assert_eq!(warnings_header(&[]), None);
        let many = vec!["w".repeat(1000); 50];
        assert!(warnings_header(&many).unwrap().len() <= WARNINGS_BYTES_MAX + 200);
    }
}
