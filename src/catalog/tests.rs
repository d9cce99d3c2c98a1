//! Commits, conflicts, checkpoints and recovery of the catalog.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::config::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::event::{AttributeKey, AttributeType, KeyDictionary, Level, TimeRange};
use crate::index::{RunId, RunMeta};
use crate::segment::{Bound, ColumnMeta, SegmentColumns, SegmentId};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn segment(max_ns: i64) -> NewSegment {
    let time = TimeRange { min_ns: 0, max_ns };
    let meta = SegmentMeta {
        id: SegmentId::new(max_ns),
        bytes: 10,
        column_bytes: 0,
        index: None,
        rows: 3,
        time,
        mask: None,
    };
    let columns = SegmentColumns {
        overflow: None,
        columns: vec![
            ColumnMeta {
                name: "http.route".into(),
                attribute_type: Some(AttributeType::Text),
                null_count: 1,
                bounds: Some((Bound::Text("/a".into()), Bound::Text("/b".into()))),
            },
            ColumnMeta {
                name: "load".into(),
                attribute_type: Some(AttributeType::Double),
                null_count: 0,
                bounds: Some((Bound::Double(-0.5), Bound::Double(3.0))),
            },
            ColumnMeta {
                name: "timestamp".into(),
                attribute_type: None,
                null_count: 0,
                bounds: Some((Bound::Int(0), Bound::Int(max_ns))),
            },
        ],
    };
    NewSegment { meta, columns: Arc::new(columns) }
}

fn add(max_ns: i64) -> Change {
    Change { add: vec![segment(max_ns)], ..Change::default() }
}

fn flush(from: u64, through: u64) -> Change {
    let (from, through) = (SequenceNumber(from), SequenceNumber(through));
    Change { wal: Some(WalRange { from, through }), ..add(through.0 as i64) }
}

async fn load(store: &Arc<dyn ObjectStore>) -> Catalog {
    Catalog::load(Arc::clone(store), clock()).await.unwrap()
}

fn empty() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

#[tokio::test]
async fn what_was_committed_is_loaded_as_it_was() {
    let store = empty();
    let catalog = load(&store).await;
    catalog.commit(Change { keys: vec![("http.route".into(), 0b1000)].into(), ..flush(0, 5) }).await.unwrap();
    catalog.commit(add(9)).await.unwrap();
    let loaded = load(&store).await;
    assert_eq!(loaded.snapshot(), catalog.snapshot());
    assert_eq!(loaded.snapshot().wal_watermark, SequenceNumber(5));
    assert_eq!(loaded.snapshot().segments[0].time.max_ns, 9, "newest first");
    let keys = KeyDictionary::new();
    loaded.keys().fill(&keys);
    let found = keys.lookup("http.route").unwrap();
    assert!(found.types.contains(AttributeType::Text) && !found.types.contains(AttributeType::Int));
}

#[tokio::test]
async fn checkpoints_give_the_same_state_and_few_are_kept() {
    let store = empty();
    let catalog = load(&store).await;
    for i in 0..200_u64 {
        let keys = vec![(format!("key{i}"), 1)].into();
        catalog.commit(Change { keys, ..flush(i, i + 1) }).await.unwrap();
    }
    let log = Path::from(format!("catalog/log/{:020}.json", 3));
    store.delete(&log).await.unwrap();
    let loaded = load(&store).await;
    assert_eq!(loaded.snapshot(), catalog.snapshot(), "commits before the checkpoint are not read");
    assert_eq!(loaded.keys(), catalog.keys());
    let folder = store.list_with_delimiter(Some(&Path::from("catalog/checkpoint"))).await.unwrap();
    assert_eq!(folder.objects.len(), 2);
}

#[tokio::test]
async fn commits_that_were_summed_up_long_ago_are_deleted_and_nothing_is_missed() {
    let store = empty();
    let catalog = load(&store).await;
    for i in 0..450 {
        let remove = catalog.snapshot().segments.iter().skip(20).map(|segment| segment.id).collect();
        catalog.commit(Change { remove, ..add(i) }).await.unwrap();
    }
    let log = store.list_with_delimiter(Some(&Path::from("catalog/log"))).await.unwrap();
    let commits: Vec<Path> = log.objects.into_iter().map(|object| object.location).collect();
    let first = Path::from(format!("catalog/log/{:020}.json", 384 - 256 + 1));
    assert_eq!((commits.iter().min(), commits.len()), (Some(&first), 450 - (384 - 256)));
    assert_eq!(load(&store).await.snapshot(), catalog.snapshot());
}

