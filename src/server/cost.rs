//! What did a statement read? The object `cost` in answers.
//!
//! ```jsonc
//! {"elapsed_ms": 412, "segments": 18, "segments_total": 240, "rows_read": 1000000, "bytes_read": 96000000}
//! ```

use std::time::Duration;

use serde_json::{Value, json};

use crate::query::ReadCounts;

/// Cost of a statement that has run for `elapsed` and has read `read`.
pub(super) fn cost(elapsed: Duration, read: ReadCounts) -> Value {
    json!({
        "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "segments": read.segments,
        "segments_total": read.segments_total,
        "rows_read": read.rows,
        "bytes_read": read.bytes,
    })
}
