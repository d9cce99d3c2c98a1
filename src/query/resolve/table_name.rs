//! How does the name of a table carry demanded attributes?
//!
//! ```text
//! events["http.route","user.id"]        one occurrence of the table that shows two attributes
//! events[]                              one that shows none
//! events                                as written in statements
//! ```
//!
//! The brackets hold a JSON array, so any key can be encoded. Every occurrence of the table in a resolved
//! statement has such a name, even one without attributes, so that a CTE named `events` can never capture it.

/// The base table.
pub const EVENTS: &str = "events";

/// Name of an occurrence of the table that shows the attributes `keys`.
pub fn encode_table_name(keys: &[String]) -> String {
    format!("{EVENTS}{}", serde_json::Value::from(keys))
}

/// Returns the attributes that a table name demands; `None` if it does not name the base table.
pub fn decode_table_name(name: &str) -> Option<Vec<String>> {
    let keys = name.strip_prefix(EVENTS)?;
    if keys.is_empty() { Some(Vec::new()) } else { serde_json::from_str(keys).ok() }
}

/// Name of the column that shows the attribute `key`: `attributes['http.route']`.
///
/// No core column, alias or attribute can collide with it, and it reads well in EXPLAIN.
pub fn attribute_column(key: &str) -> String {
    format!("attributes['{}']", key.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_survives() {
        let keys: Vec<String> =
            ["", "a,b", "]", "q\"uote", "it's", "ünï", "back\\slash", "line\nbreak"].map(String::from).into();
        assert_eq!(decode_table_name(&encode_table_name(&keys)), Some(keys));
        assert_eq!(encode_table_name(&[]), "events[]");
    }

    #[test]
    fn only_the_base_table_decodes() {
        assert_eq!(decode_table_name("events"), Some(Vec::new()));
        assert_eq!(decode_table_name("events_2"), None);
        assert_eq!(decode_table_name("spans"), None);
        assert_eq!(decode_table_name("events[1]"), None);
    }
}
