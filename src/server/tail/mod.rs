//! How does a client watch events come? `GET /v1/tail?source=logs&where=severity_number >= 13&backlog=200`: as messages of
//! a WebSocket, or as lines of JSON where none is asked for.
//!
//! ```jsonc
//! {"columns": [{"name": "timestamp", "type": "timestamp"}, …], "query": "q-5f0c9a1e77b2d310", "sql": "SELECT …", "backlog": 2}
//! {"rows": {"count": 2, "data": [["…", "…"], …]}}
//! {"skipped": {"rows": 12310, "why": "rate"}}
//! {"skipped": {"events": 80000, "why": "behind"}}
//! {"at": "2026-11-29T15:00:03.12Z"}
//! {"problem": {…}}
//! ```
//!
//! | option | means | default |
//! |---|---|---|
//! | `source` | `logs`, `spans` or `events` | `logs` |
//! | `where` | condition in SQL | none |
//! | `backlog` | rows of the last 5 minutes that come first, up to 2,000 | 0 |
//! | `credit` | rows that may come before the client gives more; only of a WebSocket | no limit |
//!
//! Events come in the order of their arrival, a few at a time, in each message by time: an event that is late is there as
//! soon as the server has it. Rows of the backlog come first, and none of them comes again. More than [`RATE_MAX`] rows a
//! second are thinned: the newest are sent, and `skipped` tells how many are not. A client that reads too slowly, has no
//! credit, or pauses, has 16 MiB of events wait for it; `behind` tells of events that were more than that, whether they
//! met the condition or not. `at` comes every 5 s, so that a connection that has broken is noticed.
//!
//! [`feed`] makes the messages, [`socket`] carries them.

mod feed;
mod socket;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;

use super::answer::Problem;
use super::gate::Caller;
use super::queries::set_query;
use super::sql_stream::{MEDIA_TYPE, with_problem};
use crate::error::Error;
use feed::{Changes, Tail};

/// `GET /v1/tail`.
pub(super) async fn get(
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let tail = Tail::parse(uri.query().unwrap_or_default());
    if headers.contains_key(header::UPGRADE) {
        let upgrade =
            upgrade.map_err(|e| Error::invalid(format!("this is no WebSocket: {e}")).with_source(e))?;
        // A browser shows its page no status of a refused WebSocket, so the problem is a message.
        return Ok(socket::open(upgrade, caller, tail));
    }
    let tail = tail?;
    if tail.has_credit() {
        return Err(Error::invalid(
            "credit is given over a WebSocket; lines are read as fast as the client can",
        )
        .into());
    }
    let answer = feed::begin(&caller, tail, Changes::none()).await?;
    let mut response = Response::new(with_problem(answer.items.map(|item| item.map(Bytes::from))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    set_query(&mut response, answer.id);
    Ok(response)
}
