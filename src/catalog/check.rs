//! Is the catalog complete and consistent?
//!
//! The check reads every commit and checkpoint, even those that opening a database does not need. The commits
//! between two checkpoints must lead from one to the other. Damaged objects are skipped, so that the rest is
//! still checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::CatalogSnapshot;
use super::checkpoint::Checkpoint;
use super::commit::{self, Commit};
use super::log::{
    CHECKPOINT, COMMITS_KEPT, Head, checkpoints, head_of, log_path, parse_commit, read,
    read_whole_checkpoint, version_of,
};
use crate::error::{ErrorKind, Problem, Result};

/// Most missing commits in a row that are listed one by one.
const MISSING_LISTED_MAX: usize = 100;
/// Largest valid version.
const VERSION_MAX: u64 = i64::MAX as u64;

/// Result of checking a catalog.
#[derive(Debug, Default)]
pub struct CheckedCatalog {
    /// Problems found.
    pub problems: Vec<Problem>,
    /// Remarks that are not problems.
    pub notes: Vec<String>,
    /// Number of commits and checkpoints.
    pub objects: u64,
    /// Total size of these objects.
    pub bytes: u64,
    /// Newest state, as far as it can be read.
    pub snapshot: Arc<CatalogSnapshot>,
    /// Number of attribute keys in it.
    pub keys: usize,
}

/// Checks the whole catalog. A writer may be active meanwhile.
///
/// Fails if the store cannot be listed.
pub async fn check(store: &Arc<dyn ObjectStore>) -> Result<CheckedCatalog> {
    let mut checked = CheckedCatalog::default();
    // In this order: a writer deletes commits after the checkpoints that needed them.
    let commits = checked.commits(store).await?;
    let checkpoints = checked.checkpoints(store).await?;
    let kept_from = checkpoints.keys().next().map_or(1, |oldest| oldest.saturating_sub(COMMITS_KEPT) + 1);
    // A backup has no commits before its version.
    let begins = checkpoints.values().flatten().map(|head| head.snapshot.begins).max().unwrap_or(0);
    let needed_from = kept_from.max(begins + 1);
    let newest = commits.keys().chain(checkpoints.keys()).max().copied().unwrap_or(0);
    // A writer may be deleting earlier commits.
    let mut next = needed_from;
    for version in commits.keys().copied().filter(|version| *version >= needed_from).chain([newest + 1]) {
        checked.missing(next..version);
        next = version + 1;
    }
    checked.snapshot = checked.replay(&commits, &checkpoints, newest);
    Ok(checked)
}

/// Commits by version; `None` for one that cannot be read.
type Commits = BTreeMap<u64, Option<Commit>>;
type Checkpoints = BTreeMap<u64, Option<Head>>;

impl CheckedCatalog {
    /// Reports missing commits. Only the first are listed, as a wrong file name can make very many seem missing.
    fn missing(&mut self, versions: Range<u64>) {
        for version in versions.clone().take(MISSING_LISTED_MAX) {
            self.problems.push(Problem::new(log_path(version), "the commit is missing"));
        }
        let rest = (versions.end.saturating_sub(versions.start)).saturating_sub(MISSING_LISTED_MAX as u64);
        if rest > 0 {
            let what = format!("the {rest} commits before this version are missing too");
            self.problems.push(Problem::new(log_path(versions.end), what));
        }
    }

    async fn commits(&mut self, store: &Arc<dyn ObjectStore>) -> Result<Commits> {
        let objects: Vec<ObjectMeta> = store.list(Some(&Path::from("catalog/log"))).try_collect().await?;
        let mut commits = Commits::new();
        let mut unsealed = Vec::new();
        for ObjectMeta { location: path, .. } in objects {
            let named = |version: &u64| *version <= VERSION_MAX && log_path(*version) == path;
            let Some(version) = version_of(&path).filter(named) else {
                self.notes.push(format!("{path} is not named like a commit, so it is never read"));
                continue;
            };
            let json = match read(store, &path).await {
                Ok(Some(json)) => json,
                // A writer has deleted it meanwhile.
                Ok(None) => continue,
                Err(error) => {
                    self.problems.push(Problem::unreadable(&path, &error));
                    commits.insert(version, None);
                    continue;
                }
            };
            (self.objects, self.bytes) = (self.objects + 1, self.bytes + json.len() as u64);
            if commit::checksums(&json).is_none() {
                unsealed.push(path.to_string());
            }
            let commit = parse_commit(&path, &json);
            self.problems.extend(commit.as_ref().err().map(|error| Problem::unreadable(&path, error)));
            commits.insert(version, commit.ok());
        }
        unsealed.sort();
        if let [first, ..] = unsealed.as_slice() {
            let count = unsealed.len();
            self.notes.push(format!(
                "{count} commits have no checksum, since an older version wrote them; the first is {first}"
            ));
        }
        Ok(commits)
    }

