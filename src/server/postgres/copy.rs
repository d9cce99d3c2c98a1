//! How is the answer of `COPY … TO STDOUT` written?
//!
//! | format | a row is |
//! |---|---|
//! | text | values between tabs and a line end; NULL is `\N`; a backslash escapes |
//! | csv | values between commas and a line end; NULL is nothing, an empty text is `""` |
//! | binary | after a header of 19 bytes: the number of values (2), and each value with its length (4); −1 ends all |
//!
//! Each row is a message of its own, as in PostgreSQL.

use super::failure::Failure;
use super::words::{Words, unquoted};
use crate::query::language::lex::Piece;

/// Beginning of the binary format: a signature, flags (4), and the length of an extension (4).
pub(super) const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// End of the binary format.
pub(super) const BINARY_TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// COPY … TO STDOUT.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CopyOut {
    /// The question whose rows are copied.
    pub(super) question: String,
    /// First byte of the question in the statement; `None` if it was made of the name of a table.
    pub(super) from: Option<usize>,
    /// Style of the rows.
    pub(super) style: CopyStyle,
}

/// Style of the rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CopyStyle {
    /// Format.
    pub(super) format: CopyFormat,
    /// True if the first line has the names of the columns.
    pub(super) has_header: bool,
    delimiter: char,
    null: String,
    quote: char,
    escape: char,
}

/// A format of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopyFormat {
    /// Lines of values between tabs.
    Text,
    /// Lines of values between commas.
    Csv,
    /// Values as in binary results.
    Binary,
}

impl CopyStyle {
    fn of(format: CopyFormat) -> Self {
        let (delimiter, null) = match format {
            CopyFormat::Csv => (',', String::new()),
            _ => ('\t', "\\N".to_owned()),
        };
        Self { format, has_header: false, delimiter, null, quote: '"', escape: '"' }
    }

    /// Appends the value of column `index`.
    pub(super) fn write_value(&self, out: &mut Vec<u8>, index: usize, value: Option<&str>) {
        let mut buffer = [0; 4];
        if index > 0 {
            out.extend_from_slice(self.delimiter.encode_utf8(&mut buffer).as_bytes());
        }
        let Some(value) = value else {
            out.extend_from_slice(self.null.as_bytes());
            return;
        };
        match self.format {
            CopyFormat::Csv => self.write_quoted(out, value),
            _ => self.write_escaped(out, value),
        }
    }

    fn write_quoted(&self, out: &mut Vec<u8>, value: &str) {
        let special = [self.delimiter, self.quote, '\n', '\r'];
        // A line with only `\.` would end the data for older readers.
        if value != self.null && !value.contains(special) && value != "\\." {
            out.extend_from_slice(value.as_bytes());
            return;
        }
        let mut buffer = [0; 4];
        let mut push = |c: char| out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        push(self.quote);
        for c in value.chars() {
            if c == self.quote || c == self.escape {
                push(self.escape);
            }
            push(c);
        }
        push(self.quote);
    }

