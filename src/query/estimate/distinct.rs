//! `approx_distinct(x)` under `SET weighted = on`: how many different values were there before sampling?
//!
//! A value that was in many traces is seen in some of them; one that was in a single trace is seen with its
//! probability p. Nobody knows how many values were in how many traces, so that is estimated first, from the number of
//! values that were *seen* in one, two, three… traces: the mixture of binomial distributions, of 1, 2, 3, … traces with
//! probability p each, under which the numbers seen are likeliest, found by expectation maximisation (Norris and Pollock,
//! "Non-parametric MLE for Poisson species abundance models", 1998, there for Poisson distributions). It then says how
//! many values were not seen at all. Ids that are in one trace each come out as their number times 1/p, values that are
//! everywhere as their number. Values are taken apart by their weights, as those of errors often differ from the rest.
//!
//! In samples of a tenth or more of populations of 5,000 values, of several shapes, the mean error was below 6 %, and
//! mostly below 2 %, but 12 % where a tenth was kept and all values were in five traces. Where a fiftieth was kept, it was
//! up to 80 %, as then the sample hardly tells them apart.
//!
//! Only the [`KEPT_MAX`] values with the smallest hashes are looked at, which gives 1.6 % more error where there are
//! more (Bar-Yossef et al., "Counting distinct elements in a data stream", 2002).

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;

use super::{Units, hashes};
use crate::query::bytes::{Reader, write};
use crate::query::functions::collected::{Collected, Collecting};

/// Name of the function; its arguments are `(x, trace_id, weight)`.
pub(crate) const ESTIMATED_DISTINCT: &str = "estimated_distinct";

/// Most values whose traces are kept.
const KEPT_MAX: usize = 4096;
/// A value that was seen in so many traces is seen for sure.
const MANY: usize = 40;
/// Most steps of the expectation maximisation.
const STEPS_MAX: usize = 400;
/// Change of a probability at which it ends.
const STEP_MIN: f64 = 1e-6;
/// Probability above which everything is seen.
const CERTAIN: f64 = 0.9999;
/// Memory of a value beside its traces: key and value, and their share of a node.
const VALUE_BYTES: usize = 2 * (size_of::<u64>() + size_of::<Value>());

/// The function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EstimatedDistinct;

/// Events that have one value.
#[derive(Debug, Default, Clone, PartialEq)]
struct Value {
    /// Hashes of their traces, ascending, at most [`MANY`].
    traces: Vec<u64>,
    /// Number of those that are of no trace.
    alone: u64,
    rows: u64,
    weight: f64,
}

impl Value {
    /// Number of units of sampling, at most [`MANY`].
    fn units(&self) -> usize {
        let alone = usize::try_from(self.alone).unwrap_or(MANY);
        self.traces.len().saturating_add(alone).min(MANY)
    }

    fn add_trace(&mut self, trace: u64) {
        if self.traces.len() < MANY
            && let Err(place) = self.traces.binary_search(&trace)
        {
            self.traces.insert(place, trace);
        }
    }
}

/// Values of a group.
#[derive(Debug)]
pub(crate) struct Values {
    /// By the hash of the value; all are below `end`.
    kept: BTreeMap<u64, Value>,
    /// Smallest hash of those that were left out.
    end: u64,
    bytes: usize,
}

impl Default for Values {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), end: u64::MAX, bytes: 0 }
    }
}

impl Values {
    fn change(&mut self, hash: u64, change: impl FnOnce(&mut Value)) {
        if hash >= self.end {
            return;
        }
        let value = self.kept.entry(hash).or_insert_with(|| {
            self.bytes += VALUE_BYTES;
            Value::default()
        });
        let before = value.traces.capacity();
        change(value);
        self.bytes += (value.traces.capacity() - before) * size_of::<u64>();
        if self.kept.len() > KEPT_MAX
            && let Some((hash, value)) = self.kept.pop_last()
        {
            self.leave_out(hash, &value);
        }
    }

    fn leave_out(&mut self, hash: u64, value: &Value) {
        self.end = self.end.min(hash);
        self.bytes = self.bytes.saturating_sub(VALUE_BYTES + value.traces.capacity() * size_of::<u64>());
    }

