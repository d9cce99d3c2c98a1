//! Can any bytes harm a decoder? Tested with inputs that once did, valid ones, changed ones, and decompression bombs.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{DECODERS, Decoder, MIB, parts, seeds};

/// Environment variable: seconds for which each decoder reads changed inputs. Without it, each reads [`CHANGED`].
const SECONDS: &str = "BROADLOOM_HOSTILE_SECONDS";
/// Environment variable: folder to which the seeds are written, for the fuzzer.
const SEEDS: &str = "BROADLOOM_HOSTILE_SEEDS";
/// Number of changed inputs per decoder in a usual run.
const CHANGED: u64 = 100;

thread_local! {
    /// True while panics are expected: decoders contain those of libraries.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `run` without printing panics: printing one takes more memory than most inputs.
fn without_noise<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = run();
    QUIET.set(false);
    result
}

/// Runs a decoder and measures its memory. Stores an input that does harm.
fn read(decoder: &Decoder, bytes: &[u8]) {
    let mut failed = None;
    let memory = allocation_counter::measure(|| {
        failed = without_noise(|| catch_unwind(AssertUnwindSafe(|| (decoder.run)(bytes)))).err();
    });
    let (took, max) = (memory.bytes_max as usize, decoder.memory_max(bytes.len()));
    if failed.is_none() && took <= max {
        return;
    }
    let path = std::env::temp_dir().join(format!("hostile-{}-{:08x}", decoder.name, crc32c::crc32c(bytes)));
    let kept = fs::write(&path, bytes).map_or_else(|e| e.to_string(), |()| path.display().to_string());
    match failed {
        Some(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            panic!("{}: {} bytes, stored as {kept}, end in a panic: {text}", decoder.name, bytes.len())
        }
        None => panic!(
            "{}: {} bytes, stored as {kept}, take {took} bytes of memory, the limit is {max}",
            decoder.name,
            bytes.len()
        ),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/hostile")
}

/// Stored inputs that once did harm to a decoder.
fn kept(decoder: &Decoder) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder().join(decoder.name)) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn what_once_did_harm_does_none() {
    let mut names: Vec<_> = DECODERS.iter().map(|decoder| decoder.name).collect();
    names.sort_unstable();
    let folders =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for folder in folders {
        assert!(names.binary_search(&folder.as_str()).is_ok(), "no decoder is called {folder}");
    }
    for decoder in DECODERS {
        for bytes in kept(decoder) {
            read(decoder, &bytes);
        }
    }
}

#[test]
fn what_is_meant_is_read() {
    for decoder in DECODERS {
        let seeds = seeds::of(decoder.name);
        assert!(!seeds.is_empty());
        for bytes in &seeds {
            read(decoder, bytes);
        }
        read(decoder, b"");
        if let Some(to) = std::env::var_os(SEEDS) {
            let folder = Path::new(&to).join(decoder.name);
            fs::create_dir_all(&folder).unwrap();
            for (seed, i) in seeds.iter().chain(&kept(decoder)).zip(0..) {
                fs::write(folder.join(format!("seed-{i}")), seed).unwrap();
            }
        }
    }
}

#[test]
fn changed_bytes_are_errors_at_worst() {
    let seconds = std::env::var(SECONDS).ok().map(|seconds| seconds.parse().unwrap());
    let mut counts = String::new();
    for decoder in DECODERS {
        let seeds = [seeds::of(decoder.name), kept(decoder)].concat();
        let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut runs = 0;
        while end.map_or(runs < CHANGED, |end| Instant::now() < end) {
            let mut rng = ChaCha8Rng::seed_from_u64(runs);
            let mut bytes = seeds.choose(&mut rng).unwrap().clone();
            change(&mut bytes, &mut rng, &seeds);
            read(decoder, &bytes);
            runs += 1;
        }
        let _ = write!(counts, "{} {runs}, ", decoder.name);
    }
    println!("{counts}");
}

/// Flips, drops, repeats, inserts and overwrites bytes, with pieces of other inputs and with extreme numbers.
fn change(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng, seeds: &[Vec<u8>]) {
    const NUMBERS: [&[u8]; 6] = [&[0], &[0xFF], &[0xFF; 4], &[0xFF, 0xFF, 0xFF, 0x7F], &[0xFF; 8], &[0; 8]];
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(1..=16)).min(bytes.len());
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at.max(bytes.len() / 2)),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.insert(at, rng.random()),
            4 => {
                let other = seeds.choose(rng).unwrap();
                let start = rng.random_range(0..=other.len());
                let length = rng.random_range(0..64);
                bytes.splice(at..at, other.iter().copied().skip(start).take(length));
            }
            5 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => drop(bytes.splice(at..end, NUMBERS.choose(rng).unwrap().iter().copied())),
        }
    }
}

