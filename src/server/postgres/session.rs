//! What does a session do with a message?
//!
//! A session is in no transaction, in one, or in one that has failed, in which everything but its end is refused. As
//! nothing is written, transactions change no answer: each statement sees what was stored when it began.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::PgWireFrontendMessage as Frontend;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::data::RowDescription;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Door;
use super::cancel::Cancel;
use super::catalogue;
use super::command::{self, Command};
use super::failure::{Failure, Report};
use super::portal::{Progress, Running};
use super::rows::{self, Layout};
use super::settings::Settings;
use super::statement::{Portal, Statement};
use super::wire::{Incoming, Outgoing};
use crate::error::Error;
use crate::query::{Parameter, QueryResult, Question};
use crate::server::gate::Protocol;

/// A session.
#[derive(Debug)]
pub(super) struct Session<R, W> {
    pub(super) door: Door,
    pub(super) incoming: Incoming<R>,
    pub(super) outgoing: Outgoing<W>,
    pub(super) settings: Settings,
    pub(super) cancel: Cancel,
    pub(super) transaction: TransactionStatus,
    pub(super) statements: HashMap<String, Arc<Statement>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Answers of DECLARE.
    pub(super) cursors: HashMap<String, Running>,
    /// True after a failure of the extended protocol, until Sync.
    pub(super) is_skipping: bool,
}

/// The next step after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Message,
    End,
}

