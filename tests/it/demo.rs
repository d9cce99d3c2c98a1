//! Does `broadloom demo` find the incident, and protect other data?

use std::path::Path;
use std::process::Output;

use crate::running::broadloom;

fn demo(data: &Path, more: &[&str]) -> Output {
    let mut command = broadloom(&["demo", "--minutes", "10", "--data"]);
    command.arg(data).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_investigation_finds_the_cause_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = demo(&data, &["--events", "12000"]);
    let story = text(&first.stdout);
    assert!(first.status.success(), "{story}\n{}", text(&first.stderr));
    // Only the results, not the narration: tables have bars.
    let answers: String = story.lines().filter(|l| l.starts_with('│')).collect();
    for found in [
        "17.6.1",
        "eu-west",
        "4.12.0",
        "SELECT payment_methods",
        "payment_methods_wallet_token_idx does not exist",
    ] {
        assert!(answers.contains(found), "{found} is not in an answer:\n{story}");
    }

    let second = demo(&data, &["--events", "12000"]);
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert!(text(&second.stdout).starts_with("The demo corpus is already in"));
    let other = demo(&data, &["--events", "13000"]);
    assert!(!other.status.success());
    let refused = text(&other.stderr);
    assert!(refused.contains("--seed 1 --events 12000") && refused.contains("--data"), "{refused}");
}

#[test]
fn a_directory_with_other_data_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(demo(&data, &["--events", "500"]).status.success());
    std::fs::remove_file(data.join("demo.json")).unwrap();
    let refused = demo(&data, &["--events", "500"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("events that are not the demo's"), "{}", text(&refused.stderr));
    assert!(!data.join("demo.json").exists());
}
