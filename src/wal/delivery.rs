//! Which message of a producer did a batch come in?
//!
//! A producer whose answer got lost sends the same message again. Its hash stands in the log with the batch,
//! so that it is known again after a crash too:
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

/// A hash of all of a message: messages with the same are the same message, delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeliveryId([u8; Self::BYTES]);

impl DeliveryId {
    /// Size of an id.
    pub const BYTES: usize = 16;

    /// The id of the message `bytes` of a kind: the same bytes may mean other things elsewhere.
    pub fn of(kind: u8, bytes: &[u8]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write_u8(kind);
        hasher.write(bytes);
        Self(hasher.finish128().as_bytes())
    }

    /// The payload of a batch that came in this message.
    pub fn with_batch(self, batch: &[u8]) -> Vec<u8> {
        [MAGIC, self.0.as_slice(), batch].concat()
    }
}

/// Takes a payload apart: the encoded batch, and the message that it came in, if that is known.
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
        hex::decode_to_slice(&text, &mut id)
            .map_err(|e| Error::invalid(format!("'{text}' is no delivery")).with_source(e))?;
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
