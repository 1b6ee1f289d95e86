//! One layer: recompressed, kept as it is, or remembered.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::blob::Blob;
use crate::digest::{Digest, Hasher};
use crate::encode::{EncodeError, Form, Pool, Recipe, Settings, Unfaithful};
use crate::format::annotations::{Annotations, AnnotationsError};
use crate::format::frame_map::{self, LayerError};
use crate::image::Descriptor;
use crate::image::rewrite::NewBlob;
use crate::inflate::{self, Compression, Pieces};
use crate::store::{Layout, StoreError};

use super::records;

/// What is done with layers.
#[derive(Clone, Copy, Debug)]
pub struct LayerWork {
    /// How they are encoded.
    pub settings: Settings,
    /// Recompress even what is zstd:chunked already.
    pub force: bool,
    /// A layer without faithful form is an error.
    pub strict: bool,
}

/// Threads, memory, and the word to stop: shared by all layers of a run.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Who compresses.
    pub pool: Arc<Pool>,
    /// Set when the run has failed or is not wanted any more.
    pub stopped: Arc<AtomicBool>,
}

/// How far a layer is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerProgress {
    /// Bytes of the old blob that were read.
    pub taken: u64,
    /// Bytes of its tar.
    pub tar: u64,
    /// Bytes of the new blob.
    pub written: u64,
}

/// What became of a layer.
#[derive(Clone, Debug)]
pub struct LayerOutcome {
    /// Digest of the tar.
    pub diff_id: Digest,
    /// Bytes of the tar, where this run has seen it.
    pub tar_size: Option<u64>,
    /// The blob that the image has now.
    pub blob: NewBlob,
    /// Whether and why anything but an encoding happened.
    pub kept: Kept,
}

/// Why a layer is not freshly encoded as zstd:chunked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is.
    No,
    /// It was zstd:chunked already, and right.
    Chunked,
    /// An earlier run has made it.
    Remembered,
    /// It has no faithful form, and is plain zstd now.
    Plain(String),
}

/// Why a layer could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum LayerFailure {
    /// The source's bytes.
    #[error("cannot read its blob")]
    Read(#[source] io::Error),
    /// The encoder.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The destination.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob is not the one that the manifest names.
    #[error("its blob has digest {got}, not the one that the manifest names: the source is damaged")]
    Blob {
        /// Of the bytes.
        got: Digest,
    },
    /// The tar is not the one that the config names.
    #[error("its tar has digest {got}, the config's diff_id is {expected}")]
    DiffId {
        /// From the config.
        expected: Digest,
        /// Of the tar.
        got: Digest,
    },
    /// Strict, and there is no faithful form.
    #[error("it has no faithful zstd:chunked form: {0}")]
    Unfaithful(String),
}

/// Converts one layer from `blob` into `layout`. `diff_id` is what the config says of it.
///
/// # Errors
/// [`LayerFailure`]; nothing is left in the layout then.
pub fn convert(
    layout: &Layout,
    work: &LayerWork,
    shared: &Shared,
    old: &Descriptor,
    blob: Blob,
    diff_id: Digest,
    progress: &mut dyn FnMut(LayerProgress),
) -> Result<LayerOutcome, LayerFailure> {
    let shape = records::shape(&old.digest, &Recipe::of(&work.settings));
    let _work = layout.work_on(&shape.hex(), "it converts a layer that is wanted here too")?;
    // Whoever waited for another process that converts the same layer finds it remembered.
    if let Some(outcome) = remembered(layout, work, old, diff_id)? {
        return Ok(outcome);
    }
    if !work.force {
        match current(old, &blob) {
            Ok(annotations) => return keep(layout, shared, old, &blob, diff_id, annotations, progress),
            Err(NotCurrent::Annotations(AnnotationsError::Absent)) => {}
            Err(why) => {
                tracing::warn!(layer = %old.digest, "recompressed although it claims to be zstd:chunked: {why}")
            }
        }
    }
    let outcome = recompress(layout, work, shared, old, blob, diff_id, progress)?;
    strict(work, outcome)
}

/// What an earlier run made of a layer. For that the layer itself is not needed.
///
/// # Errors
/// [`LayerFailure::DiffId`] when the config says another, [`LayerFailure::Unfaithful`] when it has no faithful form and must.
pub fn remembered(
    layout: &Layout,
    work: &LayerWork,
    old: &Descriptor,
    diff_id: Digest,
) -> Result<Option<LayerOutcome>, LayerFailure> {
    let known = if work.force { None } else { records::recall(layout, &old.digest, &Recipe::of(&work.settings)) };
    let Some(known) = known else { return Ok(None) };
    check_diff_id(diff_id, known.diff_id)?;
    let kept = known.reason.map_or(Kept::Remembered, Kept::Plain);
    strict(work, LayerOutcome { diff_id, tar_size: None, blob: known.blob, kept }).map(Some)
}

fn strict(work: &LayerWork, outcome: LayerOutcome) -> Result<LayerOutcome, LayerFailure> {
    match outcome.kept {
        Kept::Plain(why) if work.strict => Err(LayerFailure::Unfaithful(why)),
        _ => Ok(outcome),
    }
}

fn check_diff_id(expected: Digest, got: Digest) -> Result<(), LayerFailure> {
    if expected == got { Ok(()) } else { Err(LayerFailure::DiffId { expected, got }) }
}

