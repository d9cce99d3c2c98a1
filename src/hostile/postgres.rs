//! Decoders of messages of PostgreSQL's protocol, and of the values in them.

use crate::server;

/// Decodes packets of a beginning if the first byte is 0, else messages.
pub(super) fn message(bytes: &[u8]) {
    server::decode_messages(bytes);
}

/// Decodes a value as every type: the first byte is its format, the next four its type.
pub(super) fn parameter(bytes: &[u8]) {
    server::decode_parameter(bytes);
}
