//! A whole image.

use crate::digest::Digest;
use crate::format::annotations::{Annotations, AnnotationsError};
use crate::format::tail::TailError;
use crate::image::document::{Config, DocumentError};
use crate::image::{Descriptor, Index, Manifest, media_type};
use crate::limits;
use crate::source::{Source, SourceError};

use super::layer::{self, LayerFault};

/// What was verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verified {
    /// Manifests.
    pub manifests: usize,
    /// Layers, each blob counted once for each image that has it.
    pub layers: usize,
    /// Those of them that are zstd:chunked.
    pub chunked: usize,
    /// Frames.
    pub frames: usize,
    /// Bytes of blobs.
    pub bytes: u64,
}

/// The first thing that is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A document.
    #[error("{digest}: {source}")]
    Document {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// Indexes inside indexes without end.
    #[error("indexes are nested more than {limit} deep", limit = limits::INDEX_DEPTH)]
    Depth,
    /// A config that does not describe the layers.
    #[error("manifest {manifest} has {layers} layers, its config lists {diff_ids} diff_ids")]
    DiffIds {
        /// The image.
        manifest: Digest,
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// Annotations that claim what they do not say rightly.
    #[error("layer {number} ({digest}) of manifest {manifest}: {source}")]
    Annotations {
        /// From 1.
        number: usize,
        /// The blob.
        digest: Digest,
        /// The image.
        manifest: Digest,
        /// What is wrong.
        source: AnnotationsError,
    },
    /// A layer.
    #[error("layer {number} ({digest}) of manifest {manifest}: {source}")]
    Layer {
        /// From 1.
        number: usize,
        /// The blob.
        digest: Digest,
        /// The image.
        manifest: Digest,
        /// What is wrong.
        source: LayerFault,
    },
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
}

/// Verifies an image wholly. From a registry every blob is fetched.
///
/// # Errors
/// [`VerifyError`], the first fault.
pub async fn image(source: &Source) -> Result<Verified, VerifyError> {
    let root = source.root().await?;
    let mut verified = Verified::default();
    document(source, &root.descriptor, root.bytes, 0, &mut verified).await?;
    Ok(verified)
}

async fn document(
    source: &Source,
    descriptor: &Descriptor,
    bytes: Vec<u8>,
    depth: usize,
    verified: &mut Verified,
) -> Result<(), VerifyError> {
    let wrong = |source| VerifyError::Document { digest: descriptor.digest, source };
    if media_type::is_index(&descriptor.media_type) {
        if depth >= limits::INDEX_DEPTH {
            return Err(VerifyError::Depth);
        }
        for child in Index::parse(&bytes).map_err(wrong)?.manifests {
            let bytes = source.document(&child).await?;
            Box::pin(document(source, &child, bytes, depth + 1, verified)).await?;
        }
        return Ok(());
    }
    let manifest = Manifest::parse(&bytes).map_err(wrong)?;
    let config = source.document(&manifest.config).await?;
    verified.manifests += 1;
    let mut diff_ids = Vec::new();
    if media_type::is_image_config(&manifest.config.media_type) {
        diff_ids = Config::parse(&config).map_err(wrong)?.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
            return Err(VerifyError::DiffIds { manifest: descriptor.digest, layers, diff_ids });
        }
    }
    for (at, blob) in manifest.layers.iter().enumerate() {
        if media_type::is_foreign_layer(&blob.media_type) {
            continue;
        }
        let diff_id = diff_ids.get(at).copied().filter(|_| media_type::is_layer(&blob.media_type));
        layer_of(source, descriptor.digest, at + 1, blob, diff_id, verified).await?;
    }
    Ok(())
}

async fn layer_of(
    source: &Source,
    manifest: Digest,
    number: usize,
    blob: &Descriptor,
    diff_id: Option<Digest>,
    verified: &mut Verified,
) -> Result<(), VerifyError> {
    let digest = blob.digest;
    let annotations = match Annotations::parse(&blob.annotations) {
        // What is known to be taken whole is verified as what it is in any case.
        Ok(annotations) if annotations.positions.check(blob.size) == Err(TailError::ShortFooter) => None,
        Ok(annotations) => Some(annotations),
        // Other formats' layers are verified as what they are: compressed tars.
        Err(
            AnnotationsError::Absent
            | AnnotationsError::OldDialect
            | AnnotationsError::NoTarSplit
            | AnnotationsError::Estargz,
        ) => None,
        Err(source) => return Err(VerifyError::Annotations { number, digest, manifest, source }),
    };
    let file = source.blob(blob).await?;
    let check = tokio::task::spawn_blocking(move || layer::blob(&file, Some(digest), annotations.as_ref(), diff_id));
    let map = check.await.map_err(VerifyError::Worker)?;
    let map = map.map_err(|source| VerifyError::Layer { number, digest, manifest, source })?;
    verified.layers += 1;
    verified.bytes += blob.size;
    if let Some(map) = map {
        verified.chunked += 1;
        verified.frames += map.frames.len();
    }
    Ok(())
}
