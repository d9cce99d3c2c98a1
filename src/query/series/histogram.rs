//! How are histograms added, and where is a quantile of one?
//!
//! Both kinds of OTLP: *explicit*, with bounds that the sender chose, and *exponential*, where bucket `i` holds values
//! in `(base^i, base^(i+1)]` with `base = 2^(2^-scale)`, and negative values mirror this.
//!
//! - Explicit histograms with different bounds are added over the bounds that both have, which is exact.
//! - Exponential ones are added at the smaller scale, where each bucket is a union of buckets of the larger, and with
//!   the larger threshold of zero.
//! - A quantile lies in the bucket in which the rank `q × count` is reached; inside it values are taken to be spread
//!   evenly, in an exponential bucket evenly on a logarithmic scale. The first explicit bucket begins at the smallest
//!   value if that is known, else at zero or its own bound; the last ends at the greatest, else at its own bound.
//!
//! Pure.

use std::collections::BTreeMap;

use crate::query::bytes::{Reader, write};

/// Largest number of times that buckets are halved: then all are in one or two.
const HALVINGS_MAX: u32 = 31;

/// A histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// Number of values.
    pub(super) count: u64,
    /// Their sum, if known.
    pub(super) sum: Option<f64>,
    /// The smallest value, if known.
    pub(super) min: Option<f64>,
    /// The greatest value, if known.
    pub(super) max: Option<f64>,
    /// The buckets.
    pub(super) buckets: Buckets,
}

/// Buckets of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Buckets {
    /// Bounds, ascending, and one count more: up to and with the first bound, …, above the last.
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
    /// Exponential buckets.
    Exponential(Exponential),
}

/// Exponential buckets.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Exponential {
    /// Logarithm of the number of buckets per doubling.
    pub(super) scale: i32,
    /// Values in the bucket of zero.
    pub(super) zero_count: u64,
    /// Largest distance from zero of values in it.
    pub(super) zero_threshold: f64,
    /// Counts of positive values by bucket; none is 0.
    pub(super) positive: BTreeMap<i32, u64>,
    /// Counts of negative values.
    pub(super) negative: BTreeMap<i32, u64>,
}

/// Error of adding histograms of both kinds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BothKinds;

impl Buckets {
    /// Explicit buckets; without usable bounds all values are in one.
    pub(super) fn explicit(bounds: Vec<f64>, counts: Vec<u64>, count: u64) -> Self {
        let ascends = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if counts.len() == bounds.len() + 1 && ascends {
            Self::Explicit { bounds, counts }
        } else {
            Self::Explicit { bounds: Vec::new(), counts: vec![count] }
        }
    }
}

impl Histogram {
    /// Adds another histogram.
    pub(super) fn add(&mut self, other: &Self) -> Result<(), BothKinds> {
        if other.count == 0 {
            return Ok(());
        }
        if self.count == 0 {
            *self = other.clone();
            return Ok(());
        }
        match (&mut self.buckets, &other.buckets) {
            (Buckets::Explicit { bounds, counts }, Buckets::Explicit { bounds: others, counts: more }) => {
                if bounds != others {
                    let common: Vec<f64> =
                        bounds.iter().copied().filter(|bound| others.contains(bound)).collect();
                    *counts = coarser(bounds, counts, &common);
                    *bounds = common;
                }
                let more = coarser(others, more, bounds);
                for (count, more) in counts.iter_mut().zip(more) {
                    *count = count.saturating_add(more);
                }
            }
            (Buckets::Exponential(mine), Buckets::Exponential(other)) => mine.add(other),
            _ => return Err(BothKinds),
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.zip(other.sum).map(|(a, b)| a + b);
        self.min = self.min.zip(other.min).map(|(a, b)| a.min(b));
        self.max = self.max.zip(other.max).map(|(a, b)| a.max(b));
        Ok(())
    }

    /// Values that were counted since `before`; `None` if something went down, or the buckets have changed.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        let buckets = match (&self.buckets, &before.buckets) {
            (Buckets::Explicit { bounds, counts }, Buckets::Explicit { bounds: others, counts: less })
                if bounds == others =>
            {
                let counts = counts.iter().zip(less).map(|(count, less)| count.checked_sub(*less));
                Buckets::Explicit { bounds: bounds.clone(), counts: counts.collect::<Option<_>>()? }
            }
            (Buckets::Exponential(mine), Buckets::Exponential(before)) => {
                Buckets::Exponential(mine.clone().since(before.clone())?)
            }
            _ => return None,
        };
        Some(Self {
            count: self.count.checked_sub(before.count)?,
            sum: self.sum.zip(before.sum).map(|(now, before)| now - before),
            // Those of the sender are about all values since its start.
            min: None,
            max: None,
            buckets,
        })
    }

    /// The value below which the share `q`, 0 to 1, of the values is; `None` if there are none, or their buckets have
    /// no bounds.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let cells = match &self.buckets {
            Buckets::Explicit { bounds, counts } => self.explicit_cells(bounds, counts)?,
            Buckets::Exponential(exponential) => exponential.cells(),
        };
        let total: f64 = cells.iter().map(|cell| cell.count as f64).sum();
        let rank = q * total;
        let mut below = 0.0;
        let mut found = None;
        for cell in cells.iter().filter(|cell| cell.count > 0) {
            let count = cell.count as f64;
            found = Some(cell.at(((rank - below) / count).clamp(0.0, 1.0)));
            below += count;
            if below >= rank {
                break;
            }
        }
        let found = found?;
        let found = self.min.map_or(found, |min| found.max(min));
        Some(self.max.map_or(found, |max| found.min(max)))
    }

    fn explicit_cells(&self, bounds: &[f64], counts: &[u64]) -> Option<Vec<Cell>> {
        let (first, last) = (bounds.first().copied(), bounds.last().copied());
        let begin = self.min.or(first.map(|bound| bound.min(0.0)))?;
        let end = self.max.or(last)?;
        let cell = |(place, count): (usize, &u64)| {
            let low = if place == 0 { begin } else { bounds[place - 1] };
            let high = bounds.get(place).copied().unwrap_or(end);
            Cell { low: low.min(high), high: high.max(low), count: *count, is_logarithmic: false }
        };
        Some(counts.iter().enumerate().map(cell).collect())
    }

    /// Memory beside the value itself, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 24;
        match &self.buckets {
            Buckets::Explicit { bounds, counts } => {
                (bounds.capacity() + counts.capacity()) * size_of::<f64>()
            }
            Buckets::Exponential(sides) => (sides.positive.len() + sides.negative.len()) * ENTRY_BYTES,
        }
    }
}

