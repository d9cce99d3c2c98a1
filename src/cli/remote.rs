//! How is a running server reached? Over HTTP; it is queried with `POST /v1/sql`.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{StreamDecoder, StreamReader};
use clap::Args;
use futures::Stream;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Position, Result};
use crate::query::output::Format;
use crate::query::{Ask, Parameter, Question};

/// Time that the client waits beyond the query's timeout, so that the server's own timeout message arrives. Also the
/// limit for connecting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Body of a request.
#[derive(Serialize)]
struct Statement<'a> {
    query: String,
    params: &'a [Parameter],
}

/// Options of a command that may ask a server.
#[derive(Debug, Clone, Args)]
pub(super) struct RemoteArgs {
    /// Query the server at this URL, http://host:port or https://host:port, instead of --data
    #[arg(long, value_name = "URL", env = "BROADLOOM_URL")]
    url: Option<String>,
    /// Key for the server, as broadloom key create printed it
    ///
    /// Everyone on this machine sees the options of a program: set the environment variable instead.
    #[arg(long, value_name = "KEY", env = "BROADLOOM_KEY", hide_env_values = true)]
    key: Option<String>,
    /// PEM file of certificates to trust, besides those of the system
    #[arg(long = "ca", value_name = "FILE", env = "BROADLOOM_CA")]
    roots: Option<PathBuf>,
}

impl RemoteArgs {
    /// The server to ask; `None` if the data is to be read directly.
    pub(super) fn server(&self) -> Result<Option<Server>> {
        self.url.as_deref().map(|url| Server::new(url, self)).transpose()
    }

    fn client(&self, parsed: &url::Url) -> Result<reqwest::Client> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let value = HeaderValue::try_from(format!("Bearer {}", key.trim()));
            let mut value =
                value.map_err(|_| Error::invalid("--key is not a key: it has characters of no key"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Reading the system's certificates takes longer than a query.
        let mut builder = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .default_headers(headers)
            .tls_built_in_root_certs(parsed.scheme() == "https");
        if let Some(file) = &self.roots {
            let wrong = |e: String| Error::invalid(format!("--ca {}: {e}", file.display()));
            let pem = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
            if roots.is_empty() {
                return Err(wrong("it has no certificates".to_owned()));
            }
            builder = roots.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        builder.build().map_err(|e| Error::internal("the HTTP client cannot be made").with_source(e))
    }
}

/// A server, and the connections to it; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Server {
    url: Arc<str>,
    client: reqwest::Client,
}

impl Server {
    /// The server at `url`, `http://host:port`. Connects when it is used.
    fn new(url: &str, args: &RemoteArgs) -> Result<Self> {
        let client = args.client(&parse(url)?)?;
        Ok(Self { url: url.trim_end_matches('/').into(), client })
    }

