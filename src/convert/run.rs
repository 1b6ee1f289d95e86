//! The run over a whole image: down to its layers, and up again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::digest::Digest;
use crate::image::document::{self, Config, DocumentError};
use crate::image::{Descriptor, Index, Manifest, Platform, PlatformFilter, media_type, rewrite};
use crate::limits;
use crate::source::{Source, SourceError};
use crate::store::{Layout, StoreError};

use super::layer::{self, Kept, LayerFailure, LayerOutcome, LayerWork};

/// What is converted, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How layers are made.
    pub work: LayerWork,
    /// Only these platforms of an index; all when empty.
    pub platforms: Vec<PlatformFilter>,
}

/// What a run tells while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// A layer begins.
    Layer {
        /// Its old digest.
        digest: Digest,
        /// Bytes of its old blob.
        size: u64,
        /// Which of the image's layers, from 1.
        number: usize,
        /// How many layers the image has.
        of: usize,
    },
    /// Bytes of the layer's tar that were read so far.
    Progress(u64),
    /// The layer is done.
    LayerDone(ConvertedLayer),
}

/// A layer before and after.
#[derive(Clone, Debug)]
pub struct ConvertedLayer {
    /// Digest of the old blob.
    pub old_digest: Digest,
    /// Bytes of the old blob.
    pub old_size: u64,
    /// The new blob, and what was special.
    pub outcome: LayerOutcome,
}

/// A converted image.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The new root: a manifest or an index.
    pub root: Descriptor,
    /// Every layer once, in the order in which they were met.
    pub layers: Vec<ConvertedLayer>,
}

/// Why an image was not converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The source.
    #[error("cannot read the source")]
    Source(#[from] SourceError),
    /// The destination.
    #[error("cannot write the destination")]
    Store(#[from] StoreError),
    /// A document of the image.
    #[error("{digest}: {source}")]
    Document {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// A layer.
    #[error("layer {number} of {of} ({digest}) of manifest {manifest}: {source}")]
    Layer {
        /// From 1.
        number: usize,
        /// Layers of the image.
        of: usize,
        /// Its old digest.
        digest: Digest,
        /// The image.
        manifest: Digest,
        /// What is wrong.
        source: LayerFailure,
    },
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
    /// Neither a manifest nor an index.
    #[error("{digest} is of type {media_type:?}, which is no image manifest or index")]
    Type {
        /// The document.
        digest: Digest,
        /// As announced.
        media_type: String,
    },
    /// Indexes inside indexes without end.
    #[error("indexes are nested more than {limit} deep", limit = limits::INDEX_DEPTH)]
    Depth,
    /// The filter leaves nothing.
    #[error("the image has none of the asked platforms; it has {0}")]
    NoPlatform(String),
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] io::Error),
}

/// Told of everything that happens; called from any thread.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// Converts the image of `source` into `layout`. The layout's `index.json` is not touched: naming the root is the caller's last step.
///
/// # Errors
/// [`ConvertError`]; finished layers stay in the layout for the next attempt.
pub async fn convert(
    source: &Source,
    layout: &Layout,
    options: &Options,
    report: Report,
) -> Result<Converted, ConvertError> {
    let root = source.root().await?;
    let mut run = Run { source, layout, options, report, done: BTreeMap::new(), order: Vec::new() };
    let new = run.document(&root.descriptor, root.bytes, 0).await?;
    let layers = run.order.iter().filter_map(|digest| run.done.get(digest).cloned()).collect();
    Ok(Converted { root: new, layers })
}

struct Run<'a> {
    source: &'a Source,
    layout: &'a Layout,
    options: &'a Options,
    report: Report,
    done: BTreeMap<Digest, ConvertedLayer>,
    order: Vec<Digest>,
}

