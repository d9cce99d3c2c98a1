//! Which pages or segments have a value of a given hash?
//!
//! One format for two uses: postings are pages of a segment, or segments of a run. Hashes are sorted and
//! divided into buckets by their upper bits, at most [`BUCKET_ENTRIES`] in each on average. The offsets of the
//! buckets are the *head*, which stays in memory, so a lookup reads one bucket of the *body*.
//!
//! ```text
//! head    = bits:u8 entries:varint bound:varint offset:u32 × (2^bits + 1)     postings are below `bound`
//! body    = bucket × 2^bits                   bucket i at offset[i]..offset[i + 1]
//! bucket  = nothing | entry+ crc:u32          CRC-32C of the entries
//! entry   = delta:varint postings             delta to the previous hash, for the first to the bucket's least
//! postings = posting:varint                                           one
//!          | (bound + n - 2):varint first:varint gap:varint × (n - 1)  n of them, ascending; gap ≥ 1
//! ```
//!
//! A hash among 100,000 takes five bytes, and one page of a hundred takes one: six bytes for a trace in one
//! page of its segment.

use std::ops::Range;

use bytes::Bytes;

use super::cursor::{Cursor, put_varint};
use super::hash::ValueHash;

/// Most entries per bucket, on average. Such a bucket has 1.6 kB, which takes no longer to read than a hundred
/// bytes, and keeps the head small.
const BUCKET_ENTRIES: usize = 256;
/// Most bits that select a bucket: 16 Mi buckets, for a body of 4 GiB.
const BITS_MAX: u32 = 24;

/// Encoded postings.
#[derive(Debug, Clone, Default)]
pub struct Postings {
    /// Offsets of the buckets; stays in memory.
    pub head: Vec<u8>,
    /// Buckets; a lookup reads one.
    pub body: Vec<u8>,
}

impl Postings {
    /// Size of head and body in bytes.
    pub fn bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

/// Writes entries in ascending order of their hashes.
#[derive(Debug)]
pub struct PostingsWriter {
    bits: u32,
    bound: u32,
    entries: u64,
    offsets: Vec<u32>,
    body: Vec<u8>,
    bucket_start: usize,
    last: u64,
}

impl PostingsWriter {
    /// Starts postings of about `entries` entries, all of whose postings are below `bound`.
    pub fn new(entries: usize, bound: u32) -> Self {
        let bits = entries.div_ceil(BUCKET_ENTRIES).next_power_of_two().ilog2().min(BITS_MAX);
        Self { bits, bound, entries: 0, offsets: vec![0], body: Vec::new(), bucket_start: 0, last: 0 }
    }

    /// Adds an entry.
    ///
    /// # Panics
    /// If `hash` is not above the last one, or `postings` is empty, not ascending, or not below the bound.
    pub fn push(&mut self, hash: ValueHash, postings: &[u32]) {
        let hash = hash.get();
        let bucket = self.bucket(hash);
        while self.offsets.len() <= bucket {
            self.end_bucket();
        }
        let first_of_bucket = self.body.len() == self.bucket_start;
        assert!(first_of_bucket || hash > self.last, "hashes ascend");
        let before = if first_of_bucket { least(bucket, self.bits) } else { self.last };
        put_varint(&mut self.body, hash - before);
        self.put_postings(postings);
        self.last = hash;
        self.entries += 1;
    }

    /// Number of entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns head and body.
    ///
    /// # Panics
    /// If the body has 4 GiB or more.
    pub fn finish(mut self) -> Postings {
        while self.offsets.len() <= 1 << self.bits {
            self.end_bucket();
        }
        let mut head = vec![self.bits as u8];
        put_varint(&mut head, self.entries);
        put_varint(&mut head, self.bound.into());
        for offset in self.offsets {
            head.extend_from_slice(&offset.to_le_bytes());
        }
        Postings { head, body: self.body }
    }

    fn bucket(&self, hash: u64) -> usize {
        // A hash has 48 bits, so `bits` of them fit a usize.
        (hash >> (ValueHash::BITS - self.bits)) as usize
    }

