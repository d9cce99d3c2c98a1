//! What do the messages of the extended protocol do?
//!
//! | message | effect |
//! |---|---|
//! | Parse | reads a statement and plans it, to know the types of its parameters and columns |
//! | Bind | makes a portal of a statement and values |
//! | Describe | tells the types; of a portal, by beginning its answer |
//! | Execute | sends some rows of a portal, or all |
//! | Close | forgets a statement or a portal |
//!
//! A statement is planned again when it runs, on what is stored then. The types that a client was told are kept: if
//! they cannot be, the statement fails as in PostgreSQL. Portals end with the transaction, or else with Sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::{DataType, Field};
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::PgWireFrontendMessage as Frontend;
use pgwire::messages::data::{NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use tokio::io::{AsyncRead, AsyncWrite};

use super::catalogue::{self, Arrays};
use super::column::{self, Format, Kind};
use super::command::{self, Command};
use super::failure::Failure;
use super::rows::Layout;
use super::session::{Session, until_cancelled};
use super::statement::{Portal, Statement, columns, shown};
use crate::query::{Parameter, Prepared, Question};

/// Most statements, and most portals, of a session.
const NAMES_MAX: usize = 2_000;
/// Most bytes of the texts and values that a session keeps.
const KEPT_BYTES_MAX: usize = 16 << 20;

impl<R, W> Session<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// Handles a message of the extended protocol.
    pub(super) async fn extended(&mut self, message: Frontend) -> Result<(), Failure> {
        match message {
            Frontend::Parse(parse) => self.parse(parse).await,
            Frontend::Bind(bind) => self.bind(bind),
            Frontend::Describe(describe) => self.describe(describe).await,
            Frontend::Execute(execute) => self.execute(execute).await,
            Frontend::Close(close) => self.close(close),
            // What is left of a COPY that has failed.
            Frontend::CopyData(_) | Frontend::CopyDone(_) | Frontend::CopyFail(_) => Ok(()),
            other => Err(Failure::protocol(format!("this message is not expected now: {other:?}"))),
        }
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Failure::refused("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let parts = command::split(&parse.query)?;
        let part = match parts.as_slice() {
            [] => None,
            [part] => Some(*part),
            _ => {
                return Err(Failure::refused(
                    "42601",
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        let statement = match part {
            None => Statement::empty(),
            Some(part) => {
                let prepared = self.prepare(part.text, &parse.type_oids).await;
                prepared
                    .map_err(|failure| failure.moved(parse.query.get(..part.from)).within(&parse.query))?
            }
        };
        self.statements.remove(&name);
        self.keep(statement.text.len())?;
        self.statements.insert(name, Arc::new(statement));
        self.outgoing.put(Backend::ParseComplete(ParseComplete::new()))
    }

    /// Fails if the session keeps too much to keep so many bytes more.
    fn keep(&self, bytes: usize) -> Result<(), Failure> {
        let of_statements = self.statements.values().map(|statement| statement.text.len()).sum::<usize>();
        let of_portals = self.portals.values().map(|portal| portal.params_bytes).sum::<usize>();
        if self.statements.len().max(self.portals.len()) >= NAMES_MAX
            || of_statements + of_portals + bytes > KEPT_BYTES_MAX
        {
            let message =
                "the session keeps too many statements and portals: close some, or begin another session";
            return Err(Failure::refused("53400", message));
        }
        Ok(())
    }

    async fn prepare(&mut self, text: &str, oids: &[u32]) -> Result<Statement, Failure> {
        let command = Command::parse(text)?;
        self.allow(&command)?;
        let mut statement =
            Statement { text: text.to_owned(), command: None, parameters: Vec::new(), ..Statement::empty() };
        let (question, from) = match &command {
            Command::Question(question, _) => (Some(question), Some(0)),
            Command::Declare(_, question) => (Some(question), Some(text.len() - question.len())),
            Command::Copy(copy) => (Some(&copy.question), copy.from),
            _ => (None, None),
        };
        if let Some(question) = question {
            let prepared = self.plan(question, oids).await;
            let before = from.and_then(|from| text.get(..from));
            let (prepared, arrays) = prepared.map_err(|failure| failure.moved(before))?;
            statement.is_about_catalogue = catalogue::concerns(question);
            let own = |index: usize, ty: &DataType| match (oids.get(index), arrays.get(&index)) {
                (Some(oid), _) if *oid != 0 => *oid,
                (_, Some(oid)) => *oid,
                _ => Kind::of(&Field::new("", ty.clone(), true)).oid(),
            };
            statement.parameters = prepared.parameters.iter().enumerate().map(|(i, ty)| own(i, ty)).collect();
            statement.columns = matches!(command, Command::Question(..)).then(|| columns(prepared));
        }
        if let Command::Show(name) = &command {
            statement.columns = Some(Ok(shown(name)));
        }
        statement.command = Some(command);
        Ok(statement)
    }

    async fn plan(&mut self, question: &str, oids: &[u32]) -> Result<(Prepared, Arrays), Failure> {
        let declared: Vec<Option<DataType>> = oids.iter().map(|oid| column::declared(*oid)).collect();
        let token = self.cancel.begin();
        let Self { door, incoming, settings, .. } = self;
        let planning = Box::pin(async {
            if catalogue::concerns(question) {
                let plan = door.shared.catalogue.prepare(question, declared, settings);
                return Ok(Box::pin(door.caller.prepare_catalogue(plan)).await?);
            }
            let question = Question::sql(question);
            let question = if settings.is_weighted() { question.weighted() } else { question };
            Ok((Box::pin(door.caller.prepare(question.ask, declared)).await?, Arrays::new()))
        });
        until_cancelled(incoming, &token, planning).await
    }

    fn statement(&self, name: &str) -> Result<Arc<Statement>, Failure> {
        let unknown = || Failure::refused("26000", format!("prepared statement \"{name}\" does not exist"));
        self.statements.get(name).cloned().ok_or_else(unknown)
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let name = bind.portal_name.unwrap_or_default();
        let statement = self.statement(&bind.statement_name.unwrap_or_default())?;
        if let Some(command) = &statement.command {
            self.allow(command)?;
        }
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Failure::refused("42P03", format!("portal \"{name}\" already exists")));
        }
        let (given, needed) = (bind.parameters.len(), statement.parameters.len());
        if given != needed {
            let message = format!(
                "bind message supplies {given} parameters, but the prepared statement requires {needed}"
            );
            return Err(Failure::refused("08P01", message));
        }
        let formats = formats(&bind.parameter_format_codes)?;
        if formats.len() > 1 && formats.len() != given {
            return Err(Failure::refused(
                "08P01",
                format!("{} formats for {given} parameters", formats.len()),
            ));
        }
        let mut params = Vec::with_capacity(given);
        for (index, value) in bind.parameters.iter().enumerate() {
            let format = formats.get(index).or(formats.first()).copied().unwrap_or(Format::Text);
            params.push(match value {
                None => Parameter::Null,
                Some(bytes) => statement.decode(index, format, bytes)?,
            });
        }
        let params_bytes = bind.parameters.iter().flatten().map(bytes::Bytes::len).sum();
        self.portals.remove(&name);
        self.keep(params_bytes)?;
        let promised = statement.promised();
        let layout = Layout::Rows { formats: self::formats(&bind.result_column_format_codes)?, promised };
        self.portals.insert(name, Portal { statement, params, params_bytes, layout, running: None });
        self.outgoing.put(Backend::BindComplete(BindComplete::new()))
    }

    async fn describe(&mut self, describe: Describe) -> Result<(), Failure> {
        let name = describe.name.unwrap_or_default();
        match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => self.describe_statement(&name),
            TARGET_TYPE_BYTE_PORTAL => self.describe_portal(&name).await,
            other => Err(Failure::protocol(format!("nothing of the kind {other} can be described"))),
        }
    }

    fn describe_statement(&mut self, name: &str) -> Result<(), Failure> {
        let statement = self.statement(name)?;
        let types = ParameterDescription::new(statement.parameters.clone());
        let cursor = match &statement.command {
            Some(Command::Fetch(cursor, _)) => {
                self.cursors.get(cursor).and_then(|running| running.columns.as_deref())
            }
            _ => None,
        };
        let columns = match (&statement.columns, cursor) {
            (Some(Err(report)), _) => return Err(Failure::Refused(report.clone())),
            (Some(Ok(columns)), _) => Some(columns.as_slice()),
            (None, cursor) => cursor,
        };
        let fields =
            columns.map(|columns| columns.iter().map(|column| column.description(Format::Text)).collect());
        self.outgoing.put(Backend::ParameterDescription(types))?;
        statement.is_described.store(true, Ordering::Relaxed);
        match fields {
            Some(fields) => self.outgoing.put(Backend::RowDescription(RowDescription::new(fields))),
            None => self.outgoing.put(Backend::NoData(NoData::new())),
        }
    }

    async fn describe_portal(&mut self, name: &str) -> Result<(), Failure> {
        // To PostgreSQL a cursor is a portal, too.
        if self.cursors.contains_key(name) && !self.portals.contains_key(name) {
            return self.describe_cursor(name);
        }
        let portal = self.take_portal(name)?;
        if let Some(Command::Fetch(cursor, _)) = &portal.statement.command {
            let cursor = cursor.clone();
            self.portals.insert(name.to_owned(), portal);
            return self.describe_cursor(&cursor);
        }
        // Only a question and SHOW have rows, and change nothing.
        let has_rows = matches!(&portal.statement.command, Some(Command::Question(..) | Command::Show(_)));
        let portal = if has_rows { self.begin(portal).await? } else { portal };
        match &portal.running {
            Some(running) => self.describe_rows(running)?,
            None => self.outgoing.put(Backend::NoData(NoData::new()))?,
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    pub(super) fn describe_cursor(&mut self, name: &str) -> Result<(), Failure> {
        let Some((name, running)) = self.cursors.remove_entry(name) else {
            return self.outgoing.put(Backend::NoData(NoData::new()));
        };
        let described = self.describe_rows(&running);
        self.cursors.insert(name, running);
        described
    }

    fn take_portal(&mut self, name: &str) -> Result<Portal, Failure> {
        let unknown = || Failure::refused("34000", format!("portal \"{name}\" does not exist"));
        self.portals.remove(name).ok_or_else(unknown)
    }

    /// Begins the answer of a portal, if it has not begun.
    async fn begin(&mut self, mut portal: Portal) -> Result<Portal, Failure> {
        if let (None, Some(command)) = (&portal.running, &portal.statement.command) {
            let token = self.cancel.begin();
            let text = portal.statement.text.clone();
            let params = std::mem::take(&mut portal.params);
            let started = self.start(&token, command, (&text, params), portal.layout.clone()).await;
            portal.running = Some(started.map_err(|failure| failure.within(&text))?);
        }
        Ok(portal)
    }

    async fn execute(&mut self, execute: Execute) -> Result<(), Failure> {
        let name = execute.name.unwrap_or_default();
        let portal = self.take_portal(&name)?;
        let Some(command) = portal.statement.command.clone() else {
            self.portals.insert(name, portal);
            return self.outgoing.put(Backend::EmptyQueryResponse(EmptyQueryResponse::new()));
        };
        self.allow(&command)?;
        if let Command::Fetch(cursor, rows_max) = &command {
            let token = self.cancel.begin();
            return self.fetch_rows(&token, cursor, *rows_max).await;
        }
        let mut portal = self.begin(portal).await?;
        let token = self.cancel.begin();
        let rows_max = u64::try_from(execute.max_rows).ok().filter(|rows| *rows > 0);
        if let Some(running) = &mut portal.running
            && self.send(&token, running, rows_max).await?
        {
            self.outgoing.put(Backend::PortalSuspended(PortalSuspended::new()))?;
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    fn close(&mut self, close: Close) -> Result<(), Failure> {
        let name = close.name.unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => drop(self.statements.remove(&name)),
            TARGET_TYPE_BYTE_PORTAL => drop(self.portals.remove(&name)),
            other => return Err(Failure::protocol(format!("nothing of the kind {other} can be closed"))),
        }
        self.outgoing.put(Backend::CloseComplete(CloseComplete::new()))
    }
}

fn formats(codes: &[i16]) -> Result<Vec<Format>, Failure> {
    let format = |code: &i16| {
        Format::of(*code).ok_or_else(|| Failure::refused("22023", format!("there is no format {code}")))
    };
    codes.iter().map(format).collect()
}
