//! What can be asked, and within which limits?
//!
//! A question is a text or a tree, and both go the same way: a text is parsed to a tree, and names are
//! resolved in that. Languages other than SQL, and code that asks, make trees and never print text.

use std::time::Duration;

use sqlparser::ast::{BinaryOperator, Query, Select, SelectItem};

use super::language::{Ask, Tree, build};
use super::parameter::Parameter;
use super::resolve::EVENTS;
use crate::error::Result;
use crate::event::{Signal, TraceId, schema};

/// A statement that reads, with the values of its parameters and the limits of its answer.
#[derive(Debug, Clone)]
pub struct Question {
    /// The statement.
    pub ask: Ask,
    /// Values of `$1`, `$2`, ….
    pub params: Vec<Parameter>,
    /// The query fails with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when it is not done by then.
    pub timeout: Option<Duration>,
    /// At most so many rows come; more are an error of kind
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) after them.
    pub row_limit: Option<usize>,
}

impl Question {
    /// Makes a question of a statement, without parameters or limits.
    pub fn new(ask: Ask) -> Self {
        Self { ask, params: Vec::new(), timeout: None, row_limit: None }
    }

    /// Asks one SQL statement.
    pub fn sql(sql: impl Into<String>) -> Self {
        Self::new(Ask::Sql(sql.into()))
    }

    /// Asks a query that is a syntax tree. Its names are resolved as if they were written.
    ///
    /// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when the tree is too deep; see [`Tree::new`].
    pub fn query(query: Query) -> Result<Self> {
        Tree::new(query).map(|tree| Self::new(Ask::Query(tree)))
    }

    /// Asks for the spans and span events of the trace `id`: all core columns, and the attributes as
    /// [`schema::TYPED_ATTRIBUTES`], which is all that OTLP needs. In no order.
    pub fn trace(id: TraceId) -> Result<Self> {
        let core = schema::core_schema();
        let names = core.fields().iter().map(|field| field.name().as_str()).chain([schema::TYPED_ATTRIBUTES]);
        let items = names.map(|name| SelectItem::UnnamedExpr(build::name(name)));
        let is_of_trace = build::binary(
            build::name(schema::column::TRACE_ID),
            BinaryOperator::Eq,
            build::text(id.to_string()),
        );
        let signals = [Signal::Span, Signal::SpanEvent].map(|signal| build::text(signal.as_str()));
        let is_of_span = build::one_of(build::name(schema::column::SIGNAL), signals.into());
        let condition = build::binary(is_of_trace, BinaryOperator::And, is_of_span);
        let select = build::select(items.collect(), build::table(EVENTS));
        Self::query(build::query_of(Select { selection: Some(condition), ..select }))
    }
}
