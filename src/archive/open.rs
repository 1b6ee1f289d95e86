//! Opening an archive: the tar behind whatever it is compressed with, and the one image of it that is meant.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blob::Blob;
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::inflate::{self, Compression, Pieces};
use crate::limits;
use crate::store::{self, StoreError};

use super::error::{ArchiveError, MemberFault};
use super::members::{Members, Place};
use super::{Form, docker, oci};

/// One image in an archive, open.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    file: Arc<File>,
    chosen: Chosen,
}

/// The image that is meant, and where its blobs are.
#[derive(Debug)]
pub(super) struct Chosen {
    /// A manifest or an index.
    pub root: Descriptor,
    /// Blobs that stand in the tar.
    pub blobs: BTreeMap<Digest, Place>,
    /// Documents that do not stand in the tar, but say what does.
    pub made: BTreeMap<Digest, Vec<u8>>,
}

/// A tar with its members.
pub(super) struct Opened<'a> {
    pub path: &'a Path,
    pub file: Arc<File>,
    pub members: Members,
}

impl Archive {
    /// Opens an archive and chooses an image of it: by its name, or the only one there is. An archive that is compressed with gzip or zstd,
    /// or that comes through a pipe, goes to a temporary file first.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(form: Form, path: &Path, name: Option<&str>) -> Result<Self, ArchiveError> {
        let file = Arc::new(tar_of(path)?);
        let opened = Opened { path, members: Members::read(path, &file)?, file };
        let chosen = match form {
            Form::Oci => oci::choose(&opened, name)?,
            Form::Docker => docker::choose(&opened, name)?,
        };
        Ok(Self { path: path.into(), file: opened.file, chosen })
    }

    /// The archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The image's manifest or index.
    pub fn root(&self) -> &Descriptor {
        &self.chosen.root
    }

    /// Reads a whole small blob and verifies it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::TooLarge`] above `limit` bytes, [`StoreError::Digest`] when the bytes are wrong.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if let Some(bytes) = self.chosen.made.get(digest) {
            return Ok(bytes.clone());
        }
        let blob = self.blob(digest)?;
        let size = blob.len();
        if size > limit {
            return Err(StoreError::TooLarge { digest: *digest, size, limit }.into());
        }
        let bytes = blob.read_all().map_err(|source| StoreError::io("read", &self.path, source))?;
        let got = Digest::of(&bytes);
        if got == *digest { Ok(bytes) } else { Err(StoreError::Digest { expected: *digest, got }.into()) }
    }

    /// Whether the blob is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.chosen.blobs.contains_key(digest)
    }

    /// A blob where it lies. Its bytes are not verified.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn blob(&self, digest: &Digest) -> Result<Blob, ArchiveError> {
        let missing = || StoreError::Missing { digest: *digest, path: self.path.clone() };
        let Place { start, len } = *self.chosen.blobs.get(digest).ok_or_else(missing)?;
        Ok(Blob::part(self.file.clone(), start, len))
    }
}

impl Opened<'_> {
    /// Whether there is a plain file of that name.
    pub fn has(&self, name: &str) -> bool {
        matches!(self.members.file(name), Ok(Some(_)))
    }

    /// An error that names one of its members.
    pub fn refuse(&self, name: &str, fault: MemberFault) -> ArchiveError {
        ArchiveError::member(self.path, name.as_bytes(), fault)
    }

    /// A small member, whole; `None` when it is not there.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn document(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        match self.members.file(name).map_err(|fault| self.refuse(name, fault))? {
            Some(place) => self.read(name, place).map(Some),
            None => Ok(None),
        }
    }

    fn read(&self, name: &str, place: Place) -> Result<Vec<u8>, ArchiveError> {
        if place.len > limits::MANIFEST {
            return Err(self.refuse(name, MemberFault::TooLarge { size: place.len }));
        }
        Ok(self.blob(place).read_all().map_err(|source| StoreError::io("read", self.path, source))?)
    }

    /// The bytes of a member where they lie.
    pub fn blob(&self, place: Place) -> Blob {
        Blob::part(self.file.clone(), place.start, place.len)
    }
}

/// The file itself, or a temporary one with what it decompresses to.
fn tar_of(path: &Path) -> Result<File, ArchiveError> {
    let reading = |source| StoreError::io("read", path, source);
    let file = File::open(path).map_err(|source| StoreError::io("open", path, source))?;
    let kind = file.metadata().map_err(reading)?.file_type();
    if kind.is_dir() {
        return Err(ArchiveError::NotAFile(path.into()));
    }
    if kind.is_file() {
        let mut start = [0; 8];
        let count = file.read_at(&mut start, 0).map_err(reading)?;
        let Ok(compression) = Compression::sniff(&start[..count]) else {
            return Err(ArchiveError::Compression(path.into()));
        };
        if compression == Compression::None {
            return Ok(file);
        }
    }
    let (_, mut tar) = inflate::tar_reader(file).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => ArchiveError::Compression(path.into()),
        _ => reading(error).into(),
    })?;
    let folder = store::temporary_folder();
    let writing = |source| StoreError::io("keep an archive in", &folder, source);
    let mut file = tempfile::tempfile_in(&folder).map_err(writing)?;
    let mut pieces = Pieces::new(1 << 20);
    loop {
        let piece = pieces.read(&mut tar).map_err(reading)?;
        if piece.is_empty() {
            return Ok(file);
        }
        io::Write::write_all(&mut file, &piece).map_err(writing)?;
    }
}
