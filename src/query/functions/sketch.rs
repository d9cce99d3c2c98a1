//! A sketch of a distribution that answers any quantile within 1 %.
//!
//! DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", VLDB 2019): values are counted in buckets whose bounds grow by the factor γ = (1+α)/(1−α),
//! so that any value of a bucket is within α of the bucket's middle. Merging adds counts; order of arrival
//! does not matter. Counts are weights, so that a sampled event can stand for several.
//!
//! A bucket has a number that sorts as its values do: positive buckets are above zero, negative ones below,
//! zero is 0. A sketch of few buckets is a sorted list of them, which is what a group of a GROUP BY with
//! many groups needs; one of many is an array from the lowest bucket to the highest.
//!
//! ```text
//! bytes = (bucket i32 LE, weight f64 LE)… in ascending order
//! ```
//!
//! The number of buckets is bounded by the range of doubles: about 35,000 per sign at 1 %; nine decades of
//! durations take 1,050.

use std::sync::LazyLock;

/// Relative error α of an answer.
const RELATIVE_ERROR: f64 = 0.01;
/// Number of the bucket of magnitude 1; every magnitude of a double has a number above zero.
const OFFSET: i32 = 40_000;
/// A list is not made an array before it has this many buckets.
const DENSE_MIN: usize = 32;
/// Bytes of a bucket in the list, and on the wire 4 less.
const ENTRY_BYTES: usize = size_of::<(i32, f64)>();
/// Bytes of a bucket on the wire.
const WIRE_BYTES: usize = 12;

/// Weights of values in logarithmic buckets.
#[derive(Debug, Clone)]
pub(crate) struct Sketch(Buckets);

#[derive(Debug, Clone)]
enum Buckets {
    /// Ascending, no weight is zero.
    Sparse(Vec<(i32, f64)>),
    /// From this bucket on, without gaps.
    Dense(i32, Vec<f64>),
}

static GAMMA: LazyLock<f64> = LazyLock::new(|| (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR));
static BUCKETS_PER_E: LazyLock<f64> = LazyLock::new(|| 1.0 / GAMMA.ln());

/// The number of the bucket of a value; `None` for NaN. Infinities count as the largest doubles.
fn bucket(value: f64) -> Option<i32> {
    let magnitude = value.abs().min(f64::MAX);
    if value.is_nan() {
        None
    } else if magnitude < f64::MIN_POSITIVE {
        Some(0)
    } else {
        let number = (magnitude.ln() * *BUCKETS_PER_E).ceil() as i32 + OFFSET;
        Some(if value > 0.0 { number } else { -number })
    }
}

/// The value that stands for a bucket.
fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let exponent = f64::from(bucket.abs() - OFFSET) / *BUCKETS_PER_E;
    let middle = exponent.exp() * 2.0 / (*GAMMA + 1.0);
    if bucket > 0 { middle } else { -middle }
}

impl Default for Sketch {
    fn default() -> Self {
        Self(Buckets::Sparse(Vec::new()))
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Sketch {
    /// Counts `value` as `weight` values. NaN is ignored, and so is a weight that is not above zero.
    pub(crate) fn add(&mut self, value: f64, weight: f64) {
        if let Some(bucket) = bucket(value)
            && weight > 0.0
            && weight.is_finite()
        {
            self.count(bucket, weight);
        }
    }

    fn count(&mut self, bucket: i32, weight: f64) {
        match &mut self.0 {
            Buckets::Sparse(list) => match list.binary_search_by_key(&bucket, |(b, _)| *b) {
                Ok(i) => list[i].1 += weight,
                Err(i) => {
                    list.insert(i, (bucket, weight));
                    self.settle();
                }
            },
            Buckets::Dense(first, weights) => {
                let place = bucket - *first;
                if let Some(known) = usize::try_from(place).ok().and_then(|i| weights.get_mut(i)) {
                    *known += weight;
                } else {
                    self.widen(bucket);
                    self.count(bucket, weight);
                }
            }
        }
    }

    /// Makes an array of a list when that takes no more memory.
    fn settle(&mut self) {
        let Buckets::Sparse(list) = &self.0 else { return };
        let (Some((first, _)), Some((last, _))) = (list.first(), list.last()) else { return };
        let range = (last - first) as usize + 1;
        if list.len() >= DENSE_MIN && range * size_of::<f64>() <= list.len() * ENTRY_BYTES {
            let mut weights = vec![0.0; range];
            for (bucket, weight) in list {
                weights[(bucket - first) as usize] = *weight;
            }
            self.0 = Buckets::Dense(*first, weights);
        }
    }

    /// Makes room for `bucket` in an array, or a list of it again if it lies far off.
    fn widen(&mut self, bucket: i32) {
        let Buckets::Dense(first, weights) = &mut self.0 else { return };
        let last = *first + weights.len() as i32 - 1;
        let range = (last.max(bucket) - bucket.min(*first)) as usize + 1;
        if range > weights.len() * 4 {
            self.0 = Buckets::Sparse(self.iter().collect());
        } else if bucket > last {
            weights.resize(range, 0.0);
        } else {
            let added = (*first - bucket) as usize;
            weights.splice(0..0, std::iter::repeat_n(0.0, added));
            *first = bucket;
        }
    }

    /// Buckets that have values, ascending.
    fn iter(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let (list, first, weights) = match &self.0 {
            Buckets::Sparse(list) => (list.as_slice(), 0, &[] as &[f64]),
            Buckets::Dense(first, weights) => (&[] as &[_], *first, weights.as_slice()),
        };
        let dense = weights.iter().zip(first..).filter(|(w, _)| **w > 0.0).map(|(w, bucket)| (bucket, *w));
        list.iter().copied().chain(dense)
    }

    /// The value below which the fraction `q` of all weight lies; `None` without values.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let total: f64 = self.iter().map(|(_, weight)| weight).sum();
        // Of n values of weight 1 the one of index q·(n−1), to the nearest.
        let rank = (q.clamp(0.0, 1.0) * (total - 1.0)).round().max(0.0);
        let (mut seen, mut answer) = (0.0, None);
        for (bucket, weight) in self.iter() {
            answer = Some(bucket);
            seen += weight;
            if seen > rank {
                break;
            }
        }
        answer.map(middle)
    }

    /// Memory held beside the sketch itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Buckets::Sparse(list) => list.capacity() * ENTRY_BYTES,
            Buckets::Dense(_, weights) => weights.capacity() * size_of::<f64>(),
        }
    }

    /// Appends the sketch as bytes to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for (bucket, weight) in self.iter() {
            write_entry(bytes, bucket, weight);
        }
    }

    /// Adds what [`write`](Self::write) wrote. `None` for anything else; then some of it may be added.
    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (entries, rest) = bytes.as_chunks::<WIRE_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        if let Buckets::Sparse(list) = &mut self.0
            && list.is_empty()
        {
            list.reserve_exact(entries.len());
        }
        let mut last = i32::MIN;
        for entry in entries {
            let (bucket, weight) = entry.split_at(4);
            let bucket = i32::from_le_bytes(bucket.try_into().ok()?);
            let weight = f64::from_le_bytes(weight.try_into().ok()?);
            let valid = bucket > last && bucket.abs() < 2 * OFFSET && weight > 0.0 && weight.is_finite();
            last = valid.then_some(bucket)?;
            match &mut self.0 {
                // The usual case of a first part: no search.
                Buckets::Sparse(list) if list.last().is_none_or(|(b, _)| *b < bucket) => {
                    list.push((bucket, weight));
                }
                _ => self.count(bucket, weight),
            }
        }
        self.settle();
        Some(())
    }
}

