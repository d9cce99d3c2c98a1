//! The integration tests, in one binary because linking the query engine takes long.

#![allow(clippy::unwrap_used, reason = "a test that fails to set up has failed")]

mod backup;
mod concurrent;
mod crash;
mod demo;
mod disk_full;
mod documents;
mod duckdb;
mod explain_diff;
mod formats;
mod idle;
mod import;
mod nezha;
mod object_store;
mod series;
mod slt;
mod soak;
mod cli;
mod clients;
mod ratchet;
mod routes;
mod security;
mod running;
mod ports;
#[cfg(feature = "postgres")]
mod postgres;
mod server;
mod shell;
mod terminal;
mod tidy;
mod trees;
mod ui;
mod words;
