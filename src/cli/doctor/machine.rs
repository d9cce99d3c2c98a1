//! This machine: its disk, its limits, its clock, and its ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use indicatif::HumanBytes;

use super::finding::Finding;
use crate::config::{Clock, SystemClock};
use crate::server::Port;

/// Free space below which a server soon refuses to write, and below which one should look after it.
const FREE_FAIL: u64 = 512 << 20;
const FREE_WARN: u64 = 5 << 30;
/// Descriptors for the connections of three ports at their limit, and some for data.
const FILES_WANTED: u64 = 13_000;
/// 2024-01-01: a clock before it was never set.
const EPOCH_NS: i64 = 1_704_067_200_000_000_000;

/// Tries to write a file to `directory`.
pub(super) fn writable(directory: &Path) -> Finding {
    match tempfile::NamedTempFile::with_prefix_in("doctor-", directory) {
        Ok(_) => Finding::ok("writable", "this user may write to the directory"),
        Err(error) => Finding::fail(
            "writable",
            format!("this user cannot write to {}: {error}", directory.display()),
            "run broadloom as the owner of the directory, or make that user its owner; queries only need to read",
        ),
    }
}

/// Free space of the disk with `directory`.
pub(super) fn free_space(directory: &Path) -> Finding {
    let room = match rustix::fs::statvfs(directory) {
        Ok(room) => room,
        Err(error) => {
            return Finding::warn("disk", format!("its free space is not known: {error}"), "look with df");
        }
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let size = room.f_blocks.saturating_mul(room.f_frsize).max(1);
    let found =
        format!("{} free of {} ({} %)", HumanBytes(free), HumanBytes(size), free.saturating_mul(100) / size);
    let advice = "free space, or keep less: broadloom serve --retention 14d, or --retention-bytes 200GiB";
    match free {
        0..FREE_FAIL => Finding::fail("disk", found, advice),
        FREE_FAIL..FREE_WARN => Finding::warn("disk", found, advice),
        _ => Finding::ok("disk", found),
    }
}

/// Limit on open files; none where it is not known.
pub(super) fn open_files() -> Option<Finding> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let soft = soft_limit(&limits)?;
    let found = |limit: &str| format!("{limit} open files at once for this user");
    Some(match soft.parse::<u64>() {
        Ok(limit) if limit < FILES_WANTED => Finding::warn(
            "open files",
            found(soft),
            "a server with all its connections needs more: ulimit -n 65536, or LimitNOFILE=65536 for systemd",
        ),
        _ => Finding::ok("open files", found(soft)),
    })
}

fn soft_limit(limits: &str) -> Option<&str> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()
}

/// The clock of this machine.
pub(super) fn clock() -> Finding {
    let now = SystemClock.now_ns();
    let text = chrono::DateTime::from_timestamp_nanos(now).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    if now < EPOCH_NS {
        return Finding::fail(
            "clock",
            format!("it is {text}"),
            "set the clock, for example by NTP (timedatectl)",
        );
    }
    Finding::ok("clock", format!("it is {text}"))
}

/// The ports that `broadloom serve` takes unless it is told otherwise. `is_served` says that a server writes the data.
pub(super) fn ports(is_served: bool) -> Finding {
    let taken: Vec<String> = Port::ALL
        .iter()
        .filter_map(|port| port.default_address()?.parse::<SocketAddr>().ok())
        .filter(|address| is_taken(*address))
        .map(|address| address.port().to_string())
        .collect();
    let taken = taken.join(", ");
    match (taken.is_empty(), is_served) {
        (true, false) => Finding::ok("ports", "the ports of broadloom serve are free"),
        (true, true) => {
            Finding::ok("ports", "the server of this directory listens on other ports than the usual ones")
        }
        (false, true) => Finding::ok("ports", format!("{taken} are taken, as a server is running")),
        (false, false) => Finding::warn(
            "ports",
            format!("{taken} are taken by another program"),
            "stop it, or choose other ports: broadloom serve --http 127.0.0.1:8081 --otlp-grpc off",
        ),
    }
}

fn is_taken(address: SocketAddr) -> bool {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    matches!(TcpListener::bind(loopback), Err(error) if error.kind() == std::io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn limits_are_read_and_directories_tried() {
        let limits = "Limit      Soft Limit  Hard Limit Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(soft_limit(limits), Some("1024"));
        assert_eq!(soft_limit("nothing"), None);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(writable(folder.path()).state, State::Ok);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        assert_eq!(writable(&folder.path().join("nope")).state, State::Fail);
        assert!(free_space(folder.path()).found.contains("free of"));
        assert_eq!(clock().state, State::Ok);
    }
}
