//! How do OTLP's `KeyValue` and `AnyValue` become [`Value`]s?
//!
//! Scalars borrow from the request. Arrays and key-value lists become typed JSON in an arena, so that a whole
//! record is checked before its first attribute is stored. An attribute without a value is not stored and reads
//! as null; it does not affect the type of its key. Inside arrays and lists, a missing value is `null`.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;

use super::record::Defect;
use super::wire::{Field, Message};
use crate::event::{Value, typed_json};

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Any text, even empty.
    pub(super) key: &'a str,
    pub(super) value: AnyRef<'a>,
}

/// A borrowed value. A structured one is a range of the arena.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnyRef<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    /// Typed JSON: start and end in the arena.
    Json(usize, usize),
    Unset,
}

impl<'a> AnyRef<'a> {
    /// Returns the value; `arena` must be the one that it was read into.
    pub(super) fn value<'v>(&self, arena: &'v str) -> Value<'v>
    where
        'a: 'v,
    {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::Int(*i),
            Self::Double(d) => Value::Double(*d),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Json(start, end) => Value::Json(&arena[*start..*end]),
            Self::Unset => Value::Json(typed_json::NULL),
        }
    }

    /// Reads an `AnyValue` from its pieces, nearly always a single one.
    fn read(pieces: &[&'a [u8]], arena: &mut String) -> Result<Self, Defect> {
        let mut value = Some(Self::Unset);
        for piece in pieces {
            let mut message = Message::new(piece);
            while let Some(field) = message.next_field()? {
                value = match field.number {
                    1 => Some(Self::Text(field.text()?)),
                    2 => Some(Self::Bool(field.varint()? != 0)),
                    3 => Some(Self::Int(field.varint()? as i64)),
                    4 => Some(Self::Double(f64::from_bits(field.fixed64()?))),
                    5 | 6 => None,
                    7 => Some(Self::Bytes(field.bytes()?)),
                    // A reference into another signal's string table. OTLP: read it as no value.
                    8 => Some(Self::Unset),
                    _ => value,
                };
            }
        }
        value.map_or_else(|| Self::structured(&pieces.concat(), arena), Ok)
    }

    /// Reads an array or key-value list. prost's recursion limit bounds the nesting.
    fn structured(bytes: &[u8], arena: &mut String) -> Result<Self, Defect> {
        let any = AnyValue::decode(bytes)?;
        Ok(Self::json(&any, arena))
    }

    fn json(any: &AnyValue, arena: &mut String) -> Self {
        let start = arena.len();
        typed_json::write_any(arena, Some(any));
        Self::Json(start, arena.len())
    }

    /// Converts a decoded message.
    pub(super) fn of(any: Option<&'a AnyValue>, arena: &mut String) -> Self {
        match any.and_then(|any| any.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => Self::Text(text),
            Some(any_value::Value::BoolValue(b)) => Self::Bool(*b),
            Some(any_value::Value::IntValue(i)) => Self::Int(*i),
            Some(any_value::Value::DoubleValue(d)) => Self::Double(*d),
            Some(any_value::Value::BytesValue(bytes)) => Self::Bytes(bytes),
            Some(any_value::Value::ArrayValue(_) | any_value::Value::KvlistValue(_)) => {
                any.map_or(Self::Unset, |any| Self::json(any, arena))
            }
            Some(any_value::Value::StringValueStrindex(_)) | None => Self::Unset,
        }
    }
}

impl<'a> Attribute<'a> {
    /// Reads the `KeyValue` in `field`.
    pub(super) fn read(field: Field<'a>, arena: &mut String) -> Result<Self, Defect> {
        let mut message = Message::new(field.bytes()?);
        let mut key = "";
        let (mut value, mut more): (&[u8], Vec<&[u8]>) = (&[], Vec::new());
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => key = field.text()?,
                2 if value.is_empty() => value = field.bytes()?,
                2 => more.push(field.bytes()?),
                _ => {}
            }
        }
        if more.is_empty() {
            return Ok(Self { key, value: AnyRef::read(&[value], arena)? });
        }
        more.insert(0, value);
        Ok(Self { key, value: AnyRef::read(&more, arena)? })
    }

    /// Converts the attributes of a decoded message.
    pub(super) fn all_of(list: &'a [KeyValue], arena: &mut String) -> Vec<Self> {
        list.iter().map(|kv| Self { key: &kv.key, value: AnyRef::of(kv.value.as_ref(), arena) }).collect()
    }
}

/// A value that outlives the request's bytes: of a resource or scope, copied to every record.
#[derive(Debug, Clone)]
pub(super) enum OwnedValue {
    Text(Box<str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Box<[u8]>),
    Json(Box<str>),
}

impl OwnedValue {
    pub(super) fn new(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.into()),
            Value::Bool(b) => Self::Bool(b),
            Value::Int(i) => Self::Int(i),
            Value::Double(d) => Self::Double(d),
            Value::Bytes(bytes) => Self::Bytes(bytes.into()),
            Value::Json(json) => Self::Json(json.into()),
        }
    }

    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::Int(*i),
            Self::Double(d) => Value::Double(*d),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Json(json) => Value::Json(json),
        }
    }

    /// Approximate size in bytes of one copy of the value, including its row number.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len() + 20,
            Self::Bytes(bytes) => bytes.len() + 20,
            Self::Bool(_) | Self::Int(_) | Self::Double(_) => 12,
        }
    }
}

/// Converts a key-value list to typed JSON; an empty list gives an empty text.
pub(super) fn object(list: &[KeyValue]) -> String {
    let mut json = String::new();
    if !list.is_empty() {
        typed_json::write_list(&mut json, list);
    }
    json
}
