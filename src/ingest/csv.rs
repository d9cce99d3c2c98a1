//! Delimited text with a header line.
//!
//! A column has one type, decided from a sample at the start of the file ([`CsvLayout::infer`]): integer,
//! double, boolean, else text. Numbers with leading zeros or a plus are text, so that postal codes and
//! phone numbers survive. A later value that does not fit its column's type is kept as text. Empty cells
//! are absent. What the columns mean is in [`super::fields`]; ids and messages are text whatever they
//! look like.

use super::fields::{FieldMap, Slot};
use super::record::{Assembler, Decoded, FieldId, Refused, Scalar};
use crate::error::{Error, Result};

/// Delimiters that are looked for, the most usual one first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Most columns; a header beyond it is no header.
const COLUMNS_MAX: usize = 20_000;

/// The columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvLayout {
    /// Between fields.
    pub delimiter: u8,
    /// Names, made unique.
    pub columns: Vec<String>,
    /// Length of the header, with its line end: the first record begins there.
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
    /// Reads the header and decides the types of the columns from `sample`, the first bytes of the file;
    /// an incomplete record at its end is left out, unless the sample is `complete`.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when there is no header.
    pub fn infer(sample: &[u8], delimiter: u8, complete: bool) -> Result<Self> {
        let mut records = reader(sample, delimiter);
        let mut header = csv::ByteRecord::new();
        if !records.read_byte_record(&mut header).unwrap_or(false) {
            return Err(Error::invalid("CSV: there is no header line"));
        }
        if header.len() > COLUMNS_MAX {
            return Err(Error::invalid(format!("CSV: {} columns, the most are {COLUMNS_MAX}", header.len())));
        }
        let columns = unique_names(&header);
        let header_bytes = records.position().byte() as usize;
        let end = if complete {
            sample.len()
        } else {
            super::framing::whole(super::framing::Framing::Csv { delimiter }, sample)?
        };
        let types = types_of(&sample[header_bytes.min(end)..end], delimiter, columns.len());
        Ok(Self { delimiter, columns, header_bytes, types })
    }

    /// The delimiter with which the sample is a table: a header of at least two distinct names, and as many
    /// fields in each of the records after it.
    pub fn sniff_delimiter(sample: &[u8]) -> Option<u8> {
        DELIMITERS.into_iter().find(|delimiter| {
            let end = super::framing::whole(super::framing::Framing::Csv { delimiter: *delimiter }, sample)
                .unwrap_or(0);
            let end = if end == 0 { sample.len() } else { end };
            let mut records = reader(&sample[..end], *delimiter);
            let mut record = csv::ByteRecord::new();
            if !records.read_byte_record(&mut record).unwrap_or(false) || !is_header(&record) {
                return false;
            }
            let columns = record.len();
            // A few ragged records are for their decoder to refuse.
            let (mut same, mut other) = (0, 0);
            while same + other < 20 && records.read_byte_record(&mut record).unwrap_or(false) {
                if record.len() == columns { same += 1 } else { other += 1 }
            }
            same > other || other == 0
        })
    }
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
    let mut records = reader(sample, delimiter);
    let mut record = csv::ByteRecord::new();
    while records.read_byte_record(&mut record).unwrap_or(false) {
        for (ty, cell) in types.iter_mut().zip(&record).filter(|(_, cell)| !cell.is_empty()) {
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
    }
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

/// Whether the digits are those that a number prints: no leading zero, no plus.
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

/// Decodes a chunk of whole records, the header not among them. Positions are lines.
pub fn decode(chunk: &[u8], layout: &CsvLayout, map: &FieldMap, now_ns: i64) -> Result<Decoded> {
    let mut out = Assembler::new(map, now_ns);
    let columns: Vec<(FieldId, CellType)> = layout
        .columns
        .iter()
        .zip(&layout.types)
        .map(|(name, ty)| {
            let field = out.field(name);
            (field, if takes_numbers(out.slot(field)) { *ty } else { CellType::Text })
        })
        .collect();
    let mut refused = Vec::new();
    let mut records = reader(chunk, layout.delimiter);
    let mut record = csv::ByteRecord::new();
    loop {
        let (start, position) = (records.position().byte() as usize, records.position().line() - 1);
        match records.read_byte_record(&mut record) {
            Ok(true) => {}
            // Reading from memory, without UTF-8 and with any number of fields, cannot fail.
            Ok(false) | Err(_) => break,
        }
        if let Err(reason) = decode_record(&record, &columns, &mut out) {
            let position = position + record.position().map_or(0, |p| p.line().saturating_sub(position + 1));
            refused.push(Refused { position, bytes: start..records.position().byte() as usize, reason });
        }
    }
    let (batch, hints) = out.finish()?;
    Ok(Decoded { batch, refused, hints })
}

/// Whether numbers mean anything to the slot; ids and messages are text even if they are all digits.
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

fn decode_record(
    record: &csv::ByteRecord,
    columns: &[(FieldId, CellType)],
    out: &mut Assembler,
) -> Result<(), String> {
    if record.len() != columns.len() {
        return Err(format!("{} fields, the header has {}", record.len(), columns.len()));
    }
    out.begin();
    for ((field, ty), cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let text = std::str::from_utf8(cell).map_err(|e| format!("not UTF-8: {e}"))?;
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
    out.commit()
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

    #[test]
    fn ragged_records_are_refused_with_their_line() {
        let decoded = decode_all(b"a,b\n1,\"x\ny\"\n3\n4,5\n6,7,8\n");
        assert_eq!(decoded.batch.rows(), 2);
        assert_eq!(
            decoded.refused.iter().map(|r| (r.position, r.reason.as_str())).collect::<Vec<_>>(),
            [(2, "1 fields, the header has 2"), (4, "3 fields, the header has 2"),]
        );
    }

    #[test]
    fn delimiters_are_found() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", Some(b',')),
            ("a\tb\n1\t2\n", Some(b'\t')),
            ("a;b\n1,5;2,5\n", Some(b';')),
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
        // The time as text says the instant again and is not kept twice.
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
