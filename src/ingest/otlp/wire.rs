//! The protobuf wire format, read without copying.
//!
//! ```text
//! message = field*
//! field   = tag value          tag = varint of (number << 3 | wire type)
//! value   = varint             wire type 0
//!         | 8 bytes            wire type 1, little-endian
//!         | length:varint byte*  wire type 2: text, bytes, messages
//!         | 4 bytes            wire type 5, little-endian
//! ```
//!
//! Spans and log records are most of what a server receives, and most of them are attributes. Generated
//! messages allocate twice per attribute before anybody looks at it; here a field borrows from the
//! request. What this accepts and refuses is what `prost` does: unknown fields are skipped, of a field that
//! occurs twice the last counts, text must be UTF-8. Groups (wire types 3 and 4), which no OTLP message
//! ever had, are refused.

use std::fmt;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireError {
    /// A value goes beyond the end.
    Truncated,
    /// A varint has more than ten bytes.
    Varint,
    /// A tag is no field number and wire type.
    Tag,
    /// The field has another wire type than the protocol says.
    Type { field: u32 },
    /// The field is text and not UTF-8.
    Utf8 { field: u32 },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the protobuf message is truncated"),
            Self::Varint => f.write_str("a protobuf integer has more than ten bytes"),
            Self::Tag => f.write_str("a protobuf tag is invalid"),
            Self::Type { field } => write!(f, "protobuf field {field} has an unexpected wire type"),
            Self::Utf8 { field } => write!(f, "protobuf field {field} is not UTF-8 text"),
        }
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field<'a> {
    /// Its number.
    pub(super) number: u32,
    value: WireValue<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Field<'a> {
    fn mismatch(&self) -> WireError {
        WireError::Type { field: self.number }
    }

    /// `bool`, `int32`, `int64`, `uint32`, `uint64` and enums; narrower types keep the low bits.
    pub(super) fn varint(&self) -> Result<u64, WireError> {
        if let WireValue::Varint(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// `fixed64`; `sfixed64` and `double` are its bits.
    pub(super) fn fixed64(&self) -> Result<u64, WireError> {
        if let WireValue::Fixed64(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// `fixed32`.
    pub(super) fn fixed32(&self) -> Result<u32, WireError> {
        if let WireValue::Fixed32(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// `bytes` and messages.
    pub(super) fn bytes(&self) -> Result<&'a [u8], WireError> {
        if let WireValue::Bytes(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// `string`.
    pub(super) fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Utf8 { field: self.number })
    }
}

/// Reads the fields of a message, in the order of the bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message in `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field, `None` at the end. After an error the rest is not to be read.
    #[inline]
    pub(super) fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = u32::try_from(self.varint()?).map_err(|_| WireError::Tag)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(WireError::Tag);
        }
        let value = match tag & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => WireValue::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                self.rest = rest;
                WireValue::Bytes(bytes)
            }
            5 => WireValue::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Tag),
        };
        Ok(Some(Field { number, value }))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Field<'_>>, WireError> {
        let mut message = Message::new(bytes);
        std::iter::from_fn(|| message.next_field().transpose()).collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = [
            0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, // 1: varint of 64 bits
            0x11, 1, 0, 0, 0, 0, 0, 0, 0, // 2: fixed64
            0x1a, 2, b'h', b'i', // 3: text
            0xa5, 0x01, 7, 0, 0, 0, // 20: fixed32
        ];
        let fields = read(&bytes).unwrap();
        assert_eq!(fields[0].varint(), Ok(u64::MAX));
        assert_eq!(fields[1].fixed64(), Ok(1));
        assert_eq!(fields[2].text(), Ok("hi"));
        assert_eq!((fields[3].number, fields[3].fixed32()), (20, Ok(7)));
        assert_eq!(fields[2].varint(), Err(WireError::Type { field: 3 }));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert_eq!(read(&[0x1a, 3, 1]), Err(WireError::Truncated));
        assert_eq!(read(&[0x08, 0x80]), Err(WireError::Truncated));
        assert_eq!(read(&[0x11, 1, 2]), Err(WireError::Truncated));
        assert_eq!(read(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), Err(WireError::Varint));
        assert_eq!(read(&[0x00, 1]), Err(WireError::Tag));
        assert_eq!(read(&[0x0b]), Err(WireError::Tag), "a group");
        let fields = read(&[0x0a, 1, 0xff]).unwrap();
        assert_eq!(fields[0].text(), Err(WireError::Utf8 { field: 1 }));
    }
}
