//! What does this server hold, and where does it listen? `GET /v1/status`.
//!
//! ```jsonc
//! {"version": "0.2.0", "addresses": {"http": "127.0.0.1:8080", "otlp_grpc": "127.0.0.1:4317", "otlp_http": null, …},
//!  "events": 200000, "last_event": "2026-11-29T15:00:03.12Z", "segments": 4, "segment_bytes": 9000000,
//!  "buffer_events": 312, "attribute_keys": 161, "snapshot": "41"}
//! ```
//!
//! `snapshot` is the version of the catalog; `last_event` is null where there are no events.

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampNanosecondType;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::answer::Problem;
use super::gate::{Caller, Protocol};
use super::port::Port;
use super::state::ServerState;
use crate::error::Error;
use crate::query::Question;

/// `GET /v1/status`.
pub(super) async fn get(caller: Caller, State(state): State<ServerState>) -> Result<Json<Value>, Problem> {
    let last_event = last_event(&caller).await?;
    let stats = caller.stats()?;
    let address = |port| state.addresses.get(port).map(|address| address.to_string());
    let addresses = Port::ALL.iter().map(|port| (port.name().replace('-', "_"), json!(address(*port))));
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "addresses": addresses.collect::<Value>(),
        "events": stats.events,
        "last_event": last_event,
        "segments": stats.segments,
        "segment_bytes": stats.segment_bytes,
        "buffer_events": stats.buffer_events,
        "attribute_keys": stats.attribute_keys,
        "snapshot": stats.catalog_version.to_string(),
    })))
}

async fn last_event(caller: &Caller) -> Result<Option<String>, Problem> {
    let question = Question::sql("select max(timestamp) from events");
    let answer = caller.ask(Protocol::Status, question, |found| found.stream.map_err(Error::from)).await?;
    let mut batches = answer.items;
    let Some(batch) = batches.next().await.transpose()? else { return Ok(None) };
    let last = batch.column(0).as_primitive::<TimestampNanosecondType>();
    let is_known = last.len() == 1 && last.is_valid(0);
    let text = |ns| DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    Ok(is_known.then(|| text(last.value(0))))
}
