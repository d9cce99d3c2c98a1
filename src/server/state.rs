//! State that all handlers of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::answer::Problem;
use super::auth::Authenticator;
use super::gate::{Caller, Gate};
use super::limits::Limits;
use super::port::Addresses;
use crate::db::Database;
use crate::error::{Error, Result};

/// State that all handlers of one server share; cheap to clone. The data is behind the [`Gate`].
#[derive(Debug, Clone)]
pub(super) struct ServerState(Arc<Shared>);

/// The inside of [`ServerState`].
#[derive(Debug)]
pub(super) struct Shared {
    /// Access to the data.
    pub(super) gate: Gate,
    /// Knows who clients are.
    pub(super) authenticator: Arc<Authenticator>,
    /// Addresses that the server listens on.
    pub(super) addresses: Addresses,
    draining: AtomicBool,
}

impl std::ops::Deref for ServerState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl ServerState {
    /// Creates the state of a server of `database` that listens on `addresses`. Fails if the system has no threads
    /// left.
    pub(super) fn new(
        database: Database,
        limits: Limits,
        addresses: Addresses,
        authenticator: Authenticator,
    ) -> Result<Self> {
        let gate = Gate::new(database, limits)?;
        let (authenticator, draining) = (Arc::new(authenticator), AtomicBool::new(false));
        Ok(Self(Arc::new(Shared { gate, authenticator, addresses, draining })))
    }

    /// Makes the server not ready: it finishes running requests.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True if the server is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

impl FromRequestParts<ServerState> for Caller {
    type Rejection = Problem;

    /// The caller that `http/authenticate.rs` has found. A route without that layer has no callers.
    async fn from_request_parts(parts: &mut Parts, _: &ServerState) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::internal("a request was not authenticated").into())
    }
}
