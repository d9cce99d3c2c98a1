//! How do messages arrive and leave?
//!
//! ```text
//! first packets:  length (4, itself included) | code or version (4) | …
//! afterwards:     type (1) | length (4, itself included) | …
//! ```
//!
//! A frame is cut here, within limits, and decoded when it is whole: `pgwire` reads counts and texts beyond the end of
//! a message, and panics where there is nothing. What it answers then is an error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::Timer;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::Failure;
use crate::error::contained;
use crate::server::port::{Activity, Clock, OpenRequest};

/// Most bytes of a message: a statement with its parameters, as over HTTP.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Most bytes of a packet before the session has begun, as in PostgreSQL.
const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest time without a byte of a message that has begun.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest time that an answer waits for its client to read.
const UNREAD_MAX: Duration = Duration::from_mins(2);
/// Bytes of answers that are collected before they are written.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 8 << 10;

/// A packet before the session has begun.
#[derive(Debug)]
pub(super) enum Opening {
    /// The client would like an encrypted connection.
    Encryption,
    /// Begin a session, or end a question of another.
    Message(PgWireFrontendMessage),
}

/// Messages of the client.
#[derive(Debug)]
pub(super) struct Incoming<R> {
    reader: R,
    bytes: BytesMut,
    clock: Clock,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads messages from `reader`.
    pub(super) fn new(reader: R, clock: Clock) -> Self {
        Self { reader, bytes: BytesMut::new(), clock }
    }

