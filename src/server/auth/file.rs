//! How are keys kept?
//!
//! In a JSON file that only its owner may read. It is replaced as a whole, so that a reader never sees half of it, and
//! editors take turns by a lock on a file beside it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::identity::{Right, Rights};
use super::key::{self, Key};
use crate::error::{Error, ErrorKind, Result};

const VERSION: u32 = 1;

/// Most bytes of a key file: 10,000 keys and more.
const BYTES_MAX: u64 = 4 << 20;

/// Longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 100;

/// A key as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Name that people gave it; unique.
    pub name: String,
    /// Public part of the key.
    pub id: String,
    /// Rights of its holder.
    pub rights: Vec<Right>,
    /// Time at which it was made.
    #[serde(with = "time")]
    pub created: SystemTime,
    /// Time from which on it is refused; never if absent.
    #[serde(with = "time_or_never", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<SystemTime>,
    salt: String,
    hash: String,
}

impl KeyRecord {
    /// True if it has expired.
    pub fn has_expired(&self) -> bool {
        !self.is_valid(super::now())
    }

    /// True if it is not refused at `now` for its age.
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    pub(super) fn fits(&self, key: &Key<'_>) -> bool {
        key.has_hash(&self.salt, &self.hash)
    }

    pub(super) fn rights(&self) -> Rights {
        self.rights.iter().copied().collect()
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    keys: Vec<KeyRecord>,
}

/// Properties of a key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Name; not taken yet.
    pub name: String,
    /// Rights; at least one.
    pub rights: Vec<Right>,
    /// Time after which it is refused; never if `None`.
    pub lifetime: Option<Duration>,
}

