//! Which relations and columns are there?

use std::collections::BTreeSet;

use super::super::column::{Column, Kind};
use crate::error::Result;
use crate::event::schema::ATTRIBUTES;
use crate::event::{AttributeKey, TypeSet};
use crate::query::Ask;
use crate::query::language::build;
use crate::query::relation_names;
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
    for (oid, name) in (FIRST_OID..).zip(relation_names()) {
        let star = format!("SELECT * FROM {}", build::name(&name));
        let mut columns = columns(caller, star).await?;
        // Only where there is the map of all attributes can attributes be named.
        if columns.iter().any(|(name, _)| name == ATTRIBUTES) {
            let taken: BTreeSet<&String> = columns.iter().map(|(name, _)| name).collect();
            let free = names.iter().filter(|name| !taken.contains(name)).take(ATTRIBUTES_MAX);
            let list: Vec<String> = free.map(|name| build::name(name).to_string()).collect();
            if !list.is_empty() {
                let sql = format!("SELECT {} FROM {}", list.join(", "), build::name(&name));
                columns.extend(self::columns(caller, sql).await?);
            }
        }
        let is_view = oid != FIRST_OID;
        relations.push(Relation { oid, name, is_view, columns });
    }
    Ok(relations)
}

async fn columns(caller: &Caller, sql: String) -> Result<Vec<(String, Kind)>> {
    let schema = caller.columns(Ask::Sql(sql)).await?;
    let columns = schema.fields().iter().map(|field| Column::of(field));
    Ok(columns.map(|column| (column.name, column.kind)).collect())
}
