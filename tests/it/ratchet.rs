//! What is good about the source today stays so: sizes, headers, cycles, wording. Limits here may only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy;

/// Longest source file. A longer one holds two concepts.
const LINES_MAX: usize = 700;

/// Folders in which files use each other in a circle, and the files of the circle.
const CYCLES: &[(&str, &str)] = &[
    ("catalog", "checkpoint, columns, section"),
    ("catalog", "claim, commit"),
    ("cli/import", "decode, source, tables"),
    ("demo", "logs, trace"),
    ("event", "typed_json, value"),
    ("ingest", "otlp, sniff"),
    ("ingest/otlp", "attributes, record"),
    ("maintenance", "duties, lanes"),
    ("maintenance", "ground, live, sweep"),
    ("query", "indexed, scan"),
    ("query/resolve", "names, nested, relation, select"),
    ("segment", "mask, meta, writer"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    let folders = ["src", "tests/it", "benches"].map(|folder| root().join(folder));
    let files: Vec<_> = folders.iter().flat_map(|folder| tidy::files(folder, "rs")).collect();
    assert!(files.len() > 200, "the source is not where this test looks");
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(root()).unwrap().to_owned(), text)
        })
        .collect()
}

#[test]
fn every_file_is_one_concept_with_a_header() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines, at most {LINES_MAX}", file.display()));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin with a `//!` header", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn doc_comments_begin_with_the_thing_or_what_it_does() {
    const WORDS: [&str; 7] = ["What", "How", "Whether", "Where", "Which", "Who", "As"];
    let mut found = Vec::new();
    for (file, text) in sources() {
        let mut before = "";
        for (number, line) in (1..).zip(text.lines().map(str::trim_start)) {
            let first = line.strip_prefix("/// ").filter(|_| !before.starts_with("///"));
            if first.and_then(|text| text.split_whitespace().next()).is_some_and(|word| WORDS.contains(&word))
            {
                found.push(format!("{}:{number}: {line}", file.display()));
            }
            before = line;
        }
    }
    assert!(found.is_empty(), "doc comments begin with one of {WORDS:?}:\n{}", found.join("\n"));
}

/// A handler that had the database could answer without a permit, a deadline or an audit.
#[test]
fn only_the_gate_reaches_the_database() {
    let server = sources().into_iter().filter(|(file, _)| file.starts_with("src/server"));
    let made_here = ["src/server/mod.rs", "src/server/state.rs"].map(Path::new);
    let others = server
        .filter(|(file, _)| !file.starts_with("src/server/gate") && !made_here.contains(&file.as_path()));
    let wrong: Vec<_> =
        others.filter(|(_, text)| without_tests(text).contains("Database")).map(|(file, _)| file).collect();
    assert!(wrong.is_empty(), "handlers go through gate::Caller: {wrong:?}");
}

#[test]
fn every_sql_file_is_used() {
    let code: String = sources().into_iter().map(|(_, text)| text).collect();
    for entry in fs::read_dir(root().join("sql")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(code.contains(&format!("/sql/{name}\"")), "nothing includes sql/{name}");
    }
}

#[test]
fn files_of_a_folder_do_not_use_each_other_in_circles() {
    let modules = Modules::read();
    let found: BTreeSet<(String, String)> = modules
        .uses()
        .iter()
        .flat_map(|(folder, uses)| circles(uses).into_iter().map(|circle| (folder.clone(), circle)))
        .map(|(folder, circle)| (folder, circle.into_iter().collect::<Vec<_>>().join(", ")))
        .collect();
    let allowed =
        CYCLES.iter().map(|(folder, circle)| ((*folder).to_owned(), (*circle).to_owned())).collect();
    let new: Vec<_> = found.difference(&allowed).collect();
    assert!(new.is_empty(), "files use each other in a circle: {new:#?}");
    let gone: Vec<_> = allowed.difference(&found).collect();
    assert!(gone.is_empty(), "no circles any more: remove them from CYCLES: {gone:#?}");
}

/// The modules of the library, by path (`query::resolver`), and the code of each without its tests.
struct Modules {
    code: BTreeMap<Vec<String>, String>,
    /// Names that a folder's `mod.rs` takes from its own modules, and from which.
    exports: BTreeMap<Vec<String>, BTreeMap<String, String>>,
}

impl Modules {
    fn read() -> Self {
        let src = root().join("src");
        let mut code = BTreeMap::new();
        for file in tidy::files(&src, "rs") {
            let relative = file.strip_prefix(&src).unwrap().with_extension("");
            let mut path: Vec<String> =
                relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            let last = path.last().unwrap().clone();
            if last == "mod" || path == ["lib"] || path == ["main"] {
                path.pop();
            }
            let is_test =
                last.contains("test") || path.iter().any(|part| part == "tests" || part == "simulation");
            if !is_test {
                let text = fs::read_to_string(&file).unwrap();
                code.insert(path, without_tests(&text));
            }
        }
        let mut modules = Self { code, exports: BTreeMap::new() };
        modules.exports = modules.code.keys().map(|path| (path.clone(), modules.exported(path))).collect();
        modules
    }

