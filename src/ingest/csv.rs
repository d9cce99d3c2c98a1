//! How do rows of delimited text with a header line become events?
//!
//! A column has one type, decided from a sample at the start of the file ([`CsvLayout::infer`]): integer,
//! double, boolean, or otherwise text. Numbers with leading zeros or a plus are text, so that postal codes and
//! phone numbers survive. A later value that does not fit its column's type is stored as text. Empty cells, and
//! the missing cells of a short row, are absent. A row is refused if it is too short to have its time, or longer
//! than the header. [`super::fields`] defines the meaning of the columns; ids and messages are always text.
//!
//! The first line may be Excel's `sep=;`, which names the delimiter.

use super::fields::{FieldMap, Slot, Target, role_of};
use super::framing::{self, CsvSpan, Framing};
use super::place::line_ends;
use super::record::{Assembler, Decoded, FieldId, Refused, Scalar};
use crate::error::{Error, Result};

/// Delimiters to try, most common first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Most columns of a table; a longer first line is not taken for a header.
const COLUMNS_MAX: usize = 20_000;

/// The columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvLayout {
    /// Byte between fields.
    pub delimiter: u8,
    /// Names of the columns, made unique.
    pub columns: Vec<String>,
    /// Position of the first record: length of the header with its line end and of everything before it.
    pub header_bytes: usize,
    types: Vec<CellType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellType {
    Int,
    Double,
    Bool,
    Text,
}

impl CsvLayout {
    /// Reads the header and decides the types of the columns from `sample`, the first bytes of the file.
    /// An incomplete record at the end is ignored, unless the sample is `complete`.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there is no header, or one with too
    /// many columns.
    pub fn infer(sample: &[u8], delimiter: u8, complete: bool) -> Result<Self> {
        let hint = separator_line(sample).map_or(0, |(_, length)| length);
        let text = &sample[hint..];
        // A missing closing quote in the header affects only the header.
        let torn = framing::csv_span(text, delimiter, complete).torn.filter(|torn| torn.lines.start == 0);
        let mut records = reader(torn.map_or(text, |torn| &text[torn.lines]), delimiter);
        let mut header = csv::ByteRecord::new();
        if !records.read_byte_record(&mut header).unwrap_or(false) {
            return Err(Error::invalid(
                "CSV: the header line is missing; the first line must name the columns",
            ));
        }
        if header.len() > COLUMNS_MAX {
            return Err(Error::invalid(format!(
                "CSV: the header has {} columns, the limit is {COLUMNS_MAX}",
                header.len()
            )));
        }
        let columns = unique_names(&header);
        let header_bytes = hint + records.position().byte() as usize;
        let end =
            if complete { sample.len() } else { framing::whole(Framing::Csv { delimiter }, text)? + hint };
        let types = types_of(&sample[header_bytes.min(end)..end], delimiter, columns.len());
        Ok(Self { delimiter, columns, header_bytes, types })
    }

    /// Finds the delimiter with which the sample is a table: the one that its first line names, otherwise one with a
    /// header of at least two names and the same number of fields in most of the records after it. If no delimiter
    /// gives regular records, one with a column of times is enough, if at least half of the records have several
    /// fields.
    pub fn sniff_delimiter(sample: &[u8]) -> Option<u8> {
        if let Some((delimiter, length)) = separator_line(sample) {
            return (!sample[length..].trim_ascii().is_empty()).then_some(delimiter);
        }
        let shapes: Vec<_> =
            DELIMITERS.into_iter().filter_map(|d| Some((d, Shape::of(sample, d)?))).collect();
        let regular = shapes.iter().find(|(_, shape)| shape.same > shape.other || shape.other == 0);
        let ragged = || shapes.iter().find(|(_, shape)| shape.has_time && shape.several >= shape.alone);
        Some(regular.or_else(ragged)?.0)
    }
}

/// Shape of the first records of a sample, split at one delimiter.
struct Shape {
    /// Number of records with as many fields as the header.
    same: usize,
    /// Number of records with more or fewer fields than the header.
    other: usize,
    /// Number of records with several fields.
    several: usize,
    /// Number of records with one field.
    alone: usize,
    /// True if a column is a time.
    has_time: bool,
}

