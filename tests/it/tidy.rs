//! The repository lints itself: layers point one way, and the top level stays as agreed.

use std::fs;
use std::path::{Path, PathBuf};

/// The life of an event, in order. A module names only modules before it.
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

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|entry| rust_files(&entry))
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The modules that the code in `text` names by `crate::`.
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
        for path in [folder, file].iter().filter(|p| p.exists()).flat_map(|p| rust_files(p)) {
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            for (line, module) in named_modules(&text) {
                if LAYERS.iter().position(|l| *l == module).is_some_and(|other| other > rank) {
                    wrong.push(format!("{}:{line}: {layer} names {module}", path.display()));
                }
            }
        }
    }
    assert!(seen > 20, "the layers are not where this test looks");
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
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

/// What DataFusion calls experimental changes with its versions: one file of ours has to follow.
#[test]
fn one_file_names_the_morsel_traits() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = |file: &PathBuf| fs::read_to_string(file).unwrap().contains("datafusion_datasource::morsel");
    let named: Vec<_> = rust_files(&src).into_iter().filter(names).collect();
    assert_eq!(named, [src.join("query/indexed/morsel.rs")]);
}
