//! From a layer's blob to its tar, whatever it is compressed with.
//!
//! The bytes decide, not the media type: images in the field say `tar` and mean `tar+gzip`, and every client sniffs.

use std::collections::VecDeque;
use std::io::{self, BufReader, Cursor, Read};
use std::thread;

use bytes::{Bytes, BytesMut};
use crossbeam_channel::Receiver;
use flate2::bufread::MultiGzDecoder;

use crate::zstd::codec::Decoder;
use crate::zstd::frames;

/// How a layer's blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, any number of members.
    Gzip,
    /// zstd, any number of frames, skippable ones left out.
    Zstd,
}

impl Compression {
    /// What the first bytes of a blob announce.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for compressions that no OCI layer may have.
    pub fn sniff(start: &[u8]) -> io::Result<Self> {
        let unsupported = |what| {
            let message = format!("the layer is compressed with {what}, which OCI images do not allow");
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        };
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unsupported("xz"),
            _ if frames::looks_like_zstd(start) => Ok(Self::Zstd),
            _ => Ok(Self::None),
        }
    }
}

/// A reader of the tar inside `blob`. Trailing garbage behind the last gzip member is an error, as it is to Go's reader.
///
/// # Errors
/// When the first bytes cannot be read, or announce an unsupported compression.
pub fn tar_reader<R: Read + Send + 'static>(mut blob: R) -> io::Result<(Compression, Box<dyn Read + Send>)> {
    let mut start = Vec::with_capacity(8);
    blob.by_ref().take(8).read_to_end(&mut start)?;
    let compression = Compression::sniff(&start)?;
    let blob = Cursor::new(start).chain(blob);
    let tar: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(blob),
        Compression::Gzip => Box::new(ReadAhead::new(MultiGzDecoder::new(BufReader::with_capacity(256 << 10, blob)))),
        Compression::Zstd => Box::new(ReadAhead::new(Decoder::new(blob))),
    };
    Ok((compression, tar))
}

/// Reads a source piece by piece into memory that it takes back when nobody holds it any more, so that pieces which are soon done with
/// cost no new pages.
#[derive(Debug)]
pub struct Pieces {
    size: usize,
    /// Given out, oldest first.
    out: VecDeque<Bytes>,
}

impl Pieces {
    /// Pieces of `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { size, out: VecDeque::new() }
    }

    /// The next piece of `source`; shorter only at its end, empty behind it.
    ///
    /// # Errors
    /// Those of the source; interruptions are none.
    pub fn read(&mut self, source: &mut impl Read) -> io::Result<Bytes> {
        let mut buffer = self.memory();
        let mut filled = 0;
        while filled < self.size {
            match source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut piece = buffer.freeze();
        self.out.push_back(piece.clone());
        piece.truncate(filled);
        Ok(piece)
    }

    /// `size` bytes of whatever content. A piece that somebody keeps for long must not keep those behind it from coming back, nor stay here
    /// for ever: it is let go.
    fn memory(&mut self) -> BytesMut {
        for _ in 0..2 {
            match self.out.pop_front().map(Bytes::try_into_mut) {
                Some(Ok(free)) => return free,
                Some(Err(held)) if self.out.len() < Self::HELD => {
                    self.out.push_front(held);
                    break;
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        BytesMut::zeroed(self.size)
    }

    /// Pieces that are waited for, at most.
    const HELD: usize = 24;
}

/// Reads on a thread of its own, a few pieces ahead.
struct ReadAhead {
    pieces: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl ReadAhead {
    const PIECE: usize = 512 << 10;
    const AHEAD: usize = 4;

    fn new(mut source: impl Read + Send + 'static) -> Self {
        let (queue, pieces) = crossbeam_channel::bounded(Self::AHEAD);
        thread::spawn(move || {
            let mut pieces = Pieces::new(Self::PIECE);
            loop {
                let piece = pieces.read(&mut source);
                let last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
                // Nobody listens any more when the reader was dropped.
                if queue.send(piece).is_err() || last {
                    return;
                }
            }
        });
        Self { pieces, current: Bytes::new() }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.pieces.recv() {
                Ok(piece) => self.current = piece?,
                Err(_) => return Ok(0),
            }
        }
        let count = out.len().min(self.current.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::zstd::codec::{FrameCompressor, Tables};

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read(blob: Vec<u8>) -> io::Result<(Compression, Vec<u8>)> {
        let (compression, mut reader) = tar_reader(Cursor::new(blob))?;
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        Ok((compression, out))
    }

    #[test]
    fn every_form_of_a_layer_reads() {
        let data: Vec<u8> = (0..2_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let zstd = FrameCompressor::new().compress(&data, 1, Tables::Zstd);
        let skippable = [&frames::skippable_header(3).unwrap()[..], b"abc"].concat();
        assert_eq!(read(data.clone()).unwrap(), (Compression::None, data.clone()));
        assert_eq!(read(Vec::new()).unwrap(), (Compression::None, Vec::new()));
        assert_eq!(read(gzip(&data)).unwrap(), (Compression::Gzip, data.clone()));
        assert_eq!(read([gzip(&data), gzip(b""), gzip(b"more")].concat()).unwrap().1, [&data[..], b"more"].concat());
        assert_eq!(
            read([&skippable[..], &zstd, &skippable, &zstd].concat()).unwrap().1,
            [&data[..], &data[..]].concat()
        );
    }

    #[test]
    fn damage_is_an_error_not_an_end() {
        let data = vec![1; 100_000];
        let whole = gzip(&data);
        assert!(read(whole[..whole.len() - 3].to_vec()).is_err(), "cut in the trailer");
        assert!(read([&whole[..], b"garbage"].concat()).is_err(), "garbage behind");
        assert!(read([&whole[..], &[0; 512]].concat()).is_err(), "zeros behind, which Go refuses too");
        let zstd = FrameCompressor::new().compress(&data, 1, Tables::Zstd);
        assert!(read(zstd[..zstd.len() - 1].to_vec()).is_err());
        assert_eq!(read(b"BZh91AY&SY".to_vec()).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
