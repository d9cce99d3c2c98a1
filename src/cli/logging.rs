//! The log, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Globals;
use crate::error::{Error, Result};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log of this process; `otherwise` is the filter when none is asked for.
pub(super) fn start(globals: &Globals, otherwise: &str) -> Result<()> {
    let asked =
        globals.log.clone().or_else(|| std::env::var("RUST_LOG").ok()).filter(|filter| !filter.is_empty());
    let filter = asked.as_deref().unwrap_or(otherwise);
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| Error::invalid(format!("--log {filter:?} is not a filter such as \"info\": {e}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match globals.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| Error::internal(format!("the log cannot be started: {e}")))
}
