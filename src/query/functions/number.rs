//! Numbers in the text of attributes with values of several types.
//!
//! Such an attribute reads as text, in which each number has one spelling, independent of its stored type:
//!
//! | number                          | spelling                                               |
//! |---------------------------------|--------------------------------------------------------|
//! | an integer, or a double that is one of 64 bits | its digits: `200`, `-7`; zero is `0`    |
//! | another double                  | the shortest that reads back equal: `0.5`, `1e300`, `inf` |
//!
//! So equality, groups and joins compare the text. A text with the spelling of a number counts as the number:
//! `'200'` does, and so do integers of more than 64 bits; `'200.0'`, `'1e3'`, `' 7'` and `'007'` are texts. `NaN`
//! is a text too: it has no place in the order of numbers.
//!
//! A [`key`] is bytes that sort numbers by their value, exact to the last digit, then texts.
//!
//! ```text
//! key      = number | text
//! number   = 0x10                                            -inf
//!          | 0x11 !exponent:u16be !digit… 0xFF spelling      below zero
//!          | 0x12
//!          | 0x13 exponent:u16be digit… 0x00 spelling        above zero
//!          | 0x14                                            inf
//! text     = 0x20 utf8                                       after numbers, or 0x00 utf8 before them
//! ```
//!
//! It is made from the spelling, not from a double, so that integers keep all digits when compared with fractions.
//! Its digits are those of 0.d₁d₂d₃… · 10^(exponent − 2^15).

/// Most bytes of the spelling of a number; longer ones are texts.
const SPELLING_BYTES_MAX: usize = 400;
/// The first integer that is not one of 64 bits, as a double.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

const BELOW_ALL: u8 = 0x10;
const NEGATIVE: u8 = 0x11;
const ZERO: u8 = 0x12;
const POSITIVE: u8 = 0x13;
const ABOVE_ALL: u8 = 0x14;
const TEXT_LAST: u8 = 0x20;
const TEXT_FIRST: u8 = 0x00;
/// Bytes before the digits of a key.
const HEAD: usize = 3;

/// Place of texts among the keys of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Texts {
    /// After them: for ascending order, and the least.
    Last,
    /// Before them, so that they come last in descending order, and numbers are the greatest.
    First,
    /// They have no key.
    Without,
}

/// The spelling of a double.
pub(crate) fn spell(value: f64) -> String {
    if let Some(integer) = integer(value) {
        return integer.to_string();
    }
    // As Arrow formats columns of doubles: of two texts of the same length that read back equal, the standard library
    // may choose the other.
    ryu::Buffer::new().format(value).to_owned()
}

/// Converts a whole double to the 64-bit integer; `None` if it is not whole or out of range.
pub(crate) fn integer(value: f64) -> Option<i64> {
    let fits = value.fract() == 0.0 && (-BEYOND..BEYOND).contains(&value);
    // Exact, as it has no fraction and is in range.
    fits.then_some(value as i64)
}

/// Spelling of the number that a literal text is, if the text spells the number differently.
pub(crate) fn other_spelling(text: &str) -> Option<String> {
    if Decimal::of(text).is_some() {
        return None;
    }
    let number = text.trim();
    let spelling = match number.parse::<i64>() {
        Ok(integer) => integer.to_string(),
        Err(_) => spell(number.parse::<f64>().ok().filter(|number| !number.is_nan())?),
    };
    (spelling != text).then_some(spelling)
}

/// Number with the spelling `text`, as the nearest double; `None` if `text` is not a number.
pub(crate) fn value(text: &str) -> Option<f64> {
    Decimal::of(text)?;
    text.parse().ok()
}