/// Why a layer is not current zstd:chunked.
#[derive(Debug, thiserror::Error)]
enum NotCurrent {
    #[error(transparent)]
    Annotations(#[from] AnnotationsError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("its tail cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// The annotations of a layer that is zstd:chunked and whose tail is right.
fn current(old: &Descriptor, blob: &Blob) -> Result<Annotations, NotCurrent> {
    let annotations = Annotations::parse(&old.annotations)?;
    let tail = annotations.positions.check(old.size).map_err(LayerError::from)?;
    frame_map::check(&annotations, &tail, &blob.read_span(tail.span())?)?;
    Ok(annotations)
}

/// Copies a blob that is right as it is, verifying its digest and its tar's.
fn keep(
    layout: &Layout,
    shared: &Shared,
    old: &Descriptor,
    blob: &Blob,
    diff_id: Digest,
    annotations: Annotations,
    progress: &mut dyn FnMut(LayerProgress),
) -> Result<LayerOutcome, LayerFailure> {
    let taken = Arc::new(AtomicU64::new(0));
    let watched = Watched::new(blob.reader(), shared, &taken);
    let mut writer = layout.blob_writer()?;
    let (_, mut tar) = inflate::tar_reader(watched).map_err(LayerFailure::Read)?;
    let mut hasher = Hasher::new();
    let mut tar_size = 0;
    let mut pieces = Pieces::new(1 << 20);
    loop {
        let piece = pieces.read(&mut tar).map_err(LayerFailure::Read)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        tar_size += piece.len() as u64;
        progress(LayerProgress { taken: taken.load(Ordering::Relaxed), tar: tar_size, written: 0 });
    }
    check_diff_id(diff_id, hasher.finish())?;
    io::copy(&mut blob.reader(), &mut writer).map_err(LayerFailure::Read)?;
    writer.commit(Some(old.digest)).map_err(|error| match error {
        StoreError::Digest { got, .. } => LayerFailure::Blob { got },
        other => LayerFailure::Store(other),
    })?;
    let blob = NewBlob { digest: old.digest, size: old.size, annotations: Some(annotations), encoder: None };
    Ok(LayerOutcome { diff_id, tar_size: Some(tar_size), blob, kept: Kept::Chunked })
}

fn recompress(
    layout: &Layout,
    work: &LayerWork,
    shared: &Shared,
    old: &Descriptor,
    blob: Blob,
    diff_id: Digest,
    progress: &mut dyn FnMut(LayerProgress),
) -> Result<LayerOutcome, LayerFailure> {
    let recipe = Recipe::of(&work.settings);
    let mut file = layout.blob_file()?;
    let mut start = [0; 8];
    let started = blob.read_at(&mut start, 0).map_err(LayerFailure::Read)?;
    let uncompressed = Compression::sniff(&start[..started]).map_err(LayerFailure::Read)? == Compression::None;
    let blob_digest = DigestSlot::default();
    let taken = Arc::new(AtomicU64::new(0));
    let blob = Watched::new(blob.reader(), shared, &taken);
    let (_, tar) = if uncompressed {
        inflate::tar_reader(blob)
    } else {
        inflate::tar_reader(Digesting::new(blob, blob_digest.clone()))
    }
    .map_err(LayerFailure::Read)?;
    let encoded = shared.pool.encode(tar, &mut file, &work.settings, &mut |now| {
        progress(LayerProgress { taken: taken.load(Ordering::Relaxed), tar: now.read, written: now.written });
    })?;
    // An uncompressed blob and its tar are the same bytes.
    let got = if uncompressed { Some(encoded.diff_id) } else { blob_digest.take() };
    if let Some(got) = got.filter(|got| *got != old.digest) {
        return Err(LayerFailure::Blob { got });
    }
    check_diff_id(diff_id, encoded.diff_id)?;
    let (annotations, reason) = match &encoded.form {
        Form::Chunked(chunked) => (Some(chunked.annotations), None),
        Form::Plain(why) => (None, Some(explain(why))),
    };
    // The encoder has digested what it wrote.
    file.commit(encoded.digest)?;
    let blob = NewBlob { digest: encoded.digest, size: encoded.size, annotations, encoder: Some(recipe.to_string()) };
    records::remember(layout, &old.digest, &recipe, diff_id, &blob, reason.as_deref())?;
    Ok(LayerOutcome { diff_id, tar_size: Some(encoded.tar_size), blob, kept: reason.map_or(Kept::No, Kept::Plain) })
}

fn explain(why: &Unfaithful) -> String {
    why.to_string()
}

/// Counts what is read, and stops when the run does.
struct Watched<R> {
    inner: R,
    stopped: Arc<AtomicBool>,
    taken: Arc<AtomicU64>,
}

impl<R> Watched<R> {
    fn new(inner: R, shared: &Shared, taken: &Arc<AtomicU64>) -> Self {
        Self { inner, stopped: shared.stopped.clone(), taken: taken.clone() }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer has failed, so the run is over"));
        }
        let count = self.inner.read(out)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Digests what is read, and leaves the digest where the reader's owner finds it when all was read.
struct Digesting<R> {
    inner: R,
    hasher: Option<Hasher>,
    result: DigestSlot,
}

#[derive(Clone, Default)]
struct DigestSlot(std::sync::Arc<std::sync::Mutex<Option<Digest>>>);

impl DigestSlot {
    fn take(&self) -> Option<Digest> {
        self.0.lock().expect("nobody panics while they hold the slot").take()
    }
}

impl<R> Digesting<R> {
    fn new(inner: R, result: DigestSlot) -> Self {
        Self { inner, hasher: Some(Hasher::new()), result }
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        match &mut self.hasher {
            Some(hasher) if count > 0 => hasher.update(&out[..count]),
            hasher if !out.is_empty() => {
                if let Some(hasher) = hasher.take() {
                    *self.result.0.lock().expect("nobody panics while they hold the slot") = Some(hasher.finish());
                }
            }
            _ => {}
        }
        Ok(count)
    }
}
