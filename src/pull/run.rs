//! The run over a whole image: documents, plans, layers, name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::digest::Digest;
use crate::image::document::DocumentError;
use crate::image::{Descriptor, Index, Manifest, PlatformFilter, media_type, platform};
use crate::ledger::{Bytes, Cause, Ledger};
use crate::limits;
use crate::local::LocalFrames;
use crate::registry::{Client, Reference, RegistryError, Repository};
use crate::store::{Layout, Partial, StoreError};

use super::assemble::{self, Arrived, LayerFailure};
use super::layer::{self, LayerPlan, Place, PlanFailure};
use super::outcome::{LayerReport, Mode, Predicted, Pulled, SCHEMA, Wire};

/// What is pulled, and within which bounds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which image of an index.
    pub platform: PlatformFilter,
    /// All images of an index, and the index itself.
    pub all_platforms: bool,
    /// More than this many response-body bytes are not accepted.
    pub max_wire_bytes: Option<u64>,
    /// Plan, and stop before the first byte of payload.
    pub dry_run: bool,
    /// Other layouts whose blobs frames may be copied from. They are not written to.
    pub seeds: Vec<Layout>,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The plan stands: so many bytes will come.
    Planned {
        /// Bytes to fetch.
        bytes: u64,
    },
    /// So many more bytes came.
    Fetched(u64),
}

/// Told of everything that happens; called from any thread.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// Layers that are worked on at once.
const LAYERS_AT_ONCE: usize = 4;

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry, about manifests and configs.
    #[error("cannot get the image's documents")]
    Registry(#[from] RegistryError),
    /// The store.
    #[error("the store")]
    Store(#[from] StoreError),
    /// A document of the image.
    #[error("{digest}: {source}")]
    Document {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// Neither a manifest nor an index.
    #[error("{digest} is of type {media_type:?}, which is no image manifest or index")]
    Type {
        /// The document.
        digest: Digest,
        /// As announced.
        media_type: String,
    },
    /// A document that states a size above the limit, or another than it has.
    #[error("document {digest} is stated to be {size} bytes, which is wrong or above the limit of {limit}", limit = limits::MANIFEST)]
    Size {
        /// The document.
        digest: Digest,
        /// As its descriptor says.
        size: u64,
    },
    /// Indexes inside indexes without end.
    #[error("indexes are nested more than {limit} deep", limit = limits::INDEX_DEPTH)]
    Depth,
    /// The index has no such image.
    #[error("the image has no such platform; it has {0}: choose one with --platform")]
    NoPlatform(String),
    /// A layer has no plan.
    #[error("layer {number} of {of} ({digest}) cannot be planned")]
    Plan {
        /// From 1.
        number: usize,
        /// Layers of the image.
        of: usize,
        /// The blob.
        digest: Digest,
        /// Why.
        source: PlanFailure,
    },
    /// A layer did not arrive.
    #[error("layer {number} of {of} ({digest}) did not arrive")]
    Layer {
        /// From 1.
        number: usize,
        /// Layers of the image.
        of: usize,
        /// The blob.
        digest: Digest,
        /// Why.
        source: LayerFailure,
    },
    /// The plan would cost more than the limit; nothing of the layers' data was fetched.
    #[error("the pull would fetch {predicted} bytes, more than the limit of {limit} bytes; the image was not stored")]
    Budget {
        /// What was fetched so far and what is missing.
        predicted: u64,
        /// As given.
        limit: u64,
        /// The plan, as a report.
        plan: Box<Pulled>,
    },
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
}

impl PullError {
    /// What the user may do about it, where that is not plain.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error)
            | Self::Plan { source: PlanFailure::Registry(error), .. }
            | Self::Layer { source: LayerFailure::Registry(error), .. } => error.remedy(),
            Self::Layer { source: LayerFailure::NotTheBlob { .. }, .. } => {
                Some("nothing of it was kept; the image must be pushed again, or pulled from another registry")
            }
            Self::Size { .. } | Self::Document { .. } | Self::Depth | Self::Plan { source: PlanFailure::Empty, .. } => {
                Some("nothing was stored under the image's name; whoever made the image must make it anew")
            }
            _ => None,
        }
    }
}

