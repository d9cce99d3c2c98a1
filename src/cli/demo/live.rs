//! How does the shop stay open? With new events at a steady rate, stamped with the current time.

use std::time::Duration;

use super::source::{Source, blocking};
use crate::config::{Clock, SystemClock};
use crate::demo::Generator;
use crate::error::Result;

/// Interval between two batches of events.
const TICK: Duration = Duration::from_secs(1);

/// Sends `rate` events per second until it is dropped. Returns only if sending fails.
pub(super) async fn keep_open(mut generator: Generator, source: Source, rate: u64) -> Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut from_ns = SystemClock.now_ns();
    loop {
        ticks.tick().await;
        let to_ns = SystemClock.now_ns();
        let passed = to_ns.saturating_sub(from_ns).max(0);
        if passed == 0 {
            continue;
        }
        // After a pause (a suspended laptop), make up for at most a minute.
        let events = (passed as f64 / 1e9).min(60.0) * rate as f64;
        let begin_ns = from_ns.max(to_ns - 60_000_000_000);
        let (returned, requests) = blocking(move || {
            let requests = generator.between(begin_ns, to_ns, events as u64);
            Ok((generator, requests))
        })
        .await?;
        generator = returned;
        for request in requests {
            source.send(request).await?;
        }
        from_ns = to_ns;
    }
}
