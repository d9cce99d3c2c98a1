//! Who is a client, and what may it do?
//!
//! A client proves who it is by a *key*, in the place that its protocol has for credentials. Keys stand in a file, of
//! which [`KeyFile`] is the editor and [`Ring`] the reader; the file has only salted hashes. A key has [`Rights`].
//! Without a file every client may do everything.
//!
//! ```text
//! headers ─▶ Credentials ─▶ Authenticator ─▶ Identity ─▶ gate::Caller, which enforces its rights
//!                             │ Ring: keys of the file, read again when it changes
//!                             └ Sessions: of browsers, in memory
//! ```
//!
//! Invariants: a comparison of secrets takes the same time whatever they are; no secret is in a log, an error or a
//! metric; a file that cannot be read lets nobody in who was not let in before.
//!
//! Not here: which right a route needs (`http/routes.rs`), and the enforcement (`gate`).

mod credentials;
mod file;
mod identity;
mod key;
mod ring;
mod session;

pub(in crate::server) use credentials::{COOKIE, Credentials};
pub use file::{KeyFile, KeyRecord, NewKey};
pub(in crate::server) use identity::Identity;
pub use identity::{Right, Rights};
pub(in crate::server) use ring::Ring;
pub(in crate::server) use session::LENGTH as SESSION_LENGTH;

#[cfg(any(test, fuzzing))]
pub(crate) use credentials::read_headers;

use std::time::{Duration, SystemTime};

use crate::config::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use session::Sessions;

/// Pause before a wrong key is refused.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);

/// Current time by the clock of the machine, as people mean it who say when a key expires.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(SystemClock.now_ns()).unwrap_or(0))
}

/// Decides who a client is.
#[derive(Debug, Default)]
pub(in crate::server) struct Authenticator {
    ring: Ring,
    sessions: Sessions,
}

impl Authenticator {
    /// Knows the keys of `ring`.
    pub(in crate::server) fn new(ring: Ring) -> Self {
        Self { ring, sessions: Sessions::default() }
    }

    /// True if clients need a key.
    pub(in crate::server) fn is_on(&self) -> bool {
        self.ring.is_on()
    }

    /// Identity of a client with these credentials; anonymous with all rights if no keys are needed.
    ///
    /// Fails with [`ErrorKind::Unauthenticated`], after a pause if the credentials are wrong.
    pub(in crate::server) async fn identify(&self, credentials: &Credentials) -> Result<Identity> {
        if !self.is_on() {
            return Ok(Identity::anonymous());
        }
        let now = now();
        let found = match credentials {
            Credentials::None => {
                let message = "a key is needed: send it as Authorization: Bearer KEY";
                return Err(Error::new(ErrorKind::Unauthenticated, message));
            }
            Credentials::Key(key) => self.ring.identity(key, now),
            Credentials::Session(token) => {
                self.sessions.key(token, now).and_then(|id| self.ring.identity_of(&id, now))
            }
            Credentials::Unreadable => None,
        };
        if let Some(identity) = found {
            return Ok(identity);
        }
        tokio::time::sleep(FAILURE_PAUSE).await;
        let message = match credentials {
            Credentials::Session(_) => "the session has ended: sign in again",
            _ => "the key is not known, was revoked, or has expired",
        };
        Err(Error::new(ErrorKind::Unauthenticated, message))
    }

    /// Begins a session of a browser whose user has a key; returns its token. The session ends with the key.
    pub(in crate::server) async fn sign_in(&self, key: &str) -> Result<String> {
        if !self.is_on() {
            return Err(Error::invalid("no keys are needed: there is nothing to sign in to"));
        }
        self.identify(&Credentials::Key(key.to_owned())).await?;
        let parsed = key::Key::parse(key).ok_or_else(|| Error::invalid("this is not a key"))?;
        self.sessions.begin(parsed.id, now())
    }

    /// Ends the session of these credentials.
    pub(in crate::server) fn sign_out(&self, credentials: &Credentials) {
        if let Credentials::Session(token) = credentials {
            self.sessions.end(token);
        }
    }
}
