//! `broadloom serve`: receives telemetry and answers queries until a signal stops it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::key::KeyPlace;
use super::logging::LogFormat;
use super::{Globals, logging, units};
use crate::config::Settings;
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::server::{Endpoints, Limits, Listeners, Port, Server, Signals, TlsSource};

const AFTER_HELP: &str = "\
Examples:
  broadloom serve
  broadloom serve --data /var/lib/broadloom --http 0.0.0.0:8080 --tls-cert server.pem --tls-key server.key
  broadloom serve --config /etc/broadloom.toml --log-format json

Send telemetry (any OpenTelemetry SDK or Collector):
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 your-program
Query it:
  curl 127.0.0.1:8080/v1/sql -d 'select service.name, count(*) from spans group by 1'
  curl '127.0.0.1:8080/v1/sql?format=csv' -H 'Content-Type: application/json' \\
       -d '{\"query\": \"select * from logs where service.name = $1\", \"params\": [\"cart\"]}'
  broadloom query --url http://127.0.0.1:8080 'select * from traces limit 5'
  psql -h 127.0.0.1 -c 'select * from traces limit 5'     with serve --postgres 127.0.0.1:5432

Look at it:
  open http://127.0.0.1:8080/ in a browser

When it is ready, it prints its addresses: `listening http=127.0.0.1:8080 otlp-grpc=… otlp-http=…`.
By default it listens on the loopback interface only, and clients need no key until broadloom key create makes the
first. So that web pages cannot read data, programs on this machine must use localhost, an IP address, or a name given
with --allowed-host.
SIGTERM or Ctrl-C lets running requests end, writes buffered events to segments, and exits with 0.
A second signal stops at once; acknowledged events are in the write-ahead log.";

/// Addresses of the ports: a flag for each of [`Port::ALL`].
#[derive(Debug)]
struct PortArgs {
    addresses: BTreeMap<Port, String>,
}

impl Args for PortArgs {
    fn augment_args(command: Command) -> Command {
        Port::ALL.iter().enumerate().fold(command, |command, (index, port)| {
            let all = if index == 0 { "; port 0 takes any free one, \"off\" none" } else { "" };
            let arg = Arg::new(port.name())
                .long(port.name())
                .value_name("HOST:PORT")
                .env(port.variable())
                .default_value(port.default_address())
                .help(format!("{}{all}", port.about()));
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PortArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut ports = Self { addresses: BTreeMap::new() };
        ports.update_from_arg_matches(matches)?;
        Ok(ports)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for port in Port::ALL {
            if let Some(address) = matches.get_one::<String>(port.name()) {
                self.addresses.insert(*port, address.clone());
            }
        }
        Ok(())
    }
}

/// At least one.
fn connections(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "not a number of connections".to_owned())?;
    if count > 0 { Ok(count) } else { Err("at least 1".to_owned()) }
}

/// Arguments of `broadloom serve`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    ports: PortArgs,
    /// Host name under which programs on this machine may read data, besides localhost and IP addresses; "*" for any
    ///
    /// Web pages from these hosts may read data too. A proxy that passes on the name that it was asked for needs this.
    #[arg(long, value_name = "NAME", env = "BROADLOOM_ALLOWED_HOST", value_delimiter = ',')]
    allowed_host: Vec<String>,
    #[command(flatten)]
    keys: KeyPlace,
    /// Certificate for encrypted connections (TLS): a PEM file, or "dev" for one that this server signs itself
    ///
    /// The file begins with the server's certificate; those that lead to a root follow. It is read again when it
    /// changes. "dev" is for trying: clients must be told not to verify it.
    #[arg(long, value_name = "FILE", env = "BROADLOOM_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "BROADLOOM_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// PEM file of roots: only clients with a certificate that leads to one of them may connect
    #[arg(long, value_name = "FILE", env = "BROADLOOM_TLS_CLIENT_CA", requires = "tls_key")]
    tls_client_ca: Option<PathBuf>,
    /// Listen on addresses that other machines reach although clients need no keys or connections are not encrypted
    ///
    /// Everyone who reaches such an address can read and write everything, or read along. For networks that are
    /// closed otherwise, and behind a proxy that does both.
    #[arg(long, env = "BROADLOOM_INSECURE")]
    insecure: bool,
    /// Connections of each port; beyond it the connection that is idle longest is closed
    #[arg(long, value_name = "COUNT", env = "BROADLOOM_CONNECTIONS_MAX", default_value_t = Limits::default().connections_max, value_parser = connections)]
    connections_max: usize,
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
    /// The client gets HTTP 503, with a pause after which it asks again.
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
    fn endpoints(&self, globals: &Globals) -> Result<Endpoints> {
        let mut endpoints =
            Endpoints::default().with_allowed_hosts(&self.allowed_host).allowing_insecure(self.insecure);
        if let Some(source) = self.tls()? {
            endpoints = endpoints.with_tls(source);
        }
        if let Some(file) = self.keys.named() {
            endpoints = endpoints.with_keys(file);
        } else if let Some(file) = KeyPlace::default_of(globals) {
            endpoints = endpoints.with_keys_once_made(file);
        }
        Ok(self.ports.addresses.iter().fold(endpoints, |endpoints, (port, address)| match address.as_str() {
            "off" => endpoints.without(*port),
            _ => endpoints.with(*port, address),
        }))
    }

