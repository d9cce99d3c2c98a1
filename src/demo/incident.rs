//! Which incident is planted in the corpus, and which events show its cause?
//!
//! In the region `eu-west`, a new version of the service `payment` is rolled out. If the client's wallet sends
//! a token, as on iOS 17, the new version reads stored payment methods by that token. The table
//! `payment_methods` has no index on the token, so each such query reads the whole table, and `POST /checkout`
//! of these visitors takes twenty times as long at the 99th percentile. For all others nothing changes, so
//! averages hardly move.
//!
//! The evidence: the root span's duration with the visitor's `os.name` and `os.version` and the pods'
//! `cloud.region`; the `service.version` of `payment`; the slow database span; and a WARN log of `payment` in
//! the same trace, which names the missing index.
//!
//! Two harmless roll-outs ([`ROLLOUTS`]) also happen, so that "what was deployed?" alone does not find the cause.

use super::latency::Latency;

/// Service with the defect.
pub const SERVICE: &str = "payment";
/// Only region where the defective version was rolled out.
pub const REGION: &str = "eu-west";
/// `os.name` of the affected visitors.
pub const OS_NAME: &str = "iOS";
/// Major version in `os.version` of the affected visitors.
pub const OS_MAJOR: &str = "17";
/// Route with the alarming percentile.
pub const ROUTE: &str = "/checkout";
/// Version of [`SERVICE`] before the roll-out, and in the other regions also after it.
pub const VERSION_BEFORE: &str = "4.11.2";
/// Defective version.
pub const VERSION_AFTER: &str = "4.12.0";
/// Table that each slow query reads completely.
pub const TABLE: &str = "payment_methods";
/// Missing index; the WARN log names it.
pub const MISSING_INDEX: &str = "payment_methods_wallet_token_idx";
/// Rows that each slow query reads.
pub(super) const TABLE_ROWS: u64 = 14_802_331;

/// Start of the roll-out, as a share of the corpus's time.
pub(super) const BEGINS_AT: f64 = 0.6;

/// Latency of the slow query.
pub(super) fn slow_query() -> Latency {
    Latency::new(5_200_000, 0.3)
}

/// A change of version.
pub(super) struct Rollout {
    pub(super) service: &'static str,
    /// Empty for all regions.
    pub(super) region: &'static str,
    /// Time of the roll-out, as a share of the corpus's time.
    pub(super) at: f64,
    pub(super) version: &'static str,
}

/// All changes of version, including the defective one.
pub(super) static ROLLOUTS: &[Rollout] = &[
    Rollout { service: "catalog", region: "", at: 0.35, version: "14.9.1" },
    Rollout { service: SERVICE, region: REGION, at: BEGINS_AT, version: VERSION_AFTER },
    Rollout { service: "search", region: "us-east", at: 0.62, version: "7.4.0" },
];
