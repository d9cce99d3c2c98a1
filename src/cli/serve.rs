//! `broadloom serve`: takes telemetry in and answers questions until it is told to stop.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::logging::LogFormat;
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

Send to it:
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 your-program     any OpenTelemetry SDK or Collector
Ask it:
  curl 127.0.0.1:8080/v1/sql -d 'select service.name, count(*) from spans group by 1'
  curl '127.0.0.1:8080/v1/sql?format=csv' -H 'Content-Type: application/json' \\
       -d '{\"query\": \"select * from logs where trace_id = $1\", \"params\": [\"4bf92f3577b34da6a3ce929d0e0e4736\"]}'
  broadloom query --url http://127.0.0.1:8080 'select * from traces limit 5'

Look at it:
  open http://127.0.0.1:8080/ in a browser

Once it listens, one line on stdout says where: `listening http=127.0.0.1:8080 otlp-grpc=… otlp-http=…`.
It listens on the loopback interface unless told otherwise; there is no authentication yet.
SIGTERM and Ctrl-C let running requests end, write everything to segments, and exit with 0.";

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
    /// Largest OTLP message, packed or unpacked
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_MESSAGE_MAX", default_value = "64MiB", value_parser = units::bytes)]
    message_max: usize,
    /// Bytes of OTLP messages in memory at once; beyond it producers are told to come again
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_IN_FLIGHT_MAX", default_value = "256MiB", value_parser = units::bytes)]
    in_flight_max: usize,
    /// Events in memory that are not yet in a segment; beyond it producers are told to come again
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_BUFFER_MAX", default_value = "512MiB", value_parser = units::bytes)]
    buffer_max: usize,
    /// Events wait at most this long for their segment; they are durable and found before
    #[arg(long, value_name = "TIME", env = "BROADLOOM_FLUSH_AGE", default_value = "60s", value_parser = units::duration)]
    flush_age: Duration,
    /// Memory of all queries together; beyond it they spill to disk, then fail
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_QUERY_MEMORY", default_value = "2GiB", value_parser = units::bytes)]
    query_memory: usize,
    /// Memory for the indexes that queries have open
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_INDEX_MEMORY", default_value = "128MiB", value_parser = units::bytes)]
    index_memory: usize,
    /// Segments are merged until they have so many bytes, or a million events; a merge takes several times as much
    /// memory
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_SEGMENT_BYTES", default_value = "128MiB", value_parser = units::segment_bytes)]
    segment_bytes: usize,
    /// How long a message is remembered, so that its redelivery adds nothing; 0s takes in every message
    #[arg(long, value_name = "TIME", env = "BROADLOOM_REDELIVERY_WINDOW", default_value = "15m", value_parser = redelivery_window)]
    redelivery_window: Duration,
    /// Merge small segments in the background: on or off
    #[arg(long, value_name = "ON", env = "BROADLOOM_COMPACTION", default_value = "on", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    compaction: bool,
    /// Memory for columns that queries read again and again
    #[arg(long, value_name = "BYTES", env = "BROADLOOM_COLUMN_MEMORY", default_value = "1GiB", value_parser = units::bytes)]
    column_memory: usize,
    /// How long a query may take when it does not say
    #[arg(long, value_name = "TIME", env = "BROADLOOM_QUERY_TIMEOUT", default_value = "60s", value_parser = units::duration)]
    query_timeout: Duration,
    /// Queries answered at once; beyond it clients are told to come again
    #[arg(long, value_name = "COUNT", env = "BROADLOOM_QUERIES_MAX", default_value_t = 64)]
    queries_max: usize,
}

/// At most an hour: longer is not remembered.
fn redelivery_window(text: &str) -> Result<Duration, String> {
    let window = units::duration(text)?;
    if window <= Duration::from_hours(1) { Ok(window) } else { Err("at most 1h".to_owned()) }
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

    /// Settings of the database to be served.
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

/// Serves until a signal.
pub(super) async fn run(args: ServeArgs, globals: &Globals) -> Result<()> {
    logging::start(globals, "info")?;
    let prepared = Prepared::bind(&args).await?;
    let database = Database::open(args.settings(globals)).await?;
    prepared.serve(&args, database, globals, std::future::pending()).await
}

/// Signals caught and ports taken: what is done before a data directory is opened.
#[derive(Debug)]
pub(super) struct Prepared {
    signals: Signals,
    listeners: Listeners,
}

impl Prepared {
    /// Catches the signals and takes the ports.
    pub(super) async fn bind(args: &ServeArgs) -> Result<Self> {
        let signals = Signals::install()?;
        Ok(Self { signals, listeners: Listeners::bind(&args.endpoints()).await? })
    }

    /// The web page that will be there, for a browser on this machine.
    pub(super) fn page(&self) -> Result<Option<String>> {
        Ok(self.listeners.addresses()?.http.map(page))
    }

    /// Serves `database` until a signal, and does `beside` meanwhile; when that fails, serving ends.
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
                    format!("{signal} again: stopped at once; what was acknowledged is in the write-ahead log"),
                ));
            }
        };
        failure.map_or(ended, Err)
    }
}

/// The error of `beside`; waits for ever when there is none.
async fn failure_of(beside: impl Future<Output = Result<()>>) -> Error {
    match beside.await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

/// Ends requests, then writes the buffer to segments.
async fn end(server: Server, database: &Database) -> Result<()> {
    server.stop().await;
    database.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// The web page of a server that listens on `address`, for a browser on this machine.
fn page(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}/", SocketAddr::new(ip, address.port()))
}

/// Says where the server listens: to people in the log and on stderr, to programs on stdout.
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
    // Nobody needs to read this for the server to serve.
    if let Some(page) = addresses.http.map(page)
        && globals.log_format == LogFormat::Text
    {
        let _ = writeln!(std::io::stderr(), "open {page}");
    }
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening {addresses}").and_then(|()| stdout.flush());
}
