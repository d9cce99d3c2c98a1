//! Where does one record end and the next begin?
//!
//! A big file is cut into chunks of whole records, so that chunks can be decoded independently and memory
//! stays bounded. [`whole`] returns the length of the whole records in a buffer; [`records`] lists the records
//! of a chunk.
//!
//! ```text
//! Lines             record '\n' …
//! Csv               fields, quotes around newlines; a quote opens only at the start of a field; the lines up
//!                   to a quote that never closes are not a record ([`csv`])
//! JsonValues        '{' … '}', with anything but braces between: white space, commas, an array's brackets
//! VarintDelimited   length as protobuf varint, message …        (protobuf's writeDelimitedTo)
//! Be32Delimited     length as 4 bytes, big endian, message …    (the Collector's file exporter)
//! ProtobufFields    the top-level fields of one message: any run of them is also a message, because the
//!                   fields of OTLP's requests are repeated
//! ```

mod csv;

use std::ops::Range;

pub(super) use self::csv::{CsvSpan, csv_span};
use crate::error::{Error, ErrorKind, Result};

/// Largest record, in bytes: a line, a JSON document, a message. The record and its decoded events must fit into
/// memory, next to those of the other threads.
pub const RECORD_BYTES_MAX: usize = 128 << 20;

/// Rule that separates the records of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One record per line.
    Lines,
    /// Delimited text with quotes.
    Csv {
        /// Byte between fields.
        delimiter: u8,
    },
    /// JSON objects, one after the other.
    JsonValues,
    /// Messages, each preceded by its length as a varint.
    VarintDelimited,
    /// Messages, each preceded by its length as a 32-bit big-endian integer.
    Be32Delimited,
    /// One protobuf message, cut between its fields.
    ProtobufFields,
}

/// Length in bytes of the whole records at the start of `buffer`; 0 if the first one is not complete.
///
/// Fails with [`ErrorKind::InvalidInput`] if the first frame is malformed or announces a record larger than
/// [`RECORD_BYTES_MAX`]. Records before such a frame are returned first; the next call fails. O(n).
pub fn whole(framing: Framing, buffer: &[u8]) -> Result<usize> {
    match framing {
        Framing::Lines => Ok(buffer.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1)),
        Framing::Csv { delimiter } => Ok(csv::whole(buffer, delimiter)),
        Framing::JsonValues => {
            let mut end = 0;
            json_values(buffer, |range| end = range.end);
            Ok(end)
        }
        Framing::VarintDelimited | Framing::Be32Delimited | Framing::ProtobufFields => {
            let mut at = 0;
            loop {
                match frame(framing, &buffer[at..]) {
                    Ok(Some(range)) if range.end > 0 => at += range.end,
                    Ok(_) => return Ok(at),
                    Err(_) if at > 0 => return Ok(at),
                    Err(e) => return Err(e),
                }
            }
        }
    }
}

/// Lists the records of a chunk as ranges of their contents, without lengths and line ends. An incomplete record
/// at the end is included for its decoder to refuse. Empty records are left out.
///
/// Fails with [`ErrorKind::InvalidInput`] if a frame of length-delimited messages is malformed or incomplete.
pub fn records(framing: Framing, chunk: &[u8]) -> Result<Vec<Range<usize>>> {
    let mut records = Vec::new();
    match framing {
        Framing::Lines | Framing::Csv { .. } => {
            let mut start = 0;
            for line in chunk.split(|b| *b == b'\n') {
                records.push(start..start + line.len());
                start += line.len() + 1;
            }
            records.retain(|r| !chunk[r.clone()].trim_ascii().is_empty());
        }
        Framing::JsonValues => {
            let mut end = 0;
            json_values(chunk, |range| {
                push_junk(chunk, end..range.start, &mut records);
                end = range.end;
                records.push(range);
            });
            push_junk(chunk, end..chunk.len(), &mut records);
        }
        Framing::ProtobufFields => records.extend((!chunk.is_empty()).then_some(0..chunk.len())),
        Framing::VarintDelimited | Framing::Be32Delimited => {
            let mut at = 0;
            while at < chunk.len() {
                let Some(range) = frame(framing, &chunk[at..])? else {
                    return Err(Error::invalid("the file ends in the middle of a length-delimited message"));
                };
                if !range.is_empty() {
                    records.push(at + range.start..at + range.end);
                }
                at += range.end;
            }
        }
    }
    Ok(records)
}

