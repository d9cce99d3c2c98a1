//! How do events move from the buffer into segments, and from segments into better ones? Which code may change the
//! catalog?
//!
//! ```text
//!            append                    flush
//!   log ───▶ buffer ──▶ seal ─▶ encode ─▶ store ─▶ commit ─▶ swap ─▶ truncate log
//!              │                                     │         │
//!              └────────── queries see both ─────────┴─────────┘   one lock, so each event exactly once
//! ```
//!
//! A crash between any two steps is harmless. Before the commit, the log still has the events, and the object is an
//! orphan that is deleted after the next start. After it, the watermark keeps the log's copy from being replayed.
//!
//! # Invariants
//!
//! - Only this module commits to the catalog. (A backup has its own catalog, in another place.)
//! - Queries see catalog and buffer change together ([`live`]).
//! - A flush never delays an append: it works on shared batches and holds the lock only for moments.
//! - Each background [`Duty`] has its own retries: a failing one does not stop the others.
//! - An idle database does not run: its duties wait for [`signals`] or deadlines.
//!
//! [`live`] is the state that queries see, [`buffers`] limits its memory, [`deliveries`] the messages stored in it, [`flush`] the steps above.
//! [`compaction`] merges segments; [`compaction_policy`] chooses them for a single run, [`tiers`] for merges that go
//! on for years. [`runs`] merges the indexes of many segments. [`sweep`] deletes unneeded objects, but not those that
//! are being made: [`births`] lists them. [`masking`] hides deleted rows and [`retention`] expired ones: the rows that
//! [`matching`] finds for a [`condition`]. [`backup`] copies everything to another place. [`duties`] does all of this
//! in the background; [`lanes`] decides when, [`duty`] records the outcomes.

pub mod deliveries;
pub mod signals;
mod arrivals;
mod buffers;
pub mod live;
mod ground;
pub mod flush;
pub mod births;
pub mod compaction_policy;
pub mod tiers;
mod background;
pub mod compaction;
pub mod sweep;
mod run_policy;
pub mod runs;
mod condition;
pub mod matching;
pub mod masking;
pub mod retention;
pub mod backup;
mod stats;
mod duty;
mod lanes;
mod duties;

pub use arrivals::{Arrivals, Arrived};
pub use backup::{BackupProgress, BackupReport, BackupSource, BackupTarget, Purpose};
pub use births::{Birth, Births, decide};
pub use buffers::{Admission, Buffers};
pub use compaction::{CompactionOptions, CompactionProgress, CompactionReport, Compactor, SegmentTotals};
pub use condition::Condition;
pub(crate) use condition::with_stack;
pub use deliveries::{Claim, Deliveries, Verdict};
pub use duties::{Hold, Maintenance};
pub use duty::{Duty, DutyState};
pub use flush::{Flushed, Flusher, store_built, store_segment};
pub use ground::{Capacity, Ground};
pub use live::{Arrival, Live};
pub use masking::{DeleteRequest, Masker};
pub use matching::RowMatcher;
pub use retention::Retainer;
pub use runs::RunKeeper;
pub use stats::{MaintenanceCounts, MaintenanceStats};
pub use sweep::{GRACE, Sweeper};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod interleavings;
