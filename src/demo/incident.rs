//! The planted incident: what went wrong, where, and what names the cause.
//!
//! In the region `eu-west` the service `payment` was rolled out in a new version. It reads stored
//! payment methods by the token of the phone's wallet, for clients whose wallet sends one: iOS 17. The
//! table `payment_methods` has no index on that token, so each such query reads the whole table, and
//! `POST /checkout` of these visitors takes twenty times as long at the 99th percentile. Everybody else
//! is served as before, so averages hardly move.
//!
//! What tells the tale: the root span's duration with the visitor's `os.name`, `os.version` and the
//! `cloud.region` of the pods; the `service.version` of `payment`; the slow database span; and a WARN
//! log of `payment` in the same trace, which names the missing index.
//!
//! Two harmless roll-outs ([`ROLLOUTS`]) happen as well, so that "what was deployed" alone is no answer.

use super::latency::Latency;

/// Service that carries the defect.
pub const SERVICE: &str = "payment";
/// Only region where the defective version was rolled out.
pub const REGION: &str = "eu-west";
/// `os.name` of the affected visitors.
pub const OS_NAME: &str = "iOS";
/// Major version in `os.version` of the affected visitors.
pub const OS_MAJOR: &str = "17";
/// The route whose percentile alarms.
pub const ROUTE: &str = "/checkout";
/// Version of [`SERVICE`] before the roll-out, and everywhere else after it.
pub const VERSION_BEFORE: &str = "4.11.2";
/// The defective version.
pub const VERSION_AFTER: &str = "4.12.0";
/// Table that is read from end to end.
pub const TABLE: &str = "payment_methods";
/// The index that is not there; the WARN log names it.
pub const MISSING_INDEX: &str = "payment_methods_wallet_token_idx";
/// Rows that each such query reads.
pub(super) const TABLE_ROWS: u64 = 14_802_331;

/// Share of the corpus that passes before the roll-out.
pub(super) const BEGINS_AT: f64 = 0.6;

/// Time of the slow query.
pub(super) fn slow_query() -> Latency {
    Latency::new(5_200_000, 0.3)
}

/// A change of version: service, region (empty: all), share of the corpus that passes before it, version.
pub(super) struct Rollout {
    pub(super) service: &'static str,
    pub(super) region: &'static str,
    pub(super) at: f64,
    pub(super) version: &'static str,
}

/// All changes of version, the defective one included.
pub(super) static ROLLOUTS: &[Rollout] = &[
    Rollout { service: "catalog", region: "", at: 0.35, version: "14.9.1" },
    Rollout { service: SERVICE, region: REGION, at: BEGINS_AT, version: VERSION_AFTER },
    Rollout { service: "search", region: "us-east", at: 0.62, version: "7.4.0" },
];