    /// Estimates the number of values, seen or not.
    fn estimate(&self) -> f64 {
        // Class of weight → values with so many units, rows, weight.
        let mut classes: BTreeMap<i64, ([u64; MANY + 1], u64, f64)> = BTreeMap::new();
        for value in self.kept.values() {
            let class = (2.0 * (value.weight / value.rows as f64).log2()).round() as i64;
            let (seen, rows, weight) = classes.entry(class).or_insert(([0; MANY + 1], 0, 0.0));
            seen[value.units()] += 1;
            *rows += value.rows;
            *weight += value.weight;
        }
        let kept: f64 = classes.values().map(|(seen, rows, weight)| total(seen, *rows as f64 / weight)).sum();
        let share = self.end as f64 / u64::MAX as f64;
        (kept / share).round()
    }
}

/// Number of values of which `seen[j]` were seen in j units, each kept with probability `p`.
fn total(seen: &[u64; MANY + 1], p: f64) -> f64 {
    let all: f64 = seen.iter().map(|count| *count as f64).sum();
    let found: Vec<(usize, f64)> = seen
        .iter()
        .map(|count| *count as f64)
        .enumerate()
        .take(MANY)
        .filter(|(_, count)| *count > 0.0)
        .collect();
    let few: f64 = found.iter().map(|(_, count)| count).sum();
    if p >= CERTAIN || few == 0.0 {
        return all;
    }
    // The numbers of units that a value may have had, and for each the probabilities to see some, and to see j.
    let mut units = 1.0_f64;
    let mut components = Vec::new();
    while units <= (2.0 * MANY as f64 / p).max(2.0) {
        let some = 1.0 - (1.0 - p).powf(units);
        components.push((some, binomials(units, p, &found)));
        units = (units + 1.0).max((units * 1.25).floor());
    }
    let mut shares = vec![1.0 / components.len() as f64; components.len()];
    for _ in 0..STEPS_MAX {
        let mut next = vec![0.0; shares.len()];
        for (j, (_, count)) in found.iter().enumerate() {
            let likelihood = |((some, p_of), share): (&(f64, Vec<f64>), &f64)| p_of[j] / some * share;
            let each: Vec<f64> = components.iter().zip(&shares).map(likelihood).collect();
            let sum: f64 = each.iter().sum();
            if sum > 0.0 {
                next.iter_mut().zip(&each).for_each(|(next, each)| *next += each / sum * count / few);
            }
        }
        let change = next.iter().zip(&shares).map(|(next, share)| (next - share).abs()).fold(0.0, f64::max);
        shares = next;
        if change < STEP_MIN {
            break;
        }
    }
    let unseen: f64 =
        components.iter().zip(&shares).map(|((some, _), share)| share * (1.0 / some - 1.0)).sum();
    all + few * unseen
}

/// Probabilities that j of `units` units are kept, for each j of `found`.
fn binomials(units: f64, p: f64, found: &[(usize, f64)]) -> Vec<f64> {
    let mut all = Vec::with_capacity(MANY);
    let mut probability = (1.0 - p).powf(units);
    for j in 0..MANY {
        all.push(probability);
        probability *= (units - j as f64).max(0.0) / (j + 1) as f64 * p / (1.0 - p);
    }
    found.iter().map(|(j, _)| all[*j]).collect()
}

/// Arguments for the rows of a batch.
pub(crate) struct Batch {
    values: ArrayRef,
    hashes: Vec<u64>,
    units: Units,
}

impl Collected for Values {
    type Batch = Batch;

    fn batch(columns: &[ArrayRef]) -> Result<Batch> {
        let [values, ..] = columns else { return exec_err!("{ESTIMATED_DISTINCT} has no argument") };
        Ok(Batch { values: Arc::clone(values), hashes: hashes(values)?, units: Units::new(columns)? })
    }

