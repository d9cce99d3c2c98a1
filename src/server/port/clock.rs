//! Which clock do connections use? Tokio's, or in tests one that the test advances.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Source of time, for hyper and the code around it; cheap to clone.
#[derive(Clone)]
pub(in crate::server) struct Clock(Arc<dyn Timer + Send + Sync>);

impl Clock {
    /// Clock of the runtime.
    pub(in crate::server) fn system() -> Self {
        Self(Arc::new(TokioTimer::new()))
    }
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.0.reset(sleep, deadline);
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Time that passes in jumps, for tests on a single-threaded runtime whose tasks wait only for each other.
#[cfg(test)]
pub(super) mod manual {
    use std::task::{Context, Poll, Waker};

    use parking_lot::Mutex;

    use super::*;

    /// Yields to the runtime after which every task waits.
    const TURNS: usize = 200;

    /// A clock that a test advances.
    #[derive(Clone)]
    pub(in super::super) struct Manual(Arc<Mutex<State>>);

    struct State {
        now: Instant,
        waiting: Vec<(Instant, Waker)>,
    }

    struct Waiting {
        deadline: Instant,
        clock: Manual,
    }

    impl Manual {
        pub(in super::super) fn new() -> Self {
            Self(Arc::new(Mutex::new(State { now: Instant::now(), waiting: Vec::new() })))
        }

        pub(in super::super) fn clock(&self) -> Clock {
            Clock(Arc::new(self.clone()))
        }

        pub(in super::super) fn time(&self) -> Instant {
            self.0.lock().now
        }

        /// Advances time by `duration`, and lets every task run when it is due.
        pub(in super::super) async fn pass(&self, duration: Duration) {
            let end = self.time() + duration;
            settle().await;
            while self.jump(end) {
                settle().await;
            }
            self.0.lock().now = end;
            settle().await;
        }

        /// Advances time until `future` is ready; fails if no task waits for a time.
        pub(in super::super) async fn until<T>(&self, future: impl Future<Output = T>) -> T {
            let mut future = std::pin::pin!(future);
            loop {
                for _ in 0..TURNS {
                    if let Poll::Ready(ready) = futures::poll!(future.as_mut()) {
                        return ready;
                    }
                    tokio::task::yield_now().await;
                }
                let far = self.time() + Duration::from_hours(24);
                assert!(self.jump(far), "waits for ever");
            }
        }

        /// Jumps to the next time before `end` that a task waits for. Returns false if there is none.
        fn jump(&self, end: Instant) -> bool {
            let mut state = self.0.lock();
            let next = state.waiting.iter().map(|(deadline, _)| *deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else { return false };
            state.now = state.now.max(next);
            let now = state.now;
            for (_, waker) in state.waiting.extract_if(.., |(deadline, _)| *deadline <= now) {
                waker.wake();
            }
            true
        }
    }

    async fn settle() {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    impl Timer for Manual {
        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
            self.sleep_until(self.time() + duration)
        }

        fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
            Box::pin(Waiting { deadline, clock: self.clone() })
        }

        fn now(&self) -> Instant {
            self.time()
        }
    }

    impl Sleep for Waiting {}

    impl Future for Waiting {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let mut state = self.clock.0.lock();
            if state.now >= self.deadline {
                return Poll::Ready(());
            }
            state.waiting.push((self.deadline, context.waker().clone()));
            Poll::Pending
        }
    }
}
