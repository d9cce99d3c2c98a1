//! Valid inputs for decoders: small ones of every kind, from `testdata` and from Broadloom's encoders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use roaring::RoaringBitmap;

use super::parts;
use super::storage::{ROWS, runtime, segment_id};
use crate::catalog::{Catalog, Change, Deletion, Keys, WalRange};
use crate::config::{IndexSettings, SystemClock};
use crate::event::{CoreEvent, EventBatch, EventBatchBuilder, Level, Signal, TraceId, Value};
use crate::index::blocks::BlockNames;
use crate::index::postings::PostingsWriter;
use crate::index::run::{RunInput, merge};
use crate::index::sidecar::Sidecar;
use crate::index::{IndexBuilder, RunId, SegmentIndex, ValueHash};
use crate::ingest::otlp::tests::generate::Generator;
use crate::ingest::otlp::{self, RequestKind, traces_json};
use crate::segment::mask::NewMask;
use crate::segment::{self, Built, NewSegment, SegmentMeta};
use crate::wal::{DeliveryId, SequenceNumber, record};

/// Number of generated requests of each kind.
const REQUESTS: u64 = 4;

/// Seeds of a decoder; at least one.
pub(super) fn of(decoder: &str) -> Vec<Vec<u8>> {
    match decoder {
        "otlp-protobuf" => otlp_protobuf(),
        "otlp-json" => otlp_json(),
        "ndjson" => ndjson(),
        "csv" => csv(),
        "jaeger" => jaeger(),
        "import" => import(),
        "unpack" => vec![gzip(b"wide events"), zstd(b"wide events"), [gzip(b"a"), gzip(b"b")].concat()],
        "credentials" => texts(&[
            "Bearer bl_00112233_0011223344556677889900112233445566778899001122334455667788990011",
            "Basic OmJsXzE=\na=b; broadloom_session=00; c",
        ]),
        "typed-json" => texts(&[
            r#"{"a":[1,-2.5e3,true,null,{"$double":"NaN"}],"$$k":{"$bytes":"AAE="}}"#,
            r#""text \u0041\n""#,
            "9223372036854775807",
        ]),
        "batch" => batches().iter().map(|batch| batch.encode().unwrap()).collect(),
        "log-file" => log_files(),
        "segment" => vec![segments(&events(40)).object.to_vec()],
        "mask" => masks(),
        "index" => indexes(),
        "postings" => postings(),
        "run" => runs(),
        "commit" => commits(),
        "checkpoint" => checkpoints(),
        "sql" => sql(),
        "postgres-message" => postgres_messages(),
        "postgres-parameter" => postgres_parameters(),
        other => panic!("{other} has no seeds"),
    }
}

fn testdata(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)).unwrap()
}

