//! Appends, group commits, torn tails and truncation of a log in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::record::{self, HEADER_BYTES};
use super::*;
use crate::disk::SystemDisk;
use crate::disk::chaos::Chaos;
use crate::disk::simulated::SimulatedDisk;
use crate::error::ErrorKind;

type Seen = Arc<Mutex<Vec<(u64, String)>>>;

fn payload(text: &str) -> Payload {
    Payload::compress(text.as_bytes()).unwrap()
}

/// Opens the log as a writer does, and records every batch that becomes durable.
fn open(dir: &Path, options: WalOptions) -> (Wal<String>, Seen) {
    let replay = replay(options.disk.as_ref(), dir, SequenceNumber::ZERO, |_, _| Ok(())).unwrap();
    replay.repair(options.disk.as_ref(), dir).unwrap();
    let seen = Seen::default();
    let sink = {
        let seen = Arc::clone(&seen);
        move |batches: Vec<(SequenceNumber, String)>| {
            seen.lock().extend(batches.into_iter().map(|(seq, text)| (seq.0, text)));
        }
    };
    let log = FileLog::open(dir, &replay, replay.last.next(), options).unwrap();
    (Wal::start(Box::new(log), Box::new(sink)).unwrap(), seen)
}

async fn append(wal: &Wal<String>, text: &str) -> crate::Result<SequenceNumber> {
    wal.append(payload(text), text.to_owned()).await
}

/// Records that a directory replays to, as text.
fn stored(dir: &Path, after: u64) -> (Vec<(u64, String)>, Replay) {
    let mut records = Vec::new();
    let replay = replay(&SystemDisk, dir, SequenceNumber(after), |seq, payload| {
        records.push((seq.0, String::from_utf8(payload).unwrap()));
        Ok(())
    })
    .unwrap();
    (records, replay)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    record::list(&SystemDisk, dir).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn texts(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    range.map(|i| (i, format!("batch {i}"))).collect()
}

async fn append_all(wal: &Wal<String>, range: std::ops::RangeInclusive<u64>) {
    for (seq, text) in texts(range) {
        assert_eq!(append(wal, &text).await.unwrap(), SequenceNumber(seq));
    }
}

/// A new file for every group.
fn small_files() -> WalOptions {
    WalOptions { file_bytes: 1, ..WalOptions::default() }
}

#[tokio::test]
async fn what_was_acknowledged_is_replayed_in_order_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    append_all(&open(dir.path(), WalOptions::default()).0, 1..=3).await;
    append_all(&open(dir.path(), WalOptions::default()).0, 4..=5).await;
    assert_eq!(stored(dir.path(), 0).0, texts(1..=5));
    assert_eq!(stored(dir.path(), 3).0, texts(4..=5));
    assert_eq!(files(dir.path()).len(), 2, "a file belongs to the process that created it");
}

#[tokio::test]
async fn the_sink_has_seen_a_batch_before_its_producer_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, seen) = open(dir.path(), WalOptions::default());
    append_all(&wal, 1..=2).await;
    assert_eq!(*seen.lock(), texts(1..=2));
}

#[tokio::test]
async fn many_appends_share_one_fsync() {
    let disk = SimulatedDisk::new(Path::new("/wal"), Chaos::new(1));
    let (wal, log) = simulated(&disk);
    let texts: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let all = futures::future::join_all(texts.iter().map(|text| append(&wal, text)));
    // All are queued before the log is polled for the first time.
    let results = tokio::select! { biased; results = all => results, () = log => Vec::new() };
    assert_eq!(results.len(), 100);
    assert!(results.into_iter().all(|r| r.is_ok()));
    assert_eq!(wal.stats().fsyncs, 4, "the file, its name, the directory's name, and 100 batches");
}

#[tokio::test]
async fn a_torn_tail_is_dropped_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    append_all(&open(dir.path(), WalOptions::default()).0, 1..=3).await;
    let path = files(dir.path()).remove(0);
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    let (records, replay) = stored(dir.path(), 0);
    assert_eq!(records, texts(1..=2));
    assert!(replay.torn_bytes() > 0 && replay.damage.is_empty());

    append_all(&open(dir.path(), WalOptions::default()).0, 3..=4).await;
    let (records, replay) = stored(dir.path(), 0);
    assert_eq!(records, texts(1..=4));
    assert!(replay.damage.is_empty(), "{:?}", replay.damage);
}

#[tokio::test]
async fn a_file_without_a_whole_header_or_record_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    append_all(&open(dir.path(), WalOptions::default()).0, 1..=1).await;
    for length in [0, 5, HEADER_BYTES] {
        let header = record::encode_header(SequenceNumber(2));
        std::fs::write(dir.path().join(record::file_name(SequenceNumber(2))), &header[..length]).unwrap();
        let (wal, _) = open(dir.path(), WalOptions::default());
        drop(wal);
        assert_eq!(files(dir.path()).len(), 1, "header of {length} bytes");
    }
    append_all(&open(dir.path(), WalOptions::default()).0, 2..=2).await;
    assert_eq!(stored(dir.path(), 0).0, texts(1..=2));
}