/// Pulls an image into a store.
///
/// # Errors
/// [`PullError`]. The image has no name in the store then; what was fetched stays for the next attempt.
pub async fn pull(
    client: &Client,
    reference: &Reference,
    layout: &Layout,
    options: &Options,
    report: Report,
) -> Result<Pulled, PullError> {
    let pulled = pull_once(client, reference, layout, options, report).await;
    // What was learned about the hosts is worth keeping however the pull ended.
    client.save_memory();
    pulled
}

async fn pull_once(
    client: &Client,
    reference: &Reference,
    layout: &Layout,
    options: &Options,
    report: Report,
) -> Result<Pulled, PullError> {
    let started = std::time::Instant::now();
    let layout = &layout.for_run();
    let run = Run { client, reference, repo: reference.repo(), layout, options, ledger: Ledger::new() };
    let (root, images) = run.documents().await?;
    let layers = layers_of(&images);
    let place = run.place().await?;
    let planned = run.plan(&place, layers).await?;
    let predicted = run.predicted(&planned);
    report(Event::Planned { bytes: predicted.bytes.saturating_sub(run.spent(&planned)) });
    let over = options.max_wire_bytes.filter(|limit| predicted.bytes > *limit);
    if options.dry_run || over.is_some() {
        let layers = planned.iter().map(Planned::report).collect();
        let pulled = run.outcome(&root, layers, predicted, started, true);
        return match over {
            Some(limit) if !options.dry_run => {
                Err(PullError::Budget { predicted: predicted.bytes, limit, plan: Box::new(pulled) })
            }
            _ => Ok(pulled),
        };
    }
    let layers = run.carry_out(&place, planned, &report).await?;
    layout.set_image(&reference.to_string(), root.clone())?;
    Ok(run.outcome(&root, layers, predicted, started, false))
}

struct Run<'a> {
    client: &'a Client,
    reference: &'a Reference,
    repo: Repository,
    layout: &'a Layout,
    options: &'a Options,
    /// For everything that belongs to no layer.
    ledger: Ledger,
}

/// A layer with its plan.
struct Planned {
    number: usize,
    of: usize,
    layer: Descriptor,
    plan: LayerPlan,
    predicted: Predicted,
    ledger: Arc<Ledger>,
}

impl Planned {
    /// What the plan says, in the form of what was done.
    fn report(&self) -> LayerReport {
        let (mode, reason, reused) = match &self.plan {
            LayerPlan::Present => (Mode::Present, None, self.layer.size),
            LayerPlan::Whole { reason, .. } => (Mode::Whole, Some(reason.clone()), 0),
            LayerPlan::Tiled(tiled) => {
                let reused = tiled.plan.kept_bytes + tiled.plan.copied_bytes();
                let mode = if reused == 0 { Mode::Whole } else { Mode::Partial };
                (mode, (reused == 0).then(|| "no frame of it is in the store".into()), reused)
            }
        };
        self.line(Arrived { mode, reason, reused_bytes: reused })
    }

    fn line(&self, arrived: Arrived) -> LayerReport {
        LayerReport::of(&self.layer, arrived, self.predicted, &self.ledger)
    }
}

/// Every layer once, in the order of the manifests; foreign ones live elsewhere.
fn layers_of(images: &[Manifest]) -> Vec<Descriptor> {
    let mut seen = std::collections::BTreeSet::new();
    let layers = images.iter().flat_map(|image| &image.layers);
    let ours = layers.filter(|layer| !media_type::is_foreign_layer(&layer.media_type));
    ours.filter(|layer| seen.insert(layer.digest)).cloned().collect()
}