/// Facts of `catalog` on some columns in each segment, as text.
async fn facts(catalog: &Catalog) -> Vec<String> {
    const NAMES: [&str; 6] = ["http.route", "load", "timestamp", "overflow", "rare", "nope"];
    let snapshot = catalog.snapshot();
    let known = snapshot.columns(&NAMES).await;
    let facts = snapshot.segments.iter().flat_map(|segment| {
        let columns = known.of(segment.id);
        NAMES.map(|n| format!("{} {n}: {:?} {}", segment.id, columns.get(n), columns.may_overflow(n)))
    });
    facts.collect()
}

/// A segment with `rare` in its overflow, or with more attributes there than can be listed.
fn overflowing(max_ns: i64, listed: bool) -> NewSegment {
    let mut new = segment(max_ns);
    let columns = Arc::make_mut(&mut new.columns);
    let column = ColumnMeta { name: "overflow".into(), attribute_type: None, null_count: 2, bounds: None };
    columns.columns.insert(2, column);
    columns.overflow = listed.then(|| vec!["rare".to_owned()]);
    new
}

#[tokio::test]
async fn facts_on_columns_are_the_same_from_commits_and_from_checkpoints() {
    let store = empty();
    let catalog = load(&store).await;
    let mut versions = Vec::new();
    for i in 1..=130_i64 {
        // Times out of order, so that new segments come in between; some are removed.
        let mut change = add(i * 7919 % 1000);
        change.add.extend((i % 5 == 0).then(|| overflowing(i, i % 10 == 0)));
        if i % 6 == 0 {
            let segments = &catalog.snapshot().segments;
            change.remove.push(segments[i as usize % segments.len()].id);
        }
        catalog.commit(change).await.unwrap();
        if i % 32 == 0 {
            versions.push((catalog.snapshot().version, facts(&catalog).await));
        }
    }
    let expected = facts(&catalog).await;
    assert!(expected.iter().any(|fact| fact.contains("rare: Absent true")), "{expected:?}");
    assert!(expected.iter().any(|fact| fact.contains("rare: Absent false")));
    assert!(!expected.iter().any(|fact| fact.contains("Unknown")));
    assert_eq!(facts(&load(&store).await).await, expected, "two commits behind the second checkpoint");
    // From the commits alone, without any checkpoint.
    for object in store.list_with_delimiter(Some(&Path::from("catalog/checkpoint"))).await.unwrap().objects {
        store.delete(&object.location).await.unwrap();
    }
    let replayed = load(&store).await;
    assert_eq!(facts(&replayed).await, expected);
    assert_eq!(facts(&catalog).await, expected, "what was loaded before stays, though its object is gone");
    assert_eq!(versions.len(), 4);
}

#[tokio::test]
async fn a_checkpoint_that_is_replaced_meanwhile_leaves_facts_unknown() {
    let store = empty();
    let catalog = load(&store).await;
    for i in 0..64 {
        // Large enough not to be read whole.
        let mut new = segment(i);
        Arc::make_mut(&mut new.columns).columns[0].bounds = None;
        let columns = (0..20).map(|n| ColumnMeta {
            name: format!("a{n:03}"),
            attribute_type: Some(AttributeType::Int),
            null_count: rand::random(),
            bounds: Some((Bound::Int(rand::random()), Bound::Int(rand::random()))),
        });
        Arc::make_mut(&mut new.columns).columns.splice(0..0, columns);
        catalog.commit(Change { add: vec![new], ..Change::default() }).await.unwrap();
    }
    let reader = load(&store).await;
    store.delete(&checkpoint(64)).await.unwrap();
    let snapshot = reader.snapshot();
    let known = snapshot.columns(&["load"]).await;
    let columns = known.of(snapshot.segments[0].id);
    assert_eq!((columns.get("load"), columns.may_overflow("load")), (Fact::Unknown, true));
}

fn checkpoint(version: u64) -> Path {
    Path::from(format!("catalog/checkpoint/{version:020}.checkpoint"))
}

