//! How is a compressed message unpacked?
//!
//! The unpacked size is limited, so that a small body cannot fill the memory.

use std::io::Read;

use bytes::Bytes;

use super::budget::Reservation;
use crate::error::{Error, ErrorKind, Result};

/// Compression of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Compression {
    /// No compression.
    Identity,
    /// gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
}

/// Largest Zstandard window that is unpacked, as a power of two: 32 MiB. Senders use far less (8 MiB at level 19),
/// and the window is memory that a body of a few bytes can claim.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Bytes unpacked between two checks of the limits.
const UNPACK_STEP_BYTES: usize = 64 << 10;

impl Compression {
    /// Unpacks `body` to at most `bytes_max` bytes, and grows `reservation` by them. Fails with
    /// [`ErrorKind::TooLarge`] if there are more, and with [`ErrorKind::InvalidInput`] if the bytes are not in the
    /// declared compression.
    pub(super) fn unpack(
        self,
        body: Bytes,
        bytes_max: usize,
        reservation: &mut Reservation,
    ) -> Result<Bytes> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read_limited(flate2::read::MultiGzDecoder::new(&body[..]), bytes_max, reservation),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(damaged)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
                read_limited(decoder, bytes_max, reservation)
            }
        }
    }
}

/// Unpacks `body` by every compression in which it is valid.
#[cfg(any(test, fuzzing))]
pub(crate) fn unpack_all(body: &Bytes, bytes_max: usize) -> Vec<Bytes> {
    let budget = super::budget::Budget::new(super::budget::MESSAGES, bytes_max);
    let unpack = |compression: Compression| {
        compression.unpack(body.clone(), bytes_max, &mut budget.reservation()).ok()
    };
    [Compression::Identity, Compression::Gzip, Compression::Zstd].into_iter().filter_map(unpack).collect()
}

fn damaged(error: std::io::Error) -> Error {
    Error::invalid(format!("the body is not compressed as its headers declare: {error}")).with_source(error)
}

fn read_limited(mut from: impl Read, bytes_max: usize, reservation: &mut Reservation) -> Result<Bytes> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        let read = from.by_ref().take(UNPACK_STEP_BYTES as u64).read_to_end(&mut out).map_err(damaged)?;
        if read == 0 {
            return Ok(out.into());
        }
        if out.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        reservation.grow(out.len() - before)?;
    }
}

/// The error of a message that is larger than `bytes_max`, packed or unpacked.
pub(super) fn too_large(bytes_max: usize) -> Error {
    let message = format!("the message is larger than message-max ({bytes_max} bytes); send smaller batches");
    Error::new(ErrorKind::TooLarge, message)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::budget::{Budget, MESSAGES};
    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn bodies_come_out_as_they_went_in() {
        let budget = Budget::new(MESSAGES, 1 << 20);
        let text = Bytes::from(b"wide events ".repeat(10_000));
        for (compression, packed) in [
            (Compression::Identity, text.clone()),
            (Compression::Gzip, gzip(&text)),
            (Compression::Zstd, zstd::encode_all(&text[..], 1).unwrap().into()),
        ] {
            let mut reservation = budget.reservation();
            assert_eq!(
                compression.unpack(packed, 1 << 20, &mut reservation).unwrap(),
                text,
                "{compression:?}"
            );
        }
        let two_members = [gzip(b"ab"), gzip(b"cd")].concat().into();
        assert_eq!(Compression::Gzip.unpack(two_members, 100, &mut budget.reservation()).unwrap(), "abcd");
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_the_memory() {
        let budget = Budget::new(MESSAGES, 1 << 30);
        let bomb = gzip(&vec![0; 20 << 20]);
        assert!(bomb.len() < 1 << 20, "small enough, as long as it is packed: {}", bomb.len());
        let mut reservation = budget.reservation();
        let refused = Compression::Gzip.unpack(bomb, 1 << 20, &mut reservation).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooLarge);
        assert!(budget.bytes() <= 1 << 20, "{}", budget.bytes());
    }

    #[test]
    fn damaged_bodies_are_the_clients_mistake() {
        let budget = Budget::new(MESSAGES, 1 << 20);
        let cut = gzip(b"some text that is cut off").slice(..20);
        for (compression, body) in [(Compression::Gzip, cut), (Compression::Zstd, Bytes::from_static(b"no"))]
        {
            let refused = compression.unpack(body, 1 << 20, &mut budget.reservation()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{compression:?}");
        }
    }
}