/// The file of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The file at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the keys, in the order in which they were made. Fails with [`ErrorKind::NotFound`] without a file, and with
    /// [`ErrorKind::Corrupt`] if it is not a key file.
    pub fn read(&self) -> Result<Vec<KeyRecord>> {
        let shown = self.0.display();
        let wrong = |e: String| Error::new(ErrorKind::Corrupt, format!("{shown} is not a key file: {e}"));
        let bytes = self.0.metadata().map_err(|e| self.failed("read", e))?.len();
        if bytes > BYTES_MAX {
            return Err(wrong(format!("it has {bytes} bytes, and may have {BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(&self.0).map_err(|e| self.failed("read", e))?;
        let content: Content = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if content.version != VERSION {
            return Err(wrong(format!("its version is {}; this program reads {VERSION}", content.version)));
        }
        Ok(content.keys)
    }

    /// Adds a key and returns its text, which is kept nowhere. Fails with [`ErrorKind::Conflict`] if the name is taken.
    pub fn create(&self, new: NewKey) -> Result<String> {
        check(&new)?;
        let text = key::generate()?;
        let key = Key::parse(&text).ok_or_else(|| Error::internal("a new key is not a key"))?;
        let (salt, created) = (key::random::<16>()?, super::now());
        let expires = new.lifetime.map(|lifetime| {
            created
                .checked_add(lifetime)
                .ok_or_else(|| Error::invalid("the key would expire too late; leave --expires out"))
        });
        let record = KeyRecord {
            name: new.name,
            id: key.id.to_owned(),
            rights: new.rights,
            created,
            expires: expires.transpose()?,
            hash: key.hash(&salt),
            salt,
        };
        self.edit(|keys| {
            if keys.iter().any(|other| other.name == record.name) {
                let message =
                    format!("there is a key {:?} already; revoke it, or choose another name", record.name);
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            if keys.iter().any(|other| other.id == record.id) {
                return Err(Error::new(ErrorKind::Conflict, "the id of the new key is taken: try again"));
            }
            keys.push(record);
            Ok(())
        })?;
        Ok(text)
    }

    /// Removes the key of this name or id. Fails with [`ErrorKind::NotFound`] if there is none.
    pub fn revoke(&self, name: &str) -> Result<KeyRecord> {
        self.read()?;
        let mut removed = None;
        self.edit(|keys| {
            let by_name = keys.iter().position(|key| key.name == name);
            let found = by_name.or_else(|| keys.iter().position(|key| key.id == name));
            let Some(found) = found else {
                let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
                let message = format!("there is no key {name:?}; there are: {}", names.join(", "));
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            removed = Some(keys.remove(found));
            Ok(())
        })?;
        removed.ok_or_else(|| Error::internal("a key was revoked and not found"))
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<()>) -> Result<()> {
        let _lock = self.lock()?;
        let mut keys = match self.read() {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        change(&mut keys)?;
        let content = Content { version: VERSION, keys };
        let mut text = serde_json::to_vec_pretty(&content)
            .map_err(|e| Error::internal("keys cannot be written as JSON").with_source(e))?;
        text.push(b'\n');
        let temporary = self.beside("new");
        let written = private(&temporary, OpenOptions::new().write(true).create(true).truncate(true))
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, &self.0));
        written.map_err(|e| self.failed("write", e))
    }

    fn lock(&self) -> Result<File> {
        let path = self.beside("lock");
        let lock = private(&path, OpenOptions::new().write(true).create(true).truncate(false))
            .and_then(|file| file.lock().map(|()| file));
        lock.map_err(|e| self.failed("lock", e))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> Error {
        let shown = self.0.display();
        match error.kind() {
            IoErrorKind::NotFound if doing == "read" => {
                Error::new(ErrorKind::NotFound, format!("there is no key file {shown}"))
            }
            _ => Error::new(ErrorKind::Unavailable, format!("cannot {doing} the key file {shown}: {error}"))
                .with_source(error),
        }
    }
}

/// Opens a file that only its owner may read.
fn private(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

fn check(new: &NewKey) -> Result<()> {
    let fits = !new.name.trim().is_empty()
        && new.name.chars().count() <= NAME_CHARS_MAX
        && !new.name.chars().any(char::is_control);
    if !fits {
        return Err(Error::invalid(format!(
            "the name of a key has 1 to {NAME_CHARS_MAX} characters and no control characters"
        )));
    }
    if new.rights.is_empty() {
        return Err(Error::invalid("a key needs a right: write, read or admin"));
    }
    Ok(())
}

/// Times as people read them, in UTC to the second.
mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

mod time_or_never {
    use std::time::SystemTime;

    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        super::time::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str) -> NewKey {
        NewKey { name: name.to_owned(), rights: vec![Right::Write, Right::Read], lifetime: None }
    }

    #[test]
    fn keys_are_made_listed_and_revoked_and_no_secret_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.json"));
        assert_eq!(file.read().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(file.revoke("a").unwrap_err().kind(), ErrorKind::NotFound);
        let text = file.create(new("a")).unwrap();
        let second = NewKey { lifetime: Some(Duration::from_mins(1)), ..new("b") };
        file.create(second).unwrap();
        assert_eq!(file.create(new("a")).unwrap_err().kind(), ErrorKind::Conflict);
        let keys = file.read().unwrap();
        assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let key = Key::parse(&text).unwrap();
        assert!(keys[0].fits(&key) && !keys[1].fits(&key));
        let now = super::super::now();
        assert!(keys[0].is_valid(now) && keys[1].is_valid(now));
        assert!(!keys[1].is_valid(now + Duration::from_secs(61)));
        let stored = std::fs::read_to_string(file.path()).unwrap();
        assert!(!stored.contains(text.rsplit('_').next().unwrap()), "{stored}");
        assert_eq!(file.revoke(&keys[1].id).unwrap().name, "b");
        assert_eq!(file.revoke("a").unwrap().name, "a");
        assert_eq!(file.read().unwrap(), []);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(file.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn editors_at_one_time_lose_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.json"));
        std::thread::scope(|scope| {
            for i in 0..8 {
                let file = file.clone();
                scope.spawn(move || file.create(new(&format!("key {i}"))).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().len(), 8);
    }

    #[test]
    fn what_is_wrong_with_a_file_or_a_name_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.json"));
        for (text, why) in [
            ("", "EOF"),
            (r#"{"version":2,"keys":[]}"#, "version is 2"),
            (r#"{"version":1,"keys":[],"x":1}"#, "unknown field"),
            (r#"{"version":1,"keys":[{"name":"a"}]}"#, "missing field"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = file.read().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().contains(why), "{error}");
            assert_eq!(
                file.create(new("a")).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "nothing is overwritten"
            );
        }
        for wrong in ["", " ", "a\nb", &"x".repeat(101)] {
            assert_eq!(file.create(new(wrong)).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert!(
            file.create(NewKey { rights: Vec::new(), ..new("a") }).unwrap_err().message().contains("a right")
        );
    }
}
