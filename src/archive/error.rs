//! What can be wrong with an archive.

use std::path::{Path, PathBuf};

use crate::image::document::DocumentError;
use crate::limits;
use crate::store::StoreError;
use crate::tar::fault::Fault;

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file, or which image of the archive is meant.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder, a device, or the like.
    #[error("{} is no file: name the file of an archive, or oci:DIR for a layout in a folder", .0.display())]
    NotAFile(PathBuf),
    /// xz, bzip2.
    #[error("{} is compressed, but neither with gzip nor with zstd: decompress it first", .0.display())]
    Compression(PathBuf),
    /// Not a tar, or one that is damaged.
    #[error("{} cannot be read as a tar", .path.display())]
    Tar {
        /// The archive.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: Fault,
    },
    /// More names than anybody needs.
    #[error("{} has too many members: their names take more than the {limit} bytes that are accepted", .0.display(), limit = limits::ARCHIVE_NAMES)]
    TooMany(PathBuf),
    /// A member that has no place in an image.
    #[error("{}: its member {name:?} {fault}", .path.display())]
    Member {
        /// The archive.
        path: PathBuf,
        /// The member.
        name: String,
        /// What is wrong with it.
        fault: MemberFault,
    },
    /// Another kind of archive, or none.
    #[error("{} is no {form}: {why}", .path.display())]
    Form {
        /// The archive.
        path: PathBuf,
        /// What it was taken for.
        form: super::Form,
        /// What is missing, and what it may be instead.
        why: &'static str,
    },
    /// A document of the image.
    #[error("{}: its member {name:?} does not read", .path.display())]
    Document {
        /// The archive.
        path: PathBuf,
        /// The member.
        name: String,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// `manifest.json` and the config do not fit together.
    #[error("{}: manifest.json lists {layers} layers of the image, its config {config:?} has {diff_ids} diff_ids", .path.display())]
    Layers {
        /// The archive.
        path: PathBuf,
        /// The config's member.
        config: String,
        /// In manifest.json.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// Not what docker calls images.
    #[error("{0:?} is no name for an image in a docker-archive: write REPOSITORY[:TAG]")]
    Name(String),
    /// Several platforms where there is room for one.
    #[error(
        "docker-archive holds images of one platform each, and this is an index of several: choose one with --platform, or write oci-archive:FILE"
    )]
    Index,
}

/// What is wrong with a member.
#[derive(Debug, thiserror::Error)]
pub enum MemberFault {
    /// Which of the two counts, tools do not agree.
    #[error("stands there twice")]
    Twice,
    /// An absolute name, or one with `..`.
    #[error("leads out of the archive")]
    Outside,
    /// Not a plain file.
    #[error("is {0}, where a plain file is needed")]
    Kind(&'static str),
    /// It lies in something that is no folder.
    #[error("lies in {0:?}, which is no folder")]
    NotAFolder(String),
    /// Not there.
    #[error("is missing")]
    Missing,
    /// Its header promises more than there is.
    #[error("should have {stated} bytes, but the archive ends after {there}")]
    Cut {
        /// In its header.
        stated: u64,
        /// Behind its header.
        there: u64,
    },
    /// A document that is none.
    #[error("is {size} bytes, more than the {limit} that are accepted for a document", limit = limits::MANIFEST)]
    TooLarge {
        /// Its bytes.
        size: u64,
    },
    /// Its name is another digest.
    #[error("has digest {0}, which is not the one in its name")]
    Digest(crate::digest::Digest),
    /// A layer in xz or bzip2.
    #[error("cannot be a layer: {0}")]
    Layer(std::io::Error),
    /// A link to a link, or to nothing.
    #[error("is a link to {0:?}, which is no plain file of the archive")]
    Link(String),
}

impl ArchiveError {
    pub(super) fn member(path: &Path, name: &[u8], fault: MemberFault) -> Self {
        Self::Member { path: path.into(), name: String::from_utf8_lossy(name).into_owned(), fault }
    }
}