/// The first lines of a file.
fn head(path: &str, lines: usize) -> Vec<u8> {
    testdata(path).split_inclusive(|byte| *byte == b'\n').take(lines).flatten().copied().collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn otlp_protobuf() -> Vec<Vec<u8>> {
    let example = |name: &str| {
        let json = testdata(&format!("otlp/{name}"));
        match name {
            "trace.json" => {
                serde_json::from_slice::<ExportTraceServiceRequest>(&json).unwrap().encode_to_vec()
            }
            "metrics.json" => {
                serde_json::from_slice::<ExportMetricsServiceRequest>(&json).unwrap().encode_to_vec()
            }
            _ => serde_json::from_slice::<ExportLogsServiceRequest>(&json).unwrap().encode_to_vec(),
        }
    };
    let mut seeds: Vec<_> = ["trace.json", "logs.json", "events.json", "metrics.json"].map(example).into();
    for seed in 0..REQUESTS {
        let mut generator = Generator::new(seed);
        seeds.push(generator.traces().encode_to_vec());
        seeds.push(generator.logs().encode_to_vec());
        seeds.push(generator.metrics().encode_to_vec());
    }
    // A scope group under its old number, a resource in two pieces, an unknown group (wire type 3).
    let mut old = seeds[0].clone();
    let spans = ExportTraceServiceRequest::decode(&seeds[0][..]).unwrap().resource_spans.remove(0);
    let scope_group = spans.scope_spans[0].encode_to_vec();
    let resource = spans.resource.unwrap_or_default().encode_to_vec();
    let mut group = Vec::new();
    for (number, message) in [(1, &resource), (1000, &scope_group), (1, &resource)] {
        prost::encoding::bytes::encode(number, message, &mut group);
    }
    group.extend([0x4b, 0x08, 1, 0x4c]);
    prost::encoding::bytes::encode(1, &group, &mut old);
    seeds.push(old);
    seeds
}

fn otlp_json() -> Vec<Vec<u8>> {
    let names = ["trace.json", "logs.json", "events.json", "metrics.json"];
    let mut seeds: Vec<_> = names.iter().map(|name| testdata(&format!("otlp/{name}"))).collect();
    for seed in 0..REQUESTS {
        let mut generator = Generator::new(seed);
        seeds.push(traces_json(&generator.traces()).into_bytes());
        seeds.push(serde_json::to_vec(&generator.logs()).unwrap());
        seeds.push(serde_json::to_vec(&generator.metrics()).unwrap());
    }
    seeds.extend(texts(&[
        "\u{feff}{\"resourceLogs\":[{\"instrumentationLibraryLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"\\ud83d \\ud83d\\ude00\"}}]}]}]}",
        r#"{"resourceSpans":[],"resourceLogs":[{"scopeLogs":[{}],"x":1}],"resourceSpans":[{"a":{}}],"resource_spans":[1]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","intGauge":{}},{"gauge":{"dataPoints":[{"asInt":"1","flags":1}]}}]}]}]}"#,
    ]));
    seeds
}

fn ndjson() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "{\"time\":\"2026-11-21T10:00:00Z\",\"level\":\"warn\",\"msg\":\"a\",\"http\":{\"status\":200,\"tags\":[1,\"x\"]}}\n{\"ts\":1700000000.5}\n",
        "[{\"timestamp\":1700000000000,\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\",\"duration\":\"1.5ms\"},\n {\"x\":null}]",
        "{\"\":{\"a\":{}},\"a.b\":1,\"a\":{\"b\":2}}\n{broken\n",
        "{\"owner\":\"me\",\"logEvents\":[{\"timestamp\":1700000000000,\"message\":\"cut \\ud83d\"},{\"timestamp\":9e99}]}\n",
        "{\"name\":\"x\",\"context\":{\"trace_id\":\"0x0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"0xb7ad6b7169203331\"},\"start_time\":\"2026-11-21T10:00:00Z\",\"end_time\":\"2026-11-21T10:00:01Z\",\"events\":[{\"name\":\"e\",\"timestamp\":\"2026-11-21T10:00:00Z\",\"attributes\":{\"k\":[1]}}],\"links\":[{\"context\":{\"trace_id\":\"0x1\",\"span_id\":\"0x2\"},\"attributes\":{}}],\"resource\":{\"attributes\":{\"service.name\":\"s\"}}}\n",
        "{\"__REALTIME_TIMESTAMP\":\"1743519389432068\",\"PRIORITY\":\"3\"}\n{\"time\":\"/Date(1743519389432+0200)/\"}\n{\"time\":\"2025-04-01 14:56:29.4 +0000 UTC m=+0.1\"}\n{\"t\":{\"seconds\":1,\"nanos\":2}}\n",
    ]);
    seeds.push(head("nginxplus/status.ndjson", 1));
    seeds
}

fn csv() -> Vec<Vec<u8>> {
    let mut seeds = texts(&["time;level;text\n2026-11-21 10:00:00,5;info;\"a \"\"b\"\"\nc\"\n1;2\n"]);
    seeds
        .extend(texts(&["sep=;\r\ntime;text\r\n2026-11-21;\"open\r\n20261121;\"closed\"\r\n2026-11-21\r\n"]));
    seeds.push(head("nezha/trainticket-2023-01-30-trace.csv", 6));
    seeds.push(head("nezha/onlineboutique-2022-08-22-log.csv", 6));
    seeds
}

