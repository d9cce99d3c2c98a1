//! Which relations and columns are there?

use std::collections::BTreeSet;

use super::super::column::{Column, Kind};
use crate::error::{ErrorKind, Result};
use crate::event::schema::ATTRIBUTES;
use crate::event::{AttributeKey, TypeSet};
use crate::query::Ask;
use crate::query::language::build;
use crate::query::resolve::EVENTS;
use crate::query::view_names;
use crate::server::gate::Caller;

/// Most attributes that are columns of a relation. All can be queried; clients show columns in lists, and the catalogue
/// is held in memory.
const ATTRIBUTES_MAX: usize = 500;

/// Number of the first relation, as of the first that a user of PostgreSQL makes.
const FIRST_OID: i32 = 16_384;

/// A relation.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// Number.
    pub(super) oid: i32,
    /// Name.
    pub(super) name: String,
    /// True for a view, false for a table.
    pub(super) is_view: bool,
    /// Names and types of its columns.
    pub(super) columns: Vec<(String, Kind)>,
}

/// The table of events, and the views. Part of a question that has a permit.
pub(super) async fn all(caller: &Caller, keys: &[(AttributeKey, TypeSet)]) -> Result<Vec<Relation>> {
    let names: BTreeSet<String> = keys.iter().map(|(key, _)| key.sql_name().into_owned()).collect();
    let mut relations = Vec::new();
    for (oid, name) in (FIRST_OID..).zip(std::iter::once(EVENTS).chain(view_names())) {
        let star = format!("SELECT * FROM {}", build::name(name));
        let mut columns = columns(caller, star).await?;
        // Only where there is the map of all attributes can attributes be named.
        if columns.iter().any(|(name, _)| name == ATTRIBUTES) {
            let taken: BTreeSet<&String> = columns.iter().map(|(name, _)| name).collect();
            let free = names.iter().filter(|name| !taken.contains(name)).take(ATTRIBUTES_MAX);
            let free: Vec<&String> = free.collect();
            let attributes = attributes(caller, name, &free).await?;
            columns.extend(attributes);
        }
        let is_view = oid != FIRST_OID;
        relations.push(Relation { oid, name: name.to_owned(), is_view, columns });
    }
    Ok(relations)
}

/// The attributes `names` of the relation `of`. Those that cannot be named are left out.
async fn attributes(caller: &Caller, of: &str, names: &[&String]) -> Result<Vec<(String, Kind)>> {
    let select = |names: &[&String]| {
        let list: Vec<String> = names.iter().map(|name| build::name(name).to_string()).collect();
        format!("SELECT {} FROM {}", list.join(", "), build::name(of))
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    match columns(caller, select(names)).await {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let mut found = Vec::new();
            for name in names {
                found.extend(columns(caller, select(&[*name])).await.unwrap_or_default());
            }
            Ok(found)
        }
        all => all,
    }
}

async fn columns(caller: &Caller, sql: String) -> Result<Vec<(String, Kind)>> {
    let schema = caller.columns(Ask::Sql(sql)).await?;
    let columns = schema.fields().iter().map(|field| Column::of(field));
    Ok(columns.map(|column| (column.name, column.kind)).collect())
}
