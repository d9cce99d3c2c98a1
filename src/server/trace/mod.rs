//! How does a program draw a trace? `GET /v1/traces/{id}/rows` and `GET /v1/traces/{id}/rows/{row}`.
//!
//! The first gives the spans in tree order ([`trees`](crate::query::trees)) as columns, in lines of JSON: a head, so that a page knows how
//! much will come; the records (logs and span events) of the spans; and chunks of rows ([`rows`]). The second gives
//! one span with all that is known of it ([`span`]), by its row or its id. Both are SQL over one trace; their
//! answers say which.
//!
//! Not here: the trace as it was sent, which is `traces.rs`.

mod read;
mod rows;
mod span;

pub(super) use rows::get as rows;
pub(super) use span::get as span;
