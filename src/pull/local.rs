//! What the store has: the frames of all its zstd:chunked blobs.

use crate::digest::Digest;
use crate::format::annotations::Annotations;
use crate::format::frame_map::{self, FrameMap, LayerError};
use crate::image::{Descriptor, Index, Manifest, media_type};
use crate::limits;
use crate::source::read_span;
use crate::store::{FrameIndex, FrameKey, FrameRecord, Layout, StoreError};

/// A blob of a store whose frames are known.
#[derive(Debug)]
pub struct LocalBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its frames.
    pub frames: FrameIndex,
}

/// All blobs that frames can be copied from.
#[derive(Debug, Default)]
pub struct LocalFrames {
    /// In the order in which the store lists them.
    pub blobs: Vec<LocalBlob>,
}

impl LocalFrames {
    /// Gathers the frames of every zstd:chunked layer that the layout's images have. A blob whose frames cannot be told is left out, and
    /// the log says why: a pull fetches a little more then.
    ///
    /// # Errors
    /// [`StoreError`] when the layout itself cannot be read.
    pub fn gather(layout: &Layout) -> Result<Self, StoreError> {
        let mut local = Self::default();
        for layer in chunked_layers(layout)? {
            match frames_of(layout, &layer) {
                Ok(Some(frames)) => local.blobs.push(LocalBlob { digest: layer.digest, frames }),
                Ok(None) => {}
                Err(why) => tracing::warn!(blob = %layer.digest, "its frames are not reused: {why}"),
            }
        }
        Ok(local)
    }
}

/// The descriptors of all layers of all images that claim to be zstd:chunked, each blob once.
fn chunked_layers(layout: &Layout) -> Result<Vec<Descriptor>, StoreError> {
    let mut layers = std::collections::BTreeMap::new();
    let mut pending: Vec<(Descriptor, usize)> =
        layout.index()?.manifests.into_iter().map(|descriptor| (descriptor, 0)).collect();
    while let Some((descriptor, depth)) = pending.pop() {
        let Ok(bytes) = layout.read_blob(&descriptor.digest, limits::MANIFEST) else { continue };
        if media_type::is_index(&descriptor.media_type) && depth < limits::INDEX_DEPTH {
            let children = Index::parse(&bytes).map(|index| index.manifests).unwrap_or_default();
            pending.extend(children.into_iter().map(|child| (child, depth + 1)));
        } else if let Ok(manifest) = Manifest::parse(&bytes) {
            let chunked = manifest.layers.into_iter().filter(|layer| Annotations::parse(&layer.annotations).is_ok());
            layers.extend(chunked.map(|layer| (layer.digest, layer)));
        }
    }
    Ok(layers.into_values().collect())
}

/// Why a local blob's frames cannot be told.
#[derive(Debug, thiserror::Error)]
enum NoFrames {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("its tail cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// The frames of one local blob, from its cache or from its tail; `None` when the blob is not there.
fn frames_of(layout: &Layout, layer: &Descriptor) -> Result<Option<FrameIndex>, NoFrames> {
    if layout.blob_size(&layer.digest)? != Some(layer.size) {
        return Ok(None);
    }
    match FrameIndex::load(layout, &layer.digest) {
        Ok(Some(frames)) => return Ok(Some(frames)),
        Ok(None) => {}
        Err(why) => tracing::info!("{why}; it is made again"),
    }
    let Ok(annotations) = Annotations::parse(&layer.annotations) else { return Ok(None) };
    let tail = annotations.positions.check(layer.size).map_err(LayerError::from)?;
    let bytes = read_span(&layout.open_blob(&layer.digest)?, tail.span())?;
    let map = frame_map::check(&annotations, &tail, &bytes)?;
    let frames = index_of(&map);
    if let Err(why) = frames.save(layout, &layer.digest) {
        tracing::info!("a frame index is not kept: {why}");
    }
    Ok(Some(frames))
}

/// The frames of a map, sorted for looking up.
pub fn index_of(map: &FrameMap) -> FrameIndex {
    let record = |frame: &frame_map::Frame| FrameRecord { key: key(frame), offset: frame.span.start() };
    FrameIndex::new(map.frames.iter().map(record).collect())
}

/// By what a frame is found.
pub fn key(frame: &frame_map::Frame) -> FrameKey {
    FrameKey { digest: frame.digest, len: frame.len, compressed: frame.span.len() }
}
