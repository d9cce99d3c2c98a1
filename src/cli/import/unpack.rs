//! What is the text of a compressed file?
//!
//! gzip and Zstandard are recognised by their magic numbers; consecutive members or frames are one text (RFC 1952,
//! 2.2; RFC 8878, 3.1). Zeros behind them are padding, as in gzip: tapes and blocks of fixed size leave it. Other bytes
//! there are an error, reported after the text before them was read.

use std::io::{self, BufRead, Error, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// Bytes read from the file at once.
const SOURCE_BYTES: usize = 128 << 10;

/// Bytes by which a compressed file is recognised.
const MAGIC_BYTES: usize = 4;

/// Returns a reader of the decompressed file, or of the file itself if it is not compressed.
pub(super) fn unpacked(raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut source = Source { inner: raw, buffer: Vec::new(), at: 0 };
    let packing = Packing::of(source.peek(MAGIC_BYTES)?);
    Ok(match packing {
        Some(packing) => Box::new(Members { packing, state: State::Between(source) }),
        None => Box::new(source),
    })
}

/// True if the compressed data was complete and other bytes follow it.
pub(super) fn is_behind_the_end(error: &Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Behind>)
}

/// Error: bytes that are not compressed data follow the compressed data.
#[derive(Debug)]
struct Behind(Packing);

impl std::fmt::Display for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes that are not {} follow the compressed data", self.0.name())
    }
}

impl std::error::Error for Behind {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    fn of(magic: &[u8]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or a skippable frame, with which parallel compressors begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard",
        }
    }
}

/// File whose next bytes can be examined without consuming them.
struct Source {
    inner: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
}

impl Source {
    /// The next bytes, without consuming them: at least `bytes`, fewer only at the end of the file.
    fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.at < bytes {
            self.buffer.drain(..self.at);
            self.at = 0;
            let length = self.buffer.len();
            self.buffer.resize(length + SOURCE_BYTES, 0);
            let read = self.inner.read(&mut self.buffer[length..]);
            self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(&self.buffer[self.at..])
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.buffer.len());
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.peek(1)?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

/// Reader of consecutive gzip members or Zstandard frames.
struct Members {
    packing: Packing,
    state: State,
}

enum State {
    Between(Source),
    Gzip(Box<GzDecoder<Source>>),
    Zstd(Box<ZstdDecoder<'static, Source>>),
    Ended,
}

impl Members {
    /// Opens the next member, after skipping zeros; [`State::Ended`] at the end of the file.
    fn open(&self, mut source: Source) -> io::Result<State> {
        loop {
            let zeros = source.fill_buf()?.iter().take_while(|b| **b == 0).count();
            if zeros == 0 {
                break;
            }
            source.consume(zeros);
        }
        let magic = source.peek(MAGIC_BYTES)?;
        if magic.is_empty() {
            return Ok(State::Ended);
        }
        if Packing::of(magic) != Some(self.packing) {
            return Err(Error::new(ErrorKind::InvalidData, Behind(self.packing)));
        }
        Ok(match self.packing {
            Packing::Gzip => State::Gzip(Box::new(GzDecoder::new(source))),
            Packing::Zstd => State::Zstd(Box::new(ZstdDecoder::with_buffer(source)?.single_frame())),
        })
    }

    fn unpack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // If an error returns early, the state stays `Ended`.
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Between(source) => self.state = self.open(source)?,
                State::Gzip(mut member) => {
                    let n = member.read(buffer)?;
                    if n > 0 {
                        self.state = State::Gzip(member);
                        return Ok(n);
                    }
                    self.state = State::Between(member.into_inner());
                }
                State::Zstd(mut frame) => {
                    let n = frame.read(buffer)?;
                    if n > 0 {
                        self.state = State::Zstd(frame);
                        return Ok(n);
                    }
                    self.state = State::Between(frame.finish());
                }
            }
        }
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.unpack(buffer).map_err(|e| match e.kind() {
            _ if is_behind_the_end(&e) => e,
            ErrorKind::UnexpectedEof => {
                Error::new(e.kind(), format!("the {} data ends too early", self.packing.name()))
            }
            kind => Error::new(kind, format!("damaged {} data: {e}", self.packing.name())),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).unwrap()
    }

    /// The bytes read, and the error after them.
    fn read(bytes: Vec<u8>) -> (Vec<u8>, Option<Error>) {
        /// Returns one byte at a time, like a slow pipe.
        struct Slow(std::io::Cursor<Vec<u8>>);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = buffer.len().min(1);
                self.0.read(&mut buffer[..n])
            }
        }
        let mut found = Vec::new();
        let mut reader = unpacked(Box::new(Slow(std::io::Cursor::new(bytes)))).unwrap();
        let error = reader.read_to_end(&mut found).err();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        (found, error)
    }

    #[test]
    fn members_and_their_padding_are_one_text() {
        for pack in [gzip, zstd] {
            for parts in [
                vec![pack(b"abc")],
                vec![pack(b"a"), pack(b""), pack(b"bc")],
                vec![pack(b"abc"), vec![0; 1000]],
                vec![pack(b"ab"), vec![0; 3], pack(b"c"), vec![0]],
            ] {
                let (found, error) = read(parts.concat());
                assert_eq!((&found[..], error.is_none()), (&b"abc"[..], true), "{parts:?}");
            }
        }
        // A skippable frame, with which parallel compressors begin.
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(b"abc")].concat();
        assert_eq!(read(skipped).0, b"abc");
        assert_eq!(read(b"abc".to_vec()).0, b"abc");
        assert_eq!(read(Vec::new()).0, b"");
    }

    #[test]
    fn what_is_behind_costs_nothing_before_it() {
        for pack in [gzip, zstd] {
            for behind in [&b"garbage"[..], b"\0\0garbage", b"x"] {
                let (found, error) = read([&pack(b"abc")[..], behind].concat());
                assert_eq!(found, b"abc");
                assert!(is_behind_the_end(&error.unwrap()));
            }
            let whole = pack(&b"0123456789".repeat(100));
            let (_, error) = read(whole[..whole.len() - 3].to_vec());
            let error = error.unwrap();
            assert!(!is_behind_the_end(&error) && error.to_string().contains("too early"), "{error}");
        }
    }
}
