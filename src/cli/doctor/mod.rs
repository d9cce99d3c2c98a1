//! `broadloom doctor`: is a set-up sound?
//!
//! A [`finding`] is one line: ok, a warning, or a failure, each with what to do. [`directory`] looks at data and at this
//! machine, [`server`] at a server over the network.

mod directory;
mod finding;
mod machine;
mod server;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::draw::Screen;
use super::remote::RemoteArgs;
use super::{Globals, logging, units};
use crate::config::Location;
use crate::error::{Error, Result};
use finding::{Finding, State};

const AFTER_HELP: &str = "\
Examples:
  broadloom doctor                                       ./broadloom-data, and this machine
  broadloom doctor /var/lib/broadloom --json
  broadloom doctor --url https://host:8080 --send        a server; sends one log record and reads it

Changes nothing, except that --send stores one log record of the service broadloom-doctor, and that a directory is
tried by a temporary file. A server may be running.

Exit codes: 0 all is well or only warnings, 1 something failed, 2 wrong usage.";

/// Arguments of `broadloom doctor`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DoctorArgs {
    /// Data directory, or URL of an object store; default: that of --data
    #[arg(value_name = "DIR|URL", value_parser = units::location(), conflicts_with = "url")]
    place: Option<Location>,
    /// Send one log record to the server, and read it
    #[arg(long, requires = "url")]
    send: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs `broadloom doctor`.
pub(super) async fn run(args: DoctorArgs, globals: &Globals) -> Result<ExitCode> {
    logging::start(globals, "error")?;
    let (of, findings) = if let Some(server) = args.remote.server()? {
        (server.url().to_owned(), server::examine(&server, args.send).await)
    } else {
        let globals = Globals { data: args.place.unwrap_or_else(|| globals.data.clone()), ..globals.clone() };
        (globals.data.to_string(), directory::examine(&globals).await)
    };
    if args.json {
        let json = serde_json::to_value(&findings)
            .map_err(|e| Error::internal("cannot write the findings as JSON").with_source(e))?;
        writeln!(std::io::stdout(), "{json:#}")?;
    } else {
        print(&of, &findings)?;
    }
    let has_failed = findings.iter().any(|finding| finding.state == State::Fail);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(of: &str, findings: &[Finding]) -> Result<()> {
    let screen = Screen::of_stdout("UTC".parse()?);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", screen.bold(of))?;
    for finding in findings {
        out.write_all(finding.draw(&screen).as_bytes())?;
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    writeln!(
        out,
        "{} ok, {} warnings, {} failures",
        count(State::Ok),
        count(State::Warn),
        count(State::Fail)
    )?;
    Ok(())
}
