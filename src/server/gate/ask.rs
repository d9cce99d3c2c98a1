//! How does a question become an answer, within its limits?
//!
//! 1. It gets a permit, or is refused ([`permits`](super::permits)).
//! 2. A driver ([`drive`](super::drive)) plans it, finds the rows, and encodes them as items of the protocol: chunks
//!    of a body, messages, or the rows themselves. It ends by the deadline.
//! 3. The answer begins with the first item. Most failures come before it, while the protocol can still send an error
//!    status.
//! 4. When the question ends, for any reason, its permit and memory are freed, and it is counted and audited.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
#[cfg(feature = "postgres")]
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::super::answer::log;
use super::audit::{Audit, AuditRecord};
use super::caller::Caller;
use super::drive::{Deadline, Ending, Held, Items};
use super::metrics::{ABANDONED, Metrics, OK};
use super::permits::{Permit, Permits};
use super::running::{Admitted, Found, QueryId, Registered};
use super::{Protocol, Refusal};
use crate::db::DatabaseStats;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{AttributeKey, TypeSet};
use crate::query::complete::Vocabulary;
#[cfg(feature = "postgres")]
use crate::query::{Ask, Prepared};
use crate::query::{Checked, QueryResult, Question};
use crate::server::auth::{Identity, Right};

/// An answer whose first item is ready. Dropping it cancels the question.
#[derive(Debug)]
pub(in crate::server) struct Answer<T> {
    /// Name of the question while it runs.
    pub(in crate::server) id: QueryId,
    /// Warnings for the author of a question that works.
    pub(in crate::server) warnings: Vec<String>,
    /// Items that `encode` made from the rows; end with an error if the question fails.
    pub(in crate::server) items: Items<T>,
}

impl Caller {
    /// Runs a question, and turns its rows into items by `encode`, in a task of the gate.
    ///
    /// Returns when the first item is ready. Fails with [`ErrorKind::Busy`] when all permits are taken, with
    /// [`ErrorKind::Cancelled`] at the deadline, and with the errors of the question and of `encode`.
    pub(in crate::server) async fn ask<T, S>(
        &self,
        protocol: Protocol,
        question: Question,
        encode: impl FnOnce(QueryResult) -> S + Send + 'static,
    ) -> Result<Answer<T>, Refusal>
    where
        T: Send + Unpin + 'static,
        S: Stream<Item = Result<T>> + Send + 'static,
    {
        let begun = |_, found| futures::stream::once(begin(found, encode)).try_flatten();
        self.watch(protocol, question, begun).await
    }

    /// Like [`ask`](Self::ask), except that `encode` knows the name of the question and begins before the first rows are
    /// there, to tell how far the question is. What fails from then on is the last item.
    pub(in crate::server) async fn watch<T, S>(
        &self,
        protocol: Protocol,
        mut question: Question,
        encode: impl FnOnce(QueryId, QueryResult) -> S + Send + 'static,
    ) -> Result<Answer<T>, Refusal>
    where
        T: Send + Unpin + 'static,
        S: Stream<Item = Result<T>> + Send + 'static,
    {
        let deadline = Deadline::after(question.timeout.take().unwrap_or(self.query_timeout()));
        let asked = Asked::new(self, protocol, question.ask.to_string());
        let database = self.gate.0.database.clone();
        let plan = async move { database.query(question).await };
        self.carry(asked, deadline, plan, encode).await
    }

    /// Like [`ask`](Self::ask), of a question whose rows `plan` finds without the database: about the catalogue.
    #[cfg(feature = "postgres")]
    pub(in crate::server) async fn ask_catalogue<T, S>(
        &self,
        protocol: Protocol,
        question: Question,
        plan: impl Future<Output = Result<QueryResult>> + Send + 'static,
        encode: impl FnOnce(QueryResult) -> S + Send + 'static,
    ) -> Result<Answer<T>, Refusal>
    where
        T: Send + Unpin + 'static,
        S: Stream<Item = Result<T>> + Send + 'static,
    {
        let deadline = Deadline::after(question.timeout.unwrap_or(self.query_timeout()));
        let asked = Asked::new(self, protocol, question.ask.to_string());
        let begun = |_, found| futures::stream::once(begin(found, encode)).try_flatten();
        self.carry(asked, deadline, plan, begun).await
    }

