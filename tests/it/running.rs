//! Servers for tests: in this process ([`Running`]), and in a process of their own ([`Served`]).

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use broadloom::config::Settings;
use broadloom::db::Database;
use broadloom::server::{Addresses, Endpoints, Limits, Listeners, Port, Server};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Server in this process, on free ports, with a data directory of its own.
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) runtime: Runtime,
    server: Option<Server>,
    pub(crate) database: Database,
    _data: TempDir,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with(&Endpoints::any(), limits)
    }

    pub(crate) fn with(endpoints: &Endpoints, limits: Limits) -> Self {
        let data = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (server, database) = runtime.block_on(async {
            let listeners = Listeners::bind(endpoints).await.unwrap();
            let database = Database::open(Settings::new(data.path())).await.unwrap();
            (Server::start(listeners, database.clone(), limits).unwrap(), database)
        });
        Self { addresses: server.addresses().clone(), runtime, server: Some(server), database, _data: data }
    }

    /// URL of the main HTTP address.
    pub(crate) fn url(&self) -> String {
        self.url_of(Port::Http)
    }

    /// The address of a port, as a URL.
    pub(crate) fn url_of(&self, port: Port) -> String {
        format!("http://{}", self.addresses.get(port).unwrap())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.url()), &[])
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        post(&format!("{}{path}", self.url()), headers, body)
    }

    /// Sends spans over OTLP/HTTP, all of which must be accepted.
    pub(crate) fn send(&self, request: &ExportTraceServiceRequest) {
        let protobuf = ("Content-Type", "application/x-protobuf");
        let answer = self.post("/v1/traces", &[protobuf], request.encode_to_vec());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Runs a statement; returns its rows as JSON.
    pub(crate) fn rows(&self, sql: &str) -> serde_json::Value {
        rows(&self.url(), sql)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(async {
                server.stop().await;
                self.database.close().await.unwrap();
            });
        }
    }
}

/// Complete HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().new_agent()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let mut body = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut body).unwrap();
    Answer { status: response.status().as_u16(), headers, body }
}

pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(agent().get(url), |request, (name, value)| request.header(*name, *value));
    answer(request.call().unwrap())
}

pub(crate) fn post(url: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    let request =
        headers.iter().fold(agent().post(url), |request, (name, value)| request.header(*name, *value));
    answer(request.send(body.as_ref()).unwrap())
}

pub(crate) fn delete(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(agent().delete(url), |request, (name, value)| request.header(*name, *value));
    answer(request.call().unwrap())
}

/// Runs a statement on the server at `url`; returns its rows as JSON.
pub(crate) fn rows(url: &str, sql: &str) -> serde_json::Value {
    let answer = post(&format!("{url}/v1/sql"), &[], sql);
    assert_eq!(answer.status, 200, "{sql}\n{}", answer.text());
    answer.json()
}

/// `broadloom serve` in a process of its own, on free ports; killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) http: String,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
}

impl Served {
    pub(crate) fn start(data: &std::path::Path) -> Self {
        Self::with(data, &[])
    }

    /// Starts it with more arguments.
    pub(crate) fn with(data: &std::path::Path, arguments: &[&str]) -> Self {
        let any = "127.0.0.1:0";
        let addresses = ["serve", "--http", any, "--otlp-grpc", any, "--otlp-http", any, "--data"];
        Self::spawn(broadloom(&addresses).arg(data).args(arguments))
    }

    /// Starts a `serve` command and waits until it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::try_spawn(command).unwrap_or_else(|| panic!("{command:?} does not serve"))
    }

    /// Like [`spawn`](Self::spawn); `None` if the command ends before it listens.
    pub(crate) fn try_spawn(command: &mut Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(words) = line.strip_prefix("listening ") else {
            child.wait().unwrap();
            return None;
        };
        let of = |name: &str| {
            let address =
                words.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            format!("http://{}", address.unwrap())
        };
        Some(Self { child, http: of("http"), otlp_grpc: of("otlp-grpc"), otlp_http: of("otlp-http") })
    }

    /// Sends it a signal, such as STOP.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end; returns the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // These fail if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Command that runs the program, or the one that `BROADLOOM_PROGRAM` names (a release build for a long run), without
/// environment variables that would change its behaviour.
pub(crate) fn broadloom(arguments: &[&str]) -> Command {
    let usual = || env!("CARGO_BIN_EXE_broadloom").into();
    let mut command = Command::new(std::env::var_os("BROADLOOM_PROGRAM").unwrap_or_else(usual));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("BROADLOOM_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    broadloom(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs the program on a data directory; returns its output. It must succeed.
pub(crate) fn run_on(data: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = broadloom(arguments).arg("--data").arg(data).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a statement on a data directory; returns its rows as JSON.
pub(crate) fn query_rows(data: &Path, sql: &str) -> Vec<serde_json::Value> {
    let lines = String::from_utf8(run_on(data, &["query", "--format", "ndjson", sql])).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Request with `count` spans of the trace [`TRACE`], one second apart.
pub(crate) fn spans(count: usize) -> ExportTraceServiceRequest {
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let span = |index: usize| {
        let start = 1_700_000_000_000_000_000 + index as u64 * 1_000_000_000;
        Span {
            trace_id: hex::decode(TRACE).unwrap(),
            span_id: (index as u64 + 1).to_be_bytes().to_vec(),
            name: format!("span {index}"),
            kind: 2,
            start_time_unix_nano: start,
            end_time_unix_nano: start + 1_500_000,
            attributes: vec![
                attribute("http.route", any_value::Value::StringValue("/cart/{id}".to_owned())),
                attribute("http.response.status_code", any_value::Value::IntValue(200)),
            ],
            status: Some(Status { code: 1, message: String::new() }),
            ..Span::default()
        }
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", any_value::Value::StringValue("cart".to_owned()))],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "test".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..count).map(span).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// Trace id of [`spans`].
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Folder of what `.ci/clients` installs; `None`, after saying that `test` is skipped, if BROADLOOM_CLIENTS is not set.
pub(crate) fn clients(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BROADLOOM_CLIENTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("\nSKIPPED {test}: BROADLOOM_CLIENTS is not set; run `. .ci/clients` first\n");
    }
    folder
}