    fn exported(&self, path: &[String]) -> BTreeMap<String, String> {
        let mut exports = BTreeMap::new();
        for line in self.code[path].split(';') {
            let Some((_, tail)) = line.split_once("use ") else { continue };
            for name in expand(tail.trim()) {
                let name: Vec<&str> =
                    name.iter().map(String::as_str).filter(|part| *part != "self").collect();
                if let [child, .., item] = name.as_slice()
                    && self.code.contains_key(&[path, &[(*child).to_owned()]].concat())
                {
                    exports.insert((*item).to_owned(), (*child).to_owned());
                }
            }
        }
        exports
    }

    /// For each folder, which of its files and folders uses which others.
    fn uses(&self) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
        let mut uses: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (path, code) in &self.code {
            for target in self.targets(path, code) {
                let common = path.iter().zip(&target).take_while(|(a, b)| a == b).count();
                if let (Some(from), Some(to)) = (path.get(common), target.get(common)) {
                    let folder = uses.entry(path[..common].join("/")).or_default();
                    folder.entry(from.clone()).or_default().insert(to.clone());
                }
            }
        }
        uses.remove(""); // Layers have a test of their own.
        uses
    }

    /// Modules that the code of the module `path` names by `super::` and `crate::`.
    fn targets(&self, path: &[String], code: &str) -> BTreeSet<Vec<String>> {
        let mut targets = BTreeSet::new();
        for start in ["super::", "crate::"] {
            for (at, _) in code.match_indices(start) {
                let before = code[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let end = code[at..].find(';').map_or(code.len(), |end| at + end);
                for name in expand(&code[at..end]) {
                    targets.extend(self.target(path, &name));
                }
            }
        }
        targets
    }

    fn target(&self, path: &[String], name: &[String]) -> Option<Vec<String>> {
        let mut at = path.to_vec();
        for part in name {
            match part.as_str() {
                "crate" => at.clear(),
                "super" => drop(at.pop()?),
                "self" => {}
                part => {
                    let next = [at.as_slice(), &[part.to_owned()]].concat();
                    if self.code.contains_key(&next) {
                        at = next;
                    } else {
                        let child = self.exports.get(&at).and_then(|exports| exports.get(part));
                        at.extend(child.cloned());
                        break;
                    }
                }
            }
        }
        Some(at)
    }
}

/// The code before the tests at the end of a file, without comments.
fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// All names of a path such as `super::{a::B, c}`, by parts. Ends where no path can go on.
fn expand(text: &str) -> Vec<Vec<String>> {
    let mut names = vec![(Vec::new(), Vec::new())];
    let (mut finished, mut word) = (Vec::new(), String::new());
    for c in text.chars() {
        let is_inside = names.len() > 1;
        let (prefix, name): &mut (Vec<String>, Vec<String>) = names.last_mut().unwrap();
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            name.push(std::mem::take(&mut word));
        }
        match c {
            ':' => {}
            '{' => {
                let inner = [prefix.as_slice(), name.as_slice()].concat();
                name.clear();
                names.push((inner, Vec::new()));
            }
            ',' | '}' if is_inside => {
                if !name.is_empty() {
                    finished.push([prefix.as_slice(), name.as_slice()].concat());
                    name.clear();
                }
                if c == '}' {
                    names.pop();
                }
            }
            c if c.is_whitespace() && is_inside => {}
            _ => break,
        }
    }
    let (prefix, mut name) = names.pop().unwrap();
    name.extend(Some(word).filter(|word| !word.is_empty()));
    if !name.is_empty() {
        finished.push([prefix, name].concat());
    }
    finished
}

/// Sets of files of which each leads to each other.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reachable = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            for other in uses.get(file).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> =
        uses.keys().map(|file| (file, reachable(file))).collect();
    let mut circles = Vec::new();
    let mut placed = BTreeSet::new();
    for (file, all) in &reach {
        if !all.contains(*file) || !placed.insert((*file).clone()) {
            continue;
        }
        let circle: BTreeSet<String> = all
            .iter()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(*file)))
            .cloned()
            .collect();
        placed.extend(circle.iter().cloned());
        if circle.len() > 1 {
            circles.push(circle);
        }
    }
    circles
}

#[test]
fn paths_and_circles_are_understood() {
    let names = |text| expand(text).iter().map(|name| name.join("::")).collect::<Vec<_>>();
    assert_eq!(names("super::a::B"), ["super::a::B"]);
    assert_eq!(names("super::{a::{B, C}, d}"), ["super::a::B", "super::a::C", "super::d"]);
    assert_eq!(names("crate::x::f(y)"), ["crate::x::f"]);
    let uses = |pairs: &[(&str, &str)]| {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circles(&uses).len()
    };
    assert_eq!(uses(&[("a", "b"), ("b", "c")]), 0);
    assert_eq!(uses(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]), 1);
}
