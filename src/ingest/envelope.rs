//! How are events found that are wrapped in a JSON object?
//!
//! CloudTrail, S3 and Azure write `{"Records":[…]}`, CloudWatch `{"logEvents":[…]}` and `{"events":[…]}`. The fields
//! next to the list apply to each record. An object counts as such an *envelope* if it has exactly one list of
//! objects and no field of an event (a time, a message, an id), and the list either has a [known name](NAMES) or
//! stands alone and its records have times.
//!
//! This module cuts the text without checking it: a broken record does not affect the others, and if the end of the
//! envelope is missing, the whole records before it are found.

use std::ops::Range;

use super::fields::{Slot, Target, role_of};

/// Names of lists of records, in lower case. The first [`SURE_NAMES`] always mark an envelope; the others only if
/// the list stands alone or its records have times.
const NAMES: [&str; 10] =
    ["records", "logevents", "logentries", "events", "logs", "entries", "items", "results", "value", "data"];
const SURE_NAMES: usize = 3;

/// An object that holds records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Byte ranges of the whole records.
    pub(super) records: Vec<Range<usize>>,
    /// The fields next to the list, as a JSON object; empty if there are none.
    pub(super) outer: Vec<u8>,
    /// Unreadable rest of the text, from the first incomplete record or field; `None` if the envelope is complete.
    pub(super) torn: Option<Range<usize>>,
}

/// Opens the envelope in `json`; `None` if the object is not an envelope.
pub(super) fn open(json: &[u8]) -> Option<Envelope> {
    let mut scan = Scan { json, at: 0 };
    let mut envelope = Envelope { records: Vec::new(), outer: Vec::new(), torn: None };
    let mut list: Option<String> = None;
    scan.eat(b'{')?;
    while envelope.torn.is_none() && scan.peek().is_some_and(|b| b != b'}') {
        let start = scan.at;
        let Some((key, value)) = scan.entry() else {
            envelope.torn = Some(start..json.len());
            break;
        };
        let name = String::from_utf8_lossy(&json[key.start + 1..key.end - 1]).into_owned();
        let mut records = Scan { json, at: value.start + 1 };
        if json[value.start] == b'[' && records.peek() == Some(b'{') {
            if list.replace(name).is_some() {
                return None;
            }
            envelope.torn = records.objects(&mut envelope.records)?;
            scan.at = records.at;
        } else {
            if is_of_an_event(&name) {
                return None;
            }
            envelope.outer.push(if envelope.outer.is_empty() { b'{' } else { b',' });
            envelope.outer.extend_from_slice(&json[key]);
            envelope.outer.push(b':');
            envelope.outer.extend_from_slice(&json[value]);
        }
        if scan.peek() == Some(b',') {
            scan.at += 1;
        }
    }
    let name = list?.to_ascii_lowercase();
    let known = NAMES.iter().position(|known| *known == name);
    let alone = envelope.outer.is_empty();
    let timed = || envelope.records.first().is_some_and(|first| says_when(&json[first.clone()]));
    let is_envelope = match known {
        Some(known) => known < SURE_NAMES || alone || timed(),
        None => alone && timed(),
    };
    if !alone {
        envelope.outer.push(b'}');
    }
    is_envelope.then_some(envelope)
}

/// True if a field of this name belongs to a single event.
fn is_of_an_event(name: &str) -> bool {
    use Slot::{
        Body, Duration, End, Name, Observed, Parent, Priority, Severity, SeverityNumber, Span, Start, Time,
        Trace,
    };
    matches!(
        role_of(name).target,
        Target::Core(
            Time | Start
                | End
                | Observed
                | Duration
                | Trace
                | Span
                | Parent
                | Name
                | Severity
                | SeverityNumber
                | Priority
                | Body,
            _
        )
    )
}

/// True if the object has a field named like a time.
fn says_when(json: &[u8]) -> bool {
    keys(json)
        .iter()
        .any(|key| matches!(role_of(key).target, Target::Core(Slot::Time | Slot::Start | Slot::Observed, _)))
}

/// Keys of the object in `json`, up to the first unreadable entry.
pub(super) fn keys(json: &[u8]) -> Vec<String> {
    let mut scan = Scan { json, at: 0 };
    let mut keys = Vec::new();
    if scan.eat(b'{').is_none() {
        return keys;
    }
    while let Some((key, _)) = scan.entry() {
        keys.push(String::from_utf8_lossy(&json[key.start + 1..key.end - 1]).into_owned());
        if scan.eat(b',').is_none() {
            break;
        }
    }
    keys
}

