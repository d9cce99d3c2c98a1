//! What moves events from the buffer into segments, and who may change the catalog?
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
//! [`live`] is the state that queries see, [`flush`] the steps above, [`runs`] merges the indexes
//! of many segments in the background, [`orphans`] cleans up after crashes.

pub mod live;
pub mod flush;
pub mod compaction_policy;
pub mod orphans;
mod run_policy;
pub mod runs;

pub use flush::{Flushed, Flusher, store_built, store_segment};
pub use live::{Admission, Live};
pub use orphans::{GRACE, remove_orphans, remove_retired};
pub use runs::{RunKeeper, remove_orphan_runs};