impl<R, W> Session<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// A session that has begun.
    pub(super) fn new(
        door: Door,
        wire: (Incoming<R>, Outgoing<W>),
        settings: Settings,
        cancel: Cancel,
    ) -> Self {
        let (incoming, outgoing) = wire;
        Self {
            door,
            incoming,
            outgoing,
            settings,
            cancel,
            transaction: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            cursors: HashMap::new(),
            is_skipping: false,
        }
    }

    /// Answers messages until the client leaves, or until `stop` between two messages.
    pub(super) async fn serve(mut self, stop: CancellationToken) -> Result<(), Failure> {
        loop {
            self.outgoing.rest();
            let message = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Failure::Fatal(Report::new("57P01", "the server is stopping"))),
                message = self.incoming.message() => message,
            };
            let ended = match message {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => {
                    self.outgoing.work();
                    self.handle(message).await
                }
                Err(failure) => Err(failure),
            };
            match ended {
                Ok(Next::Message) => {}
                Ok(Next::End) => return Ok(()),
                Err(Failure::Fatal(report)) => {
                    self.outgoing.put(report.response("FATAL"))?;
                    return self.outgoing.flush().await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn handle(&mut self, message: Frontend) -> Result<Next, Failure> {
        match message {
            Frontend::Terminate(_) => return Ok(Next::End),
            Frontend::Query(query) => {
                self.is_skipping = false;
                let done = self.simple(&query.query).await;
                self.tell(done)?;
                self.ready().await?;
            }
            Frontend::Sync(_) => {
                self.is_skipping = false;
                if self.transaction == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.ready().await?;
            }
            message if self.is_skipping => drop(message),
            Frontend::Flush(_) => self.outgoing.flush().await?,
            message => {
                let done = self.extended(message).await;
                if self.tell(done)? {
                    self.is_skipping = true;
                    self.outgoing.flush().await?;
                }
            }
        }
        Ok(Next::Message)
    }

    /// Tells of a failure that the session survives; true if there was one.
    fn tell(&mut self, done: Result<(), Failure>) -> Result<bool, Failure> {
        match done {
            Ok(()) => Ok(false),
            Err(Failure::Refused(report)) => {
                self.outgoing.put(report.response("ERROR"))?;
                if self.transaction == TransactionStatus::Transaction {
                    self.transaction = TransactionStatus::Error;
                }
                Ok(true)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        self.outgoing.put(Backend::ReadyForQuery(ReadyForQuery::new(self.transaction)))?;
        self.outgoing.flush().await
    }

    /// Answers the statements of a text, one after the other, up to the first that fails.
    async fn simple(&mut self, text: &str) -> Result<(), Failure> {
        let token = self.cancel.begin();
        let parts = command::split(text)?;
        if parts.is_empty() {
            return self.outgoing.put(Backend::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for part in parts {
            let done = self.simple_part(&token, part.text).await;
            done.map_err(|failure| failure.moved(text.get(..part.from)).within(text))?;
        }
        Ok(())
    }

    async fn simple_part(&mut self, token: &CancellationToken, text: &str) -> Result<(), Failure> {
        let command = Command::parse(text)?;
        self.allow(&command)?;
        if let Command::Fetch(name, rows_max) = &command {
            if self.cursors.contains_key(name) {
                self.describe_cursor(name)?;
            }
            return self.fetch_rows(token, name, *rows_max).await;
        }
        let mut running = self.start(token, &command, (text, Vec::new()), Layout::text()).await?;
        self.describe_rows(&running)?;
        self.send(token, &mut running, None).await.map(drop)
    }

    /// Refuses what is not allowed in a transaction that has failed.
    pub(super) fn allow(&self, command: &Command) -> Result<(), Failure> {
        if self.transaction == TransactionStatus::Error && !command.ends_a_failed_transaction() {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Failure::refused("25P02", message));
        }
        Ok(())
    }

    /// Sends the rows of a cursor.
    pub(super) async fn fetch_rows(
        &mut self,
        token: &CancellationToken,
        name: &str,
        rows_max: Option<usize>,
    ) -> Result<(), Failure> {
        let unknown = || Failure::refused("34000", format!("cursor \"{name}\" does not exist"));
        let mut running = self.cursors.remove(name).ok_or_else(unknown)?;
        let rows_max = rows_max.map(|rows| rows as u64);
        let progress = self.transfer(token, &mut running, rows_max).await?;
        let rows = match progress {
            Progress::Whole(rows) => rows,
            Progress::Suspended => rows_max.unwrap_or_default(),
        };
        self.outgoing.put(Backend::CommandComplete(CommandComplete::new(running.tag(rows))))?;
        self.cursors.insert(name.to_owned(), running);
        Ok(())
    }

    /// Sends columns of an answer, if it has any.
    pub(super) fn describe_rows(&mut self, running: &Running) -> Result<(), Failure> {
        let Some(columns) =
            running.columns.as_ref().filter(|_| matches!(running.layout, Layout::Rows { .. }))
        else {
            return Ok(());
        };
        let fields = columns.iter().enumerate();
        let fields = fields.map(|(index, column)| column.description(running.layout.format(index))).collect();
        self.outgoing.put(Backend::RowDescription(RowDescription::new(fields)))
    }

    /// Sends rows of an answer, and its end; true if there may be more rows.
    pub(super) async fn send(
        &mut self,
        token: &CancellationToken,
        running: &mut Running,
        rows_max: Option<u64>,
    ) -> Result<bool, Failure> {
        let is_copy = matches!(running.layout, Layout::Copy(_)) && running.columns.is_some();
        if let (true, Some(columns)) = (is_copy, &running.columns) {
            let code = running.layout.format(0).code();
            let count = columns.len() as i16;
            let response = CopyOutResponse::new(code as i8, count, vec![code; columns.len()]);
            self.outgoing.put(Backend::CopyOutResponse(response))?;
        }
        for warning in std::mem::take(&mut running.warnings) {
            self.outgoing.put(Report::new("01000", warning).notice("WARNING"))?;
        }
        // A COPY is sent as a whole.
        let rows_max = rows_max.filter(|_| !is_copy);
        let Progress::Whole(rows) = self.transfer(token, running, rows_max).await? else { return Ok(true) };
        if is_copy {
            self.outgoing.put(Backend::CopyDone(CopyDone::new()))?;
        }
        self.outgoing.put(Backend::CommandComplete(CommandComplete::new(running.tag(rows))))?;
        Ok(false)
    }

    async fn transfer(
        &mut self,
        token: &CancellationToken,
        running: &mut Running,
        rows_max: Option<u64>,
    ) -> Result<Progress, Failure> {
        let Self { incoming, outgoing, .. } = self;
        until_cancelled(incoming, token, running.send(outgoing, rows_max)).await
    }

    /// Begins the answer of a statement with its text and the values of its parameters.
    pub(super) async fn start(
        &mut self,
        token: &CancellationToken,
        command: &Command,
        (text, params): (&str, Vec<Parameter>),
        layout: Layout,
    ) -> Result<Running, Failure> {
        match command {
            Command::Question(question, tag) => self.ask(token, (question, params), layout, tag).await,
            Command::Copy(copy) => {
                let layout = Layout::Copy(copy.style.clone());
                let asked = self.ask(token, (&copy.question, params), layout, "COPY").await;
                asked.map_err(|failure| failure.moved(copy.from.and_then(|from| text.get(..from))))
            }
            Command::Declare(name, question) => {
                if self.cursors.contains_key(name) {
                    return Err(Failure::refused("42P03", format!("cursor \"{name}\" already exists")));
                }
                let asked = self.ask(token, (question, params), Layout::text(), "FETCH").await;
                let before = text.strip_suffix(question.as_str());
                let running = asked.map_err(|failure| failure.moved(before))?;
                self.cursors.insert(name.clone(), running);
                Ok(Running::done("DECLARE CURSOR"))
            }
            Command::Show(name) => self.show(name, layout),
            other => self.change(other),
        }
    }

    async fn ask(
        &mut self,
        token: &CancellationToken,
        (sql, params): (&str, Vec<Parameter>),
        layout: Layout,
        tag: &'static str,
    ) -> Result<Running, Failure> {
        let timeout = self.settings.statement_timeout();
        let question = Question { params, timeout, ..Question::sql(sql) };
        let Self { door, incoming, settings, .. } = self;
        let shape = layout.clone();
        let encode = move |found: QueryResult| rows::encode(found, shape);
        let caller = &door.caller;
        let asking = Box::pin(async {
            let answer = if catalogue::concerns(sql) {
                let found = door.shared.catalogue.query(question.clone(), settings);
                Box::pin(caller.ask_catalogue(Protocol::Postgres, question, found, encode)).await?
            } else {
                let question = if settings.is_weighted() { question.weighted() } else { question };
                Box::pin(caller.ask(Protocol::Postgres, question, encode)).await?
            };
            let mut running = Running::of(answer.items, layout, tag).await?;
            running.warnings = answer.warnings;
            Ok(running)
        });
        until_cancelled(incoming, token, asking).await
    }

    fn show(&self, name: &str, layout: Layout) -> Result<Running, Failure> {
        let text = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
        let batch = if name.eq_ignore_ascii_case("all") {
            let (names, values): (Vec<_>, Vec<_>) = self.settings.all().into_iter().unzip();
            let none = vec![String::new(); names.len()];
            RecordBatch::try_from_iter([
                ("name", text(names)),
                ("setting", text(values)),
                ("description", text(none)),
            ])
        } else {
            let unknown =
                || Failure::refused("42704", format!("unrecognized configuration parameter \"{name}\""));
            let value = self.settings.get(name).ok_or_else(unknown)?;
            RecordBatch::try_from_iter([(name, text(vec![value]))])
        };
        let (columns, chunk) = rows::encode_batch(&batch.map_err(Error::from)?, layout.clone())?;
        Ok(Running::ready(columns, chunk, layout, "SHOW"))
    }

    /// Does what a statement without rows says.
    fn change(&mut self, command: &Command) -> Result<Running, Failure> {
        Ok(match command {
            Command::Set(name, value) => {
                let changed = self.settings.set(name, value.clone())?;
                if let Some((name, value)) = changed.told {
                    self.outgoing.put(Backend::ParameterStatus(ParameterStatus::new(name, value)))?;
                }
                if let Some(notice) = changed.notice {
                    self.outgoing.put(notice.notice("WARNING"))?;
                }
                Running::done(if value.is_some() { "SET" } else { "RESET" })
            }
            Command::ResetAll => {
                self.settings.reset();
                Running::done("RESET")
            }
            Command::Begin(tag) => {
                self.transaction = TransactionStatus::Transaction;
                Running::done(tag)
            }
            Command::Commit if self.transaction == TransactionStatus::Error => {
                self.end_transaction("ROLLBACK")
            }
            Command::Commit => self.end_transaction("COMMIT"),
            Command::Rollback => self.end_transaction("ROLLBACK"),
            Command::RollbackTo => {
                if self.transaction == TransactionStatus::Error {
                    self.transaction = TransactionStatus::Transaction;
                }
                Running::done("ROLLBACK")
            }
            Command::Discard => {
                self.statements.clear();
                self.settings.reset();
                self.end_transaction("DISCARD ALL")
            }
            Command::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(name)),
                    None => self.statements.clear(),
                }
                Running::done(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" })
            }
            Command::Close(name) => {
                match name {
                    Some(name) => drop(self.cursors.remove(name)),
                    None => self.cursors.clear(),
                }
                Running::done(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" })
            }
            Command::Savepoint(tag) | Command::Nothing(tag) => Running::done(tag),
            other => return Err(Failure::from(Error::internal(format!("{other:?} is no change")))),
        })
    }

    fn end_transaction(&mut self, tag: &'static str) -> Running {
        self.transaction = TransactionStatus::Idle;
        self.cursors.clear();
        Running::done(tag)
    }
}

/// Does `work` until a request to end it, or until the client has left.
pub(super) async fn until_cancelled<R: AsyncRead + Unpin, T>(
    incoming: &mut Incoming<R>,
    token: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = work => done,
        () = token.cancelled() => Err(Failure::cancelled()),
        () = incoming.gone() => Err(Failure::Gone(std::io::ErrorKind::ConnectionAborted.into())),
    }
}
