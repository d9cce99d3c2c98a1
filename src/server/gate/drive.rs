//! How does a question run to its end, whatever its client does?
//!
//! The body of a response is polled only while its client reads. So the items of an answer are not made there, but by
//! a task of the gate, the *driver*, which passes them on through a short queue:
//!
//! ```text
//! items ─▶ maker ─▶ queue of ITEMS_AHEAD ─▶ Items ─▶ client
//!          on the threads of queries         dropping it ends the driver
//!            ▲
//!          driver: watches the deadline, on the threads of the server
//! ```
//! The maker marks the end in the queue, so that a client that has the last item need not wait for any task to be told
//! so. Taking the mark frees the holdings of the question ([`Held`]): its place is free before the client can ask again.
//!
//! The driver ends when the last item has been taken, when [`Items`] is dropped, at the deadline, when the question is
//! cancelled, and when the gate is closed. It then ends the maker, which frees the stream of items, and frees the
//! holdings. In the last three cases it also frees the items in the queue, and the client is told at once. An answer that is cut off never looks complete:
//! [`Items`] ends with the error.
//!
//! Queries have threads of their own ([`Workers`]), because some compute long without yielding. Those delay other
//! queries, but neither deadlines nor anything else that the server does. A maker ends only when it yields, and its
//! question holds its permit until then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::permits::stopping;
use super::workers::Workers;
use crate::error::{Error, Result};
use crate::query::timed_out;

/// Items that are made ahead of the client: one being sent, and one being made meanwhile.
const ITEMS_AHEAD: usize = 2;

/// Longest timeout of a question, whatever its client requests.
const TIMEOUT_MAX: Duration = Duration::from_hours(24);

/// Longest wait for queries that were cut off because the gate is closed.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// Time at which a question ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// Deadline after `timeout` from now, or after [`TIMEOUT_MAX`] if that is less.
    pub(super) fn after(timeout: Duration) -> Self {
        let timeout = timeout.min(TIMEOUT_MAX);
        Self { at: Instant::now() + timeout, timeout }
    }

    /// The latest deadline that there is.
    pub(super) fn latest() -> Self {
        Self::after(TIMEOUT_MAX)
    }

    /// Waits for `what` until the deadline.
    pub(super) async fn limit<T>(self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout_at(self.at, what).await.map_err(|_| timed_out(self.timeout))?
    }

    async fn passed(self) -> Error {
        tokio::time::sleep_until(self.at).await;
        timed_out(self.timeout)
    }
}

/// Resources of a question, freed when it ends.
pub(super) trait Held: Send + 'static {
    /// Receives the ending; called once, before the drop.
    fn ended(&mut self, ending: &Ending);
}

/// Resources of a question, until the first who knows its ending takes them.
struct Holdings(Mutex<Option<Box<dyn Held>>>);

impl Holdings {
    fn end(&self, ending: &Ending) {
        let held = self.0.lock().take();
        if let Some(mut held) = held {
            held.ended(ending);
        }
    }
}

/// The ending of a question.
#[derive(Debug)]
pub(super) enum Ending {
    /// All items were taken.
    Whole,
    /// The client left.
    Abandoned,
    /// The question failed, or was cut off.
    Failed(Error),
}

/// The drivers of a gate.
#[derive(Debug)]
pub(super) struct Drivers {
    workers: Workers,
    running: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

impl Drivers {
    /// Creates the threads of queries, as many as processors. Fails if the system has no threads left.
    pub(super) fn new() -> Result<Self> {
        Ok(Self { workers: Workers::new()?, running: Mutex::default(), stop: CancellationToken::new() })
    }

    /// Runs `work` on the threads of queries. Dropping the future ends the work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        AbortOnDropHandle::new(self.workers.spawn(work)).await.map_err(defect)?
    }

