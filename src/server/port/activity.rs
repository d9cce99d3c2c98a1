//! Does the server work on a connection, or does it wait for the client?
//!
//! A request is *open* from its head until its response has been sent and its body dropped. While it is open, the
//! server *works* on it, except while it waits for the client: for the next bytes of the request, or for the client
//! to take the last bytes of the response. A connection is *quiet* while the server works on none of its requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::Timer;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;

/// State of one connection, shared by its requests and by the code that may end it.
#[derive(Debug)]
pub(in crate::server) struct Activity {
    requests: Mutex<Requests>,
    /// Clock of the connection.
    pub(in crate::server) clock: Clock,
    /// Token that ends the connection at once.
    pub(in crate::server) evicted: CancellationToken,
}

#[derive(Debug)]
struct Requests {
    open: usize,
    worked_on: usize,
    quiet_since: Instant,
}

impl Activity {
    /// Creates the state of a connection without requests.
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        let requests = Requests { open: 0, worked_on: 0, quiet_since: clock.now() };
        Arc::new(Self { requests: Mutex::new(requests), clock, evicted: CancellationToken::new() })
    }

    /// Opens a request; it ends when the last handle is dropped.
    pub(in crate::server) fn begin(self: &Arc<Self>) -> Arc<OpenRequest> {
        let mut requests = self.requests.lock();
        requests.open += 1;
        requests.worked_on += 1;
        let is_waiting = AtomicBool::new(false);
        Arc::new(OpenRequest { activity: Arc::clone(self), is_waiting, is_answered: AtomicBool::new(false) })
    }

    /// Time since which the connection is quiet; `None` while the server works.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let requests = self.requests.lock();
        (requests.worked_on == 0).then_some(requests.quiet_since)
    }

    /// True if the connection has been quiet for `time`.
    pub(super) fn is_quiet_for(&self, time: Duration) -> bool {
        self.quiet_since().is_some_and(|since| self.clock.now() - since >= time)
    }

    /// True if a request is open.
    pub(super) fn is_open(&self) -> bool {
        self.requests.lock().open > 0
    }

    fn pause(&self) {
        let mut requests = self.requests.lock();
        requests.worked_on -= 1;
        requests.quiet_since = self.clock.now();
    }
}

/// An open request.
#[derive(Debug)]
pub(in crate::server) struct OpenRequest {
    activity: Arc<Activity>,
    is_waiting: AtomicBool,
    is_answered: AtomicBool,
}

impl OpenRequest {
    /// Clock of the connection.
    pub(super) fn clock(&self) -> &Clock {
        &self.activity.clock
    }

    /// Marks the start of the response. From now on only its body decides whether the server works or waits.
    pub(super) fn answer(&self) {
        self.is_answered.store(true, Ordering::Release);
        self.work();
    }

    /// True if the response has begun.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Acquire)
    }

    /// Marks that the server waits for the client.
    pub(in crate::server) fn wait(&self) {
        if !self.is_waiting.swap(true, Ordering::AcqRel) {
            self.activity.pause();
        }
    }

    /// Marks that the server works.
    pub(in crate::server) fn work(&self) {
        if self.is_waiting.swap(false, Ordering::AcqRel) {
            self.activity.requests.lock().worked_on += 1;
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.wait();
        self.activity.requests.lock().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::manual::Manual;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_connection_is_quiet_while_it_waits_for_its_client() {
        let time = Manual::new();
        let activity = Activity::new(time.clock());
        time.pass(SECOND).await;
        assert!(activity.is_quiet_for(SECOND) && !activity.is_open());
        let first = activity.begin();
        let second = activity.begin();
        first.wait();
        first.wait();
        assert!(activity.is_open() && activity.quiet_since().is_none());
        second.wait();
        time.pass(SECOND).await;
        assert!(activity.is_quiet_for(SECOND) && activity.is_open());
        first.work();
        assert_eq!(activity.quiet_since(), None);
        drop((first, second));
        assert!(!activity.is_open() && !activity.is_quiet_for(SECOND));
        time.pass(SECOND).await;
        assert!(activity.is_quiet_for(SECOND));
    }
}
