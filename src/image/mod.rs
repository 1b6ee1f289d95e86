//! OCI documents: manifests, indexes, descriptors. What chunkify does not know in them survives.

pub mod document;
pub mod media_type;
pub mod platform;
pub mod referrer;
pub mod rewrite;

pub use document::{Descriptor, Index, Manifest, Platform};
pub use platform::{PlatformFilter, PlatformFilterError};
pub use referrer::Referrer;
