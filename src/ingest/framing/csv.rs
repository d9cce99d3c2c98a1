//! Where delimited text has its records, and where a quote never closes.
//!
//! RFC 4180: a quote that opens a field is closed by one before a delimiter, a line end or the end; two are one of
//! the text. A quote that somebody forgot swallows lines until the next field with quotes, whose opening one then
//! stands before a letter. So a quote that is closed only lines later, and there before something else, never closed;
//! neither did one without any other until the end, or within [`QUOTED_BYTES_MAX`]. Within one line, what is behind a
//! closing quote is more of the field, as other readers have it.

use std::ops::Range;

/// Longest field in quotes, in bytes. A longer one is a quote that somebody forgot.
const QUOTED_BYTES_MAX: usize = 16 << 20;

/// What delimited text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ingest) struct CsvSpan {
    /// Length of the whole records.
    pub(in crate::ingest) records: usize,
    /// Behind them: the lines up to the one in which a quote opens that never closes.
    pub(in crate::ingest) torn: Option<Torn>,
}

/// Lines that are no record.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ingest) struct Torn {
    /// The lines.
    pub(in crate::ingest) lines: Range<usize>,
    /// Where the quote is.
    pub(in crate::ingest) quote: usize,
}

/// The records that `text` begins with; `complete` says that nothing comes after it, so that a last record needs no
/// line end and an open quote does not close.
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

/// How many bytes of `buffer` are whole records, or lines that never will be.
pub(super) fn whole(buffer: &[u8], delimiter: u8) -> usize {
    let mut end = 0;
    loop {
        let span = csv_span(&buffer[end..], delimiter, false);
        match span.torn {
            // The line that cannot be a record may go on behind the buffer.
            Some(torn) if buffer[..end + torn.lines.end].ends_with(b"\n") => end += torn.lines.end,
            _ => return end + span.records,
        }
    }
}

enum Quoted {
    /// Behind the closing quote.
    Closed(usize),
    /// The text ends before it.
    Open,
    /// There is none.
    Never,
}

/// Where the field ends whose quote is at `open`.
fn quoted(text: &[u8], open: usize, delimiter: u8, complete: bool) -> Quoted {
    let (mut i, mut lines) = (open + 1, false);
    while i < text.len() {
        match text[i] {
            b'"' => match text.get(i + 1) {
                Some(b'"') => i += 1,
                Some(next) if lines && *next != delimiter && !matches!(next, b'\n' | b'\r') => {
                    return Quoted::Never;
                }
                // What comes behind the buffer may be another quote.
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

    /// The records, and the torn lines with where their quote is.
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
