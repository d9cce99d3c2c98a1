//! How do JSON objects, one per line or one after the other, become events?
//!
//! Nested objects flatten to dotted keys (`{"http":{"status":200}}` is `http.status`). Arrays stay typed JSON,
//! integers and doubles keep their type, `null` is an absent field, and text stays text even if it looks like a
//! number. [`super::fields`] defines the meaning of the keys.
//!
//! An object that only holds a list of records (`{"Records":[…]}`) gives one event per record
//! ([`super::envelope`]). Half an emoji becomes U+FFFD. These may surround an object: a byte order mark, a record
//! separator (RFC 7464), and the zero bytes that log rotation leaves.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::envelope;
use super::fields::FieldMap;
use super::framing::{self, Framing};
use super::place::line_ends;
use super::record::{Assembler, Decoded, Refused, Scalar};
use super::repeated_bytes_max;
use super::surrogates;
use crate::error::Result;
use crate::event::{Value, typed_json};

/// Decodes a chunk of whole lines, one object per line; blank lines are skipped. [`Refused::position`] counts lines.
pub fn decode_lines(chunk: &[u8], map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    let mut reader = Reader::new(chunk, map, now_ns);
    let mut start = 0;
    for (position, line) in chunk.split(|b| *b == b'\n').enumerate() {
        reader.record(start..start + line.len(), position as u64);
        start += line.len() + 1;
    }
    reader.finish()
}

/// Decodes a chunk of objects that may span lines, or of an array's elements. [`Refused::position`] counts lines.
pub fn decode_values(chunk: &[u8], map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    let mut reader = Reader::new(chunk, map, now_ns);
    let (mut counted, mut position) = (0, 0);
    for bytes in framing::records(Framing::JsonValues, chunk)? {
        position += line_ends(&chunk[counted..bytes.start]);
        counted = bytes.start;
        reader.record(bytes, position);
    }
    reader.finish()
}

/// Number of lines in `chunk` before the range.
pub(super) fn line_of(chunk: &[u8], bytes: &Range<usize>) -> u64 {
    line_ends(&chunk[..bytes.start])
}

/// Shrinks the range by harmless bytes around an object: white space, byte order marks, record separators, zeros.
pub fn trimmed(chunk: &[u8], bytes: Range<usize>) -> Range<usize> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let harmless = |b: &u8| b.is_ascii_whitespace() || matches!(b, 0 | 0x1e);
    let mut text = &chunk[bytes.clone()];
    let mut start = bytes.start;
    loop {
        let skipped = text.iter().take_while(|b| harmless(b)).count();
        let skipped = skipped + if text[skipped..].starts_with(MARK) { MARK.len() } else { 0 };
        if skipped == 0 {
            break;
        }
        text = &text[skipped..];
        start += skipped;
    }
    start..start + text.iter().rposition(|b| !harmless(b)).map_or(0, |last| last + 1)
}

/// Reads the records of a chunk.
struct Reader<'a> {
    chunk: &'a [u8],
    out: Assembler,
    refused: Vec<Refused>,
    /// Bytes that envelopes may still copy to their records.
    room: usize,
}

impl<'a> Reader<'a> {
    fn new(chunk: &'a [u8], map: &FieldMap, now_ns: i64) -> Self {
        let room = repeated_bytes_max(chunk.len());
        Self { chunk, out: Assembler::new(map, now_ns), refused: Vec::new(), room }
    }

    /// Reads one record, which begins in line `position`. Does nothing if it is blank.
    fn record(&mut self, bytes: Range<usize>, position: u64) {
        let bytes = trimmed(self.chunk, bytes);
        let json = &self.chunk[bytes.clone()];
        if json.is_empty() {
            return;
        }
        let read = read(json, &mut self.out);
        // An object with a list of objects, or one that cannot be read as a whole, may be an envelope.
        if (read.is_err() || self.out.has_list_of_objects()) && self.envelope(&bytes, position) {
            return;
        }
        if let Err(reason) = read.and_then(|()| self.out.commit()) {
            self.refused.push(Refused::text(self.chunk, bytes, position, &reason));
        }
    }

    /// Reads the records of the envelope at `bytes`; false if the object is not an envelope.
    fn envelope(&mut self, bytes: &Range<usize>, position: u64) -> bool {
        let json = &self.chunk[bytes.clone()];
        let Some(envelope) = envelope::open(json) else { return false };
        let repeated = envelope.outer.len().saturating_mul(envelope.records.len());
        let Some(room) = self.room.checked_sub(repeated) else { return false };
        if !envelope.outer.is_empty()
            && serde_json::from_slice::<serde::de::IgnoredAny>(&envelope.outer).is_err()
        {
            return false;
        }
        self.room = room;
        let (mut counted, mut position) = (0, position);
        for record in envelope.records {
            position += line_ends(&json[counted..record.start]);
            counted = record.start;
            let read = read(&json[record.clone()], &mut self.out)
                .and_then(|()| {
                    if envelope.outer.is_empty() { Ok(()) } else { add(&envelope.outer, &mut self.out) }
                })
                .and_then(|()| self.out.commit());
            if let Err(reason) = read {
                let record = bytes.start + record.start..bytes.start + record.end;
                self.refused.push(Refused::text(self.chunk, record, position, &reason));
            }
        }
        if let Some(torn) = envelope.torn {
            position += line_ends(&json[counted..torn.start]);
            let torn = bytes.start + torn.start..bytes.start + torn.end;
            self.refused.push(Refused::text(
                self.chunk,
                torn,
                position,
                "the list of records is cut off: its end is missing",
            ));
        }
        true
    }

    fn finish(self) -> Result<Decoded> {
        let (batch, hints) = self.out.finish()?;
        Ok(Decoded { batch, refused: self.refused, hints })
    }
}

/// Begins a record with the fields of an object. Retries with unpaired surrogates replaced.
fn read(json: &[u8], out: &mut Assembler) -> Result<(), String> {
    out.begin();
    add(json, out).or_else(|reason| {
        let repaired = surrogates::repaired(json).ok_or(reason)?;
        out.begin();
        add(&repaired, out)
    })
}

/// Adds the fields of an object to the record.
fn add(json: &[u8], out: &mut Assembler) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut path = String::new();
    Fields { out, path: &mut path }
        .deserialize(&mut reader)
        .and_then(|_| reader.end())
        .map_err(|e| format!("not a JSON object: {e}"))
}

/// Passes every entry of an object to the assembler, under its path.
struct Fields<'a> {
    out: &'a mut Assembler,
    path: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    /// True if the object had an entry.
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

/// Passes a key to a function without allocating.
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

/// Replaces the comma after the last item, if any, by the closing bracket.
fn close(text: &mut String, close: char) {
    if text.ends_with(',') {
        text.pop();
    }
    text.push(close);
}

/// Converts a JSON value to typed JSON.
pub(super) fn typed_json_of(json: &str) -> Result<String, serde_json::Error> {
    let mut text = String::with_capacity(json.len());
    let mut reader = serde_json::Deserializer::from_str(json);
    TypedJson(&mut text).deserialize(&mut reader)?;
    reader.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests;
