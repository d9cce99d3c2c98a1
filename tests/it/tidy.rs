//! Lints of the repository: modules depend on earlier layers only, the top level stays as agreed, documents name
//! what exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules in the order of an event's life. A module may name only modules before it.
const LAYERS: &[&str] = &[
    "error",
    "config",
    "disk",
    "store",
    "event",
    "ingest",
    "wal",
    "buffer",
    "segment",
    "index",
    "catalog",
    "maintenance",
    "query",
    "db",
    "demo",
    "server",
    "cli",
    "hostile",
];

/// The files in `path`, or that file itself, whose names end in `.{extension}`.
pub(crate) fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|entry| files(&entry, extension))
        .filter(|file| file.extension().is_some_and(|e| e == extension))
        .collect()
}

/// Modules that the code in `text` names with `crate::`, and their lines.
fn named_modules(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(i, line)| {
        line.split("crate::").skip(1).map(move |rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (i + 1, &rest[..end])
        })
    })
}

#[test]
fn modules_use_only_modules_before_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (rank, layer) in LAYERS.iter().enumerate() {
        let (folder, file) = (src.join(layer), src.join(format!("{layer}.rs")));
        for path in [folder, file].iter().filter(|p| p.exists()).flat_map(|p| files(p, "rs")) {
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            for (line, module) in named_modules(&text) {
                if LAYERS.iter().position(|l| *l == module).is_some_and(|other| other > rank) {
                    wrong.push(format!("{}:{line}: {layer} names {module}", path.display()));
                }
            }
        }
    }
    assert!(seen > 20, "found too few files: do the layers still exist under these names?");
    assert!(wrong.is_empty(), "modules that name a later layer:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_is_a_layer() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: Vec<_> = lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let expected: Vec<_> = LAYERS.iter().copied().filter(|l| modules.contains(l)).collect();
    assert_eq!(modules, expected, "src/lib.rs lists the layers in order");
}

#[test]
fn the_top_level_stays_small() {
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "benches",
        "docs",
        "sql",
        "src",
        "testdata",
        "tests",
        "target",
        "broadloom-data",
    ];
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.starts_with('.') || allowed.contains(&name.as_str()),
            "{name} does not belong at the top level"
        );
    }
}

/// The README and everything in `docs`: path and text.
fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = [root.join("README.md"), root.join("docs")].into_iter().flat_map(|path| files(&path, "md"));
    paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The lines of a document outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    })
}

#[test]
fn links_of_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        let links = prose(&text).flat_map(|(line, prose)| {
            prose.split("](").skip(1).filter_map(move |rest| Some((line, rest.split_once(')')?.0)))
        });
        for (line, link) in links.filter(|(_, link)| !link.contains("://")) {
            seen += 1;
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has = |anchor| anchors(&fs::read_to_string(&to).unwrap_or_default()).any(|a| a == anchor);
            let leads_somewhere = to.exists() && anchor.is_none_or(has);
            if !leads_somewhere {
                wrong.push(format!("{}:{line}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 20, "the documents are not where this test looks");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn tests_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [root.join("src"), root.join("tests")].into_iter().flat_map(|path| files(&path, "rs"));
    let sources: String = sources.map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in documents() {
        let names = prose(&text).flat_map(|(line, prose)| prose.split('`').map(move |name| (line, name)));
        let is_test = |name: &str| {
            let is_snake = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            // Metrics have such names too.
            is_snake && name.split('_').count() >= 4 && !name.starts_with("broadloom_")
        };
        for (line, name) in names.filter(|(_, name)| is_test(name)) {
            seen += 1;
            if !sources.contains(&format!("fn {name}(")) {
                wrong.push(format!("{}:{line}: {name}", path.display()));
            }
        }
    }
    assert!(seen > 20, "the documents are not where this test looks");
    assert!(wrong.is_empty(), "tests that do not exist:\n{}", wrong.join("\n"));
}

/// Experimental parts of DataFusion change with its versions: only one of our files may depend on them.
#[test]
fn one_file_names_the_morsel_traits() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = |file: &PathBuf| fs::read_to_string(file).unwrap().contains("datafusion_datasource::morsel");
    let named: Vec<_> = files(&src, "rs").into_iter().filter(names).collect();
    assert_eq!(named, [src.join("query/indexed/morsel.rs")]);
}
