//! Which ports does a server have, and which limits apply to their connections?
//!
//! A port is a row of the table in `table.rs`. Command-line options, environment variables, the bound and printed
//! addresses, and the listeners are made from that table, so a new protocol adds a row and its own folder.
//!
//! ```text
//! Endpoints ─▶ Listeners ─▶ accept (one task per port) ─▶ service (one task per connection)
//!                              │                          ├ connection ─▶ http::routes
//!                              │                          └ postgres
//!                              │ evicts the quietest        │ Activity: whose turn is it?
//! ```
//!
//! | limit | value | beyond it |
//! |---|---|---|
//! | connections of a port | `connections-max` | the connection that has waited longest for its client closes |
//! | time to agree on an encryption | 10 s | the connection is closed |
//! | time for the head of an HTTP/1 request, and between two requests | 75 s | the connection is closed |
//! | time without a byte of a request body | 30 s | the request is refused, its memory is released |
//! | time that the server waits for a client: no request, or an unread response | 2 min | the connection is closed |
//! | time to answer a ping of HTTP/2, sent every 30 s | 20 s | the connection is closed |
//! | requests at once on a connection of HTTP/2 | 256 | the client waits |
//! | time to begin a session of PostgreSQL, and without a byte of a begun message | 30 s | the connection is closed |
//! | rests of refused requests that are read and discarded | see `linger.rs` | the connection is closed |
//!
//! Invariants: every connection is a task of its port's `accept`, which ends them all; a connection has no memory
//! for bytes that have not arrived; every time limit uses `clock.rs`, so tests do not wait.
//!
//! Not here: routes (`http`), limits of messages and statements (`budget`, `sql`).

mod accept;
mod activity;
mod body;
mod clock;
mod connection;
mod linger;
mod listen;
mod service;
mod table;
mod tls;

pub(super) use accept::{Acceptor, CONNECTIONS_MAX};
#[cfg(feature = "postgres")]
pub(super) use activity::{Activity, OpenRequest};
pub(super) use body::is_stalled;
#[cfg(test)]
pub(super) use body::stalled;
#[cfg(feature = "postgres")]
pub(super) use clock::Clock;
pub(super) use connection::{HttpService, LocalAddress};
pub(super) use linger::{Lingerers, linger};
pub use listen::{Addresses, Endpoints, Listeners};
#[cfg(feature = "postgres")]
pub(super) use service::{Accepted, Service};
pub use table::Port;
pub(super) use table::Wire;

#[cfg(feature = "postgres")]
pub(super) use tls::Tls;
pub use tls::TlsSource;
