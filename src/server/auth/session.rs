//! Who has signed in with a browser?
//!
//! A session is a random token in a cookie, and the id of the key that its user had. It is in memory only: after a
//! restart users sign in again.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::key;

/// Length of a session.
pub(in crate::server) const LENGTH: Duration = Duration::from_hours(12);

/// Most sessions at once; beyond it the oldest ends.
const COUNT_MAX: usize = 10_000;

/// Sessions by the hash of their token: finding one in the map takes time that depends on what is looked for.
#[derive(Debug, Default)]
pub(in crate::server) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    key: String,
    ends: SystemTime,
}

impl Sessions {
    /// Begins a session of the holder of the key with the id `key`; returns its token.
    pub(super) fn begin(&self, key: &str, now: SystemTime) -> crate::error::Result<String> {
        let token = key::random::<32>()?;
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| now < session.ends);
        if sessions.len() >= COUNT_MAX
            && let Some(oldest) =
                sessions.iter().min_by_key(|(_, session)| session.ends).map(|(hash, _)| hash.clone())
        {
            sessions.remove(&oldest);
        }
        sessions.insert(key::hash(&[&token]), Session { key: key.to_owned(), ends: now + LENGTH });
        Ok(token)
    }

    /// Id of the key of a session; `None` if it has ended.
    pub(super) fn key(&self, token: &str, now: SystemTime) -> Option<String> {
        let sessions = self.0.lock();
        let session = sessions.get(&key::hash(&[token])).filter(|session| now < session.ends)?;
        Some(session.key.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, token: &str) {
        self.0.lock().remove(&key::hash(&[token]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_time_or_when_its_user_says_so() {
        let (sessions, now) = (Sessions::default(), super::super::now());
        let tokens = ["1", "2"].map(|key| sessions.begin(key, now).unwrap());
        assert_eq!(sessions.key(&tokens[1], now).as_deref(), Some("2"));
        assert_eq!(sessions.key("", now), None);
        assert_eq!(sessions.key(&tokens[1], now + LENGTH), None);
        sessions.end(&tokens[1]);
        assert_eq!(sessions.key(&tokens[1], now), None);
        assert!(sessions.key(&tokens[0], now).is_some());
    }

    #[test]
    fn the_oldest_gives_way() {
        let (sessions, now) = (Sessions::default(), super::super::now());
        let first = sessions.begin("1", now).unwrap();
        for _ in 0..COUNT_MAX {
            sessions.begin("2", now + Duration::from_secs(1)).unwrap();
        }
        assert_eq!(sessions.key(&first, now), None);
        assert_eq!(sessions.0.lock().len(), COUNT_MAX);
    }
}
