//! How is typed JSON shown to people as plain JSON?
//!
//! [Typed JSON](super::typed_json) expresses values that JSON lacks by objects with a single key that begins with
//! `$`. Plain JSON shows bytes as base64 text and NaN and infinities by name, the same as SQL does outside of lists
//! and maps. Keys that begin with `$` have their producers' spelling.
//!
//! ```text
//! typed   [{"$bytes":"AAE="},{"$double":"NaN"},{"$$ref":1}]
//! plain   ["AAE=","NaN",{"$ref":1}]
//! ```

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::typed_json;

/// Text that typed JSON contains wherever it differs from plain JSON.
const MARK: &str = "\"$";

/// Deepest nesting that is converted; deeper values stay unchanged.
const DEPTH_MAX: usize = 128;

/// Converts typed JSON to plain JSON. Text that is not JSON stays unchanged.
pub fn plain(typed: &str) -> Cow<'_, str> {
    if !typed.contains(MARK) {
        return typed.into();
    }
    let Ok(raw) = serde_json::from_str::<&RawValue>(typed) else { return typed.into() };
    let mut out = String::with_capacity(typed.len());
    write(&mut out, raw, DEPTH_MAX);
    out.into()
}

/// Items of a JSON array; `None` for anything else.
pub fn items(json: &str) -> Option<Vec<&RawValue>> {
    if !json.trim_start().starts_with('[') {
        return None;
    }
    typed_json::parse_list(json).ok()
}

/// Entries of a JSON object, in order, duplicates included; `None` for anything else.
pub fn entries(json: &str) -> Option<Vec<(String, &RawValue)>> {
    if !json.trim_start().starts_with('{') {
        return None;
    }
    typed_json::parse_object(json).ok()
}

/// Text of an object that represents bytes, NaN or an infinity; `None` for other objects.
fn special<'a>(entries: &[(String, &'a RawValue)]) -> Option<&'a RawValue> {
    match entries {
        [(key, value)] if matches!(key.as_str(), "$bytes" | "$double") && value.get().starts_with('"') => {
            Some(value)
        }
        _ => None,
    }
}

fn write(out: &mut String, raw: &RawValue, depth: usize) {
    let text = raw.get();
    if depth == 0 || !text.contains(MARK) {
        out.push_str(text);
    } else if let Some(items) = items(text) {
        out.push('[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write(out, item, depth - 1);
        }
        out.push(']');
    } else if let Some(entries) = entries(text) {
        if let Some(value) = special(&entries) {
            out.push_str(value.get());
            return;
        }
        out.push('{');
        for (i, (key, value)) in entries.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(&serde_json::Value::from(typed_json::unescape_key(&key)).to_string());
            out.push(':');
            write(out, value, depth - 1);
        }
        out.push('}');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_plain_json() {
        for (typed, seen) in [
            (r#"[1,"a",null]"#, r#"[1,"a",null]"#),
            (r#"[{"$bytes":"AAE="},{"$double":"NaN"},{"$$ref":1}]"#, r#"["AAE=","NaN",{"$ref":1}]"#),
            (
                r#"{"a":{"$$":[{"$double":"-Infinity"}]},"b":"\"$x"}"#,
                r#"{"a":{"$":["-Infinity"]},"b":"\"$x"}"#,
            ),
            (r#"{"$bytes":"AA==","$$b":1}"#, r#"{"$bytes":"AA==","$b":1}"#),
            (r#"no JSON "$"#, r#"no JSON "$"#),
        ] {
            assert_eq!(plain(typed), seen);
        }
    }

    #[test]
    fn only_lists_have_items_and_only_maps_entries() {
        let list = items(" [1, [2], {}] ").unwrap();
        assert_eq!(list.iter().map(|raw| raw.get()).collect::<Vec<_>>(), ["1", "[2]", "{}"]);
        assert_eq!(entries(r#"{"a":1,"a":2}"#).unwrap().len(), 2);
        for text in ["", "x", "\"[1]\"", "[1", "[1] 2", "null"] {
            assert!(items(text).is_none() && entries(text).is_none(), "{text}");
        }
        assert!(entries("[]").is_none() && items("{}").is_none());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{{\"$$a\":1}}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(plain(&deep), deep);
    }
}