impl Shape {
    /// Reads up to 20 records after the header; `None` if there is no header.
    fn of(sample: &[u8], delimiter: u8) -> Option<Self> {
        let end = framing::whole(Framing::Csv { delimiter }, sample).unwrap_or(0);
        let mut shape = Self { same: 0, other: 0, several: 0, alone: 0, has_time: false };
        let mut columns = None;
        each_record(&sample[..if end == 0 { sample.len() } else { end }], delimiter, |record| {
            let Some(columns) = columns else {
                columns = Some(record.len());
                shape.has_time = unique_names(record).iter().any(|name| is_time(name));
                return is_header(record);
            };
            if record.len() == columns {
                shape.same += 1;
            } else {
                shape.other += 1;
            }
            if record.len() > 1 {
                shape.several += 1;
            } else {
                shape.alone += 1;
            }
            shape.same + shape.other < 20
        })
        .then_some(shape)
        .filter(|_| columns.is_some())
    }
}

/// Passes the records of a text to `take` until it returns false; returns false if it does so for the first record.
/// Lines with a quote that never closes are left out, except for the first line, which is still the header.
fn each_record(text: &[u8], delimiter: u8, mut take: impl FnMut(&csv::ByteRecord) -> bool) -> bool {
    let mut record = csv::ByteRecord::new();
    let (mut at, mut first) = (0, true);
    while at < text.len() {
        let CsvSpan { records, torn } = framing::csv_span(&text[at..], delimiter, true);
        let torn_end = torn.map_or(text.len(), |torn| at + torn.lines.end);
        let end = if first && records == 0 { torn_end } else { at + records };
        let mut found = reader(&text[at..end], delimiter);
        while found.read_byte_record(&mut record).unwrap_or(false) {
            if !take(&record) {
                return !first;
            }
            first = false;
        }
        at = torn_end;
    }
    true
}

/// Delimiter named in a first line in Excel's form (`sep=;`), and the length of that line.
fn separator_line(sample: &[u8]) -> Option<(u8, usize)> {
    let text = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample);
    let line = text.split_inclusive(|b| *b == b'\n').next()?;
    let bare = line.strip_suffix(b"\n").unwrap_or(line);
    let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
    let bare = bare.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(bare);
    let [s, e, p, b'=', delimiter] = bare else { return None };
    let named = [s, e, p].map(u8::to_ascii_lowercase) == *b"sep" && !delimiter.is_ascii_alphanumeric();
    named.then_some((*delimiter, sample.len() - text.len() + line.len()))
}

fn is_time(name: &str) -> bool {
    matches!(role_of(name).target, Target::Core(Slot::Time | Slot::Start | Slot::Observed, _))
}

fn is_header(record: &csv::ByteRecord) -> bool {
    let names: Vec<_> = record.iter().map(<[u8]>::trim_ascii).collect();
    let name = |n: &&[u8]| {
        !n.is_empty() && n.len() <= 200 && std::str::from_utf8(n).is_ok_and(|n| !n.contains(['{', '}', '\0']))
    };
    names.len() >= 2
        && names.iter().filter(|n| name(n)).count() + 1 >= names.len()
        && names.iter().any(|n| n.iter().any(u8::is_ascii_alphabetic))
}

fn unique_names(header: &csv::ByteRecord) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    let mut seen = hashbrown::HashSet::new();
    for (i, name) in header.iter().enumerate() {
        let name = if i == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
        let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
        let name = if name.is_empty() { format!("column_{}", i + 1) } else { name };
        let mut candidate = name.clone();
        let mut n = 2;
        while !seen.insert(candidate.clone()) {
            candidate = format!("{name}_{n}");
            n += 1;
        }
        names.push(candidate);
    }
    names
}

fn reader(bytes: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes)
}

