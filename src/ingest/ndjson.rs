//! JSON objects, one event each: lines, or values one after the other.
//!
//! Nested objects flatten to dotted keys (`{"http":{"status":200}}` is `http.status`), arrays are kept as
//! typed JSON, integers and doubles keep their type, `null` is an absent field, and text stays text even
//! where it looks like a number. What the keys mean is in [`super::fields`].

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fields::FieldMap;
use super::framing::{self, Framing};
use super::record::{Assembler, Decoded, Refused, Scalar};
use crate::error::Result;
use crate::event::{Value, typed_json};

/// Decodes a chunk of whole lines, each one object; blank lines are skipped. Positions are lines.
pub fn decode_lines(chunk: &[u8], map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    let mut out = Assembler::new(map, now_ns);
    let mut refused = Vec::new();
    let mut start = 0;
    for (position, line) in chunk.split(|b| *b == b'\n').enumerate() {
        let bytes = start..start + line.len();
        start = bytes.end + 1;
        if !line.trim_ascii().is_empty()
            && let Err(reason) = decode_value(&chunk[bytes.clone()], &mut out)
        {
            refused.push(Refused { position: position as u64, bytes, reason });
        }
    }
    let (batch, hints) = out.finish()?;
    Ok(Decoded { batch, refused, hints })
}

/// Decodes a chunk of objects that may span lines, or the elements of an array. Positions are lines.
pub fn decode_values(chunk: &[u8], map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    let mut out = Assembler::new(map, now_ns);
    let mut refused = Vec::new();
    for bytes in framing::records(Framing::JsonValues, chunk)? {
        if let Err(reason) = decode_value(&chunk[bytes.clone()], &mut out) {
            refused.push(Refused { position: line_of(chunk, &bytes), bytes, reason });
        }
    }
    let (batch, hints) = out.finish()?;
    Ok(Decoded { batch, refused, hints })
}

/// Number of lines before the range.
pub(super) fn line_of(chunk: &[u8], bytes: &Range<usize>) -> u64 {
    chunk[..bytes.start].split(|b| *b == b'\n').count() as u64 - 1
}

fn decode_value(json: &[u8], out: &mut Assembler) -> Result<(), String> {
    out.begin();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut path = String::new();
    Fields { out, path: &mut path }
        .deserialize(&mut reader)
        .and_then(|_| reader.end())
        .map_err(|e| format!("not a JSON object: {e}"))?;
    out.commit()
}

/// Gives every entry of an object to the assembler, under its path.
struct Fields<'a> {
    out: &'a mut Assembler,
    path: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    /// Whether there was an entry.
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let prefix = self.path.len();
        let mut any = false;
        loop {
            if prefix > 0 {
                self.path.push('.');
            }
            if map.next_key_seed(Key(|key: &str| self.path.push_str(key)))?.is_none() {
                self.path.truncate(prefix);
                return Ok(any);
            }
            any = true;
            map.next_value_seed(Entry { out: &mut *self.out, path: &mut *self.path })?;
            self.path.truncate(prefix);
        }
    }
}

/// Hands a key over without allocating.
struct Key<F: FnMut(&str)>(F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Key<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<F: FnMut(&str)> Visitor<'_> for Key<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(mut self, key: &str) -> Result<(), E> {
        (self.0)(key);
        Ok(())
    }
}

/// The value of one entry.
struct Entry<'a> {
    out: &'a mut Assembler,
    path: &'a mut String,
}

impl Entry<'_> {
    fn set(self, value: Scalar) {
        let field = self.out.field(self.path);
        self.out.set(field, value);
    }
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.set(Scalar::Bool(value));
        Ok(())
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.set(Scalar::Int(value));
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.set(i64::try_from(value).map_or(Scalar::UInt(value), Scalar::Int));
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.set(Scalar::Double(value));
        Ok(())
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let field = self.out.field(self.path);
        self.out.set_text(field, value);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let field = self.out.field(self.path);
        self.out.set_json(field, |text| TypedJson(text).visit_seq(seq))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if self.path.is_empty() {
            // An empty key has no path to nest under.
            let field = self.out.field(self.path);
            return self.out.set_json(field, |text| TypedJson(text).visit_map(map));
        }
        let any = Fields { out: &mut *self.out, path: &mut *self.path }.visit_map(map)?;
        if !any {
            let field = self.out.field(self.path);
            return self.out.set_json(field, |text| {
                text.push_str("{}");
                Ok(())
            });
        }
        Ok(())
    }
}

