//! Which keys are valid now? Those of the file as it is now, so that new keys and revoked ones count soon.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::file::{KeyFile, KeyRecord};
use super::identity::Identity;
use super::key::Key;
use crate::error::{ErrorKind, Result};
use crate::server::watched::Watched;

/// Keys by their ids.
type Keys = Arc<HashMap<String, KeyRecord>>;

/// Keys of a file; the default has no file and needs no keys.
#[derive(Debug, Default)]
pub(in crate::server) struct Ring(Option<Source>);

#[derive(Debug)]
struct Source {
    file: KeyFile,
    /// `None` until there was a file.
    keys: Watched<Option<Keys>>,
}

impl Ring {
    /// The keys of `file`, which must exist. Fails if it cannot be read.
    pub(in crate::server) fn of(file: KeyFile) -> Result<Self> {
        Self::watching(file, Source::read)
    }

    /// The keys of `file` from the time when it is made. Before that, no keys are needed. Fails if there is a file that
    /// cannot be read.
    pub(in crate::server) fn once_made(file: KeyFile) -> Result<Self> {
        Self::watching(file, |file| match Source::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read,
        })
    }

    fn watching(file: KeyFile, read: impl FnOnce(&KeyFile) -> Result<Option<Keys>>) -> Result<Self> {
        let keys = Watched::read("keys", vec![file.path().to_owned()], || read(&file))?;
        Ok(Self(Some(Source { file, keys })))
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
        let Source { file, keys } = self.0.as_ref()?;
        keys.get(|| Source::read(file))
    }
}

impl Source {
    fn read(file: &KeyFile) -> Result<Option<Keys>> {
        Ok(Some(by_id(file.read()?)))
    }
}

fn valid(record: Option<&KeyRecord>, now: SystemTime) -> Option<Identity> {
    let record = record.filter(|record| record.is_valid(now))?;
    Some(Identity::of_key(&record.name, record.rights()))
}

fn by_id(keys: Vec<KeyRecord>) -> Keys {
    Arc::new(keys.into_iter().map(|key| (key.id.clone(), key)).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::file::NewKey;
    use super::super::identity::Right;
    use super::*;

    fn new(name: &str, lifetime: Option<Duration>) -> NewKey {
        NewKey { name: name.to_owned(), rights: vec![Right::Read], lifetime }
    }

    impl Ring {
        fn look_now(&self) {
            let Source { file, keys } = self.0.as_ref().unwrap();
            keys.look_now(|| Source::read(file));
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
