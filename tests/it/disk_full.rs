//! What happens when the disk is full?

use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use serde_json::json;

use crate::running::{Served, get, post, rows, run, spans};

const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");

/// Small file system in memory.
struct SmallDisk {
    at: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts it; `None` if this process may not mount.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("disk");
        std::fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&at).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self { at, _dir: dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily (-l): processes may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Writes a file until the disk is full.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![7; size]).is_err() {
            size /= 2;
        }
    }
}

fn message(name: &str) -> Vec<u8> {
    let mut request = spans(3);
    for span in &mut request.resource_spans[0].scope_spans[0].spans {
        name.clone_into(&mut span.name);
    }
    request.encode_to_vec()
}

#[test]
fn a_full_disk_refuses_writes_with_the_reason_and_nothing_else_and_is_over_when_there_is_room() {
    let Some(disk) = SmallDisk::mount("32m") else {
        eprintln!("not run: this process may not mount a file system");
        return;
    };
    let data = disk.at.join("data");
    let server = Served::with(&data, &["--flush-age", "300ms"]);
    let url = format!("{}/v1/traces", server.otlp_http);
    let send = |name: &str| post(&url, &[PROTOBUF], message(name));
    let names = || rows(&server.http, "select name, count(*) as n from spans group by name order by name");
    assert_eq!(send("before").status, 200);

    let ballast = disk.at.join("ballast");
    fill(&ballast);
    let mut refused = Vec::new();
    // The rest of the last block may have room for a few messages.
    let mut taken = Vec::new();
    for i in 0..2000 {
        let name = format!("full {i:04}");
        let answer = send(&name);
        if answer.status == 200 {
            taken.push(name);
            continue;
        }
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{answer:?}");
        let said = tonic_types::Status::decode(&answer.body[..]).unwrap().message;
        assert!(said.contains("No space left on device"), "{said}");
        refused.push(name);
        if refused.len() == 20 {
            break;
        }
    }
    assert_eq!(refused.len(), 20, "the disk is full");
    let expected = |more: &[&str]| {
        let mut names = vec!["before"];
        names.extend(taken.iter().map(String::as_str));
        names.extend(more);
        names.sort_unstable();
        names.iter().map(|name| json!({ "name": name, "n": 3 })).collect::<Vec<_>>()
    };
    assert_eq!(names(), json!(expected(&[])), "reads go on");
    assert_eq!(get(&format!("{}/healthz", server.http), &[]).status, 200);

    std::fs::remove_file(&ballast).unwrap();
    // The refused message was not stored, so it is not a redelivery.
    assert_eq!(send(&refused[0]).status, 200);
    assert_eq!(send("after").status, 200);
    let whole = expected(&[&refused[0], "after"]);
    assert_eq!(names(), json!(whole));
    assert_eq!(server.terminate(), Some(0));
    let check = run(&["check", "--data", data.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
    let server = Served::start(&data);
    assert_eq!(
        rows(&server.http, "select name, count(*) as n from spans group by name order by name"),
        json!(whole)
    );
}