/// Writes a JSON value as typed JSON.
struct TypedJson<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for TypedJson<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TypedJson<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push_str("null");
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        typed_json::write(self.0, &Value::Bool(value));
        Ok(())
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        typed_json::write(self.0, &Value::Int(value));
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value).map_or(Value::Double(value as f64), Value::Int);
        typed_json::write(self.0, &value);
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        typed_json::write(self.0, &Value::Double(value));
        Ok(())
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        typed_json::write(self.0, &Value::Text(value));
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push('[');
        while seq.next_element_seed(TypedJson(&mut *self.0))?.is_some() {
            self.0.push(',');
        }
        close(self.0, ']');
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push('{');
        while map.next_key_seed(Key(|key: &str| typed_json::write_key(self.0, key)))?.is_some() {
            map.next_value_seed(TypedJson(&mut *self.0))?;
            self.0.push(',');
        }
        close(self.0, '}');
        Ok(())
    }
}

/// Replaces the comma after the last item, if there is one, by the closing bracket.
fn close(text: &mut String, close: char) {
    if text.ends_with(',') {
        text.pop();
    }
    text.push(close);
}

/// A JSON value as typed JSON.
pub(super) fn typed_json_of(json: &str) -> Result<String, serde_json::Error> {
    let mut text = String::with_capacity(json.len());
    let mut reader = serde_json::Deserializer::from_str(json);
    TypedJson(&mut text).deserialize(&mut reader)?;
    reader.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{AttributeKey, AttributeType, EventBatch, Level};
    use crate::ingest::record::testing::{self, core, shown};

    fn lines(text: &str) -> Decoded {
        decode_lines(text.as_bytes(), &FieldMap::default(), 7).unwrap()
    }

    #[test]
    fn a_log_line_becomes_a_log() {
        let decoded = lines(
            r#"{"time":"2023-01-30T12:51:46.5+01:00","level":"WARN","msg":"slow","service":"cart","trace_id":"4BF92F35-77b3-4da6-a3ce-929d0e0e4736","http":{"status":200,"ratio":2.0,"tags":["a",1,1.0,{"$x":null}]},"ok":true,"zip":"0123","gone":null,"empty":{}}"#,
        );
        assert_eq!(decoded.refused, []);
        let b = &decoded.batch;
        assert_eq!(core(b, 0, "timestamp"), "2023-01-30T11:51:46.500Z");
        assert_eq!(core(b, 0, "signal"), "log");
        assert_eq!(core(b, 0, "severity"), "WARN");
        assert_eq!(core(b, 0, "severity_number"), "13");
        assert_eq!(core(b, 0, "body"), "slow");
        assert_eq!(core(b, 0, "trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            shown(b, 0),
            [
                "empty = Json(\"{}\")",
                "http.ratio = Double(2.0)",
                "http.status = Int(200)",
                "http.tags = Json(\"[\\\"a\\\",1,1.0,{\\\"$$x\\\":null}]\")",
                "ok = Bool(true)",
                "zip = Text(\"0123\")",
                "resource.service.name = Text(\"cart\")",
            ]
        );
    }

    #[test]
    fn a_span_id_and_a_duration_make_a_span() {
        let decoded = lines(
            "{\"ts\":1675079506.25,\"span_id\":\"dd8e061dd1813199\",\"parent_id\":\"root\",\"duration_ms\":12.5,\"name\":\"GET /\",\"kind\":\"SERVER\",\"status\":\"ok\"}\n\
             {\"start_time\":1000000000000,\"end_time\":1000000000250,\"span_id\":\"00000000000000a1\",\"duration\":250,\"status\":404}\n\
             {\"ts\":1,\"span_id\":\"00000000000000a1\",\"duration\":250}\n",
        );
        assert_eq!(decoded.refused, []);
        let b = &decoded.batch;
        assert_eq!([0, 1, 2].map(|r| core(b, r, "signal")), ["span", "span", "span"]);
        assert_eq!([0, 1, 2].map(|r| core(b, r, "duration_ns")), ["12500000", "250000000", ""]);
        assert_eq!(core(b, 0, "timestamp"), "2023-01-30T11:51:46.250Z");
        assert_eq!(core(b, 0, "kind"), "server");
        assert_eq!(core(b, 0, "parent_span_id"), "");
        assert_eq!(shown(b, 0), Vec::<String>::new());
        // What has no unit, and what is an HTTP status, is nobody's but the producer's.
        assert_eq!(shown(b, 1), ["duration = Int(250)", "attributes.status = Int(404)"]);
        assert_eq!(decoded.hints.duration_without_unit.as_deref(), Some("duration"));
    }

    #[test]
    fn bad_lines_are_refused_alone() {
        let decoded = lines("{\"a\":1}\nnope\n\n{\"time\":\"teatime\"}\n[1]\n{\"a\":2}\n{\"a\":\"\u{1}\"}\n");
        assert_eq!(decoded.batch.rows(), 2);
        assert_eq!(decoded.refused.iter().map(|r| r.position).collect::<Vec<_>>(), [1, 3, 4, 6]);
        assert_eq!(decoded.refused[1].reason, "field \"time\": \"teatime\" is no time that is understood");
        assert_eq!(decoded.hints.without_time, 2);
        assert_eq!(core(&decoded.batch, 0, "timestamp_origin"), "received");
    }

    #[test]
    fn values_may_span_lines_and_be_an_array() {
        let text = "[\n {\"a\":\n 1},\n {\"a\":2}, bad ]\n";
        let decoded = decode_values(text.as_bytes(), &FieldMap::default(), 0).unwrap();
        assert_eq!(decoded.batch.rows(), 2);
        assert_eq!(decoded.refused.iter().map(|r| r.position).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_person_decides() {
        let map = FieldMap::parse(
            &["time=when,duration_us=cost", "name=op"],
            &["signal=span", "service.name=shop"],
        )
        .unwrap();
        let decoded = decode_lines(
            b"{\"when\":12,\"cost\":5,\"op\":\"x\",\"service\":\"other\"}\n{\"when\":[]}\n{\"when\":\"x\"}",
            &map,
            0,
        )
        .unwrap();
        assert_eq!(core(&decoded.batch, 0, "duration_ns"), "5000");
        assert_eq!(core(&decoded.batch, 0, "signal"), "span");
        assert_eq!(core(&decoded.batch, 0, "name"), "x");
        assert!(shown(&decoded.batch, 0).contains(&"resource.service.name = Text(\"shop\")".to_owned()));
        assert_eq!(decoded.refused.len(), 2);
        assert!(decoded.refused[1].reason.contains("mapped"), "{}", decoded.refused[1].reason);
    }

    #[test]
    fn real_status_lines_go_in_whole() {
        let text = testing::read("nginxplus/status.ndjson");
        let decoded = decode_lines(&text, &FieldMap::default(), 0).unwrap();
        assert_eq!((decoded.batch.rows(), decoded.refused.len()), (20, 0));
        assert_eq!(core(&decoded.batch, 0, "timestamp"), "2015-10-30T23:58:19.322Z");
        let key = AttributeKey::new(Level::Record, "server_zones.hg.nginx.org.responses.2xx");
        assert_eq!(decoded.batch.attribute(&key)[0].attribute_type(), AttributeType::Int);
    }

    /// Every leaf of a document, by path, as the decoder should see it.
    fn leaves(path: &str, value: &serde_json::Value, out: &mut Vec<String>) {
        use serde_json::Value as J;
        match value {
            J::Null => {}
            J::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    leaves(&format!("{path}.{key}"), value, out);
                }
            }
            J::Object(_) => out.push(format!("{path} = Json(\"{{}}\")")),
            J::Array(_) => out.push(format!("{path} = Json({:?})", value.to_string())),
            J::Bool(b) => out.push(format!("{path} = Bool({b:?})")),
            J::Number(n) => out.push(match n.as_i64() {
                Some(i) => format!("{path} = Int({i})"),
                None => format!("{path} = Double({:?})", n.as_f64().unwrap()),
            }),
            J::String(s) => out.push(format!("{path} = Text({s:?})")),
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1.0e9..1.0e9_f64).prop_map(|d| (d + 0.5).into()),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn attributes(batch: &EventBatch) -> Vec<String> {
        shown(batch, 0)
    }

    proptest! {
        #[test]
        fn what_serde_reads_is_what_goes_in(value in proptest::collection::btree_map("[a-z]{1,4}", any_json(), 0..5)) {
            // Under a key of our own, so that no field has a meaning.
            let document = serde_json::json!({ "x!": value });
            let decoded = lines(&document.to_string());
            prop_assert_eq!(decoded.refused.len(), 0);
            let mut expected = Vec::new();
            leaves("x!", &document["x!"], &mut expected);
            expected.sort();
            let mut found = attributes(&decoded.batch);
            found.sort();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_events_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0.0..1.0_f64, flip in any::<u8>()) {
            decode_lines(&bytes, &FieldMap::default(), 0).unwrap();
            decode_values(&bytes, &FieldMap::default(), 0).unwrap();
            let mut real = br#"{"time":"2023-01-30T12:51:46.5+01:00","level":30,"span_id":"dd8e061dd1813199","duration":"1m2.5s","a":{"b":[1,{"c":-1e3}]}}"#.to_vec();
            let at = (real.len() as f64 * cut) as usize;
            real[at] = flip;
            decode_lines(&real, &FieldMap::default(), 0).unwrap();
            decode_lines(&real[..at], &FieldMap::default(), 0).unwrap();
        }
    }
}
