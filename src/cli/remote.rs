//! How is a running server queried? With `POST /v1/sql` over HTTP.

use std::io::{Read, Write};
use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use serde::Serialize;
use serde_json::Value;

use super::query::warn;
use crate::error::{Error, ErrorKind, Position, Result};
use crate::query::output::{self, Format};
use crate::query::{Parameter, Question};

/// Time that the client waits beyond the query's timeout, so that the server's own timeout message arrives. Also the
/// limit for connecting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Body of a request.
#[derive(Serialize)]
struct Statement<'a> {
    query: String,
    params: &'a [Parameter],
}

/// Sends the question to the server at `url` and writes the result to `to`; blocks.
pub(super) fn ask(url: &str, question: &Question, format: Format, to: &mut impl Write) -> Result<()> {
    let address = address(url, question, format)?;
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(PATIENCE))
        .timeout_global(question.timeout.map(|timeout| timeout + PATIENCE))
        .build()
        .new_agent();
    let statement = Statement { query: question.ask.to_string(), params: &question.params };
    let body = serde_json::to_string(&statement)
        .map_err(|e| Error::internal("the statement cannot be written as JSON").with_source(e))?;
    let mut response =
        agent.post(address.as_str()).header("Content-Type", "application/json").send(body).map_err(|e| {
            Error::new(ErrorKind::Unavailable, format!("cannot query {url}: {e}")).with_source(e)
        })?;
    let status = response.status().as_u16();
    if status != 200 {
        let text = response.body_mut().read_to_string().unwrap_or_default();
        return Err(problem(status, &text));
    }
    let warnings = response.headers().get("broadloom-warnings").and_then(|value| value.to_str().ok());
    for warning in
        warnings.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok()).unwrap_or_default()
    {
        warn(&warning);
    }
    let mut from = response.body_mut().as_reader();
    if format == Format::Table { table(from, to) } else { copy(&mut from, to) }
}

/// URL of the request, with its options as parameters.
fn address(url: &str, question: &Question, format: Format) -> Result<url::Url> {
    let wrong = |e: String| Error::invalid(format!("--url {url}: {e}; write http://127.0.0.1:8080"));
    let mut address = url::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
    if !matches!(address.scheme(), "http" | "https") {
        return Err(wrong("not an http or https URL".to_owned()));
    }
    address.set_path(&format!("{}/v1/sql", address.path().trim_end_matches('/')));
    let asked = if format == Format::Table { Format::Arrow } else { format };
    address.query_pairs_mut().append_pair("format", asked.name());
    if let Some(timeout) = question.timeout {
        address.query_pairs_mut().append_pair("timeout", &humantime::format_duration(timeout).to_string());
    }
    if let Some(limit) = question.row_limit {
        address.query_pairs_mut().append_pair("limit", &limit.to_string());
    }
    Ok(address)
}

/// The answer of the server, or of a proxy before it, as an error: its `detail`, kind and position.
fn problem(status: u16, text: &str) -> Error {
    let problem = serde_json::from_str::<Value>(text).unwrap_or_default();
    let name = problem["type"].as_str().and_then(|name| name.strip_prefix("urn:broadloom:problem:"));
    let kind = name.and_then(ErrorKind::of_name).unwrap_or(match status {
        400..500 => ErrorKind::InvalidInput,
        503 => ErrorKind::Unavailable,
        504 => ErrorKind::Cancelled,
        _ => ErrorKind::Internal,
    });
    let number = |field: &str| problem[field].as_u64().and_then(|number| usize::try_from(number).ok());
    let position = || Position::new(number("line")?, number("column")?);
    match problem["detail"].as_str() {
        Some(detail) => Error::new(kind, detail).at(position()),
        None => Error::new(kind, format!("the server answered with HTTP {status} and no explanation")),
    }
}

fn cut_off(error: std::io::Error) -> Error {
    let message = format!("the server ended the result early, see its log for the reason: {error}");
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut piece).map_err(cut_off)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&piece[..count])?;
    }
}

/// Reads rows in Arrow's stream format and writes them as a text table.
fn table(from: impl Read, to: &mut impl Write) -> Result<()> {
    let reader = StreamReader::try_new(from, None)?;
    let schema = reader.schema();
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
    to.write_all(output::table(&schema, &batches)?.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_carries_the_options() {
        let timeout = Some(Duration::from_millis(1500));
        let question = Question { timeout, row_limit: Some(7), ..Question::sql("select 1") };
        let of = |url| address(url, &question, Format::Table).map(|u| u.to_string());
        let wanted = "http://h:1/v1/sql?format=arrow&timeout=1s+500ms&limit=7";
        assert_eq!(of("http://h:1").unwrap(), wanted);
        assert_eq!(of("http://h:1/").unwrap(), wanted);
        assert!(of("localhost:8080").is_err());
        assert!(of("nonsense").is_err());
    }

    #[test]
    fn a_problem_keeps_its_words_kind_and_place() {
        let text = r#"{"type":"urn:broadloom:problem:busy","detail":"no column x","line":1,"column":8}"#;
        let error = problem(400, text);
        assert_eq!((error.kind(), error.message()), (ErrorKind::Busy, "no column x"));
        assert_eq!(error.position(), Position::new(1, 8));
        let bare = problem(400, r#"{"detail":"no"}"#);
        assert_eq!((bare.kind(), bare.position()), (ErrorKind::InvalidInput, None));
        assert_eq!(problem(502, "<html>").kind(), ErrorKind::Internal);
    }
}