#[tokio::test]
async fn damage_of_a_checkpoint_is_named_and_never_misleads() {
    let store = empty();
    let catalog = load(&store).await;
    for i in 0..64 {
        catalog.commit(add(i)).await.unwrap();
    }
    let expected = facts(&catalog).await;
    let intact = store.get(&checkpoint(64)).await.unwrap().bytes().await.unwrap();
    let (mut refused, mut unknown) = (0, 0);
    for at in (0..intact.len()).step_by(23) {
        let mut bytes = intact.to_vec();
        if at % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 0x10;
        }
        store.put(&checkpoint(64), bytes.into()).await.unwrap();
        match Catalog::load(Arc::clone(&store), clock()).await {
            Ok(loaded) => {
                let found = facts(&loaded).await;
                unknown += usize::from(found != expected);
                assert!(found.iter().zip(&expected).all(|(a, b)| a == b || a.contains("Unknown true")));
            }
            Err(error) => {
                refused += 1;
                let newer =
                    error.kind() == ErrorKind::InvalidInput && error.message().contains("this program reads");
                assert!(error.kind() == ErrorKind::Corrupt || newer, "{error}");
                assert!(error.message().contains("00000000000000000064.checkpoint"), "{error}");
            }
        }
    }
    assert!(refused > 5 && unknown > 5, "{refused} {unknown}");
}

#[tokio::test]
async fn two_writers_step_over_each_others_commits() {
    let store = empty();
    let (one, two) = (load(&store).await, load(&store).await);
    let all = (0..20).map(|i| {
        let catalog = if i % 2 == 0 { &one } else { &two };
        catalog.commit(add(i))
    });
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
    assert_eq!(load(&store).await.snapshot().segments.len(), 20);
    assert!(
        one.is_behind().await.unwrap() || two.is_behind().await.unwrap() || one.snapshot() == two.snapshot()
    );
}

