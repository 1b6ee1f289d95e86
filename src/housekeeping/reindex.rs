//! Making the indexes of all blobs' frames again.

use serde::Serialize;

use crate::local::{LocalFrames, NoFrames};
use crate::store::{FrameIndex, Layout, LeftoverKind, Shelf};

use super::HousekeepingError;

/// What was made.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Reindexed {
    /// Blobs whose frames are indexed now.
    pub blobs: usize,
    /// Their frames, each blob's different ones.
    pub frames: u64,
    /// Blobs that claim to be zstd:chunked and whose frames cannot be told; the log names them.
    pub failed: usize,
    /// Indexes of blobs that are not here, removed.
    pub removed: usize,
}

/// Makes all indexes from the blobs alone.
///
/// # Errors
/// [`HousekeepingError`] when the store cannot be read or written.
pub fn reindex(layout: &Layout) -> Result<Reindexed, HousekeepingError> {
    let mut done = Reindexed::default();
    for leftover in layout.leftovers()?.iter().filter(|leftover| leftover.kind == LeftoverKind::FrameIndex) {
        done.removed += usize::from(layout.remove_leftover(leftover)?);
    }
    let local = LocalFrames::every_blob(layout)?;
    for blob in &local.blobs {
        match local.rebuild(blob) {
            Ok(index) => {
                done.blobs += 1;
                done.frames += index.len();
            }
            Err(NoFrames::Store(error)) => return Err(error.into()),
            Err(why) => {
                FrameIndex::remove(layout, Shelf::Own, &blob.digest)?;
                if blob.is_claimed() {
                    tracing::warn!(blob = %blob.digest, "its frames cannot be told: {why}");
                    done.failed += 1;
                }
            }
        }
    }
    Ok(done)
}