fn jaeger() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        r#"{"data":[{"traceID":"a1","spans":[{"traceID":"a1","spanID":"b2","operationName":"op","references":[{"refType":"CHILD_OF","traceID":"a1","spanID":"c3"}],"startTime":1,"duration":2,"processID":"p1","tags":[{"key":"n","type":"int64","value":"9007199254740993"},{"key":"b","type":"binary","value":"AAE="},{"key":"l","value":[1]}],"logs":[{"timestamp":2,"fields":[{"key":"event","type":"string","value":"x"}]}]}],"processes":{"p1":{"serviceName":"shop","tags":[{"key":"host","type":"string","value":"h"}]}}}]}"#,
    ]);
    let whole: serde_json::Value = serde_json::from_slice(&testdata("jaeger/genaiTestTrace.json")).unwrap();
    let spans: Vec<_> = whole["spans"].as_array().unwrap().iter().take(2).collect();
    let processes = &whole["processes"];
    let excerpt = serde_json::json!({"traceID": whole["traceID"], "spans": spans, "processes": processes});
    seeds.push(excerpt.to_string().into_bytes());
    seeds
}

/// A file of every format, some of them compressed.
fn import() -> Vec<Vec<u8>> {
    let firsts = [otlp_protobuf(), otlp_json(), ndjson(), csv(), jaeger()];
    let mut seeds: Vec<_> = firsts.iter().flat_map(|seeds| seeds.iter().take(2)).cloned().collect();
    seeds.push(gzip(&seeds[0]));
    seeds.push(zstd(&seeds[2]));
    seeds.push([gzip(b"{\"time\":1}\n"), vec![0; 9], gzip(b"{\"time\":2}\n"), b"behind".to_vec()].concat());
    seeds.push([zstd(b"{\"time\":1}\n"), vec![0; 9], zstd(b"{\"time\":2}\n")].concat());
    let wide = "\u{feff}{\"time\":1,\"msg\":\"\u{1f600}\"}\n".encode_utf16();
    seeds.push(wide.flat_map(u16::to_le_bytes).collect());
    seeds.push(b"\xef\xbb\xbfcut\":1}\n{\"time\":1}\n{\"time\":2}\n".to_vec());
    let mut delimited = Vec::new();
    for message in otlp_protobuf() {
        prost::encode_length_delimiter(message.len(), &mut delimited).unwrap();
        delimited.extend(message);
    }
    seeds.push(delimited);
    let message = &otlp_protobuf()[0];
    seeds.push([&(message.len() as u32).to_be_bytes()[..], message].concat());
    let table = table();
    let mut stream = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), table.schema_ref()).unwrap();
    stream.write(&table).unwrap();
    seeds.push(stream.into_inner().unwrap());
    let compressed = arrow::ipc::writer::IpcWriteOptions::default()
        .try_with_compression(Some(arrow::ipc::CompressionType::ZSTD))
        .unwrap();
    let mut file =
        arrow::ipc::writer::FileWriter::try_new_with_options(Vec::new(), table.schema_ref(), compressed)
            .unwrap();
    file.write(&table).unwrap();
    seeds.push(file.into_inner().unwrap());
    let mut parquet = parquet::arrow::ArrowWriter::try_new(Vec::new(), table.schema(), None).unwrap();
    parquet.write(&table).unwrap();
    seeds.push(parquet.into_inner().unwrap());
    seeds
}