fn write_entry(bytes: &mut Vec<u8>, bucket: i32, weight: f64) {
    bytes.extend(bucket.to_le_bytes());
    bytes.extend(weight.to_le_bytes());
}

/// Appends the sketch of a single value to `bytes`.
pub(crate) fn write_one(bytes: &mut Vec<u8>, value: f64, weight: f64) {
    if let Some(bucket) = bucket(value)
        && weight > 0.0
        && weight.is_finite()
    {
        write_entry(bytes, bucket, weight);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value, 1.0);
        }
        sketch
    }

    fn bytes(sketch: &Sketch) -> Vec<u8> {
        let mut bytes = Vec::new();
        sketch.write(&mut bytes);
        bytes
    }

    /// Values near each other, which make arrays, and far from each other, which make lists.
    fn values(count: usize) -> impl Strategy<Value = Vec<f64>> {
        let near = prop::collection::vec(-1e3..1e3_f64, 0..count);
        let far = prop::collection::vec((-300..300_i32).prop_map(|e| 10_f64.powi(e)), 0..count);
        prop_oneof![near.clone(), far.clone(), (near, far).prop_map(|(a, b)| [a, b].concat())]
    }

    proptest! {
        #[test]
        fn answers_are_within_one_percent_of_the_exact_value(
            mut values in prop::collection::vec(-1e12..1e12_f64, 1..300), q in 0.0..=1.0_f64,
        ) {
            let answer = sketch(&values).quantile(q).unwrap();
            values.sort_by(f64::total_cmp);
            let exact = values[(q * (values.len() - 1) as f64).round() as usize];
            prop_assert!((answer - exact).abs() <= exact.abs() * 0.0101, "{answer} for {exact}");
        }

        #[test]
        fn parts_merge_to_the_whole_and_bytes_round_trip(values in values(300), cut in 0_usize..600) {
            let cut = cut.min(values.len());
            let mut left = sketch(&values[..cut]);
            left.merge(&bytes(&sketch(&values[cut..]))).unwrap();
            prop_assert_eq!(&left, &sketch(&values));
            let mut again = Sketch::default();
            again.merge(&bytes(&left)).unwrap();
            prop_assert_eq!(again, left);
        }

        #[test]
        fn a_weight_counts_as_so_many_values(values in values(40), weight in 1_u8..9, q in 0.0..=1.0_f64) {
            let mut weighted = Sketch::default();
            for value in &values {
                weighted.add(*value, f64::from(weight));
            }
            let repeated: Vec<f64> = values.iter().flat_map(|v| vec![*v; usize::from(weight)]).collect();
            prop_assert_eq!(weighted.quantile(q), sketch(&repeated).quantile(q));
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut sketch = Sketch::default();
            let _ = sketch.merge(&bytes);
            let _ = sketch.quantile(0.5);
        }
    }

    #[test]
    fn extremes_do_no_harm() {
        let sketch = sketch(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, f64::MIN_POSITIVE / 2.0]);
        assert_eq!(sketch.quantile(0.5), Some(0.0));
        assert!(sketch.quantile(1.0).unwrap() > 1e300);
        assert!(sketch.quantile(0.0).unwrap() < -1e300);
        assert_eq!(Sketch::default().quantile(0.5), None);
    }
}
