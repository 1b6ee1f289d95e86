//! Images in archives: an OCI layout in a tar (`oci-archive:`), or what `docker save` writes (`docker-archive:`).
//!
//! Nothing is unpacked. The tar is walked once, from header to header, and its blobs are read where they lie in it. What an archive says of
//! itself is believed as little as what a registry says: names that lead elsewhere, names that stand there twice, sizes that the file
//! does not have and blobs that are not what they are called are refused, with the member named.

mod docker;
mod error;
mod members;
mod oci;
mod open;
mod write;

pub use error::{ArchiveError, MemberFault};
pub use open::Archive;
pub use write::Writer;

use std::fmt;

/// The two kinds of archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An OCI image layout in a tar.
    Oci,
    /// `manifest.json`, configs and layers, as `docker save` writes them and `docker load` reads them.
    Docker,
}

impl Form {
    /// The word in front of the file's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Oci => "oci-archive",
            Self::Docker => "docker-archive",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
