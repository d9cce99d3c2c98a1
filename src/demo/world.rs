//! How is the model of [`super::shop`] compiled for fast generation?
//!
//! Names become indices. Attributes that are the same on every span of a kind are built once and then copied.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::attributes::{int, text};
use super::incident;
use super::latency::Latency;
use super::shop::{Language, SERVICES, Service, Step, Subject};

/// Library that instrumented a span; there is one instrumentation scope per library and language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    HttpServer,
    HttpClient,
    Rpc,
    Database,
    Messaging,
    Application,
}

/// One kind of span, with its constant properties.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) library: Library,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) latency: Latency,
    /// Probability that it fails itself, not by its steps.
    pub(super) fails: f64,
}

/// Protocol of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
    Message,
    Timer,
}

/// One compiled endpoint.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) service: usize,
    pub(super) protocol: Protocol,
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) operation: Operation,
    pub(super) subject: Subject,
    pub(super) sampling: u32,
    pub(super) moves: Vec<Move>,
}

/// A [`Step`] whose names are resolved.
#[derive(Debug)]
pub(super) enum Move {
    Call { target: usize, percent: u32, client: Operation },
    Query(Operation),
    PaymentMethod { usual: Operation, by_wallet: Operation },
    Cache(Operation),
    Work(Operation),
    External(Operation),
    Publish { topic: usize, producer: Operation },
    Together(Vec<Move>),
    Repeat(u32, u32, Vec<Move>),
    Sweep(Vec<Move>),
}

/// A topic and the endpoints that consume it, by index.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) consumers: Vec<usize>,
}

/// The whole compiled model.
#[derive(Debug)]
pub(super) struct World {
    pub(super) targets: Vec<Target>,
    pub(super) topics: Vec<Topic>,
    /// Entry points with the running sum of their weights.
    entries: Vec<(u32, usize)>,
    weights: u32,
}

impl World {
    /// Compiles [`SERVICES`].
    pub(super) fn new() -> Self {
        let names = Names::collect();
        let mut world = Self { targets: Vec::new(), topics: Vec::new(), entries: Vec::new(), weights: 0 };
        world.topics = names.topics.iter().map(|&name| Topic { name, consumers: Vec::new() }).collect();
        for (service_index, service) in SERVICES.iter().enumerate() {
            for endpoint in service.endpoints {
                let index = world.targets.len();
                if endpoint.weight > 0 {
                    world.weights += endpoint.weight;
                    world.entries.push((world.weights, index));
                }
                if let Some(topic) = endpoint.name.strip_prefix("process ")
                    && let Some(topic) = world.topics.iter_mut().find(|t| t.name == topic)
                {
                    topic.consumers.push(index);
                }
                let (protocol, method, route) = reached(endpoint.name);
                world.targets.push(Target {
                    service: service_index,
                    protocol,
                    method,
                    route,
                    operation: server(service, endpoint.name, endpoint.own_us),
                    subject: endpoint.subject,
                    sampling: endpoint.sampling,
                    moves: endpoint.steps.iter().filter_map(|s| compile(s, service, &names)).collect(),
                });
            }
        }
        world
    }

    /// Entry point chosen by `draw`, a number below [`Self::weights`].
    pub(super) fn entry(&self, draw: u32) -> usize {
        let at = self.entries.partition_point(|(sum, _)| *sum <= draw);
        self.entries.get(at).map_or(0, |e| e.1)
    }

    /// Sum of the weights of all entry points.
    pub(super) fn weights(&self) -> u32 {
        self.weights
    }
}

/// Names of the model and their indices.
struct Names {
    targets: HashMap<(&'static str, &'static str), usize>,
    topics: Vec<&'static str>,
}

impl Names {
    fn collect() -> Self {
        let mut targets = HashMap::new();
        let mut topics: Vec<&'static str> = Vec::new();
        for (service, endpoint) in SERVICES.iter().flat_map(|s| s.endpoints.iter().map(move |e| (s, e))) {
            targets.insert((service.name, endpoint.name), targets.len());
            if let Some(topic) = endpoint.name.strip_prefix("process ")
                && !topics.contains(&topic)
            {
                topics.push(topic);
            }
        }
        Self { targets, topics }
    }
}

fn reached(name: &'static str) -> (Protocol, &'static str, &'static str) {
    match name.split_once(' ') {
        Some(("process", topic)) => (Protocol::Message, "process", topic),
        Some(("job", job)) => (Protocol::Timer, "job", job),
        Some((method, route)) => (Protocol::Http, method, route),
        None => name.rsplit_once('/').map_or((Protocol::Grpc, name, ""), |(s, m)| (Protocol::Grpc, m, s)),
    }
}

