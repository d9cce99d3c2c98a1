//! How does the program log? To stderr, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Globals;
use crate::error::{Error, Result};

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// Starts the log of this process. The filter is `--log`, else `RUST_LOG`, else `otherwise`.
pub(super) fn start(globals: &Globals, otherwise: &str) -> Result<()> {
    let asked =
        globals.log.clone().or_else(|| std::env::var("RUST_LOG").ok()).filter(|filter| !filter.is_empty());
    let filter = asked.as_deref().unwrap_or(otherwise);
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Error::invalid(format!(
            "{filter:?} is not a log filter: {e}; write --log info or --log broadloom::wal=debug"
        ))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match globals.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| Error::internal(format!("cannot start logging: {e}")))
}