/// Lists the top-level fields of a protobuf message, tags included: each is a message of the same type. An
/// unreadable rest at the end is one more.
pub fn fields(message: &[u8]) -> Vec<Range<usize>> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let length = match frame(Framing::ProtobufFields, &message[at..]) {
            Ok(Some(range)) if range.end > 0 => range.end,
            _ => message.len() - at,
        };
        fields.push(at..at + length);
        at += length;
    }
    fields
}

/// Adds text between JSON objects that should not be there, as one record for the decoder to refuse.
fn push_junk(chunk: &[u8], range: Range<usize>, records: &mut Vec<Range<usize>>) {
    let harmless = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'[' | b']' | 0x1e);
    let junk = &chunk[range.clone()];
    let Some(first) = junk.iter().position(|b| !harmless(b)) else { return };
    let last = junk.iter().rposition(|b| !harmless(b)).unwrap_or(first);
    // A byte order mark is not a record.
    if &junk[first..=last] != b"\xef\xbb\xbf" {
        records.push(range.start + first..range.start + last + 1);
    }
}

/// Calls `found` with the range of every complete object.
fn json_values(buffer: &[u8], mut found: impl FnMut(Range<usize>)) {
    let (mut depth, mut start) = (0_usize, 0);
    let mut i = 0;
    while i < buffer.len() {
        match buffer[i] {
            b'"' if depth > 0 => {
                i += 1;
                while i < buffer.len() && buffer[i] != b'"' {
                    i += if buffer[i] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => {
                if depth == 0 {
                    start = i;
                }
                depth += 1;
            }
            b'}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    found(start..i + 1);
                }
            }
            _ => {}
        }
        i += 1;
    }
}

/// Range of the contents of the first frame of `buffer`; the next frame begins at its end. `None` if the frame is
/// not complete.
fn frame(framing: Framing, buffer: &[u8]) -> Result<Option<Range<usize>>> {
    let (start, length) = match framing {
        Framing::Be32Delimited => {
            let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
            (4, u64::from(u32::from_be_bytes(*prefix)))
        }
        Framing::ProtobufFields => match field(buffer)? {
            Some((start, length)) => (start, length),
            None => return Ok(None),
        },
        _ => match varint(buffer)? {
            Some((length, start)) => (start, length),
            None => return Ok(None),
        },
    };
    if length > RECORD_BYTES_MAX as u64 {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "a record is {length} bytes long by its length prefix; the limit is {RECORD_BYTES_MAX} bytes"
            ),
        ));
    }
    let end = start + length as usize;
    Ok((end <= buffer.len()).then_some(start..end))
}

/// Start and length of the contents of the first protobuf field.
fn field(buffer: &[u8]) -> Result<Option<(usize, u64)>> {
    let Some((tag, at)) = varint(buffer)? else { return Ok(None) };
    if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
        return Err(Error::invalid("not protobuf: a field number is 0 or longer than 29 bits"));
    }
    match tag & 7 {
        0 => Ok(varint(&buffer[at..])?.map(|(_, length)| (at, length as u64))),
        1 => Ok(Some((at, 8))),
        2 => Ok(varint(&buffer[at..])?.map(|(length, bytes)| (at + bytes, length))),
        5 => Ok(Some((at, 4))),
        wire => {
            Err(Error::invalid(format!("not protobuf: a field has wire type {wire}; expected 0, 1, 2 or 5")))
        }
    }
}

