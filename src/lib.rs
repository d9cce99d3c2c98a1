//! Broadloom, a wide-events analytics database.
//!
//! Every span, log and metric point is one wide event in Arrow columns; traces, logs and metrics are
//! views, derived by SQL at query time. The modules below follow the life of an event; each uses only
//! modules above it.

pub mod error;
pub mod config;
pub mod disk;
pub mod store;
pub mod event;
pub mod ingest;
pub mod wal;
pub mod buffer;
pub mod segment;
pub mod index;
pub mod catalog;
pub mod maintenance;
pub mod query;
pub mod db;
pub mod demo;
pub mod server;
pub mod cli;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod hostile;

pub use config::Settings;
pub use db::Database;
pub use error::{Error, ErrorKind, Result};

/// Compiles the README's Rust code as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
