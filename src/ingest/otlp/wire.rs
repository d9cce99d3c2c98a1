//! How is the protobuf wire format read without copying?
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
//! A server receives mostly spans and log records, and these consist mostly of attributes. Generated messages
//! allocate twice per attribute when they are decoded; here a field borrows from the request.
//!
//! The accepted input is the same as `prost`'s. Unknown fields are skipped, as are groups (wire types 3 and 4), which
//! no OTLP message ever had. If a scalar occurs twice, the last one counts; pieces of a message are merged
//! ([`merge`]). Text must be UTF-8.

use std::borrow::Cow;
use std::fmt;

/// Deepest nesting of groups that is skipped; prost's limit.
const GROUPS_MAX: usize = 100;

/// Adds a further piece of an embedded message. By the definition of the encoding, concatenating the bytes of messages
/// merges the messages.
pub(super) fn merge<'a>(message: &mut Cow<'a, [u8]>, piece: &'a [u8]) {
    if message.is_empty() {
        *message = Cow::Borrowed(piece);
    } else {
        message.to_mut().extend_from_slice(piece);
    }
}

/// Reason why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireError {
    /// A value extends beyond the end.
    Truncated,
    /// A varint has more than ten bytes or 64 bits.
    Varint,
    /// A tag has an invalid field number or wire type, or groups do not match.
    Tag,
    /// The field does not have the wire type that the protocol defines.
    Type { field: u32 },
    /// The text field is not UTF-8.
    Utf8 { field: u32 },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the protobuf message is truncated"),
            Self::Varint => f.write_str("a protobuf integer is longer than ten bytes or 64 bits"),
            Self::Tag => f.write_str("a protobuf tag is invalid"),
            Self::Type { field } => write!(f, "protobuf field {field} has an unexpected wire type"),
            Self::Utf8 { field } => write!(f, "protobuf field {field} is not UTF-8 text"),
        }
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field<'a> {
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

    /// Reads `bool`, `int32`, `int64`, `uint32`, `uint64` and enums; narrower types keep the low bits.
    pub(super) fn varint(&self) -> Result<u64, WireError> {
        if let WireValue::Varint(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// Reads `fixed64`, or the bits of `sfixed64` and `double`.
    pub(super) fn fixed64(&self) -> Result<u64, WireError> {
        if let WireValue::Fixed64(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// Reads `fixed32`.
    pub(super) fn fixed32(&self) -> Result<u32, WireError> {
        if let WireValue::Fixed32(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// Reads `bytes` and messages.
    pub(super) fn bytes(&self) -> Result<&'a [u8], WireError> {
        if let WireValue::Bytes(v) = self.value { Ok(v) } else { Err(self.mismatch()) }
    }

    /// Reads `string`.
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
    /// Starts at the first field of the message in `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the next field; `None` at the end. Do not call it again after an error.
    #[inline]
    pub(super) fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        while !self.rest.is_empty() {
            let (number, wire_type) = self.tag()?;
            if wire_type == 3 {
                self.skip_group(number)?;
            } else {
                let value = self.value(wire_type)?;
                return Ok(Some(Field { number, value }));
            }
        }
        Ok(None)
    }

    /// Reads a field's number and wire type.
    #[inline]
    fn tag(&mut self) -> Result<(u32, u32), WireError> {
        let tag = u32::try_from(self.varint()?).map_err(|_| WireError::Tag)?;
        if tag >> 3 == 0 { Err(WireError::Tag) } else { Ok((tag >> 3, tag & 7)) }
    }

    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            match self.tag()? {
                (number, 4) if number == *innermost => drop(open.pop()),
                (number, 3) if open.len() < GROUPS_MAX => open.push(number),
                (_, 3 | 4) => return Err(WireError::Tag),
                (_, wire_type) => drop(self.value(wire_type)?),
            }
        }
        Ok(())
    }

    #[inline]
    fn value(&mut self, wire_type: u32) -> Result<WireValue<'a>, WireError> {
        Ok(match wire_type {
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
        })
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
    fn groups_are_skipped() {
        // A group with a varint, text and a group in it, followed by a field.
        let fields = [0x0b, 0x08, 5, 0x1a, 2, 0x0c, 0x0c, 0x13, 0x14, 0x0c, 0x20, 7];
        assert_eq!(read(&fields).unwrap(), [Field { number: 4, value: WireValue::Varint(7) }]);
    }

    #[test]
    fn pieces_of_a_message_are_one() {
        let mut message = Cow::default();
        for piece in [&[0x08, 1][..], &[], &[0x10, 2]] {
            merge(&mut message, piece);
        }
        assert_eq!(*message, [0x08, 1, 0x10, 2]);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert_eq!(read(&[0x1a, 3, 1]), Err(WireError::Truncated));
        assert_eq!(read(&[0x08, 0x80]), Err(WireError::Truncated));
        assert_eq!(read(&[0x11, 1, 2]), Err(WireError::Truncated));
        assert_eq!(read(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), Err(WireError::Varint));
        assert_eq!(read(&[0x00, 1]), Err(WireError::Tag));
        assert_eq!(read(&[0x0b]), Err(WireError::Truncated), "a group without end");
        assert_eq!(read(&[0x0b, 0x14]), Err(WireError::Tag), "the end of another group");
        assert_eq!(read(&[0x0c]), Err(WireError::Tag), "an end without a group");
        assert_eq!(read(&[0x0b; 200]), Err(WireError::Tag), "groups too deep");
        let fields = read(&[0x0a, 1, 0xff]).unwrap();
        assert_eq!(fields[0].text(), Err(WireError::Utf8 { field: 1 }));
    }
}
