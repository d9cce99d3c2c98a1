//! Draws spans line by line.

use std::collections::HashMap;
use std::fmt::Write as _;

use indicatif::HumanCount;
use nu_ansi_term::{Color, Style};

use super::super::draw::bar::columns_of;
use super::super::draw::row::Row;
use super::super::draw::text::{cut, left, right, width, wrapped};
use super::super::draw::units::{human_duration, offset, percent};
use super::super::draw::{Screen, style_of_name, style_of_severity};
use super::guides::Guides;
use super::read::{Head, PathStep, Record, Span};

/// Columns of a duration.
const DURATION: usize = 9;
/// Fewest and most columns of names.
const NAMES_MIN: usize = 20;
const NAMES_MAX: usize = 70;

/// Severity number from which on a record has several lines, and their number.
const SEVERE: i64 = 13;
const RECORD_LINES: usize = 4;

/// A waterfall that is being drawn.
pub(super) struct Waterfall<'a> {
    screen: &'a Screen,
    head: &'a Head,
    guides: Guides,
    /// Parts of the critical path by row, as shares of the trace.
    parts: HashMap<u64, Vec<(f64, f64)>>,
    /// Records by span, until their span comes.
    records: HashMap<String, Vec<Record>>,
    /// True if there are more records than those.
    has_more_records: bool,
    /// Number of the next row, if none is left out.
    next_row: u64,
    /// Spans that were left out.
    folded: u64,
}

impl<'a> Waterfall<'a> {
    /// Begins to draw the trace of `head`.
    pub(super) fn new(screen: &'a Screen, head: &'a Head) -> Self {
        Self {
            screen,
            head,
            guides: Guides::default(),
            parts: HashMap::new(),
            records: HashMap::new(),
            has_more_records: false,
            next_row: 0,
            folded: 0,
        }
    }

