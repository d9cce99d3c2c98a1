//! Does decoding return a result for any bytes, and can the decoded events be encoded again?

use proptest::prelude::*;
use prost::Message as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Encoding, RequestKind, decode, encode_batch, traces_json};
use super::NOW_NS;
use super::generate::Generator;

fn survives(encoding: Encoding, bytes: &[u8]) {
    for kind in RequestKind::ALL {
        if let Ok(ingested) = decode(kind, encoding, bytes, NOW_NS) {
            encode_batch(&ingested.batch).unwrap();
        }
    }
}

/// Flips, drops, repeats and inserts bytes.
fn mutate(bytes: &mut Vec<u8>, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..rng.random_range(1..8) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..(at + rng.random_range(1..9)).min(bytes.len()))),
            3 => bytes.insert(at, rng.random()),
            _ => {
                let part = bytes[at..(at + 20).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survives(Encoding::Protobuf, &bytes);
        survives(Encoding::Json, &bytes);
    }

    #[test]
    fn damaged_protobuf(seed: u64) {
        let mut generator = Generator::new(seed);
        for mut bytes in [
            generator.traces().encode_to_vec(),
            generator.logs().encode_to_vec(),
            generator.metrics().encode_to_vec(),
        ] {
            mutate(&mut bytes, seed);
            survives(Encoding::Protobuf, &bytes);
        }
    }

    #[test]
    fn damaged_json(seed: u64) {
        let mut generator = Generator::new(seed);
        for mut bytes in [
            traces_json(&generator.traces()).into_bytes(),
            serde_json::to_vec(&generator.logs()).unwrap(),
            serde_json::to_vec(&generator.metrics()).unwrap(),
        ] {
            mutate(&mut bytes, seed);
            survives(Encoding::Json, &bytes);
        }
    }
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    // An AnyValue that holds an array of one AnyValue, and so on.
    let mut value: Vec<u8> = Vec::new();
    for _ in 0..5_000 {
        for field in [1, 5] {
            let mut outer = vec![field << 3 | 2];
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.append(&mut value);
            value = outer;
        }
    }
    let wrap = |field: u8, inner: &[u8]| {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend_from_slice(inner);
        outer
    };
    let bytes = wrap(1, &wrap(2, &wrap(2, &wrap(5, &value))));
    let ingested = decode(RequestKind::Logs, Encoding::Protobuf, &bytes, NOW_NS).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (0, 1));

    let json = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{}{}}}]}}]}}]}}"#,
        r#"{"arrayValue":{"values":["#.repeat(5_000),
        "]}}".repeat(5_000)
    );
    assert!(decode(RequestKind::Logs, Encoding::Json, json.as_bytes(), NOW_NS).is_err());
}