fn named(name: &str) -> &'static Decoder {
    Decoder::named(name).unwrap()
}

#[test]
fn deep_nesting_is_an_error() {
    for n in [200, 20_000] {
        let nested = |open: &str, middle: &str, close: &str| {
            [open.repeat(n), middle.to_owned(), close.repeat(n)].concat().into_bytes()
        };
        for json in [
            nested("[", "", "]"),
            nested("{\"a\":", "1", "}"),
            nested("[", "", ""),
            nested("{\"a\":[", "", ""),
        ] {
            for decoder in ["otlp-json", "ndjson", "jaeger", "import", "typed-json", "commit"] {
                read(named(decoder), &json);
            }
            read(named("checkpoint"), &parts::join([json.get(..60_000).unwrap_or(&json)]));
            read(named("ndjson"), &[b"{\"a\":", &json[..], b"}"].concat());
            read(named("otlp-json"), &[b"{\"resourceSpans\":", &json[..], b"}"].concat());
            read(named("otlp-json"), &[b"{\"unknown\":", &json[..], b"}"].concat());
            read(named("jaeger"), &[b"{\"data\":[{\"spans\":[{\"tags\":", &json[..], b"}]}]}"].concat());
        }
    }
    // Messages nested as deep as possible, under the number of every field that may nest.
    for field in [1_u8, 2, 5, 6, 9, 11] {
        let mut message = Vec::new();
        for _ in 0..3_000 {
            let mut outer = vec![field << 3 | 2];
            prost::encode_length_delimiter(message.len(), &mut outer).unwrap();
            outer.append(&mut message);
            message = outer;
        }
        read(named("otlp-protobuf"), &message);
        read(named("import"), &message);
    }
}

#[test]
fn deep_statements_are_errors() {
    let n = 20_000;
    let chain = |operand: &str, operator: &str| {
        format!("SELECT {operand}{}", format!(" {operator} {operand}").repeat(n))
    };
    let nested = |open: &str, middle: &str, close: &str| {
        format!("SELECT {}{middle}{}", open.repeat(n), close.repeat(n))
    };
    let mut statements: Vec<String> =
        ["+", "AND", "=", "<", "LIKE", "->", "||", "IS DISTINCT FROM", "&", "^", "=>", ":"]
            .iter()
            .map(|operator| chain("a", operator))
            .collect();
    for set in ["UNION", "EXCEPT", "INTERSECT", "UNION ALL"] {
        statements.push(format!("SELECT 1{}", format!(" {set} SELECT 1").repeat(n)));
    }
    for (open, close) in
        [("(", ")"), ("f(", ")"), ("[", "]"), ("- ", ""), ("NOT ", ""), ("CASE WHEN ", " END"), ("{a:", "}")]
    {
        statements.push(nested(open, "1", close));
    }
    for (open, close) in
        [("NULLABLE(", ")"), ("ARRAY<", ">"), ("MAP(INT,", ")"), ("STRUCT<a ", ">"), ("TUPLE(", ")")]
    {
        statements.push(format!("SELECT CAST(1 AS {}INT{})", open.repeat(n), close.repeat(n)));
    }
    for (open, close) in
        [("EXPLAIN ", ""), ("EXPLAIN ANALYZE VERBOSE ", ""), ("(", ")"), ("EXPLAIN FORMAT TREE ", "")]
    {
        statements.push(format!("{}SELECT 1{}", open.repeat(n), close.repeat(n)));
    }
    for (open, close) in [("(SELECT * FROM ", ")"), ("(", ")"), ("LATERAL (", ")")] {
        statements.push(format!("SELECT * FROM {}t{}", open.repeat(n), close.repeat(n)));
    }
    statements.push(format!("SELECT a{}", "::int".repeat(n)));
    statements.push(format!("SELECT a{}", "[1]".repeat(n)));
    statements.push(format!("SELECT a{}", ".b".repeat(n)));
    statements.push(format!("SELECT a{}", " COLLATE x".repeat(n)));
    statements.push(format!("SELECT a{}", " AT TIME ZONE 'x'".repeat(n)));
    statements.push(format!("SELECT a{}", " IN (1)".repeat(n)));
    statements.push(format!("SELECT a{}", " IS NULL".repeat(n)));
    statements.push(format!("SELECT a{}", " NOTNULL".repeat(n)));
    statements.push(format!("SELECT * FROM t{}", " JOIN t ON true".repeat(n)));
    statements.push(format!("SELECT * FROM t{}", " WHERE a IN (SELECT 1 FROM t".repeat(n)));
    statements.push(format!(
        "SELECT * FROM t MATCH_RECOGNIZE(PATTERN ({}a{}) DEFINE a AS true)",
        "(".repeat(n),
        ")".repeat(n)
    ));
    statements.push(format!(
        "WITH a AS ({}SELECT 1{}) SELECT 1",
        "WITH a AS (".repeat(n),
        ") SELECT 1".repeat(n)
    ));
    for statement in statements {
        // The stack has the size of a server thread's.
        let run = move || read(named("sql"), statement.as_bytes());
        std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
    }
}

