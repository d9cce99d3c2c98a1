//! How is one input split into several parts?
//!
//! ```text
//! parts = (length:u16 byte × length)*         little-endian; the last one ends with the input
//! ```

/// Splits an input into its parts.
pub(super) fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        parts.push(part);
        bytes = rest;
    }
    parts
}

/// Joins parts to an input; skips parts of more than 65,535 bytes.
#[cfg(test)]
pub(super) fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        if let Ok(length) = u16::try_from(part.len()) {
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}
