//! Which requests are answered over HTTP, and what do all answers have in common?
//!
//! `routes.rs` is the list of them: routers, texts of errors, the table in `docs/http.md`, and labels of metrics are
//! made of it. `layers.rs` stands around every route, and `hosts.rs` keeps web pages from reading data.

mod hosts;
mod layers;
mod routes;

pub(super) use hosts::Hosts;
pub(super) use layers::{Surroundings, router};
