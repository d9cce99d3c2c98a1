//! How does a tail go over a WebSocket? Each line is a text message; the client may send changes:
//!
//! ```jsonc
//! {"credit": 1000}
//! {"pause": true}
//! ```
//!
//! The connection is closed after a problem, after a message that is none of these, and when the client does not take a
//! message for [`SENDING_MAX`].

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::super::answer::{Problem, Refusal};
use super::super::gate::Caller;
use super::feed::{self, Change, Changes, Tail};
use crate::error::{Error, Result};

/// Largest message of a client, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Longest time that a client takes to receive a message.
const SENDING_MAX: Duration = Duration::from_secs(30);

/// Changes that wait until the tail looks at them. A client that sends more is ended.
const CHANGES_MAX: usize = 64;

/// Answers with a WebSocket that carries the messages of `tail`.
pub(super) fn open(upgrade: WebSocketUpgrade, caller: Caller, tail: Result<Tail>) -> Response {
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| carry(socket, caller, tail))
}

async fn carry(mut socket: WebSocket, caller: Caller, tail: Result<Tail>) {
    let ended = match tail {
        Ok(tail) => exchange(&mut socket, &caller, tail).await,
        Err(error) => Err(Some(error.into())),
    };
    let (code, reason) = match &ended {
        Ok(()) => (close_code::NORMAL, ""),
        Err(Some(refusal)) if refusal.retry_after().is_some() => (close_code::AGAIN, "busy"),
        Err(Some(_)) => (close_code::POLICY, "refused"),
        Err(None) => return,
    };
    if let Err(Some(refusal)) = ended {
        let problem = json!({ "problem": Problem::from(refusal).body() });
        if send(&mut socket, problem.to_string()).await.is_err() {
            return;
        }
    }
    let close = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
    // A client that has left needs no farewell.
    let _ = tokio::time::timeout(SENDING_MAX, socket.send(close)).await;
}

/// Carries messages both ways until one side ends. The error is `None` if the client has left.
async fn exchange(socket: &mut WebSocket, caller: &Caller, tail: Tail) -> Result<(), Option<Refusal>> {
    let (to, changes) = mpsc::channel(CHANGES_MAX);
    let mut items = feed::begin(caller, tail, Changes::of(changes)).await.map_err(Some)?.items;
    loop {
        tokio::select! {
            item = items.next() => {
                let Some(item) = item else { return Ok(()) };
                for line in item.map_err(|e| Some(e.into()))?.lines() {
                    send(socket, line.to_owned()).await.map_err(|()| None)?;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let change = change(&text).map_err(|e| Some(e.into()))?;
                    to.try_send(change).map_err(|_| Some(too_many().into()))?;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_))) => return Err(Some(wrong("bytes").into())),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(None),
            },
        }
    }
}

/// Sends a message. Fails if the client has left, or does not take it.
async fn send(socket: &mut WebSocket, text: String) -> std::result::Result<(), ()> {
    let sent = tokio::time::timeout(SENDING_MAX, socket.send(Message::Text(text.into()))).await;
    sent.map_err(drop)?.map_err(drop)
}

fn change(text: &str) -> Result<Change> {
    serde_json::from_str(text).map_err(|e| wrong(&e).with_source(e))
}

fn wrong(found: impl std::fmt::Display) -> Error {
    Error::invalid(format!("a message is {{\"credit\": 1000}} or {{\"pause\": true}}, not {found}"))
}

fn too_many() -> Error {
    Error::invalid(format!("more than {CHANGES_MAX} messages came at once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_changes_and_nothing_else() {
        assert_eq!(change("{\"credit\": 7}").unwrap(), Change::Credit(7));
        assert_eq!(change("{\"pause\": true}").unwrap(), Change::Pause(true));
        for wrong in
            ["", "7", "{}", "{\"credit\": -1}", "{\"credit\": 1, \"pause\": true}", "{\"where\": \"a\"}"]
        {
            assert!(change(wrong).is_err(), "{wrong}");
        }
    }
}