/// Compiles a step; `None` if it has an unknown name, which a test of the model rules out.
fn compile(step: &Step, service: &Service, names: &Names) -> Option<Move> {
    let all = |steps: &[Step]| steps.iter().filter_map(|s| compile(s, service, names)).collect::<Vec<_>>();
    Some(match step {
        Step::Call(callee, endpoint, percent) => Move::Call {
            target: *names.targets.get(&(*callee, *endpoint))?,
            percent: *percent,
            client: client(service, callee, endpoint),
        },
        Step::Query(verb, table, rest, us) => {
            Move::Query(query(service, verb, table, &statement(verb, table, rest), *us))
        }
        Step::PaymentMethod => {
            let select = |by: &str| {
                format!(
                    "SELECT id, token, brand, last4 FROM payment_methods WHERE {by} AND deleted_at IS NULL"
                )
            };
            let mut by_wallet = query(service, "SELECT", incident::TABLE, &select("wallet_token = $1"), 1000);
            by_wallet.latency = incident::slow_query();
            Move::PaymentMethod {
                usual: query(service, "SELECT", incident::TABLE, &select("customer_id = $1"), 1700),
                by_wallet,
            }
        }
        Step::Cache(command, key) => Move::Cache(cache(service, command, key)),
        Step::Work(function, us) => Move::Work(work(service, function, *us)),
        Step::External(host, method, path, us) => Move::External(external(service, host, method, path, *us)),
        Step::Publish(topic) => Move::Publish {
            topic: names.topics.iter().position(|t| t == topic)?,
            producer: producer(service, topic),
        },
        Step::Together(steps) => Move::Together(all(steps)),
        Step::Repeat(low, high, steps) => Move::Repeat(*low, *high, all(steps)),
        Step::Sweep(steps) => Move::Sweep(all(steps)),
    })
}

fn server(service: &Service, name: &'static str, own_us: u32) -> Operation {
    let (protocol, method, route) = reached(name);
    let port = port(service, protocol);
    let mut attributes = match protocol {
        Protocol::Http => vec![
            text("http.request.method", method),
            text("http.route", route),
            text("url.scheme", if service.name == "gateway" { "https" } else { "http" }),
            text("network.protocol.name", "http"),
            text("network.protocol.version", if service.name == "gateway" { "2" } else { "1.1" }),
            text("server.address", host_of(service.name)),
            int("server.port", port),
        ],
        Protocol::Grpc => vec![
            text("rpc.system", "grpc"),
            text("rpc.service", route),
            text("rpc.method", method),
            text("network.protocol.name", "http"),
            text("network.protocol.version", "2"),
            text("server.address", host_of(service.name)),
            int("server.port", port),
        ],
        Protocol::Message => {
            let mut all = kafka(route);
            all.extend([
                text("messaging.operation.name", "process"),
                text("messaging.operation.type", "process"),
                text("messaging.consumer.group.name", service.name),
            ]);
            all
        }
        Protocol::Timer => {
            vec![text("job.name", route), text("job.trigger", "schedule"), text("job.cron", "*/5 * * * *")]
        }
    };
    attributes.extend(code(service, route, "handlers"));
    let (kind, library, fails) = match protocol {
        Protocol::Http => (SpanKind::Server, Library::HttpServer, 0.0012),
        Protocol::Grpc => (SpanKind::Server, Library::Rpc, 0.0008),
        Protocol::Message => (SpanKind::Consumer, Library::Messaging, 0.002),
        Protocol::Timer => (SpanKind::Internal, Library::Application, 0.0),
    };
    Operation { name: name.to_owned(), kind, library, attributes, latency: Latency::new(own_us, 0.35), fails }
}

fn client(service: &Service, callee: &str, endpoint: &'static str) -> Operation {
    let (protocol, method, route) = reached(endpoint);
    let (library, mut attributes) = if protocol == Protocol::Grpc {
        (
            Library::Rpc,
            vec![text("rpc.system", "grpc"), text("rpc.service", route), text("rpc.method", method)],
        )
    } else {
        (
            Library::HttpClient,
            vec![
                text("http.request.method", method),
                text("url.template", route),
                text("url.scheme", "http"),
                text("network.protocol.name", "http"),
                text("network.protocol.version", "1.1"),
            ],
        )
    };
    attributes.extend([
        text("server.address", host_of(callee)),
        int("server.port", if protocol == Protocol::Grpc { 9090 } else { 8080 }),
        text("peer.service", callee),
    ]);
    attributes.extend(code(service, &format!("{callee}_client"), "clients"));
    let latency = Latency::new(320, 0.4);
    Operation {
        name: endpoint.to_owned(),
        kind: SpanKind::Client,
        library,
        attributes,
        latency,
        fails: 0.0006,
    }
}

fn query(service: &Service, verb: &str, table: &str, statement: &str, us: u32) -> Operation {
    let mut attributes = vec![
        text("db.system.name", service.database),
        text("db.namespace", service.name),
        text("db.collection.name", table),
        text("db.operation.name", verb),
        text("db.query.summary", format!("{verb} {table}")),
        text("db.query.text", statement),
        text("server.address", format!("{}.{}.db.heddle.internal", service.name, service.database)),
        int("server.port", database_port(service.database)),
        text("peer.service", service.database),
        text("db.client.connection.pool.name", format!("{}-main", service.name)),
    ];
    attributes.extend(code(service, &format!("{}_{table}", verb.to_lowercase()), "store"));
    Operation {
        name: format!("{verb} {table}"),
        kind: SpanKind::Client,
        library: Library::Database,
        attributes,
        latency: Latency::new(us, 0.45),
        fails: 0.0005,
    }
}