impl Run<'_> {
    /// Converts a manifest or index, and returns the new descriptor of it.
    async fn document(&mut self, old: &Descriptor, bytes: Vec<u8>, depth: usize) -> Result<Descriptor, ConvertError> {
        if media_type::is_index(&old.media_type) {
            if depth >= limits::INDEX_DEPTH {
                return Err(ConvertError::Depth);
            }
            Box::pin(self.index(old, &bytes, depth)).await
        } else if media_type::is_manifest(&old.media_type) {
            self.manifest(old, bytes).await
        } else {
            Err(ConvertError::Type { digest: old.digest, media_type: old.media_type.clone() })
        }
    }

    async fn index(&mut self, old: &Descriptor, bytes: &[u8], depth: usize) -> Result<Descriptor, ConvertError> {
        let wrong = |source| ConvertError::Document { digest: old.digest, source };
        let mut index = Index::parse(bytes).map_err(wrong)?;
        self.select(&mut index)?;
        if let ([only], false) = (&index.manifests[..], self.options.platforms.is_empty()) {
            let bytes = self.source.document(only).await?;
            return self.document(only, bytes, depth + 1).await;
        }
        let mut replaced = BTreeMap::new();
        for child in &index.manifests {
            let bytes = self.source.document(child).await?;
            let new = self.document(child, bytes, depth + 1).await?;
            replaced.insert(child.digest, new);
        }
        let new = rewrite::index(&index, &replaced);
        self.put(media_type::INDEX, &document::to_bytes(&new))
    }

    /// Leaves only the asked platforms, and what refers to them.
    fn select(&self, index: &mut Index) -> Result<(), ConvertError> {
        let wanted = &self.options.platforms;
        if wanted.is_empty() {
            return Ok(());
        }
        let is_wanted = |listed: &Descriptor| {
            listed.platform.as_ref().is_some_and(|platform| wanted.iter().any(|filter| filter.matches(platform)))
        };
        if !index.manifests.iter().any(is_wanted) {
            let name = |platform: &Platform| format!("{}/{}", platform.os, platform.architecture);
            let have: Vec<_> = index.manifests.iter().filter_map(|listed| listed.platform.as_ref()).map(name).collect();
            return Err(ConvertError::NoPlatform(have.join(", ")));
        }
        index.manifests.retain(is_wanted);
        Ok(())
    }

    async fn manifest(&mut self, old: &Descriptor, bytes: Vec<u8>) -> Result<Descriptor, ConvertError> {
        let wrong = |digest| move |source| ConvertError::Document { digest, source };
        let manifest = Manifest::parse(&bytes).map_err(wrong(old.digest))?;
        let config = self.source_bytes(&manifest.config).await?;
        if !media_type::is_image_config(&manifest.config.media_type) {
            return self.copy_artifact(old, &manifest, &bytes).await;
        }
        let diff_ids = Config::parse(&config).map_err(wrong(manifest.config.digest))?.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
            return Err(ConvertError::DiffIds { manifest: old.digest, layers, diff_ids });
        }
        let mut layers = Vec::new();
        let of = manifest.layers.len();
        for (at, (layer, diff_id)) in manifest.layers.iter().zip(diff_ids).enumerate() {
            let new = self.layer(layer, diff_id, at + 1, of);
            let new = new.await.map_err(|error| error.in_layer(at + 1, of, layer.digest, old.digest))?;
            layers.push(new);
        }
        let new = rewrite::manifest(&manifest, layers);
        let bytes = if new == manifest { bytes } else { document::to_bytes(&new) };
        self.put(media_type::MANIFEST, &bytes)
    }

    async fn source_bytes(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ConvertError> {
        let bytes = self.source.document(descriptor).await?;
        self.layout.put_blob(&bytes)?;
        Ok(bytes)
    }

    /// Something that is no image (an attestation, a chart) goes over as it is.
    async fn copy_artifact(
        &mut self,
        old: &Descriptor,
        manifest: &Manifest,
        bytes: &[u8],
    ) -> Result<Descriptor, ConvertError> {
        for blob in &manifest.layers {
            self.copy_blob(blob).await?;
        }
        self.layout.put_blob(bytes)?;
        Ok(old.clone())
    }

    async fn copy_blob(&self, blob: &Descriptor) -> Result<(), ConvertError> {
        if self.layout.blob_size(&blob.digest)?.is_some() {
            return Ok(());
        }
        let mut file = self.source.blob(blob).await?;
        let mut writer = self.layout.blob_writer()?;
        let digest = blob.digest;
        let size = blob.size;
        let copied = tokio::task::spawn_blocking(move || {
            let copied = io::copy(&mut file, &mut writer);
            copied.map(|_| writer)
        });
        let span = crate::span::Span::with_len(0, size.max(1)).expect("not empty");
        let failed = |source| SourceError::Read { digest, span, source };
        let writer = copied.await.map_err(worker)?.map_err(failed)?;
        writer.commit(Some(digest))?;
        Ok(())
    }

    async fn layer(
        &mut self,
        old: &Descriptor,
        diff_id: Digest,
        number: usize,
        of: usize,
    ) -> Result<Descriptor, LayerTrouble> {
        if let Some(done) = self.done.get(&old.digest) {
            let (expected, got) = (diff_id, done.outcome.diff_id);
            if expected != got {
                return Err(LayerFailure::DiffId { expected, got }.into());
            }
            return Ok(new_descriptor(old, &done.outcome));
        }
        if media_type::is_foreign_layer(&old.media_type) || !media_type::is_layer(&old.media_type) {
            return self.foreign_layer(old).await;
        }
        (self.report)(Event::Layer { digest: old.digest, size: old.size, number, of });
        let blob = self.source.blob(old).await.map_err(ConvertError::from)?;
        let (layout, work, descriptor) = (self.layout.clone(), self.options.work, old.clone());
        let report = self.report.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let mut progress = |read| report(Event::Progress(read));
            layer::convert(&layout, &work, &descriptor, blob, diff_id, &mut progress)
        });
        let outcome = outcome.await.map_err(worker)??;
        let done = ConvertedLayer { old_digest: old.digest, old_size: old.size, outcome };
        (self.report)(Event::LayerDone(done.clone()));
        let new = new_descriptor(old, &done.outcome);
        self.order.push(old.digest);
        self.done.insert(old.digest, done);
        Ok(new)
    }

    /// A layer of unknown type is copied; one that lives elsewhere may be missing. Both keep their descriptor, in OCI's words.
    async fn foreign_layer(&self, old: &Descriptor) -> Result<Descriptor, LayerTrouble> {
        if media_type::is_foreign_layer(&old.media_type) {
            tracing::warn!(layer = %old.digest, "a foreign layer is left where it is");
        } else {
            tracing::warn!(layer = %old.digest, media_type = old.media_type, "a layer of unknown type is copied as it is");
            self.copy_blob(old).await?;
        }
        let mut new = old.clone();
        new.media_type = media_type::to_oci(&old.media_type).into();
        Ok(new)
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, ConvertError> {
        let digest = self.layout.put_blob(bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }
}

/// What can go wrong with a layer, before it is known which.
enum LayerTrouble {
    Layer(LayerFailure),
    Run(ConvertError),
}

impl LayerTrouble {
    fn in_layer(self, number: usize, of: usize, digest: Digest, manifest: Digest) -> ConvertError {
        match self {
            Self::Layer(source) => ConvertError::Layer { number, of, digest, manifest, source },
            Self::Run(error) => error,
        }
    }
}

impl From<LayerFailure> for LayerTrouble {
    fn from(failure: LayerFailure) -> Self {
        Self::Layer(failure)
    }
}

impl From<ConvertError> for LayerTrouble {
    fn from(error: ConvertError) -> Self {
        Self::Run(error)
    }
}

fn new_descriptor(old: &Descriptor, outcome: &LayerOutcome) -> Descriptor {
    if outcome.kept == Kept::Chunked {
        let mut same = old.clone();
        same.media_type = media_type::LAYER_ZSTD.into();
        return same;
    }
    rewrite::layer(old, &outcome.blob)
}

fn worker(error: tokio::task::JoinError) -> ConvertError {
    ConvertError::Worker(io::Error::other(error))
}
