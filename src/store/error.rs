//! What can go wrong in a store.

use std::io;
use std::path::PathBuf;

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
    #[error("{} holds no image {name:?}; it holds {}", .path.display(), list(.names))]
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

fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names {
        [] => "none".into(),
        names if names.len() > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
        names => names.join(", "),
    }
}