/// Replaces `out` by the key of a text; returns `false` if it has none.
pub(crate) fn key(out: &mut Vec<u8>, text: &str, texts: Texts) -> bool {
    out.clear();
    let Some(decimal) = Decimal::of(text) else {
        out.push(match texts {
            Texts::Last => TEXT_LAST,
            Texts::First => TEXT_FIRST,
            Texts::Without => return false,
        });
        out.extend_from_slice(text.as_bytes());
        return true;
    };
    match decimal {
        Decimal::Infinite { negative } => out.push(if negative { BELOW_ALL } else { ABOVE_ALL }),
        Decimal::Zero => out.push(ZERO),
        Decimal::Finite { negative, exponent, mantissa } => {
            // `SPELLING_BYTES_MAX` keeps the exponent in range.
            let exponent = (exponent + (1 << 15)).clamp(0, i32::from(u16::MAX)) as u16;
            out.push(if negative { NEGATIVE } else { POSITIVE });
            out.extend_from_slice(&exponent.to_be_bytes());
            out.extend(mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0'));
            while out.len() > HEAD && out.last() == Some(&b'0') {
                out.pop();
            }
            if negative {
                out[1..].iter_mut().for_each(|byte| *byte = !*byte);
            }
            out.push(if negative { 0xFF } else { 0x00 });
            out.extend_from_slice(text.as_bytes());
        }
    }
    true
}

/// Text of a key.
pub(crate) fn text_of(key: &[u8]) -> &str {
    let (first, rest) = key.split_first().unwrap_or((&TEXT_FIRST, &[]));
    let spelling = match *first {
        BELOW_ALL => return "-inf",
        ZERO => return "0",
        ABOVE_ALL => return "inf",
        NEGATIVE | POSITIVE => {
            let end = if *first == NEGATIVE { 0xFF } else { 0x00 };
            let digits = rest.get(HEAD - 1..).unwrap_or_default();
            after(digits, end)
        }
        _ => rest,
    };
    // Keys are made from valid text.
    std::str::from_utf8(spelling).unwrap_or_default()
}

/// Bytes after the first `byte`.
fn after(bytes: &[u8], byte: u8) -> &[u8] {
    let at = bytes.iter().position(|b| *b == byte);
    at.and_then(|at| bytes.get(at + 1..)).unwrap_or_default()
}

/// Value of a spelling.
enum Decimal<'a> {
    Infinite {
        negative: bool,
    },
    Zero,
    /// The digits of `mantissa` from the first that is not zero are those of 0.d₁d₂… · 10^`exponent`.
    Finite {
        negative: bool,
        exponent: i32,
        mantissa: &'a str,
    },
}

