//! Numbers as unsigned integers of the same order, so that ranges of numbers are ranges of integers.
//!
//! A double is its bits, with the sign turned so that they sort. Without their last bits, numbers become ranges whose
//! ends are doubles too: a range of [`coarse`] is 2^-8 of its numbers wide, at most 0.4 %.

/// Bits that [`coarse`] clears.
const COARSE_BITS: u32 = 44;
const SIGN: u64 = 1 << 63;
/// Codes of the infinities, beyond which are no numbers.
const LEAST: u64 = !f64::NEG_INFINITY.to_bits();
const GREATEST: u64 = f64::INFINITY.to_bits() | SIGN;

/// Code of a number; `None` for NaN. The two zeros are one number.
pub(super) fn code(number: f64) -> Option<u64> {
    let bits = (number + 0.0).to_bits();
    let code = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    (!number.is_nan()).then_some(code)
}

/// Number of a code.
pub(super) fn number(code: u64) -> f64 {
    f64::from_bits(if code & SIGN == 0 { !code } else { code ^ SIGN })
}

/// Code of an integer, also in the order of integers.
pub(super) fn integer_code(integer: i64) -> u64 {
    integer as u64 ^ SIGN
}

/// Integer of such a code.
pub(super) fn integer(code: u64) -> i64 {
    (code ^ SIGN) as i64
}

/// Code of the least number of the range that has the number of `code`.
pub(super) fn coarse(code: u64) -> u64 {
    cleared(code).max(LEAST)
}

/// Code of the first number beyond the range that has the number of `code`; infinity has none.
pub(super) fn coarse_end(code: u64) -> u64 {
    cleared(code).saturating_add(1 << COARSE_BITS).min(GREATEST)
}

fn cleared(code: u64) -> u64 {
    code >> COARSE_BITS << COARSE_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_order_of_their_numbers() {
        let numbers = [f64::NEG_INFINITY, -1e300, -2.5, -1e-300, 0.0, 1e-300, 1.0, 1.5, 7e9, f64::INFINITY];
        let codes: Vec<u64> = numbers.iter().filter_map(|number| code(*number)).collect();
        assert_eq!(codes.len(), numbers.len());
        assert!(codes.is_sorted_by(|a, b| a < b));
        for (at, wanted) in codes.iter().zip(numbers) {
            assert_eq!(number(*at).to_bits(), wanted.to_bits());
            let (low, high) = (number(coarse(*at)), number(coarse_end(coarse(*at))));
            assert!(low <= wanted && (wanted < high || wanted.is_infinite()), "{low} {wanted} {high}");
        }
        assert_eq!(code(-0.0), code(0.0));
        assert_eq!(code(f64::NAN), None);
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(integer(integer_code(value)), value);
        }
        assert!(integer_code(-1) < integer_code(0));
    }
}
