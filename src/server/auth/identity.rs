//! What is a client called, and what may it do?

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// A right of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Send telemetry.
    Write,
    /// Read all data, and see the state of the server.
    Read,
    /// Everything.
    Admin,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Admin];

    /// Name in the key file and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Set of rights. Whoever has [`Right::Admin`] has all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// Every right.
    pub const ALL: Self = Self(Right::Admin.bit());

    /// True if `right` is included.
    pub const fn has(self, right: Right) -> bool {
        self.0 & (right.bit() | Right::Admin.bit()) != 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | right.bit()))
    }
}

/// A client: its name and its rights. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Identity {
    /// Name of its key; none if no keys are needed.
    name: Option<Arc<str>>,
    rights: Rights,
}

impl Identity {
    /// A client of a server that needs no keys: it may do everything.
    pub(in crate::server) fn anonymous() -> Self {
        Self { name: None, rights: Rights::ALL }
    }

    /// A client that need not say who it is, as it asks for nothing that needs a right.
    pub(in crate::server) fn nobody() -> Self {
        Self { name: None, rights: Rights::default() }
    }

    /// Name of its key; `None` if it has none.
    pub(in crate::server) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The holder of a key.
    pub(super) fn of_key(name: &str, rights: Rights) -> Self {
        Self { name: Some(name.into()), rights }
    }

    /// The holder of a key, for tests of other modules.
    #[cfg(test)]
    pub(in crate::server) fn named(name: &str, rights: impl IntoIterator<Item = Right>) -> Self {
        Self::of_key(name, rights.into_iter().collect())
    }

    /// Fails with [`ErrorKind::Forbidden`] if it does not have `right`.
    pub(in crate::server) fn must_have(&self, right: Right) -> Result<()> {
        if self.rights.has(right) {
            return Ok(());
        }
        let message = match &self.name {
            Some(name) => format!("the key {name:?} does not have the right {}", right.name()),
            None => format!("a key with the right {} is needed", right.name()),
        };
        Err(Error::new(ErrorKind::Forbidden, message))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name:?}"),
            None => f.write_str("anonymous"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_admin_has_rights_that_it_was_not_given() {
        for given in Right::ALL {
            let rights = Rights::from_iter([given]);
            for right in Right::ALL {
                assert_eq!(rights.has(right), given == right || given == Right::Admin, "{given:?} {right:?}");
            }
        }
        assert!(!Rights::default().has(Right::Read));
        let error =
            Identity::of_key("ci", Rights::from_iter([Right::Write])).must_have(Right::Read).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Forbidden, "the key \"ci\" does not have the right read")
        );
        Identity::anonymous().must_have(Right::Admin).unwrap();
    }
}
