//! The layout: `oci-layout`, `index.json`, `blobs/sha256/…`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blob::Blob;
use crate::digest::Digest;
use crate::image::Index;
use crate::image::document;
use crate::limits;

use super::blob_writer::{BlobFile, BlobWriter};
use super::files::{self, Files, Held, doing};
use super::lease::{Collecting, Lease};
use super::{Partial, StoreError};

/// What the file `oci-layout` says.
pub const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Whether the content of a file `oci-layout` announces a layout that we can read.
///
/// # Errors
/// Why it does not.
pub fn check_marker(text: &[u8]) -> Result<(), &'static str> {
    let version: serde_json::Value = serde_json::from_slice(text).map_err(|_| "its oci-layout is no JSON")?;
    match version.get("imageLayoutVersion").and_then(|version| version.as_str()) {
        Some(version) if version.starts_with("1.") => Ok(()),
        _ => Err("its imageLayoutVersion is not 1.x"),
    }
}

/// An OCI image layout on disk. Clones are the same run to a collection; see [`Layout::for_run`].
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    files: Files,
    lease: Arc<Lease>,
    discard_unfinished: bool,
}

impl Layout {
    /// Opens a layout that exists. Nothing is written, so it may be read-only.
    ///
    /// # Errors
    /// [`StoreError::NotALayout`] when `root` is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_on(root, Files::default())
    }

    /// Opens a layout, making an empty one where there is nothing.
    ///
    /// # Errors
    /// [`StoreError::NotALayout`] when `root` is a folder with something else in it.
    pub fn open_or_create(root: &Path) -> Result<Self, StoreError> {
        Self::open_or_create_on(root, Files::default())
    }

    /// As [`Layout::open`], with files that are watched.
    ///
    /// # Errors
    /// As [`Layout::open`].
    pub fn open_on(root: &Path, files: Files) -> Result<Self, StoreError> {
        let marker = root.join("oci-layout");
        let not = |why| StoreError::NotALayout { path: root.into(), why };
        let text = match doing(files::read_up_to(&marker, limits::MANIFEST), "read", &marker)? {
            Some(text) => text,
            None if !files::exists(root) => return Err(not("there is no such folder")),
            None => return Err(not("it has no file oci-layout")),
        };
        check_marker(&text).map_err(not)?;
        Ok(Self::at(root, files))
    }

    /// As [`Layout::open_or_create`], with files that are watched.
    ///
    /// # Errors
    /// As [`Layout::open_or_create`].
    pub fn open_or_create_on(root: &Path, files: Files) -> Result<Self, StoreError> {
        if files::exists(&root.join("oci-layout")) {
            let layout = Self::open_on(root, files)?;
            layout.files.sweep(&layout.private().join("tmp"));
            return Ok(layout);
        }
        let layout = Self::at(root, files);
        // Our own folder is made first: where it is, another process makes a layout right now, or one that died did not finish.
        if files::holds_something(root) && !files::exists(&layout.private()) {
            return Err(StoreError::NotALayout { path: root.into(), why: "it is a folder with something else in it" });
        }
        let scratch = layout.scratch()?;
        layout.files.make_dir(&layout.blobs())?;
        let _lock = layout.lock_index()?;
        let index = layout.index_path();
        if !files::exists(&index) {
            layout.files.replace(&index, &document::to_bytes(&Index::empty()), &scratch)?;
        }
        // The marker comes last: without it nothing takes the folder for a layout.
        layout.files.replace(&root.join("oci-layout"), MARKER, &scratch)?;
        Ok(layout)
    }

    fn at(root: &Path, files: Files) -> Self {
        Self { root: root.into(), files, lease: Arc::default(), discard_unfinished: false }
    }

    /// The same layout for one run: what the run counts on is kept from a collection until this and its clones are dropped.
    #[must_use]
    pub fn for_run(&self) -> Self {
        Self { lease: Arc::default(), ..self.clone() }
    }

    /// The same layout, in which unfinished blobs are removed when they are dropped, rather than kept for the next attempt.
    #[must_use]
    pub fn discarding_unfinished(&self) -> Self {
        Self { discard_unfinished: true, ..self.clone() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// The bytes of a blob, or `None` when it is not there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.blob_path(digest);
        doing(files::len(&path), "look at", &path)
    }

    /// The bytes of a blob that the run counts on from now, or `None` when it is not there: a collection will leave it.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be noted.
    pub fn claim(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.keep([*digest])?;
        self.blob_size(digest)
    }

    /// Keeps blobs, and images with all that is in them, from collections while this run lasts.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be noted.
    pub fn keep(&self, digests: impl IntoIterator<Item = Digest>) -> Result<(), StoreError> {
        let digests: Vec<_> = digests.into_iter().collect();
        self.lease.keep(self, &digests)
    }

    /// Every file among the blobs that is named as a blob is, with its bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn all_blobs(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let entries = doing(files::list(&self.blobs()), "list", &self.blobs())?;
        let blob = |entry: &files::Entry| Some((Digest::from_hex(entry.name.to_str()?)?, entry.len));
        Ok(entries.iter().filter_map(blob).collect())
    }

    /// Opens a blob. Its bytes are not verified.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not there.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        let missing = || StoreError::Missing { digest: *digest, path: self.root.clone() };
        doing(files::open_if_there(&path), "open", &path)?.ok_or_else(missing)
    }

    /// A blob where it lies. Its bytes are not verified.
    ///
    /// # Errors
    /// As [`Layout::open_blob`].
    pub fn blob(&self, digest: &Digest) -> Result<Blob, StoreError> {
        doing(Blob::whole(self.open_blob(digest)?), "look at", &self.blob_path(digest))
    }

    /// Reads a whole small blob and verifies it.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above `limit` bytes, [`StoreError::Digest`] when the bytes are wrong.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let file = self.open_blob(digest)?;
        let mut bytes = Vec::new();
        doing(file.take(limit + 1).read_to_end(&mut bytes), "read", &self.blob_path(digest))?;
        if bytes.len() as u64 > limit {
            let size = self.blob_size(digest)?.unwrap_or_default();
            return Err(StoreError::TooLarge { digest: *digest, size, limit });
        }
        let got = Digest::of(&bytes);
        if got == *digest { Ok(bytes) } else { Err(StoreError::Digest { expected: *digest, got }) }
    }

    /// Stores a small blob. One that is there is kept if it is right, and replaced if it is not.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.claim(&digest)?.is_none() || self.read_blob(&digest, bytes.len() as u64).is_err() {
            self.files.make_dir(&self.blobs())?;
            self.files.replace(&self.blob_path(&digest), bytes, &self.scratch()?)?;
        }
        Ok(digest)
    }

    /// A writer for a blob whose digest is not known yet.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter::new(self.blob_file()?))
    }

    /// A file for a blob whose writer digests it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn blob_file(&self) -> Result<BlobFile, StoreError> {
        self.files.make_dir(&self.blobs())?;
        BlobFile::new(self)
    }

    /// The unfinished blob of that digest: new, or what an earlier attempt left.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn partial(&self, digest: &Digest, size: u64) -> Result<Partial, StoreError> {
        self.files.make_dir(&self.partials())?;
        self.files.make_dir(&self.blobs())?;
        self.keep([*digest])?;
        let partial = self.partials().join(digest.hex());
        Partial::open(&self.files, &partial, *digest, size, self.blob_path(digest), self.discard_unfinished)
    }

    /// Takes a blob that is not what its name says out of the blobs. What is right in it is found by whoever fetches the blob again.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn demote(&self, digest: &Digest) -> Result<(), StoreError> {
        self.files.make_dir(&self.partials())?;
        let partial = self.partials().join(digest.hex());
        if files::exists(&partial) {
            // Somebody fetches it already; the damaged one has no use any more.
            return self.files.remove(&self.blob_path(digest));
        }
        self.files.rename(&self.blob_path(digest), &partial)
    }

    /// The right to do a piece of work that two processes must not do at once; waits for whoever has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn work_on(&self, name: &str, waiting: &'static str) -> Result<Held, StoreError> {
        let folder = self.private().join("work");
        self.files.make_dir(&folder)?;
        self.files.hold(&folder.join(name), waiting)
    }

    /// The right to remove blobs. Waits until no run is noting what it needs, which takes moments.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn collect(&self) -> Result<Collecting, StoreError> {
        Collecting::begin(self)
    }

    /// A small file of our own, if it is there and readable: a cache, so nothing depends on it.
    pub fn read_private(&self, name: &str) -> Option<Vec<u8>> {
        files::read_up_to(&self.private().join(name), limits::MANIFEST).ok()?
    }

    /// Writes a small file of our own.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.private().join(name);
        self.files.make_dir(path.parent().unwrap_or(&path))?;
        self.files.replace(&path, bytes, &self.scratch()?)
    }

    /// chunkify's own folder inside the layout.
    pub fn private(&self) -> PathBuf {
        self.root.join(".chunkify")
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.private().join("partial")
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(super) fn scratch(&self) -> Result<PathBuf, StoreError> {
        let folder = self.private().join("tmp");
        self.files.make_dir(&folder)?;
        Ok(folder)
    }

    pub(super) fn lock_index(&self) -> Result<files::Lock, StoreError> {
        self.files.make_dir(&self.private())?;
        self.files.lock(&self.private().join("index.lock"), "it changes index.json")
    }
}
