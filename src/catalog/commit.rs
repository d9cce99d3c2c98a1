//! What does a commit say, and what does it do to a snapshot?
//!
//! Pure: the [module](super) has the grammar, [`log`](super::log) reads and writes it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CatalogSnapshot, Claim, Deletion, Delivered, Removed};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{AttributeKey, EventBatch, KeyDictionary, TypeSet};
use crate::index::{RunId, RunMeta, RunSet};
use crate::segment::{Mask, NewSegment, SegmentId, SegmentMeta};
use crate::wal::{DeliveryId, SequenceNumber};

/// Version of the format of commits.
pub(super) const FORMAT: u32 = 1;
/// Version of commits that delete events: who does not know of masks must not show them.
pub(super) const FORMAT_WITH_MASKS: u32 = 2;
/// Version of commits in a store: who does not know of claims must not commit there.
pub(super) const FORMAT_WITH_WRITER: u32 = 3;
/// How long messages are remembered, and how many: what one may set must be less.
const DELIVERIES_KEPT_NS: i64 = 3600 * 1_000_000_000;
const DELIVERIES_KEPT: usize = 200_000;
/// Deletions that are remembered.
const DELETIONS_KEPT: usize = 10_000;
/// How long removed segments are remembered: a day, far longer than any query runs.
const REMOVED_KEPT_NS: i64 = 24 * 3600 * 1_000_000_000;

/// What a commit shall change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Segments that now exist.
    pub add: Vec<NewSegment>,
    /// Segments that no longer do.
    pub remove: Vec<SegmentId>,
    /// Runs that now exist.
    pub add_runs: Vec<Arc<RunMeta>>,
    /// Runs that no longer do.
    pub remove_runs: Vec<RunId>,
    /// Keys of the added events.
    pub keys: Keys,
    /// Masks of segments that stay, in place of those that they had.
    pub masks: Vec<(SegmentId, Mask)>,
    /// What the masks are for.
    pub deletion: Option<Deletion>,
    /// Messages whose events are in the added segments.
    pub deliveries: Vec<DeliveryId>,
    /// How far the log is now in segments.
    pub wal: Option<WalRange>,
    /// Who may commit from now on.
    pub claim: Option<Claim>,
    /// Whether whoever has claimed writes no more.
    pub release: bool,
    /// Segments that must be in the catalog as they are here; else this is a
    /// [`Conflict`](ErrorKind::Conflict).
    pub unchanged: Vec<Arc<SegmentMeta>>,
}

impl Change {
    /// The commit by `writer`, where that matters, that makes this change.
    pub(super) fn at(&self, at_ns: i64, writer: Option<String>) -> Commit {
        let deletes = !self.masks.is_empty() || self.deletion.is_some();
        let format = match (writer.is_some() || self.claim.is_some(), deletes) {
            (true, _) => FORMAT_WITH_WRITER,
            (false, true) => FORMAT_WITH_MASKS,
            (false, false) => FORMAT,
        };
        Commit {
            format,
            id: Uuid::new_v4().simple().to_string(),
            at_ns,
            add: self.add.clone(),
            remove: self.remove.clone(),
            add_runs: self.add_runs.iter().map(|run| run.as_ref().clone()).collect(),
            remove_runs: self.remove_runs.clone(),
            keys: self.keys.clone(),
            masks: self.masks.clone(),
            deletion: self.deletion.clone(),
            deliveries: self.deliveries.clone(),
            wal: self.wal,
            writer,
            claim: self.claim.clone(),
            release: self.release,
        }
    }
}

/// The batches above `from`, up to and including `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRange {
    /// The watermark before.
    pub from: SequenceNumber,
    /// The watermark after.
    pub through: SequenceNumber,
}

/// Attribute keys by physical name, with the types that were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, u8)>", into = "Vec<(String, u8)>")]
pub struct Keys(BTreeMap<String, u8>);

impl From<Vec<(String, u8)>> for Keys {
    fn from(pairs: Vec<(String, u8)>) -> Self {
        let mut keys = Self::default();
        for (name, types) in pairs {
            keys.add(name, types);
        }
        keys
    }
}

impl From<Keys> for Vec<(String, u8)> {
    fn from(keys: Keys) -> Self {
        keys.0.into_iter().collect()
    }
}