/// A zstd frame that encodes `blocks` times 128 KiB of zeros in a few bytes.
fn zstd_bomb(blocks: usize) -> Vec<u8> {
    // Magic number; no content size, window of 128 KiB; blocks of one repeated byte, the last one marked.
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
    let header = |last: u32| (128 << 10) << 3 | 1 << 1 | last;
    for i in 0..blocks {
        frame.extend_from_slice(&header(u32::from(i + 1 == blocks)).to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn bombs_go_off_within_bounds() {
    let bomb = zstd_bomb(2_000);
    assert_eq!(zstd::stream::decode_all(&zstd_bomb(3)[..]).unwrap().len(), (3 * 128) << 10);
    // A request body.
    read(named("unpack"), &bomb);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, &vec![0; 64 * MIB]).unwrap();
        encoder.finish().unwrap()
    };
    read(named("unpack"), &gzip);
    // A file to import: one endless line, and many empty ones.
    read(named("import"), &bomb);
    read(named("import"), &gzip);
    // A record of the log.
    let part = [&[1, 0], &bomb[..]].concat();
    read(named("log-file"), &[&[1], &parts::join([&part[..]])[..]].concat());
}

#[test]
fn resources_cannot_be_repeated_into_gigabytes() {
    // A resource of 2,000 attributes of a byte each, and 100,000 log records of two bytes.
    let field = |number: u8, content: &[u8]| {
        let mut field = vec![number << 3 | 2];
        prost::encode_length_delimiter(content.len(), &mut field).unwrap();
        field.extend_from_slice(content);
        field
    };
    let attributes: Vec<u8> = (0..2_000_u32)
        .flat_map(|i| field(1, &[field(1, format!("k{i}").as_bytes()), field(2, &[0x10, 1])].concat()))
        .collect();
    let records = field(2, &[]).repeat(100_000);
    let request = field(1, &[field(1, &attributes), field(2, &records)].concat());
    assert!(request.len() < MIB);
    let memory = allocation_counter::measure(|| {
        let decoded = crate::ingest::otlp::decode(
            crate::ingest::otlp::RequestKind::Logs,
            crate::ingest::otlp::Encoding::Protobuf,
            &request,
            0,
        );
        let rejected = decoded.unwrap().rejected;
        assert!(rejected.message().contains("send smaller requests"), "{}", rejected.message());
    });
    assert!(memory.bytes_max < 256 << 20, "{} bytes of memory", memory.bytes_max);

    // Two processes with a long tag, and spans that alternate between them.
    let process = |name: &str| {
        let tag = "x".repeat(MIB);
        format!(r#""{name}":{{"serviceName":"s","tags":[{{"key":"k","value":"{tag}"}}]}}"#)
    };
    let span = |i: usize| {
        format!(r#"{{"traceID":"a","spanID":"{}","startTime":1,"processID":"p{}"}}"#, i + 1, i % 2)
    };
    let spans: Vec<_> = (0..2_000).map(span).collect();
    let document = format!(
        r#"{{"traceID":"a","spans":[{}],"processes":{{{},{}}}}}"#,
        spans.join(","),
        process("p0"),
        process("p1")
    );
    let memory = allocation_counter::measure(|| {
        let decoded = crate::ingest::jaeger::decode(document.as_bytes()).unwrap();
        assert!(decoded.refused.iter().any(|refused| refused.reason.contains("split the file")));
    });
    assert!(memory.bytes_max < 512 << 20, "{} bytes of memory", memory.bytes_max);
}

#[test]
fn lengths_that_cannot_be_are_not_believed() {
    // A log record and an Arrow message that announce gigabytes.
    let mut file = seeds::of("log-file").swap_remove(0);
    file[1 + 24 + 4..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    read(named("log-file"), &file);
    for decoder in ["import", "batch"] {
        let stream = [&[0xFF; 4][..], &[0xFF, 0xFF, 0xFF, 0x7F]].concat();
        let batch = [b"EVB1", &(stream.len() as u32).to_le_bytes()[..], &stream, &[0; 4]].concat();
        read(named(decoder), if decoder == "import" { &stream } else { &batch });
    }
    // A batch without columns that states a huge number of rows, which would need values.
    for seed in seeds::of("batch") {
        for at in 8..seed.len().min(800) {
            let mut bytes = seed.clone();
            bytes[at] = 0x7F;
            read(named("batch"), &bytes);
        }
    }
}
