//! The variance of an estimate, where traces are sampled as a whole.
//!
//! A trace that is kept with probability p = 1/w stands for w traces, and the total Σ w·y over the kept traces has the
//! variance Σ (1 − p)·(w·y)² (Horvitz and Thompson 1952, for independent traces), where y is the sum over the events
//! of the trace. That needs a sum per trace: memory that grows with their number. So the traces are spread over
//! [`CELLS`] cells, and each is added to its cell with a sign, both by a hash of its id. The sum of squares of the cells
//! then has the right expectation, as products of different traces cancel out, and a relative error of √(2/[`CELLS`]),
//! which is 2.2 % of the length of an interval: Charikar, Chen and Farach-Colton, "Finding frequent items in data
//! streams", ICALP 2002.
//!
//! A mean is a ratio of two such totals, so a cell has two sums: of the values and of their number. The residuals of the
//! ratio R are y − R·n in each cell (linearisation: Särndal, Swensson, Wretman, "Model assisted survey sampling", 5.6).

use std::mem::size_of;

use crate::query::bytes::{Reader, write};

/// Number of cells.
const CELLS: usize = 1024;
/// Most cells that are kept as a list.
const FEW_MAX: usize = 128;

/// Sums of one cell: of values, and of numbers of values.
type Sums = [f64; 2];

/// Totals by trace, as far as the variance needs them.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    cells: Cells,
    /// Sums over events that are of no trace: of y², y·n and n².
    alone: [f64; 3],
    /// Number of events that are of no trace.
    alone_count: u64,
}

#[derive(Debug)]
enum Cells {
    /// Ascending by number.
    Few(Vec<(u16, Sums)>),
    /// All of them.
    All(Vec<Sums>),
}

impl Default for Cells {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Clusters {
    /// Adds an event of weight `weight`: the value `y`, counted `n` times. `trace` is a hash of its trace id.
    pub(super) fn add(&mut self, trace: Option<u64>, weight: f64, y: f64, n: f64) {
        // √(1 − p) · w
        let scale = (weight * (weight - 1.0)).max(0.0).sqrt();
        if scale == 0.0 {
            return;
        }
        let [y, n] = [y * scale, n * scale];
        let Some(hash) = trace else {
            for (sum, square) in self.alone.iter_mut().zip([y * y, y * n, n * n]) {
                *sum += square;
            }
            self.alone_count += 1;
            return;
        };
        let cell = (hash % CELLS as u64) as u16;
        let sign = if hash & CELLS as u64 == 0 { 1.0 } else { -1.0 };
        self.put(cell, [y * sign, n * sign]);
    }

    fn put(&mut self, cell: u16, [y, n]: Sums) {
        let sums = match &mut self.cells {
            Cells::All(cells) => &mut cells[usize::from(cell)],
            Cells::Few(cells) => match cells.binary_search_by_key(&cell, |(cell, _)| *cell) {
                Ok(place) => &mut cells[place].1,
                Err(place) if cells.len() < FEW_MAX => {
                    cells.insert(place, (cell, [y, n]));
                    return;
                }
                Err(_) => {
                    let mut all = vec![[0.0; 2]; CELLS];
                    for (cell, sums) in cells {
                        all[usize::from(*cell)] = *sums;
                    }
                    self.cells = Cells::All(all);
                    return self.put(cell, [y, n]);
                }
            },
        };
        sums[0] += y;
        sums[1] += n;
    }

    fn cells(&self) -> Box<dyn Iterator<Item = (u16, Sums)> + '_> {
        match &self.cells {
            Cells::Few(cells) => Box::new(cells.iter().copied()),
            Cells::All(cells) => {
                let numbered = (0_u16..).zip(cells.iter().copied());
                Box::new(numbered.filter(|(_, [y, n])| *y != 0.0 || *n != 0.0))
            }
        }
    }

    /// Variance of the total of y − `ratio`·n.
    pub(super) fn variance(&self, ratio: f64) -> f64 {
        let by_trace: f64 = self.cells().map(|(_, [y, n])| (y - ratio * n).powi(2)).sum();
        let [yy, yn, nn] = self.alone;
        by_trace + (yy - 2.0 * ratio * yn + ratio * ratio * nn).max(0.0)
    }

    /// Variance of the total of n.
    pub(super) fn variance_of_count(&self) -> f64 {
        self.cells().map(|(_, [_, n])| n * n).sum::<f64>() + self.alone[2]
    }

    /// Number of units that may not have been chosen, at least as far as it matters for few of them.
    pub(super) fn units(&self) -> f64 {
        self.cells().count() as f64 + self.alone_count as f64
    }

    /// Adds the sums of `other`.
    fn absorb(&mut self, cells: impl Iterator<Item = (u16, Sums)>, alone: [f64; 3], alone_count: u64) {
        cells.for_each(|(cell, sums)| self.put(cell, sums));
        self.alone.iter_mut().zip(alone).for_each(|(sum, more)| *sum += more);
        self.alone_count = self.alone_count.saturating_add(alone_count);
    }

    /// Appends the sums as bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.alone.iter().for_each(|sum| write::number(out, sum.to_bits()));
        write::number(out, self.alone_count);
        write::number(out, self.cells().count() as u64);
        for (cell, sums) in self.cells() {
            write::number(out, u64::from(cell));
            sums.iter().for_each(|sum| write::number(out, sum.to_bits()));
        }
    }

    /// Adds what [`write`](Self::write) wrote; `None` for other bytes.
    pub(super) fn merge(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let double = |from: &mut Reader<'_>| from.number().map(f64::from_bits);
        let alone = [double(from)?, double(from)?, double(from)?];
        let alone_count = from.number()?;
        let count = usize::try_from(from.number()?).ok().filter(|count| *count <= CELLS)?;
        let mut cells = Vec::with_capacity(count);
        for _ in 0..count {
            let cell = u16::try_from(from.number()?).ok().filter(|cell| usize::from(*cell) < CELLS)?;
            cells.push((cell, [double(from)?, double(from)?]));
        }
        self.absorb(cells.into_iter(), alone, alone_count);
        Some(())
    }

    /// Memory beside the value itself, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.cells {
            Cells::Few(cells) => cells.capacity() * size_of::<(u16, Sums)>(),
            Cells::All(cells) => cells.capacity() * size_of::<Sums>(),
        }
    }
}
