//! What moves events from the buffer into segments, and from segments into better ones? Who may change the
//! catalog?
//!
//! ```text
//!            append                    flush
//!   log ───▶ buffer ──▶ seal ─▶ encode ─▶ store ─▶ commit ─▶ swap ─▶ truncate log
//!              │                                     │         │
//!              └────────── what queries see ─────────┴─────────┘   one lock, so never twice and never not at all
//! ```
//!
//! A crash between any two steps is harmless: before the commit the log still has the events, and the
//! object is an orphan that the next start deletes; after it the watermark says that the log's copy is
//! not to be replayed.
//!
//! # Invariants
//!
//! - Only this module commits to the catalog.
//! - Catalog and buffer, as queries see them, change together ([`live`]).
//! - A flush never holds up an append: it works on shared batches and takes the lock for moments.
//!
//! [`live`] is the state that queries see, [`flush`] the steps above. [`compaction`] merges segments;
//! [`compaction_policy`] says which. [`runs`] merges the indexes of many segments in the background,
//! [`orphans`] deletes what nobody needs any more.

pub mod live;
pub mod flush;
pub mod compaction_policy;
pub mod compaction;
pub mod orphans;
mod run_policy;
pub mod runs;

pub use compaction::{CompactionOptions, CompactionProgress, CompactionReport, Compactor, SegmentTotals};
pub use flush::{Flushed, Flusher, store_built, store_segment};
pub use live::{Admission, Live};
pub use orphans::{GRACE, remove_orphans};
pub use runs::{RunKeeper, remove_orphan_runs};

#[cfg(test)]
mod tests;
