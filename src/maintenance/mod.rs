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
//! object is an orphan that is deleted after the next start; after it the watermark says that the log's copy is
//! not to be replayed.
//!
//! # Invariants
//!
//! - Only this module commits to the catalog. (A backup has a catalog of its own, in another place.)
//! - Catalog and buffer, as queries see them, change together ([`live`]).
//! - A flush never holds up an append: it works on shared batches and takes the lock for moments.
//! - Each [`Duty`] in the background retries on its own: one that fails keeps no other from its work.
//! - An idle database does not run: its duties wait for [`signals`] or deadlines.
//!
//! [`live`] is the state that queries see, [`deliveries`] which messages are in it, [`flush`] the steps above. [`compaction`] merges segments;
//! [`compaction_policy`] says which, and [`tiers`] when it goes on for years. [`runs`] merges the indexes of
//! many segments, [`sweep`] deletes what nobody needs any more, knowing from [`births`] what somebody is just
//! making. [`masking`] hides rows that are to be deleted, [`retention`] those that have expired: the rows that
//! [`matching`] finds for a [`condition`]. [`backup`] copies all of it to another place. [`duties`] does all of this in the
//! background; [`lanes`] says when, [`duty`] how it is going.

pub mod deliveries;
pub mod signals;
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

pub use backup::{BackupProgress, BackupReport, BackupSource, BackupTarget, Purpose};
pub use births::{Birth, Births, decide};
pub use compaction::{CompactionOptions, CompactionProgress, CompactionReport, Compactor, SegmentTotals};
pub use condition::Condition;
pub(crate) use condition::with_stack;
pub use deliveries::{Claim, Deliveries, Verdict};
pub use duties::{Hold, Maintenance};
pub use duty::{Duty, DutyState};
pub use flush::{Flushed, Flusher, store_built, store_segment};
pub use ground::{Capacity, Ground};
pub use live::{Admission, Arrival, Live};
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