    /// Starts a driver that makes `items` until `deadline`, or fails with the outcome of `cancelled` when that is there,
    /// and holds `held` meanwhile.
    pub(super) fn start<T: Send + 'static>(
        &self,
        items: impl Stream<Item = Result<T>> + Send + 'static,
        held: impl Held,
        deadline: Deadline,
        cancelled: impl Future<Output = Error> + Send + 'static,
    ) -> Items<T> {
        let (to, queue) = mpsc::channel(ITEMS_AHEAD);
        let queue = Arc::new(Mutex::new(queue));
        let (tell, ended) = oneshot::channel();
        let left = CancellationToken::new();
        let holdings = Arc::new(Holdings(Mutex::new(Some(Box::new(held)))));
        let handed_out = Items {
            first: None,
            queue: Arc::clone(&queue),
            holdings: Arc::clone(&holdings),
            ended: Some(ended),
            told: None,
            _left: left.clone().drop_guard(),
        };
        let stop = self.stop.clone();
        let mut maker = AbortOnDropHandle::new(self.workers.spawn(hand_over(items, to)));
        let mut running = self.running.lock();
        // Ended tasks stay in the set until they are joined.
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let (ending, was_cut_off) = tokio::select! {
                biased;
                () = stop.cancelled() => (Ending::Failed(stopping()), true),
                () = left.cancelled() => (Ending::Abandoned, true),
                error = cancelled => (Ending::Failed(error), true),
                late = deadline.passed() => (Ending::Failed(late), true),
                ending = &mut maker => (ending.unwrap_or_else(|gone| Ending::Failed(defect(gone))), false),
            };
            let told = match &ending {
                Ending::Failed(error) => Err(Error::new(error.kind(), error.chain()).at(error.position())),
                Ending::Whole | Ending::Abandoned => Ok(()),
            };
            if !was_cut_off {
                holdings.end(&ending);
            }
            // Fails if the client has left.
            let _ = tell.send(told);
            if was_cut_off {
                maker.abort();
                // It was aborted, or its items are of no use any more.
                let _ = maker.await;
                // Frees the items that nobody will take.
                let mut queue = queue.lock();
                while queue.try_recv().is_ok() {}
                drop(queue);
                holdings.end(&ending);
            }
        });
        handed_out
    }

    /// Cuts off all answers, and returns when their drivers have ended, or have been left behind because their
    /// queries do not yield.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        let mut running = std::mem::take(&mut *self.running.lock());
        let all = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(ENDING_MAX, all).await.is_err() {
            tracing::warn!("a query that does not yield is left behind");
        }
    }
}

/// Error of a task that panicked. The panic itself is on stderr, with its place.
fn defect(gone: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the query hit a defect of the server; see the server's log").with_source(gone)
}

/// Place in the queue.
#[derive(Debug)]
enum Slot<T> {
    Item(T),
    /// The item before was the last.
    End,
}

/// Makes all items; returns when the last one has been taken.
async fn hand_over<T>(items: impl Stream<Item = Result<T>>, to: mpsc::Sender<Slot<T>>) -> Ending {
    {
        let mut items = std::pin::pin!(items);
        while let Some(item) = items.next().await {
            match item {
                // The queue closes only when it is dropped, after this.
                Ok(item) => drop(to.send(Slot::Item(item)).await),
                Err(error) => return Ending::Failed(error),
            }
        }
    }
    drop(to.send(Slot::End).await);
    // All places of the queue are free when it is empty.
    drop(to.reserve_many(ITEMS_AHEAD).await);
    Ending::Whole
}

/// The items of an answer, as they are made. Dropping it ends the question.
pub(in crate::server) struct Items<T> {
    first: Option<T>,
    queue: Arc<Mutex<mpsc::Receiver<Slot<T>>>>,
    holdings: Arc<Holdings>,
    /// `None` once the ending is known.
    ended: Option<oneshot::Receiver<Result<()>>>,
    /// Error of an ending that is known and not yet reported.
    told: Option<Error>,
    _left: DropGuard,
}

impl<T> std::fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

