//! W3C trace context ids.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// Creates the id with these bytes.
            pub const fn new(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Reads an id; `None` if the length is not [`BYTES`](Self::BYTES) or all bytes are zero, which W3C defines
            /// as invalid.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                let bytes: [u8; $bytes] = bytes.try_into().ok()?;
                bytes.iter().any(|b| *b != 0).then_some(Self(bytes))
            }

            /// Bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            /// Reads hex of any case.
            fn from_str(text: &str) -> Result<Self, Error> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| {
                    Error::invalid(format!(
                        "{text:?} is not a {}: expected {} hex digits", $what, $bytes * 2
                    ))
                })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// Identifies a trace; shown as 32 lower-case hex digits.
    TraceId, 16, "trace id"
);
id!(
    /// Identifies a span within a trace; shown as 16 lower-case hex digits.
    SpanId, 8, "span id"
);
