//! Who sends a request, and may it use its route?
//!
//! A request gets a [`Caller`] with the rights of its key, or is refused: 401 without valid credentials, 403 without
//! the right that its route needs. The gate enforces the rights again, whatever the route.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::routes::Route;
use crate::error::Error;
use crate::server::answer::{Problem, Refusal, grpc};
use crate::server::auth::{Authenticator, Credentials, Identity, Right};
use crate::server::gate::Gate;
use crate::server::port::{Port, Wire};

/// State of the layer.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    pub(super) port: Port,
    pub(super) gate: Gate,
    pub(super) authenticator: Arc<Authenticator>,
}

/// Gives a request its caller, or refuses it.
pub(super) async fn authenticate(
    State(entrance): State<Entrance>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().and_then(|path| Route::of(path, request.method()));
    let needs = route.and_then(|route| route.needs);
    let credentials = Credentials::of(request.headers());
    match entrance.identity(needs, &credentials).await {
        Ok(identity) => {
            request.extensions_mut().insert(entrance.gate.caller(identity));
            next.run(request).await
        }
        Err(error) => {
            let refusal = Refusal::from(error);
            entrance.gate.kept_out(refusal.kind());
            refusal.log("http");
            if entrance.port.wire() == Wire::Grpc {
                grpc::status(&refusal).into_http::<axum::body::Body>()
            } else {
                Problem::from(refusal).into_response()
            }
        }
    }
}

impl Entrance {
    /// Identity of the sender; nobody if no right is needed. A path without a route needs none: it gives nothing but the
    /// list of routes.
    async fn identity(&self, needs: Option<Right>, credentials: &Credentials) -> Result<Identity, Error> {
        let Some(right) = needs else { return Ok(Identity::nobody()) };
        let identity = self.authenticator.identify(credentials).await?;
        identity.must_have(right)?;
        Ok(identity)
    }
}
