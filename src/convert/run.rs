//! The run over a whole image: plan, layers at once, documents upwards.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};

use crate::digest::Digest;
use crate::encode::Pool;
use crate::image::document::{self, DocumentError};
use crate::image::{Descriptor, PlatformFilter, media_type, rewrite};
use crate::limits;
use crate::source::{Source, SourceError};
use crate::store::{Layout, StoreError};

use super::layer::{self, Kept, LayerFailure, LayerOutcome, LayerProgress, LayerWork, Shared};
use super::plan::{self, Fate, Image, Node, Plan, PlannedLayer};

/// What is converted, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How layers are made.
    pub work: LayerWork,
    /// Only these platforms of an index; all when empty.
    pub platforms: Vec<PlatformFilter>,
    /// Threads that compress, for all layers together; the bytes do not depend on it.
    pub threads: usize,
    /// Uncompressed bytes that may wait for them, or for their turn to be written, for all layers together.
    pub memory: usize,
}

/// Layers that are read and written at once. Each has a thread that inflates, one that scans and one that writes; those that compress
/// are shared.
const LAYERS_AT_ONCE: usize = 4;

/// What a run tells while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// The plan stands.
    Planned {
        /// Layers to convert.
        layers: usize,
        /// Bytes of their old blobs.
        bytes: u64,
        /// Whether they come from a registry, so that each is fetched before it is converted.
        fetched: bool,
    },
    /// A layer begins.
    Layer {
        /// Its old digest.
        digest: Digest,
        /// Bytes of its old blob.
        size: u64,
    },
    /// How far the download of a layer is.
    Fetching {
        /// Its old digest.
        digest: Digest,
        /// Bytes of its old blob that have come.
        fetched: u64,
    },
    /// How far a layer is.
    Progress {
        /// Its old digest.
        digest: Digest,
        /// So far.
        progress: LayerProgress,
    },
    /// The layer is done.
    LayerDone(Box<ConvertedLayer>),
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
        source: Box<LayerFailure>,
    },
    /// Ended because something else had failed, which is what is told.
    #[error("stopped, because another layer had failed")]
    Stopped,
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
    let plan = plan::plan(source, &options.platforms).await?;
    let bytes = plan.layers.iter().map(|layer| layer.old.size).sum();
    report(Event::Planned { layers: plan.layers.len(), bytes, fetched: source.repository().is_some() });
    let pool = Arc::new(Pool::new(options.threads, options.memory));
    let shared = Shared { pool, stopped: Arc::default() };
    // When this future is dropped, the threads must not work on for nobody.
    let _stop = StopOnDrop(shared.stopped.clone());
    let run = Run { source, layout, work: options.work, shared, report };
    let layers = run.layers(&plan).await?;
    for blob in &plan.copies {
        run.copy(blob).await?;
    }
    let outcomes = layers.iter().map(|layer| (layer.old_digest, &layer.outcome)).collect();
    let root = Writer { layout, outcomes }.document(&plan.root)?;
    Ok(Converted { root, layers })
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The layers' part of a run.
struct Run<'a> {
    source: &'a Source,
    layout: &'a Layout,
    work: LayerWork,
    shared: Shared,
    report: Report,
}