    async fn checkpoints(&mut self, store: &Arc<dyn ObjectStore>) -> Result<Checkpoints> {
        let mut heads = Checkpoints::new();
        for object in checkpoints(store).await? {
            let path = &object.location;
            let Some(version) = version_of(path).filter(|version| *version <= VERSION_MAX) else { continue };
            let head = if path.as_ref().ends_with(CHECKPOINT) {
                match Checkpoint::open(store, path.as_ref(), object.size).await {
                    Ok((checkpoint, head)) => {
                        let damage = checkpoint.damage().await;
                        self.problems.extend(damage.iter().map(|error| Problem::unreadable(path, error)));
                        Ok(head_of(checkpoint, head))
                    }
                    Err(error) => Err(error),
                }
            } else {
                read_whole_checkpoint(store, path).await
            };
            (self.objects, self.bytes) = (self.objects + 1, self.bytes + object.size);
            match head {
                Ok(head) => {
                    let found = head.snapshot.version;
                    if found != version {
                        self.problems.push(Problem::differs(path, "its version", version, found));
                    }
                    heads.insert(version, Some(head).filter(|_| found == version));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    self.problems.push(Problem::unreadable(path, &error));
                    heads.insert(version, None);
                }
            }
        }
        Ok(heads)
    }

    /// Replays all versions, and compares the state that the commits lead to with each checkpoint.
    fn replay(&mut self, commits: &Commits, checkpoints: &Checkpoints, newest: u64) -> Arc<CatalogSnapshot> {
        // Starts at the very first commit if it exists, else at the oldest checkpoint.
        let readable = || checkpoints.iter().filter_map(|(version, head)| Some((*version, head.as_ref()?)));
        let (mut head, from) = match (commits.contains_key(&1), readable().next()) {
            (false, Some((version, head))) => (head.clone(), version + 1),
            _ => (Head::default(), 1),
        };
        let mut broken = false;
        let known: BTreeSet<u64> = commits.keys().chain(checkpoints.keys()).copied().collect();
        let mut next = from;
        for version in known.range(from..=newest.max(from)).copied() {
            broken |= version != next;
            next = version + 1;
            let mut after = head.clone();
            match commits.get(&version).and_then(Option::as_ref).map(|commit| after.apply(commit)) {
                Some(Ok(())) => head = after,
                Some(Err(error)) if !broken => {
                    broken = true;
                    self.problems.push(Problem::unreadable(log_path(version), &error));
                }
                // The missing commit has been reported. Errors that follow from it are not reported.
                None | Some(Err(_)) => broken = true,
            }
            Arc::make_mut(&mut head.snapshot).version = version;
            let Some(Some(checkpoint)) = checkpoints.get(&version) else { continue };
            if !broken && !agree(&head, checkpoint) {
                let path = Path::from(format!("catalog/checkpoint/{version:020}{CHECKPOINT}"));
                self.problems.push(Problem::new(path, "it differs from the state that its commits lead to"));
            }
            if broken {
                head = checkpoint.clone();
                broken = false;
            }
        }
        self.keys = head.keys.len();
        head.snapshot
    }
}

fn agree(a: &Head, b: &Head) -> bool {
    let runs = |head: &Head| {
        let mut runs = head.snapshot.runs.runs().to_vec();
        runs.sort_by_key(|run| run.id);
        runs
    };
    a.snapshot.segments == b.snapshot.segments
        && a.snapshot.wal_watermark == b.snapshot.wal_watermark
        && a.keys == b.keys
        && runs(a) == runs(b)
}