    fn write_escaped(&self, out: &mut Vec<u8>, value: &str) {
        let mut buffer = [0; 4];
        for c in value.chars() {
            let escaped = match c {
                '\\' => '\\',
                '\n' => 'n',
                '\r' => 'r',
                '\t' => 't',
                '\u{8}' => 'b',
                '\u{b}' => 'v',
                '\u{c}' => 'f',
                c if c == self.delimiter => c,
                c => {
                    out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                    continue;
                }
            };
            out.push(b'\\');
            out.extend_from_slice(escaped.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

/// Reads a COPY statement.
pub(super) fn parse(text: &str) -> Result<CopyOut, Failure> {
    let mut words = Words::new(text);
    words.take("copy");
    let (question, from) =
        if words.take("(") { in_parentheses(text, &mut words)? } else { (of_table(&mut words)?, None) };
    if words.take("from") {
        return Err(Failure::refused(
            "0A000",
            "COPY FROM is not supported: events are sent over OTLP, or imported",
        ));
    }
    if !words.take("to") {
        return Err(wrong("expected COPY (SELECT …) TO STDOUT"));
    }
    if !words.take("stdout") {
        return Err(Failure::refused("0A000", "COPY writes to STDOUT only"));
    }
    words.take("with");
    let options = if words.take("(") { listed(words)? } else { in_a_row(words) };
    Ok(CopyOut { question, from, style: style(&options)? })
}

fn wrong(what: &str) -> Failure {
    Failure::refused("42601", format!("syntax error: {what}"))
}

/// The question in parentheses, up to the one that closes the first.
fn in_parentheses(text: &str, words: &mut Words<'_>) -> Result<(String, Option<usize>), Failure> {
    let (mut depth, mut from) = (1, None);
    while let Some((piece, word, to)) = words.next() {
        let start = to - word.len();
        from = from.or(Some(start));
        match (piece, word) {
            (Piece::Sign, "(") => depth += 1,
            (Piece::Sign, ")") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let from = from.unwrap_or(start);
            return Ok((text[from..start].to_owned(), Some(from)));
        }
    }
    Err(wrong("a parenthesis of COPY (SELECT …) is not closed"))
}

/// The question for `spans` and for `spans (name, duration_ns)`.
fn of_table(words: &mut Words<'_>) -> Result<String, Failure> {
    let mut table = String::new();
    let mut columns = String::from("*");
    while let Some((piece, word, _)) = { words.clone().next() } {
        match piece {
            Piece::Word if ["to", "from"].contains(&word.to_ascii_lowercase().as_str()) => break,
            Piece::Word | Piece::Quoted => table.push_str(word),
            Piece::Sign if word == "." => table.push('.'),
            Piece::Sign if word == "(" && !table.is_empty() => {
                words.next();
                let mut list = String::new();
                while let Some((_, word, _)) = words.next().filter(|(_, word, _)| *word != ")") {
                    list.push_str(word);
                }
                columns = list;
                break;
            }
            _ => return Err(wrong("expected the name of a table")),
        }
        words.next();
    }
    if table.is_empty() {
        Err(wrong("expected the name of a table"))
    } else {
        Ok(format!("SELECT {columns} FROM {table}"))
    }
}

/// Name and value of an option.
type Setting = (String, Option<String>);

/// `FORMAT csv, HEADER true)`.
fn listed(mut words: Words<'_>) -> Result<Vec<Setting>, Failure> {
    let mut options = Vec::new();
    loop {
        let name = words.name().ok_or_else(|| wrong("an option of COPY is missing"))?;
        let mut value = None;
        loop {
            match words.next() {
                Some((_, ",", _)) => break options.push((name, value)),
                Some((_, ")", _)) => {
                    options.push((name, value));
                    return Ok(options);
                }
                Some((_, word, _)) => value = Some(unquoted(word)),
                None => return Err(wrong("the options of COPY are not closed")),
            }
        }
    }
}

/// `CSV HEADER DELIMITER AS ';'`, as before PostgreSQL 9.0.
fn in_a_row(mut words: Words<'_>) -> Vec<Setting> {
    let mut options = Vec::new();
    while let Some(name) = words.name() {
        let mut value = || {
            words.take("as");
            words.next().map(|(_, word, _)| unquoted(word))
        };
        options.push(match name.as_str() {
            "csv" | "binary" => ("format".to_owned(), Some(name)),
            "header" => (name, None),
            _ => {
                let value = value();
                (name, value)
            }
        });
    }
    options
}

fn style(options: &[Setting]) -> Result<CopyStyle, Failure> {
    let value =
        |name: &str| options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_deref());
    let format = match value("format").flatten().map(str::to_lowercase).as_deref() {
        None | Some("text") => CopyFormat::Text,
        Some("csv") => CopyFormat::Csv,
        Some("binary") => CopyFormat::Binary,
        Some(other) => return Err(wrong(&format!("COPY has the formats text, csv and binary, not {other}"))),
    };
    let mut style = CopyStyle::of(format);
    for (name, value) in options {
        let one = || {
            let mut chars = value.as_deref().unwrap_or_default().chars();
            chars
                .next()
                .filter(|c| c.is_ascii() && chars.next().is_none())
                .ok_or_else(|| wrong(&format!("{name} is one character")))
        };
        match name.as_str() {
            "format" => {}
            "header" => style.has_header = is_on(value.as_deref()),
            // What escape sequences of a text say is not looked into, but for the tab.
            "delimiter" if value.as_deref() == Some("\\t") => style.delimiter = '\t',
            "delimiter" => style.delimiter = one()?,
            "null" => value.as_deref().unwrap_or_default().clone_into(&mut style.null),
            "quote" => style.quote = one()?,
            "escape" => style.escape = one()?,
            "encoding" if is_utf8(value.as_deref()) => {}
            other => return Err(Failure::refused("0A000", format!("COPY has no option {other} here"))),
        }
    }
    if format == CopyFormat::Binary && style != CopyStyle::of(format) {
        return Err(wrong("the binary format has no options"));
    }
    Ok(style)
}

fn is_on(value: Option<&str>) -> bool {
    !value.is_some_and(|value| ["false", "off", "0"].contains(&value.to_lowercase().as_str()))
}

fn is_utf8(value: Option<&str>) -> bool {
    value.is_some_and(|value| ["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(options: &str, values: &[Option<&str>]) -> String {
        let copy = parse(&format!("COPY (SELECT 1) TO STDOUT {options}")).unwrap();
        let mut out = Vec::new();
        for (index, value) in values.iter().enumerate() {
            copy.style.write_value(&mut out, index, *value);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_copy_is_of_a_question_or_a_table() {
        let text = "copy  (select ')' as a, (1) from spans) to stdout";
        let copy = parse(text).unwrap();
        assert_eq!(copy.question, "select ')' as a, (1) from spans");
        assert_eq!(&text[copy.from.unwrap()..][..6], "select");
        assert_eq!(parse("COPY public.spans TO STDOUT").unwrap().question, "SELECT * FROM public.spans");
        let columns = parse("COPY \"spans\" (name, \"http.route\") TO STDOUT (FORMAT binary)").unwrap();
        assert_eq!(columns.question, "SELECT name,\"http.route\" FROM \"spans\"");
        assert_eq!(columns.style.format, CopyFormat::Binary);
        for wrong in
            ["COPY spans FROM STDIN", "COPY spans TO '/tmp/x'", "COPY (select 1 TO STDOUT", "COPY TO STDOUT"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_escaped_as_the_format_says() {
        let values = [Some("a\tb"), None, Some(""), Some("x,\"y\"\n\\"), Some("\\N")];
        assert_eq!(lines("", &values), "a\\tb\t\\N\t\tx,\"y\"\\n\\\\\t\\\\N");
        assert_eq!(lines("WITH (FORMAT csv, HEADER)", &values), "a\tb,,\"\",\"x,\"\"y\"\"\n\\\",\\N");
        assert_eq!(lines("CSV DELIMITER AS ';' NULL 'nil'", &values), "a\tb;nil;;\"x,\"\"y\"\"\n\\\";\\N");
        assert_eq!(lines("(FORMAT text, DELIMITER '|')", &[Some("a|b"), Some("c")]), "a\\|b|c");
    }

    #[test]
    fn options_that_are_not_known_are_refused() {
        for wrong in [
            "(FORMAT parquet)",
            "(DELIMITER 'ab')",
            "(FORCE_QUOTE *)",
            "(FORMAT binary, HEADER)",
            "(FORMAT csv",
        ] {
            assert!(parse(&format!("COPY spans TO STDOUT {wrong}")).is_err(), "{wrong}");
        }
    }
}
