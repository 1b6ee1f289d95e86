//! The store: an ordinary OCI image layout, written so that nothing half-written ever looks whole.
//!
//! Everything of chunkify's own lies in the folder `.chunkify` of the layout, which no reader of layouts looks at, and all of it can be
//! deleted: unfinished blobs, locks, and caches that are rebuilt from the blobs.

mod blob_writer;
mod error;
mod files;
mod frame_index;
mod layout;
mod partial;

pub use blob_writer::BlobWriter;
pub use error::StoreError;
pub use frame_index::{FrameIndex, FrameKey, FrameRecord};
pub use layout::{Layout, Named};
pub use partial::Partial;
