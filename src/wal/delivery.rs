//! How is a redelivered message detected, even after a crash?
//!
//! A producer that gets no answer retries the same message. The log stores each message's hash with its batch,
//! so deduplication also works after a restart:
//!
//! ```text
//! payload = batch | "EVD1" id:16 batch        (before compression; a batch begins with "EVB1")
//! ```

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"EVD1";

/// Hash of a whole message. A message with the hash of an earlier one is a redelivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeliveryId([u8; Self::BYTES]);

impl DeliveryId {
    /// Size of an id in bytes.
    pub const BYTES: usize = 16;

    /// Id of the message `bytes`. The `kind` of request is hashed too: the same bytes may be a valid message of
    /// another kind.
    pub fn of(kind: u8, bytes: &[u8]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write_u8(kind);
        hasher.write(bytes);
        Self(hasher.finish128().as_bytes())
    }

    /// Returns the log payload for `batch`, which came in this message.
    pub fn with_batch(self, batch: &[u8]) -> Vec<u8> {
        [MAGIC, self.0.as_slice(), batch].concat()
    }
}

/// Splits a payload into the id of its message, if there is one, and the encoded batch.
pub fn split(payload: &[u8]) -> (Option<DeliveryId>, &[u8]) {
    let delivered = payload.strip_prefix(MAGIC).and_then(<[u8]>::split_first_chunk);
    delivered.map_or((None, payload), |(id, batch)| (Some(DeliveryId(*id)), batch))
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let mut id = [0; Self::BYTES];
        hex::decode_to_slice(&text, &mut id).map_err(|e| {
            Error::invalid(format!("'{text}' is not a delivery id: expected 32 hexadecimal digits"))
                .with_source(e)
        })?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_which_message_its_batch_came_in() {
        let id = DeliveryId::of(1, b"message");
        assert_eq!(split(&id.with_batch(b"EVB1...")), (Some(id), &b"EVB1..."[..]));
        assert_eq!(split(b"EVB1..."), (None, &b"EVB1..."[..]));
        assert_eq!(split(b"EVD1short"), (None, &b"EVD1short"[..]), "the batch decoder says what is wrong");
        assert_ne!(id, DeliveryId::of(2, b"message"));
        assert_eq!(DeliveryId::try_from(id.to_string()).unwrap(), id);
    }
}
