//! A sketch of a distribution that answers any quantile within 1 %.
//!
//! DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", VLDB 2019): values are counted in buckets whose bounds grow by the factor γ = (1+α)/(1−α),
//! so that any value of a bucket is within α of the bucket's middle. Merging adds counts; order of arrival
//! does not matter. Counts are weights, so that a sampled event can stand for several.
//!
//! Instead of the logarithm, a parabola between powers of two gives the bounds: it is much faster and needs 8 %
//! more buckets (the same paper, section 2.2, allows any mapping whose buckets are never wider than γ).
//!
//! A bucket has a number that sorts as its values do: positive buckets are above zero, negative ones below,
//! zero is 0. A sketch of few values is a list of their buckets. A sketch of few buckets is a sorted list of them,
//! which keeps the groups of a GROUP BY small. A sketch of many buckets is an array from the lowest to the highest.
//!
//! ```text
//! bytes = (bucket i32 LE, weight f64 LE)… in ascending order
//! ```
//!
//! The number of buckets is bounded by the range of doubles: about 77,000 per sign at 1 %; nine decades of
//! durations take 1,120.

/// Largest relative error of a quantile.
pub(crate) const RELATIVE_ERROR: f64 = 0.01;
/// Approximate buckets per power of two: 3 / (4 ln γ), with ln γ = 2 atanh α and a relative error α of 0.01.
const BUCKETS_PER_OCTAVE: f64 = 37.49875;
/// Number of the bucket of magnitude 1; every magnitude of a double has a number above zero.
const OFFSET: i32 = 40_000;
/// Most values that are kept as a plain list.
const FEW_MAX: usize = 48;
/// Fewest buckets of an array.
const DENSE_MIN: usize = 32;
/// Bytes of a bucket in the list.
const ENTRY_BYTES: usize = size_of::<(i32, f64)>();
/// Bytes of a bucket on the wire.
const WIRE_BYTES: usize = 12;

/// Weights of values in logarithmic buckets.
#[derive(Debug, Clone)]
pub(crate) struct Sketch(Buckets);

#[derive(Debug, Clone)]
enum Buckets {
    /// Bucket of each value of weight 1, in any order.
    Few(Vec<i32>),
    /// Ascending, no weight is zero.
    Sparse(Vec<(i32, f64)>),
    /// Weights from this bucket on, without gaps.
    Dense(i32, Vec<f64>),
}

/// Bits of a double's fraction.
const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
/// Bias of a double's exponent.
const BIAS: i32 = f64::MAX_EXP - 1;

/// The number of the bucket of a value; `None` for NaN. Infinities count as the largest doubles.
fn bucket(value: f64) -> Option<i32> {
    let magnitude = value.abs().min(f64::MAX);
    if value.is_nan() {
        return None;
    }
    if magnitude < f64::MIN_POSITIVE {
        return Some(0);
    }
    let bits = magnitude.to_bits();
    let exponent = (bits >> FRACTION_BITS) as i32 - BIAS;
    let fraction = f64::from_bits(bits & ((1 << FRACTION_BITS) - 1) | (BIAS as u64) << FRACTION_BITS) - 1.0;
    let place = (f64::from(exponent) + fraction * (4.0 - fraction) / 3.0) * BUCKETS_PER_OCTAVE;
    // Rounded up, without a call.
    let floor = place as i32 - i32::from(place < 0.0);
    let number = floor + i32::from(place > f64::from(floor)) + OFFSET;
    Some(if value > 0.0 { number } else { -number })
}

/// Largest magnitude of the bucket with this number, ignoring that doubles have a largest value.
fn bound(number: i32) -> f64 {
    let place = f64::from(number - OFFSET) / BUCKETS_PER_OCTAVE;
    let exponent = place.floor();
    let fraction = 2.0 - (4.0 - 3.0 * (place - exponent)).sqrt();
    (1.0 + fraction) * exponent.exp2()
}

/// The value that stands for a bucket.
fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let (low, high) = (bound(bucket.abs() - 1), bound(bucket.abs()).min(f64::MAX));
    // Within α of both.
    let middle = 2.0 * low / (low / high + 1.0);
    if bucket > 0 { middle } else { -middle }
}

