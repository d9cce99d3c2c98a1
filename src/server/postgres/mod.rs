//! How do clients of PostgreSQL ask? By its frontend/backend protocol, version 3.0, on the port `postgres`.
//!
//! ```text
//! startup ─▶ session: message ─▶ command ─▶ answer ─▶ rows ─▶ DataRow | CopyData
//!             simple │ extended    │          │ gate::Caller::ask
//!                    │ statements  │          └ catalogue: pg_catalog, information_schema
//!                    │ portals     └ SET, SHOW, BEGIN, COPY, …
//! ```
//!
//! | file | question |
//! |---|---|
//! | `wire`, `failure`, `encrypt`, `startup`, `cancel` | How do messages arrive and leave? How does a session begin, and how is a question ended from outside? |
//! | `session`, `extended`, `statement`, `portal` | What does each message do? |
//! | `command`, `words`, `copy`, `settings` | Which statement is it, and which are answered here? |
//! | `rows`, `column`, `text`, `binary`, `time`, `parameter` | How are values written and read? |
//! | `catalogue` | Which relations do clients find? |
//!
//! Messages are decoded by `pgwire`, from frames of limited size that are whole; its panics are contained. A session
//! ends when its client leaves, when it is closed for another connection, and when the server stops; it may be idle
//! for any time. Statements, portals and settings of a session are limited in number, and every running portal has a
//! permit and a deadline of the gate.
//!
//! Where clients need keys, the password of a session is a key. Where connections are encrypted, a client that does not
//! ask for TLS is refused (`encrypt`).

mod binary;
mod cancel;
mod catalogue;
mod column;
mod command;
mod copy;
mod encrypt;
mod extended;
mod failure;
mod parameter;
mod portal;
mod rows;
mod session;
mod settings;
mod startup;
mod statement;
mod text;
mod time;
mod wire;
mod words;

use std::sync::Arc;

use hyper::rt::Timer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::auth::{Authenticator, Identity};
use super::gate::{Caller, Gate};
use super::port::{Accepted, Activity, Service, Tls};
use super::state::ServerState;
use cancel::Cancels;
use catalogue::Catalogue;
use failure::Failure;
#[cfg(any(test, fuzzing))]
pub(crate) use parameter::decode_any as decode_parameter;
#[cfg(any(test, fuzzing))]
pub(crate) use wire::decode_all as decode_messages;

/// The port for clients of PostgreSQL, and the caller of a session; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Door {
    shared: Arc<Shared>,
    caller: Caller,
}

#[derive(Debug)]
struct Shared {
    gate: Gate,
    authenticator: Arc<Authenticator>,
    tls: Option<Tls>,
    cancels: Cancels,
    catalogue: Catalogue,
}

impl Door {
    /// Serves sessions, encrypted by `tls`.
    pub(super) fn new(state: &ServerState, tls: Option<Tls>) -> Self {
        let (gate, authenticator) = (state.gate.clone(), Arc::clone(&state.authenticator));
        // The catalogue is for all who may read, which is verified when a session begins.
        let catalogue = Catalogue::new(gate.caller(Identity::anonymous()));
        let caller = gate.caller(Identity::nobody());
        let cancels = Cancels::default();
        Self { shared: Arc::new(Shared { gate, authenticator, tls, cancels, catalogue }), caller }
    }

    /// The door of a session of `identity`.
    fn of(&self, identity: Identity) -> Self {
        Self { shared: Arc::clone(&self.shared), caller: self.shared.gate.caller(identity) }
    }

    async fn serve_on<S>(
        self,
        stream: S,
        activity: Arc<Activity>,
        stop: CancellationToken,
    ) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (reader, writer) = tokio::io::split(stream);
        let incoming = wire::Incoming::new(reader, activity.clock.clone());
        let outgoing = wire::Outgoing::new(writer, Arc::clone(&activity));
        startup::serve(self, (incoming, outgoing), activity, stop).await
    }
}

impl Service for Door {
    async fn serve(self, accepted: Accepted) {
        let Accepted { stream, activity, stop } = accepted;
        let evicted = activity.evicted.clone();
        let serving = async {
            let Some(tls) = self.shared.tls.clone() else {
                return self.serve_on(stream, activity, stop).await;
            };
            let agreed = tokio::select! {
                agreed = encrypt::agree(stream, &tls, &self.shared.cancels) => agreed?,
                () = activity.clock.sleep(startup::STARTUP_MAX) => None,
                () = stop.cancelled() => None,
            };
            match agreed {
                Some(stream) => self.serve_on(stream, activity, stop).await,
                None => Ok(()),
            }
        };
        if let Some(Err(error)) = evicted.run_until_cancelled(serving).await {
            tracing::debug!(%error, "a session broke off");
        }
    }
}