#[tokio::test]
async fn damage_costs_its_own_record_is_reported_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    append_all(&open(dir.path(), WalOptions::default()).0, 1..=5).await;
    let path = files(dir.path()).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let scan = record::scan(&bytes, SequenceNumber(1)).unwrap();
    bytes[scan.records[1].payload.start] ^= 1;
    // Damages the length of the fourth record: the fifth must still be found.
    bytes[scan.records[3].payload.start - 16] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();

    let (records, replay) = stored(dir.path(), 0);
    assert_eq!(records.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 3, 5]);
    let first = replay.damage[0].to_string();
    assert!(first.contains("expected record crc") && first.contains("found"), "{first}");
    assert_eq!(replay.damage[0].offset, scan.records[0].payload.end);
    assert!(
        replay.damage.iter().any(|d| d.why.contains("expected record 2, found 3")),
        "{:?}",
        replay.damage
    );

    let (wal, _) = open(dir.path(), small_files());
    append_all(&wal, 6..=6).await;
    wal.truncate(SequenceNumber(6)).await.unwrap();
    assert!(files(dir.path()).is_empty());
    assert_eq!(
        std::fs::read(path.with_extension("wal.damaged")).unwrap(),
        bytes,
        "damaged files are never deleted"
    );
}

#[tokio::test]
async fn truncation_deletes_only_files_that_are_committed_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path(), small_files());
    append_all(&wal, 1..=4).await;
    assert_eq!(files(dir.path()).len(), 4);
    wal.truncate(SequenceNumber(2)).await.unwrap();
    assert_eq!(stored(dir.path(), 0).0, texts(3..=4));
    assert!(stored(dir.path(), 1).1.has_gap_after(SequenceNumber(1)));
    assert!(!stored(dir.path(), 2).1.has_gap_after(SequenceNumber(2)));
    wal.truncate(SequenceNumber(4)).await.unwrap();
    assert!(files(dir.path()).is_empty(), "the active file too, once all of it is committed");
    append_all(&wal, 5..=5).await;
    assert_eq!(stored(dir.path(), 4).0, texts(5..=5));
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_accepted_any_more() {
    let (dir, chaos) = (Path::new("/wal"), Chaos::new(1));
    let options =
        WalOptions { disk: Arc::new(SimulatedDisk::new(dir, chaos.clone())), ..WalOptions::default() };
    let (wal, seen) = open(dir, options);
    append_all(&wal, 1..=1).await;
    chaos.set("fsync fails", 1);
    let error = append(&wal, "lost").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert!(error.message().contains("fsync fails"), "{error}");
    chaos.activate(false);
    assert_eq!(
        append(&wal, "more").await.unwrap_err().kind(),
        ErrorKind::Poisoned,
        "even if the disk is back"
    );
    assert_eq!(*seen.lock(), texts(1..=1), "what failed is not shown to queries");
}

/// Log on a simulated disk. It runs while the second of the pair is polled.
fn simulated(disk: &SimulatedDisk) -> (Wal<String>, futures::future::BoxFuture<'static, ()>) {
    let held = Arc::new(Mutex::new(None));
    let start = {
        let held = Arc::clone(&held);
        Arc::new(move |log| {
            *held.lock() = Some(log);
            Ok(None)
        })
    };
    let (wal, _) =
        open(Path::new("/wal"), WalOptions { disk: Arc::new(disk.clone()), start, ..WalOptions::default() });
    let log = held.lock().take().unwrap();
    (wal, log)
}

/// A full disk may store the first record of a group and not the second. Both are refused, so a crash
/// before the next fsync must not bring the first one back: its producer has retried it.
#[tokio::test]
async fn a_refused_append_does_not_come_to_light_after_a_crash() {
    for seed in 0..50 {
        let chaos = Chaos::new(seed);
        let disk = SimulatedDisk::new(Path::new("/wal"), chaos.clone());
        let (wal, log) = simulated(&disk);
        let work = async {
            append(&wal, "kept").await.unwrap();
            chaos.set("write fails: no space", 1);
            let refused = tokio::join!(append(&wal, "refused"), append(&wal, "refused too"));
            assert_eq!(refused.0.unwrap_err().kind(), ErrorKind::Unavailable);
            assert_eq!(refused.1.unwrap_err().kind(), ErrorKind::Unavailable);
            chaos.activate(false);
        };
        tokio::select! { biased; () = work => {}, () = log => {} }
        let mut left = Vec::new();
        replay(&disk.power_loss(), Path::new("/wal"), SequenceNumber::ZERO, |_, payload| {
            left.push(String::from_utf8(payload).unwrap());
            Ok(())
        })
        .unwrap();
        assert_eq!(left, ["kept"], "seed {seed}");
    }
}

