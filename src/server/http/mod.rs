//! Which requests are served over HTTP, and what do all responses have in common?
//!
//! `routes.rs` lists them: routers, error texts, the table in `docs/http.md`, and labels of metrics are made from
//! it. `layers.rs` has the layers around every route; `authenticate.rs` finds out who sends a request, and `hosts.rs` keeps
//! web pages from reading data.

mod authenticate;
mod hosts;
mod layers;
mod routes;

pub(super) use hosts::Hosts;
pub(super) use layers::{Surroundings, router};