    /// The next packet before the session has begun; `None` when the client has left.
    pub(super) async fn opening(&mut self) -> Result<Option<Opening>, Failure> {
        loop {
            if let Some(opening) = cut_opening(&mut self.bytes)? {
                return Ok(Some(opening));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message; `None` when the client has left. Cancel-safe.
    pub(super) async fn message(&mut self) -> Result<Option<PgWireFrontendMessage>, Failure> {
        loop {
            if let Some(message) = cut_message(&mut self.bytes)? {
                return Ok(Some(message));
            }
            let has_begun = !self.bytes.is_empty();
            let silence = self.clock.sleep(SILENCE_MAX);
            tokio::select! {
                read = self.reader.read_buf(&mut self.bytes) => if read? == 0 { return Ok(None) },
                () = silence, if has_begun => return Err(Failure::silent(SILENCE_MAX)),
            }
        }
    }

    /// Returns when the client has left. Reads on meanwhile, up to a limit: messages may follow each other without
    /// waiting. Cancel-safe.
    pub(super) async fn gone(&mut self) {
        while self.bytes.len() < MESSAGE_BYTES_MAX {
            match self.read().await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.bytes.reserve(READ_BYTES);
        self.reader.read_buf(&mut self.bytes).await
    }
}

fn context(is_startup: bool) -> DecodeContext {
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = is_startup;
    context
}

/// Takes a whole packet of the beginning from `bytes`.
fn cut_opening(bytes: &mut BytesMut) -> Result<Option<Opening>, Failure> {
    use pgwire::messages::startup::{GssEncRequest, SslRequest};
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(Failure::protocol(format!(
            "a first packet of {length} bytes is not PostgreSQL's protocol"
        )));
    }
    if rest.len() + 4 < length {
        return Ok(None);
    }
    let mut frame = bytes.split_to(length);
    if SslRequest::is_ssl_request_packet(&frame) || GssEncRequest::is_gss_enc_request_packet(&frame) {
        return Ok(Some(Opening::Encryption));
    }
    decode(&mut frame, true).map(|message| Some(Opening::Message(message)))
}

/// Takes a whole message from `bytes`.
fn cut_message(bytes: &mut BytesMut) -> Result<Option<PgWireFrontendMessage>, Failure> {
    let Some((head, rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if length < 4 {
        return Err(Failure::protocol(format!("a message cannot have {length} bytes")));
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(Failure::too_large(length, MESSAGE_BYTES_MAX));
    }
    if rest.len() + 4 < length {
        return Ok(None);
    }
    let mut frame = bytes.split_to(length + 1);
    // Statements and names are read as UTF-8, and `pgwire` would replace what is not.
    let texts = match kind {
        b'Q' => 1,
        b'P' | b'B' => 2,
        _ => 0,
    };
    let mut left = &frame[5..];
    for _ in 0..texts {
        let end = left.iter().position(|byte| *byte == 0).unwrap_or(left.len());
        if std::str::from_utf8(&left[..end]).is_err() {
            return Err(Failure::not_utf8());
        }
        left = left.get(end + 1..).unwrap_or_default();
    }
    decode(&mut frame, false).map(Some)
}

fn decode(frame: &mut BytesMut, is_startup: bool) -> Result<PgWireFrontendMessage, Failure> {
    let context = context(is_startup);
    let decoded = contained(|| Ok(PgWireFrontendMessage::decode(frame, &context)));
    match decoded {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Failure::protocol("a message ends before its content".to_owned())),
        Ok(Err(error)) => Err(Failure::protocol(error.to_string())),
        Err(_) => Err(Failure::protocol("a message does not have the content that it announces".to_owned())),
    }
}

/// Decodes everything in `bytes`: packets of a beginning, or messages, as the first byte says.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_all(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut rest = BytesMut::from(rest);
    if *first == 0 {
        while let Ok(Some(_)) = cut_opening(&mut rest) {}
    } else {
        while let Ok(Some(_)) = cut_message(&mut rest) {}
    }
}

/// Messages to the client.
#[derive(Debug)]
pub(super) struct Outgoing<W> {
    writer: W,
    bytes: BytesMut,
    activity: Arc<Activity>,
    open: Option<Arc<OpenRequest>>,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    /// Writes messages to `writer`.
    pub(super) fn new(writer: W, activity: Arc<Activity>) -> Self {
        Self { writer, bytes: BytesMut::new(), activity, open: None }
    }

    /// Marks that the server works on a message, until [`rest`](Self::rest).
    pub(super) fn work(&mut self) {
        self.open.get_or_insert_with(|| self.activity.begin());
    }

    /// Marks that the server waits for the next message.
    pub(super) fn rest(&mut self) {
        self.open = None;
    }

    /// Adds a message.
    pub(super) fn put(&mut self, message: impl Into<PgWireBackendMessage>) -> Result<(), Failure> {
        message.into().encode(&mut self.bytes).map_err(|error| Failure::Gone(io::Error::from(error)))
    }

    /// Adds a byte.
    pub(super) fn put_byte(&mut self, byte: u8) {
        self.bytes.extend_from_slice(&[byte]);
    }

    /// Adds encoded messages; writes when enough have been collected.
    pub(super) async fn put_encoded(&mut self, messages: &Bytes) -> Result<(), Failure> {
        self.bytes.extend_from_slice(messages);
        if self.bytes.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes everything. Fails when the client reads nothing for [`UNREAD_MAX`].
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        if let Some(open) = &self.open {
            open.wait();
        }
        while self.bytes.has_remaining() {
            let unread = self.activity.clock.sleep(UNREAD_MAX);
            tokio::select! {
                written = self.writer.write_buf(&mut self.bytes) => if written? == 0 {
                    return Err(Failure::Gone(io::ErrorKind::WriteZero.into()));
                },
                () = unread => return Err(Failure::Gone(io::ErrorKind::TimedOut.into())),
            }
        }
        self.writer.flush().await?;
        if let Some(open) = &self.open {
            open.work();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    fn cut(bytes: &[u8]) -> Result<Option<PgWireFrontendMessage>, Failure> {
        cut_message(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_message_is_taken_when_it_is_whole() {
        let whole = message(b'Q', b"select 1\0");
        for length in 0..whole.len() {
            assert!(cut(&whole[..length]).unwrap().is_none(), "{length}");
        }
        let Some(PgWireFrontendMessage::Query(query)) = cut(&whole).unwrap() else { panic!("not a query") };
        assert_eq!(query.query, "select 1");
    }

    #[test]
    fn what_is_not_a_message_is_an_error() {
        for wrong in [
            message(b'P', b"s\0"),
            message(b'P', b"s\0select 1\0\xff\xff"),
            message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            message(b'B', b"\0"),
            message(b'E', b""),
            message(b'~', b""),
            message(b'Q', b"select '\xff'\0"),
            vec![b'Q', 0, 0, 0, 3],
            vec![b'Q', 0x7f, 0xff, 0xff, 0xff],
        ] {
            assert!(cut(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_does_not_reach_into_the_next() {
        let mut bytes = BytesMut::from(&[message(b'P', b"s\0x\0"), message(b'S', b"")].concat()[..]);
        assert!(cut_message(&mut bytes).is_err());
        assert!(matches!(cut_message(&mut bytes), Ok(Some(PgWireFrontendMessage::Sync(_)))));
    }

    #[test]
    fn a_first_packet_is_small() {
        let mut tls = BytesMut::from(&[0x16, 3, 1, 2, 0, 1, 0, 1][..]);
        assert!(cut_opening(&mut tls).is_err());
        let mut request = BytesMut::from(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f][..]);
        assert!(matches!(cut_opening(&mut request), Ok(Some(Opening::Encryption))));
    }
}
