//! What do exceptions look like in each language: type, message, stack trace?

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::attributes::text;
use super::dice::Dice;
use super::shop::{Language, SERVICES};

/// Number of generated exceptions per service, from which each failure draws one.
const VARIANTS: usize = 6;

/// One exception, as the attributes of its span event.
#[derive(Debug)]
pub(super) struct Exception {
    pub(super) kind: &'static str,
    pub(super) message: &'static str,
    pub(super) attributes: Vec<KeyValue>,
}

/// Exceptions by service.
#[derive(Debug)]
pub(super) struct Exceptions(Vec<Vec<Exception>>);

impl Exceptions {
    /// Creates the exceptions of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 3);
        let of = |service: &super::shop::Service, dice: &mut Dice| {
            (0..VARIANTS).map(|_| exception(service.language, service.name, dice)).collect()
        };
        Self(SERVICES.iter().map(|service| of(service, &mut dice)).collect())
    }

    /// Draws an exception of `service`.
    pub(super) fn draw(&self, service: usize, dice: &mut Dice) -> &Exception {
        dice.pick(&self.0[service])
    }
}

fn exception(language: Language, service: &str, dice: &mut Dice) -> Exception {
    let (kind, message) = *dice.pick(kinds(language));
    let depth = dice.between(5, 28);
    let mut stack = format!("{kind}: {message}\n");
    for _ in 0..depth {
        stack.push_str(&frame(language, service, dice));
        stack.push('\n');
    }
    let attributes = vec![
        text("exception.type", kind),
        text("exception.message", message),
        text("exception.stacktrace", stack),
    ];
    Exception { kind, message, attributes }
}

fn kinds(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::DotNet => &[
            ("System.TimeoutException", "The operation has timed out after 00:00:02"),
            (
                "StackExchange.Redis.RedisConnectionException",
                "No connection is active to service this operation",
            ),
        ],
        Language::Go => &[
            ("*url.Error", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
            ("*pgconn.PgError", "FATAL: remaining connection slots are reserved (SQLSTATE 53300)"),
            ("*net.OpError", "read tcp 10.17.3.41:43122->10.17.5.12:8080: connection reset by peer"),
        ],
        Language::Java => &[
            ("java.net.http.HttpTimeoutException", "request timed out"),
            (
                "org.postgresql.util.PSQLException",
                "ERROR: could not serialize access due to concurrent update",
            ),
            ("java.lang.IllegalStateException", "Pool \"main\" is exhausted (active=32, waiting=118)"),
        ],
        Language::Node => &[
            ("TypeError", "Cannot read properties of undefined (reading 'variants')"),
            ("FetchError", "request failed, reason: socket hang up"),
        ],
        Language::Php => &[("PDOException", "SQLSTATE[HY000] [2006] MySQL server has gone away")],
        Language::Python => &[
            (
                "pymongo.errors.ServerSelectionTimeoutError",
                "No replica set members match selector \"Primary()\"",
            ),
            ("KeyError", "'fingerprint'"),
            ("httpx.ReadTimeout", "timed out"),
        ],
        Language::Ruby => &[("Net::ReadTimeout", "Net::ReadTimeout with #<TCPSocket:(closed)>")],
        Language::Rust => &[("tonic::Status", "status: Unavailable, message: \"error trying to connect\"")],
    }
}

const PARTS: &[&str] =
    &["Handler", "Service", "Repository", "Client", "Pipeline", "Mapper", "Retry", "Session"];
const VERBS: &[&str] = &["handle", "execute", "call", "fetch", "apply", "next", "resolve", "commit"];

fn frame(language: Language, service: &str, dice: &mut Dice) -> String {
    let (part, verb, line) = (*dice.pick(PARTS), *dice.pick(VERBS), dice.between(8, 940));
    let package = service.replace('-', "_");
    match language {
        Language::DotNet => {
            format!("   at Heddle.{package}.{part}.{verb}Async() in /src/{part}.cs:line {line}")
        }
        Language::Go => format!(
            "heddle.example/{package}/internal.(*{part}).{verb}(...)\n\t/src/internal/{part}.go:{line}"
        ),
        Language::Java => format!("\tat example.heddle.{package}.{part}.{verb}({part}.java:{line})"),
        Language::Node => format!("    at async {part}.{verb} (/app/dist/{package}/{part}.js:{line}:17)"),
        Language::Php => format!("#{} /srv/{package}/{part}.php({line}): {part}->{verb}()", line % 20),
        Language::Python => format!("  File \"/app/{package}/{part}.py\", line {line}, in {verb}"),
        Language::Ruby => format!("/app/lib/{package}/{part}.rb:{line}:in '{part}#{verb}'"),
        Language::Rust => format!("  at {package}::{part}::{verb} (src/{part}.rs:{line})"),
    }
}