/// A foreign table, with a column of every kind of type.
fn table() -> RecordBatch {
    use arrow::array::*;
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let mut dictionary = StringDictionaryBuilder::<arrow::datatypes::Int32Type>::new();
    dictionary.append_value("a");
    dictionary.append_value("b");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_000_000, 2]))),
        ("level", Arc::new(dictionary.finish())),
        ("message", Arc::new(StringArray::from(vec![Some("a"), None]))),
        ("view", Arc::new(StringViewArray::from(vec!["longer than what is inline", ""]))),
        ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("list", Arc::new(list.finish())),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        ("none", Arc::new(NullArray::new(2))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn batches() -> Vec<EventBatch> {
    let mut generator = Generator::new(1);
    let requests = [
        (RequestKind::Traces, generator.traces().encode_to_vec()),
        (RequestKind::Logs, generator.logs().encode_to_vec()),
        (RequestKind::Metrics, generator.metrics().encode_to_vec()),
    ];
    let decode = |(kind, bytes): &(RequestKind, Vec<u8>)| {
        otlp::decode(*kind, otlp::Encoding::Protobuf, bytes, 1).unwrap().batch
    };
    requests.iter().map(decode).chain([events(3)]).collect()
}

/// Events with attributes of every type. Every tenth has no trace.
fn events(rows: usize) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let user = builder.key(Level::Record, "user.id");
    let route = builder.key(Level::Record, "http.route");
    let status = builder.key(Level::Record, "code");
    let load = builder.key(Level::Resource, "load");
    let rare = builder.key(Level::Scope, "rare");
    for i in 0..rows {
        builder.push(&CoreEvent {
            timestamp_ns: 1_700_000_000_000_000_000 - i as i64 * 1_000_000,
            signal: Signal::Span,
            trace_id: (i % 10 != 0).then(|| TraceId::new([(i / 4 % 255) as u8 + 1; 16])),
            name: Some("a name longer than twelve bytes"),
            duration_ns: Some(i as i64),
            ..CoreEvent::default()
        });
        builder.attribute(user, Value::Text(&format!("user {i}")));
        builder.attribute(route, Value::Text(["/cart", "/pay"][i % 2]));
        builder.attribute(status, if i % 20 == 7 { Value::Text("none") } else { Value::Int(200) });
        builder.attribute(load, Value::Double(i as f64 / 3.0));
        match i {
            1 => builder.attribute(rare, Value::Json("[1,null]")),
            2 => builder.attribute(rare, Value::Bytes(&[0, 255])),
            _ => {}
        }
    }
    builder.finish().unwrap()
}

fn segments(events: &EventBatch) -> Built {
    segment::build(segment_id(0), &[Arc::new(events.clone())], &segment::Unobserved).unwrap()
}

fn log_files() -> Vec<Vec<u8>> {
    let batches: Vec<_> = batches().iter().map(|batch| batch.encode().unwrap()).collect();
    let mut file = record::encode_header(SequenceNumber(1)).to_vec();
    for (encoded, seq) in batches.iter().zip(1..) {
        record::encode_record(&mut file, SequenceNumber(seq), &zstd(encoded));
    }
    let delivered = DeliveryId::of(1, b"message").with_batch(&batches[0]);
    let encoded = batches.iter().chain([&delivered]).map(|encoded| [&[1, 1], &encoded[..]].concat());
    let parts: Vec<Vec<u8>> = encoded.collect();
    vec![[&[0], &file[..]].concat(), [&[1], &parts::join(parts.iter().map(Vec::as_slice))[..]].concat()]
}

fn masks() -> Vec<Vec<u8>> {
    let mut runs: RoaringBitmap = (5..40_000).collect();
    runs.optimize();
    let bitmaps = [[1, 70_000].into_iter().collect(), (0..60_000).step_by(3).collect(), runs];
    let bytes = |rows: &RoaringBitmap| {
        let mut bytes = Vec::new();
        rows.serialize_into(&mut bytes).unwrap();
        bytes
    };
    bitmaps.iter().map(bytes).collect()
}

/// Stores a segment with its index.
fn indexed(rows: usize) -> (Arc<dyn ObjectStore>, SegmentMeta, Bytes) {
    let settings = IndexSettings { lookup_keys: vec!["user.id".to_owned()], ..IndexSettings::default() };
    let builder = IndexBuilder::new(&settings);
    let built = segment::build(segment_id(0), &[Arc::new(events(rows))], &builder).unwrap();
    let index = builder.finish(&built).unwrap();
    let mut meta = built.segment.meta;
    meta.index = Some(index.bytes());
    let object = Bytes::from(index.object.clone());
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    runtime().block_on(store.put(&ObjectPath::from(meta.index_path()), index.object)).unwrap();
    (store, meta, object)
}

/// Encodes the sections of an index object as parts, except `without`; blocks become parts of their own kind.
async fn parts_of(sidecar: &Sidecar, without: &str) -> Vec<u8> {
    let mut found = Vec::new();
    let mut add = |kind: u8, name: &str, content: &[u8]| {
        found.push([&[kind, name.len() as u8], name.as_bytes(), content].concat());
    };
    for name in sidecar.names().filter(|name| *name != without && !name.starts_with("columns")) {
        let kind = u8::from(sidecar.resident(name).unwrap().is_some() && !name.starts_with("lookup:"));
        add(kind, name, &sidecar.read(name).await.unwrap().unwrap());
    }
    if let Some(names) = BlockNames::read(sidecar, "columns").await.unwrap() {
        for (name, block) in names.read_blocks(sidecar, "columns", names.iter()).await.unwrap() {
            add(2, name, &block);
        }
    }
    parts::join(found.iter().map(Vec::as_slice))
}