impl<T: Send + Unpin> Items<T> {
    fn taken(&mut self, slot: Slot<T>) -> Option<Result<T>> {
        match slot {
            Slot::Item(item) => Some(Ok(item)),
            Slot::End => {
                self.ended = None;
                self.holdings.end(&Ending::Whole);
                None
            }
        }
    }

    /// Waits for the first item, so that earlier failures are returned here. The item stays.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.first = self.next().await.transpose()?;
        Ok(())
    }
}

impl<T: Send + Unpin> Stream for Items<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let next = self.queue.lock().poll_recv(context);
        if let Poll::Ready(Some(slot)) = next {
            return Poll::Ready(self.taken(slot));
        }
        // An ending is told although a maker that does not yield keeps the queue open.
        let Some(ended) = &mut self.ended else { return Poll::Ready(self.told.take().map(Err)) };
        let told = ready!(Pin::new(ended).poll(context));
        self.ended = None;
        self.told = match told {
            Ok(told) => told.err(),
            Err(gone) => Some(defect(gone)),
        };
        // Items that came meanwhile precede the ending.
        let last = self.queue.lock().try_recv();
        match last {
            Ok(slot) => Poll::Ready(self.taken(slot)),
            Err(_) => Poll::Ready(self.told.take().map(Err)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;
    use tokio::sync::watch;

    use super::super::permits::{Permit, Permits};
    use super::*;
    use crate::error::ErrorKind;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_mins(5);
    /// A time that passes while a test waits for it.
    const SHORT: Duration = Duration::from_millis(5);

    /// Permit of a question, and the list to which its ending is added.
    struct Noted(#[expect(dead_code, reason = "it is held, not read")] Permit, watch::Sender<Vec<String>>);

    impl Held for Noted {
        fn ended(&mut self, ending: &Ending) {
            let words = match ending {
                Ending::Whole => "whole".to_owned(),
                Ending::Abandoned => "abandoned".to_owned(),
                Ending::Failed(error) => error.kind().name().to_owned(),
            };
            self.1.send_modify(|endings| endings.push(words));
        }
    }

    struct Fixture {
        drivers: Drivers,
        endings: watch::Sender<Vec<String>>,
    }

    impl Default for Fixture {
        fn default() -> Self {
            Self { drivers: Drivers::new().unwrap(), endings: watch::Sender::default() }
        }
    }

    impl Fixture {
        fn start<T: Send + 'static>(
            &self,
            permits: &Permits,
            timeout: Duration,
            items: impl Stream<Item = Result<T>> + Send + 'static,
        ) -> Items<T> {
            let held = Noted(permits.take().unwrap(), self.endings.clone());
            self.drivers.start(items, held, Deadline::after(timeout), std::future::pending())
        }

        /// Waits until `count` questions have ended.
        async fn endings(&self, count: usize) -> Vec<String> {
            let mut endings = self.endings.subscribe();
            let all = endings.wait_for(|endings| endings.len() >= count);
            tokio::time::timeout(LONG, all).await.expect("it ends").unwrap().clone()
        }
    }

    /// Items without end, which count themselves while they are in memory.
    fn endless(alive: &Arc<AtomicUsize>) -> impl Stream<Item = Result<Counted>> + Send + 'static {
        let alive = Arc::clone(alive);
        stream::repeat_with(move || {
            alive.fetch_add(1, Ordering::Relaxed);
            Ok(Counted(Arc::clone(&alive)))
        })
    }

    #[derive(Debug)]
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn all_items_come_in_order_and_then_the_permit_is_free() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let mut items = fixture.start(&permits, LONG, stream::iter(0..100).map(Ok));
        items.begin().await.unwrap();
        let numbers: Vec<i32> = items.by_ref().map(Result::unwrap).collect().await;
        assert!(numbers.into_iter().eq(0..100));
        permits.take().unwrap();
        assert!(items.next().await.is_none(), "it stays at its end");
        drop(items);
        assert_eq!(fixture.endings(1).await, ["whole"]);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off_at_the_deadline() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let alive = Arc::default();
        let mut stalled = fixture.start(&permits, SHORT, endless(&alive));
        assert_eq!(fixture.endings(1).await, ["cancelled"]);
        let _other = permits.take().unwrap();
        assert_eq!(alive.load(Ordering::Relaxed), 0, "what nobody took is freed too");
        let error = stalled.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.message().contains("5ms"), "{error}");
        assert!(stalled.next().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_is_not_whole_before_its_last_item_was_taken() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        // Many times, as the maker may end before the driver looks at it.
        for count in 1..=200 {
            let stalled = fixture.start(&permits, SHORT, stream::iter([Ok(1)]));
            assert_eq!(fixture.endings(count).await.pop().as_deref(), Some("cancelled"));
            permits.take().unwrap();
            let items: Vec<_> = stalled.collect().await;
            assert!(matches!(&items[..], [Err(error)] if error.kind() == ErrorKind::Cancelled), "{items:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_dropped_frees_its_permit_at_once() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let waiting = fixture.start(&permits, LONG, stream::pending::<Result<()>>());
        drop(waiting);
        assert_eq!(fixture.endings(1).await, ["abandoned"]);
        let alive = Arc::default();
        let mut sending = fixture.start(&permits, LONG, endless(&alive));
        sending.begin().await.unwrap();
        assert_eq!(permits.take().unwrap_err().kind(), ErrorKind::Busy);
        drop(sending);
        assert_eq!(fixture.endings(2).await, ["abandoned", "abandoned"]);
        permits.take().unwrap();
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn items_before_an_error_arrive_and_the_error_ends_them() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let items =
            fixture.start(&permits, LONG, stream::iter([Ok(1), Ok(2), Err(Error::invalid("no")), Ok(3)]));
        let items: Vec<_> = items.map(|item| item.map_err(|e| e.kind())).collect().await;
        assert_eq!(items, [Ok(1), Ok(2), Err(ErrorKind::InvalidInput)]);
        let mut failing = fixture.start(&permits, LONG, stream::iter([Err::<(), _>(Error::invalid("no"))]));
        assert_eq!(failing.begin().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(fixture.endings(2).await, ["invalid-input", "invalid-input"]);
    }

    #[tokio::test]
    async fn a_gate_that_closes_cuts_answers_off_and_says_so() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let mut cut = fixture.start(&permits, LONG, stream::pending::<Result<()>>());
        fixture.drivers.end().await;
        assert_eq!(fixture.endings(1).await, ["unavailable"]);
        assert_eq!(cut.begin().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_defect_does_not_look_like_the_end() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let defect = stream::once(async { Ok(1) }).chain(stream::once(async { panic!("a planted defect") }));
        let items: Vec<Result<i32>> = fixture.start(&permits, LONG, defect).collect().await;
        assert!(
            matches!(&items[..], [Ok(1), Err(error)] if error.kind() == ErrorKind::Internal),
            "{items:?}"
        );
        permits.take().unwrap();
    }

    #[tokio::test]
    async fn a_query_that_does_not_yield_is_cut_off_and_keeps_its_permit_until_it_does() {
        let (fixture, permits) = (Fixture::default(), Permits::new(1));
        let (free, until) = std::sync::mpsc::sync_channel::<()>(0);
        let stuck = stream::once(async move { Ok(until.recv().is_ok()) });
        let mut items = fixture.start(&permits, SHORT, stuck);
        assert_eq!(items.begin().await.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(permits.take().unwrap_err().kind(), ErrorKind::Busy);
        drop(free);
        assert_eq!(fixture.endings(1).await, ["cancelled"]);
        permits.take().unwrap();
    }

    #[tokio::test]
    async fn a_time_that_nobody_lives_to_see_is_a_day() {
        assert_eq!(Deadline::after(Duration::MAX).timeout, TIMEOUT_MAX);
    }
}