    fn add(&mut self, batch: &Batch, row: usize) -> Result<()> {
        let Some(weight) = batch.units.weight(row).filter(|_| batch.values.is_valid(row)) else {
            return Ok(());
        };
        self.change(batch.hashes[row], |value| {
            value.rows += 1;
            value.weight += weight;
            match batch.units.trace(row) {
                Some(trace) => value.add_trace(trace),
                None => value.alone += 1,
            }
        });
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::number(out, self.end);
        for (hash, value) in &self.kept {
            let numbers = [*hash, value.alone, value.rows, value.weight.to_bits(), value.traces.len() as u64];
            numbers.iter().chain(&value.traces).for_each(|number| write::number(out, *number));
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let mut from = Reader::new(bytes);
        let end = from.number()?;
        while let Some((hash, value)) = self.kept.last_key_value()
            && *hash >= end
        {
            let (hash, value) = (*hash, value.clone());
            self.kept.pop_last();
            self.leave_out(hash, &value);
        }
        self.end = self.end.min(end);
        while let Some(hash) = from.number() {
            let (alone, rows, weight) = (from.number()?, from.number()?, f64::from_bits(from.number()?));
            let count = usize::try_from(from.number()?).ok().filter(|count| *count <= MANY)?;
            let traces = (0..count).map(|_| from.number()).collect::<Option<Vec<u64>>>()?;
            self.change(hash, |value| {
                value.alone = value.alone.saturating_add(alone);
                value.rows = value.rows.saturating_add(rows);
                value.weight += weight;
                traces.into_iter().for_each(|trace| value.add_trace(trace));
            });
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.bytes
    }
}

impl Collecting for EstimatedDistinct {
    type Rows = Values;
    type Settings = ();

    fn name(&self) -> &'static str {
        ESTIMATED_DISTINCT
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.len() {
            3 => Ok(types.to_vec()),
            _ => plan_err!(
                "{ESTIMATED_DISTINCT} is called for approx_distinct(x) where weighted is on: write that"
            ),
        }
    }

    fn result(&self) -> DataType {
        DataType::Float64
    }

    fn settings(&self, _: &[Option<ScalarValue>]) -> Result<()> {
        Ok(())
    }

    fn finish(&self, (): &(), values: &Values) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(vec![values.estimate()])))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::UInt64Array;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Mean of the estimates of `samplings` samples of a population, relative to the truth. Value i is in `traces(i)`
    /// traces of its own, twice in each.
    fn mean(values: u64, traces: impl Fn(u64) -> u64, share: f64, samplings: u64) -> f64 {
        let mut sum = 0.0;
        for seed in 0..samplings {
            let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let mut rows = Vec::new();
            for value in 0..values {
                for trace in 0..traces(value) {
                    if dice.random_bool(share) {
                        rows.extend([(value, (value << 20) + trace); 2]);
                    }
                }
            }
            let column = |of: fn(&(u64, u64)) -> u64| {
                Arc::new(rows.iter().map(of).map(Some).collect::<UInt64Array>()) as ArrayRef
            };
            let weights: ArrayRef = Arc::new(Float64Array::from(vec![1.0 / share; rows.len()]));
            let batch =
                Values::batch(&[column(|(value, _)| *value), column(|(_, trace)| *trace), weights]).unwrap();
            let mut all = Values::default();
            for part in 0..2 {
                let mut half = Values::default();
                (part..rows.len()).step_by(2).for_each(|row| half.add(&batch, row).unwrap());
                let mut bytes = Vec::new();
                half.write(&mut bytes);
                all.merge(&bytes).unwrap();
            }
            sum += all.estimate();
        }
        sum / samplings as f64 / values as f64
    }

    #[test]
    fn the_truth_is_met_on_average() {
        assert!((mean(3000, |_| 1, 0.1, 40) - 1.0).abs() < 0.02, "ids");
        assert!((mean(1000, |_| 5, 0.5, 20) - 1.0).abs() < 0.01, "five traces each");
        assert!((mean(1000, |i| 1 + i % 60, 0.25, 20) - 1.0).abs() < 0.02, "1 to 60 traces");
        assert!((mean(300, |_| 200, 0.1, 5) - 1.0).abs() < 0.001, "everywhere");
    }

    #[test]
    fn more_values_than_are_kept_are_extrapolated() {
        let found = mean(20_000, |_| 2, 0.5, 4);
        assert!((found - 1.0).abs() < 0.04, "{found}");
    }

    #[test]
    fn without_sampling_values_are_counted() {
        assert_eq!(mean(1234, |i| 1 + i % 3, 1.0, 1).to_bits(), 1_f64.to_bits());
    }

    #[test]
    fn foreign_bytes_do_no_harm() {
        for length in 0..200 {
            let mut values = Values::default();
            let _ = values.merge(&vec![0xff; length]);
            let _ = values.merge(&vec![1; length]);
            let _ = values.estimate();
        }
    }
}
