//! In which order do the spans of a trace stand, and how deep?
//!
//! Parents stand before their children, and siblings in the order of their starts (*pre-order*), so that a depth per
//! row says where each subtree ends. A trace may be anything that producers send:
//!
//! | the span | stands | mark |
//! |---|---|---|
//! | names no parent | at depth 0, first | |
//! | names a parent that is not there | at depth 0, after those | [`ORPHAN`] |
//! | is in a circle of parents | at depth 0, last: the earliest of the circle, the others below it | [`CYCLE`] |
//! | starts before its parent | below its parent | [`EARLY`] |
//! | shares its id with the span of its client | below that; children of the id stand below it | [`SHARED`] |
//! | has the id of another span otherwise | where its parent says; children stand below the earliest of that id | |
//!
//! An id is shared where Zipkin's libraries send both halves of a call: the span of the client (or producer) and that
//! of the server (or consumer).
//!
//! Nothing here recurses, so depth is not bounded by a stack. Pure: no I/O.

use std::collections::HashMap;

/// The span names a parent that is not in the trace.
pub(crate) const ORPHAN: u8 = 1;
/// The span starts before its parent: clocks differ.
pub(crate) const EARLY: u8 = 2;
/// The span has links.
pub(crate) const LINKS: u8 = 4;
/// The parents of the span form a circle.
pub(crate) const CYCLE: u8 = 8;

/// The span is the server's half of a call, and has the id of the client's half.
pub(crate) const SHARED: u8 = 16;

/// Codes of kinds of spans in OTLP.
mod kind {
    pub(super) const SERVER: u8 = 2;
    pub(super) const CLIENT: u8 = 3;
    pub(super) const PRODUCER: u8 = 4;
    pub(super) const CONSUMER: u8 = 5;
}

/// A span, as far as its place depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its id; 0 where it has none.
    pub(crate) id: u64,
    /// Id of its parent.
    pub(crate) parent: Option<u64>,
    /// Start, in nanoseconds since 1970.
    pub(crate) start_ns: i64,
    /// Duration; unknown where the end is.
    pub(crate) duration_ns: Option<i64>,
    /// Code of its kind in OTLP; 0 unspecified.
    pub(crate) kind: u8,
}

impl Span {
    /// End of the span: its start where the end is unknown.
    pub(crate) fn end_ns(&self) -> i64 {
        self.start_ns.saturating_add(self.duration_ns.unwrap_or(0).max(0))
    }

    fn calls(&self) -> bool {
        matches!(self.kind, kind::CLIENT | kind::PRODUCER)
    }

    fn is_called(&self) -> bool {
        matches!(self.kind, kind::SERVER | kind::CONSUMER)
    }
}

/// A row of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Index of the span.
    pub(crate) span: u32,
    /// Number of rows above it.
    pub(crate) depth: u32,
    /// [`ORPHAN`], [`EARLY`], [`CYCLE`] and [`SHARED`].
    pub(crate) marks: u8,
}

/// Part of a row that the duration of the trace depends on, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Critical {
    /// The row.
    pub(crate) row: u32,
    /// Begin of the part.
    pub(crate) from_ns: i64,
    /// End of the part.
    pub(crate) to_ns: i64,
}

/// Children of each span, in the order of their starts.
struct Children {
    /// Places in `all` at which the children of each span begin; one more at the end.
    begin: Vec<u32>,
    all: Vec<u32>,
}

impl Children {
    fn new(parents: &[Option<u32>], by_start: &[u32]) -> Self {
        let mut begin = vec![0_u32; parents.len() + 1];
        for parent in parents.iter().flatten() {
            begin[*parent as usize + 1] += 1;
        }
        for i in 1..begin.len() {
            begin[i] += begin[i - 1];
        }
        let mut next = begin.clone();
        let mut all = vec![0; begin[parents.len()] as usize];
        for &span in by_start {
            if let Some(parent) = parents[span as usize] {
                all[next[parent as usize] as usize] = span;
                next[parent as usize] += 1;
            }
        }
        Self { begin, all }
    }

    fn of(&self, span: u32) -> &[u32] {
        &self.all[self.begin[span as usize] as usize..self.begin[span as usize + 1] as usize]
    }
}

/// Spans of one id, in the order of their starts.
#[derive(Debug, Clone, Copy)]
struct OfId {
    first: u32,
    /// The first that calls, and the first that is called.
    caller: Option<u32>,
    called: Option<u32>,
}

impl OfId {
    /// The halves of a call that share the id.
    fn halves(self) -> Option<(u32, u32)> {
        self.caller.zip(self.called)
    }
}

