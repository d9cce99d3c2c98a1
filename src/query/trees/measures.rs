//! How long did each span itself take, and where did an error come from? Pure.

use super::spans::{STATUS_ERROR, Spans};
use super::tree::{Critical, Row, critical_path, parent_rows, rows, subtree_ends};

/// A trace in tree order, with figures for each row.
pub(super) struct Measured {
    /// The rows.
    pub(super) rows: Vec<Row>,
    /// Row of the parent of each; `None` at depth 0.
    pub(super) parents: Vec<Option<u32>>,
    /// One past the last row of the subtree of each.
    pub(super) ends: Vec<u32>,
    /// Time of each in which none of its children ran, in nanoseconds.
    pub(super) self_ns: Vec<i64>,
    /// The critical path.
    pub(super) critical: Vec<Critical>,
    /// True if the span failed, or one below it.
    pub(super) has_error: Vec<bool>,
    /// True if the span failed and none below it.
    pub(super) is_origin: Vec<bool>,
}

impl Measured {
    /// Measures a trace.
    pub(super) fn new(spans: &Spans) -> Self {
        let rows = rows(&spans.all);
        let (parents, ends) = (parent_rows(&rows), subtree_ends(&rows));
        let failed = |row: &Row| spans.statuses[row.span as usize] == STATUS_ERROR;
        let mut below = vec![false; rows.len()];
        let (mut has_error, mut is_origin) = (vec![false; rows.len()], vec![false; rows.len()]);
        for (i, row) in rows.iter().enumerate().rev() {
            has_error[i] = failed(row) || below[i];
            is_origin[i] = failed(row) && !below[i];
            if let (true, Some(parent)) = (has_error[i], parents[i]) {
                below[parent as usize] = true;
            }
        }
        let self_ns = self_times(spans, &rows, &ends);
        let critical = critical_path(&spans.all, &rows);
        Self { rows, parents, ends, self_ns, critical, has_error, is_origin }
    }

    /// Time of each row on the critical path, in nanoseconds.
    pub(super) fn critical_ns(&self) -> Vec<i64> {
        let mut times = vec![0_i64; self.rows.len()];
        for part in &self.critical {
            times[part.row as usize] += part.to_ns.saturating_sub(part.from_ns);
        }
        times
    }
}

fn self_times(spans: &Spans, rows: &[Row], ends: &[u32]) -> Vec<i64> {
    let of = |row: usize| &spans.all[rows[row].span as usize];
    let own = |row: usize| {
        let span = of(row);
        let (mut reached_ns, mut covered_ns) = (span.start_ns, 0_i64);
        let mut child = row + 1;
        // Children come in the order of their starts.
        while child < ends[row] as usize {
            let from_ns = of(child).start_ns.max(reached_ns);
            let to_ns = of(child).end_ns().min(span.end_ns());
            if to_ns > from_ns {
                covered_ns = covered_ns.saturating_add(to_ns.saturating_sub(from_ns));
                reached_ns = to_ns;
            }
            child = ends[child] as usize;
        }
        span.end_ns().saturating_sub(span.start_ns).saturating_sub(covered_ns)
    };
    (0..rows.len()).map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::trees::tree::Span;

    fn spans(all: &[(u64, u64, i64, i64, u8)]) -> Spans {
        let span = |&(id, parent, start_ns, duration_ns, _): &(u64, u64, i64, i64, u8)| Span {
            id,
            parent: (parent > 0).then_some(parent),
            start_ns,
            duration_ns: Some(duration_ns),
            kind: 0,
        };
        Spans::of(all.iter().map(span).collect(), all.iter().map(|span| span.4).collect())
    }

    #[test]
    fn a_span_itself_runs_while_no_child_does() {
        // Children overlap, and the last outlives its parent.
        let measured = Measured::new(&spans(&[
            (1, 0, 0, 100, 0),
            (2, 1, 10, 20, 0),
            (3, 1, 20, 30, 0),
            (4, 1, 90, 50, 0),
        ]));
        assert_eq!(measured.self_ns, [100 - 40 - 10, 20, 30, 50]);
        assert_eq!(measured.critical_ns().iter().sum::<i64>(), 100);
    }

    #[test]
    fn errors_are_followed_to_their_origin() {
        let measured = Measured::new(&spans(&[
            (1, 0, 0, 100, 2),
            (2, 1, 10, 20, 0),
            (3, 2, 12, 5, 2),
            (4, 1, 40, 5, 0),
            (5, 1, 50, 5, 2),
        ]));
        assert_eq!(measured.has_error, [true, true, true, false, true]);
        assert_eq!(measured.is_origin, [false, false, true, false, true]);
    }
}