    fn end_bucket(&mut self) {
        if self.body.len() > self.bucket_start {
            let crc = crc32c::crc32c(&self.body[self.bucket_start..]);
            self.body.extend_from_slice(&crc.to_le_bytes());
        }
        self.bucket_start = self.body.len();
        self.offsets.push(u32::try_from(self.body.len()).expect("limits keep postings far below 4 GiB"));
    }

    fn put_postings(&mut self, postings: &[u32]) {
        assert!(postings.is_sorted_by(|a, b| a < b), "postings ascend");
        assert!(postings.last().is_some_and(|last| *last < self.bound), "postings are below the bound");
        if let [only] = postings {
            return put_varint(&mut self.body, u64::from(*only));
        }
        put_varint(&mut self.body, u64::from(self.bound) + postings.len() as u64 - 2);
        put_varint(&mut self.body, u64::from(postings[0]));
        for pair in postings.windows(2) {
            put_varint(&mut self.body, u64::from(pair[1] - pair[0]));
        }
    }
}

/// Least hash of a bucket.
fn least(bucket: usize, bits: u32) -> u64 {
    (bucket as u64) << (ValueHash::BITS - bits)
}

/// Reads postings by their head; the caller provides the bytes of the body. All methods return `None` for damage.
#[derive(Debug, Clone)]
pub struct PostingsReader {
    bits: u32,
    entries: u64,
    bound: u32,
    /// Encoded offsets of the buckets.
    offsets: Bytes,
}

impl PostingsReader {
    /// Opens postings with this head.
    pub fn open(head: &Bytes) -> Option<Self> {
        let mut cursor = Cursor::new(head);
        let [bits] = cursor.array()?;
        let bits = u32::from(bits);
        let (entries, bound) = (cursor.varint()?, u32::try_from(cursor.varint()?).ok()?);
        let fits = bits <= BITS_MAX && cursor.left() == ((1 << bits) + 1) * size_of::<u32>();
        fits.then(|| Self { bits, entries, bound, offsets: head.slice(head.len() - cursor.left()..) })
    }

    /// Number of hashes.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Number above every posting.
    pub fn bound(&self) -> u32 {
        self.bound
    }

    /// Range of the body that [`find`](Self::find) needs for this hash.
    pub fn range(&self, hash: ValueHash) -> Option<Range<u64>> {
        let bucket = self.bucket(hash.get());
        let range = self.offset(bucket)?..self.offset(bucket + 1)?;
        (range.start <= range.end).then_some(range)
    }

    /// Finds the postings of `hash`, ascending, in the bytes of its [`range`](Self::range); empty if there is
    /// no such hash.
    pub fn find(&self, hash: ValueHash, bytes: &[u8]) -> Option<Vec<u32>> {
        let mut bucket = Bucket::open(bytes, self.hashes_of(self.bucket(hash.get())))?;
        let mut postings = Vec::new();
        while bucket.next(self.bound, &mut postings)? {
            if bucket.hash >= hash.get() {
                return Some(if bucket.hash == hash.get() { postings } else { Vec::new() });
            }
        }
        Some(Vec::new())
    }

    /// Number of bits of a hash that select its bucket.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Range of the body with the hashes of slice `slice` of `2^slice_bits`. It has more hashes if a bucket is
    /// larger than the slice.
    pub fn slice_range(&self, slice: usize, slice_bits: u32) -> Option<Range<u64>> {
        let buckets = self.slice_buckets(slice, slice_bits);
        let range = self.offset(buckets.start)?..self.offset(buckets.end)?;
        (range.start <= range.end).then_some(range)
    }

