//! States of aggregates as bytes, between the partitions of one query.
//!
//! ```text
//! number = u64 little-endian
//! bytes  = number byte…
//! ```

/// Writers.
pub(crate) mod write {
    /// Appends a number.
    pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
        out.extend_from_slice(&number.to_le_bytes());
    }

    /// Appends bytes and their length.
    pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        number(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    /// Appends a text that may be missing.
    pub(crate) fn optional(out: &mut Vec<u8>, text: Option<&str>) {
        number(out, u64::from(text.is_some()));
        bytes(out, text.unwrap_or_default().as_bytes());
    }
}

/// Reads what [`write`] wrote; `None` where the bytes end early or are not of that form.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// The next bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The next text that may be missing, as `read` takes it.
    pub(crate) fn optional<T>(&mut self, read: impl Fn(Option<&'a str>) -> T) -> Option<T> {
        let present = self.number()? == 1;
        let text = self.text()?;
        Some(read(present.then_some(text)))
    }
}