/// A second process reads a record that the first one wrote and did not fsync. From then on the record must be
/// durable: if a later crash took it away, the records after it would seem to follow a lost one.
#[tokio::test]
async fn what_a_killed_process_left_is_durable_before_the_log_goes_on() {
    for seed in 0..50 {
        let chaos = Chaos::new(seed);
        let disk = SimulatedDisk::new(Path::new("/wal"), chaos.clone());
        let (wal, log) = simulated(&disk);
        let work = async {
            append(&wal, "batch 1").await.unwrap();
            chaos.set("fsync fails", 1);
            append(&wal, "batch 2").await.unwrap_err();
            chaos.activate(false);
        };
        tokio::select! { biased; () = work => {}, () = log => {} }
        let disk = disk.kill();
        let (wal, log) = simulated(&disk);
        tokio::select! { biased; () = append_all(&wal, 3..=3) => {}, () = log => {} }
        let mut left = Vec::new();
        let replay = replay(&disk.power_loss(), Path::new("/wal"), SequenceNumber::ZERO, |seq, _| {
            left.push(seq.0);
            Ok(())
        });
        assert_eq!((left, replay.unwrap().damage.len()), (vec![1, 2, 3], 0), "seed {seed}");
    }
}

#[tokio::test]
async fn another_version_is_refused_and_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut header = record::encode_header(SequenceNumber(1));
    header[8] = 9;
    let crc = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(dir.path().join(record::file_name(SequenceNumber(1))), header).unwrap();
    let error = replay(&SystemDisk, dir.path(), SequenceNumber::ZERO, |_, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("version 9"), "{error}");
}

#[derive(Debug, Clone)]
enum Harm {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index, usize),
    Splice(prop::sample::Index, Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Harm::Cut),
        (any::<prop::sample::Index>(), 0..8u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        (any::<prop::sample::Index>(), 1..100usize).prop_map(|(at, n)| Harm::Zero(at, n)),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..50))
            .prop_map(|(at, b)| Harm::Splice(at, b)),
    ]
}

fn apply(bytes: &mut Vec<u8>, harm: &Harm) {
    if bytes.is_empty() {
        return;
    }
    match harm {
        Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Harm::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Harm::Zero(at, n) => {
            let at = at.index(bytes.len());
            let end = (at + n).min(bytes.len());
            bytes[at..end].fill(0);
        }
        Harm::Splice(at, insert) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, insert.iter().copied());
        }
    }
}

proptest! {
    /// Whatever happens to a file: no panic, no record that was not written, and every untouched record is
    /// found.
    #[test]
    fn harm_never_invents_records(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..12),
        harms in prop::collection::vec(harm(), 1..4),
    ) {
        let mut file = record::encode_header(SequenceNumber(7)).to_vec();
        for (i, payload) in payloads.iter().enumerate() {
            record::encode_record(&mut file, SequenceNumber(7 + i as u64), payload);
        }
        let whole = record::scan(&file, SequenceNumber(7)).unwrap();
        prop_assert_eq!(whole.records.len(), payloads.len());
        prop_assert!(whole.bad.is_empty());

        for harm in &harms {
            apply(&mut file, harm);
        }
        // A harmed header may ask for another version; that needs a valid checksum.
        let scan = record::scan(&file, SequenceNumber(7)).unwrap();
        let mut last = 6;
        for found in &scan.records {
            prop_assert!(found.seq.0 > last);
            last = found.seq.0;
            let written = payloads.get((found.seq.0 - 7) as usize);
            prop_assert_eq!(written.map(Vec::as_slice), Some(&file[found.payload.clone()]));
        }
        let mut at = 0;
        let starts = scan.records.iter().map(|r| (r.payload.start - 20, r.payload.end));
        let bad = scan.bad.iter().map(|b| (b.bytes.start, b.bytes.end));
        let mut pieces: Vec<_> = starts.chain(bad).collect();
        pieces.sort_unstable();
        for (start, end) in pieces {
            prop_assert!(start == at || (at == 0 && start == HEADER_BYTES), "a hole before {start}");
            at = end;
        }
        prop_assert!(at == file.len() || file.len() == HEADER_BYTES, "every byte is accounted for");
    }

    #[test]
    fn one_flipped_bit_costs_at_most_one_record(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..12),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut file = record::encode_header(SequenceNumber(1)).to_vec();
        for (i, payload) in payloads.iter().enumerate() {
            record::encode_record(&mut file, SequenceNumber(1 + i as u64), payload);
        }
        apply(&mut file, &Harm::Flip(at, bit));
        let scan = record::scan(&file, SequenceNumber(1)).unwrap();
        prop_assert!(scan.records.len() + 1 >= payloads.len());
        prop_assert_eq!(scan.bad.len(), 1);
    }
}