#[tokio::test]
async fn the_same_batches_cannot_be_committed_twice() {
    let store = empty();
    let (one, two) = (load(&store).await, load(&store).await);
    one.commit(flush(0, 5)).await.unwrap();
    let error = two.commit(flush(0, 5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(two.snapshot().wal_watermark, SequenceNumber(5), "it has learned of the other commit");
    assert_eq!(load(&store).await.snapshot().segments.len(), 1);
    two.commit(flush(5, 6)).await.unwrap();
}

#[tokio::test]
async fn a_removed_segment_must_exist() {
    let store = empty();
    let catalog = load(&store).await;
    let snapshot = catalog.commit(add(1)).await.unwrap();
    let remove = Change { remove: vec![snapshot.segments[0].id], ..Change::default() };
    assert!(catalog.commit(remove.clone()).await.unwrap().segments.is_empty());
    assert_eq!(catalog.commit(remove).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn removed_segments_are_remembered_across_checkpoints() {
    let store = empty();
    let catalog = load(&store).await;
    let snapshot = catalog.commit(add(1)).await.unwrap();
    let path = snapshot.segments[0].path();
    let remove = Change { remove: vec![snapshot.segments[0].id], ..Change::default() };
    catalog.commit(remove).await.unwrap();
    for i in 0..70 {
        catalog.commit(add(i)).await.unwrap();
    }
    let loaded = load(&store).await.snapshot();
    assert_eq!(loaded.removed, catalog.snapshot().removed);
    assert_eq!(loaded.removed.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), [path.as_str()]);
}

#[tokio::test]
async fn only_new_keys_are_written_again() {
    let store = empty();
    let catalog = load(&store).await;
    for types in [0b1, 0b1, 0b11] {
        catalog.commit(Change { keys: vec![("k".into(), types)].into(), ..Change::default() }).await.unwrap();
    }
    let mut written = Vec::new();
    for version in 1..=3 {
        let path = Path::from(format!("catalog/log/{version:020}.json"));
        let json = store.get(&path).await.unwrap().bytes().await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        written.push(json.get("keys").cloned().unwrap_or_default().to_string());
    }
    assert_eq!(written, [r#"[["k",1]]"#, "null", r#"[["k",2]]"#]);
}

#[tokio::test]
async fn another_format_and_damage_are_told_apart() {
    for (text, kind, says) in [
        (r#"{"format":7,"whatever":true}"#, ErrorKind::InvalidInput, "catalog format 7"),
        (r#"{"format":1,"id":"#, ErrorKind::Corrupt, "00000000000000000001.json"),
        ("", ErrorKind::Corrupt, "00000000000000000001.json"),
    ] {
        let store = empty();
        store.put(&Path::from(format!("catalog/log/{:020}.json", 1)), text.into()).await.unwrap();
        let error = Catalog::load(store, clock()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
    }
}

#[test]
fn keys_of_any_spelling_survive() {
    for key in ["", "name", "resource.x", "a b\"c", "ключ"] {
        let key = AttributeKey::new(Level::Record, key);
        let keys: Keys = vec![(key.physical_name(), 0b11_1111)].into();
        let text = serde_json::to_string(&keys).unwrap();
        let back: Keys = serde_json::from_str(&text).unwrap();
        let dictionary = KeyDictionary::new();
        back.fill(&dictionary);
        assert_eq!(dictionary.len(), 1);
    }
}

/// Files of version 1 of the format: a checkpoint of 64 segments, and two commits after it.
#[tokio::test]
async fn a_catalog_of_the_first_format_opens_and_goes_on_in_the_present_one() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/formats/catalog-1");
    let store = empty();
    for file in ["checkpoint/00000000000000000064.json.zst", "log/65.json", "log/66.json"] {
        let file = file.replace("log/", "log/000000000000000000");
        let bytes = std::fs::read(folder.join(&file)).unwrap();
        store.put(&Path::from(format!("catalog/{file}")), bytes.into()).await.unwrap();
    }
    let catalog = load(&store).await;
    let snapshot = catalog.snapshot();
    assert_eq!((snapshot.version, snapshot.segments.len(), snapshot.rows()), (66, 65, 1950));
    assert_eq!(
        snapshot.segments[64].path(),
        format!("segments/2026/01/01/{}.parquet", snapshot.segments[64].id)
    );
    let known = snapshot.columns(&["code", "http.route", "nope"]).await;
    for segment in &snapshot.segments {
        let columns = known.of(segment.id);
        let Fact::Present(route) = columns.get("http.route") else { panic!("{segment:?}") };
        assert_eq!(route.attribute_type, Some(AttributeType::Text));
        assert_eq!(route.bounds, Some((Bound::Text("/r0"), Bound::Text("/r2"))));
        assert_eq!(columns.get("nope"), Fact::Absent);
    }
    let overflowing = snapshot.segments.iter().filter(|s| known.of(s.id).may_overflow("code")).count();
    assert_eq!(overflowing, 22, "every third has a text among its integers");
    assert!(!snapshot.segments.iter().any(|s| known.of(s.id).may_overflow("http.route")));
    let keys = KeyDictionary::new();
    catalog.keys().fill(&keys);
    assert_eq!(keys.names(), ["code", "http.route", "load", "ok", "service.name", "tags"]);

    for i in 67..=128 {
        catalog.commit(add(i)).await.unwrap();
    }
    store.get(&checkpoint(128)).await.unwrap();
    let loaded = load(&store).await;
    assert_eq!((loaded.snapshot(), loaded.keys()), (catalog.snapshot(), catalog.keys()));
    let later = loaded.snapshot().columns(&["code", "http.route"]).await;
    for segment in &snapshot.segments {
        for name in ["code", "http.route"] {
            assert_eq!(later.of(segment.id).get(name), known.of(segment.id).get(name));
            assert_eq!(later.of(segment.id).may_overflow(name), known.of(segment.id).may_overflow(name));
        }
    }
}

#[tokio::test]
async fn runs_come_and_go_and_are_in_checkpoints() {
    let store = empty();
    let catalog = load(&store).await;
    let run = |at_ns| {
        let segments = vec![SegmentId::new(at_ns), SegmentId::new(at_ns)];
        Arc::new(RunMeta { id: RunId::new(at_ns), bytes: 10, entries: 3, segments })
    };
    let runs = [run(1), run(2), run(3)];
    let change = Change { add_runs: runs[..2].to_vec(), ..Change::default() };
    catalog.commit(change).await.unwrap();
    let replace =
        Change { add_runs: vec![runs[2].clone()], remove_runs: vec![runs[0].id], ..Change::default() };
    let snapshot = catalog.commit(replace.clone()).await.unwrap();
    assert_eq!(snapshot.runs.runs(), &runs[1..]);
    assert!(snapshot.runs.contains(runs[2].segments[1]) && !snapshot.runs.contains(runs[0].segments[1]));
    let error = catalog.commit(replace).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "it is gone already");
    for versions in [0, 70] {
        for i in 0..versions {
            catalog.commit(add(i)).await.unwrap();
        }
        assert_eq!(load(&store).await.snapshot().runs.runs(), &runs[1..]);
    }
}