/// Counts over `common`, some of the `bounds`.
fn coarser(bounds: &[f64], counts: &[u64], common: &[f64]) -> Vec<u64> {
    if bounds.len() == common.len() {
        return counts.to_vec();
    }
    let mut sums = vec![0_u64; common.len() + 1];
    for (place, count) in counts.iter().enumerate() {
        let into = match bounds.get(place) {
            Some(bound) => common.partition_point(|other| other < bound),
            None => common.len(),
        };
        sums[into] = sums[into].saturating_add(*count);
    }
    sums
}

/// A bucket with its bounds.
struct Cell {
    low: f64,
    high: f64,
    count: u64,
    is_logarithmic: bool,
}

impl Cell {
    /// The value at this part, 0 to 1, of the cell.
    fn at(&self, part: f64) -> f64 {
        if self.is_logarithmic {
            self.low * (self.high / self.low).powf(part)
        } else {
            self.low + (self.high - self.low) * part
        }
    }
}

impl Exponential {
    fn bound(&self, bucket: i64) -> f64 {
        (bucket as f64 * (-f64::from(self.scale)).exp2()).exp2()
    }

    /// All buckets, by ascending value.
    fn cells(&self) -> Vec<Cell> {
        let cell = |sign: f64, from: i64, to: i64, count: u64| Cell {
            low: sign * self.bound(from),
            high: sign * self.bound(to),
            count,
            is_logarithmic: true,
        };
        let negative = self.negative.iter().rev();
        let mut cells: Vec<Cell> =
            negative.map(|(i, count)| cell(-1.0, i64::from(*i) + 1, i64::from(*i), *count)).collect();
        cells.push(Cell {
            low: if self.negative.is_empty() { 0.0 } else { -self.zero_threshold },
            high: if self.positive.is_empty() { 0.0 } else { self.zero_threshold },
            count: self.zero_count,
            is_logarithmic: false,
        });
        let positive = self.positive.iter();
        cells.extend(positive.map(|(i, count)| cell(1.0, i64::from(*i), i64::from(*i) + 1, *count)));
        cells
    }

