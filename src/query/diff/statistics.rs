//! Could a difference of two shares be chance? Tests of a table of two by two counts.
//!
//! ```text
//!               with the value   without
//! selection           a             b
//! baseline            c             d
//! ```
//!
//! The p value is the probability of a table at least as uneven, if the value has the same share on both sides. Where
//! all expected counts are 5 or more it is that of the chi-squared statistic with Yates' correction, else that of
//! Fisher's exact test, which sums the tables that are no more probable than this one.

/// Smallest expected count from which the chi-squared distribution is a good approximation (Cochran's rule).
const EXPECTED_MIN: f64 = 5.0;
/// Tables whose probability differs by this factor count as equally probable, as in R and SciPy.
const TOLERANCE: f64 = 1.0 + 1e-7;

/// Probability of so uneven a table by chance: `with` of `totals` rows of the baseline and of the selection, in this
/// order, have the value.
pub(super) fn p_value(with: [u64; 2], totals: [u64; 2]) -> f64 {
    let without = [totals[0].saturating_sub(with[0]), totals[1].saturating_sub(with[1])];
    let sum = |of: [u64; 2]| (of[0] + of[1]) as f64;
    let all = sum(totals);
    let smallest = |of: [u64; 2]| of[0].min(of[1]) as f64;
    if smallest(totals) == 0.0 || sum(with) == 0.0 || sum(without) == 0.0 {
        return 1.0;
    }
    let expected_min = smallest(totals) * sum(with).min(sum(without)) / all;
    if expected_min >= EXPECTED_MIN { chi_squared(with, without) } else { fisher(with, without) }
}

fn chi_squared(with: [u64; 2], without: [u64; 2]) -> f64 {
    let [[c, a], [d, b]] = [with, without].map(|of| of.map(|count| count as f64));
    let all = a + b + c + d;
    let uneven = ((a * d - b * c).abs() - all / 2.0).max(0.0);
    // One factor at a time: the product of all counts may not fit.
    let statistic = uneven / (a + b) * (uneven / (c + d)) * (all / (a + c) / (b + d));
    // The survival function with one degree of freedom.
    libm::erfc((statistic / 2.0).sqrt())
}

fn fisher(with: [u64; 2], without: [u64; 2]) -> f64 {
    let selection = with[1] + without[1];
    let baseline = with[0] + without[0];
    let valued = with[0] + with[1];
    let probability = |a: u64| {
        let log = log_choose(selection, a) + log_choose(baseline, valued - a)
            - log_choose(selection + baseline, valued);
        log.exp()
    };
    let observed = probability(with[1]) * TOLERANCE;
    let least = valued.saturating_sub(baseline);
    let sum: f64 = (least..=selection.min(valued)).map(probability).filter(|p| *p <= observed).sum();
    sum.min(1.0)
}

/// Logarithm of the number of ways to choose `k` of `n`.
fn log_choose(n: u64, k: u64) -> f64 {
    let log_factorial = |n: u64| libm::lgamma(n as f64 + 1.0);
    log_factorial(n) - log_factorial(k) - log_factorial(n - k)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as SciPy takes it: selection first.
    fn p(table: [[u64; 2]; 2]) -> f64 {
        let [[a, b], [c, d]] = table;
        p_value([c, a], [c + d, a + b])
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-8, "{found} is not {expected}");
    }

    /// `scipy.stats.fisher_exact(table)`, SciPy 1.x.
    #[test]
    fn small_counts_are_tested_exactly() {
        assert_near(p([[8, 2], [1, 5]]), 0.034_965_034_965_034_975);
        assert_near(p([[3, 7], [0, 40]]), 0.006_122_448_979_591_837);
        assert_near(p([[0, 10], [3, 10_000]]), 1.0);
        assert_near(p([[5, 0], [0, 5]]), 0.007_936_507_936_507_938);
    }

    /// `scipy.stats.chi2_contingency(table, correction=True)`.
    #[test]
    fn large_counts_are_tested_by_chi_squared() {
        assert_near(p([[90, 10], [500, 9400]]), 1.715_558_821_428_129_4e-278);
        assert_near(p([[30, 70], [25, 75]]), 0.526_442_390_715_557_5);
        assert_near(p([[12, 88], [60, 140]]), 0.000_974_277_589_496_251_1);
    }

    #[test]
    fn one_sided_tables_say_nothing() {
        for table in
            [[[0, 0], [3, 4]], [[3, 4], [0, 0]], [[5, 0], [7, 0]], [[0, 5], [0, 7]], [[0, 0], [0, 0]]]
        {
            assert_eq!(p(table).to_bits(), 1_f64.to_bits(), "{table:?}");
        }
    }

    #[test]
    fn counts_of_billions_have_a_probability() {
        let p = p([[1_000_000_000, 3_000_000_000], [1_000_000_100, 3_000_000_000]]);
        assert!((0.0..=1.0).contains(&p), "{p}");
    }
}
