//! What goes on in the background while a database is open?
//!
//! What has expired is hidden. Segments are merged step by step as long as there is something to gain, and objects that nobody needs are
//! deleted. One step at a time; a failed one is tried again later, after a pause that grows.

use std::sync::Weak;
use std::time::Duration;

use super::writer::Writer;
use crate::config::MaintenanceSettings;
use crate::error::{ErrorKind, Result};

/// How often it is looked at whether there is something to do.
const CHECK: Duration = Duration::from_secs(1);
/// How often objects are looked for that whoever made them left behind.
const ORPHAN_CHECK_NS: i64 = 3600 * 1_000_000_000;
/// How often it is looked at what has expired.
const RETENTION_CHECK_NS: i64 = 60 * 1_000_000_000;
/// Pauses between attempts when something fails.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(5);

/// Maintains the segments until the writer is gone.
pub(super) async fn maintain(writer: Weak<Writer>, settings: MaintenanceSettings) {
    let Some(stop) = writer.upgrade().map(|writer| writer.stop().clone()) else { return };
    let mut progress = Progress::default();
    let mut pause = RETRY_MIN;
    let check = CHECK.min(settings.check_every);
    let mut wait = check;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let Some(writer) = writer.upgrade() else { return };
        wait = match progress.step(&writer, &settings).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => {
                pause = RETRY_MIN;
                check
            }
            // Others came first, and there is something else to do.
            Err(error) if error.kind() == ErrorKind::Conflict => Duration::ZERO,
            Err(error) => {
                tracing::error!(%error, "maintenance failed; trying again");
                let failed = pause;
                pause = (pause * 2).min(RETRY_MAX);
                failed
            }
        };
    }
}

/// What is known to be done.
#[derive(Debug, Default)]
struct Progress {
    /// At this version of the catalog there was nothing to merge.
    settled: Option<u64>,
    orphans_checked_ns: Option<i64>,
    retained_ns: Option<i64>,
}

impl Progress {
    /// Does what is due next; returns whether there may be more.
    async fn step(&mut self, writer: &Writer, settings: &MaintenanceSettings) -> Result<bool> {
        let stop = writer.stop();
        writer.sweeper().remove_retired(settings.grace).await?;
        self.look_for_orphans(writer, settings).await?;
        let now_ns = writer.now_ns();
        if self.retained_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= RETENTION_CHECK_NS) {
            writer.retainer().apply(stop).await?;
            self.retained_ns = Some(now_ns);
        }
        let version = writer.catalog().snapshot().version;
        if self.settled == Some(version) {
            return Ok(false);
        }
        if writer.compactor().step(settings.segment, stop).await? {
            return Ok(true);
        }
        self.settled = Some(version);
        Ok(false)
    }

    async fn look_for_orphans(&mut self, writer: &Writer, settings: &MaintenanceSettings) -> Result<()> {
        let now_ns = writer.now_ns();
        // That is done at the start anyhow.
        let checked_ns = *self.orphans_checked_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(checked_ns) < ORPHAN_CHECK_NS {
            return Ok(());
        }
        writer.sweeper().remove_orphans(settings.grace).await?;
        self.orphans_checked_ns = Some(now_ns);
        Ok(())
    }
}
