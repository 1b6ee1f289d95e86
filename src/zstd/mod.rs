//! zstd as this project needs it: independent frames, skippable frames, bounded decoding.

pub mod codec;
pub mod frames;