impl Run<'_> {
    /// The root that gets the name, and the manifests of all images to pull. All documents and configs are in the store afterwards.
    async fn documents(&self) -> Result<(Descriptor, Vec<Manifest>), PullError> {
        let answer = self.client.manifest(&self.repo, &self.reference.manifest_name(), &self.ledger).await?;
        let root = Descriptor::new(&answer.media_type, answer.digest, answer.bytes.len() as u64);
        self.layout.put_blob(&answer.bytes)?;
        let mut images = Vec::new();
        let named = self.document(root, answer.bytes, 0, &mut images).await?;
        Ok((named, images))
    }

    async fn document(
        &self,
        descriptor: Descriptor,
        bytes: Vec<u8>,
        depth: usize,
        images: &mut Vec<Manifest>,
    ) -> Result<Descriptor, PullError> {
        let wrong = |source| PullError::Document { digest: descriptor.digest, source };
        if media_type::is_manifest(&descriptor.media_type) {
            let manifest = Manifest::parse(&bytes).map_err(wrong)?;
            self.fetch_document(&manifest.config).await?;
            images.push(manifest);
            return Ok(descriptor);
        }
        if !media_type::is_index(&descriptor.media_type) {
            return Err(PullError::Type { digest: descriptor.digest, media_type: descriptor.media_type });
        }
        if depth >= limits::INDEX_DEPTH {
            return Err(PullError::Depth);
        }
        let index = Index::parse(&bytes).map_err(wrong)?;
        if self.options.all_platforms {
            for child in index.manifests {
                let bytes = self.fetch_document(&child).await?;
                Box::pin(self.document(child, bytes, depth + 1, images)).await?;
            }
            return Ok(descriptor);
        }
        let child = platform::choose(index, &self.options.platform).map_err(PullError::NoPlatform)?;
        let bytes = self.fetch_document(&child).await?;
        let child = Descriptor { annotations: BTreeMap::new(), ..child };
        Box::pin(self.document(child, bytes, depth + 1, images)).await
    }

    /// A manifest, index or config: from the store when it is there.
    async fn fetch_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, PullError> {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        let wrong_size = || PullError::Size { digest: *digest, size: *size };
        if *size > limits::MANIFEST {
            return Err(wrong_size());
        }
        self.layout.keep([*digest])?;
        let here = || self.layout.read_blob(digest, limits::MANIFEST).ok();
        let checked = |bytes: Vec<u8>| if bytes.len() as u64 == *size { Ok(bytes) } else { Err(wrong_size()) };
        if let Some(bytes) = here() {
            return checked(bytes);
        }
        // Another process may be fetching it: then it is here when the wait is over.
        let (layout, hex) = (self.layout.clone(), digest.hex());
        let work = move || layout.work_on(&hex, "it fetches a document that is wanted here too");
        let _work = tokio::task::spawn_blocking(work).await.map_err(PullError::Worker)??;
        if let Some(bytes) = here() {
            return checked(bytes);
        }
        let bytes = if media_type::is_manifest(media_type) || media_type::is_index(media_type) {
            self.client.manifest(&self.repo, &digest.to_string(), &self.ledger).await?.bytes
        } else {
            self.client.blob_bytes(&self.repo, *digest, *size, &self.ledger, Cause::Metadata).await?
        };
        if bytes.len() as u64 != *size {
            return Err(wrong_size());
        }
        self.layout.put_blob(&bytes)?;
        Ok(bytes)
    }

    async fn place(&self) -> Result<Place, PullError> {
        let (layout, seeds) = (self.layout.clone(), self.options.seeds.clone());
        let gathered = tokio::task::spawn_blocking(move || LocalFrames::gather(&layout, &seeds));
        let local = gathered.await.map_err(PullError::Worker)??;
        Ok(Place {
            client: self.client.clone(),
            repo: self.repo.clone(),
            layout: self.layout.clone(),
            local: Arc::new(local),
        })
    }

    async fn plan(&self, place: &Place, layers: Vec<Descriptor>) -> Result<Vec<Planned>, PullError> {
        let of = layers.len();
        let taken = self.take_up(&layers).await?;
        let plans = layers.into_iter().zip(taken).enumerate().map(|(at, (layer, partial))| async move {
            let ledger = Arc::new(Ledger::new());
            let digest = layer.digest;
            let plan = layer::survey(place, &layer, partial, &ledger).await;
            let plan = plan.map_err(|source| PullError::Plan { number: at + 1, of, digest, source })?;
            Ok::<_, PullError>(Planned { number: at + 1, of, layer, plan, predicted: Predicted::default(), ledger })
        });
        let mut planned: Vec<Planned> = stream::iter(plans).buffered(LAYERS_AT_ONCE).try_collect().await?;
        let local = place.local.clone();
        let looked_up = tokio::task::spawn_blocking(move || {
            layer::look_up(planned.iter_mut().map(|planned| &mut planned.plan), &local);
            planned
        });
        let mut planned = looked_up.await.map_err(PullError::Worker)?;
        for Planned { layer, plan, predicted, ledger, .. } in &mut planned {
            *predicted = Predicted::new(ledger, plan.predict(place, layer, ledger).await?);
        }
        Ok(planned)
    }

    /// The unfinished blobs of all layers that are not here.
    async fn take_up(&self, layers: &[Descriptor]) -> Result<Vec<Option<Partial>>, PullError> {
        let (layout, of, layers) = (self.layout.clone(), layers.len(), layers.to_vec());
        let taken = tokio::task::spawn_blocking(move || {
            let mut order: Vec<usize> = (0..of).collect();
            order.sort_by_key(|at| layers[*at].digest);
            let mut taken: Vec<Option<Partial>> = layers.iter().map(|_| None).collect();
            for at in order {
                let (number, digest) = (at + 1, layers[at].digest);
                let partial = layer::take_up(&layout, &layers[at]);
                taken[at] = partial.map_err(|source| PullError::Plan { number, of, digest, source })?;
            }
            Ok(taken)
        });
        taken.await.map_err(PullError::Worker)?
    }

    async fn carry_out(
        &self,
        place: &Place,
        planned: Vec<Planned>,
        report: &Report,
    ) -> Result<Vec<LayerReport>, PullError> {
        let total = AtomicU64::new(0);
        let fetched = |bytes: u64| {
            total.fetch_add(bytes, Ordering::Relaxed);
            report(Event::Fetched(bytes));
        };
        let fetched = &fetched;
        let runs = planned.into_iter().map(|mut planned| async move {
            let plan = std::mem::replace(&mut planned.plan, LayerPlan::Present);
            let (number, of, digest) = (planned.number, planned.of, planned.layer.digest);
            let plan = layer::second_look(place, &planned.layer, plan, &planned.ledger).await;
            let plan = plan.map_err(|source| PullError::Plan { number, of, digest, source })?;
            let arrived = assemble::run(place, &planned.layer, plan, &planned.ledger, fetched).await;
            let arrived = arrived.map_err(|source| PullError::Layer { number, of, digest, source })?;
            Ok(planned.line(arrived))
        });
        stream::iter(runs).buffered(LAYERS_AT_ONCE).try_collect().await
    }

    /// What the whole pull should take.
    fn predicted(&self, planned: &[Planned]) -> Predicted {
        let documents = Predicted { bytes: self.ledger.bytes().total(), requests: self.ledger.requests(), ranges: 0 };
        planned.iter().fold(documents, |sum, layer| Predicted {
            bytes: sum.bytes + layer.predicted.bytes,
            requests: sum.requests + layer.predicted.requests,
            ranges: sum.ranges + layer.predicted.ranges,
        })
    }

    fn spent(&self, planned: &[Planned]) -> u64 {
        self.ledger.bytes().total() + planned.iter().map(|layer| layer.ledger.bytes().total()).sum::<u64>()
    }

    fn outcome(
        &self,
        root: &Descriptor,
        layers: Vec<LayerReport>,
        predicted: Predicted,
        started: std::time::Instant,
        dry_run: bool,
    ) -> Pulled {
        let by_cause = layers.iter().fold(self.ledger.bytes(), |sum: Bytes, layer| sum.plus(&layer.by_cause));
        let requests = self.ledger.requests() + layers.iter().map(|layer| layer.requests).sum::<u64>();
        Pulled {
            schema: SCHEMA,
            reference: self.reference.to_string(),
            digest: root.digest,
            dry_run,
            wire: Wire { body_bytes: by_cause.total(), requests, by_cause },
            predicted_bytes: predicted.bytes,
            predicted_requests: predicted.requests,
            prefer: self.client.prefer(),
            max_wire_bytes: self.options.max_wire_bytes,
            image_bytes: layers.iter().map(|layer| layer.size).sum(),
            layers,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}