/// Value and length in bytes of a protobuf varint; `None` if it is not complete.
fn varint(buffer: &[u8]) -> Result<Option<(u64, usize)>> {
    let mut value = 0_u64;
    for (i, byte) in buffer.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    if buffer.len() >= 10 {
        Err(Error::invalid("not protobuf: a varint is longer than 10 bytes"))
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAMINGS: [Framing; 6] = [
        Framing::Lines,
        Framing::Csv { delimiter: b',' },
        Framing::JsonValues,
        Framing::VarintDelimited,
        Framing::Be32Delimited,
        Framing::ProtobufFields,
    ];

    fn texts(framing: Framing, chunk: &[u8]) -> Vec<String> {
        let records = records(framing, chunk).unwrap();
        records.into_iter().map(|r| String::from_utf8_lossy(&chunk[r]).into_owned()).collect()
    }

    #[test]
    fn only_whole_records_count() {
        let csv = Framing::Csv { delimiter: b',' };
        for (framing, buffer, expected) in [
            (Framing::Lines, &b"a\nb\nc"[..], 4),
            (Framing::Lines, b"abc", 0),
            (csv, b"a,\"x\ny\"\n\"un", 8),
            (csv, b"a,\"x\"\"\n", 0),
            (csv, b"5\" pipe,b\nrest", 10),
            // If the quote of the next field would close it, the first quote was never closed.
            (csv, b"a,\"open\nb,\"closed\"\nrest", 19),
            (csv, b"a,\"open\nb,\"closed\"", 8),
            (Framing::JsonValues, b"[{\"a\":\"}\\\"\"},\n {\"b\":[1,{}]}, {\"c\"", 27),
            (Framing::VarintDelimited, b"\x02ab\x01c\x05de", 5),
            (Framing::Be32Delimited, b"\0\0\0\x02ab\0\0\0\x05de", 6),
            (Framing::ProtobufFields, b"\x0a\x02ab\x0a\x01c\x0a\x09d", 7),
        ] {
            assert_eq!(whole(framing, buffer).unwrap(), expected, "{framing:?}");
        }
    }

    #[test]
    fn records_are_told_apart() {
        assert_eq!(texts(Framing::Lines, b"a\n\n b\n"), ["a", " b"]);
        assert_eq!(
            texts(Framing::JsonValues, b"[{\"a\":1}, {\"b\":2}] oops {"),
            ["{\"a\":1}", "{\"b\":2}", "oops {"]
        );
        assert_eq!(texts(Framing::VarintDelimited, b"\x02ab\x00\x01c"), ["ab", "c"]);
        assert!(records(Framing::VarintDelimited, b"\x02ab\x05c").is_err());
    }

    #[test]
    fn nonsense_is_an_error_behind_what_makes_sense() {
        let huge = b"\x02ab\xff\xff\xff\xff\xff\x01";
        assert_eq!(whole(Framing::VarintDelimited, huge).unwrap(), 3);
        assert!(whole(Framing::VarintDelimited, &huge[3..]).is_err());
        assert!(whole(Framing::ProtobufFields, b"\x07rest of it").is_err());
        assert!(whole(Framing::ProtobufFields, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_cut(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for framing in FRAMINGS {
                if let Ok(end) = whole(framing, &bytes) {
                    prop_assert!(end <= bytes.len());
                    // The part cut off consists of whole records, too.
                    prop_assert_eq!(whole(framing, &bytes[..end]).unwrap(), end);
                }
                for range in records(framing, &bytes).unwrap_or_default() {
                    prop_assert!(range.end <= bytes.len());
                }
            }
        }

        #[test]
        fn csv_is_cut_where_the_csv_crate_ends_records(rows in proptest::collection::vec(
            proptest::collection::vec("[a\",\n\r]{0,6}", 2..4), 1..8)) {
            let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let framing = Framing::Csv { delimiter: b',' };
            let mut ends = std::collections::BTreeSet::new();
            for length in 0..=bytes.len() {
                ends.insert(whole(framing, &bytes[..length]).unwrap());
            }
            // One end per row, and the beginning.
            prop_assert_eq!(ends.len(), rows.len() + 1);
        }
    }
}