fn cache(service: &Service, command: &str, key: &str) -> Operation {
    let mut attributes = vec![
        text("db.system.name", "redis"),
        text("db.namespace", "0"),
        text("db.operation.name", command),
        text("db.query.text", format!("{command} {key}:?")),
        text("server.address", "cache.heddle.internal"),
        int("server.port", 6379),
        text("peer.service", "redis"),
        text("cache.key.kind", key),
    ];
    attributes.extend(code(service, &format!("{key}_cache"), "cache"));
    Operation {
        name: command.to_owned(),
        kind: SpanKind::Client,
        library: Library::Database,
        attributes,
        latency: Latency::new(240, 0.4),
        fails: 0.0002,
    }
}

fn work(service: &Service, function: &str, us: u32) -> Operation {
    let mut attributes = code(service, function, "domain").to_vec();
    attributes.push(text("work.kind", "cpu"));
    Operation {
        name: function.to_owned(),
        kind: SpanKind::Internal,
        library: Library::Application,
        attributes,
        latency: Latency::new(us, 0.3),
        fails: 0.0003,
    }
}

fn external(service: &Service, host: &str, method: &str, path: &str, us: u32) -> Operation {
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.full", format!("https://{host}{path}")),
        text("url.template", path),
        text("url.scheme", "https"),
        text("network.protocol.name", "http"),
        text("network.protocol.version", "2"),
        text("server.address", host),
        int("server.port", 443),
        text("peer.service", host),
        text("tls.protocol.version", "1.3"),
    ];
    attributes.extend(code(service, "partner_client", "clients"));
    Operation {
        name: format!("{method} {path}"),
        kind: SpanKind::Client,
        library: Library::HttpClient,
        attributes,
        latency: Latency::new(us, 0.3),
        fails: 0.004,
    }
}

fn producer(service: &Service, topic: &str) -> Operation {
    let mut attributes = kafka(topic);
    attributes.extend([
        text("messaging.operation.name", "send"),
        text("messaging.operation.type", "send"),
        text("messaging.client.id", format!("{}-producer", service.name)),
    ]);
    attributes.extend(code(service, "publish", "events"));
    Operation {
        name: format!("send {topic}"),
        kind: SpanKind::Producer,
        library: Library::Messaging,
        attributes,
        latency: Latency::new(800, 0.5),
        fails: 0.0003,
    }
}

fn kafka(topic: &str) -> Vec<KeyValue> {
    vec![
        text("messaging.system", "kafka"),
        text("messaging.destination.name", topic),
        text("server.address", "broker-0.heddle.internal"),
        int("server.port", 9092),
        text("network.transport", "tcp"),
    ]
}

/// Attributes with the source location of an operation. The line number is derived from the name, so that it is stable.
fn code(service: &Service, what: &str, layer: &str) -> [KeyValue; 3] {
    let word: String =
        what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>();
    let word = word.trim_matches('_');
    let line = 17 + what.bytes().fold(0u32, |sum, b| (sum * 31 + u32::from(b)) % 883);
    let package = service.name.replace('-', "_");
    [
        text("code.function.name", format!("{package}.{layer}.{word}")),
        text("code.file.path", format!("src/{layer}/{word}.{}", extension(service.language))),
        int("code.line.number", i64::from(line)),
    ]
}

fn statement(verb: &str, table: &str, rest: &str) -> String {
    match verb {
        "SELECT" => format!("SELECT * FROM {table} {rest}"),
        "INSERT" => format!("INSERT INTO {table} {rest}"),
        "UPDATE" => format!("UPDATE {table} {rest}"),
        _ => rest.to_owned(),
    }
}

fn host_of(service: &str) -> String {
    if service == "gateway" {
        "shop.heddle.example".to_owned()
    } else {
        format!("{service}.heddle.svc.cluster.local")
    }
}

fn port(service: &Service, protocol: Protocol) -> i64 {
    match protocol {
        _ if service.name == "gateway" => 443,
        Protocol::Grpc => 9090,
        _ => 8080,
    }
}

fn database_port(system: &str) -> i64 {
    match system {
        "postgresql" => 5432,
        "mysql" => 3306,
        "mongodb" => 27017,
        "opensearch" => 9200,
        _ => 0,
    }
}

/// File extension of the language.
pub(super) fn extension(language: Language) -> &'static str {
    match language {
        Language::DotNet => "cs",
        Language::Go => "go",
        Language::Java => "java",
        Language::Node => "ts",
        Language::Php => "php",
        Language::Python => "py",
        Language::Ruby => "rb",
        Language::Rust => "rs",
    }
}
