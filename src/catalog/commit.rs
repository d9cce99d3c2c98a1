//! What does a commit contain, and how does it change a snapshot?
//!
//! The code is pure: the [module](super) has the grammar, [`log`](super::log) reads and writes commits.

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
/// Version of commits that delete events: a program that does not know masks would show them.
pub(super) const FORMAT_WITH_MASKS: u32 = 2;
/// Version of commits in a store: a program that does not know claims must not commit there.
pub(super) const FORMAT_WITH_WRITER: u32 = 3;
/// Time and number for which messages are remembered. The settings' limits must be below these.
const DELIVERIES_KEPT_NS: i64 = 3600 * 1_000_000_000;
const DELIVERIES_KEPT: usize = 200_000;
/// Number of deletions remembered.
const DELETIONS_KEPT: usize = 10_000;
/// Time for which removed segments are remembered: a day, far longer than any query runs.
const REMOVED_KEPT_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Changes that a commit makes.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Segments to add.
    pub add: Vec<NewSegment>,
    /// Segments to remove.
    pub remove: Vec<SegmentId>,
    /// Runs to add.
    pub add_runs: Vec<Arc<RunMeta>>,
    /// Runs to remove.
    pub remove_runs: Vec<RunId>,
    /// Keys of the added events.
    pub keys: Keys,
    /// New masks of segments that stay; they replace earlier ones.
    pub masks: Vec<(SegmentId, Mask)>,
    /// Deletion on request that the masks belong to.
    pub deletion: Option<Deletion>,
    /// Messages whose events are in the added segments.
    pub deliveries: Vec<DeliveryId>,
    /// Batches of the log that are now in segments.
    pub wal: Option<WalRange>,
    /// New claim: its writer may commit from now on.
    pub claim: Option<Claim>,
    /// True if the current claim is released: its writer has ended.
    pub release: bool,
    /// Segments that must be in the catalog unchanged; otherwise the commit fails with
    /// [`Conflict`](ErrorKind::Conflict).
    pub unchanged: Vec<Arc<SegmentMeta>>,
}

impl Change {
    /// Makes a commit of this change; `writer` is set in a store.
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

/// Range of batches above `from`, up to and including `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRange {
    /// Watermark before the commit.
    pub from: SequenceNumber,
    /// Watermark after the commit.
    pub through: SequenceNumber,
}

/// Attribute keys by physical name, each with the types of its values.
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
    /// Returns the keys of these batches, with the types of their values.
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

    /// Returns all keys of a dictionary.
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
            // A name that is not an attribute can only come from a newer program. Reading continues without it.
            let Some(key) = AttributeKey::from_physical_name(name) else { continue };
            dictionary.insert_types(&key, TypeSet::from_bits(*types));
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys and types that `known` lacks.
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
    /// Identifies the commit when the response to its put was lost.
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
    /// Writer of the commit, in a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<Claim>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) release: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// A checkpoint of the first format: everything in one JSON document.
#[derive(Debug, Deserialize)]
pub(super) struct WholeCheckpoint {
    pub(super) version: u64,
    pub(super) wal: SequenceNumber,
    pub(super) segments: Vec<NewSegment>,
    pub(super) keys: Keys,
}

/// Parses a document of one of the formats `expected`. It reads the format alone first, since a newer document may
/// have other fields.
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

/// Refuses implausible sizes and sequence numbers, so that later arithmetic cannot overflow.
pub(super) fn check<'a>(
    path: impl std::fmt::Display,
    mut segments: impl Iterator<Item = &'a SegmentMeta>,
    wal: Option<SequenceNumber>,
) -> Result<()> {
    if let Some(segment) = segments.find(|segment| !segment.is_plausible()) {
        return Err(Error::corrupt(format!(
            "{path}: the metadata of a segment is not plausible: {segment:?}"
        )));
    }
    match wal.filter(|wal| *wal > SequenceNumber::MAX) {
        Some(wal) => {
            Err(Error::corrupt(format!("{path}: the watermark {wal} exceeds the largest batch number")))
        }
        None => Ok(()),
    }
}

/// Bytes before the checksum of a document.
const CHECKSUM: &[u8] = b",\"crc\":";

/// Appends the field `crc`, the checksum of all bytes before it, to a JSON object that has fields.
pub(super) fn seal(mut json: Vec<u8>) -> Vec<u8> {
    if json.pop_if(|last| *last == b'}').is_some() {
        let crc = crc32c::crc32c(&json);
        json.extend_from_slice(CHECKSUM);
        json.extend_from_slice(format!("{crc}}}").as_bytes());
    }
    json
}

/// Checksum in a document, and checksum of its bytes; `None` for a document of an old version without checksum.
pub(super) fn checksums(json: &[u8]) -> Option<(u32, u32)> {
    let at = json.windows(CHECKSUM.len()).rposition(|window| window == CHECKSUM)?;
    let digits = json[at + CHECKSUM.len()..].strip_suffix(b"}")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A number too large for a checksum counts as a wrong one.
    let found = std::str::from_utf8(digits).ok()?.parse().unwrap_or(!crc32c::crc32c(&json[..at]));
    Some((found, crc32c::crc32c(&json[..at])))
}