    /// Calls `visit` with every entry of a slice, in ascending order of the hashes. `bytes` are those of its
    /// [`slice_range`](Self::slice_range).
    pub fn visit_slice(
        &self,
        slice: usize,
        slice_bits: u32,
        bytes: &[u8],
        mut visit: impl FnMut(ValueHash, &[u32]),
    ) -> Option<()> {
        let buckets = self.slice_buckets(slice, slice_bits);
        let hashes = least(slice, slice_bits)..least(slice + 1, slice_bits);
        let start = self.offset(buckets.start)?;
        let mut postings = Vec::new();
        for i in buckets {
            let within = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
            let bytes = bytes.get(within(self.offset(i)?)?..within(self.offset(i + 1)?)?)?;
            let mut bucket = Bucket::open(bytes, self.hashes_of(i))?;
            while bucket.next(self.bound, &mut postings)? {
                if hashes.contains(&bucket.hash) {
                    visit(ValueHash::from_bits(bucket.hash), &postings);
                }
            }
        }
        Some(())
    }

    fn slice_buckets(&self, slice: usize, slice_bits: u32) -> Range<usize> {
        if self.bits >= slice_bits {
            let finer = self.bits - slice_bits;
            slice << finer..(slice + 1) << finer
        } else {
            let bucket = slice >> (slice_bits - self.bits);
            bucket..bucket + 1
        }
    }

    fn bucket(&self, hash: u64) -> usize {
        (hash >> (ValueHash::BITS - self.bits)) as usize
    }

    /// Range of the hashes that bucket `i` may have.
    fn hashes_of(&self, i: usize) -> Range<u64> {
        least(i, self.bits)..least(i + 1, self.bits)
    }

    fn offset(&self, bucket: usize) -> Option<u64> {
        let at = bucket.checked_mul(size_of::<u32>())?;
        Cursor::new(self.offsets.get(at..)?).u32().map(u64::from)
    }
}

/// Iterates over the entries of one bucket.
#[derive(Debug)]
struct Bucket<'a> {
    cursor: Cursor<'a>,
    hash: u64,
    /// Bound above all hashes of the bucket.
    end: u64,
    first: bool,
}

impl<'a> Bucket<'a> {
    /// Checks the checksum of a bucket's bytes.
    fn open(bytes: &'a [u8], hashes: Range<u64>) -> Option<Self> {
        let entries = if bytes.is_empty() {
            bytes
        } else {
            let (entries, crc) = bytes.split_last_chunk()?;
            (crc32c::crc32c(entries) == u32::from_le_bytes(*crc)).then_some(entries)?
        };
        Some(Self { cursor: Cursor::new(entries), hash: hashes.start, end: hashes.end, first: true })
    }

