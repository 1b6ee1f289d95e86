//! What can go wrong while an image is unpacked.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::image::document::DocumentError;
use crate::limits;
use crate::source::SourceError;
use crate::tar::fault::Fault;
use crate::tar::sparse::SparseError;

use super::name::NameError;

/// Why an image was not unpacked. Nothing is at its destination then.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A document of the image.
    #[error("{digest}: {source}")]
    Document {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// Neither a manifest nor an index.
    #[error("{digest} is of type {media_type:?}, which is no image manifest or index")]
    Type {
        /// The document.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// A manifest of something that has no root file system.
    #[error("{digest} is no image: its config is of type {config:?}")]
    Artifact {
        /// The manifest.
        digest: Digest,
        /// The type of its config.
        config: String,
    },
    /// Indexes inside indexes without end.
    #[error("indexes are nested more than {limit} deep", limit = limits::INDEX_DEPTH)]
    Depth,
    /// The index has no such image.
    #[error("the image has no such platform; it has {0}: choose one with --platform")]
    NoPlatform(String),
    /// A config that does not describe the layers.
    #[error("manifest {manifest} has {layers} layers, its config lists {diff_ids} diff_ids")]
    DiffIds {
        /// The image.
        manifest: Digest,
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer that is no tar here.
    #[error("layer {number} ({digest}) is of type {media_type:?}, which cannot be unpacked")]
    LayerType {
        /// From 1.
        number: usize,
        /// The blob.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// The destination.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// A layer.
    #[error("layer {number} of {of} ({digest})")]
    Layer {
        /// From 1.
        number: usize,
        /// Layers of the image.
        of: usize,
        /// The blob.
        digest: Digest,
        /// What is wrong.
        source: LayerFailure,
    },
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] io::Error),
}

/// Why nothing can be unpacked at a place.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// Something is there.
    #[error("{} is not empty: name a folder that is empty or does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// A file, a device, or the like.
    #[error("{} is no folder", .0.display())]
    NotAFolder(PathBuf),
    /// The root, or a path that ends in dots.
    #[error("{} cannot be replaced: name a folder below it", .0.display())]
    NoName(PathBuf),
    /// A file system of its own.
    #[error("{} is a mount point, which no finished folder can be moved to: name a folder below it", .0.display())]
    MountPoint(PathBuf),
    /// The folder above.
    #[error("{} does not exist: make it first", .0.display())]
    NoParent(PathBuf),
    /// Another process unpacks there, or something else made it.
    #[error("{} has appeared meanwhile", .0.display())]
    Appeared(PathBuf),
    /// Ownership needs root.
    #[error("only root can give files the owners that the image has: use --rootless for files that are all yours")]
    NotRoot,
    /// The system.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerFailure {
    /// Its blob or what it is compressed with.
    #[error("cannot read its tar")]
    Read(#[source] io::Error),
    /// Its tar.
    #[error(transparent)]
    Tar(#[from] Fault),
    /// Its tar is another.
    #[error("its tar has digest {got}, the config's diff_id is {expected}")]
    DiffId {
        /// From the config.
        expected: Digest,
        /// Of the tar.
        got: Digest,
    },
    /// One of its entries.
    #[error("entry {name:?}")]
    Entry {
        /// The entry.
        name: String,
        /// What is wrong.
        source: EntryFailure,
    },
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
}

/// Why an entry was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum EntryFailure {
    /// Its name, or that of a hard link's target.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The sparse map.
    #[error(transparent)]
    Sparse(#[from] SparseError),
    /// Not a folder, for the root.
    #[error("the root can be nothing but a folder")]
    RootType,
    /// Something that is no folder stands where its folder should be.
    #[error("{0:?}, in which it lies, is no folder")]
    NotAFolder(String),
    /// Symlinks without end.
    #[error("its folder {0:?} leads through too many symlinks")]
    Links(String),
    /// A number that the system cannot take.
    #[error("its {what} is {value}, which is out of range")]
    Number {
        /// Which one.
        what: &'static str,
        /// As the header has it.
        value: i64,
    },
    /// A hard link to nothing.
    #[error("the target {0:?} of the hard link does not exist")]
    NoTarget(String),
    /// A hard link to a folder.
    #[error("the target {0:?} of the hard link is a folder")]
    FolderTarget(String),
    /// An extended attribute.
    #[error("cannot set the extended attribute {name:?}")]
    Xattr {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A device node, without the right to make one.
    #[error("cannot make a device node: {0}; with --rootless an empty file takes its place")]
    Device(io::Error),
    /// A kernel without `openat2`.
    #[error(
        "paths cannot be followed safely: {0}; Linux 5.6 or newer is needed, and a sandbox that lets openat2 through"
    )]
    OpenAt2(io::Error),
    /// More than the image may take.
    #[error("the files of the image take more than {limit} bytes: allow more with --max-size if you trust it")]
    Room {
        /// Bytes of content, holes not counted.
        limit: u64,
    },
    /// The system.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Says what was being done when the system said no.
pub(super) fn doing<T>(result: rustix::io::Result<T>, doing: &'static str) -> Result<T, EntryFailure> {
    result.map_err(|errno| EntryFailure::Io { doing, source: errno.into() })
}

/// A name for people.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