impl Run<'_> {
    /// Every layer, in the plan's order. The first failure stops the others, and is told when all have ended.
    async fn layers(&self, plan: &Plan) -> Result<Vec<ConvertedLayer>, ConvertError> {
        let runs = plan.layers.iter().map(|planned| async move {
            let done = self.layer(planned).await;
            done.inspect_err(|_| self.shared.stopped.store(true, Ordering::Relaxed))
        });
        let mut runs = stream::iter(runs).buffered(LAYERS_AT_ONCE);
        let (mut layers, mut failed) = (Vec::new(), None);
        while let Some(done) = runs.next().await {
            match done {
                Ok(layer) => layers.push(layer),
                Err(error) => failed = Some(first(failed, error)),
            }
        }
        failed.map_or(Ok(layers), Err)
    }

    async fn layer(&self, planned: &PlannedLayer) -> Result<ConvertedLayer, ConvertError> {
        let PlannedLayer { old, diff_id, number, of, manifest } = planned;
        let failed = |source| ConvertError::Layer {
            number: *number,
            of: *of,
            digest: old.digest,
            manifest: *manifest,
            source: Box::new(source),
        };
        if self.shared.stopped.load(Ordering::Relaxed) {
            return Err(ConvertError::Stopped);
        }
        (self.report)(Event::Layer { digest: old.digest, size: old.size });
        let outcome = match layer::remembered(self.layout, &self.work, old, *diff_id).map_err(failed)? {
            Some(outcome) => outcome,
            None => self.convert(old, *diff_id).await?.map_err(|error| {
                // What ended only because another layer had failed is not what went wrong.
                if self.shared.stopped.load(Ordering::Relaxed) { ConvertError::Stopped } else { failed(error) }
            })?,
        };
        let done = ConvertedLayer { old_digest: old.digest, old_size: old.size, outcome };
        (self.report)(Event::LayerDone(Box::new(done.clone())));
        Ok(done)
    }

    async fn convert(
        &self,
        old: &Descriptor,
        diff_id: Digest,
    ) -> Result<Result<LayerOutcome, LayerFailure>, ConvertError> {
        let fetching = |fetched| (self.report)(Event::Fetching { digest: old.digest, fetched });
        let blob = self.source.blob_watched(old, &fetching).await?;
        let (layout, work, shared, old) = (self.layout.clone(), self.work, self.shared.clone(), old.clone());
        let report = self.report.clone();
        let digest = old.digest;
        let work = tokio::task::spawn_blocking(move || {
            let mut progress = |progress| report(Event::Progress { digest, progress });
            layer::convert(&layout, &work, &shared, &old, blob, diff_id, &mut progress)
        });
        work.await.map_err(worker)
    }

    async fn copy(&self, blob: &Descriptor) -> Result<(), ConvertError> {
        if self.layout.claim(&blob.digest)? == Some(blob.size) {
            return Ok(());
        }
        let mut bytes = self.source.blob(blob).await?.reader();
        let mut writer = self.layout.blob_writer()?;
        let digest = blob.digest;
        let size = blob.size;
        let copied = tokio::task::spawn_blocking(move || {
            let copied = io::copy(&mut bytes, &mut writer);
            copied.map(|_| writer)
        });
        let span = crate::span::Span::with_len(0, size.max(1)).expect("not empty");
        let failed = |source| SourceError::Read { digest, span, source };
        let writer = copied.await.map_err(worker)?.map_err(failed)?;
        writer.commit(Some(digest))?;
        Ok(())
    }
}

/// Of two failures the one that is no mere consequence.
fn first(earlier: Option<ConvertError>, later: ConvertError) -> ConvertError {
    match earlier {
        Some(earlier) if !matches!(earlier, ConvertError::Stopped) => earlier,
        _ => later,
    }
}

/// Writes the documents, from the images up to the root.
struct Writer<'a> {
    layout: &'a Layout,
    /// By the layer's old digest.
    outcomes: BTreeMap<Digest, &'a LayerOutcome>,
}

impl Writer<'_> {
    fn document(&self, node: &Node) -> Result<Descriptor, ConvertError> {
        match node {
            Node::Index { index, children } => {
                let mut replaced = BTreeMap::new();
                for (digest, child) in children {
                    replaced.insert(*digest, self.document(child)?);
                }
                self.put(media_type::INDEX, &document::to_bytes(&rewrite::index(index, &replaced)))
            }
            Node::Image(image) => self.image(image),
            Node::Artifact { old, bytes, config } => {
                self.layout.put_blob(config)?;
                self.layout.put_blob(bytes)?;
                Ok(old.clone())
            }
        }
    }

    fn image(&self, image: &Image) -> Result<Descriptor, ConvertError> {
        let Image { digest, manifest, bytes, config, diff_ids } = image;
        self.layout.put_blob(config)?;
        let of = manifest.layers.len();
        let mut layers = Vec::with_capacity(of);
        for (at, (layer, diff_id)) in manifest.layers.iter().zip(diff_ids).enumerate() {
            layers.push(self.layer(layer, *diff_id).map_err(|source| ConvertError::Layer {
                number: at + 1,
                of,
                digest: layer.digest,
                manifest: *digest,
                source: Box::new(source),
            })?);
        }
        let new = rewrite::manifest(manifest, layers);
        if new == *manifest {
            return self.put(media_type::MANIFEST, bytes);
        }
        self.put(media_type::MANIFEST, &document::to_bytes(&new))
    }

    /// The new descriptor of a layer.
    fn layer(&self, old: &Descriptor, expected: Digest) -> Result<Descriptor, LayerFailure> {
        if plan::fate(old) != Fate::Convert {
            let mut new = old.clone();
            new.media_type = media_type::to_oci(&old.media_type).into();
            return Ok(new);
        }
        let outcome = self.outcomes.get(&old.digest).expect("every layer to convert was converted");
        // The layer was compared with the image that named it first; another may expect another tar.
        let got = outcome.diff_id;
        if expected != got {
            return Err(LayerFailure::DiffId { expected, got });
        }
        if outcome.kept == Kept::Chunked {
            let mut same = old.clone();
            same.media_type = media_type::LAYER_ZSTD.into();
            return Ok(same);
        }
        Ok(rewrite::layer(old, &outcome.blob))
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, ConvertError> {
        let digest = self.layout.put_blob(bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }
}

fn worker(error: tokio::task::JoinError) -> ConvertError {
    ConvertError::Worker(io::Error::other(error))
}
