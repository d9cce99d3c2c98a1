//! How does a client follow events as they arrive?
//!
//! It begins at one moment: [`Follow::before`] asks about the events that were there, [`Follow::among`] about those that
//! have arrived since, in the order in which they became visible and whatever their time is. Both together are every
//! event, each once.
//!
//! A tail is registered, audited and cancelled like a question, but waits most of its time. So it has a permit of its own
//! kind, and ends only after a day, when its client leaves, or when the server begins to stop.

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};

use super::ask::{Answer, Asked, counted};
use super::caller::Caller;
use super::drive::Deadline;
use super::permits::stopping;
use super::running::{Admitted, Found, QueryId};
use super::{Protocol, Refusal};
use crate::catalog::CatalogSnapshot;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::maintenance::{Arrivals, Arrived};
use crate::query::{QueryResult, Question, ReadSnapshot};

/// Most tails of a server at once: each runs a statement several times a second while events arrive.
pub(super) const TAILS_MAX: usize = 100;

/// Events from one moment on.
#[derive(Debug)]
pub(in crate::server) struct Follow {
    database: Database,
    snapshot: ReadSnapshot,
    arrivals: Arrivals,
    found: Arc<Found>,
}

impl Follow {
    /// Asks about the events that were there when it began.
    pub(in crate::server) async fn before(&self, question: Question) -> Result<QueryResult> {
        Ok(counted(self.database.query_on(&self.snapshot, question).await?, Arc::clone(&self.found)))
    }

    /// Waits for events. None of them is lost when the future is dropped.
    pub(in crate::server) async fn arrived(&mut self) -> Arrived {
        // Of what was there at the beginning nothing is held any longer.
        self.snapshot.catalog = Arc::default();
        self.snapshot.buffer = Arc::from([]);
        self.arrivals.next().await
    }

    /// Asks about events that have arrived.
    pub(in crate::server) async fn among(
        &self,
        arrived: &Arrived,
        question: Question,
    ) -> Result<QueryResult> {
        let catalog = Arc::new(CatalogSnapshot::default());
        let snapshot =
            ReadSnapshot { catalog, buffer: arrived.batches.clone().into(), ..self.snapshot.clone() };
        Ok(counted(self.database.query_on(&snapshot, question).await?, Arc::clone(&self.found)))
    }
}

impl Caller {
    /// Follows events: `make` turns them into items, in a task of the gate. `text` says which, to people.
    ///
    /// Returns when the first item is ready. Fails with [`ErrorKind::Busy`](crate::ErrorKind::Busy) when too many follow.
    pub(in crate::server) async fn follow<T, S>(
        &self,
        text: String,
        make: impl FnOnce(QueryId, Follow) -> S + Send + 'static,
    ) -> Result<Answer<T>, Refusal>
    where
        T: Send + Unpin + 'static,
        S: Stream<Item = Result<T>> + Send + 'static,
    {
        let gate = &self.gate.0;
        let mut asked = Asked::new(self, Protocol::Tail, text);
        let Admitted { id, cancelled, .. } = self.admit(&mut asked, &gate.tails)?;
        let found = Arc::clone(&asked.found);
        let database = gate.database.clone();
        let begin = async move {
            let (snapshot, arrivals) = database.watch();
            Ok::<_, Error>(make(id, Follow { database, snapshot, arrivals, found }))
        };
        let items = futures::stream::once(begin).try_flatten().boxed();
        let is_stopping = gate.tails_end.clone();
        let ended = async move {
            tokio::select! {
                error = cancelled.wait() => error,
                () = is_stopping.cancelled() => stopping(),
            }
        };
        let mut items = gate.drivers.start(items, asked, Deadline::latest(), ended);
        items.begin().await?;
        Ok(Answer { id, warnings: Vec::new(), items })
    }
}
