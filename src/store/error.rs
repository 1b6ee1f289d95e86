//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::image::document::DocumentError;

/// An error of the store; says which file, and what was being done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file system operation failed.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There is no room.
    #[error("cannot {doing} {}: the disk is full; free some space (chunkify store gc helps) and run the same command again", .path.display())]
    Full {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing can be written here.
    #[error("cannot {doing} {}: the store is on a read-only file system; it can be looked at and served, not changed", .path.display())]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Two processes could not keep out of each other's way.
    #[error("cannot lock {}: its file system has no locks, which a store needs; put the store on a local file system", .path.display())]
    NoLocks {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder is no OCI image layout.
    #[error("{} is not an OCI image layout: {why}", .path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        why: &'static str,
    },
    /// A blob that should be there is not.
    #[error("blob {digest} is missing from {}", .path.display())]
    Missing {
        /// The blob.
        digest: Digest,
        /// The layout.
        path: PathBuf,
    },
    /// A blob larger than what its use allows.
    #[error("blob {digest} is {size} bytes, more than the {limit} that are accepted here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// See [`crate::limits`].
        limit: u64,
    },
    /// Bytes that do not have the digest that they should have.
    #[error("expected a blob with digest {expected}, but its bytes have {got}")]
    Digest {
        /// As named.
        expected: Digest,
        /// Of the bytes.
        got: Digest,
    },
    /// A document does not parse.
    #[error("{} does not read", .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// No image of that name.
    #[error("{} holds no image{}; it holds {}", .path.display(), quoted(.name), list(.names))]
    NoImage {
        /// As asked for.
        name: String,
        /// The layout.
        path: PathBuf,
        /// What there is.
        names: Vec<String>,
    },
    /// Several images and no name.
    #[error("{} holds several images, name one of {}", .path.display(), list(.names))]
    Ambiguous {
        /// The layout.
        path: PathBuf,
        /// What there is.
        names: Vec<String>,
    },
    /// A cache file of ours is damaged or of another version; it is rebuilt.
    #[error("the frame index {} is not usable: {why}", .path.display())]
    FrameIndex {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

impl StoreError {
    /// An error of the file system, in the words that fit it.
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, path, source },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { doing, path, source },
            _ => Self::Io { doing, path, source },
        }
    }

    /// The same as an error of the file system, for those who can only say that.
    pub fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Io { source, .. } | Self::Full { source, .. } | Self::ReadOnly { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

/// A name that was asked for, or nothing where none was.
fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" {name:?}") }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names {
        [] => "nothing".into(),
        names if names.len() > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
        names => names.join(", "),
    }
}