    /// Takes parts of the critical path.
    pub(super) fn take_parts<'r>(&mut self, rows: impl Iterator<Item = Row<'r>>) {
        for row in rows {
            let (Some(number), Some(from), Some(length)) =
                (row.integer("row"), row.integer("timestamp"), row.integer("duration_ns"))
            else {
                continue;
            };
            let part = (self.share(from), self.share(from.saturating_add(length)));
            self.parts.entry(number.unsigned_abs()).or_default().push(part);
        }
    }

    /// Takes records in the order of time. `has_more` says that there are others.
    pub(super) fn take_records(&mut self, records: Vec<Record>, has_more: bool) {
        for record in records {
            self.records.entry(record.span_id.clone()).or_default().push(record);
        }
        self.has_more_records = has_more;
    }

    /// The lines above the spans: facts about the trace, and the scale.
    pub(super) fn begin(&self) -> String {
        let Head { id, service, name, spans, errors, services, notes, .. } = self.head;
        let screen = self.screen;
        let mut text = format!("Trace {}\n", screen.bold(id));
        let count = |number: u64, noun: &str| {
            format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
        };
        let duration = self.head.duration_ns.map_or_else(|| "?".to_owned(), |ns| human_duration(ns as f64));
        let failed = count(*errors, "error");
        let failed = if *errors > 0 { screen.red(&failed) } else { failed };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {}, {}: {}, {}, {failed}",
            screen.bold(service),
            screen.bold(name),
            screen.bold(&duration),
            count(*spans, "span"),
            count(*services, "service"),
        );
        let _ = writeln!(text, "{} {}", screen.zone.time(self.head.start_ns), screen.zone.name());
        if !notes.is_empty() {
            let _ = writeln!(text, "{}", screen.paint(Color::Yellow.normal(), &format!("! {notes}")));
        }
        let _ = writeln!(text, "{}", screen.weak(&self.scale()));
        text
    }

    /// One span, with the number of those left out before it and the records below it.
    pub(super) fn span(&mut self, span: &Span) -> String {
        let mut text = self.fold(span.row);
        self.next_row = span.row + 1;
        self.guides.enter(span.row, span.depth, span.below);
        let names = self.names(span);
        let duration = span.duration_ns.map_or_else(|| "?".to_owned(), |ns| human_duration(ns as f64));
        let duration = right(&duration, DURATION);
        let duration = if span.is_error { self.screen.red(&duration) } else { duration };
        let _ = writeln!(text, "{names} {} {duration}", self.bar(span));
        if !span.notes.is_empty() {
            let note = format!("{}! {}", self.guides.of_detail(), span.notes);
            let _ = writeln!(
                text,
                "{}",
                self.screen.paint(Color::Yellow.normal(), &cut(&note, self.screen.width))
            );
        }
        for record in self.records.remove(&span.id).unwrap_or_default() {
            let _ = writeln!(text, "{}", self.record(&record, &self.guides.of_detail()));
        }
        self.parts.remove(&span.row);
        text
    }

    /// The lines below the spans: what was folded, the critical path, and records of no span that was drawn.
    pub(super) fn end(&mut self, path: &[PathStep]) -> String {
        let mut text = self.fold(self.head.spans);
        if self.folded > 0 {
            let folded = HumanCount(self.folded);
            let _ = writeln!(text, "{folded} spans are folded: --all draws them, --spans N more of them.");
        }
        if !path.is_empty() {
            let _ = writeln!(text, "\nCritical path");
        }
        for step in path {
            let _ = writeln!(
                text,
                "  {} {} {} {}{}",
                right(&percent(step.share), 6),
                right(&human_duration(step.duration_ns as f64), DURATION),
                self.screen.paint(style_of_name(&step.service), &step.service),
                step.name,
                if step.spans > 1 { format!(" ({} spans)", step.spans) } else { String::new() },
            );
        }
        let mut others: Vec<Record> = self.records.drain().flat_map(|(_, records)| records).collect();
        others.sort_by_key(|record| record.at_ns);
        if !others.is_empty() {
            let _ = writeln!(text, "\nOther log records");
        }
        for record in &others {
            let _ = writeln!(text, "{}", self.record(record, "  "));
        }
        if self.has_more_records {
            let _ = writeln!(
                text,
                "There are more log records: broadloom logs --where \"trace_id = '{}'\"",
                self.head.id
            );
        }
        text
    }

    /// A line for the rows before `row` that are left out.
    fn fold(&mut self, row: u64) -> String {
        let hidden = row.saturating_sub(self.next_row);
        if hidden == 0 {
            return String::new();
        }
        self.folded += hidden;
        let noun = if hidden == 1 { "span" } else { "spans" };
        let line = format!("{}⋯ {} {noun}", self.guides.of_detail(), HumanCount(hidden));
        format!("{}\n", self.screen.weak(&line))
    }

    fn columns(&self) -> (usize, usize) {
        let names = (self.screen.width * 45 / 100).clamp(NAMES_MIN, NAMES_MAX);
        (names, self.screen.width.saturating_sub(names + DURATION + 2).max(1))
    }

    /// Place of a time on the scale, as a share.
    fn share(&self, ns: i64) -> f64 {
        let length = self.head.duration_ns.filter(|ns| *ns > 0).unwrap_or(1);
        ns.saturating_sub(self.head.start_ns) as f64 / length as f64
    }

    fn scale(&self) -> String {
        let (names, columns) = self.columns();
        let length = self.head.duration_ns.unwrap_or(0) as f64;
        let (middle, end) = (human_duration(length / 2.0), human_duration(length));
        let room = (columns - columns / 2).saturating_sub(width(&end));
        let middle = if width(&middle) < room { middle } else { String::new() };
        format!("{}{}{}{end}", " ".repeat(names + 1), left("0", columns / 2), left(&middle, room))
    }

    /// The line to the span, its service and name.
    fn names(&self, span: &Span) -> String {
        let (columns, _) = self.columns();
        let guide = cut(&self.guides.of_span(), columns);
        let sign = if span.is_origin { " ✗" } else { "" };
        let room = columns.saturating_sub(width(&guide) + width(sign));
        let service = cut(&span.service, room);
        let name = cut(&span.name, room.saturating_sub(width(&service) + 1));
        let gap = if service.is_empty() || name.is_empty() { "" } else { " " };
        let taken = width(&guide) + width(&service) + width(gap) + width(&name) + width(sign);
        let screen = self.screen;
        let name = if span.is_error { screen.red(&name) } else { name };
        format!(
            "{}{}{gap}{name}{}{}",
            screen.weak(&guide),
            screen.paint(style_of_name(&span.service), &service),
            screen.red(sign),
            " ".repeat(columns.saturating_sub(taken)),
        )
    }

    fn bar(&self, span: &Span) -> String {
        let (_, columns) = self.columns();
        let start = self.share(span.start_ns);
        let Some(duration) = span.duration_ns else {
            let (first, _) = columns_of(start, start, columns);
            return left(&format!("{}?", " ".repeat(first)), columns);
        };
        let (first, end) = columns_of(start, self.share(span.start_ns.saturating_add(duration)), columns);
        let mut is_critical = vec![false; columns];
        for (from, to) in self.parts.get(&span.row).into_iter().flatten() {
            let (from, to) = columns_of(*from, *to, columns);
            is_critical[from.max(first)..to.min(end).max(from.max(first))].fill(true);
        }
        let style = if span.is_error { Color::Red.normal() } else { style_of_name(&span.service) };
        let mut bar = " ".repeat(first);
        // Parts of one kind get one pair of colour codes.
        for part in is_critical[first..end].chunk_by(|a, b| a == b) {
            let (sign, style) = if part[0] { ("█", style) } else { ("▒", style.dimmed()) };
            bar += &self.screen.paint(style, &sign.repeat(part.len()));
        }
        bar + &" ".repeat(columns.saturating_sub(end))
    }

    fn record(&self, record: &Record, before: &str) -> String {
        let at = offset(record.at_ns.saturating_sub(self.head.start_ns));
        let head = width(before) + width(&at) + width(&record.level) + 4;
        let room = self.screen.width.saturating_sub(head);
        // Warnings and errors are read, others looked over.
        let is_severe = record.severity_number >= SEVERE;
        let first = wrapped(&record.text, room, if is_severe { 2 } else { 1 });
        let style = match record.severity_number {
            0 => Style::new(),
            number => style_of_severity(number),
        };
        let mut text = format!(
            "{}◆ {} {} {}",
            self.screen.weak(before),
            self.screen.weak(&at),
            self.screen.paint(style, &record.level),
            first[0],
        );
        // The other lines have more room than the first.
        if let Some(rest) = record.text.trim().strip_prefix(&first[0]).filter(|_| first.len() > 1) {
            let room = self.screen.width.saturating_sub(width(before) + 2);
            for line in wrapped(rest, room, RECORD_LINES - 1) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\n{}  {line}", self.screen.weak(before));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize) -> Screen {
        Screen { width, height: 24, has_colours: false, zone: "UTC".parse().unwrap() }
    }

    fn head(spans: u64) -> Head {
        Head {
            id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            service: "frontend".to_owned(),
            name: "POST /checkout".to_owned(),
            start_ns: 1_000_000_000,
            duration_ns: Some(1_000_000_000),
            spans,
            errors: 1,
            services: 2,
            notes: String::new(),
        }
    }

    fn span(row: u64, depth: usize, below: u64, from_ms: i64, ms: i64) -> Span {
        Span {
            row,
            depth,
            below,
            id: format!("{row:016x}"),
            service: "pay".to_owned(),
            name: format!("op {row}"),
            start_ns: 1_000_000_000 + from_ms * 1_000_000,
            duration_ns: Some(ms * 1_000_000),
            ..Span::default()
        }
    }

    #[test]
    fn spans_stand_at_their_time_and_folded_ones_are_counted() {
        let (screen, head) = (screen(60), head(6));
        let mut waterfall = Waterfall::new(&screen, &head);
        waterfall.parts.insert(1, vec![(0.5, 0.75)]);
        let begin = waterfall.begin();
        assert!(begin.contains("frontend POST /checkout, 1.00 s: 6 spans, 2 services, 1 error\n"), "{begin}");
        assert!(begin.contains("1970-01-01 00:00:01.000 UTC"), "{begin}");
        let failed = Span { is_error: true, is_origin: true, ..span(1, 1, 0, 500, 500) };
        let text = waterfall.span(&span(0, 0, 4, 0, 1000))
            + &waterfall.span(&failed)
            + &waterfall.span(&span(5, 0, 0, 0, 0));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(width(lines[0]), 60, "{text}");
        assert!(lines[0].starts_with("pay op 0") && lines[0].ends_with("1.00 s"), "{text}");
        assert!(lines[1].starts_with("├ pay op 1 ✗") && lines[1].contains("█▒"), "{text}");
        assert!(lines[2].ends_with("⋯ 3 spans"), "{text}");
        assert!(waterfall.end(&[]).contains("3 spans are folded: --all draws them"));
    }

    #[test]
    fn records_stand_below_their_span_or_at_the_end() {
        let (screen, head) = (screen(60), head(1));
        let mut waterfall = Waterfall::new(&screen, &head);
        let record = |span_id: &str, text: &str| Record {
            at_ns: 1_250_000_000,
            span_id: span_id.to_owned(),
            level: "WARN".to_owned(),
            severity_number: 13,
            text: text.to_owned(),
        };
        let records = [record("0000000000000000", "slow"), record("", "no span")];
        waterfall.take_records(records.into(), true);
        let text = waterfall.span(&span(0, 0, 0, 0, 1000));
        assert!(text.ends_with("◆ +250 ms WARN slow\n"), "{text}");
        let end = waterfall.end(&[]);
        assert!(end.contains("Other log records\n  ◆ +250 ms WARN no span\n"), "{end}");
        assert!(end.contains("more log records: broadloom logs"), "{end}");
    }

    #[test]
    fn unknown_and_wrong_times_do_no_harm() {
        let (screen, head) = (screen(40), Head { duration_ns: None, ..head(3) });
        let mut waterfall = Waterfall::new(&screen, &head);
        let mut text = waterfall.begin();
        text += &waterfall.span(&Span { duration_ns: None, ..span(0, 0, 2, 0, 0) });
        text += &waterfall.span(&Span { start_ns: i64::MIN, duration_ns: Some(-5), ..span(1, 1, 0, 0, 0) });
        text +=
            &waterfall.span(&Span { start_ns: i64::MAX, duration_ns: Some(i64::MAX), ..span(2, 1, 0, 0, 0) });
        assert!(text.contains('?'), "{text}");
    }
}