fn types_of(sample: &[u8], delimiter: u8, columns: usize) -> Vec<CellType> {
    let mut types: Vec<Option<CellType>> = vec![None; columns];
    each_record(sample, delimiter, |record| {
        for (ty, cell) in types.iter_mut().zip(record).filter(|(_, cell)| !cell.is_empty()) {
            let cell = type_of(cell);
            *ty = Some(match (*ty, cell) {
                (None, cell) => cell,
                (Some(a), b) if a == b => a,
                (Some(CellType::Int), CellType::Double) | (Some(CellType::Double), CellType::Int) => {
                    CellType::Double
                }
                _ => CellType::Text,
            });
        }
        true
    });
    types.into_iter().map(|ty| ty.unwrap_or(CellType::Text)).collect()
}

fn type_of(cell: &[u8]) -> CellType {
    let Ok(text) = std::str::from_utf8(cell) else { return CellType::Text };
    if int(text).is_some() {
        CellType::Int
    } else if double(text).is_some() {
        CellType::Double
    } else if boolean(text).is_some() {
        CellType::Bool
    } else {
        CellType::Text
    }
}

/// True if the digits are in canonical form: no leading zero, no plus.
fn canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    matches!(digits, [b'0'] | [b'0', b'.' | b'e' | b'E', ..] | [b'1'..=b'9', ..])
}

fn int(text: &str) -> Option<i64> {
    if canonical(text) && text != "-0" { text.parse().ok() } else { None }
}

fn double(text: &str) -> Option<f64> {
    // Integers beyond 64 bits would lose digits.
    let fraction = text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'));
    if canonical(text) && fraction { text.parse().ok().filter(|d: &f64| d.is_finite()) } else { None }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Decodes a chunk of whole records without the header. [`Refused::position`] counts lines.
pub fn decode(chunk: &[u8], layout: &CsvLayout, map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    let mut out = Assembler::new(map, now_ns);
    let columns = Columns::of(layout, &mut out);
    let mut decoder = Decoder { chunk, columns, out, refused: Vec::new() };
    let (mut at, mut line) = (0, 0);
    while at < chunk.len() {
        let CsvSpan { records, torn } = framing::csv_span(&chunk[at..], layout.delimiter, true);
        let records = at..at + records;
        line += decoder.decode_records(records.clone(), line);
        let Some(torn) = torn else { break };
        let lines = records.start + torn.lines.start..records.start + torn.lines.end;
        let quote = records.start + torn.quote;
        let before = &chunk[lines.start..quote];
        let indent = before.iter().rev().take_while(|b| **b != b'\n').count() as u64;
        decoder.refused.push(Refused {
            position: line + line_ends(before),
            column: Some(indent + 1),
            bytes: lines.clone(),
            reason: "a quote opens here that never closes".to_owned(),
        });
        line += line_ends(&chunk[lines.clone()]);
        at = lines.end;
    }
    let (batch, hints) = decoder.out.finish()?;
    Ok(Decoded { batch, refused: decoder.refused, hints })
}

/// A chunk on its way to events.
struct Decoder<'a> {
    chunk: &'a [u8],
    columns: Columns,
    out: Assembler,
    refused: Vec<Refused>,
}

impl Decoder<'_> {
    /// Decodes the records at `span`, the first of which is in line `line`. Returns the number of lines in `span`.
    fn decode_records(&mut self, span: std::ops::Range<usize>, line: u64) -> u64 {
        let mut records = reader(&self.chunk[span.clone()], self.columns.delimiter);
        let mut record = csv::ByteRecord::new();
        loop {
            let (start, position) = (records.position().byte() as usize, records.position().line() - 1);
            match records.read_byte_record(&mut record) {
                Ok(true) => {}
                // Reading from memory, without UTF-8 and with any number of fields, cannot fail.
                Ok(false) | Err(_) => break,
            }
            if let Err(reason) = decode_record(&record, &self.columns, &mut self.out) {
                let begun = record.position().map_or(0, |p| p.line().saturating_sub(position + 1));
                let bytes = span.start + start..span.start + records.position().byte() as usize;
                self.refused.push(Refused { position: line + position + begun, column: None, bytes, reason });
            }
        }
        line_ends(&self.chunk[span])
    }
}

