//! An image as a root file system: layers applied one over the other, whiteouts and all, into a folder that is whole or not there.
//!
//! Layers are hostile input. [`name`] reads their names, `tree` lets the kernel find where a path leads without ever leaving the folder,
//! `place` makes objects by one name in one open folder. What a layer is compressed with does not matter here: each is read from its
//! blob's start to its end, and its tar must be the one that the config names.

mod content;
mod error;
mod layer;
mod metadata;
pub mod name;
mod outcome;
mod place;
mod remove;
mod room;
mod run;
mod staging;
mod tree;

pub use error::{EntryFailure, LayerFailure, StagingError, UnpackError};
pub use metadata::Ownership;
pub use outcome::Outcome;
pub use run::{Event, Options, Report, unpack};