/// Parents of all spans of a trace.
struct Parents {
    /// Indexes of the spans, in the order of their starts.
    by_start: Vec<u32>,
    /// Index of the parent of each span; `None` if it names none, or one that is not there.
    of: Vec<Option<u32>>,
    /// True for the server's half of a call that shares the id with the client's.
    is_shared: Vec<bool>,
}

impl Parents {
    /// Finds the parents.
    fn new(spans: &[Span]) -> Self {
        let mut by_start: Vec<u32> = (0..spans.len() as u32).collect();
        by_start.sort_by_key(|&i| (spans[i as usize].start_ns, spans[i as usize].id, i));
        let mut of_id: HashMap<u64, OfId> = HashMap::with_capacity(spans.len());
        for &i in &by_start {
            let span = &spans[i as usize];
            let known = of_id.entry(span.id).or_insert(OfId { first: i, caller: None, called: None });
            if span.calls() {
                known.caller.get_or_insert(i);
            } else if span.is_called() {
                known.called.get_or_insert(i);
            }
        }
        let halves = |id: u64| of_id.get(&id).and_then(|of_id| of_id.halves());
        let is_shared: Vec<bool> = spans
            .iter()
            .zip(0_u32..)
            .map(|(span, i)| halves(span.id).is_some_and(|(_, called)| called == i))
            .collect();
        let parent = |span: &Span, i: u32| {
            if let Some((caller, called)) = halves(span.id)
                && called == i
            {
                return Some(caller);
            }
            let of_parent = of_id.get(&span.parent?)?;
            Some(of_parent.halves().map_or(of_parent.first, |(_, called)| called))
        };
        let of = spans.iter().zip(0_u32..).map(|(span, i)| parent(span, i)).collect();
        Self { by_start, of, is_shared }
    }
}

/// The rows of a trace, in pre-order; each span once.
pub(crate) fn rows(spans: &[Span]) -> Vec<Row> {
    let Parents { by_start, of: parents, is_shared } = Parents::new(spans);
    let children = Children::new(&parents, &by_start);

    let mut walk = Walk {
        spans,
        children: &children,
        is_shared: &is_shared,
        rows: Vec::with_capacity(spans.len()),
        seen: vec![false; spans.len()],
    };
    let is_root = |i: u32| parents[i as usize].is_none();
    let is_orphan = |i: u32| is_root(i) && spans[i as usize].parent.is_some();
    for &i in by_start.iter().filter(|&&i| is_root(i) && !is_orphan(i)) {
        walk.down(i, 0);
    }
    for &i in by_start.iter().filter(|&&i| is_orphan(i)) {
        walk.down(i, ORPHAN);
    }
    // Spans that no root leads to are in a circle, or below one.
    for top in circles(&by_start, &parents, &walk.seen) {
        walk.down(top, CYCLE);
    }
    walk.rows
}

/// The earliest span of each circle of parents, in the order of their starts. `seen` are the spans in none.
fn circles(by_start: &[u32], parents: &[Option<u32>], seen: &[bool]) -> Vec<u32> {
    let mut rank = vec![0_u32; by_start.len()];
    for (&i, place) in by_start.iter().zip(0_u32..) {
        rank[i as usize] = place;
    }
    // Number of the walk that came by first; 0 for none.
    let mut walked = vec![0_u32; by_start.len()];
    let mut tops = Vec::new();
    for (&i, walk) in by_start.iter().zip(1_u32..).filter(|(i, _)| !seen[**i as usize]) {
        let mut at = i;
        while walked[at as usize] == 0 {
            walked[at as usize] = walk;
            // A span without a parent was seen.
            let Some(parent) = parents[at as usize] else { break };
            at = parent;
        }
        if walked[at as usize] == walk {
            let round = std::iter::successors(parents[at as usize], |i| parents[*i as usize]);
            let others = round.take_while(|i| *i != at);
            tops.extend(others.chain([at]).min_by_key(|i| rank[*i as usize]));
        }
    }
    tops.sort_by_key(|i| rank[*i as usize]);
    tops
}

struct Walk<'a> {
    spans: &'a [Span],
    children: &'a Children,
    is_shared: &'a [bool],
    rows: Vec<Row>,
    seen: Vec<bool>,
}

impl Walk<'_> {
    /// Adds `top` and everything below it, unless it is there.
    fn down(&mut self, top: u32, marks: u8) {
        let mut due = vec![(top, 0_u32, marks)];
        while let Some((span, depth, marks)) = due.pop() {
            if std::mem::replace(&mut self.seen[span as usize], true) {
                continue;
            }
            self.rows.push(Row { span, depth, marks });
            let start_ns = self.spans[span as usize].start_ns;
            for &child in self.children.of(span).iter().rev() {
                let early = if self.spans[child as usize].start_ns < start_ns { EARLY } else { 0 };
                let shared = if self.is_shared[child as usize] { SHARED } else { 0 };
                due.push((child, depth + 1, early | shared));
            }
        }
    }
}

