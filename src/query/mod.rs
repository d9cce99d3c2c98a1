//! SQL over events.

pub mod resolver;
pub mod views;

pub mod snapshot;

pub use snapshot::ReadSnapshot;