/// Fields and types of the columns of a file.
struct Columns {
    delimiter: u8,
    fields: Vec<(FieldId, CellType)>,
    /// Index of the first column with a time.
    time: Option<usize>,
}

impl Columns {
    fn of(layout: &CsvLayout, out: &mut Assembler) -> Self {
        let typed = |(name, ty): (&String, &CellType)| {
            let field = out.field(name);
            (field, if takes_numbers(out.slot(field)) { *ty } else { CellType::Text })
        };
        let fields: Vec<_> = layout.columns.iter().zip(&layout.types).map(typed).collect();
        let says_when = |(field, _): &(FieldId, CellType)| {
            matches!(out.slot(*field), Some(Slot::Time | Slot::Start | Slot::Observed))
        };
        let time = fields.iter().position(says_when);
        Self { delimiter: layout.delimiter, fields, time }
    }
}

/// True if the slot can use numbers. Ids and messages are text even if they are all digits.
fn takes_numbers(slot: Option<Slot>) -> bool {
    !matches!(
        slot,
        Some(
            Slot::Trace
                | Slot::Span
                | Slot::Parent
                | Slot::Name
                | Slot::Body
                | Slot::Service
                | Slot::Pod
                | Slot::StatusMessage
                | Slot::TraceState
                | Slot::Signal
        )
    )
}

