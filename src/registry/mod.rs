//! Registries.

pub mod content_range;
pub mod reference;