fn indexes() -> Vec<Vec<u8>> {
    let (store, meta, _) = indexed(ROWS as usize);
    let parts = runtime().block_on(async {
        let index = SegmentIndex::open(&store, &meta).await.unwrap().unwrap();
        parts_of(index.sidecar(), "segment").await
    });
    let (.., small) = indexed(20);
    vec![[&[1], &parts[..]].concat(), [&[0], &small[..]].concat()]
}

fn postings() -> Vec<Vec<u8>> {
    let seed = |hashes: std::ops::Range<i64>, bound: u32| {
        let mut hashes: Vec<_> = hashes.map(ValueHash::of_int).collect();
        hashes.sort_unstable_by_key(|hash| hash.get());
        let mut writer = PostingsWriter::new(hashes.len(), bound);
        for (hash, i) in hashes.into_iter().zip(0..) {
            let several: Vec<u32> = (0..=i % 3).map(|n| n * 2).filter(|posting| *posting < bound).collect();
            writer.push(hash, &several);
        }
        let postings = writer.finish();
        [parts::join([&postings.head[..]]), postings.body].concat()
    };
    vec![seed(0..5, 9), seed(0..600, 200), seed(0..0, 1)]
}

fn runs() -> Vec<Vec<u8>> {
    let (store, meta, _) = indexed(200);
    let parts = runtime().block_on(async {
        let index = SegmentIndex::open(&store, &meta).await.unwrap();
        let inputs: Vec<_> = (0..4).map(|i| RunInput::Segment(segment_id(i), index.clone())).collect();
        let built = merge(RunId::new(0), &inputs).await.unwrap();
        store.put(&ObjectPath::from("x.run"), built.object.object).await.unwrap();
        parts_of(&Sidecar::open(store, "x.run", built.meta.bytes).await.unwrap(), "run").await
    });
    vec![parts]
}

/// Makes a catalog whose commits use every field.
async fn catalog() -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = Catalog::load(Arc::clone(&store), Arc::new(SystemClock)).await.unwrap();
    let NewSegment { meta, columns } = segments(&events(40)).segment;
    let segment = |number| NewSegment {
        meta: SegmentMeta { id: segment_id(number), ..meta.clone() },
        columns: Arc::clone(&columns),
    };
    let (from, through) = (SequenceNumber::ZERO, SequenceNumber(3));
    let changes = [
        Change {
            add: vec![segment(0), segment(1)],
            keys: Keys::of(&[Arc::new(events(3))]),
            wal: Some(WalRange { from, through }),
            deliveries: vec![DeliveryId::of(1, b"message")],
            ..Change::default()
        },
        Change {
            masks: vec![(segment_id(0), NewMask::new(&RoaringBitmap::from_iter([1]), 0).unwrap().mask)],
            deletion: Some(Deletion {
                id: "6d2f".to_owned(),
                at_ns: 1,
                condition: "true".to_owned(),
                from_ns: Some(0),
                to_ns: None,
                rows: 1,
                segments: 1,
                objects: vec![meta.path()],
                wal: through,
            }),
            ..Change::default()
        },
        Change { add: vec![segment(2)], remove: vec![segment_id(1)], ..Change::default() },
    ];
    for change in changes {
        catalog.commit(change).await.unwrap();
    }
    for _ in 3..64 {
        catalog.commit(Change::default()).await.unwrap();
    }
    store
}

/// Commits without checksums, so that changed ones are not refused.
fn commits() -> Vec<Vec<u8>> {
    let lines = runtime().block_on(async {
        let store = catalog().await;
        let mut lines = Vec::new();
        for version in 1..4 {
            let path = ObjectPath::from(format!("catalog/log/{version:020}.json"));
            let json = store.get(&path).await.unwrap().bytes().await.unwrap();
            let json = String::from_utf8(json.to_vec()).unwrap();
            let (unsealed, _) = json.rsplit_once(",\"crc\":").unwrap();
            lines.push(format!("{unsealed}}}"));
        }
        lines
    });
    let old = testdata("formats/catalog-1/log/00000000000000000065.json");
    vec![lines.join("\n").into_bytes(), lines[0].clone().into_bytes(), old]
}