fn decode_record(record: &csv::ByteRecord, columns: &Columns, out: &mut Assembler) -> Result<(), String> {
    let expected = columns.fields.len();
    // Empty cells after the last column are ignored: lines may end in delimiters.
    if record.iter().skip(expected).any(|cell| !cell.is_empty()) {
        return Err(format!("the row has {} fields, the header has {expected}", record.len()));
    }
    // A fragment of a record, for example a line of an unquoted text, must not become an event at the import time.
    if columns.time.is_some_and(|time| time >= record.len()) {
        return Err(format!(
            "the row has {} fields, the header has {expected}: the time is missing",
            record.len()
        ));
    }
    out.begin();
    for ((field, ty), cell) in columns.fields.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let text = std::str::from_utf8(cell).map_err(|e| {
            format!("not UTF-8: {e}; if the file is Latin-1, convert it with iconv -f latin1 -t utf8")
        })?;
        let value = match ty {
            CellType::Int => int(text).map(Scalar::Int),
            CellType::Double => double(text).or_else(|| int(text).map(|i| i as f64)).map(Scalar::Double),
            CellType::Bool => boolean(text).map(Scalar::Bool),
            CellType::Text => None,
        };
        match value {
            Some(value) => out.set(*field, value),
            None => out.set_text(*field, text),
        }
    }
    out.commit()?;
    if record.len() < expected {
        out.note_short_row();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::framing::{self, Framing};
    use crate::ingest::record::testing::{core, read, shown};

    fn decode_all(text: &[u8]) -> Decoded {
        let delimiter = CsvLayout::sniff_delimiter(text).unwrap_or(b',');
        let layout = CsvLayout::infer(text, delimiter, true).unwrap();
        decode(&text[layout.header_bytes..], &layout, &FieldMap::default(), 0).unwrap()
    }

    #[test]
    fn a_column_has_one_type() {
        let decoded = decode_all(
            b"\xef\xbb\xbfn,d,flag,zip,n\n1,1,true,0123,a\n2,2.5,FALSE,4567,\"b \"\"x\"\"\nc\"\n,,,,\n",
        );
        assert_eq!(decoded.refused, []);
        let b = &decoded.batch;
        assert_eq!(
            shown(b, 0),
            [
                "d = Double(1.0)",
                "flag = Bool(true)",
                "n = Int(1)",
                "n_2 = Text(\"a\")",
                "zip = Text(\"0123\")"
            ]
        );
        assert_eq!(shown(b, 1)[3], "n_2 = Text(\"b \\\"x\\\"\\nc\")");
        assert_eq!(shown(b, 2), Vec::<String>::new());
    }

    #[test]
    fn a_late_surprise_stays_text() {
        let text = b"a,b\n1,2\n";
        let layout = CsvLayout::infer(text, b',', true).unwrap();
        let decoded = decode(b"7,many\n", &layout, &FieldMap::default(), 0).unwrap();
        assert_eq!(shown(&decoded.batch, 0), ["a = Int(7)", "b = Text(\"many\")"]);
    }

    fn reasons(decoded: &Decoded) -> Vec<(u64, Option<u64>, &str)> {
        decoded.refused.iter().map(|r| (r.position, r.column, r.reason.as_str())).collect()
    }

    #[test]
    fn short_rows_end_in_nothing_and_long_ones_are_refused_with_their_line() {
        let decoded = decode_all(b"a,b\n1,\"x\ny\"\n3\n4,5\n6,7,8\n9,9,,\n");
        assert_eq!(decoded.batch.rows(), 4);
        assert_eq!(shown(&decoded.batch, 1), ["a = Int(3)"]);
        assert_eq!(reasons(&decoded), [(4, None, "the row has 3 fields, the header has 2")]);
        assert_eq!(decoded.hints.short_rows, 1);
    }

    #[test]
    fn a_row_that_is_too_short_for_its_time_is_refused() {
        let decoded = decode_all(b"message,time\nfirst,2025-06-15T15:06:40Z\nthe rest of a text\n");
        assert_eq!(decoded.batch.rows(), 1);
        let expected = "the row has 1 fields, the header has 2: the time is missing";
        assert_eq!(reasons(&decoded), [(1, None, expected)]);
    }

    #[test]
    fn a_quote_that_never_closes_costs_its_line() {
        let text = b"time,message\n2025-06-15T15:06:40Z,\"never closed\n2025-06-15T15:06:41Z,next\n2025-06-15T15:06:42Z,\"la\nst\"\n";
        let decoded = decode_all(text);
        let bodies = [0, 1].map(|row| core(&decoded.batch, row, "body"));
        assert_eq!((decoded.batch.rows(), bodies), (2, ["next".to_owned(), "la\nst".to_owned()]));
        assert_eq!(reasons(&decoded), [(0, Some(22), "a quote opens here that never closes")]);
        let header = decode_all(b"time,\"message\n2025-06-15T15:06:40Z,a\n");
        assert_eq!((header.batch.rows(), core(&header.batch, 0, "body")), (1, "a".to_owned()));
    }

    #[test]
    fn excels_first_line_names_the_delimiter() {
        for text in [
            "sep=;\r\ntime;message\r\n2025-06-15 15:06:40;with, hint\r\n",
            "\u{feff}SEP=;\ntime;message\n2025-06-15 15:06:40;with, hint\n",
            "\"sep=;\"\ntime;message\n2025-06-15 15:06:40;with, hint\n",
        ] {
            let decoded = decode_all(text.as_bytes());
            assert_eq!(core(&decoded.batch, 0, "body"), "with, hint", "{text:?}");
            assert_eq!((decoded.batch.rows(), shown(&decoded.batch, 0).len()), (1, 0), "{text:?}");
        }
        let tabs = decode_all(b"sep=\t\na\tb\n1\t2\n");
        assert_eq!(shown(&tabs.batch, 0), ["a = Int(1)", "b = Int(2)"]);
        assert_eq!(CsvLayout::sniff_delimiter(b"sep=;\n"), None);
    }

    #[test]
    fn delimiters_are_found() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", Some(b',')),
            ("a\tb\n1\t2\n", Some(b'\t')),
            ("a;b\n1,5;2,5\n", Some(b';')),
            ("time,message,a,b\n1,short\n2,long,1,2,3,4\n3,fits,1,2\n", Some(b',')),
            ("time,\"message\n1,a\n2,b\n", Some(b',')),
            ("a,b,c,d\n1,short\n2,long,1,2,3,4\n3,fits,1,2\n", None),
            ("just some words\nand more, of them\n", None),
            ("<html>\n<body>\n", None),
            ("", None),
        ] {
            assert_eq!(CsvLayout::sniff_delimiter(text.as_bytes()), delimiter, "{text:?}");
        }
    }

    #[test]
    fn real_traces_become_spans() {
        let text = read("nezha/trainticket-2023-01-30-trace.csv");
        let decoded = decode_all(&text);
        assert_eq!(decoded.refused, []);
        let b = &decoded.batch;
        assert_eq!(b.rows(), text.split(|c| *c == b'\n').count() - 2);
        let first =
            std::str::from_utf8(&text).unwrap().lines().nth(1).unwrap().split(',').collect::<Vec<_>>();
        assert_eq!(core(b, 0, "signal"), "span");
        assert_eq!(core(b, 0, "trace_id"), first[0]);
        assert_eq!(core(b, 0, "name"), first[4]);
        let duration = first[6].parse::<i64>().unwrap() - first[5].parse::<i64>().unwrap();
        assert_eq!(core(b, 0, "duration_ns"), duration.to_string());
        assert_eq!(
            shown(b, 0),
            [
                format!("Duration = Int({})", first[7]),
                format!("resource.k8s.pod.name = Text({:?})", first[3]),
                "resource.service.name = Text(\"ts-gateway-service\")".to_owned(),
            ]
        );
    }

    #[test]
    fn real_logs_become_logs() {
        let decoded = decode_all(&read("nezha/onlineboutique-2022-08-22-log.csv"));
        assert_eq!(decoded.refused, []);
        let b = &decoded.batch;
        assert_eq!(core(b, 0, "signal"), "log");
        assert!(core(b, 0, "body").starts_with("{\"log\":"), "{}", core(b, 0, "body"));
        assert_eq!(core(b, 0, "span_id").len(), 16);
        // The time as text is the same instant and is not stored again.
        assert_eq!(shown(b, 0).iter().filter(|a| a.starts_with("Timestamp")).count(), 0, "{:?}", shown(b, 0));
    }

    #[test]
    fn a_time_that_is_none_leaves_it_to_the_other() {
        let decoded = decode_all(
            b"Timestamp,TimeUnixNano\n2023-01-30T12:01:02.09,-6795364578871345152\n2023-01-30T12:01:03,1675080063000000001\n",
        );
        assert_eq!(decoded.refused, []);
        assert_eq!(core(&decoded.batch, 0, "timestamp"), "2023-01-30T12:01:02.090Z");
        assert_eq!(core(&decoded.batch, 1, "timestamp"), "2023-01-30T12:01:03.000000001Z");
        assert_eq!(shown(&decoded.batch, 1), ["Timestamp = Text(\"2023-01-30T12:01:03\")"]);
    }

    proptest! {
        #[test]
        fn cells_that_the_csv_crate_writes_come_back(rows in proptest::collection::vec(("[ -~\n]{1,9}", "[a-z\",\n\r;]{1,5}"), 1..9)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["x 1", "x 2"]).unwrap();
            for (a, b) in &rows {
                writer.write_record([format!("_{a}"), format!("_{b}")]).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let layout = CsvLayout::infer(&bytes, b',', true).unwrap();
            // In two chunks, cut wherever the framing allows.
            let data = &bytes[layout.header_bytes..];
            let cut = framing::whole(Framing::Csv { delimiter: b',' }, &data[..data.len() / 2]).unwrap();
            let mut found = Vec::new();
            for chunk in [&data[..cut], &data[cut..]] {
                let decoded = decode(chunk, &layout, &FieldMap::default(), 0).unwrap();
                prop_assert_eq!(&decoded.refused, &[]);
                found.extend((0..decoded.batch.rows()).map(|r| shown(&decoded.batch, r as u32)));
            }
            let expected: Vec<_> = rows.iter().map(|(a, b)| vec![format!("x 1 = Text({:?})", format!("_{a}")), format!("x 2 = Text({:?})", format!("_{b}"))]).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_events_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let layout = CsvLayout::infer(b"time,level,a,b\n1,info,1,2\n", b',', true).unwrap();
            decode(&bytes, &layout, &FieldMap::default(), 0).unwrap();
            let _ = CsvLayout::infer(&bytes, b',', false);
            CsvLayout::sniff_delimiter(&bytes);
        }
    }
}