impl Keys {
    /// The keys of these batches.
    pub fn of(batches: &[Arc<EventBatch>]) -> Self {
        let mut seen: HashMap<&AttributeKey, TypeSet> = HashMap::new();
        for column in batches.iter().flat_map(|b| b.attributes()) {
            let types = seen.entry(column.key()).or_default();
            *types = types.union(column.types());
        }
        let mut keys = Self::default();
        for (key, types) in seen.into_iter().filter(|(_, types)| !types.is_empty()) {
            keys.add(key.physical_name(), types.bits());
        }
        keys
    }

    /// All keys of a dictionary.
    pub fn of_dictionary(dictionary: &KeyDictionary) -> Self {
        let mut keys = Self::default();
        for (key, types) in dictionary.all() {
            keys.add(key.physical_name(), types.bits());
        }
        keys
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        for (name, types) in other.0 {
            self.add(name, types);
        }
    }

    /// Puts all keys into `dictionary`.
    pub fn fill(&self, dictionary: &KeyDictionary) {
        for (name, types) in &self.0 {
            // A name that is no attribute can come from a newer program only; events are read all the same.
            let Some(key) = AttributeKey::from_physical_name(name) else { continue };
            dictionary.insert_types(&key, TypeSet::from_bits(*types));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `self` has and `known` has not.
    pub(super) fn new_to(&self, known: &Self) -> Self {
        let known = |name: &String| known.0.get(name).copied().unwrap_or(0);
        let missing = self.0.iter().map(|(name, types)| (name.clone(), types & !known(name)));
        Self(missing.filter(|(_, types)| *types != 0).collect())
    }

    fn add(&mut self, name: String, types: u8) {
        *self.0.entry(name).or_default() |= types;
    }
}

/// A commit as stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) format: u32,
    /// Tells whose commit it is, when an answer got lost.
    pub(super) id: String,
    pub(super) at_ns: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) add: Vec<NewSegment>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) remove: Vec<SegmentId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) add_runs: Vec<RunMeta>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) remove_runs: Vec<RunId>,
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub(super) keys: Keys,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) masks: Vec<(SegmentId, Mask)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion: Option<Deletion>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deliveries: Vec<DeliveryId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wal: Option<WalRange>,
    /// Whose commit it is, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<Claim>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) release: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// A checkpoint as the first format had it: everything in one document.
#[derive(Debug, Deserialize)]
pub(super) struct WholeCheckpoint {
    pub(super) version: u64,
    pub(super) wal: SequenceNumber,
    pub(super) segments: Vec<NewSegment>,
    pub(super) keys: Keys,
}

/// Reads a document of one of the formats `expected`, after looking at the format alone: a newer one may look
/// different.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    path: &str,
    json: &'a [u8],
    expected: RangeInclusive<u32>,
) -> Result<T> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let corrupt = |e: serde_json::Error| {
        Error::corrupt(format!(
            "{path} is not a catalog object, at line {} column {}: {e}",
            e.line(),
            e.column()
        ))
    };
    let Format { format } = serde_json::from_slice(json).map_err(corrupt)?;
    if !expected.contains(&format) {
        return Err(Error::invalid(format!(
            "{path} has catalog format {format}, this program reads {}: use the Broadloom that wrote it",
            expected.end()
        )));
    }
    serde_json::from_slice(json).map_err(corrupt)
}

/// Refuses what no commit ever said, so that nobody calculates with it.
pub(super) fn check<'a>(
    path: impl std::fmt::Display,
    mut segments: impl Iterator<Item = &'a SegmentMeta>,
    wal: Option<SequenceNumber>,
) -> Result<()> {
    if let Some(segment) = segments.find(|segment| !segment.is_plausible()) {
        return Err(Error::corrupt(format!("{path}: no segment is like {segment:?}")));
    }
    match wal.filter(|wal| *wal > SequenceNumber::MAX) {
        Some(wal) => Err(Error::corrupt(format!("{path}: the log has no batch {wal}"))),
        None => Ok(()),
    }
}

/// What precedes the checksum of a document.
const CHECKSUM: &[u8] = b",\"crc\":";

/// Puts the checksum of all that is before it at the end of a JSON object with fields.
pub(super) fn seal(mut json: Vec<u8>) -> Vec<u8> {
    if json.pop_if(|last| *last == b'}').is_some() {
        let crc = crc32c::crc32c(&json);
        json.extend_from_slice(CHECKSUM);
        json.extend_from_slice(format!("{crc}}}").as_bytes());
    }
    json
}