/// Row of the parent of each row; `None` at depth 0.
pub(crate) fn parent_rows(rows: &[Row]) -> Vec<Option<u32>> {
    let mut open: Vec<u32> = Vec::new();
    let mut parents = Vec::with_capacity(rows.len());
    for (row, i) in rows.iter().zip(0_u32..) {
        open.truncate(row.depth as usize);
        parents.push(open.last().copied());
        open.push(i);
    }
    parents
}

/// One past the last row of the subtree of each row.
pub(crate) fn subtree_ends(rows: &[Row]) -> Vec<u32> {
    let mut ends = vec![rows.len() as u32; rows.len()];
    let mut open: Vec<usize> = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        while let Some(&last) = open.last()
            && rows[last].depth >= row.depth
        {
            ends[last] = i as u32;
            open.pop();
        }
        open.push(i);
    }
    ends
}

/// The critical path of the longest tree: at each moment, the deepest span that what comes after waited for.
///
/// It is walked from the end backwards: a span is critical from its end back to the end of the child that ended
/// last before, then that child is, and from the child's start on the span again.
pub(crate) fn critical_path(spans: &[Span], rows: &[Row]) -> Vec<Critical> {
    let span = |row: u32| spans[rows[row as usize].span as usize];
    let ends = subtree_ends(rows);
    let tops = (0..rows.len() as u32).filter(|&row| rows[row as usize].depth == 0);
    // The first of equals.
    let Some(top) = tops.rev().max_by_key(|&row| span(row).end_ns().saturating_sub(span(row).start_ns))
    else {
        return Vec::new();
    };
    let mut path = Vec::new();
    // A row, and the time of it that is waited for.
    let mut due = vec![(top, span(top).start_ns, span(top).end_ns())];
    let mut children = Vec::new();
    while let Some((row, begin_ns, until_ns)) = due.pop() {
        children.clear();
        let mut child = row + 1;
        while child < ends[row as usize] {
            children.push(child);
            child = ends[child as usize];
        }
        children.sort_by_key(|&child| std::cmp::Reverse(span(child).end_ns()));
        let mut reached_ns = until_ns;
        for &child in &children {
            let (start_ns, end_ns) =
                (span(child).start_ns.max(begin_ns), span(child).end_ns().min(reached_ns));
            if start_ns >= end_ns {
                continue;
            }
            if end_ns < reached_ns {
                path.push(Critical { row, from_ns: end_ns, to_ns: reached_ns });
            }
            due.push((child, start_ns, end_ns));
            reached_ns = start_ns;
        }
        if begin_ns < reached_ns {
            path.push(Critical { row, from_ns: begin_ns, to_ns: reached_ns });
        }
    }
    path.sort_by_key(|part| (part.row, part.from_ns));
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(id: u64, parent: u64, start_ns: i64, duration_ns: i64) -> Span {
        Span { id, parent: (parent > 0).then_some(parent), start_ns, duration_ns: Some(duration_ns), kind: 0 }
    }

    /// Ids of the rows with their depths and marks.
    fn shape(spans: &[Span]) -> Vec<(u64, u32, u8)> {
        rows(spans).iter().map(|row| (spans[row.span as usize].id, row.depth, row.marks)).collect()
    }

    #[test]
    fn parents_stand_before_children_and_siblings_by_start() {
        let spans = [span(3, 1, 50, 10), span(4, 2, 12, 5), span(2, 1, 10, 20), span(1, 0, 0, 100)];
        assert_eq!(shape(&spans), [(1, 0, 0), (2, 1, 0), (4, 2, 0), (3, 1, 0)]);
        assert_eq!(subtree_ends(&rows(&spans)), [4, 3, 3, 4]);
        assert_eq!(parent_rows(&rows(&spans)), [None, Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn odd_spans_have_their_places_and_marks() {
        let orphan = [span(2, 9, 0, 5), span(1, 0, 10, 5), span(3, 2, 1, 1)];
        assert_eq!(shape(&orphan), [(1, 0, 0), (2, 0, ORPHAN), (3, 1, 0)]);
        let circle = [span(1, 2, 5, 5), span(2, 1, 3, 5), span(3, 1, 6, 1), span(4, 4, 9, 1)];
        assert_eq!(shape(&circle), [(2, 0, CYCLE), (1, 1, 0), (3, 2, 0), (4, 0, CYCLE)]);
        // A span below a circle is in none, however early it is.
        let below = [span(1, 2, 5, 5), span(2, 1, 6, 5), span(3, 1, 0, 1)];
        assert_eq!(shape(&below), [(1, 0, CYCLE), (3, 1, EARLY), (2, 1, 0)]);
        let early = [span(1, 0, 10, 5), span(2, 1, 9, 5)];
        assert_eq!(shape(&early), [(1, 0, 0), (2, 1, EARLY)]);
        let twins = [span(1, 0, 0, 9), span(1, 0, 5, 9), span(2, 1, 6, 1)];
        assert_eq!(shape(&twins), [(1, 0, 0), (2, 1, 0), (1, 0, 0)]);
        assert_eq!(shape(&[]), []);
    }

    #[test]
    fn the_halves_of_a_call_may_share_an_id() {
        let of_kind = |kind, span| Span { kind, ..span };
        let client = of_kind(kind::CLIENT, span(2, 1, 10, 50));
        let server = of_kind(kind::SERVER, span(2, 1, 15, 40));
        let spans = [span(1, 0, 0, 100), server, client, span(3, 2, 20, 5), span(2, 1, 12, 1)];
        let expected = [(1, 0, 0), (2, 1, 0), (2, 2, SHARED), (3, 3, 0), (2, 1, 0)];
        assert_eq!(shape(&spans), expected);
        // Also if the server's clock is behind.
        let server = Span { start_ns: 5, ..server };
        let expected = [(1, 0, 0), (2, 1, 0), (2, 2, SHARED | EARLY)];
        assert_eq!(shape(&[server, client, span(1, 0, 0, 100)]), expected);
        // A server's span that claims to be its own parent's client is in a circle.
        let odd = [
            of_kind(kind::CLIENT, span(2, 3, 10, 5)),
            of_kind(kind::SERVER, span(2, 3, 11, 3)),
            span(3, 2, 12, 1),
        ];
        assert_eq!(shape(&odd), [(2, 0, CYCLE), (2, 1, SHARED), (3, 2, 0)]);
    }

    #[test]
    fn depth_is_not_bounded_by_a_stack() {
        let chain: Vec<Span> = (1..=200_000).map(|i| span(i, i - 1, i as i64, 1)).collect();
        let rows = rows(&chain);
        assert_eq!(rows.last().map(|row| row.depth), Some(199_999));
        assert_eq!(critical_path(&chain, &rows).first().map(|part| part.row), Some(0));
    }

    #[test]
    fn the_critical_path_follows_who_is_waited_for() {
        // 1 waits for 2, then for 3, of which 4 takes a part; 5 ends while 3 is under way.
        let spans = [
            span(1, 0, 0, 100),
            span(2, 1, 10, 20),
            span(3, 1, 40, 50),
            span(4, 3, 50, 10),
            span(5, 1, 35, 15),
        ];
        let rows = rows(&spans);
        let path: Vec<_> = critical_path(&spans, &rows)
            .iter()
            .map(|part| (spans[rows[part.row as usize].span as usize].id, part.from_ns, part.to_ns))
            .collect();
        let of = |id| {
            path.iter().filter(move |part| part.0 == id).map(|part| (part.1, part.2)).collect::<Vec<_>>()
        };
        assert_eq!(of(1), [(0, 10), (30, 35), (90, 100)]);
        assert_eq!(of(2), [(10, 30)]);
        assert_eq!(of(3), [(40, 50), (60, 90)]);
        assert_eq!(of(4), [(50, 60)]);
        assert_eq!(of(5), [(35, 40)]);
    }

    proptest! {
        #[test]
        fn whatever_parents_say_each_span_stands_once_and_the_path_covers_its_root_once(
            spans in prop::collection::vec((0_u64..12, 0_u64..14, 0_i64..50, -3_i64..50, 0_u8..6), 0..40)
        ) {
            let spans: Vec<Span> = spans
                .into_iter()
                .map(|(id, parent, start, duration, kind)| Span { kind, ..span(id, parent, start, duration) })
                .collect();
            let rows = rows(&spans);
            let mut seen: Vec<u32> = rows.iter().map(|row| row.span).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..spans.len() as u32).collect::<Vec<_>>());
            for pair in rows.windows(2) {
                prop_assert!(pair[1].depth <= pair[0].depth + 1);
            }
            let mut path = critical_path(&spans, &rows);
            path.sort_by_key(|part| part.from_ns);
            for pair in path.windows(2) {
                prop_assert_eq!(pair[0].to_ns, pair[1].from_ns);
            }
        }
    }
}
