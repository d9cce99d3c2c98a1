//! Which keys are valid now?
//!
//! The file is looked at again when a second has passed since the last time, so that new keys and revoked ones count
//! soon, and no request waits for it long. While it cannot be read, the keys of the last time count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::file::{KeyFile, KeyRecord};
use super::identity::Identity;
use super::key::Key;
use crate::error::{ErrorKind, Result};

/// Time for which the file is not looked at again.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Keys by their ids.
type Keys = Arc<HashMap<String, KeyRecord>>;

/// Keys of a file; the default has no file and needs no keys.
#[derive(Debug, Default)]
pub(in crate::server) struct Ring(Option<Watched>);

#[derive(Debug)]
struct Watched {
    file: KeyFile,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    stamp: Option<Stamp>,
    /// `None` until there was a file.
    keys: Option<Keys>,
}

/// Properties that change with the content of a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Ring {
    /// The keys of `file`, which must exist. Fails if it cannot be read.
    pub(in crate::server) fn of(file: KeyFile) -> Result<Self> {
        let keys = by_id(file.read()?);
        Ok(Self::watching(file, Some(keys)))
    }

    /// The keys of `file` from the time when it is made. Before that, no keys are needed. Fails if there is a file that
    /// cannot be read.
    pub(in crate::server) fn once_made(file: KeyFile) -> Result<Self> {
        match file.read() {
            Ok(keys) => Ok(Self::watching(file, Some(by_id(keys)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::watching(file, None)),
            Err(error) => Err(error),
        }
    }

    fn watching(file: KeyFile, keys: Option<Keys>) -> Self {
        let seen = Seen { at: Instant::now(), stamp: stamp(&file), keys };
        Self(Some(Watched { file, seen: Mutex::new(seen) }))
    }

    /// True if clients need a key. Once that is so, it stays so.
    pub(in crate::server) fn is_on(&self) -> bool {
        self.keys().is_some()
    }

    /// Identity of the holder of a key; `None` if it is not valid at `now`.
    pub(super) fn identity(&self, key: &str, now: SystemTime) -> Option<Identity> {
        let key = Key::parse(key)?;
        let keys = self.keys()?;
        valid(keys.get(key.id).filter(|record| record.fits(&key)), now)
    }

    /// Identity of the holder of the key with this id, who has proven to have it before.
    pub(super) fn identity_of(&self, id: &str, now: SystemTime) -> Option<Identity> {
        valid(self.keys()?.get(id), now)
    }

    fn keys(&self) -> Option<Keys> {
        let watched = self.0.as_ref()?;
        let mut seen = watched.seen.lock();
        if seen.at.elapsed() >= FRESH_FOR {
            watched.look(&mut seen);
        }
        seen.keys.clone()
    }
}

impl Watched {
    fn look(&self, seen: &mut Seen) {
        seen.at = Instant::now();
        let stamp = stamp(&self.file);
        if stamp == seen.stamp {
            return;
        }
        match self.file.read() {
            Ok(keys) => {
                tracing::info!(file = %self.file.path().display(), keys = keys.len(), "read the keys");
                seen.keys = Some(by_id(keys));
            }
            Err(error) => {
                let error = error.chain();
                tracing::error!(error, "the keys cannot be read; those read before stay valid");
            }
        }
        seen.stamp = stamp;
    }
}

fn valid(record: Option<&KeyRecord>, now: SystemTime) -> Option<Identity> {
    let record = record.filter(|record| record.is_valid(now))?;
    Some(Identity::of_key(&record.name, record.rights()))
}

fn by_id(keys: Vec<KeyRecord>) -> Keys {
    Arc::new(keys.into_iter().map(|key| (key.id.clone(), key)).collect())
}

fn stamp(file: &KeyFile) -> Option<Stamp> {
    let metadata = file.path().metadata().ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode })
}

#[cfg(test)]
mod tests {
    use super::super::file::NewKey;
    use super::super::identity::Right;
    use super::*;

    fn new(name: &str, lifetime: Option<Duration>) -> NewKey {
        NewKey { name: name.to_owned(), rights: vec![Right::Read], lifetime }
    }

    impl Ring {
        fn look_now(&self) {
            let watched = self.0.as_ref().unwrap();
            watched.look(&mut watched.seen.lock());
        }
    }

    #[test]
    fn keys_count_from_the_time_when_they_are_made_until_they_are_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.json"));
        assert!(Ring::of(file.clone()).is_err());
        let ring = Ring::once_made(file.clone()).unwrap();
        assert!(!ring.is_on());
        let key = file.create(new("a", None)).unwrap();
        ring.look_now();
        let now = super::super::now();
        assert!(ring.is_on());
        assert_eq!(ring.identity(&key, now).unwrap().to_string(), "\"a\"");
        let mut wrong = key.clone();
        wrong.replace_range(key.len() - 1.., if key.ends_with('0') { "1" } else { "0" });
        assert_eq!(ring.identity(&wrong, now), None);
        let short = file.create(new("b", Some(Duration::from_mins(1)))).unwrap();
        ring.look_now();
        assert!(ring.identity(&short, now).is_some());
        assert_eq!(ring.identity(&short, now + Duration::from_secs(61)), None);
        file.revoke("a").unwrap();
        ring.look_now();
        assert_eq!(ring.identity(&key, now), None);
        // Whatever becomes of the file, nobody else is let in.
        std::fs::write(file.path(), "{").unwrap();
        ring.look_now();
        assert!(ring.is_on() && ring.identity(&short, now).is_some());
        std::fs::remove_file(file.path()).unwrap();
        ring.look_now();
        assert!(ring.is_on());
    }
}
