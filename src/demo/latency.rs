//! How long does an operation take? A log-normal distribution with a heavy tail.
//!
//! Real latencies are skewed: most are near the median, and a few are ten times as long (a garbage collection, a
//! lock, a cold cache). So a draw is `median · e^(spread · z)` with a nearly normal `z`, and three draws in a
//! thousand are multiplied by a Pareto factor of exponent 2.

use super::dice::{Dice, exp};

/// Probability that a draw is from the tail.
const TAIL_CHANCE: f64 = 0.003;
/// Largest tail factor, so that a span never takes hours.
const TAIL_FACTOR_MAX: f64 = 40.0;

/// Distribution of one operation's own time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    median_ns: f64,
    spread: f64,
}

impl Latency {
    /// Creates a distribution with the median `median_us`, in microseconds. `spread` is the standard deviation of the
    /// logarithm (0.3: steady, 0.8: wild).
    pub(super) fn new(median_us: u32, spread: f64) -> Self {
        Self { median_ns: f64::from(median_us) * 1000.0, spread }
    }

    /// One draw, in nanoseconds; never zero.
    pub(super) fn draw(self, dice: &mut Dice) -> i64 {
        let mut ns = self.median_ns * exp(self.spread * dice.bell());
        if dice.chance(TAIL_CHANCE) {
            let pareto = 1.0 / (dice.unit() + 1e-6).sqrt();
            ns *= (1.0 + 2.0 * pareto).min(TAIL_FACTOR_MAX);
        }
        (ns as i64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_below_the_median_and_the_tail_is_heavy() {
        let mut dice = Dice::new(3, 0);
        let latency = Latency::new(1000, 0.4);
        let mut draws: Vec<i64> = (0..50_000).map(|_| latency.draw(&mut dice)).collect();
        draws.sort_unstable();
        let at = |q: f64| draws[(q * draws.len() as f64) as usize] as f64;
        assert!((at(0.5) / 1e6 - 1.0).abs() < 0.03, "median {}", at(0.5));
        assert!(at(0.99) < 4.0 * at(0.5), "the body is moderate: {}", at(0.99));
        assert!(at(0.9999) > 6.0 * at(0.5), "the tail is not: {}", at(0.9999));
    }
}