    /// Advances to the next entry and puts its postings into `postings`; false at the end.
    fn next(&mut self, bound: u32, postings: &mut Vec<u32>) -> Option<bool> {
        if self.cursor.is_empty() {
            return Some(false);
        }
        let delta = self.cursor.varint()?;
        if delta == 0 && !self.first {
            return None;
        }
        self.first = false;
        self.hash = self.hash.checked_add(delta).filter(|hash| *hash < self.end)?;
        postings.clear();
        let code = self.cursor.varint()?;
        let Some(more) = code.checked_sub(bound.into()) else {
            // Below the bound, so it fits into 32 bits.
            postings.push(code as u32);
            return Some(true);
        };
        // Every posting has at least one byte.
        let count = usize::try_from(more).ok()?.checked_add(2).filter(|n| *n <= self.cursor.left())?;
        let mut posting = 0_u32;
        for i in 0..count {
            let gap = u32::try_from(self.cursor.varint()?).ok()?;
            posting = posting.checked_add(gap)?;
            if (i > 0 && gap == 0) || posting >= bound {
                return None;
            }
            postings.push(posting);
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Map = BTreeMap<u64, BTreeSet<u32>>;

    /// Random hashes, some close together, with their postings.
    fn map(bound: u32) -> impl Strategy<Value = Map> {
        let hash = prop_oneof![0..1_u64 << ValueHash::BITS, 0..2000_u64, Just((1 << ValueHash::BITS) - 1)];
        let postings = prop::collection::btree_set(0..bound, 1..6);
        prop::collection::btree_map(hash, postings, 0..600)
    }

    fn write(map: &Map, bound: u32) -> Postings {
        let mut writer = PostingsWriter::new(map.len(), bound);
        for (hash, postings) in map {
            writer.push(ValueHash::from_bits(*hash), &postings.iter().copied().collect::<Vec<_>>());
        }
        writer.finish()
    }

    fn reader(postings: &Postings) -> Option<PostingsReader> {
        PostingsReader::open(&Bytes::copy_from_slice(&postings.head))
    }

    /// `None` is damage.
    fn find(reader: &PostingsReader, body: &[u8], hash: u64) -> Option<Vec<u32>> {
        let hash = ValueHash::from_bits(hash);
        let range = reader.range(hash)?;
        reader.find(hash, body.get(range.start as usize..range.end as usize)?)
    }

    fn all(reader: &PostingsReader, body: &[u8], slice_bits: u32) -> Option<Map> {
        let mut found = Map::new();
        for slice in 0..1 << slice_bits {
            let range = reader.slice_range(slice, slice_bits)?;
            let bytes = body.get(range.start as usize..range.end as usize)?;
            reader.visit_slice(slice, slice_bits, bytes, |hash, postings| {
                let before = found.insert(hash.get(), postings.iter().copied().collect());
                assert!(before.is_none(), "an entry is visited once");
            })?;
        }
        Some(found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn every_hash_is_found_and_no_other(map in map(130), absent in 0..1_u64 << ValueHash::BITS) {
            let postings = write(&map, 130);
            let reader = reader(&postings).unwrap();
            prop_assert_eq!(reader.entries(), map.len() as u64);
            for hash in map.keys().copied().chain([absent, 0, 5, (1 << ValueHash::BITS) - 1]) {
                let expected: Vec<u32> = map.get(&hash).into_iter().flatten().copied().collect();
                prop_assert_eq!(find(&reader, &postings.body, hash), Some(expected));
            }
        }

        #[test]
        fn slices_have_every_entry_once(map in map(9), slice_bits in 0..6_u32) {
            let postings = write(&map, 9);
            let reader = reader(&postings).unwrap();
            prop_assert_eq!(all(&reader, &postings.body, slice_bits), Some(map));
        }

        #[test]
        fn damage_is_noticed_in_the_body_and_never_panics_in_the_head(
            map in map(7), at in any::<prop::sample::Index>(), bit in 0..8_u32, cut in any::<bool>(),
        ) {
            let whole = write(&map, 7);
            let mut damaged = whole.clone();
            if !whole.body.is_empty() {
                let at = at.index(whole.body.len());
                if cut { damaged.body.truncate(at) } else { damaged.body[at] ^= 1_u8 << bit }
                let reader = reader(&damaged).unwrap();
                for (hash, postings) in &map {
                    let found = find(&reader, &damaged.body, *hash);
                    prop_assert!(found.is_none_or(|found| found.iter().eq(postings)));
                }
            }
            let at = at.index(whole.head.len());
            let mut damaged = whole.clone();
            if cut { damaged.head.truncate(at) } else { damaged.head[at] ^= 1_u8 << bit }
            if let Some(reader) = reader(&damaged) {
                for hash in map.keys() {
                    let _ = find(&reader, &damaged.body, *hash);
                }
                let _ = all(&reader, &damaged.body, 1);
            }
        }

        #[test]
        fn entries_of_any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 0..60), bound in 0..200_u32) {
            let crc = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
            let mut postings = Vec::new();
            let mut bucket = Bucket::open(&bytes, 0..1 << 48).unwrap();
            while bucket.next(bound, &mut postings) == Some(true) {
                prop_assert!(postings.iter().all(|posting| *posting < bound));
            }
        }
    }

    #[test]
    fn a_trace_in_one_page_takes_six_bytes() {
        let hashes: BTreeSet<u64> =
            (0..100_000_u64).map(|i| ValueHash::of_bytes(&i.to_le_bytes()).get()).collect();
        let map: Map = hashes.into_iter().map(|hash| (hash, BTreeSet::from([(hash % 128) as u32]))).collect();
        let postings = write(&map, 128);
        assert!(postings.body.len() < 600_000, "{}", postings.body.len());
        assert!(postings.head.len() < 2100, "{}", postings.head.len());
    }
}