    /// Carries a question from its plan to its first item.
    async fn carry<T, S>(
        &self,
        mut asked: Asked,
        deadline: Deadline,
        plan: impl Future<Output = Result<QueryResult>> + Send + 'static,
        encode: impl FnOnce(QueryId, QueryResult) -> S + Send + 'static,
    ) -> Result<Answer<T>, Refusal>
    where
        T: Send + Unpin + 'static,
        S: Stream<Item = Result<T>> + Send + 'static,
    {
        let Admitted { id, planned, cancelled } = self.admit(&mut asked, &self.gate.0.permits)?;
        let found = Arc::clone(&asked.found);
        let warnings = Arc::new(OnceLock::new());
        let warned = Arc::clone(&warnings);
        let plan = async move {
            let result = plan.await?;
            // Fails only if it was set before.
            let _ = warned.set(result.warnings.clone());
            planned.set(&result.progress);
            Ok::<S, Error>(encode(id, counted(result, found)))
        };
        let items = futures::stream::once(plan).try_flatten();
        let mut items = self.gate.0.drivers.start(items, asked, deadline, cancelled.wait());
        items.begin().await?;
        Ok(Answer { id, warnings: warnings.get().cloned().unwrap_or_default(), items })
    }

    /// Gives a question its permit and its name.
    pub(super) fn admit(&self, asked: &mut Asked, permits: &Permits) -> Result<Admitted, Refusal> {
        match self.must_have(Right::Read).and_then(|()| permits.take()) {
            Ok(permit) => asked.permit = Some(permit),
            Err(error) => {
                asked.failed(&error);
                return Err(error.into());
            }
        }
        let (registered, admitted) =
            self.gate.0.running.register(&asked.principal, asked.protocol, &asked.text, &asked.found);
        asked.registered = Some(registered);
        Ok(admitted)
    }

    /// Plans a question without running it; see [`Database::check`](crate::db::Database::check).
    pub(in crate::server) async fn check(&self, question: Question) -> Result<Checked, Refusal> {
        let database = self.gate.0.database.clone();
        self.plan(async move { database.check(&question).await }).await
    }

    /// Plans something with a permit and a deadline.
    async fn plan<T: Send + 'static>(
        &self,
        plan: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.must_have(Right::Read)?;
        let permit = self.gate.0.permits.take()?;
        let deadline = Deadline::after(self.query_timeout());
        let plan = async move {
            let planned = plan.await;
            drop(permit);
            planned
        };
        Ok(deadline.limit(self.gate.0.drivers.run(plan)).await?)
    }

    /// Plans a statement whose parameters have no values yet; see
    /// [`Database::prepare`](crate::db::Database::prepare).
    #[cfg(feature = "postgres")]
    pub(in crate::server) async fn prepare(
        &self,
        ask: Ask,
        declared: Vec<Option<DataType>>,
    ) -> Result<Prepared, Refusal> {
        let database = self.gate.0.database.clone();
        self.plan(async move { database.prepare(ask, &declared).await }).await
    }

    /// Like [`prepare`](Self::prepare), of a statement that `plan` plans without the database.
    #[cfg(feature = "postgres")]
    pub(in crate::server) async fn prepare_catalogue<T: Send + 'static>(
        &self,
        plan: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.plan(plan).await
    }

    /// Columns of a statement, within a question about the catalogue, which has a permit and a deadline.
    #[cfg(feature = "postgres")]
    pub(in crate::server) async fn columns(&self, ask: Ask) -> Result<SchemaRef> {
        self.gate.0.database.prepare(ask, &[]).await?.columns
    }

    /// Attribute keys of all events, with the types of their values.
    pub(in crate::server) fn attributes(&self) -> Result<Vec<(AttributeKey, TypeSet)>> {
        self.must_have(Right::Read)?;
        Ok(self.gate.0.database.snapshot().keys.all())
    }

    /// Names that a statement can use.
    pub(in crate::server) fn vocabulary(&self) -> Result<Vocabulary> {
        self.must_have(Right::Read)?;
        Ok(self.gate.0.database.vocabulary())
    }

    /// Counts of the database.
    pub(in crate::server) fn stats(&self) -> Result<DatabaseStats> {
        self.must_have(Right::Read)?;
        Ok(self.gate.0.database.stats())
    }
}

/// Waits for the first rows before encoding begins, so that an early failure is not sent after output.
async fn begin<S>(mut result: QueryResult, encode: impl FnOnce(QueryResult) -> S) -> Result<S> {
    result.begin().await?;
    Ok(encode(result))
}

/// Memory of the rows of `batch`, in bytes; of shared buffers only its part.
pub(in crate::server) fn memory_bytes(batch: &RecordBatch) -> usize {
    let of_views = |texts_bytes: usize| texts_bytes + batch.num_rows() * size_of::<u128>();
    let bytes = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => of_views(column.as_string_view().total_buffer_bytes_used()),
        DataType::BinaryView => of_views(column.as_binary_view().total_buffer_bytes_used()),
        _ => column.to_data().get_slice_memory_size().unwrap_or(0),
    });
    bytes.sum()
}

