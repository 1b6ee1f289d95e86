//! The run over an image: which one, its layers from the lowest up, and the move to the destination.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::blob::Blob;
use crate::digest::Digest;
use crate::image::document::Config;
use crate::image::{Descriptor, Index, Manifest, PlatformFilter, media_type, platform};
use crate::limits;
use crate::source::Source;

use super::error::{StagingError, UnpackError};
use super::layer;
use super::metadata::Ownership;
use super::outcome::Outcome;
use super::room::Room;
use super::staging::Staging;
use super::tree::Tree;

/// What is unpacked, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which image of an index.
    pub platform: PlatformFilter,
    /// Whose the files are.
    pub ownership: Ownership,
    /// Bytes that the content of all files may take, holes not counted; without a number [`limits::UNPACKED`], or
    /// [`limits::UNPACKED_RATIO`] times the image's blobs where that is more.
    pub room: Option<u64>,
    /// Whether everything is on disk before the destination is there. Without it a power cut can leave files that lack their content.
    pub sync: bool,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A layer begins.
    Layer {
        /// Its blob.
        digest: Digest,
        /// Bytes of its blob.
        size: u64,
        /// Which one, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Bytes of the layer's tar that were read so far.
    Progress(u64),
    /// Everything is unpacked and goes to disk.
    Syncing,
}

/// Told of everything that happens; called from any thread.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// Unpacks an image into `dir`, which is empty or does not exist. When the future is dropped, the work stops and is undone.
///
/// # Errors
/// [`UnpackError`]; `dir` is as it was then.
pub async fn unpack(source: &Source, dir: &Path, options: &Options, report: Report) -> Result<Outcome, UnpackError> {
    if options.ownership == Ownership::Image && !rustix::process::geteuid().is_root() {
        return Err(StagingError::NotRoot.into());
    }
    let (digest, layers) = choose(source, &options.platform).await?;
    let staging = Staging::begin(dir)?;
    let mut work = Vec::new();
    for layer in layers {
        let blob = source.blob(&layer.descriptor).await?;
        work.push((layer, blob));
    }
    let (worker, guard) = stoppable();
    let (ownership, sync) = (options.ownership, options.sync);
    let blobs = work.iter().map(|(layer, _)| layer.descriptor.size).fold(0, u64::saturating_add);
    let room = options.room.map_or_else(|| Room::for_blobs(blobs), Room::of);
    let unpacked = tokio::task::spawn_blocking(move || {
        // Both move here, the worker first: its other end is told when the folder has been removed, and not before.
        let worker = worker;
        let staging = staging;
        let outcome = all(&staging, work, ownership, room, &worker.stop, &report)?;
        report(Event::Syncing);
        staging.publish(sync)?;
        Ok(outcome)
    });
    let outcome = unpacked.await.map_err(|error| UnpackError::Worker(io::Error::other(error)))?;
    drop(guard);
    outcome.map(|outcome| Outcome { digest: Some(digest), ..outcome })
}

/// A layer of the image.
struct Layer {
    descriptor: Descriptor,
    diff_id: Digest,
}

/// The image to unpack: its manifest's digest, and its layers.
async fn choose(source: &Source, filter: &PlatformFilter) -> Result<(Digest, Vec<Layer>), UnpackError> {
    let root = source.root().await?;
    let (mut descriptor, mut bytes) = (root.descriptor, root.bytes);
    let wrong = |digest: Digest| move |source| UnpackError::Document { digest, source };
    for _ in 0..=limits::INDEX_DEPTH {
        if media_type::is_manifest(&descriptor.media_type) {
            return layers(source, descriptor.digest, &bytes).await;
        }
        if !media_type::is_index(&descriptor.media_type) {
            return Err(UnpackError::Type { digest: descriptor.digest, media_type: descriptor.media_type });
        }
        let index = Index::parse(&bytes).map_err(wrong(descriptor.digest))?;
        descriptor = platform::choose(index, filter).map_err(UnpackError::NoPlatform)?;
        bytes = source.document(&descriptor).await?;
    }
    Err(UnpackError::Depth)
}

async fn layers(source: &Source, digest: Digest, bytes: &[u8]) -> Result<(Digest, Vec<Layer>), UnpackError> {
    let wrong = |digest: Digest| move |source| UnpackError::Document { digest, source };
    let manifest = Manifest::parse(bytes).map_err(wrong(digest))?;
    if !media_type::is_image_config(&manifest.config.media_type) {
        return Err(UnpackError::Artifact { digest, config: manifest.config.media_type });
    }
    let config = source.document(&manifest.config).await?;
    let diff_ids = Config::parse(&config).map_err(wrong(manifest.config.digest))?.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
        return Err(UnpackError::DiffIds { manifest: digest, layers, diff_ids });
    }
    let mut layers = Vec::new();
    for (at, (descriptor, diff_id)) in manifest.layers.into_iter().zip(diff_ids).enumerate() {
        if !media_type::is_layer(&descriptor.media_type) {
            let Descriptor { digest, media_type, .. } = descriptor;
            return Err(UnpackError::LayerType { number: at + 1, digest, media_type });
        }
        layers.push(Layer { descriptor, diff_id });
    }
    Ok((digest, layers))
}

/// Unpacks all layers. Runs on a thread of its own.
fn all(
    staging: &Staging,
    layers: Vec<(Layer, Blob)>,
    ownership: Ownership,
    mut room: Room,
    stop: &AtomicBool,
    report: &Report,
) -> Result<Outcome, UnpackError> {
    let mut tree = Tree::new(staging.root()?, ownership);
    let of = layers.len();
    let mut outcome = Outcome { layers: of, ..Outcome::default() };
    tree.begin().map_err(|failure| staging.failed(failure))?;
    for (at, (layer, blob)) in layers.into_iter().enumerate() {
        let Descriptor { digest, size, .. } = layer.descriptor;
        report(Event::Layer { digest, size, number: at + 1, of });
        if at > 0 {
            tree.next_layer();
        }
        let progress = |read| report(Event::Progress(read));
        let unpacked = layer::unpack(&mut tree, &blob, layer.diff_id, &mut room, &mut outcome, stop, &progress);
        unpacked.map_err(|source| UnpackError::Layer { number: at + 1, of, digest, source })?;
    }
    tree.finish().map_err(|failure| staging.failed(failure))?;
    Ok(outcome)
}

/// How long an interrupted run is given to undo its work.
const PATIENCE: Duration = Duration::from_secs(20);

/// The worker's end; gone when it is done.
struct Worker {
    stop: Arc<AtomicBool>,
    _done: mpsc::Sender<()>,
}

/// The other end: when it is dropped, the worker stops, and is waited for.
struct Guard {
    stop: Arc<AtomicBool>,
    done: mpsc::Receiver<()>,
}

fn stoppable() -> (Worker, Guard) {
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, done) = mpsc::channel();
    (Worker { stop: stop.clone(), _done: sender }, Guard { stop, done })
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.done.recv_timeout(PATIENCE);
    }
}
