//! A sketch of a distribution that answers any quantile within 1 %.
//!
//! DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", VLDB 2019): values are counted in buckets whose bounds grow by the factor γ = (1+α)/(1−α),
//! so that any value of a bucket is within α of the bucket's middle. Merging adds counts; order of arrival
//! does not matter.
//!
//! ```text
//! bytes = count of zeros (u64 LE) · number of positive buckets (u32 LE) · (index i32 LE, count u64 LE)…
//!         · the negative buckets, the same way
//! ```
//!
//! The number of buckets is bounded by the range of doubles: about 35,000 per sign at 1 %; nine decades of
//! durations take 1,050.

use std::collections::BTreeMap;

/// Relative error α of an answer.
const RELATIVE_ERROR: f64 = 0.01;

/// Counts of values in logarithmic buckets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sketch {
    zeros: u64,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
    count: u64,
}

fn gamma() -> f64 {
    (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR)
}

fn bucket(magnitude: f64) -> i32 {
    (magnitude.ln() / gamma().ln()).ceil() as i32
}

fn middle(bucket: i32) -> f64 {
    (f64::from(bucket) * gamma().ln()).exp() * 2.0 / (gamma() + 1.0)
}

impl Sketch {
    /// Counts one value. NaN is ignored; infinities count as the largest doubles.
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.count += 1;
        let magnitude = value.abs().min(f64::MAX);
        if magnitude < f64::MIN_POSITIVE {
            self.zeros += 1;
        } else if value > 0.0 {
            *self.positive.entry(bucket(magnitude)).or_default() += 1;
        } else {
            *self.negative.entry(bucket(magnitude)).or_default() += 1;
        }
    }

    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.zeros += other.zeros;
        for (mine, theirs) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            for (bucket, count) in theirs {
                *mine.entry(*bucket).or_default() += count;
            }
        }
    }

    /// The value below which the fraction `q` of all values lies; `None` without values.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.count.checked_sub(1)?;
        let rank = (q.clamp(0.0, 1.0) * last as f64).round() as u64;
        let mut seen = 0;
        for (bucket, count) in self.negative.iter().rev() {
            seen += count;
            if seen > rank {
                return Some(-middle(*bucket));
            }
        }
        seen += self.zeros;
        if seen > rank {
            return Some(0.0);
        }
        for (bucket, count) in &self.positive {
            seen += count;
            if seen > rank {
                return Some(middle(*bucket));
            }
        }
        None
    }

    /// Memory held, roughly, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + (self.positive.len() + self.negative.len()) * 24
    }

    /// The sketch as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + (self.positive.len() + self.negative.len()) * 12);
        bytes.extend(self.zeros.to_le_bytes());
        for buckets in [&self.positive, &self.negative] {
            bytes.extend((buckets.len() as u32).to_le_bytes());
            for (bucket, count) in buckets {
                bytes.extend(bucket.to_le_bytes());
                bytes.extend(count.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` for anything else.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, tail) = bytes.split_first_chunk::<N>()?;
            *bytes = tail;
            Some(*head)
        }
        let mut sketch = Self { zeros: u64::from_le_bytes(take(&mut bytes)?), ..Self::default() };
        sketch.count = sketch.zeros;
        for positive in [true, false] {
            for _ in 0..u32::from_le_bytes(take(&mut bytes)?) {
                let bucket = i32::from_le_bytes(take(&mut bytes)?);
                let count = u64::from_le_bytes(take(&mut bytes)?);
                let buckets = if positive { &mut sketch.positive } else { &mut sketch.negative };
                *buckets.entry(bucket).or_default() += count;
                sketch.count = sketch.count.checked_add(count)?;
            }
        }
        bytes.is_empty().then_some(sketch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value);
        }
        sketch
    }

    proptest! {
        #[test]
        fn answers_are_within_one_percent_of_the_exact_value(
            mut values in proptest::collection::vec(-1e12..1e12_f64, 1..300), q in 0.0..=1.0_f64,
        ) {
            let answer = sketch(&values).quantile(q).unwrap();
            values.sort_by(f64::total_cmp);
            let exact = values[(q * (values.len() - 1) as f64).round() as usize];
            prop_assert!((answer - exact).abs() <= exact.abs() * 0.0101, "{answer} for {exact}");
        }

        #[test]
        fn parts_merge_to_the_whole_and_bytes_round_trip(
            values in proptest::collection::vec(-1e3..1e3_f64, 0..100), cut in 0_usize..100,
        ) {
            let cut = cut.min(values.len());
            let mut left = sketch(&values[..cut]);
            let right = Sketch::from_bytes(&sketch(&values[cut..]).to_bytes()).unwrap();
            left.merge(&right);
            prop_assert_eq!(left, sketch(&values));
        }
    }

    #[test]
    fn extremes_do_no_harm() {
        let sketch = sketch(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MIN_POSITIVE / 2.0]);
        assert_eq!(sketch.quantile(0.5), Some(0.0));
        assert!(sketch.quantile(1.0).unwrap() > 1e300);
        assert_eq!(Sketch::default().quantile(0.5), None);
    }
}
