//! Does a check find all damage, and nothing else?

use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::catalog::Change;
use crate::config::SystemClock;
use crate::db::check::{CheckReport, Part, check};
use crate::store::DurableFileSystem;

/// Events of a hundred traces; every second event has a common attribute, a few have a rare one.
fn events(from: i64) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let user = builder.key(Level::Record, "user.id");
    let n = builder.key(Level::Record, "n");
    for i in from..from + 100 {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&i.to_le_bytes());
        let trace_id = Some(TraceId::new(id));
        builder.push(&CoreEvent { timestamp_ns: i * 1_000_000_000, trace_id, ..CoreEvent::default() });
        builder.attribute(user, Value::Text(&format!("u-{i}")));
        if i % 2 == 0 {
            builder.attribute(n, Value::Int(i * 7919));
        }
    }
    builder.finish().unwrap()
}

/// Fills `data` with every kind of file: commits, a checkpoint, segments with side-cars, a run, masks, two log files.
pub(super) async fn everything(data: &Path) {
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(DurableFileSystem::create(data).unwrap());
    let catalog = Catalog::load(store, Arc::new(SystemClock)).await.unwrap();
    for _ in 0..60 {
        catalog.commit(Change::default()).await.unwrap();
    }
    let database = open(data).await;
    for i in 0..10 {
        database.append(events(i * 1000)).await.unwrap();
        database.flush().await.unwrap();
    }
    database.writer().unwrap().settle_runs().await;
    let deleted = database.delete(&delete("user.id = 'u-17' or user.id = 'u-9050'")).await.unwrap();
    assert_eq!(deleted.deletion.rows, 2);
    database.append(events(20_000)).await.unwrap();
    drop(database);
    let database = open(data).await;
    database.append(events(30_000)).await.unwrap();
    drop(database);
}

async fn report(data: &Path) -> CheckReport {
    check(&Settings::new(data), |_| {}).await.unwrap()
}

/// True if a problem or a note is about the file at `path`.
fn names(report: &CheckReport, path: &str) -> bool {
    let noted = report.notes.iter().any(|note| note.contains(path));
    noted || report.problems.iter().any(|problem| problem.problem.path == path)
}

/// All permanent files below `data`, sorted.
pub(super) fn files(data: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { walk(&entry, found) } else { found.push(entry) }
        }
    }
    let mut found = Vec::new();
    for folder in ["catalog", "segments", "runs", "wal"] {
        walk(&data.join(folder), &mut found);
    }
    found.sort();
    found
}

fn below(data: &Path, file: &Path) -> String {
    file.strip_prefix(data).unwrap().display().to_string()
}

