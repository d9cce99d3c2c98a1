//! `broadloom serve`: receives telemetry and answers queries until a signal stops it.

use std::io::Write;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::{Globals, logging, units};
use crate::config::Settings;
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::server::{Endpoints, Limits, Listeners, Server, Signals};

const AFTER_HELP: &str = "\
Examples:
  broadloom serve
  broadloom serve --data /var/lib/broadloom --http 0.0.0.0:8080 --otlp-grpc off
  broadloom serve --config /etc/broadloom.toml --log-format json

Send telemetry (any OpenTelemetry SDK or Collector):
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 your-program
Query it:
  curl 127.0.0.1:8080/v1/sql -d 'select service.name, count(*) from spans group by 1'
  curl '127.0.0.1:8080/v1/sql?format=csv' -H 'Content-Type: application/json' \\
       -d '{\"query\": \"select * from logs where service.name = $1\", \"params\": [\"cart\"]}'
  broadloom query --url http://127.0.0.1:8080 'select * from traces limit 5'

When it is ready, it prints its addresses: `listening http=127.0.0.1:8080 otlp-grpc=… otlp-http=…`.
By default it listens on the loopback interface only; there is no authentication yet.
SIGTERM or Ctrl-C lets running requests end, writes buffered events to segments, and exits with 0.
A second signal stops at once; acknowledged events are in the write-ahead log.";

/// Arguments of `broadloom serve`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ServeArgs {
    /// SQL, health, metrics, and OTLP/HTTP too; port 0 takes any free one, "off" none
    #[arg(long, value_name = "HOST:PORT", env = "BROADLOOM_HTTP", default_value = "127.0.0.1:8080")]
    http: String,
    /// OTLP/gRPC
    #[arg(long, value_name = "HOST:PORT", env = "BROADLOOM_OTLP_GRPC", default_value = "127.0.0.1:4317")]
    otlp_grpc: String,
    /// OTLP/HTTP on its usual port
    #[arg(long, value_name = "HOST:PORT", env = "BROADLOOM_OTLP_HTTP", default_value = "127.0.0.1:4318")]
    otlp_http: String,
    /// Largest OTLP message, compressed or not; larger ones are refused
    ///
    /// The producer gets HTTP 413 or gRPC RESOURCE_EXHAUSTED and must send smaller batches. Sizes are written as
    /// 512KiB, 64MiB, 2GiB, 64MB (64,000,000) or 1048576.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_MESSAGE_MAX", default_value = "64MiB", value_parser = units::bytes)]
    message_max: usize,
    /// Memory for OTLP messages being received, of all producers together; beyond it they must retry
    ///
    /// The producer gets HTTP 503 or gRPC UNAVAILABLE, with a pause after which it sends the message again.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_IN_FLIGHT_MAX", default_value = "256MiB", value_parser = units::bytes)]
    in_flight_max: usize,
    /// Memory for acknowledged events that are not yet in a segment; beyond it producers must retry
    ///
    /// A segment is written at 192 MiB (or half of this size, if that is less), at 262,144 events, or after
    /// --flush-age, whichever comes first. Producers that are faster get HTTP 503 or gRPC UNAVAILABLE.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_BUFFER_MAX", default_value = "512MiB", value_parser = units::bytes)]
    buffer_max: usize,
    /// Longest time that an acknowledged event waits until a segment is written, such as 30s or 5m
    ///
    /// Until then the event is in memory and in the write-ahead log: it survives a crash, and queries see it.
    #[arg(long, value_name = "TIME", env = "BROADLOOM_FLUSH_AGE", default_value = "60s", value_parser = units::duration)]
    flush_age: Duration,
    /// Time for which a message is remembered, so that its redelivery is not stored again; at most 1h
    ///
    /// Messages are the same if their bytes are, after decompression. At most the newest 100,000 are remembered. 0s
    /// stores every message.
    #[arg(long, value_name = "TIME", env = "BROADLOOM_REDELIVERY_WINDOW", default_value = "15m", value_parser = redelivery_window)]
    redelivery_window: Duration,
    /// Queries that run at the same time; beyond it clients must retry
    ///
    /// The client gets HTTP 429.
    #[arg(long, value_name = "COUNT", env = "BROADLOOM_QUERIES_MAX", default_value_t = 64)]
    queries_max: usize,
    /// Time limit of a query that does not set one, such as 30s or 5m; after it the query fails
    ///
    /// A client sets its own limit with ?timeout=5m, or with broadloom query --timeout.
    #[arg(long, value_name = "TIME", env = "BROADLOOM_QUERY_TIMEOUT", default_value = "60s", value_parser = units::duration)]
    query_timeout: Duration,
    /// Memory for all running queries together; beyond it they spill to disk, then fail
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_QUERY_MEMORY", default_value = "2GiB", value_parser = units::bytes)]
    query_memory: usize,
    /// Memory for columns that queries read repeatedly; beyond it the least used are dropped
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_COLUMN_MEMORY", default_value = "1GiB", value_parser = units::bytes)]
    column_memory: usize,
    /// Memory for open indexes; beyond it the least used are closed
    ///
    /// Facts about columns and files take up to twice as much in addition.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_INDEX_MEMORY", default_value = "128MiB", value_parser = units::bytes)]
    index_memory: usize,
    /// Maintain segments in the background: on or off
    ///
    /// Maintenance merges small segments, removes what retention rules no longer keep, and deletes files that are no
    /// longer used. With off, only broadloom compact does this, for which the server must be stopped.
    #[arg(long, value_name = "ON", env = "BROADLOOM_COMPACTION", default_value = "on", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    compaction: bool,
    /// Size at which a merged segment is full, at least 1MiB
    ///
    /// A segment is also full with 1,048,576 events. A merge takes several times this size in memory.
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_SEGMENT_BYTES", default_value = "128MiB", value_parser = units::segment_bytes)]
    segment_bytes: usize,
}

