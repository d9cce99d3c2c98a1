//! Runs every command and statement of the cookbook and the guide.
//!
//! Code blocks of a document run in order, in one empty directory with a link to `testdata`: `sh` by bash, `sql` on the
//! data directory that the blocks before it made. Blocks of other languages are not run. A line before a block,
//! `<!-- shows: WORDS -->`, says what its output contains, and `<!-- serves -->` that it starts a server: the test starts
//! one on free ports, and puts its addresses into the blocks that follow.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::running::{Served, broadloom};

/// A code block.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    /// Number of its first line.
    line: usize,
    language: String,
    text: String,
    /// Words that its output contains.
    shows: Vec<String>,
    serves: bool,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut next = Block::default();
    let mut is_inside = false;
    for (number, line) in (1..).zip(document.lines()) {
        let note = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(language) = line.strip_prefix("```") {
            if is_inside {
                blocks.push(std::mem::take(&mut next));
            } else {
                (next.line, next.language) = (number + 1, language.to_owned());
            }
            is_inside = !is_inside;
        } else if is_inside {
            next.text += line;
            next.text.push('\n');
        } else if let Some(words) = note.and_then(|note| note.strip_prefix("shows: ")) {
            next.shows.push(words.to_owned());
        } else if note == Some("serves") {
            next.serves = true;
        }
    }
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the blocks of `document`. At least `least` of them must be there.
fn run(document: &str, least: usize) {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("testdata"), folder.path().join("testdata")).unwrap();
    let mut served: Option<Served> = None;
    let mut count = 0;
    for block in blocks(&text) {
        let at = format!("{document}:{}", block.line);
        if block.serves {
            served = Some(Served::start(&folder.path().join("broadloom-data")));
            continue;
        }
        let script = match &served {
            Some(server) => with_addresses(&block.text, server),
            None => block.text.clone(),
        };
        let mut command = match block.language.as_str() {
            "sh" => shell(&script),
            "sql" => broadloom(&["query", "--format", "ndjson", &script]),
            _ => {
                assert!(block.shows.is_empty(), "{at}: a block of {:?} is not run", block.language);
                continue;
            }
        };
        count += 1;
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        let words = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{at}:\n{script}\n{}", words.concat());
        for shown in &block.shows {
            assert!(words[0].contains(shown), "{at} does not show {shown:?}:\n{script}\n{}", words.concat());
        }
    }
    assert!(count >= least, "{document} has {count} blocks that are run");
}

/// Bash that finds the program under its name.
fn shell(script: &str) -> Command {
    let program = broadloom(&[]);
    let folder = PathBuf::from(program.get_program()).parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command.args(["-euo", "pipefail", "-c", script]).env("PATH", path);
    command
}

fn with_addresses(script: &str, server: &Served) -> String {
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    script
        .replace("127.0.0.1:8080", &address(&server.http))
        .replace("127.0.0.1:4318", &address(&server.otlp_http))
        .replace("127.0.0.1:4317", &address(&server.otlp_grpc))
}

#[test]
fn the_cookbook_is_right() {
    run("docs/cookbook.md", 12);
}

#[test]
fn the_guide_is_right() {
    for (page, least) in [("send", 2), ("import", 3), ("query", 5), ("operate", 4)] {
        run(&format!("docs/guide/{page}.md"), least);
    }
}

#[test]
fn every_page_of_the_guide_with_commands_is_run() {
    let known = ["send", "import", "query", "operate"];
    for entry in std::fs::read_dir(root().join("docs/guide")).unwrap() {
        let path = entry.unwrap().path();
        let is_run = known.contains(&path.file_stem().unwrap().to_str().unwrap());
        let has_commands = blocks(&std::fs::read_to_string(&path).unwrap())
            .iter()
            .any(|block| ["sh", "sql"].contains(&block.language.as_str()));
        assert!(is_run || !has_commands, "{} has commands that nothing runs", path.display());
    }
}

#[test]
fn blocks_are_found_with_what_they_show() {
    let text =
        "a\n<!-- shows: x = 1 -->\n```sh\necho\n```\n```text\n$\n```\n<!-- serves -->\n```sh\nserve\n```\n";
    let found = blocks(text);
    let shown: Vec<_> =
        found.iter().map(|b| (b.language.as_str(), b.shows.len(), b.serves, b.line)).collect();
    assert_eq!(shown, [("sh", 1, false, 4), ("text", 0, false, 7), ("sh", 0, true, 11)]);
    assert_eq!(found[0].text, "echo\n");
}
