//! How do a client and the server agree on an encrypted connection?
//!
//! ```text
//! client: SSLRequest  ◀─ S   TLS, then the session                    what every client does
//! client: TLS at once, then the session                              psql 17 with sslnegotiation=direct
//! client: GSSENCRequest ◀─ N, and it asks for TLS or leaves
//! client: CancelRequest                                              without encryption, by older clients
//! client: anything else ◀─ an error, as it would be read by others
//! ```

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::cancel::Cancels;
use super::failure::{Failure, Report};
use crate::server::port::{Tls, Wire};

/// First byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// Length of a request without content, and its codes.
const REQUEST_BYTES: u32 = 8;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// Length and code of a request to cancel: a process number and a secret follow.
const CANCEL_BYTES: u32 = 16;
const CANCEL_REQUEST: u32 = 80_877_102;
/// Most requests before the session: for GSSAPI, then for TLS.
const REQUESTS_MAX: usize = 2;

/// Agrees on encryption; `None` if the client leaves or wants no session. Fails, and tells the client why, if it wants
/// no encryption.
pub(super) async fn agree(
    mut stream: TcpStream,
    tls: &Tls,
    cancels: &Cancels,
) -> Result<Option<TlsStream<TcpStream>>, Failure> {
    for _ in 0..REQUESTS_MAX {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first == [TLS_HANDSHAKE] {
            return Ok(Some(tls.acceptor(Wire::Postgres).accept(stream).await?));
        }
        match (stream.read_u32().await?, stream.read_u32().await?) {
            (REQUEST_BYTES, SSL_REQUEST) => {
                stream.write_all(b"S").await?;
                return Ok(Some(tls.acceptor(Wire::Postgres).accept(stream).await?));
            }
            (REQUEST_BYTES, GSSENC_REQUEST) => stream.write_all(b"N").await?,
            (CANCEL_BYTES, CANCEL_REQUEST) => {
                let (process, secret) = (stream.read_i32().await?, stream.read_i32().await?);
                cancels.cancel((process, secret));
                return Ok(None);
            }
            _ => break,
        }
    }
    let report = Report::new("28000", "this server wants encrypted connections: sslmode=require");
    let mut bytes = BytesMut::new();
    report
        .response("FATAL")
        .encode(&mut bytes)
        .map_err(|e| Failure::protocol(format!("an error cannot be written: {e}")))?;
    stream.write_all(&bytes).await?;
    Ok(None)
}
