//! OCI documents: manifests, indexes, descriptors. What chunkify does not know in them survives.

pub mod document;
pub mod media_type;
pub mod rewrite;

pub use document::{Descriptor, Index, Manifest, Platform};
