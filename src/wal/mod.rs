//! What makes an acknowledged event survive a crash?
//!
//! The write-ahead log: every batch is appended to a file and fsynced before its producer gets an
//! acknowledgement. Once a flush has committed all events of a file in segments, the file is deleted.
//!
//! # Format
//!
//! ```text
//! wal/{first_seq:020}.wal          one file; its records are numbered first_seq, first_seq + 1, …
//!
//! file   = header record*
//! header = magic "BROADWAL"  version u32  first_seq u64  crc32c(magic version first_seq) u32     24 bytes
//! record = marker 0x57A1C0DE u32  length u32  crc u32  seq u64  payload[length]             20 + length
//!          crc = crc32c(length seq payload)
//! payload = one zstd frame of an encoded EventBatch, with the id of the message it came in (`delivery`)
//!           all integers little-endian
//! ```
//!
//! # Invariants
//!
//! - Sequence numbers rise by one. Only the writer thread assigns them.
//! - Only the process that created a file appends to it. Before a file is created, all earlier ones are
//!   complete on disk. So a truncated record with nothing valid behind it can only be the last record of
//!   the last file: a *torn tail*. It was never acknowledged; it is dropped and logged. Any other invalid
//!   bytes are *damage*: reported with file, offset, expected and found. Reading resumes at the next valid
//!   record.
//! - After a failed fsync, the contents of the disk are unknown: the writer is poisoned, and its error asks
//!   for a restart.
//! - A file is deleted only when the catalog has committed all of its batches.
//!
//! The log does not interpret batches: payloads are bytes, and only [`inspect`] decodes them, for people. It
//! does not decide which batches are committed either: that is the catalog's watermark.
//!
//! [`record`] is the byte format, [`reader`] replays a directory, [`writer`] is the group commit; [`files`] keeps
//! the log in a directory, [`objects`] in an object store. [`inspect`] shows the contents of one file.

pub mod delivery;
pub mod record;
pub mod reader;
pub mod writer;
pub mod files;
pub mod objects;
pub mod inspect;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use delivery::DeliveryId;
pub use files::{FileLog, WalOptions, identity, known_identity};
pub use objects::{ObjectLog, ObjectLogOptions, Takeover, is_fence, list_objects, replay_objects};
pub use reader::{Damage, Replay, replay};
pub use record::Payload;
pub use writer::{Log, Wal, WalStats};

/// Position of a batch in the log: the first batch ever written has 1; 0 means "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// Position before the first batch.
    pub const ZERO: Self = Self(0);
    /// Largest valid number. A record with a larger one is damaged.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
