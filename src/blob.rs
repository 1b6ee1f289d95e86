//! The bytes of a blob, wherever they lie: in a file of their own, or somewhere inside an archive.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::digest::{Digest, Hasher};
use crate::span::Span;

/// An open blob. Nothing of it is verified. Clones share the file, and nobody's reading moves anybody else's.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    /// Where it begins in the file.
    start: u64,
    len: u64,
}

impl Blob {
    /// A whole file.
    ///
    /// # Errors
    /// When its length cannot be told.
    pub fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), start: 0, len })
    }

    /// `len` bytes of a file from `start` on. Whoever calls has seen that the file has them.
    pub fn part(file: Arc<File>, start: u64, len: u64) -> Self {
        Self { file, start, len }
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads at an offset of the blob; nothing behind its end.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        if now == 0 {
            return Ok(0);
        }
        // `offset` is inside the blob here, and the blob inside the file.
        self.file.read_at(&mut out[..now], self.start + offset)
    }

    /// Fills `out` from an offset of the blob.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::UnexpectedEof`] when the blob ends before.
    pub fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let mut reader = Reader { blob: self.clone(), at: offset, end: self.len };
        reader.read_exact(out)
    }

    /// Exactly the bytes of a span. The caller has held its length against a limit.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::UnexpectedEof`] when the blob ends before.
    pub fn read_span(&self, span: Span) -> io::Result<Vec<u8>> {
        if span.end() > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.exactly(span.start(), span.len())
    }

    /// All of it. The caller has held its length against a limit.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        self.exactly(0, self.len)
    }

    /// The digest of all of it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn digest(&self) -> io::Result<Digest> {
        let mut hasher = Hasher::new();
        io::copy(&mut self.reader(), &mut hasher)?;
        Ok(hasher.finish())
    }

    fn exactly(&self, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// A reader of all of it.
    pub fn reader(&self) -> Reader {
        Reader { blob: self.clone(), at: 0, end: self.len }
    }

    /// A reader of a span.
    pub fn span_reader(&self, span: Span) -> Reader {
        Reader { blob: self.clone(), at: span.start(), end: span.end().min(self.len) }
    }
}

/// Reads a blob from one offset to another.
#[derive(Debug)]
pub struct Reader {
    blob: Blob,
    at: u64,
    end: u64,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let count = self.blob.read_at(&mut out[..now], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_part_of_a_file_reads_like_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before, the blob, and behind").unwrap();
        let whole = Blob::whole(file.try_clone().unwrap()).unwrap();
        assert_eq!(whole.len(), 28);
        let part = Blob::part(Arc::new(file), 8, 8);
        let read = |mut reader: Reader| {
            let mut out = Vec::new();
            reader.read_to_end(&mut out).unwrap();
            out
        };
        assert_eq!(read(part.reader()), b"the blob");
        let span = |start, end| Span::new(start, end).unwrap();
        assert_eq!(read(part.span_reader(span(4, 8))), b"blob");
        assert_eq!(read(part.span_reader(span(4, 80))), b"blob", "nothing behind its end");
        assert_eq!(part.read_span(span(0, 3)).unwrap(), b"the");
        assert_eq!(part.read_all().unwrap(), b"the blob");
        assert_eq!(part.digest().unwrap(), Digest::of(b"the blob"));
        assert_eq!(part.read_span(span(4, 9)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(part.read_exact_at(&mut [0; 9], 0).is_err());
        assert_eq!(part.read_at(&mut [0; 9], 9).unwrap(), 0);
    }
}
