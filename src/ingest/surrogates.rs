//! How is JSON with unpaired surrogates (half an emoji) read?
//!
//! JavaScript and Python may cut a text between the halves of a surrogate pair, and write the remaining half as an
//! escape: `"cut \ud83d"`. RFC 8259 (section 8.2) does not define its meaning; strict readers refuse it.

/// Replaces every unpaired surrogate escape by U+FFFD; `None` if there is none. Byte positions do not change.
pub fn repaired(json: &[u8]) -> Option<Vec<u8>> {
    let mut repaired: Option<Vec<u8>> = None;
    let mut i = 0;
    while i < json.len() {
        if json[i] != b'\\' {
            i += 1;
            continue;
        }
        match unit(json, i) {
            Some(0xD800..=0xDBFF) if matches!(unit(json, i + 6), Some(0xDC00..=0xDFFF)) => i += 12,
            Some(0xD800..=0xDFFF) => {
                repaired.get_or_insert_with(|| json.to_vec())[i..i + 6].copy_from_slice(b"\\ufffd");
                i += 6;
            }
            // Skips the escaped byte, which may be a backslash.
            _ => i += 2,
        }
    }
    repaired
}

/// UTF-16 unit of the escape at `at`.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let escape = json.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | char::from(*digit).to_digit(16)? as u16;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_replaced_and_pairs_are_not() {
        for (json, expected) in [
            (r#""cut \ud83d""#, Some(r#""cut \ufffd""#)),
            (r#""\udc00 low""#, Some(r#""\ufffd low""#)),
            (r#""\uD83D\uD83D\uDE00""#, Some(r#""\ufffd\uD83D\uDE00""#)),
            (r#""\ud83d\n""#, Some(r#""\ufffd\n""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\ud83""#, None),
            ("\\", None),
            ("", None),
        ] {
            let found = repaired(json.as_bytes()).map(|json| String::from_utf8(json).unwrap());
            assert_eq!(found.as_deref(), expected, "{json}");
        }
    }
}
