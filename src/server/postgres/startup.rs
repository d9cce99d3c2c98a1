//! How does a session begin?
//!
//! ```text
//! client: [SSLRequest]  ◀─ N     StartupMessage {user, database, application_name, …}
//! server: AuthenticationOk, ParameterStatus…, BackendKeyData, ReadyForQuery
//! server, where clients need keys: AuthenticationCleartextPassword, and the client: PasswordMessage
//! ```
//!
//! Every user and every name of a database is accepted: a key has a name of its own, and there is one database. A
//! connection that does not begin a session in time is closed.

use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Timer;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::PgWireFrontendMessage as Frontend;
use pgwire::messages::response::ReadyForQuery;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey, Startup,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Door;
use super::cancel::Cancel;
use super::failure::{Failure, Report};
use super::session::Session;
use super::settings::Settings;
use super::wire::{Incoming, Opening, Outgoing};
use crate::error::ErrorKind;
use crate::server::auth::{Credentials, Identity, Right};
use crate::server::port::Activity;

/// Longest time for the beginning of a session.
pub(super) const STARTUP_MAX: Duration = Duration::from_secs(30);
/// Most requests for an encrypted connection: by TLS and by GSSAPI.
const ENCRYPTION_REQUESTS_MAX: usize = 2;

/// Serves a connection until it ends.
pub(super) async fn serve<R, W>(
    door: Door,
    wire: (Incoming<R>, Outgoing<W>),
    activity: Arc<Activity>,
    stop: CancellationToken,
) -> Result<(), Failure>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let (mut incoming, mut outgoing) = wire;
    let beginning = begin(&door, &mut incoming, &mut outgoing);
    let begun = tokio::select! {
        begun = beginning => begun,
        () = activity.clock.sleep(STARTUP_MAX) => return Ok(()),
        () = stop.cancelled() => return Ok(()),
    };
    match begun {
        Ok(Some((door, settings, cancel))) => {
            Session::new(door, (incoming, outgoing), settings, cancel).serve(stop).await
        }
        Ok(None) => Ok(()),
        Err(Failure::Fatal(report) | Failure::Refused(report)) => {
            outgoing.put(report.response("FATAL"))?;
            outgoing.flush().await
        }
        Err(gone) => Err(gone),
    }
}

/// Begins a session; `None` if the client wants none.
async fn begin<R, W>(
    door: &Door,
    incoming: &mut Incoming<R>,
    outgoing: &mut Outgoing<W>,
) -> Result<Option<(Door, Settings, Cancel)>, Failure>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut encryption_requests = 0;
    let startup = loop {
        match incoming.opening().await? {
            None => return Ok(None),
            Some(Opening::Encryption) if encryption_requests < ENCRYPTION_REQUESTS_MAX => {
                encryption_requests += 1;
                outgoing.put_byte(b'N');
                outgoing.flush().await?;
            }
            Some(Opening::Message(Frontend::CancelRequest(request))) => {
                if let Some(secret) = request.secret_key.as_i32() {
                    door.shared.cancels.cancel((request.pid, secret));
                }
                return Ok(None);
            }
            Some(Opening::Message(Frontend::Startup(startup))) => break startup,
            Some(_) => return Err(Failure::protocol("a session begins with a startup message".to_owned())),
        }
    };
    let settings = settings(&startup)?;
    let identity = identity(door, incoming, outgoing).await?;
    let cancel = door.shared.cancels.register();
    negotiate(&startup, outgoing)?;
    outgoing.put(Backend::Authentication(Authentication::Ok))?;
    for (name, value) in settings.told() {
        outgoing.put(Backend::ParameterStatus(ParameterStatus::new(name, value)))?;
    }
    let (number, secret) = cancel.key;
    outgoing.put(Backend::BackendKeyData(BackendKeyData::new(number, SecretKey::I32(secret))))?;
    outgoing.put(Backend::ReadyForQuery(ReadyForQuery::new(TransactionStatus::Idle)))?;
    outgoing.flush().await?;
    Ok(Some((door.of(identity), settings, cancel)))
}

/// Identity of the client, whose password is its key where one is needed. Fails unless it may read.
async fn identity<R, W>(
    door: &Door,
    incoming: &mut Incoming<R>,
    outgoing: &mut Outgoing<W>,
) -> Result<Identity, Failure>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let authenticator = &door.shared.authenticator;
    let mut credentials = Credentials::None;
    if authenticator.is_on() {
        outgoing.put(Backend::Authentication(Authentication::CleartextPassword))?;
        outgoing.flush().await?;
        credentials = match incoming.message().await? {
            Some(Frontend::PasswordMessageFamily(message)) => {
                let read = message.into_password();
                read.map_or(Credentials::Unreadable, |read| Credentials::Key(read.password))
            }
            _ => Credentials::Unreadable,
        };
    }
    let identified = authenticator.identify(&credentials).await;
    let allowed = identified.and_then(|identity| identity.must_have(Right::Read).map(|()| identity));
    allowed.map_err(|error| {
        door.shared.gate.kept_out(error.kind());
        let code = if error.kind() == ErrorKind::Forbidden { "42501" } else { "28P01" };
        Failure::Fatal(Report::new(code, error.message()))
    })
}

/// Tells a client that asks for a later version, or for extensions, that this is version 3.0 without any.
fn negotiate<W: AsyncWrite + Unpin>(startup: &Startup, outgoing: &mut Outgoing<W>) -> Result<(), Failure> {
    let extensions: Vec<String> =
        startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if startup.protocol_number_minor == 0 && extensions.is_empty() {
        return Ok(());
    }
    let version = NegotiateProtocolVersion::new(Startup::PROTOCOL_VERSION_3_0, extensions);
    outgoing.put(Backend::NegotiateProtocolVersion(version))
}

/// The settings that a client asks for.
fn settings(startup: &Startup) -> Result<Settings, Failure> {
    let fatal = |code, message: &str| Failure::Fatal(Report::new(code, message));
    let user = startup.parameters.get("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| fatal("28000", "the startup message names no user"))?;
    let mut settings = Settings::new(user);
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "replication" if !["false", "off", "no", "0"].contains(&value.as_str()) => {
                return Err(fatal("0A000", "this server is no source of replication"));
            }
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value) {
                    settings.set(&name, Some(value))?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => drop(settings.set(name, Some(value.trim_matches('\'').to_owned()))?),
        }
    }
    Ok(settings)
}

/// The settings in `-c name=value --name=value`; a backslash before a space keeps it.
fn options(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let word = words.last_mut();
        match (c, word) {
            ('\\', Some(word)) => word.extend(chars.next()),
            (c, _) if c.is_whitespace() => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    let settings = words.iter().filter_map(|word| {
        let setting = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        let (name, value) = setting.split_once('=')?;
        Some((name.replace('-', "_"), value.to_owned()))
    });
    settings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options("-c statement_timeout=5s  --extra-float-digits=3 -cgeqo=off -c search_path=a,\\ b"),
            [
                pair("statement_timeout", "5s"),
                pair("extra_float_digits", "3"),
                pair("geqo", "off"),
                pair("search_path", "a, b")
            ]
        );
    }
}
