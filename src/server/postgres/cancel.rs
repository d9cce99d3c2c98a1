//! How is a question ended from outside? A client opens another connection and sends the key of the session.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use rand::RngCore;
use tokio_util::sync::CancellationToken;

/// Number of a session, and its secret.
pub(super) type Key = (i32, i32);

/// The sessions whose questions can be ended.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    sessions: Arc<Mutex<HashMap<Key, Arc<Mutex<CancellationToken>>>>>,
    last: AtomicI32,
}

impl Cancels {
    /// Registers a session.
    pub(super) fn register(&self) -> Cancel {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let secret = rand::rng().next_u32().cast_signed();
        let (key, token) = ((number, secret), Arc::default());
        self.sessions.lock().insert(key, Arc::clone(&token));
        Cancel { key, token, sessions: Arc::clone(&self.sessions) }
    }

    /// Ends what the session of `key` is doing, if there is such a session.
    pub(super) fn cancel(&self, key: Key) {
        let token = self.sessions.lock().get(&key).cloned();
        if let Some(token) = token {
            token.lock().cancel();
        }
    }
}

/// A registered session, until it is dropped.
#[derive(Debug)]
pub(super) struct Cancel {
    /// The key that its client is told.
    pub(super) key: Key,
    token: Arc<Mutex<CancellationToken>>,
    sessions: Arc<Mutex<HashMap<Key, Arc<Mutex<CancellationToken>>>>>,
}

impl Cancel {
    /// Begins a piece of work: requests that came before do not end it.
    pub(super) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.token.lock() = token.clone();
        token
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_what_its_session_does_and_nothing_later() {
        let cancels = Cancels::default();
        let (one, other) = (cancels.register(), cancels.register());
        let (first, beside) = (one.begin(), other.begin());
        cancels.cancel(one.key);
        assert!(first.is_cancelled() && !beside.is_cancelled());
        assert!(!one.begin().is_cancelled());
        let second = one.begin();
        cancels.cancel((one.key.0, one.key.1.wrapping_add(1)));
        assert!(!second.is_cancelled());
        let key = one.key;
        drop(one);
        cancels.cancel(key);
        assert_eq!(cancels.sessions.lock().len(), 1);
    }
}
