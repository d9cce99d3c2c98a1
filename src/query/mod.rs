//! SQL over events.

pub mod resolver;
pub mod views;
