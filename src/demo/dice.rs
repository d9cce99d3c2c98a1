//! How does randomness give the same corpus on every machine?
//!
//! By a seeded ChaCha8 stream and arithmetic that IEEE 754 defines to the last bit: `+ - * /` and `sqrt`.
//! `f64::exp` and `powf` come from the platform's C library and may differ in the last place, so they
//! are not used; [`exp`] replaces them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A seeded source of all random decisions.
#[derive(Debug, Clone)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Starts stream number `stream` of `seed`; streams of one seed are independent.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform number in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform integer in `0..n`; 0 if `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform integer in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Uniform time in `low_ns..high_ns`.
    pub(super) fn time(&mut self, low_ns: i64, high_ns: i64) -> i64 {
        low_ns + self.below(high_ns.saturating_sub(low_ns).max(1) as u64) as i64
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One of `items`, all equally likely.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Nearly normal number, mean 0, deviation 1, within ±3.47: the sum of four uniform numbers from one draw
    /// (Irwin–Hall). It has no far tail; [`super::latency`] adds one.
    pub(super) fn bell(&mut self) -> f64 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * SQRT_3
    }

    /// A span id: eight bytes, not all zero.
    pub(super) fn span_id(&mut self) -> [u8; 8] {
        (self.bits() | 1).to_be_bytes()
    }

    /// Sixteen random bytes.
    pub(super) fn bytes_16(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.bits().to_be_bytes());
        out[8..].copy_from_slice(&self.bits().to_be_bytes());
        out
    }

    /// A random (version 4) UUID as text.
    pub(super) fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.bytes_16()).into_uuid().to_string()
    }

    /// `2 * bytes` hexadecimal digits.
    pub(super) fn hex(&mut self, bytes: usize) -> String {
        let mut out = String::with_capacity(2 * bytes + 16);
        while out.len() < 2 * bytes {
            push_hex(&mut out, &self.bits().to_be_bytes());
        }
        out.truncate(2 * bytes);
        out
    }
}

const SQRT_3: f64 = 1.732_050_807_568_877_2;

/// Appends `bytes` as lower-case hexadecimal digits.
pub(super) fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// Appends `n` in decimal. Faster than `write!`: this runs for every span.
pub(super) fn push_number(out: &mut String, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|&d| d as char));
}

/// `e` to the power of `x`, for `|x| <= 700`, by range reduction and a Taylor polynomial. Relative error under
/// 1e-13; the same bits on every machine.
pub(super) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = x - k * std::f64::consts::LN_2;
    let mut sum = 1.0;
    for n in (1..=13).rev() {
        sum = 1.0 + sum * r / f64::from(n);
    }
    sum * f64::from_bits(((1023 + k as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_platform() {
        for i in -300..300 {
            let x = f64::from(i) / 7.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "exp({x})");
        }
    }

    #[test]
    fn bell_has_mean_zero_and_deviation_one() {
        let mut dice = Dice::new(7, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| dice.bell()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
    }

    #[test]
    fn numbers_and_hex_are_written_as_usual() {
        let mut out = String::new();
        for n in [0, 7, 10, 1_234_567_890, u64::MAX] {
            push_number(&mut out, n);
            out.push(' ');
        }
        push_hex(&mut out, &[0, 0xab, 0x1f]);
        assert_eq!(out, "0 7 10 1234567890 18446744073709551615 00ab1f");
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        assert_eq!(Dice::new(1, 2).bits(), Dice::new(1, 2).bits());
        assert_ne!(Dice::new(1, 2).bits(), Dice::new(1, 3).bits());
        assert_ne!(Dice::new(1, 2).bits(), Dice::new(2, 2).bits());
    }
}
