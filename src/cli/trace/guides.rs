//! The lines that lead from a span to those below it.
//!
//! Rows come in the order of the tree, some may be left out, and each has the number of rows below it. So the last row
//! below a span is known when the span comes, and a span is the last child if its own last row is its parent's.

/// Levels that are drawn; of deeper spans the outer ones are a number.
const LEVELS_MAX: usize = 10;

/// The spans above the current one.
#[derive(Debug, Default)]
pub(super) struct Guides {
    /// Number of the last row below the span of each depth.
    ends: Vec<u64>,
}

impl Guides {
    /// Goes on to the span `row` at `depth`, with `below` spans below it.
    pub(super) fn enter(&mut self, row: u64, depth: usize, below: u64) {
        self.ends.truncate(depth);
        // Spans above that are left out: no line leads on from them.
        let end = self.ends.last().copied().unwrap_or(u64::MAX);
        self.ends.resize(depth, end);
        self.ends.push(row + below);
    }

    /// The lines before the current span.
    pub(super) fn of_span(&self) -> String {
        let Some(depth) = self.ends.len().checked_sub(1).filter(|depth| *depth > 0) else {
            return String::new();
        };
        let own = if self.is_last(depth) { "└ " } else { "├ " };
        self.above(depth) + own
    }

    /// The lines before a detail of the current span.
    pub(super) fn of_detail(&self) -> String {
        let depth = self.ends.len().saturating_sub(1);
        let own = if depth == 0 || self.is_last(depth) { "  " } else { "│ " };
        // The spans below it begin after the detail.
        let has_below = if depth > 0 { own } else { "" };
        format!("{}{has_below}", self.above(depth))
    }

    fn is_last(&self, depth: usize) -> bool {
        self.ends[depth] >= self.ends[depth - 1]
    }

    /// Lines of the levels 1 to `depth` - 1.
    fn above(&self, depth: usize) -> String {
        let hidden = depth.saturating_sub(LEVELS_MAX);
        let number = if hidden > 0 { format!("{hidden}⋯ ") } else { String::new() };
        let line = |level| if self.is_last(level) { "  " } else { "│ " };
        let lines = (hidden + 1..depth).map(line);
        number + &lines.collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lead_to_the_last_child() {
        let mut guides = Guides::default();
        let mut lines = Vec::new();
        for (row, depth, below) in [(0, 0, 4), (1, 1, 2), (2, 2, 0), (3, 2, 0), (4, 1, 0)] {
            guides.enter(row, depth, below);
            lines.push(format!("{}{row}", guides.of_span()));
        }
        assert_eq!(lines, ["0", "├ 1", "│ ├ 2", "│ └ 3", "└ 4"]);
    }

    #[test]
    fn what_is_left_out_and_what_is_deep_is_survived() {
        let mut guides = Guides::default();
        guides.enter(0, 0, 9);
        guides.enter(7, 3, 0);
        assert_eq!(guides.of_span(), "    ├ ");
        assert_eq!(guides.of_detail(), "    │ ");
        guides.enter(4_000, 5_000, 0);
        assert!(guides.of_span().starts_with("4990⋯ ") && guides.of_span().chars().count() < 40);
        guides.enter(5_000, 0, 0);
        assert_eq!(guides.of_span(), "");
    }
}