/// Counts the rows of `result` in `found` as they are found.
pub(super) fn counted(result: QueryResult, found: Arc<Found>) -> QueryResult {
    let QueryResult { schema, stream, warnings, progress } = result;
    let rows = stream.inspect(move |batch| {
        if let Ok(batch) = batch {
            found.add(batch, memory_bytes(batch));
        }
    });
    let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
    QueryResult { schema, stream, warnings, progress }
}

/// A running question; counted and audited when it is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    metrics: Arc<Metrics>,
    audit: Arc<dyn Audit>,
    principal: Identity,
    protocol: Protocol,
    text: String,
    began: Instant,
    /// Counts of its results so far.
    pub(super) found: Arc<Found>,
    outcome: Option<&'static str>,
    /// Before the permit, so that a question that is seen has one.
    registered: Option<Registered>,
    permit: Option<Permit>,
}

impl Asked {
    /// A question that is asked now.
    pub(super) fn new(caller: &Caller, protocol: Protocol, text: String) -> Self {
        let (metrics, audit) = (Arc::clone(&caller.gate.0.metrics), Arc::clone(&caller.gate.0.audit));
        metrics.asked();
        Self {
            metrics,
            audit,
            principal: caller.identity.clone(),
            protocol,
            text,
            began: Instant::now(),
            found: Arc::default(),
            outcome: None,
            registered: None,
            permit: None,
        }
    }

    fn failed(&mut self, error: &Error) {
        self.outcome = Some(error.kind().name());
        log(self.protocol.name(), error);
    }
}

