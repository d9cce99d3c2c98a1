//! A data directory or object store, and the machine with it.

use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};

use super::super::Globals;
use super::super::draw::row::rows;
use super::super::draw::units::human_duration;
use super::finding::Finding;
use super::machine;
use crate::config::{Clock, SystemClock};
use crate::db::Database;
use crate::db::overview::{Overview, overview};
use crate::error::ErrorKind;
use crate::query::Question;
use crate::server::KeyFile;

/// Age of the last event from which on it is worth a look.
const QUIET: Duration = Duration::from_hours(1);
/// Time that an event may be ahead of the clock.
const AHEAD_NS: i64 = 300_000_000_000;

/// Looks at the data, and at this machine.
pub(super) async fn examine(globals: &Globals) -> Vec<Finding> {
    let mut findings = Vec::new();
    let opened = overview(&globals.settings()).await;
    let is_there = opened.is_ok();
    findings.push(match opened {
        Ok(overview) => data(&overview),
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::fail(
            "data",
            error.chain(),
            "name the directory with --data, or begin one: broadloom serve, broadloom import, broadloom demo",
        ),
        Err(error) => {
            Finding::fail("data", error.chain(), "broadloom check says what is damaged, and what helps")
        }
    });
    if let Some(directory) = globals.data.directory() {
        if is_there {
            findings.push(machine::writable(directory));
            findings.push(keys(directory));
        }
        findings.push(machine::free_space(nearest(directory)));
    }
    findings.extend(machine::open_files());
    findings.push(machine::clock());
    findings.push(machine::ports(is_served(globals)));
    if is_there {
        findings.push(last_event(globals).await);
    }
    findings
}

/// The directory, or the nearest one above it that exists.
fn nearest(directory: &Path) -> &Path {
    directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

fn data(overview: &Overview) -> Finding {
    let found = format!(
        "{} events in {} segments of {}, {} in the log, {} attribute keys; this version reads them",
        HumanCount(overview.events),
        HumanCount(overview.segment_count as u64),
        HumanBytes(overview.segments_bytes),
        HumanCount(overview.log_events),
        HumanCount(overview.attribute_keys as u64),
    );
    match overview.problems.first() {
        Some(problem) => Finding::fail(
            "data",
            format!("{}: {}", problem.path, problem.what),
            "broadloom check says all that is damaged, and what helps",
        ),
        None => Finding::ok("data", found),
    }
}

/// The keys of clients.
fn keys(directory: &Path) -> Finding {
    const NONE: &str = "none: a server is for this machine alone, and everyone on it may read and write; \
        broadloom key create makes one";
    let file = KeyFile::new(directory.join("keys.json"));
    let keys = match file.read() {
        Ok(keys) => keys,
        Err(error) if error.kind() == ErrorKind::NotFound => return Finding::ok("keys", NONE),
        Err(error) => {
            return Finding::fail("keys", error.chain(), "restore the file, or remove it and make new keys");
        }
    };
    let expired = keys.iter().filter(|key| key.has_expired()).count();
    let found = format!("{} keys of clients, {expired} of them expired", keys.len());
    if is_readable_by_others(file.path()) {
        let advice = format!("chmod 600 {}", file.path().display());
        Finding::warn("keys", format!("{found}; others on this machine may read the file"), advice)
    } else if expired > 0 {
        Finding::warn("keys", found, "broadloom key list, then broadloom key revoke NAME")
    } else {
        Finding::ok("keys", found)
    }
}

#[cfg(unix)]
fn is_readable_by_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_: &Path) -> bool {
    false
}

/// True if a process that wrote to the directory is still running here. The lock itself is not tried, as that could keep
/// a server from starting at this moment.
fn is_served(globals: &Globals) -> bool {
    let Some(directory) = globals.data.directory() else { return false };
    let owner = std::fs::read_to_string(directory.join("LOCK")).unwrap_or_default();
    let process = owner.strip_prefix("process ").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    process.is_some_and(|id| Path::new(&format!("/proc/{id}")).is_dir())
}

/// Age of the newest event.
async fn last_event(globals: &Globals) -> Finding {
    let asked = async {
        let database = Database::open_read_only(globals.settings()).await?;
        database.query(Question::sql("SELECT max(timestamp) AS last FROM events")).await?.collect().await
    };
    match asked.await {
        Ok(batches) => age(rows(&batches).next().and_then(|row| row.integer("last"))),
        Err(error) => Finding::fail("last event", error.chain(), "broadloom check says what is damaged"),
    }
}

/// A finding about the newest event, at `last_ns`.
pub(super) fn age(last_ns: Option<i64>) -> Finding {
    const SEND: &str =
        "look at the senders: OTEL_EXPORTER_OTLP_ENDPOINT, their logs, and broadloom tail --source events";
    let Some(last) = last_ns else { return Finding::warn("last event", "there is no event", SEND) };
    let at = chrono::DateTime::from_timestamp_nanos(last).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let age = SystemClock.now_ns().saturating_sub(last);
    let shown = human_duration(age.max(0) as f64);
    if age < -AHEAD_NS {
        let advice = "the clock of a sender or of this machine is wrong: set both by NTP";
        Finding::warn("last event", format!("{at} is in the future"), advice)
    } else if age > QUIET.as_nanos() as i64 {
        Finding::warn("last event", format!("{shown} old, {at}"), SEND)
    } else {
        Finding::ok("last event", format!("{shown} old"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn the_age_of_the_last_event_is_judged() {
        let now = SystemClock.now_ns();
        assert_eq!(age(Some(now)).state, State::Ok);
        assert_eq!(age(Some(now - 2 * QUIET.as_nanos() as i64)).state, State::Warn);
        assert!(age(Some(now + 2 * AHEAD_NS)).found.contains("future"));
        assert_eq!(age(None).state, State::Warn);
        assert_eq!(nearest(Path::new("/no/such/place")), Path::new("/"));
    }
}