/// A duration of at most an hour, the longest that a message may be remembered.
fn redelivery_window(text: &str) -> Result<Duration, String> {
    let window = units::duration(text)?;
    if window <= Duration::from_hours(1) { Ok(window) } else { Err("write at most 1h".to_owned()) }
}

impl ServeArgs {
    fn endpoints(&self) -> Endpoints {
        let of = |address: &str| (address != "off").then(|| address.to_owned());
        Endpoints { http: of(&self.http), otlp_grpc: of(&self.otlp_grpc), otlp_http: of(&self.otlp_http) }
    }

    fn limits(&self) -> Limits {
        Limits {
            message_bytes_max: self.message_max,
            in_flight_bytes_max: self.in_flight_max,
            queries_max: self.queries_max,
            query_timeout: self.query_timeout,
        }
    }

    /// Settings of the database that is served.
    pub(super) fn settings(&self, globals: &Globals) -> Settings {
        let mut settings = globals.settings();
        settings.buffer.bytes_max = self.buffer_max;
        settings.buffer.flush_bytes = settings.buffer.flush_bytes.min(self.buffer_max / 2);
        settings.buffer.flush_age_ms = u64::try_from(self.flush_age.as_millis()).unwrap_or(u64::MAX);
        settings.query.memory_bytes_max = self.query_memory;
        settings.index.memory_bytes_max = self.index_memory;
        settings.maintenance.background = self.compaction;
        settings.maintenance.segment.bytes = self.segment_bytes as u64;
        settings.deliveries.window = self.redelivery_window;
        settings.query.column_bytes_max = self.column_memory;
        settings
    }
}

/// Runs `broadloom serve`.
pub(super) async fn run(args: ServeArgs, globals: &Globals) -> Result<()> {
    logging::start(globals, "info")?;
    let prepared = Prepared::bind(&args).await?;
    let database = Database::open(args.settings(globals)).await?;
    prepared.serve(&args, database, globals, std::future::pending()).await
}

/// Signal handlers and bound ports, acquired before the data directory is opened.
#[derive(Debug)]
pub(super) struct Prepared {
    signals: Signals,
    listeners: Listeners,
}

impl Prepared {
    /// Installs the signal handlers and binds the ports.
    pub(super) async fn bind(args: &ServeArgs) -> Result<Self> {
        let signals = Signals::install()?;
        Ok(Self { signals, listeners: Listeners::bind(&args.endpoints()).await? })
    }

    /// Serves `database` until a signal, and runs `beside` meanwhile; serving ends if that fails.
    pub(super) async fn serve(
        self,
        args: &ServeArgs,
        database: Database,
        globals: &Globals,
        beside: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let Self { mut signals, listeners } = self;
        let mut server = Server::start(listeners, database.clone(), args.limits())?;
        announce(&server, globals);

        let failure = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping");
                None
            }
            error = server.failed() => Some(error),
            error = failure_of(beside) => Some(error),
        };
        let ended = tokio::select! {
            ended = end(server, &database) => ended,
            signal = signals.next() => {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    format!("{signal} again: stopped at once; acknowledged events are in the write-ahead log"),
                ));
            }
        };
        failure.map_or(ended, Err)
    }
}

/// The error of `beside`; never returns if there is none.
async fn failure_of(beside: impl Future<Output = Result<()>>) -> Error {
    match beside.await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

/// Lets running requests end, then writes the buffer to segments.
async fn end(server: Server, database: &Database) -> Result<()> {
    server.stop().await;
    database.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Reports the addresses: in the log for people, on stdout for programs.
fn announce(server: &Server, globals: &Globals) {
    let addresses = server.addresses();
    tracing::info!(
        http = addresses.http.map(tracing::field::display),
        otlp_grpc = addresses.otlp_grpc.map(tracing::field::display),
        otlp_http = addresses.otlp_http.map(tracing::field::display),
        data = %globals.data,
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    // A closed stdout does not stop the server.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening {addresses}").and_then(|()| stdout.flush());
}
