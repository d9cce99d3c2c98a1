//! Statements as the planner sees them.

use std::collections::BTreeMap;

use super::*;
use crate::event::{AttributeKey, AttributeType, Level};

fn rewritten(sql: &str) -> String {
    let keys = KeyDictionary::new();
    for key in ["http.route", "user.id", "name"] {
        keys.insert(&AttributeKey::new(Level::Record, key), AttributeType::Text);
    }
    let views = Views::builtin().unwrap();
    let context = ResolveContext {
        keys: &keys,
        views: &views,
        tables: &BTreeMap::new(),
        schema: "public",
        functions: &[],
        table_functions: &[],
    };
    resolve(sql, &context).unwrap().statement.to_string()
}

#[test]
fn a_demand_reaches_the_base_table() {
    assert_eq!(
        rewritten("SELECT http.route FROM events"),
        r#"SELECT "events"."attributes['http.route']" AS "http.route" FROM "events[""http.route""]" AS "events""#
    );
}
