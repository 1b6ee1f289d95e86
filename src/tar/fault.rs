//! What is wrong with a tar, and where.

use super::header::HeaderError;
use super::pax::PaxError;
use super::sparse::SparseError;

/// Why a tar has no faithful table of contents. Its bytes are still a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Not a tar header, or one with malformed fields.
    #[error("unreadable tar header: {0}")]
    Header(#[from] HeaderError),
    /// A malformed extended header.
    #[error("unreadable extended header: {0}")]
    Pax(#[from] PaxError),
    /// An extended header above [`crate::limits::TAR_SPECIAL`], or several above [`crate::limits::TAR_HEADERS`] together.
    #[error("extended headers of {len} bytes, more than the {limit} that readers accept")]
    TooLong {
        /// Their bytes.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// More members than [`crate::limits::ENTRIES`], or than the scanner was told.
    #[error("more than {0} entries, which is the limit")]
    TooMany(u64),
    /// A type flag that a table of contents cannot name.
    #[error("entry type {:?} has no form in a table of contents", char::from(*.0))]
    Flag(u8),
    /// The same, for those who unpack.
    #[error("entry type {:?} is none that can be unpacked", char::from(*.0))]
    Unknown(u8),
    /// A sparse file, in any of GNU tar's forms.
    #[error("sparse entries have no form in a table of contents")]
    Sparse,
    /// A sparse file whose map does not read (only a lenient scanner looks).
    #[error(transparent)]
    SparseMap(#[from] SparseError),
    /// A link, device, directory or fifo that states a size.
    #[error("a size of {0} on an entry that has no payload")]
    PayloadOnHeaderOnly(i64),
    /// The archive ends inside a header, a payload or its padding.
    #[error("the archive ends inside {0}")]
    Truncated(&'static str),
    /// One block of zeros and then something else.
    #[error("a lone block of zeros inside the archive")]
    LoneZeroBlock,
    /// Data after the end of the archive.
    #[error("data other than zeros after the end of the archive")]
    TrailingData,
    /// Zeros after the end of the archive whose number readers of the tar-split refuse.
    #[error("an odd number of zeros after the end of the archive")]
    TrailingLength,
}

/// A fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}, at byte {offset} of the tar{}", .entry.as_ref().map(|name| format!(", at or after entry {:?}", String::from_utf8_lossy(name))).unwrap_or_default())]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The last entry whose name is known.
    pub entry: Option<Vec<u8>>,
    /// The offset in the tar up to which it was read.
    pub offset: u64,
}
