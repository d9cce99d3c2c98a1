//! What is a key?
//!
//! `bl_1f2e3d4c_…`: a public id of 8 hexadecimal digits, which finds the key in the file, and a secret of 64, which
//! are 256 random bits. A secret that nobody can guess needs no slow hash, so the file has its salted SHA-256.

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Error, ErrorKind, Result};

const PREFIX: &str = "bl_";
const ID_DIGITS: usize = 8;
const SECRET_DIGITS: usize = 64;

/// A key as its owner has it.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    /// Public part.
    pub(super) id: &'a str,
    secret: &'a str,
}

impl<'a> Key<'a> {
    /// Parses a key; `None` if `text` does not have its form.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.trim().strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = id.len() == ID_DIGITS && secret.len() == SECRET_DIGITS && is_hex(id) && is_hex(secret);
        fits.then_some(Self { id, secret })
    }

    /// Hash of the secret with `salt`.
    pub(super) fn hash(&self, salt: &str) -> String {
        hash(&[salt, self.secret])
    }

    /// True if `hash` is that of this key. Takes the same time whatever the secret is.
    pub(super) fn has_hash(&self, salt: &str, hash: &str) -> bool {
        self.hash(salt).as_bytes().ct_eq(hash.as_bytes()).into()
    }
}

/// Makes the text of a new key.
pub(super) fn generate() -> Result<String> {
    Ok(format!("{PREFIX}{}_{}", random::<{ ID_DIGITS / 2 }>()?, random::<{ SECRET_DIGITS / 2 }>()?))
}

/// Random bytes of the system, in hexadecimal digits.
pub(super) fn random<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| Error::new(ErrorKind::Unavailable, "the system has no random numbers").with_source(e))?;
    Ok(hex::encode(bytes))
}

/// SHA-256 of the texts, one after the other, in hexadecimal digits.
pub(super) fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_only_their_own_hash_fits() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, other);
        let (one, other) = (Key::parse(&one).unwrap(), Key::parse(&other).unwrap());
        let hash = one.hash("salt");
        assert!(one.has_hash("salt", &hash));
        assert!(!one.has_hash("pepper", &hash) && !other.has_hash("salt", &hash));
        assert!(!hash.contains(one.secret) && hash.len() == 64);
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(hash(&["a", "bc"]), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn other_texts_are_not_keys() {
        let key = generate().unwrap();
        assert!(Key::parse(&format!(" {key}\n")).is_some(), "spaces of a copied key do not matter");
        for wrong in [
            "",
            "bl_",
            "bl__",
            "bl_1f2e3d4c_",
            &key[1..],
            &key[..key.len() - 1],
            &key.to_uppercase(),
            &format!("{key}0"),
        ] {
            assert!(Key::parse(wrong).is_none(), "{wrong}");
        }
    }
}
