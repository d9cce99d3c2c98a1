//! Ranges of a logarithmic scale, for histograms and heat maps.
//!
//! Tenfold is divided into `n` ranges with equal ratios of their bounds, so `1, 10, 100, …` are bounds for every `n`.
//! A value is in the range with `low <= value < high`. Zero has a range of its own, and the ranges of negative values
//! mirror the others. Bounds are computed in one way only, so that equal ranges have equal bounds in every row.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Most ranges per tenfold.
const PER_DECADE_MAX: i64 = 1000;

/// Exponents of ten that a finite double can have.
const EXPONENTS: std::ops::RangeInclusive<i32> = -324..=308;

/// `log_bucket(value, per_decade)`: lower bound of the range of a value; `log_bucket_end(low, per_decade)`: upper bound
/// of the range with that lower bound. Null for what is not finite.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogBucket {
    is_end: bool,
    signature: Signature,
}

impl LogBucket {
    /// `log_bucket`.
    pub(crate) fn start() -> Self {
        Self::new(false)
    }

    /// `log_bucket_end`.
    pub(crate) fn end() -> Self {
        Self::new(true)
    }

    fn new(is_end: bool) -> Self {
        let types = vec![DataType::Float64, DataType::Int64];
        Self { is_end, signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for LogBucket {
    fn name(&self) -> &'static str {
        if self.is_end { "log_bucket_end" } else { "log_bucket" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, per_decade] = args.args.as_slice() else {
            return plan_err!("{} takes a value and a number of ranges", self.name());
        };
        let ranges = match per_decade {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(count))) => *count,
            ColumnarValue::Array(counts) if !counts.is_empty() && counts.is_valid(0) => {
                let counts = counts.as_primitive::<Int64Type>();
                if counts.iter().any(|count| count != Some(counts.value(0))) {
                    return plan_err!("{} takes one number of ranges for all rows", self.name());
                }
                counts.value(0)
            }
            ColumnarValue::Array(_) => 1,
            ColumnarValue::Scalar(_) => 0,
        };
        if !(1..=PER_DECADE_MAX).contains(&ranges) {
            return plan_err!("{} takes 1 to {PER_DECADE_MAX} ranges per tenfold, not {ranges}", self.name());
        }
        let scale = Scale::new(ranges);
        let bound = |value: f64| if self.is_end { scale.end(value) } else { scale.start(value) };
        Ok(match values {
            ColumnarValue::Scalar(ScalarValue::Float64(value)) => {
                ColumnarValue::Scalar(ScalarValue::Float64(value.and_then(bound)))
            }
            other => {
                let values = other.to_array(args.number_rows)?;
                let bounds = values.as_primitive::<Float64Type>().iter().map(|value| value.and_then(bound));
                ColumnarValue::Array(Arc::new(bounds.collect::<Float64Array>()))
            }
        })
    }
}

/// A scale with `n` ranges per tenfold.
struct Scale {
    /// Lower bounds of the ranges from 1 to 10.
    steps: Vec<f64>,
}

impl Scale {
    fn new(ranges: i64) -> Self {
        let steps = (0..ranges).map(|range| 10_f64.powf(range as f64 / ranges as f64));
        Self { steps: steps.collect() }
    }

    fn ranges(&self) -> i32 {
        i32::try_from(self.steps.len()).unwrap_or(1)
    }

    /// Lower bound of range `index` of positive values; range 0 begins at 1.
    fn bound(&self, index: i32) -> f64 {
        let exponent = index.div_euclid(self.ranges());
        let step = self.steps.get(index.rem_euclid(self.ranges()) as usize).copied().unwrap_or(1.0);
        if exponent < *EXPONENTS.start() {
            return 0.0;
        }
        let power = POWERS.get(exponent.abs_diff(*EXPONENTS.start()) as usize);
        power.map_or(f64::INFINITY, |power| power * step)
    }

    /// Range of a positive, finite value.
    fn index(&self, value: f64) -> i32 {
        // The logarithm is not exact: near a bound it may be one off.
        let mut index = (value.log10() * f64::from(self.ranges())).floor() as i32;
        while self.bound(index) > value {
            index -= 1;
        }
        while self.bound(index + 1) <= value {
            index += 1;
        }
        index
    }

    fn start(&self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        Some(if value > 0.0 {
            self.bound(self.index(value))
        } else if value < 0.0 {
            -self.bound(self.index(-value) + 1)
        } else {
            0.0
        })
    }

    fn end(&self, low: f64) -> Option<f64> {
        if !low.is_finite() {
            return None;
        }
        Some(if low > 0.0 {
            self.bound(self.index(low) + 1)
        } else if low < 0.0 {
            -self.bound(self.index(-low) - 1)
        } else {
            0.0
        })
    }
}

/// Powers of ten, as exact as doubles are.
static POWERS: LazyLock<Vec<f64>> =
    LazyLock::new(|| EXPONENTS.map(|exponent| format!("1e{exponent}").parse().unwrap_or(0.0)).collect());

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_of_a_scale_are_powers_of_ten_and_steps_between() {
        let scale = Scale::new(1);
        for (value, low, high) in
            [(1.0, 1.0, 10.0), (9.99, 1.0, 10.0), (10.0, 10.0, 100.0), (1000.0, 1e3, 1e4)]
        {
            assert_eq!((scale.start(value), scale.end(low)), (Some(low), Some(high)), "{value}");
        }
        assert_eq!((scale.start(0.0), scale.end(0.0)), (Some(0.0), Some(0.0)));
        assert_eq!((scale.start(-5.0), scale.end(-10.0)), (Some(-10.0), Some(-1.0)));
        assert_eq!((scale.start(f64::NAN), scale.start(f64::INFINITY)), (None, None));
        let scale = Scale::new(2);
        assert_eq!(scale.start(4.0), Some(10_f64.powf(0.5)));
    }

    proptest! {
        /// Every finite value is in its range, and ranges meet.
        #[test]
        fn every_value_is_in_its_range(value in any::<f64>(), ranges in 1_i64..=PER_DECADE_MAX) {
            let scale = Scale::new(ranges);
            let value = if value.is_finite() { value } else { 1.0 };
            let low = scale.start(value).unwrap();
            if low.is_finite() {
                let high = scale.end(low).unwrap();
                if value > 0.0 {
                    prop_assert!(low <= value && value < high, "{low} {value} {high}");
                } else if value < 0.0 {
                    prop_assert!(low < value && value <= high, "{low} {value} {high}");
                }
                if value >= 0.0 {
                    prop_assert_eq!(scale.start(low), Some(low));
                }
            }
        }
    }
}
