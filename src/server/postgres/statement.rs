//! What does a session keep? Prepared statements, and portals: statements with values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{DataType, Field};

use super::column::{self, Column, Format, Kind, Scalar};
use super::command::Command;
use super::failure::{Failure, Report};
use super::parameter;
use super::portal::Running;
use super::rows::Layout;
use crate::query::{Parameter, Prepared};

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) text: String,
    /// `None` for a text without a statement.
    pub(super) command: Option<Command>,
    /// Types of its parameters.
    pub(super) parameters: Vec<u32>,
    /// Its columns, or why they are not known yet; `None` if it has none.
    pub(super) columns: Option<Result<Vec<Column>, Report>>,
    /// True if it is about the catalogue, where parameters may be arrays.
    pub(super) is_about_catalogue: bool,
    /// True once the client was told its columns.
    pub(super) is_described: AtomicBool,
}

/// A statement with values.
#[derive(Debug)]
pub(super) struct Portal {
    pub(super) statement: Arc<Statement>,
    pub(super) params: Vec<Parameter>,
    pub(super) params_bytes: usize,
    pub(super) layout: Layout,
    pub(super) running: Option<Running>,
}

impl Statement {
    /// A text without a statement.
    pub(super) fn empty() -> Self {
        Self {
            text: String::new(),
            command: None,
            parameters: Vec::new(),
            columns: None,
            is_about_catalogue: false,
            is_described: AtomicBool::new(false),
        }
    }

    /// The value of a parameter.
    pub(super) fn decode(&self, index: usize, format: Format, bytes: &[u8]) -> Result<Parameter, Failure> {
        let oid = self.parameters[index];
        if self.is_about_catalogue && column::is_array(oid) {
            return parameter::decode_array(index + 1, format, bytes);
        }
        parameter::decode(index + 1, oid, format, bytes)
    }

    /// The types that the client was told.
    pub(super) fn promised(&self) -> Option<Arc<[Kind]>> {
        let Some(Ok(columns)) = &self.columns else { return None };
        self.is_described.load(Ordering::Relaxed).then(|| columns.iter().map(|column| column.kind).collect())
    }
}

/// The columns of a statement, or why they are not known yet.
pub(super) fn columns(prepared: Prepared) -> Result<Vec<Column>, Report> {
    match prepared.columns {
        Ok(schema) => Ok(schema.fields().iter().map(|field| Column::of(field)).collect()),
        Err(error) => match Failure::from(error) {
            Failure::Refused(report) | Failure::Fatal(report) => Err(report),
            Failure::Gone(error) => Err(Report::new("XX000", error.to_string())),
        },
    }
}

/// The columns of SHOW.
pub(super) fn shown(name: &str) -> Vec<Column> {
    let names =
        if name.eq_ignore_ascii_case("all") { &["name", "setting", "description"][..] } else { &[name][..] };
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        kind: Kind::single(Scalar::Text),
        field: Field::new(*name, DataType::Utf8, false),
    };
    names.iter().map(column).collect()
}
