//! `broadloom sql`: in a pseudo-terminal, and with statements from stdin.
//!
//! The pseudo-terminal is driven by Python, which `.ci/clients` installs; without BROADLOOM_CLIENTS these tests say so
//! and pass.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::running::{Running, broadloom, clients, spans};

/// Runs `broadloom sql` with `input` on stdin.
fn piped(arguments: &[&str], input: &str) -> Output {
    let mut command = broadloom(&["sql"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn statements_from_stdin_are_run_in_order_until_one_fails() {
    let server = Running::start();
    server.send(&spans(3));
    let url = server.url();
    let found =
        piped(&["--url", &url], "select 1 as a;\n-- two\nselect count(*) as n from spans; select ';' as s");
    let text = String::from_utf8_lossy(&found.stdout).replace('\r', "");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    assert_eq!(text, "a\n1\nn\n3\ns\n;\n");

    let cut =
        piped(&["--url", &url, "--limit", "2", "--format", "ndjson"], "select name from spans order by name");
    assert_eq!(String::from_utf8_lossy(&cut.stdout), "{\"name\":\"span 0\"}\n{\"name\":\"span 1\"}\n");
    assert!(String::from_utf8_lossy(&cut.stderr).contains("Only the first 2 rows"));

    let failed = piped(&["--url", &url], "select 1 as a; select nope from spans; select 2 as b;");
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&failed.stdout).replace('\r', ""), "a\n1\n");
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(words.contains("nope") && words.contains("select nope from spans"), "{words}");

    let binary = piped(&["--url", &url, "--format", "parquet"], "select 1");
    assert_eq!(binary.status.code(), Some(2));
    let nowhere = piped(&["--url", "http://127.0.0.1:1"], "select 1");
    assert!(
        String::from_utf8_lossy(&nowhere.stderr).contains("cannot query http://127.0.0.1:1"),
        "{nowhere:?}"
    );
}

#[test]
fn a_person_types_completes_interrupts_and_leaves() {
    let Some(clients) = clients("the shell in a terminal") else { return };
    let server = Running::start();
    server.send(&spans(3));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/shell.py");
    for source in [["--url", &server.url()], ["--data", &server.database.settings().data.to_string()]] {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(clients.join("python/bin/python"));
        command.arg(&script).args([env!("CARGO_BIN_EXE_broadloom"), "sql"]).args(source);
        let output = command.env("BROADLOOM_HISTORY", home.path().join("state/history")).output().unwrap();
        assert!(output.status.success(), "{source:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
