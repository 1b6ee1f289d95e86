//! Writing a blob whose name is known only at its end.

use std::io::{self, Write};

use crate::digest::{Digest, Hasher};

use super::files::{OpenFile, Scratch, doing};
use super::{Layout, StoreError};

/// What is shorter is gathered before it is written; what is longer goes out as it is, without a copy.
const BUFFER: usize = 64 << 10;

/// A blob being written to a temporary file by somebody who digests it. Dropped without [`BlobFile::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobFile {
    file: io::BufWriter<Scratch>,
    layout: Layout,
}

impl BlobFile {
    pub(super) fn new(layout: &Layout) -> Result<Self, StoreError> {
        let file: tempfile::NamedTempFile<OpenFile> = layout.files().scratch(&layout.scratch()?)?;
        Ok(Self { file: io::BufWriter::with_capacity(BUFFER, file), layout: layout.clone() })
    }

    /// Puts the blob on disk and then under its digest, which must be that of all that was written.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing is left then.
    pub fn commit(self, digest: Digest) -> Result<(), StoreError> {
        let path = self.layout.blob_path(&digest);
        let file = doing(self.file.into_inner().map_err(io::IntoInnerError::into_error), "write a blob to", &path)?;
        self.layout.keep([digest])?;
        self.layout.files().publish(file, &path)
    }

    fn failed(&self, source: io::Error) -> io::Error {
        StoreError::io("write a blob in", self.layout.root(), source).into_io()
    }
}

impl Write for BlobFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|source| self.failed(source))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|source| self.failed(source))
    }
}

/// A blob being written to a temporary file, and digested. Dropped without [`BlobWriter::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    file: BlobFile,
    hasher: Hasher,
    size: u64,
}

impl BlobWriter {
    pub(super) fn new(file: BlobFile) -> Self {
        Self { file, hasher: Hasher::new(), size: 0 }
    }

    /// Puts the blob on disk and then under its digest.
    ///
    /// # Errors
    /// [`StoreError::Digest`] when it is not the `expected` one; nothing is left then.
    pub fn commit(self, expected: Option<Digest>) -> Result<(Digest, u64), StoreError> {
        let got = self.hasher.finish();
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            return Err(StoreError::Digest { expected, got });
        }
        self.file.commit(got)?;
        Ok((got, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
