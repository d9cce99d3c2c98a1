//! Where do the records of delimited text end, and which quotes never close?
//!
//! RFC 4180: a field's opening quote is closed by a quote before a delimiter, a line end or the end of the text; two
//! quotes in a row stand for one. If the closing quote was forgotten, the field swallows lines up to the next field
//! with quotes, whose opening quote then stands before a letter. So an opening quote counts as never closed if
//!
//! - the next single quote is on a later line and does not stand before a delimiter, a line end or the end, or
//! - there is no such quote up to the end of the text or within [`QUOTED_BYTES_MAX`].
//!
//! On the line of the opening quote, text after the closing quote belongs to the field, as in other readers.

use std::ops::Range;

/// Longest field in quotes, in bytes. In a longer one the closing quote was forgotten.
const QUOTED_BYTES_MAX: usize = 16 << 20;

/// Whole records at the start of delimited text, and the torn lines after them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ingest) struct CsvSpan {
    /// Length of the whole records, in bytes.
    pub(in crate::ingest) records: usize,
    /// Lines after the records, if a quote in them never closes.
    pub(in crate::ingest) torn: Option<Torn>,
}

/// Lines that are not a record, because a quote in the last one never closes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ingest) struct Torn {
    /// Byte range of the lines.
    pub(in crate::ingest) lines: Range<usize>,
    /// Byte position of the quote.
    pub(in crate::ingest) quote: usize,
}

/// Finds the records at the start of `text`. If `complete`, nothing comes after the text: the last record needs no
/// line end, and an open quote never closes.
pub(in crate::ingest) fn csv_span(text: &[u8], delimiter: u8, complete: bool) -> CsvSpan {
    let (mut end, mut i) = (0, 0);
    let mut field_start = true;
    while i < text.len() {
        let byte = text[i];
        if byte == b'"' && field_start {
            match quoted(text, i, delimiter, complete) {
                Quoted::Closed(after) => {
                    i = after;
                    field_start = false;
                    continue;
                }
                Quoted::Open if !complete && text.len() - i <= QUOTED_BYTES_MAX => {
                    return CsvSpan { records: end, torn: None };
                }
                Quoted::Open | Quoted::Never => {
                    let line = text[i..].iter().position(|b| *b == b'\n');
                    let lines = end..line.map_or(text.len(), |length| i + length + 1);
                    return CsvSpan { records: end, torn: Some(Torn { lines, quote: i }) };
                }
            }
        }
        if byte == b'\n' {
            end = i + 1;
        }
        field_start = byte == delimiter || byte == b'\n' || byte == b'\r';
        i += 1;
    }
    CsvSpan { records: if complete { text.len() } else { end }, torn: None }
}

/// Length in bytes of the whole records and torn lines at the start of `buffer`.
pub(super) fn whole(buffer: &[u8], delimiter: u8) -> usize {
    let mut end = 0;
    loop {
        let span = csv_span(&buffer[end..], delimiter, false);
        match span.torn {
            // A torn line without a line end may continue after the buffer.
            Some(torn) if buffer[..end + torn.lines.end].ends_with(b"\n") => end += torn.lines.end,
            _ => return end + span.records,
        }
    }
}

enum Quoted {
    /// Position after the closing quote.
    Closed(usize),
    /// The text ends before the closing quote.
    Open,
    /// There is no closing quote.
    Never,
}

/// Finds the closing quote of the quote at `open`.
fn quoted(text: &[u8], open: usize, delimiter: u8, complete: bool) -> Quoted {
    let (mut i, mut lines) = (open + 1, false);
    while i < text.len() {
        match text[i] {
            b'"' => match text.get(i + 1) {
                Some(b'"') => i += 1,
                Some(next) if lines && *next != delimiter && !matches!(next, b'\n' | b'\r') => {
                    return Quoted::Never;
                }
                // The next byte, after the buffer, may be another quote.
                None if lines && !complete => return Quoted::Open,
                _ => return Quoted::Closed(i + 1),
            },
            b'\n' => lines = true,
            _ => {}
        }
        i += 1;
    }
    Quoted::Open
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records, and the torn lines with the position of their quote.
    fn cut(mut text: &str) -> Vec<(&str, Option<usize>)> {
        let mut found = Vec::new();
        while !text.is_empty() {
            let span = csv_span(text.as_bytes(), b',', true);
            found.extend((span.records > 0).then(|| (&text[..span.records], None)));
            let Some(torn) = span.torn else { break };
            found.push((&text[torn.lines.clone()], Some(torn.quote - torn.lines.start)));
            text = &text[torn.lines.end..];
        }
        found
    }

    #[test]
    fn a_quote_that_never_closes_costs_its_line() {
        for (text, expected) in [
            ("a,\"x\ny\",b\nc,d\n", vec![("a,\"x\ny\",b\nc,d\n", None)]),
            ("a,\"never\nb,c\n", vec![("a,\"never\n", Some(2)), ("b,c\n", None)]),
            ("z\na,\"never\nb,\"x\"\n", vec![("z\n", None), ("a,\"never\n", Some(2)), ("b,\"x\"\n", None)]),
            ("a,\"never", vec![("a,\"never", Some(2))]),
            ("a,\"\"", vec![("a,\"\"", None)]),
            ("a,\"x\ny\"", vec![("a,\"x\ny\"", None)]),
            ("\"x\"y\nb,\"z\"\n", vec![("\"x\"y\nb,\"z\"\n", None)]),
            (
                "\"one\ntwo\",\"never\nb,\"c\"\n",
                vec![("\"one\ntwo\",\"never\n", Some(10)), ("b,\"c\"\n", None)],
            ),
        ] {
            assert_eq!(cut(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_does_not_close_for_megabytes_never_does() {
        let mut text = b"a,\"never\n".to_vec();
        text.extend(b"b,c\n".repeat(QUOTED_BYTES_MAX / 4 + 10));
        assert_eq!(whole(&text[..1000], b','), 0);
        assert_eq!(whole(&text, b','), text.len());
    }
}
