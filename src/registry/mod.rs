//! Registries.

pub mod challenge;
pub mod content_range;
pub mod credentials;
pub mod multipart;
pub mod reference;
