//! The layout: `oci-layout`, `index.json`, `blobs/sha256/…`.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::image::document::{self, Descriptor, Index, REF_NAME};
use crate::limits;

use super::blob_writer::BlobWriter;
use super::files::{self, doing};
use super::{Partial, StoreError};

/// An OCI image layout on disk.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it is.
    pub descriptor: Descriptor,
}

impl Layout {
    /// Opens a layout that exists.
    ///
    /// # Errors
    /// [`StoreError::NotALayout`] when `root` is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let marker = root.join("oci-layout");
        let not = |why| StoreError::NotALayout { path: root.into(), why };
        let text = match fs::read(&marker) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !root.exists() => {
                return Err(not("there is no such folder"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not("it has no file oci-layout")),
            Err(source) => return Err(StoreError::Io { doing: "read", path: marker, source }),
        };
        let version: serde_json::Value = serde_json::from_slice(&text).map_err(|_| not("its oci-layout is no JSON"))?;
        match version.get("imageLayoutVersion").and_then(|version| version.as_str()) {
            Some(version) if version.starts_with("1.") => Ok(Self { root: root.into() }),
            _ => Err(not("its imageLayoutVersion is not 1.x")),
        }
    }

    /// Opens a layout, making an empty one where there is nothing.
    ///
    /// # Errors
    /// [`StoreError::NotALayout`] when `root` is a folder with something else in it.
    pub fn open_or_create(root: &Path) -> Result<Self, StoreError> {
        if root.join("oci-layout").exists() {
            let layout = Self::open(root)?;
            files::sweep(&layout.private().join("tmp"));
            return Ok(layout);
        }
        let layout = Self { root: root.into() };
        // Our own folder is made first: where it is, another process makes a layout right now, or one that died did not finish.
        let holds_something = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        if holds_something && !layout.private().exists() {
            return Err(StoreError::NotALayout { path: root.into(), why: "it is a folder with something else in it" });
        }
        let scratch = layout.scratch()?;
        files::make_dir(&layout.blobs())?;
        let _lock = layout.lock()?;
        let index = layout.index_path();
        if !index.exists() {
            files::replace(&index, &document::to_bytes(&Index::empty()), &scratch)?;
        }
        // The marker comes last: without it nothing takes the folder for a layout.
        files::replace(&root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#, &scratch)?;
        Ok(layout)
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
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { doing: "look at", path, source }),
        }
    }

    /// Opens a blob. Its bytes are not verified.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not there.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { digest: *digest, path: self.root.clone() })
            }
            Err(source) => Err(StoreError::Io { doing: "open", path, source }),
        }
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

    /// The layout's index.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or does not parse.
    pub fn index(&self) -> Result<Index, StoreError> {
        let path = self.index_path();
        let mut bytes = Vec::new();
        let file = doing(File::open(&path), "open", &path)?;
        doing(file.take(limits::MANIFEST + 1).read_to_end(&mut bytes), "read", &path)?;
        Index::parse(&bytes).map_err(|source| StoreError::Document { path, source })
    }

    /// The images of the layout.
    ///
    /// # Errors
    /// As [`Layout::index`].
    pub fn images(&self) -> Result<Vec<Named>, StoreError> {
        let named = |descriptor: Descriptor| Named { name: descriptor.annotations.get(REF_NAME).cloned(), descriptor };
        Ok(self.index()?.manifests.into_iter().map(named).collect())
    }

    /// Finds an image by its name or digest; without a name, the only one there is.
    ///
    /// # Errors
    /// [`StoreError::NoImage`] or [`StoreError::Ambiguous`], listing the names.
    pub fn resolve(&self, name: Option<&str>) -> Result<Descriptor, StoreError> {
        let images = self.images()?;
        let names =
            || images.iter().map(|image| image.name.clone().unwrap_or(image.descriptor.digest.to_string())).collect();
        let path = self.root.clone();
        let Some(name) = name else {
            return match &images[..] {
                [] => Err(StoreError::NoImage { name: String::new(), path, names: names() }),
                [first, rest @ ..] if rest.iter().all(|image| image.descriptor.digest == first.descriptor.digest) => {
                    Ok(first.descriptor.clone())
                }
                _ => Err(StoreError::Ambiguous { path, names: names() }),
            };
        };
        let is_it = |image: &&Named| image.name.as_deref() == Some(name) || image.descriptor.digest.to_string() == name;
        match images.iter().find(is_it) {
            Some(image) => Ok(image.descriptor.clone()),
            None => Err(StoreError::NoImage { name: name.into(), path, names: names() }),
        }
    }

    /// Gives an image a name, which it takes from any other.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_image(&self, name: &str, mut descriptor: Descriptor) -> Result<(), StoreError> {
        descriptor.annotations.insert(REF_NAME.into(), name.into());
        self.change_index(|index| {
            index.manifests.retain(|listed| listed.annotations.get(REF_NAME).map(String::as_str) != Some(name));
            index.manifests.push(descriptor);
        })
    }

    /// Takes a name away; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_image(&self, name: &str) -> Result<bool, StoreError> {
        let mut found = false;
        self.change_index(|index| {
            let before = index.manifests.len();
            index.manifests.retain(|listed| listed.annotations.get(REF_NAME).map(String::as_str) != Some(name));
            found = index.manifests.len() != before;
        })?;
        Ok(found)
    }

    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        change(&mut index);
        files::replace(&self.index_path(), &document::to_bytes(&index), &scratch)
    }

    /// Stores a small blob; nothing happens when it is there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest)? != Some(bytes.len() as u64) {
            files::make_dir(&self.blobs())?;
            files::replace(&self.blob_path(&digest), bytes, &self.scratch()?)?;
        }
        Ok(digest)
    }

    /// A writer for a blob whose digest is not known yet.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        files::make_dir(&self.blobs())?;
        BlobWriter::new(&self.scratch()?, self.blobs())
    }

    /// The unfinished blob of that digest: new, or what an earlier attempt left.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn partial(&self, digest: &Digest, size: u64) -> Result<Partial, StoreError> {
        let folder = self.private().join("partial");
        files::make_dir(&folder)?;
        files::make_dir(&self.blobs())?;
        Partial::open(folder.join(digest.hex()), *digest, size, self.blob_path(digest))
    }

    /// chunkify's own folder inside the layout.
    pub fn private(&self) -> PathBuf {
        self.root.join(".chunkify")
    }

    /// A small file of our own, if it is there and readable: a cache, so nothing depends on it.
    pub fn read_private(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.private().join(name)).ok()?;
        file.take(limits::MANIFEST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes a small file of our own.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.private().join(name);
        files::make_dir(path.parent().unwrap_or(&path))?;
        files::replace(&path, bytes, &self.scratch()?)
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn scratch(&self) -> Result<PathBuf, StoreError> {
        let folder = self.private().join("tmp");
        files::make_dir(&folder)?;
        Ok(folder)
    }

    fn lock(&self) -> Result<File, StoreError> {
        files::lock(&self.private().join("index.lock"))
    }
}
