//! How does text of any encoding become UTF-8?
//!
//! Windows writes UTF-8 and UTF-16 with a byte order mark, and its shells redirect output as UTF-16. The mark is not
//! part of the text. UTF-16 without a mark is recognised by the zeros between ASCII characters.

use std::io::{self, Cursor, Error, ErrorKind, Read};

/// Bytes by which the encoding is recognised.
const HEAD_BYTES: usize = 8;

/// UTF-16 units decoded at once.
const UNITS: usize = 32 << 10;

/// Returns the text of `raw` as UTF-8 without a byte order mark; bytes that are not text stay as they are.
pub(super) fn utf8(mut raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    raw.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let (mark_bytes, big_endian) = match &head[..] {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "the text is UTF-32, which is not supported: convert it to UTF-8",
            ));
        }
        [0xef, 0xbb, 0xbf, ..] => (3, None),
        [0xff, 0xfe, ..] => (2, Some(false)),
        [0xfe, 0xff, ..] => (2, Some(true)),
        head => (0, wide_ascii(head)),
    };
    head.drain(..mark_bytes);
    let rest = Cursor::new(head).chain(raw);
    Ok(match big_endian {
        Some(big_endian) => {
            Box::new(Utf16 { inner: rest, big_endian, left: Vec::new(), text: Cursor::default() })
        }
        None => Box::new(rest),
    })
}

/// True for big endian, false for little endian, if every other byte is zero and the others are ASCII text. The first
/// character must be visible: protobuf messages can begin like a line end in UTF-16.
fn wide_ascii(head: &[u8]) -> Option<bool> {
    let text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let wide = |low: usize| {
        head.len() == HEAD_BYTES
            && head[low].is_ascii_graphic()
            && head.chunks(2).all(|unit| text(&unit[low]) && unit[1 - low] == 0)
    };
    if wide(0) { Some(false) } else { wide(1).then_some(true) }
}

/// Reader that converts UTF-16 to UTF-8; invalid units become U+FFFD.
struct Utf16<R> {
    inner: R,
    big_endian: bool,
    /// Bytes that cannot be decoded before more are read.
    left: Vec<u8>,
    text: Cursor<Vec<u8>>,
}

impl<R: Read> Utf16<R> {
    /// Decodes the next units; returns false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut bytes = std::mem::take(&mut self.left);
        let before = bytes.len();
        self.inner.by_ref().take(2 * UNITS as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let unit = |pair: &[u8]| {
            let pair = [pair[0], pair[1]];
            if self.big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let mut units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
        let ended = bytes.len() == before;
        let odd = bytes.chunks_exact(2).remainder();
        if !ended {
            // Keep the first half of a surrogate pair until the second is read.
            let first_half = units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit));
            let left = odd.len() + if first_half { 2 } else { 0 };
            self.left = bytes[bytes.len() - left..].to_vec();
            units.truncate(units.len() - usize::from(first_half));
        }
        let mut text = String::with_capacity(units.len());
        text.extend(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
        if ended && !odd.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        self.text = Cursor::new(text.into_bytes());
        Ok(true)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.text.read(buffer)?;
            if n > 0 || buffer.is_empty() || !self.fill()? {
                return Ok(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> String {
        let mut text = String::new();
        utf8(Box::new(Cursor::new(bytes))).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn texts_of_every_encoding_are_the_same() {
        let text = "{\"a\":\"é\u{1f600}\"}\n".repeat(UNITS / 5);
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.clone().into_bytes(),
            ["\u{feff}".as_bytes(), text.as_bytes()].concat(),
            [&[0xff, 0xfe][..], &little].concat(),
            [&[0xfe, 0xff][..], &big].concat(),
            little,
            big,
        ] {
            assert!(read(bytes) == text);
        }
    }

    #[test]
    fn what_is_no_text_stays_and_what_is_no_utf_16_is_replaced() {
        for bytes in [&b""[..], b"a", b"\xff", b"\0\0\0\x05abcde", b"\n\0\n\0\n\0\n\0\n\0"] {
            let mut found = Vec::new();
            utf8(Box::new(Cursor::new(bytes.to_vec()))).unwrap().read_to_end(&mut found).unwrap();
            assert_eq!(found, bytes);
        }
        assert_eq!(read(b"\xff\xfea\0\x3d\xd8b\0\x3d\xd8".to_vec()), "a\u{fffd}b\u{fffd}");
        assert_eq!(read(b"\xff\xfea\0b".to_vec()), "a\u{fffd}");
        assert!(utf8(Box::new(Cursor::new(b"\xff\xfe\0\0a\0\0\0".to_vec()))).is_err());
    }
}
