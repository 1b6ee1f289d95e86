//! What a test sees of the changes that the store makes.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

/// One change that is about to be made. Names are those that the files have at that moment.
#[derive(Debug)]
pub enum Change<'a> {
    /// A folder is made.
    MakeDir(&'a Path),
    /// An empty file is made.
    Create(&'a Path),
    /// Bytes are written.
    Write {
        /// Into which file.
        path: &'a Path,
        /// Where.
        offset: u64,
        /// Which.
        bytes: &'a [u8],
    },
    /// Bytes of another file are copied, or shared with it.
    Copy {
        /// Into which file.
        path: &'a Path,
        /// Where.
        offset: u64,
        /// From which file.
        from: &'a File,
        /// Where in that.
        from_offset: u64,
        /// How many.
        len: u64,
    },
    /// A file gets another length; new bytes are zeros.
    SetLen {
        /// Which file.
        path: &'a Path,
        /// The new length in bytes.
        len: u64,
    },
    /// A file gets another name, in place of whatever has it.
    Rename {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// A name goes.
    Remove(&'a Path),
    /// A file's bytes are put on disk.
    Sync(&'a Path),
    /// A folder's names are put on disk.
    SyncDir(&'a Path),
    /// A file is locked, which a file system may refuse.
    Lock(&'a Path),
}

/// Hears of every change before it is made, from any thread.
pub trait Watch: Send + Sync + Debug {
    /// An error refuses the change, as a full or read-only disk would.
    ///
    /// # Errors
    /// Whatever the test plays.
    fn before(&self, change: &Change<'_>) -> io::Result<()>;
}