    /// URL as it was given.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Posts `body` to `path`. Fails if there is no answer in time; the status is not looked at.
    pub(super) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
        timeout: Option<Duration>,
    ) -> Result<Response> {
        let request =
            self.client.post(format!("{}{path}", self.url)).header("Content-Type", content_type).body(body);
        let request = match timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        };
        request.send().await.map_err(|e| self.unreachable(e))
    }

    /// Sends a question; returns the warnings of its author, and the answer whose rows have begun. Dropping it ends the
    /// question.
    pub(super) async fn ask(&self, question: &Question, format: Format) -> Result<(Vec<String>, Response)> {
        let path = path(question, format);
        // The setting goes into the path, so that places in the text are those of the user's.
        let text = match &question.ask {
            Ask::Weighted(ask) => ask.to_string(),
            ask => ask.to_string(),
        };
        let statement = Statement { query: text, params: &question.params };
        let body = serde_json::to_vec(&statement)
            .map_err(|e| Error::internal("the statement cannot be written as JSON").with_source(e))?;
        let timeout = question.timeout.map(|timeout| timeout + PATIENCE);
        let answer = self.post(&path, "application/json", body, timeout).await?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(problem(status, &answer.text().await.unwrap_or_default()));
        }
        let warnings = answer.headers().get("broadloom-warnings").and_then(|value| value.to_str().ok());
        let warnings = warnings.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Ok((warnings, answer))
    }

    /// Sends a question and collects its rows; also returns the warnings of its author.
    pub(super) async fn rows(
        &self,
        question: &Question,
    ) -> Result<(Vec<String>, SchemaRef, Vec<RecordBatch>)> {
        let (warnings, answer) = self.ask(question, Format::Arrow).await?;
        let (schema, batches) = read_rows(&answer.bytes().await.map_err(cut_off)?)?;
        Ok((warnings, schema, batches))
    }

    /// Sends a question, and returns its rows as they come.
    pub(super) async fn stream(
        &self,
        question: &Question,
    ) -> Result<impl Stream<Item = Result<RecordBatch>> + Send + 'static> {
        let (_, answer) = self.ask(question, Format::Arrow).await?;
        let begin = (answer, StreamDecoder::new(), Buffer::default());
        Ok(futures::stream::try_unfold(begin, |(mut answer, mut decoder, mut bytes)| async move {
            loop {
                if let Some(batch) = decoder.decode(&mut bytes)? {
                    return Ok(Some((batch, (answer, decoder, bytes))));
                }
                match answer.chunk().await.map_err(cut_off)? {
                    Some(piece) => bytes = piece.into(),
                    None => break,
                }
            }
            decoder.finish()?;
            Ok(None)
        }))
    }

    /// Gets `path`: status and text. Fails if there is no answer within [`PATIENCE`].
    pub(super) async fn get(&self, path: &str) -> Result<(u16, HeaderMap, String)> {
        let request = self.client.get(format!("{}{path}", self.url)).timeout(PATIENCE);
        let answer = request.send().await.map_err(|e| self.unreachable(e))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok((status, headers, answer.text().await.map_err(cut_off)?))
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let mut cause = error.source();
        while let Some(deeper) = cause.and_then(std::error::Error::source) {
            cause = Some(deeper);
        }
        let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(ErrorKind::Unavailable, format!("cannot query {}: {cause}", self.url)).with_source(error)
    }
}

/// Reads rows in Arrow's stream format.
pub(super) fn read_rows(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let reader = StreamReader::try_new(bytes, None)?;
    Ok((reader.schema(), reader.collect::<std::result::Result<_, _>>()?))
}

fn parse(url: &str) -> Result<url::Url> {
    let wrong = |e: String| Error::invalid(format!("--url {url}: {e}; write http://127.0.0.1:8080"));
    let parsed = url::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        _ => Err(wrong("not an http or https URL".to_owned())),
    }
}

/// Path of the request, with its options as parameters.
fn path(question: &Question, format: Format) -> String {
    let mut options = url::form_urlencoded::Serializer::new(String::new());
    options.append_pair("format", format.name());
    if let Some(timeout) = question.timeout {
        options.append_pair("timeout", &humantime::format_duration(timeout).to_string());
    }
    if matches!(question.ask, Ask::Weighted(_)) {
        options.append_pair("weighted", "on");
    }
    if let Some(limit) = question.row_limit {
        options.append_pair("limit", &limit.to_string());
    }
    format!("/v1/sql?{}", options.finish())
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

/// The error of an answer that ended early.
pub(super) fn cut_off(error: reqwest::Error) -> Error {
    let message = format!("the server ended the result early, see its log for the reason: {error}");
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_carries_the_options() {
        let timeout = Some(Duration::from_millis(1500));
        let question = Question { timeout, row_limit: Some(7), ..Question::sql("select 1") };
        assert_eq!(path(&question, Format::Arrow), "/v1/sql?format=arrow&timeout=1s+500ms&limit=7");
        assert_eq!(
            path(&Question::sql("select 1").weighted(), Format::Csv),
            "/v1/sql?format=csv&weighted=on"
        );
        let server = |url: &str| {
            let args = RemoteArgs { url: Some(url.to_owned()), key: Some("bl_1".to_owned()), roots: None };
            args.server().map(Option::unwrap)
        };
        assert_eq!(server("http://h:1/").unwrap().url(), "http://h:1");
        assert!(server("localhost:8080").is_err());
        assert!(server("nonsense").is_err());
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
