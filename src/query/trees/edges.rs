//! Which service calls which, in one trace? A span whose parent is of another service is a call. Pure.

use super::measures::Measured;
use super::spans::{KINDS, STATUS_ERROR, Spans};

/// A call from one service to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    /// Number of the text of the caller's service, and of the callee's.
    pub(super) services: [u32; 2],
    /// Calls that it stands for: those of the callee's span.
    pub(super) weight: f64,
    /// True if the callee's span failed.
    pub(super) failed: bool,
    /// Duration of the callee's span, in nanoseconds.
    pub(super) duration_ns: Option<i64>,
    /// True if the callee took a message.
    pub(super) is_message: bool,
}

/// All calls between services that have names.
pub(super) fn edges(spans: &Spans) -> Vec<Edge> {
    let Measured { rows, parents, .. } = Measured::new(spans);
    let edge = |(row, parent): (usize, u32)| {
        let (callee, caller) = (rows[row].span as usize, rows[parent as usize].span as usize);
        let services = [spans.services[caller], spans.services[callee]];
        let named = services.iter().all(|service| !spans.string(*service).is_empty());
        (named && services[0] != services[1]).then(|| Edge {
            services,
            weight: spans.weights[callee],
            failed: spans.statuses[callee] == STATUS_ERROR,
            duration_ns: spans.all[callee].duration_ns,
            is_message: KINDS[usize::from(spans.all[callee].kind).min(KINDS.len() - 1)] == "consumer",
        })
    };
    let placed = parents.iter().enumerate().filter_map(|(row, parent)| Some((row, (*parent)?)));
    placed.filter_map(edge).collect()
}