/// Empty commits are all alike.
fn is_one_of_many(path: &str) -> bool {
    let version =
        path.strip_prefix("catalog/log/").and_then(|name| name.split('.').next()?.parse::<u64>().ok());
    version.is_some_and(|version| version < 60 && version % 20 != 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_directory_passes_and_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    everything(dir.path()).await;
    let bytes = || files(dir.path()).into_iter().map(|file| (std::fs::read(&file).unwrap(), file));
    let before: Vec<_> = bytes().collect();
    let found = report(dir.path()).await;
    assert!(found.problems.is_empty() && found.notes.is_empty(), "{found:#?}");
    assert_eq!((found.rows, found.batches), (1000, 2));
    assert!(found.parts.values().all(|totals| totals.objects > 0), "{:?}", found.parts);
    assert_eq!(found.parts[&Part::Masks].objects, 2);
    assert_eq!(found.parts.values().map(|totals| totals.objects).sum::<u64>(), before.len() as u64);
    assert!(bytes().eq(before), "nothing is changed");
    // A writer may have the database open.
    let database = open(dir.path()).await;
    assert_eq!(report(dir.path()).await.problems, []);
    database.close().await.unwrap();
    let found = report(dir.path()).await;
    assert!(found.problems.is_empty(), "{found:#?}");
    let error = check(&Settings::new(dir.path().join("nowhere")), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(check(&Settings::new(empty.path()), |_| {}).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_a_cut_and_a_loss_of_any_file_are_found_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    everything(data).await;
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let all = files(data);
    let last_of = |folder: &str| all.iter().rfind(|file| below(data, file).starts_with(folder)).unwrap();
    // Nothing refers to the newest commit and the newest log file, so their loss cannot be found.
    let ends: [&PathBuf; 2] = [last_of("catalog/log/"), last_of("wal/")];
    let mut harmed = 0;
    // One file of each kind is also truncated and removed.
    let mut seen = std::collections::HashSet::new();
    for file in &all {
        let path = below(data, file);
        if is_one_of_many(&path) {
            continue;
        }
        harmed += 1;
        let bytes = std::fs::read(file).unwrap();
        {
            let at = random.random_range(0..bytes.len());
            let mut other = bytes.clone();
            other[at] ^= 1 << random.random_range(0..8);
            std::fs::write(file, other).unwrap();
            let found = report(data).await;
            assert!(names(&found, &path), "{path}: byte {at} of {}: {found:#?}", bytes.len());
            // Only noted: a record at the end of the log, which looks torn, and the name of a commit's checksum, as the
            // other fields are unchanged.
            let name = bytes.windows(7).rposition(|window| window == b",\"crc\":");
            let harmless = ends.contains(&file) || name.is_some_and(|name| (name..name + 7).contains(&at));
            assert!(!found.problems.is_empty() || harmless, "{path}: byte {at}: {found:#?}");
        }
        let (folder, kind) = (path.split('/').next(), file.extension());
        if !seen.insert((folder.map(str::to_owned), kind.map(ToOwned::to_owned))) && !ends.contains(&file) {
            std::fs::write(file, bytes).unwrap();
            continue;
        }
        let cut = random.random_range(0..bytes.len());
        std::fs::write(file, &bytes[..cut]).unwrap();
        let found = report(data).await;
        assert!(names(&found, &path), "{path}: cut after {cut} of {}: {found:#?}", bytes.len());
        std::fs::remove_file(file).unwrap();
        // All commits of the checkpoint are still there, so nothing is lost with it.
        if !ends.contains(&file) && !path.starts_with("catalog/checkpoint/") {
            let found = report(data).await;
            let expected = if path.starts_with("wal/") { "wal" } else { &path };
            assert!(names(&found, expected) && !found.problems.is_empty(), "{path} missing: {found:#?}");
        }
        std::fs::write(file, bytes).unwrap();
    }
    assert!(harmed > 35, "{harmed}");
    let found = report(data).await;
    assert!(found.problems.is_empty() && found.notes.is_empty(), "all is as it was: {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_told_and_none_hides_another() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    everything(data).await;
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let harmed: Vec<_> =
        files(data).into_iter().filter(|file| !below(data, file).starts_with("catalog/")).collect();
    for file in &harmed {
        let mut bytes = std::fs::read(file).unwrap();
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 0x10;
        std::fs::write(file, bytes).unwrap();
    }
    let found = report(data).await;
    for file in &harmed {
        let path = below(data, file);
        assert!(names(&found, &path), "{path}: {found:#?}");
    }
    let told: u64 = found.parts.values().map(|totals| totals.problems).sum();
    assert_eq!(told, found.problems.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checksums_damage_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    everything(data).await;
    let all = files(data);
    let ends_with = |end: &str| all.iter().find(|file| file.to_str().unwrap().ends_with(end)).unwrap();
    let segment = ends_with(".parquet");
    std::fs::remove_file(segment.with_extension("index")).unwrap();
    let bytes = std::fs::read(segment).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(13);
    let mut seen = 0;
    for _ in 0..60 {
        let mut other = bytes.clone();
        other[random.random_range(0..bytes.len())] ^= 1 << random.random_range(0..8);
        std::fs::write(segment, other).unwrap();
        let found = report(data).await;
        assert!(names(&found, &below(data, &segment.with_extension("index"))));
        seen += u32::from(names(&found, &below(data, segment)));
    }
    assert!(seen > 20, "much of it does not decode, or is not what the catalog knows: {seen} of 60");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_refers_to_is_noted_and_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    everything(data).await;
    let orphans = ["runs/0123.run", "segments/2026/11/21/0123.parquet"];
    for orphan in orphans {
        std::fs::create_dir_all(data.join(orphan).parent().unwrap()).unwrap();
        std::fs::write(data.join(orphan), "left by a crash").unwrap();
    }
    let found = report(data).await;
    assert_eq!((found.problems.len(), found.notes.len()), (0, 2), "{found:#?}");
    assert!(orphans.iter().all(|orphan| names(&found, orphan)));
}
