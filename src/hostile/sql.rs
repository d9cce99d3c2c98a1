//! Decoder of SQL statements.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::event::{AttributeKey, AttributeType, KeyDictionary, Level};
use crate::query::Ask;
use crate::query::resolve::{self, ResolveContext};
use crate::query::views::Views;

/// Built-in views, and a few attributes.
static NAMES: LazyLock<(Views, KeyDictionary)> = LazyLock::new(|| {
    let keys = KeyDictionary::default();
    for (level, key) in
        [(Level::Record, "http.route"), (Level::Record, "user.id"), (Level::Resource, "service.name")]
    {
        keys.insert(&AttributeKey::new(level, key), AttributeType::Text);
    }
    (Views::builtin().expect("the views of sql/ are right"), keys)
});

/// Rewrites or refuses a statement.
pub(super) fn resolve(bytes: &[u8]) {
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    let (views, keys) = &*NAMES;
    let context = ResolveContext {
        keys,
        views,
        tables: &BTreeMap::new(),
        schema: "public",
        functions: &[],
        table_functions: &[],
    };
    let _ = resolve::resolve(Ask::Sql(sql.to_owned()), &context);
}