    fn tls(&self) -> Result<Option<TlsSource>> {
        match (&self.tls_cert, &self.tls_key) {
            (None, _) => Ok(None),
            (Some(name), None) if name.as_os_str() == "dev" => Ok(Some(TlsSource::Development)),
            (Some(_), None) => {
                Err(Error::invalid("--tls-cert FILE needs --tls-key FILE, the key of the certificate"))
            }
            (Some(certificate), Some(key)) => Ok(Some(TlsSource::Files {
                certificate: certificate.clone(),
                key: key.clone(),
                client_roots: self.tls_client_ca.clone(),
            })),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            message_bytes_max: self.message_max,
            in_flight_bytes_max: self.in_flight_max,
            queries_max: self.queries_max,
            query_timeout: self.query_timeout,
            connections_max: self.connections_max,
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
    let prepared = Prepared::bind(&args, globals).await?;
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
    pub(super) async fn bind(args: &ServeArgs, globals: &Globals) -> Result<Self> {
        let signals = Signals::install()?;
        Ok(Self { signals, listeners: Listeners::bind(&args.endpoints(globals)?).await? })
    }

    /// The web page that will be there, for a browser on this machine.
    pub(super) fn page(&self) -> Result<Option<String>> {
        let is_encrypted = self.listeners.is_encrypted();
        Ok(self.listeners.addresses()?.get(Port::Http).map(|address| page(address, is_encrypted)))
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

/// The web page of a server that listens on `address`, for a browser on this machine.
fn page(address: SocketAddr, is_encrypted: bool) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if is_encrypted { "https" } else { "http" };
    format!("{scheme}://{}/", SocketAddr::new(ip, address.port()))
}

/// Reports the addresses: in the log and on stderr for people, on stdout for programs.
fn announce(server: &Server, globals: &Globals) {
    let addresses = server.addresses();
    tracing::info!(
        %addresses,
        data = %globals.data,
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    // A closed stderr or stdout does not stop the server.
    if let Some(page) = addresses.get(Port::Http).map(|address| page(address, server.is_encrypted()))
        && globals.log_format == LogFormat::Text
    {
        let _ = writeln!(std::io::stderr(), "open {page}");
    }
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening {addresses}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Serve {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn endpoints(arguments: &[&str]) -> Endpoints {
        #[derive(Debug, Parser)]
        struct Whole {
            #[command(flatten)]
            globals: Globals,
            #[command(flatten)]
            serve: Serve,
        }
        let store = ["serve", "--data", "s3://bucket"];
        let whole = Whole::parse_from([&store[..], arguments].concat());
        whole.serve.args.endpoints(&whole.globals).unwrap()
    }

    #[test]
    fn every_port_has_a_flag_and_off_is_none() {
        assert_eq!(endpoints(&[]), Endpoints::default());
        for port in Port::ALL {
            let flag = format!("--{port}");
            assert_eq!(endpoints(&[&flag, "off"]), Endpoints::default().without(*port));
            assert_eq!(endpoints(&[&flag, "[::1]:7"]), Endpoints::default().with(*port, "[::1]:7"));
        }
    }

    #[test]
    fn hosts_are_allowed_one_by_one_or_in_a_list() {
        let allowed = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Endpoints::default().with_allowed_hosts(&names)
        };
        let flags = ["--allowed-host", "a.example", "--allowed-host", "b.example,c.example"];
        assert_eq!(endpoints(&flags), allowed(&["a.example", "b.example", "c.example"]));
        assert!(Serve::try_parse_from(["serve", "--connections-max", "0"]).is_err());
    }
}
