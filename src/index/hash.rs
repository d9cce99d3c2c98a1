//! Which hash represents a value in an index?
//!
//! The upper 48 bits of SipHash-1-3 with a fixed key over the value's canonical bytes. The function is part
//! of the format: it never changes within a version. Values rarely collide by accident. Values made to collide
//! only cost time, since queries check the rows anyway.

use std::io::Write;

use siphasher::sip::SipHasher13;

/// Keys of SipHash: "broadloo" and "m lookup" as little-endian numbers.
const KEYS: (u64, u64) = (u64::from_le_bytes(*b"broadloo"), u64::from_le_bytes(*b"m lookup"));

/// Hash of a value: 48 bits.
///
/// The canonical bytes are the value's text in SQL, so `42` and `'42'` of one attribute are the same value;
/// for an id they are its own bytes. Doubles, booleans, bytes and JSON have no canonical bytes and are never
/// looked up. A number must not be looked up either if SQL compares it as a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueHash(u64);

impl ValueHash {
    /// Number of bits in a hash.
    pub const BITS: u32 = 48;

    /// Hashes the bytes of an id; a trace id has 16.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let hash = SipHasher13::new_with_keys(KEYS.0, KEYS.1).hash(bytes);
        Self(hash >> (u64::BITS - Self::BITS))
    }

    /// Hashes the UTF-8 bytes of text.
    pub fn of_text(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    /// Hashes the decimal digits of an integer.
    pub fn of_int(value: i64) -> Self {
        let mut digits = [0_u8; 20];
        let mut rest = &mut digits[..];
        // The longest number, i64::MIN, has 20 characters.
        let _ = write!(rest, "{value}");
        let unused = rest.len();
        Self::of_bytes(&digits[..digits.len() - unused])
    }

    /// Hash as a number below 2^48.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Makes a hash of the lower 48 bits of a number.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_for_ever() {
        assert_eq!(ValueHash::of_bytes(&[]).get(), 0x3D71_C495_B4C9);
        assert_eq!(ValueHash::of_text("u-42").get(), 0x0446_0CAF_BC1B);
        assert_eq!(ValueHash::of_bytes(&[7; 16]).get(), 0xA462_8A80_FC5D);
    }

    #[test]
    fn an_integer_is_its_text() {
        for n in [0, 7, -7, i64::MIN, i64::MAX] {
            assert_eq!(ValueHash::of_int(n), ValueHash::of_text(&n.to_string()));
        }
    }
}
