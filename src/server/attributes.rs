//! Which attribute keys are there? `GET /v1/attributes?prefix=http.`: of every event that was ever taken in, without
//! reading one.
//!
//! ```jsonc
//! {"attributes": [{"key": "http.route", "level": "record", "types": ["text"]}]}
//! ```
//!
//! Sorted by key. Levels are `record`, `scope`, `resource` and `body`; a key of two levels is there twice.

use axum::Json;
use axum::http::Uri;
use serde_json::{Value, json};

use super::answer::Problem;
use super::gate::Caller;
use crate::error::Error;
use crate::event::{AttributeKey, AttributeType, TypeSet};

/// `GET /v1/attributes`.
pub(super) async fn get(caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let prefix = prefix(uri.query().unwrap_or_default())?;
    let mut keys = caller.attributes()?;
    keys.retain(|(key, _)| key.key.starts_with(&prefix));
    keys.sort_by(|(a, _), (b, _)| (&a.key, a.level as u8).cmp(&(&b.key, b.level as u8)));
    Ok(Json(json!({ "attributes": keys.iter().map(attribute).collect::<Value>() })))
}

fn prefix(query: &str) -> Result<String, Error> {
    let mut prefix = String::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "prefix" => prefix = value.into_owned(),
            other => return Err(Error::invalid(format!("there is no option {other:?}; there is prefix"))),
        }
    }
    Ok(prefix)
}

fn attribute((key, types): &(AttributeKey, TypeSet)) -> Value {
    let types: Vec<&str> = types.iter().map(AttributeType::name).collect();
    json!({ "key": &*key.key, "level": key.level.name(), "types": types })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;

    #[test]
    fn only_known_options_are_taken() {
        assert_eq!(prefix("").unwrap(), "");
        assert_eq!(prefix("prefix=http.").unwrap(), "http.");
        assert!(prefix("prefx=a").unwrap_err().message().contains("prefx"));
    }

    #[test]
    fn a_key_says_its_level_and_every_type_that_it_has_had() {
        let types = TypeSet::default().with(AttributeType::Int).with(AttributeType::Text);
        let shown = attribute(&(AttributeKey::new(Level::Resource, "host.id"), types));
        assert_eq!(shown["key"], "host.id");
        assert_eq!(shown["level"], "resource");
        let types: Vec<&str> = shown["types"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(types.contains(&"integer") && types.contains(&"text") && types.len() == 2, "{types:?}");
    }
}
