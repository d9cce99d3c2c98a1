//! Which code reads untrusted bytes, and is it safe?
//!
//! Untrusted bytes come from producers, imported files, the disk and the object store. [`DECODERS`] lists every
//! decoder that reads them. Two programs run this table:
//!
//! - the tests here: over all inputs in `testdata/hostile/{decoder}`, which once did harm, over seeds, and over
//!   mutations of both;
//! - the fuzzer in `tests/fuzz`, for any length of time.
//!
//! A decoder must meet three conditions. Whatever the bytes, it returns a result or an error and never panics. It
//! takes no more memory than [`Decoder::memory_max`] allows for the size of the input. And its result, encoded and
//! decoded again, is the same.
//!
//! A fuzzer cannot get past checksums. So the harness of a format with checksums takes the content, and adds
//! correct checksums.

mod parts;
mod ingest;
mod storage;
mod catalog;
mod sql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

/// A decoder of untrusted bytes.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// Name of the decoder, and of the folder with its inputs.
    pub name: &'static str,
    /// Decodes the bytes and checks the result.
    ///
    /// # Panics
    /// If it finds a defect.
    pub run: fn(&[u8]),
    /// Memory that it may take for an empty input, in bytes.
    fixed_bytes: usize,
    /// Additional memory that it may take per byte of input.
    per_byte: usize,
}

impl Decoder {
    /// Finds the decoder of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        DECODERS.iter().find(|decoder| decoder.name == name)
    }

    /// Limit of its peak memory for an input of `bytes` bytes.
    pub fn memory_max(&self, bytes: usize) -> usize {
        self.fixed_bytes + self.per_byte * bytes
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Memory per byte of Zstandard input: a byte decompresses to up to 32 KiB, and a growing buffer takes twice that.
const ZSTD: usize = 80 * KIB;

const fn decoder(name: &'static str, run: fn(&[u8]), fixed_bytes: usize, per_byte: usize) -> Decoder {
    Decoder { name, run, fixed_bytes, per_byte }
}

/// All decoders, in order from the producer to the disk.
pub const DECODERS: &[Decoder] = &[
    decoder("otlp-protobuf", ingest::otlp_protobuf, 256 * MIB, 4 * KIB),
    decoder("otlp-json", ingest::otlp_json, 256 * MIB, 4 * KIB),
    decoder("ndjson", ingest::ndjson, MIB, 4 * KIB),
    decoder("csv", ingest::csv, 4 * MIB, 4 * KIB),
    decoder("jaeger", ingest::jaeger, 256 * MIB, 4 * KIB),
    decoder("import", ingest::import, 1280 * MIB, 4 * KIB),
    decoder("credentials", crate::server::read_headers, MIB, KIB),
    decoder("unpack", ingest::unpack, 48 * MIB, 16),
    decoder("typed-json", ingest::typed_json, MIB, 4 * KIB),
    decoder("batch", storage::batch, MIB, 256),
    decoder("log-file", storage::log_file, 16 * MIB, ZSTD),
    decoder("segment", storage::segment, 256 * MIB, 4 * KIB),
    decoder("mask", storage::mask, MIB, 8 * KIB),
    decoder("index", storage::index, 4 * MIB, KIB),
    decoder("postings", storage::postings, MIB, KIB),
    decoder("run", storage::run, 4 * MIB, KIB),
    decoder("commit", catalog::commit, MIB, KIB),
    decoder("checkpoint", catalog::checkpoint, 16 * MIB, KIB),
    decoder("sql", sql::resolve, 4 * MIB, 16 * KIB),
    #[cfg(feature = "postgres")]
    decoder("postgres-message", postgres::message, MIB, KIB),
    #[cfg(feature = "postgres")]
    decoder("postgres-parameter", postgres::parameter, MIB, KIB),
];
