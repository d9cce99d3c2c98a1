//! Decoders of messages from producers, and of imported files.

use bytes::Bytes;

use crate::cli::import;
use crate::event::{EventBatch, plain_json, typed_json};
use crate::ingest::csv::CsvLayout;
use crate::ingest::fields::FieldMap;
use crate::ingest::otlp::{self, Encoding, RequestKind};
use crate::ingest::{Decoded, csv, jaeger, ndjson};
use crate::server;

const NOW_NS: i64 = 1_700_000_000_000_000_000;

/// Limit for decompressed bodies, in bytes.
const UNPACKED_BYTES_MAX: usize = 1 << 20;

pub(super) fn otlp_protobuf(bytes: &[u8]) {
    otlp(Encoding::Protobuf, bytes);
}

pub(super) fn otlp_json(bytes: &[u8]) {
    otlp(Encoding::Json, bytes);
}

/// Decodes the bytes as each kind of request. Accepted events must survive encoding and decoding, with none
/// rejected.
fn otlp(encoding: Encoding, bytes: &[u8]) {
    for kind in RequestKind::ALL {
        let Ok(ingested) = otlp::decode(kind, encoding, bytes, NOW_NS) else { continue };
        stored_is_the_same(&ingested.batch);
        let sent = otlp::encode_batch(&ingested.batch).expect("what was decoded can be encoded");
        let again = [otlp::traces(&sent.traces, NOW_NS), otlp::logs(&sent.logs, NOW_NS)];
        for again in again.into_iter().chain([otlp::metrics(&sent.metrics, NOW_NS)]) {
            let again = again.expect("what we encode can be decoded");
            assert_eq!(again.rejected.count(), 0, "{}", again.rejected.message());
            stored_is_the_same(&again.batch);
        }
    }
}

pub(super) fn ndjson(bytes: &[u8]) {
    let map = FieldMap::default();
    took(bytes, ndjson::decode_lines(bytes, &map, NOW_NS));
    took(bytes, ndjson::decode_values(bytes, &map, NOW_NS));
}

pub(super) fn csv(bytes: &[u8]) {
    let sniffed = CsvLayout::sniff_delimiter(bytes);
    for complete in [false, true] {
        let Ok(layout) = CsvLayout::infer(bytes, sniffed.unwrap_or(b','), complete) else { continue };
        let rest = bytes.get(layout.header_bytes..).expect("a header is a part of the sample");
        took(rest, csv::decode(rest, &layout, &FieldMap::default(), NOW_NS));
    }
}

pub(super) fn jaeger(bytes: &[u8]) {
    took(bytes, jaeger::decode(bytes));
}

/// Detects the format, decompresses, splits into records, and decodes them.
pub(super) fn import(bytes: &[u8]) {
    import::decode_file(bytes.to_vec(), NOW_NS, stored_is_the_same);
}

/// Decompresses the bytes as a request body, with every compression.
pub(super) fn unpack(bytes: &[u8]) {
    for unpacked in server::unpack_all(&Bytes::copy_from_slice(bytes), UNPACKED_BYTES_MAX) {
        assert!(unpacked.len() <= UNPACKED_BYTES_MAX.max(bytes.len()), "{} bytes", unpacked.len());
    }
}

pub(super) fn typed_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let plain = plain_json::plain(text);
    assert!(
        plain_json::items(text).is_none() || plain_json::items(&plain).is_some(),
        "a list became something else"
    );
    let Ok(value) = typed_json::parse(text) else { return };
    let written = |value| {
        let mut out = String::new();
        typed_json::write_any(&mut out, Some(value));
        out
    };
    let first = written(&value);
    let again = typed_json::parse(&first).expect("what we write can be read");
    assert_eq!(written(&again), first);
}

/// Checks that the events can be stored, and that refused records are ranges of the input.
fn took(bytes: &[u8], decoded: crate::Result<Decoded>) {
    let Ok(decoded) = decoded else { return };
    stored_is_the_same(&decoded.batch);
    for refused in decoded.refused {
        assert!(bytes.get(refused.bytes).is_some(), "{} is not in the input", refused.reason);
    }
}

/// Checks that a batch survives encoding for the log and decoding.
pub(super) fn stored_is_the_same(batch: &EventBatch) {
    let bytes = batch.encode().expect("a batch can be encoded");
    let again = EventBatch::decode(&bytes).expect("what we encode can be decoded");
    assert!(again.encode().expect("a batch can be encoded") == bytes, "a batch changed on the way");
}
