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
//! | `wire`, `failure`, `startup`, `cancel` | How do messages arrive and leave? How does a session begin, and how is a question ended from outside? |
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
//! Not here: passwords and TLS. A client that asks for TLS is told that there is none.

mod binary;
mod cancel;
mod catalogue;
mod column;
mod command;
mod copy;
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

use super::gate::Caller;
use super::port::{Accepted, Service};
use cancel::Cancels;
use catalogue::Catalogue;
#[cfg(any(test, fuzzing))]
pub(crate) use parameter::decode_any as decode_parameter;
#[cfg(any(test, fuzzing))]
pub(crate) use wire::decode_all as decode_messages;

/// The port for clients of PostgreSQL; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    caller: Caller,
    cancels: Cancels,
    catalogue: Catalogue,
}

impl Door {
    /// Serves sessions that ask as `caller`.
    pub(super) fn new(caller: Caller) -> Self {
        let catalogue = Catalogue::new(caller.clone());
        Self(Arc::new(Shared { caller, cancels: Cancels::default(), catalogue }))
    }
}

impl Service for Door {
    async fn serve(self, accepted: Accepted) {
        let evicted = accepted.activity.evicted.clone();
        let clock = accepted.activity.clock.clone();
        let (reader, writer) = accepted.stream.into_split();
        let incoming = wire::Incoming::new(reader, clock);
        let outgoing = wire::Outgoing::new(writer, Arc::clone(&accepted.activity));
        let serving = startup::serve(self, (incoming, outgoing), accepted.activity, accepted.stop);
        if let Some(Err(error)) = evicted.run_until_cancelled(serving).await {
            tracing::debug!(%error, "a session broke off");
        }
    }
}