fn checkpoints() -> Vec<Vec<u8>> {
    let seed = runtime().block_on(async {
        let store = catalog().await;
        let path = "catalog/checkpoint/00000000000000000064.checkpoint";
        let bytes = store.head(&ObjectPath::from(path)).await.unwrap().size;
        let sidecar = Sidecar::open(store, path, bytes).await.unwrap();
        let head = zstd::stream::decode_all(&sidecar.read("head").await.unwrap().unwrap()[..]).unwrap();
        let names = BlockNames::read(&sidecar, "columns").await.unwrap().unwrap();
        let blocks = names.read_blocks(&sidecar, "columns", names.iter()).await.unwrap();
        let block = |(name, block): &(&str, Bytes)| [&[name.len() as u8], name.as_bytes(), block].concat();
        let blocks: Vec<Vec<u8>> = blocks.iter().map(block).collect();
        parts::join([&head[..]].into_iter().chain(blocks.iter().map(Vec::as_slice)))
    });
    let old = testdata("formats/catalog-1/checkpoint/00000000000000000064.json.zst");
    vec![seed, parts::join([&zstd::stream::decode_all(&old[..]).unwrap()[..]])]
}

fn sql() -> Vec<Vec<u8>> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    seeds.extend(texts(&[
        "SELECT http.route, count(*) FROM spans s WHERE user.id = 'u' GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
        "WITH a AS (SELECT *, s.attributes['k'] AS k FROM spans s) SELECT a.*, l.body FROM a JOIN logs l USING (trace_id) WHERE k IN (SELECT name FROM traces)",
        "EXPLAIN SELECT date_bin(INTERVAL '1 minute', timestamp) AS t, x::double FROM events UNION ALL SELECT NULL, 1.5e3",
        "SELECT * EXCLUDE (body) FROM trace('0af7651916cd43dd8448eb211c80319c')",
        "DESCRIBE spans",
    ]));
    seeds
}

fn postgres_messages() -> Vec<Vec<u8>> {
    let message = |kind: &[u8], body: &[u8]| [kind, &(body.len() as u32 + 4).to_be_bytes(), body].concat();
    let startup = message(b"", b"\0\x03\0\0user\0test\0options\0-c a=b\0\0");
    let cancel = message(b"", b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02");
    let tls = message(b"", b"\x04\xd2\x16\x2f");
    let bind = message(b"B", b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01");
    let messages = [
        message(b"Q", b"select 1\0"),
        message(b"P", b"s\0select $1, $2\0\0\x02\0\0\0\x19\0\0\0\x14"),
        bind,
        message(b"D", b"Ss\0"),
        message(b"E", b"p\0\0\0\0\x05"),
        message(b"C", b"Pp\0"),
        message(b"S", b""),
        message(b"d", b"data"),
        message(b"p", b"word\0"),
        message(b"X", b""),
    ];
    let beginnings = [startup, cancel, tls].map(|packet| [b"\0", packet.as_slice()].concat());
    let each = messages.iter().map(|message| [b"\x01", message.as_slice()].concat());
    let all = [b"\x01", messages.concat().as_slice()].concat();
    beginnings.into_iter().chain(each).chain([all]).collect()
}

fn postgres_parameters() -> Vec<Vec<u8>> {
    let value = |format: u8, oid: u32, value: &[u8]| [&[format][..], &oid.to_be_bytes(), value].concat();
    vec![
        value(0, 1184, b"2026-01-05 10:00:00.5+01:30"),
        value(0, 1700, b"-12345678901234567890.123"),
        value(0, 701, b"1e300"),
        value(0, 17, b"\\x00ff"),
        value(1, 1700, &[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x13, 0x88]),
        value(1, 1184, &1_i64.to_be_bytes()),
        value(1, 1186, &[1; 16]),
        value(1, 3802, b"\x01{}"),
    ]
}