/// The checksum that a document has, and the one that it should have; none when it was written before there
/// were any.
pub(super) fn checksums(json: &[u8]) -> Option<(u32, u32)> {
    let at = json.windows(CHECKSUM.len()).rposition(|window| window == CHECKSUM)?;
    let digits = json[at + CHECKSUM.len()..].strip_suffix(b"}")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than a checksum has are no checksum that could be right.
    let found = std::str::from_utf8(digits).ok()?.parse().unwrap_or(!crc32c::crc32c(&json[..at]));
    Some((found, crc32c::crc32c(&json[..at])))
}

impl Commit {
    /// Makes `snapshot` the one after this commit.
    ///
    /// Fails with [`ErrorKind::Conflict`] when a removed segment or run is not there or the watermark is
    /// elsewhere; `snapshot` is then of no use.
    pub(super) fn apply(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        let conflict = |what: String| Error::new(ErrorKind::Conflict, what);
        snapshot.version = snapshot.version.saturating_add(1);
        if let Some(claim) = &self.claim {
            snapshot.claim = Some(Arc::new(claim.clone()));
        }
        if let Some(claim) = snapshot.claim.as_mut().filter(|_| self.release) {
            Arc::make_mut(claim).released = true;
        }
        if let Some(WalRange { from, through }) = self.wal {
            if through < from {
                return Err(Error::corrupt(format!("a commit has the batches after {from} up to {through}")));
            }
            let at = std::mem::replace(&mut snapshot.wal_watermark, through);
            if from != at {
                return Err(conflict(format!(
                    "commit of the batches after {from}, but segments have all up to {at}"
                )));
            }
        }
        if !self.remove.is_empty() {
            let gone: HashSet<_> = self.remove.iter().collect();
            let removed: Vec<_> = snapshot.segments.extract_if(.., |s| gone.contains(&s.id)).collect();
            if removed.len() != gone.len() {
                return Err(conflict("a segment to be removed is not in the catalog".to_owned()));
            }
            let at_ns = self.at_ns;
            let known = Arc::make_mut(&mut snapshot.removed);
            known.retain(|removed| removed.at_ns > at_ns.saturating_sub(REMOVED_KEPT_NS));
            let paths = removed.iter().flat_map(|segment| [Some(segment.path()), segment.mask_path()]);
            known.extend(paths.flatten().map(|path| Removed { path, at_ns }));
        }
        for (id, mask) in &self.masks {
            let Some(segment) = snapshot.segments.iter_mut().find(|segment| segment.id == *id) else {
                return Err(conflict("a segment to be masked is not in the catalog".to_owned()));
            };
            // A change even when nothing is removed: who reads the segment as it was holds another one now.
            let removed = Arc::make_mut(&mut snapshot.removed);
            removed.extend(segment.mask_path().map(|path| Removed { path, at_ns: self.at_ns }));
            *segment = Arc::new(SegmentMeta { mask: Some(*mask), ..segment.as_ref().clone() });
        }
        if !self.deliveries.is_empty() {
            let deliveries = Arc::make_mut(&mut snapshot.deliveries);
            deliveries.push(Delivered { at_ns: self.at_ns, ids: self.deliveries.as_slice().into() });
            let oldest_ns = self.at_ns.saturating_sub(DELIVERIES_KEPT_NS);
            deliveries.retain(|delivered| delivered.at_ns > oldest_ns);
            while deliveries.iter().map(|delivered| delivered.ids.len()).sum::<usize>() > DELIVERIES_KEPT {
                deliveries.remove(0);
            }
        }
        if let Some(deletion) = &self.deletion {
            let deletions = Arc::make_mut(&mut snapshot.deletions);
            deletions.push(deletion.clone());
            let forgotten = deletions.len().saturating_sub(DELETIONS_KEPT);
            deletions.drain(..forgotten);
        }
        if !self.add_runs.is_empty() || !self.remove_runs.is_empty() {
            let mut runs = snapshot.runs.runs().to_vec();
            runs.retain(|run| !self.remove_runs.contains(&run.id));
            if runs.len() + self.remove_runs.len() != snapshot.runs.len() {
                return Err(conflict("a run to be removed is not in the catalog".to_owned()));
            }
            runs.extend(self.add_runs.iter().cloned().map(Arc::new));
            snapshot.runs = Arc::new(RunSet::new(runs));
        }
        for segment in &self.add {
            snapshot.insert(&segment.meta);
        }
        snapshot.columns.change(&self.add, &self.remove);
        Ok(())
    }
}
