//! How do two traces differ? Their trees are laid over each other by paths of services and names.
//!
//! Spans with the same service and name below the same path are one entry: a call in a loop is an entry with many
//! spans. Parents stand before their children, and siblings in the order in which they begin, in the first trace where
//! it has them. Pure, and not recursive.

use std::collections::HashMap;

use super::measures::Measured;
use super::spans::{STATUS_ERROR, Spans};

/// Spans of one trace at one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// Number of spans.
    pub(super) spans: i64,
    /// Number of those that failed.
    pub(super) errors: i64,
    /// Sum of their durations, in nanoseconds.
    pub(super) duration_ns: i64,
    /// Sum of the times in which none of their children ran, in nanoseconds.
    pub(super) self_ns: i64,
    /// Begin of the first, in nanoseconds after the begin of the trace.
    begin_ns: i64,
}

/// One path in both traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of entries above it.
    pub(super) depth: u32,
    /// Service and name of its spans.
    pub(super) service: String,
    pub(super) name: String,
    /// The first trace, and the second; `None` where it has no such span.
    pub(super) sides: [Option<Side>; 2],
}

struct Node<'a> {
    entry: Entry,
    children: HashMap<(&'a str, &'a str), usize>,
    /// Nodes of the children.
    all: Vec<usize>,
}

/// The paths of both traces, in tree order.
pub(super) fn diff(first: &Spans, second: &Spans) -> Vec<Entry> {
    let top = Entry { depth: 0, service: String::new(), name: String::new(), sides: [None; 2] };
    let mut nodes = vec![Node { entry: top, children: HashMap::new(), all: Vec::new() }];
    for (side, spans) in [first, second].into_iter().enumerate() {
        lay(&mut nodes, side, spans);
    }
    let begins: Vec<(bool, i64)> = nodes.iter().map(begin).collect();
    let mut entries = Vec::with_capacity(nodes.len());
    let mut due = vec![0];
    while let Some(at) = due.pop() {
        let mut children = std::mem::take(&mut nodes[at].all);
        children.sort_by_key(|child| begins[*child]);
        due.extend(children.into_iter().rev());
        if at > 0 {
            entries.push(nodes[at].entry.clone());
        }
    }
    entries
}

/// Begin of a path, and whether it is only in the second trace: a path of both stands where the first has it.
fn begin(node: &Node<'_>) -> (bool, i64) {
    match node.entry.sides {
        [Some(first), _] => (false, first.begin_ns),
        [None, Some(second)] => (false, second.begin_ns),
        [None, None] => (true, 0),
    }
}

fn lay<'a>(nodes: &mut Vec<Node<'a>>, side: usize, spans: &'a Spans) {
    let measured = Measured::new(spans);
    let start_ns = spans.all.iter().map(|span| span.start_ns).min().unwrap_or_default();
    let mut node_of_row = Vec::with_capacity(measured.rows.len());
    for (i, row) in measured.rows.iter().enumerate() {
        let span = row.span as usize;
        let parent = measured.parents[i].map_or(0, |parent| node_of_row[parent as usize]);
        let path = (spans.string(spans.services[span]), spans.string(spans.names[span]));
        let new = nodes.len();
        let at = *nodes[parent].children.entry(path).or_insert(new);
        if at == new {
            nodes[parent].all.push(new);
            let (service, name) = (path.0.to_owned(), path.1.to_owned());
            let entry = Entry { depth: row.depth, service, name, sides: [None; 2] };
            nodes.push(Node { entry, children: HashMap::new(), all: Vec::new() });
        }
        let begin_ns = spans.all[span].start_ns.saturating_sub(start_ns);
        let sum = nodes[at].entry.sides[side].get_or_insert(Side { begin_ns, ..Side::default() });
        sum.spans += 1;
        sum.errors += i64::from(spans.statuses[span] == STATUS_ERROR);
        sum.duration_ns = sum.duration_ns.saturating_add(spans.all[span].duration_ns.unwrap_or(0));
        sum.self_ns = sum.self_ns.saturating_add(measured.self_ns[i]);
        sum.begin_ns = sum.begin_ns.min(begin_ns);
        node_of_row.push(at);
    }
}