/// A position in JSON.
struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Skips white space and returns the next byte without consuming it.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.json.get(self.at..)?;
        self.at += rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.json.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads a key, including its quotes, and its value; `None` if one of them is incomplete. A list counts as a value
    /// even if its end is missing.
    fn entry(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        if self.peek()? != b'"' {
            return None;
        }
        let key = self.value()?;
        self.eat(b':')?;
        let start = {
            self.peek()?;
            self.at
        };
        let value = match self.value() {
            Some(value) => value,
            None if self.json[start] == b'[' => {
                self.at = self.json.len();
                start..self.at
            }
            None => return None,
        };
        Some((key, value))
    }

    /// Reads the value that begins here and moves after it; `None` if its end is missing.
    fn value(&mut self) -> Option<Range<usize>> {
        let first = self.peek()?;
        let start = self.at;
        let (mut depth, mut i) = (0_usize, start);
        while i < self.json.len() {
            match self.json[i] {
                b'"' => {
                    i += 1;
                    while *self.json.get(i)? != b'"' {
                        i += if self.json[i] == b'\\' { 2 } else { 1 };
                    }
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b',' | b'}' | b']' | b':' if depth == 0 => {
                    self.at = i;
                    return (i > start).then(|| start..start + self.json[start..i].trim_ascii_end().len());
                }
                _ => {}
            }
            i += 1;
            if depth == 0 && matches!(first, b'"' | b'{' | b'[') {
                self.at = i;
                return Some(start..i);
            }
        }
        None
    }

    /// Reads the objects up to the end of the list, and returns the unreadable rest if the list is torn. `None` if the
    /// list has anything but objects.
    #[expect(clippy::option_option, reason = "no list of objects, a whole and a torn one are three cases")]
    fn objects(&mut self, found: &mut Vec<Range<usize>>) -> Option<Option<Range<usize>>> {
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Some(None);
                }
                Some(b',') => self.at += 1,
                Some(b'{') => {
                    let start = self.at;
                    let Some(object) = self.value() else {
                        self.at = self.json.len();
                        return Some(Some(start..self.at));
                    };
                    found.push(object);
                }
                Some(_) => return None,
                None => return Some(Some(self.json.len()..self.json.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records, the fields next to them, and the torn rest.
    fn opened(json: &str) -> Option<(Vec<&str>, String, Option<&str>)> {
        open(json.as_bytes()).map(|envelope| {
            let records = envelope.records.iter().map(|range| &json[range.clone()]).collect();
            let outer = String::from_utf8(envelope.outer).unwrap();
            (records, outer, envelope.torn.map(|range| &json[range]))
        })
    }

    #[test]
    fn lists_of_records_are_found() {
        for (json, records, outer) in [
            (
                r#"{"Records":[{"eventTime":"x"},{"b":[{}]}]}"#,
                vec![r#"{"eventTime":"x"}"#, r#"{"b":[{}]}"#],
                "",
            ),
            (
                "{ \"owner\" : \"1\",\n \"subscriptionFilters\":[\"a\"], \"logEvents\" : [ {\"id\":1} , {\"id\":\"}\"} ] }\n",
                vec!["{\"id\":1}", "{\"id\":\"}\"}"],
                r#"{"owner":"1","subscriptionFilters":["a"]}"#,
            ),
            (r#"{"events":[{"message":"a"}]}"#, vec![r#"{"message":"a"}"#], ""),
            (r#"{"logs":[{"time":1}],"next":null}"#, vec![r#"{"time":1}"#], r#"{"next":null}"#),
            (r#"{"whatever":[{"ts":1}]}"#, vec![r#"{"ts":1}"#], ""),
        ] {
            assert_eq!(opened(json), Some((records, outer.to_owned(), None)), "{json}");
        }
    }

    #[test]
    fn events_with_lists_stay_events() {
        for json in [
            r#"{"time":1,"events":[{"time":2}]}"#,
            r#"{"name":"handle","events":[{"name":"x","timestamp":"2025-01-09T14:21:04Z"}],"links":[]}"#,
            r#"{"message":"m","records":[{"a":1}]}"#,
            r#"{"user":"x","items":[{"sku":1}]}"#,
            r#"{"tags":[{"k":1}]}"#,
            r#"{"events":[{"time":1}],"records":[{"time":1}]}"#,
            r#"{"records":[{"time":1},2]}"#,
            r#"{"records":[1,2]}"#,
            r#"{"records":[]}"#,
            r#"{"records":{}}"#,
            "[]",
            "{",
            "",
        ] {
            assert_eq!(opened(json), None, "{json}");
        }
    }

    #[test]
    fn a_torn_envelope_gives_its_whole_records() {
        for (json, torn) in [
            (r#"{"Records":[{"a":1},{"b":2},{"c":"#, Some("{\"c\":")),
            (r#"{"Records":[{"a":1},{"b":2}"#, Some("")),
            (r#"{"Records":[{"a":1},{"b":2}],"next"#, Some("\"next")),
        ] {
            let (records, outer, found) = opened(json).unwrap();
            assert_eq!(
                (records, outer, found),
                (vec!["{\"a\":1}", "{\"b\":2}"], String::new(), torn),
                "{json}"
            );
        }
    }
}
