//! What `explain_diff` was asked, as the function that computes it takes it.

use serde::{Deserialize, Serialize};

/// Unit that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Across {
    /// Rows.
    Rows,
    /// Whole traces.
    Traces,
}

/// A key whose values are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// Name in SQL.
    pub(crate) name: String,
    /// `core`, `record`, `scope`, `resource` or `body`.
    pub(crate) level: String,
    /// Type of its values: that of an attribute, or `mixed`; empty if unknown.
    #[serde(rename = "type")]
    pub(crate) ty: String,
}

/// Options, and the compared keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Unit that is compared.
    pub(crate) across: Across,
    /// Most values of a key in the result.
    pub(crate) values: usize,
    /// Most keys in the result.
    pub(crate) shown: usize,
    /// Compared keys, in the order of their columns.
    pub(crate) keys: Vec<Key>,
}
