//! Which bytes come from outside, and what reads them?
//!
//! From producers, from files that somebody imports, from the disk and from the object store. [`DECODERS`]
//! names every one that reads such bytes. The same table is run by
//!
//! - the tests here: over all inputs in `testdata/hostile/{decoder}`, which once did harm, over seeds, and over
//!   mutations of both;
//! - the fuzzer in `tests/fuzz`, for as long as one likes.
//!
//! A decoder is held to three things. It ends in a result or an error whatever the bytes, never in a panic. It
//! takes no more memory than [`Decoder::memory_max`] says of so many bytes. And what it took, written and read
//! again, is the same.
//!
//! Checksums keep a fuzzer out of what is behind them, so harnesses of formats that have some take the content
//! and put the checksums right.

mod parts;
mod ingest;
mod storage;
mod catalog;
mod sql;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

/// Something that reads bytes that nobody vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// Its name, which is that of the folder with its inputs.
    pub name: &'static str,
    /// Reads the bytes and checks what came out.
    ///
    /// # Panics
    /// When it finds a defect.
    pub run: fn(&[u8]),
    /// Memory that it may take for no bytes at all.
    fixed_bytes: usize,
    /// Memory that it may take for each byte besides.
    per_byte: usize,
}

impl Decoder {
    /// The decoder of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        DECODERS.iter().find(|decoder| decoder.name == name)
    }

    /// The most memory that it may take at a time to read `bytes` bytes.
    pub fn memory_max(&self, bytes: usize) -> usize {
        self.fixed_bytes + self.per_byte * bytes
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Zstandard makes up to 32 KiB of a byte, and memory that grows with it is twice that.
const ZSTD: usize = 80 * KIB;

const fn decoder(name: &'static str, run: fn(&[u8]), fixed_bytes: usize, per_byte: usize) -> Decoder {
    Decoder { name, run, fixed_bytes, per_byte }
}

/// All of them, from the producer to the disk.
pub const DECODERS: &[Decoder] = &[
    decoder("otlp-protobuf", ingest::otlp_protobuf, 256 * MIB, 4 * KIB),
    decoder("otlp-json", ingest::otlp_json, 256 * MIB, 4 * KIB),
    decoder("ndjson", ingest::ndjson, MIB, 4 * KIB),
    decoder("csv", ingest::csv, 4 * MIB, 4 * KIB),
    decoder("jaeger", ingest::jaeger, 256 * MIB, 4 * KIB),
    decoder("import", ingest::import, 1280 * MIB, 4 * KIB),
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
];
