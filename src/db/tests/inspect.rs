//! Does an inspection report the damage, whatever a file contains?

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::check::{everything, files};
use super::*;
use crate::db::inspect::{Kind, inspect_file, inspect_object};
use crate::wal::{ObjectLog, ObjectLogOptions, Takeover};

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_make_an_inspection_panic_and_what_is_sound_has_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    everything(dir.path()).await;
    let mut random = ChaCha8Rng::seed_from_u64(14);
    let mut seen = std::collections::HashSet::new();
    for file in files(dir.path()) {
        let found = inspect_file(&file).await.unwrap();
        assert!(found.problems.is_empty() && found.content.is_some(), "{found:#?}");
        // There are many commits, all alike: one is enough.
        if !seen.insert(found.kind) && found.kind == Kind::Commit {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        for _ in 0..8 {
            let mut harmed = bytes.clone();
            for _ in 0..random.random_range(1..4) {
                harmed[random.random_range(0..bytes.len())] = random.random();
            }
            if random.random_bool(0.2) {
                harmed.truncate(random.random_range(0..bytes.len()));
            }
            std::fs::write(&file, harmed).unwrap();
            if let Err(error) = inspect_file(&file).await {
                let known = [ErrorKind::Corrupt, ErrorKind::InvalidInput];
                assert!(known.contains(&error.kind()), "{}: {error:?}", file.display());
            }
        }
        std::fs::write(&file, bytes).unwrap();
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[tokio::test]
async fn an_empty_file_is_no_segment_index_run_mask_commit_or_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    for end in ["parquet", "index", "run", "mask", "json", "checkpoint", "json.zst"] {
        let file = dir.path().join(format!("a.{end}"));
        std::fs::write(&file, "").unwrap();
        let found = inspect_file(&file).await.unwrap();
        assert!(!found.problems.is_empty() && found.content.is_none(), "{found:?}");
    }
    // A crash before the first record leaves such a file.
    let file = dir.path().join("00000000000000000007.wal");
    std::fs::write(&file, "").unwrap();
    assert_eq!(inspect_file(&file).await.unwrap().kind, Kind::Log);
}

#[tokio::test]
async fn a_fence_says_who_took_the_log_over() {
    let store: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let takeover = Takeover { writer: "a writer", now_ns: 0, after: SequenceNumber::ZERO };
    let each = &mut |_: SequenceNumber, _: Vec<u8>| Ok(());
    ObjectLog::take_over(Arc::clone(&store), ObjectLogOptions::default(), takeover, each).await.unwrap();
    let found = inspect_object(&store, "wal/00000000000000000001.wal").await.unwrap();
    assert_eq!(found.problems, []);
    let found = serde_json::to_value(found).unwrap();
    assert_eq!((&found["records"][0]["fence"], &found["rows"]), (&"a writer".into(), &0.into()), "{found}");
}