impl<'a> Decimal<'a> {
    /// Parses a spelling; `None` if `text` is not the spelling of a number.
    fn of(text: &'a str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        if digits == "inf" {
            return Some(Self::Infinite { negative });
        }
        if !digits.as_bytes().first()?.is_ascii_digit() || digits.len() > SPELLING_BYTES_MAX {
            return None;
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return match digits {
                "0" => (!negative).then_some(Self::Zero),
                _ if digits.starts_with('0') => None,
                _ => Some(Self::Finite { negative, exponent: digits.len() as i32, mantissa: digits }),
            };
        }
        let value: f64 = text.parse().ok()?;
        (value.is_finite() && spell(value) == text).then(|| Self::of_double(negative, digits))
    }

    /// Parses the spelling, without its sign, of a double that is not a 64-bit integer.
    fn of_double(negative: bool, digits: &'a str) -> Self {
        let (mantissa, exponent) = digits.split_once('e').unwrap_or((digits, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let places = if whole == "0" {
            -((fraction.len() - fraction.trim_start_matches('0').len()) as i32)
        } else {
            whole.len() as i32
        };
        Self::Finite { negative, exponent: exponent + places, mantissa }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Float64Array};
    use arrow::datatypes::DataType;
    use proptest::prelude::*;

    use super::*;

    fn keyed(text: &str, texts: Texts) -> Option<Vec<u8>> {
        let mut out = vec![1, 2, 3];
        key(&mut out, text, texts).then_some(out)
    }

    #[test]
    fn a_number_has_one_spelling() {
        let spellings = [
            (200.0, "200"),
            (-0.0, "0"),
            (0.5, "0.5"),
            (-1e18, "-1000000000000000000"),
            (-BEYOND, "-9223372036854775808"),
            (BEYOND, "9.223372036854776e18"),
            (1e300, "1e300"),
            (1.5e-7, "1.5e-7"),
            (0.000_015, "0.000015"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ];
        for (number, spelling) in spellings {
            assert_eq!(spell(number), spelling);
            assert_eq!(value(spelling).is_some(), !number.is_nan(), "{spelling}");
        }
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in
            ["", "-", "-0", "007", "200.0", "1e3", " 7", "7 ", "+7", "NaN", "Infinity", "0.50", ".5", "a"]
        {
            assert_eq!(value(text), None, "{text}");
            assert_eq!(keyed(text, Texts::Without), None);
        }
        assert_eq!(other_spelling("200.0").as_deref(), Some("200"));
        assert_eq!(other_spelling("1161888007138312193"), None);
        assert_eq!(other_spelling("n/a"), None);
        assert_eq!(other_spelling("NaN"), None);
    }

    #[test]
    fn keys_sort_as_people_mean_it() {
        let sorted = [
            "-inf",
            "-1e300",
            "-100000000000000000000",
            "-9223372036854775808",
            "-123",
            "-12",
            "-1.5",
            "-0.05",
            "-1e-300",
            "0",
            "1e-300",
            "0.00001",
            "0.05",
            "0.5",
            "1",
            "1.5",
            "9",
            "10",
            "1161888007138312192",
            "1161888007138312193",
            "9223372036854775807",
            "9.223372036854776e18",
            "18446744073709551615",
            "1e300",
            "inf",
            "",
            " 7",
            "007",
            "1e3",
            "NaN",
            "a",
        ];
        let keys: Vec<_> = sorted.iter().map(|text| keyed(text, Texts::Last).unwrap()).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{sorted:?}");
        for (text, key) in sorted.iter().zip(&keys) {
            assert_eq!(text_of(key), *text);
            assert_eq!(text_of(&keyed(text, Texts::First).unwrap()), *text);
        }
        assert!(keyed("z", Texts::First) < keyed("-inf", Texts::First));
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -1e3..1e3,
            any::<i64>().prop_map(|i| i as f64),
            (-9i32..9).prop_map(f64::from)
        ]
    }

    proptest! {
        #[test]
        fn doubles_read_back_and_sort(a in number(), b in number()) {
            let (left, right) = (spell(a), spell(b));
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(value(&left), Some(a + 0.0));
            let order = keyed(&left, Texts::Last).cmp(&keyed(&right, Texts::Last));
            prop_assert_eq!(Some(order), a.partial_cmp(&b), "{} {}", left, right);
        }

        #[test]
        fn integers_sort_beside_doubles(a in any::<i64>(), b in number()) {
            prop_assume!(b.is_finite());
            let order = keyed(&a.to_string(), Texts::Last).cmp(&keyed(&spell(b), Texts::Last));
            let exact = match integer(b.floor()) {
                Some(floor) if floor == a && b.fract() != 0.0 => Ordering::Less,
                Some(floor) => a.cmp(&floor),
                None if b > 0.0 => Ordering::Less,
                None => Ordering::Greater,
            };
            prop_assert_eq!(order, exact, "{} {}", a, b);
        }

        #[test]
        fn doubles_that_are_no_integers_are_spelled_as_columns_of_doubles_are(a in any::<f64>()) {
            prop_assume!(integer(a).is_none());
            let array: ArrayRef = Arc::new(Float64Array::from(vec![a]));
            let text = arrow::compute::cast(&array, &DataType::Utf8View).unwrap();
            prop_assert_eq!(spell(a), text.as_string_view().value(0));
        }
    }
}