impl Held for Asked {
    fn ended(&mut self, ending: &Ending) {
        match ending {
            Ending::Whole => self.outcome = Some(OK),
            Ending::Abandoned => self.outcome = Some(ABANDONED),
            Ending::Failed(error) => self.failed(error),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // A future dropped before its end was abandoned by its client, unless it panicked.
        let otherwise = if std::thread::panicking() { ErrorKind::Internal.name() } else { ABANDONED };
        let (outcome, took) = (self.outcome.unwrap_or(otherwise), self.began.elapsed());
        self.metrics.ended(self.protocol, outcome, took);
        self.audit.record(&AuditRecord {
            principal: self.principal.clone(),
            protocol: self.protocol.name(),
            question: std::mem::take(&mut self.text),
            outcome,
            took,
            rows: self.found.rows.load(Ordering::Relaxed),
            batches: self.found.batches.load(Ordering::Relaxed),
            bytes: self.found.bytes.load(Ordering::Relaxed),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::super::{Compression, Delivery, Gate, Limits};
    use super::*;
    use crate::config::Settings;
    use crate::db::Database;
    use crate::error::Position;
    use crate::ingest::otlp::{Encoding, RequestKind};
    use bytes::Bytes;

    #[derive(Debug, Default)]
    struct Records(Mutex<Vec<AuditRecord>>);

    impl Audit for Records {
        fn record(&self, record: &AuditRecord) {
            self.0.lock().push(record.clone());
        }
    }

    impl Records {
        fn last(&self) -> AuditRecord {
            self.0.lock().last().cloned().expect("a question was audited")
        }
    }

    async fn gate(queries_max: usize) -> (Gate, Arc<Records>, tempfile::TempDir) {
        let data = tempfile::tempdir().unwrap();
        let database = Database::open(Settings::new(data.path())).await.unwrap();
        let records = Arc::new(Records::default());
        let limits = Limits { queries_max, ..Limits::default() };
        (Gate::with_audit(database, limits, Arc::clone(&records) as _).unwrap(), records, data)
    }

    async fn ask(gate: &Gate, sql: &str) -> Result<Answer<RecordBatch>, Refusal> {
        let rows = |found: QueryResult| found.stream.map_err(Error::from);
        gate.caller(Identity::anonymous()).ask(Protocol::Sql, Question::sql(sql), rows).await
    }

    /// A statement with more rows than any test reads.
    const ENDLESS: &str = "SELECT * FROM generate_series(1, 1000000000000)";

    #[tokio::test]
    async fn a_question_is_counted_and_audited_once_whatever_becomes_of_it() {
        let (gate, records, _data) = gate(1).await;
        let answer = ask(&gate, "SELECT * FROM generate_series(1, 20000)").await.unwrap();
        let rows: Vec<RecordBatch> = answer.items.try_collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
        let record = records.last();
        assert_eq!((record.outcome, record.protocol, record.rows), ("ok", "sql", 20_000));
        assert_eq!(record.question, "SELECT * FROM generate_series(1, 20000)");
        assert_eq!((record.batches, record.bytes), (rows.len() as u64, 160_000));
        assert_eq!(record.principal, Identity::anonymous());

        let wrong = ask(&gate, "SELECT nam FROM spans").await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
        assert_eq!(wrong.position(), Some(Position { line: 1, column: 8 }));
        assert_eq!(records.last().outcome, "invalid-input");

        let late = ask(&gate, "SELECT 1 / (value - 1) FROM generate_series(1, 9)").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::InvalidInput, "{}", late.message());
        assert_eq!(records.0.lock().len(), 3);
        let metrics = gate.metrics().unwrap();
        for line in ["{protocol=\"sql\",outcome=\"ok\"} 1", "{protocol=\"sql\",outcome=\"invalid-input\"} 2"]
        {
            assert!(metrics.contains(&format!("broadloom_queries_total{line}\n")), "{metrics}");
        }
    }

    #[tokio::test]
    async fn who_may_not_read_gets_nothing_and_is_audited() {
        let (gate, records, _data) = gate(1).await;
        let caller = gate.caller(Identity::nobody());
        let rows = |found: QueryResult| found.stream.map_err(Error::from);
        let refusal = caller.ask(Protocol::Sql, Question::sql("SELECT 1"), rows).await.unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Forbidden);
        assert_eq!(records.last().outcome, "forbidden");
        assert_eq!(caller.check(Question::sql("SELECT 1")).await.unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(caller.attributes().unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(caller.stats().unwrap_err().kind(), ErrorKind::Forbidden);
        let delivery = Delivery {
            protocol: Protocol::OtlpHttp,
            kind: RequestKind::Traces,
            encoding: Encoding::Protobuf,
            compression: Compression::Identity,
            body: Bytes::new(),
            reservation: caller.message_reservation(),
        };
        let receipt = caller.receive(delivery).await.unwrap_err();
        assert_eq!(receipt.kind(), ErrorKind::Forbidden);
    }

    #[tokio::test]
    async fn the_only_place_is_free_once_its_answer_is_dropped() {
        let (gate, records, _data) = gate(1).await;
        let sending = ask(&gate, ENDLESS).await.unwrap();
        assert_eq!(ask(&gate, "SELECT 1").await.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(records.last().outcome, "busy");
        drop(sending);
        while records.last().outcome != "abandoned" {
            tokio::task::yield_now().await;
        }
        ask(&gate, "SELECT 1").await.unwrap();
    }

    #[tokio::test]
    async fn a_question_whose_client_leaves_before_its_first_row_is_abandoned() {
        let (gate, records, _data) = gate(1).await;
        let sql = "SELECT max(value) FROM generate_series(1, 1000000000000)";
        let left = tokio::time::timeout(Duration::from_millis(1), ask(&gate, sql)).await;
        assert!(left.is_err());
        while records.0.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(records.last().outcome, "abandoned");
        // Planning ends a moment later, and with it the permit is free.
        while ask(&gate, "SELECT 1").await.is_err_and(|refusal| refusal.kind() == ErrorKind::Busy) {}
    }

    #[tokio::test]
    async fn a_question_is_seen_and_ended_by_its_author_and_by_admins_alone() {
        let (gate, records, _data) = gate(4).await;
        let reader = |name| gate.caller(Identity::named(name, [Right::Read]));
        let (anna, ben, chief) = (reader("anna"), reader("ben"), gate.caller(Identity::anonymous()));
        let rows = |found: QueryResult| found.stream.map_err(Error::from);
        let mut answer = anna.ask(Protocol::Sql, Question::sql(ENDLESS), rows).await.unwrap();
        let seen = anna.running().unwrap();
        assert_eq!((seen[0].id, seen[0].text.as_str(), seen[0].is_own), (answer.id, ENDLESS, true));
        assert!(seen[0].rows > 0 && seen[0].read.is_some(), "{seen:?}");
        assert!(ben.running().unwrap().is_empty());
        assert_eq!(ben.cancel(answer.id).unwrap_err().kind(), ErrorKind::NotFound);
        let all = chief.running().unwrap();
        assert_eq!((all.len(), all[0].asked_by.as_deref(), all[0].is_own), (1, Some("anna"), false));

        chief.cancel(answer.id).unwrap();
        let error = loop {
            match answer.items.next().await.unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.message().contains(&answer.id.to_string()), "{error}");
        while records.0.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(records.last().outcome, "cancelled");
        assert_eq!(anna.cancel(answer.id).unwrap_err().kind(), ErrorKind::NotFound, "it has ended");
        let nobody = gate.caller(Identity::nobody());
        assert_eq!(nobody.running().unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(nobody.cancel(answer.id).unwrap_err().kind(), ErrorKind::Forbidden);
    }

    #[tokio::test]
    async fn a_closed_gate_answers_nothing() {
        let (gate, records, _data) = gate(1).await;
        let cut = ask(&gate, ENDLESS).await.unwrap();
        gate.close().await;
        assert_eq!(records.last().outcome, "unavailable");
        let ending = cut.items.map_err(|e| e.kind()).try_for_each(|_| std::future::ready(Ok(()))).await;
        assert_eq!(ending, Err(ErrorKind::Unavailable));
        assert_eq!(ask(&gate, "SELECT 1").await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