impl Default for Sketch {
    fn default() -> Self {
        Self(Buckets::Few(Vec::new()))
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
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
            Buckets::Few(list) if (weight - 1.0).abs() < f64::EPSILON && list.len() < FEW_MAX => {
                list.push(bucket);
            }
            Buckets::Few(_) => {
                self.settle();
                self.count(bucket, weight);
            }
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

    /// Converts to a sorted list, and to an array if that takes no more memory.
    fn settle(&mut self) {
        if let Buckets::Few(_) = self.0 {
            self.0 = Buckets::Sparse(self.entries());
        }
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

    /// Makes room for `bucket` in an array; converts the array to a list if `bucket` is far off.
    fn widen(&mut self, bucket: i32) {
        let Buckets::Dense(first, weights) = &mut self.0 else { return };
        let last = *first + weights.len() as i32 - 1;
        let range = (last.max(bucket) - bucket.min(*first)) as usize + 1;
        if range > weights.len() * 4 {
            self.0 = Buckets::Sparse(self.entries());
        } else if bucket > last {
            weights.resize(range, 0.0);
        } else {
            let added = (*first - bucket) as usize;
            weights.splice(0..0, std::iter::repeat_n(0.0, added));
            *first = bucket;
        }
    }

    /// Buckets with values, ascending.
    fn entries(&self) -> Vec<(i32, f64)> {
        match &self.0 {
            Buckets::Few(list) => {
                let mut list = list.clone();
                list.sort_unstable();
                list.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len() as f64)).collect()
            }
            Buckets::Sparse(list) => list.clone(),
            Buckets::Dense(first, weights) => {
                let all = (*first..).zip(weights.iter().copied());
                all.filter(|(_, weight)| *weight > 0.0).collect()
            }
        }
    }

    /// The value below which the fraction `q` of all weight lies; `None` without values.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let entries = self.entries();
        let total: f64 = entries.iter().map(|(_, weight)| weight).sum();
        // Of n values of weight 1 the one of index q·(n−1), to the nearest.
        let rank = (q.clamp(0.0, 1.0) * (total - 1.0)).round().max(0.0);
        let mut seen = 0.0;
        let reaches = |(_, weight): &&(i32, f64)| {
            seen += weight;
            seen > rank
        };
        let answer = entries.iter().find(reaches).or(entries.last());
        answer.map(|(bucket, _)| middle(*bucket))
    }

    /// Memory held beside the sketch itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Buckets::Few(list) => list.capacity() * size_of::<i32>(),
            Buckets::Sparse(list) => list.capacity() * ENTRY_BYTES,
            Buckets::Dense(_, weights) => weights.capacity() * size_of::<f64>(),
        }
    }

    /// Appends the sketch as bytes to `bytes`.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for (bucket, weight) in self.entries() {
            write_entry(bytes, bucket, weight);
        }
    }

    /// Adds a sketch written by [`write`](Self::write). `None` for other bytes; then nothing is added.
    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (entries, rest) = bytes.as_chunks::<WIRE_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let mut added = Vec::with_capacity(entries.len());
        let mut last = i32::MIN;
        for entry in entries {
            let (bucket, weight) = entry.split_at(4);
            let bucket = i32::from_le_bytes(bucket.try_into().ok()?);
            let weight = f64::from_le_bytes(weight.try_into().ok()?);
            let valid = bucket > last && bucket.abs() < 2 * OFFSET && weight > 0.0 && weight.is_finite();
            last = valid.then_some(bucket)?;
            added.push((bucket, weight));
        }
        match &self.0 {
            Buckets::Dense(..) => added.into_iter().for_each(|(bucket, weight)| self.count(bucket, weight)),
            Buckets::Few(list) if list.is_empty() => self.0 = Buckets::Sparse(added),
            _ => self.0 = Buckets::Sparse(union(&self.entries(), &added)),
        }
        self.settle();
        Some(())
    }
}

/// Merges two ascending lists of buckets.
fn union(left: &[(i32, f64)], right: &[(i32, f64)]) -> Vec<(i32, f64)> {
    let mut union: Vec<(i32, f64)> = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let Some((bucket, weight)) = match (left.peek(), right.peek()) {
        (Some((l, _)), Some((r, _))) if r < l => right.next(),
        (None, _) => right.next(),
        _ => left.next(),
    } {
        match union.last_mut() {
            Some((last, sum)) if last == bucket => *sum += weight,
            _ => union.push((*bucket, *weight)),
        }
    }
    union
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