    /// Converts the buckets to a smaller scale and a larger threshold of zero.
    fn coarsen(&mut self, scale: i32, zero_threshold: f64) {
        let halvings = self.scale.saturating_sub(scale).max(0).unsigned_abs().min(HALVINGS_MAX);
        if halvings > 0 {
            for side in [&mut self.positive, &mut self.negative] {
                let finer = std::mem::take(side);
                for (i, count) in finer {
                    let sum = side.entry(i >> halvings).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
            self.scale = scale;
        }
        if zero_threshold > self.zero_threshold {
            self.zero_threshold = zero_threshold;
            let scale = (-f64::from(self.scale)).exp2();
            for side in [&mut self.positive, &mut self.negative] {
                // A bucket that the threshold divides is near zero as a whole.
                side.retain(|i, count| {
                    let is_near = (f64::from(*i) * scale).exp2() < zero_threshold;
                    if is_near {
                        self.zero_count = self.zero_count.saturating_add(*count);
                    }
                    !is_near
                });
            }
        }
    }

    fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        self.align(&mut other);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        for (side, more) in [(&mut self.positive, other.positive), (&mut self.negative, other.negative)] {
            for (i, count) in more {
                let sum = side.entry(i).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }

    fn align(&mut self, other: &mut Self) {
        let scale = self.scale.min(other.scale);
        let zero_threshold = self.zero_threshold.max(other.zero_threshold);
        self.coarsen(scale, zero_threshold);
        other.coarsen(scale, zero_threshold);
    }

    fn since(mut self, mut before: Self) -> Option<Self> {
        self.align(&mut before);
        self.zero_count = self.zero_count.checked_sub(before.zero_count)?;
        for (side, less) in [(&mut self.positive, before.positive), (&mut self.negative, before.negative)] {
            for (i, count) in less {
                let left = side.get(&i).copied().unwrap_or(0).checked_sub(count)?;
                if left == 0 {
                    side.remove(&i)
                } else {
                    side.insert(i, left)
                };
            }
        }
        Some(self)
    }
}

/// Appends a histogram as bytes.
pub(super) fn encode(histogram: &Histogram, out: &mut Vec<u8>) {
    write::number(out, histogram.count);
    for number in [histogram.sum, histogram.min, histogram.max] {
        write::number(out, u64::from(number.is_some()));
        write::number(out, number.unwrap_or_default().to_bits());
    }
    match &histogram.buckets {
        Buckets::Explicit { bounds, counts } => {
            write::number(out, 0);
            write::number(out, bounds.len() as u64);
            let bounds = bounds.iter().map(|bound| bound.to_bits());
            for number in bounds.chain(counts.iter().copied()) {
                write::number(out, number);
            }
        }
        Buckets::Exponential(sides) => {
            write::number(out, 1);
            write::number(out, i64::from(sides.scale) as u64);
            write::number(out, sides.zero_count);
            write::number(out, sides.zero_threshold.to_bits());
            for side in [&sides.positive, &sides.negative] {
                write::number(out, side.len() as u64);
                for (i, count) in side {
                    write::number(out, i64::from(*i) as u64);
                    write::number(out, *count);
                }
            }
        }
    }
}

/// Reads what [`encode`] wrote; `None` if the bytes are of another form.
pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Histogram> {
    let count = reader.number()?;
    let mut numbers = [None; 3];
    for number in &mut numbers {
        let is_known = reader.number()? == 1;
        *number = Some(f64::from_bits(reader.number()?)).filter(|_| is_known);
    }
    let buckets = if reader.number()? == 0 {
        let length = reader.number()?;
        let bounds = (0..length).map(|_| reader.number().map(f64::from_bits)).collect::<Option<Vec<_>>>()?;
        let counts = (0..=length).map(|_| reader.number()).collect::<Option<Vec<_>>>()?;
        Buckets::Explicit { bounds, counts }
    } else {
        let signed = |number: u64| i32::try_from(number as i64).ok();
        let mut sides = Exponential {
            scale: signed(reader.number()?)?,
            zero_count: reader.number()?,
            zero_threshold: f64::from_bits(reader.number()?),
            ..Exponential::default()
        };
        for side in [&mut sides.positive, &mut sides.negative] {
            for _ in 0..reader.number()? {
                side.insert(signed(reader.number()?)?, reader.number()?);
            }
        }
        Buckets::Exponential(sides)
    };
    let [sum, min, max] = numbers;
    Some(Histogram { count, sum, min, max, buckets })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn explicit(bounds: &[f64], counts: &[u64]) -> Histogram {
        let count = counts.iter().sum();
        let buckets = Buckets::explicit(bounds.to_vec(), counts.to_vec(), count);
        Histogram { count, sum: None, min: None, max: None, buckets }
    }

    /// The exponential histogram of these values.
    fn exponential(scale: i32, values: &[f64]) -> Histogram {
        let mut sides = Exponential { scale, ..Exponential::default() };
        for value in values {
            if *value == 0.0 {
                sides.zero_count += 1;
                continue;
            }
            // Buckets are closed above.
            let bucket = (value.abs().log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
            let side = if *value > 0.0 { &mut sides.positive } else { &mut sides.negative };
            *side.entry(bucket).or_default() += 1;
        }
        let buckets = Buckets::Exponential(sides);
        Histogram { count: values.len() as u64, sum: None, min: None, max: None, buckets }
    }

    #[test]
    fn quantiles_of_explicit_buckets_are_interpolated() {
        let histogram = explicit(&[10.0, 20.0, 40.0], &[2, 4, 2, 2]);
        assert_eq!(histogram.quantile(0.0), Some(0.0));
        assert_eq!(histogram.quantile(0.1), Some(5.0));
        assert_eq!(histogram.quantile(0.4), Some(15.0));
        assert_eq!(histogram.quantile(0.7), Some(30.0));
        assert_eq!(histogram.quantile(1.0), Some(40.0), "above the last bound nothing is known");
        let known = Histogram { min: Some(8.0), max: Some(100.0), ..histogram };
        assert_eq!((known.quantile(0.0), known.quantile(0.1)), (Some(8.0), Some(9.0)));
        assert_eq!((known.quantile(0.9), known.quantile(1.0)), (Some(70.0), Some(100.0)));
        assert_eq!(explicit(&[], &[5]).quantile(0.5), None);
        assert_eq!(explicit(&[1.0], &[0, 0]).quantile(0.5), None);
        assert_eq!(explicit(&[-4.0, -2.0], &[2, 2, 0]).quantile(0.75), Some(-3.0));
    }

    #[test]
    fn different_bounds_add_up_over_those_in_common() {
        let mut sum = explicit(&[1.0, 2.0, 4.0], &[1, 2, 3, 4]);
        sum.add(&explicit(&[2.0, 3.0, 4.0], &[10, 20, 30, 40])).unwrap();
        assert_eq!(sum.buckets, Buckets::Explicit { bounds: vec![2.0, 4.0], counts: vec![13, 53, 44] });
        assert_eq!(sum.count, 110);
        assert_eq!(sum.add(&exponential(0, &[1.0])), Err(BothKinds));
    }

    #[test]
    fn what_was_counted_since_is_a_difference_unless_something_went_down() {
        let before = explicit(&[1.0], &[1, 2]);
        assert_eq!(
            explicit(&[1.0], &[4, 2]).since(&before).unwrap().buckets,
            explicit(&[1.0], &[3, 0]).buckets
        );
        assert_eq!(explicit(&[1.0], &[0, 9]).since(&before), None);
        assert_eq!(explicit(&[2.0], &[4, 4]).since(&before), None);
        let (before, after) = (exponential(3, &[1.5, -7.0]), exponential(1, &[1.5, 100.0, 0.0, -7.0, -7.0]));
        assert_eq!(after.since(&before).unwrap().buckets, exponential(1, &[100.0, 0.0, -7.0]).buckets);
    }

    #[test]
    fn values_below_the_larger_threshold_are_zero() {
        let mut sum = exponential(0, &[1.5, 3.0, 50.0]);
        let mut other = exponential(0, &[60.0]);
        if let Buckets::Exponential(sides) = &mut other.buckets {
            sides.zero_threshold = 2.0;
        }
        sum.add(&other).unwrap();
        let Buckets::Exponential(sides) = &sum.buckets else { panic!("{sum:?}") };
        assert_eq!((sides.zero_count, sides.zero_threshold), (1, 2.0));
        assert_eq!(sides.positive.iter().map(|(i, n)| (*i, *n)).collect::<Vec<_>>(), [(1, 1), (5, 2)]);
    }

    proptest! {
        /// A quantile of merged exponential histograms is within a bucket of the coarser scale of the true one.
        #[test]
        fn quantiles_of_exponential_buckets_are_near(
            values in prop::collection::vec(0.001_f64..1000.0, 1..60), split in 0_usize..60,
            scales in (0_i32..6, 0_i32..6), q in 0.0_f64..=1.0,
        ) {
            let split = split.min(values.len());
            let mut sum = exponential(scales.0, &values[..split]);
            sum.add(&exponential(scales.1, &values[split..])).unwrap();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (exact, found) = (sorted[rank - 1], sum.quantile(q).unwrap());
            let base = (-f64::from(scales.0.min(scales.1))).exp2().exp2();
            prop_assert!(found <= exact * base * 1.000_001 && found >= exact / base * 0.999_999, "{found} {exact}");
        }

        #[test]
        fn histograms_survive_as_bytes(
            values in prop::collection::vec(-50.0_f64..50.0, 0..30), is_explicit in any::<bool>(),
        ) {
            let mut histogram = if is_explicit {
                explicit(&[1.0, 2.0], &[1, values.len() as u64, 0])
            } else {
                exponential(2, &values)
            };
            histogram.sum = values.first().copied();
            let mut bytes = Vec::new();
            encode(&histogram, &mut bytes);
            prop_assert_eq!(decode(&mut Reader::new(&bytes)), Some(histogram));
        }
    }
}
