//! The store: an ordinary OCI image layout, written so that nothing half-written ever looks whole.
//!
//! Everything of chunkify's own lies in the folder `.chunkify` of the layout, which no reader of layouts looks at, and all of it can be
//! deleted while nothing runs: unfinished blobs, locks, notes of running processes, and caches that are rebuilt from the blobs.

mod blob_writer;
mod error;
mod files;
mod frame_index;
mod images;
mod layout;
mod lease;
mod leftovers;
mod partial;

pub use blob_writer::{BlobFile, BlobWriter};
pub use error::StoreError;
pub use files::{Change, Files, Held, Scratch, Watch, temporary_folder};
pub use frame_index::{FrameIndex, FrameKey, FrameRecord, Shelf, Wanted};
pub use images::{Named, choose};
pub use layout::{Layout, MARKER, check_marker};
pub use lease::Collecting;
pub use leftovers::{Leftover, LeftoverKind};
pub use partial::Partial;
