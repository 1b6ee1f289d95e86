//! Verification: every digest of an image, down to each frame of each layer, and the tar that comes of them.

mod image;
mod layer;

pub use image::{Verified, VerifyError, image};
pub use layer::{LayerFault, blob, chunked};
