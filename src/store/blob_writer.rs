//! Writing a blob whose name is known only at its end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};

use super::StoreError;
use super::files::{self, doing};

/// A blob being written to a temporary file. Dropped without [`BlobWriter::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    file: io::BufWriter<tempfile::NamedTempFile>,
    hasher: Hasher,
    size: u64,
    blobs: PathBuf,
}

impl BlobWriter {
    pub(super) fn new(scratch: &Path, blobs: PathBuf) -> Result<Self, StoreError> {
        let file = files::scratch_file(scratch)?;
        Ok(Self { file: io::BufWriter::with_capacity(1 << 20, file), hasher: Hasher::new(), size: 0, blobs })
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
        let file =
            doing(self.file.into_inner().map_err(io::IntoInnerError::into_error), "write a blob to", &self.blobs)?;
        files::publish(file, &self.blobs.join(got.hex()))?;
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
