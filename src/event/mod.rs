//! What is an event?
//!
//! One span, span event, log record or metric point is one wide event: core columns with fixed names and types
//! ([`schema`]), and any number of undeclared attributes. An attribute is identified by its level and key
//! ([`AttributeKey`]); its value has one of six types ([`AttributeType`]).
//!
//! ```text
//!            core columns (dense)              attributes (sparse: row numbers + values)
//!         timestamp signal trace_id …      record http.route Text      resource service.name Text
//!   row 0     …      span    4bf9…         rows 0,2 → "/cart", "/pay"   rows 0,1,2 → "web", "web", "pay"
//!   row 1     …      log     4bf9…         record http.route Int
//!   row 2     …      span    91c0…         rows 1 → 404
//! ```
//!
//! An [`EventBatch`] is the unit that producers send and that the log, the buffer and the segment writer
//! handle. It stores values of one key with different types side by side; absent values cost nothing; it needs
//! no declared schema. Later, [`physical`] decides per segment which keys get a Parquet column. [`key`] and
//! [`KeyDictionary`] map SQL names to keys.
//!
//! Everything here is pure: no I/O, no clock, no async.

mod id;
pub mod key;
mod value;
pub mod typed_json;
pub mod plain_json;
pub mod schema;
mod core_event;
pub mod severity;
mod sparse;
mod builder;
mod batch;
pub mod ipc;
mod codec;
mod concat;
pub mod overflow;
pub mod physical;
mod dictionary;

pub use batch::{AttributeColumn, EventBatch, TimeRange};
pub use builder::{EventBatchBuilder, KeyId};
pub use core_event::{CoreEvent, Exemplar, Link, NumberValue, Signal};
pub use dictionary::{KeyDictionary, SqlAttribute};
pub use id::{SpanId, TraceId};
pub use key::{AttributeKey, Level};
pub use value::{AttributeType, TypeSet, Value, is_wide};
