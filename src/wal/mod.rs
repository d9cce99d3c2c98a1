//! What makes an acknowledged event survive a crash?
//!
//! The write-ahead log: every batch is appended to a file and fsynced before its producer hears "yes".
//! Once a flush has put the same events into a committed segment, the files that hold only such events
//! are deleted.
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
//! payload = one zstd frame of an encoded EventBatch, with the message that it came in (`delivery`)
//!           all integers little-endian
//! ```
//!
//! # Invariants
//!
//! - Sequence numbers rise by one; a number is given to a batch by the writer thread alone.
//! - A file is never appended to by another process than the one that created it. Before a file is
//!   created, all earlier ones are complete on disk. So a record that ends too early, with nothing valid
//!   behind it, can be only the last of the last file: a *torn tail*, never acknowledged, dropped and
//!   logged. Anything else that does not check is *damage*: it is reported with file, offset, expected and
//!   found, and reading goes on at the next record that checks.
//! - After a failed fsync nothing is known about what is on disk: the writer is poisoned and says restart.
//! - Deletion goes only up to what the catalog has committed.
//!
//! It does not know what a batch is (payloads are bytes; [`inspect`] alone decodes them, for people), and it does not decide what is committed: that is
//! the catalog's watermark.
//!
//! [`record`] is the byte format, [`reader`] replays a directory, [`writer`] is the group commit; [`files`] keeps
//! the log in a directory, [`objects`] in an object store. [`inspect`] shows what is in one file.

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
pub use objects::{ObjectLog, ObjectLogOptions, is_fence, list_objects, replay_objects};
pub use reader::{Damage, Replay, replay};
pub use record::Payload;
pub use writer::{Log, Wal, WalStats};

/// The place of a batch in the log: batch 1 is the first ever written, 0 means "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// Before the first batch.
    pub const ZERO: Self = Self(0);
    /// Greater than that of any batch: what says more is damaged.
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
