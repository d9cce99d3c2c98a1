//! Which cells fit a terminal? Their length in time, and their number from a value to its tenfold.

use super::super::draw::row::Row;

const MS_NS: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;
/// Lengths of a cell in time, in milliseconds.
const STEPS_MS: [i64; 26] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
    300_000, 600_000, 900_000, 1_800_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000, DAY_MS,
];
/// Fewest and most lines of the map.
const LINES_MIN: usize = 8;
const LINES_MAX: usize = 28;
/// Lines that are not the map: its axis and legend.
const OTHER_LINES: usize = 6;
/// Most cells to a tenfold; narrower ones tell nothing more.
const PER_DECADE_MAX: f64 = 10.0;

/// Ends of the values and of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    /// The least positive value; none if there is no such value.
    pub(super) least: Option<f64>,
    pub(super) most: f64,
}

impl Extent {
    /// Reads the ends; none if there are no events.
    pub(super) fn read(row: Row<'_>) -> Option<Self> {
        Some(Self {
            first_ns: row.integer("first")?,
            last_ns: row.integer("last")?,
            least: row.number("least"),
            most: row.number("most")?,
        })
    }
}

/// Lengths of cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) step_ms: i64,
    pub(super) per_decade: usize,
    /// Lines of the map.
    pub(super) lines: usize,
}

impl Scale {
    /// The cells by which `extent` fits into `columns` columns of a terminal of `height` lines.
    pub(super) fn fitting(extent: Option<&Extent>, columns: usize, height: usize) -> Self {
        let lines = height.saturating_sub(OTHER_LINES).clamp(LINES_MIN, LINES_MAX);
        let Some(extent) = extent else { return Self { step_ms: 60_000, per_decade: 10, lines } };
        let range_ms = extent.last_ns.saturating_sub(extent.first_ns) / MS_NS;
        let columns = i64::try_from(columns).unwrap_or(i64::MAX).max(2);
        // A range may begin and end within a cell.
        let fits = |step: &i64| range_ms / step + 2 <= columns;
        let days = (range_ms / DAY_MS / (columns - 1) + 1) * DAY_MS;
        let step_ms = STEPS_MS.into_iter().find(fits).unwrap_or(days);
        let decades = match extent.least {
            Some(least) if extent.most > least => (extent.most / least).log10(),
            _ => 1.0,
        };
        let per_decade = ((lines as f64 - 2.0) / decades.max(0.1)).floor().clamp(1.0, PER_DECADE_MAX);
        Self { step_ms, per_decade: per_decade as usize, lines }
    }

    /// The length in time as the text of an SQL interval.
    pub(super) fn interval(&self) -> String {
        match self.step_ms {
            ms if ms % 1_000 == 0 => format!("{} seconds", ms / 1_000),
            ms => format!("{ms} milliseconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(seconds: i64, least: f64, most: f64) -> Extent {
        Extent { first_ns: 0, last_ns: seconds * 1_000 * MS_NS, least: Some(least), most }
    }

    #[test]
    fn cells_fit_the_terminal() {
        let of = |extent: Extent| Scale::fitting(Some(&extent), 90, 30);
        assert_eq!(of(extent(1_800, 1e6, 1e9)), Scale { step_ms: 30_000, per_decade: 7, lines: 24 });
        assert_eq!(of(extent(0, 5.0, 5.0)), Scale { step_ms: 1, per_decade: 10, lines: 24 });
        assert_eq!(of(extent(86_400 * 365, 1.0, 1e300)).per_decade, 1);
        for seconds in [1, 60, 3_600, 86_400 * 3, 86_400 * 365 * 30] {
            let scale = of(extent(seconds, 1.0, 2.0));
            assert!(seconds * 1_000 / scale.step_ms + 2 <= 91, "{seconds}: {scale:?}");
        }
        assert_eq!(Scale { step_ms: 1_500, per_decade: 1, lines: 8 }.interval(), "1500 milliseconds");
    }
}