impl Commit {
    /// Applies this commit to `snapshot`.
    ///
    /// Fails with [`ErrorKind::Conflict`] if a removed segment or run is missing, or the watermark is not at
    /// `wal.from`; `snapshot` is then unusable.
    pub(super) fn apply(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        snapshot.version = snapshot.version.saturating_add(1);
        self.change_claim(snapshot);
        self.advance_watermark(snapshot)?;
        self.remove_segments(snapshot)?;
        self.set_masks(snapshot)?;
        self.remember_deliveries(snapshot);
        self.remember_deletion(snapshot);
        self.change_runs(snapshot)?;
        for segment in &self.add {
            snapshot.insert(&segment.meta);
        }
        snapshot.columns.change(&self.add, &self.remove);
        Ok(())
    }

    fn change_claim(&self, snapshot: &mut CatalogSnapshot) {
        if let Some(claim) = &self.claim {
            snapshot.claim = Some(Arc::new(claim.clone()));
        }
        if let Some(claim) = snapshot.claim.as_mut().filter(|_| self.release) {
            Arc::make_mut(claim).released = true;
        }
    }

    fn advance_watermark(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        let Some(WalRange { from, through }) = self.wal else { return Ok(()) };
        if through < from {
            return Err(Error::corrupt(format!("a commit has the batches after {from} up to {through}")));
        }
        let at = std::mem::replace(&mut snapshot.wal_watermark, through);
        if from != at {
            let what = format!("the commit has the batches after {from}, but the watermark is at {at}");
            return Err(conflict(what));
        }
        Ok(())
    }

    /// Removes segments, remembers their objects, and forgets those removed long ago.
    fn remove_segments(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        if !self.remove.is_empty() {
            let gone: HashSet<_> = self.remove.iter().collect();
            let removed: Vec<_> = snapshot.segments.extract_if(.., |s| gone.contains(&s.id)).collect();
            if removed.len() != gone.len() {
                return Err(conflict("a segment to be removed is not in the catalog"));
            }
            let at_ns = self.at_ns;
            let known = Arc::make_mut(&mut snapshot.removed);
            let paths = removed.iter().flat_map(|segment| [Some(segment.path()), segment.mask_path()]);
            known.extend(paths.flatten().map(|path| Removed { path, at_ns }));
        }
        if !self.remove.is_empty() || !self.masks.is_empty() {
            let oldest_ns = self.at_ns.saturating_sub(REMOVED_KEPT_NS);
            Arc::make_mut(&mut snapshot.removed).retain(|removed| removed.at_ns > oldest_ns);
        }
        Ok(())
    }

    fn set_masks(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        for (id, mask) in &self.masks {
            let Some(segment) = snapshot.segments.iter_mut().find(|segment| segment.id == *id) else {
                return Err(conflict("a segment to be masked is not in the catalog"));
            };
            // A query that started earlier still reads the old mask, so its object is kept like removed ones.
            let removed = Arc::make_mut(&mut snapshot.removed);
            removed.extend(segment.mask_path().map(|path| Removed { path, at_ns: self.at_ns }));
            *segment = Arc::new(SegmentMeta { mask: Some(*mask), ..segment.as_ref().clone() });
        }
        Ok(())
    }

    /// Remembers the messages whose events are added, and forgets old ones.
    fn remember_deliveries(&self, snapshot: &mut CatalogSnapshot) {
        if self.deliveries.is_empty() {
            return;
        }
        let deliveries = Arc::make_mut(&mut snapshot.deliveries);
        deliveries.push(Delivered { at_ns: self.at_ns, ids: self.deliveries.as_slice().into() });
        let oldest_ns = self.at_ns.saturating_sub(DELIVERIES_KEPT_NS);
        deliveries.retain(|delivered| delivered.at_ns > oldest_ns);
        while deliveries.iter().map(|delivered| delivered.ids.len()).sum::<usize>() > DELIVERIES_KEPT {
            deliveries.remove(0);
        }
    }

    fn remember_deletion(&self, snapshot: &mut CatalogSnapshot) {
        if let Some(deletion) = &self.deletion {
            let deletions = Arc::make_mut(&mut snapshot.deletions);
            deletions.push(deletion.clone());
            let forgotten = deletions.len().saturating_sub(DELETIONS_KEPT);
            deletions.drain(..forgotten);
        }
    }

    fn change_runs(&self, snapshot: &mut CatalogSnapshot) -> Result<()> {
        if self.add_runs.is_empty() && self.remove_runs.is_empty() {
            return Ok(());
        }
        let mut runs = snapshot.runs.runs().to_vec();
        runs.retain(|run| !self.remove_runs.contains(&run.id));
        if runs.len() + self.remove_runs.len() != snapshot.runs.len() {
            return Err(conflict("a run to be removed is not in the catalog"));
        }
        runs.extend(self.add_runs.iter().cloned().map(Arc::new));
        snapshot.runs = Arc::new(RunSet::new(runs));
        Ok(())
    }
}

fn conflict(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Conflict, what)
}
