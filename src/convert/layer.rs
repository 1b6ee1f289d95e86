//! One layer: recompressed, kept as it is, or remembered.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use crate::digest::{Digest, Hasher};
use crate::encode::{self, EncodeError, Form, Settings, Unfaithful};
use crate::format::annotations::{Annotations, AnnotationsError};
use crate::format::frame_map::{self, LayerError};
use crate::image::Descriptor;
use crate::image::rewrite::NewBlob;
use crate::inflate::{self, Compression};
use crate::source::read_span;
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

/// What became of a layer.
#[derive(Clone, Debug)]
pub struct LayerOutcome {
    /// Digest of the tar.
    pub diff_id: Digest,
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
    old: &Descriptor,
    blob: File,
    diff_id: Digest,
    progress: &mut dyn FnMut(u64),
) -> Result<LayerOutcome, LayerFailure> {
    if !work.force {
        if let Some(known) = records::recall(layout, &old.digest, &work.settings) {
            check_diff_id(diff_id, known.diff_id)?;
            let kept = known.reason.map_or(Kept::Remembered, Kept::Plain);
            return strict(work, LayerOutcome { diff_id, blob: known.blob, kept });
        }
        match current(old, &blob) {
            Ok(annotations) => return keep(layout, old, &blob, diff_id, annotations, progress),
            Err(NotCurrent::Annotations(AnnotationsError::Absent)) => {}
            Err(why) => {
                tracing::warn!(layer = %old.digest, "recompressed although it claims to be zstd:chunked: {why}")
            }
        }
    }
    let outcome = recompress(layout, work, old, blob, diff_id, progress)?;
    strict(work, outcome)
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
fn current(old: &Descriptor, blob: &File) -> Result<Annotations, NotCurrent> {
    let annotations = Annotations::parse(&old.annotations)?;
    let tail = annotations.positions.check(old.size).map_err(LayerError::from)?;
    frame_map::check(&annotations, &tail, &read_span(blob, tail.span())?)?;
    Ok(annotations)
}

/// Copies a blob that is right as it is, verifying its digest and its tar's.
fn keep(
    layout: &Layout,
    old: &Descriptor,
    blob: &File,
    diff_id: Digest,
    annotations: Annotations,
    progress: &mut dyn FnMut(u64),
) -> Result<LayerOutcome, LayerFailure> {
    let clone = blob.try_clone().map_err(LayerFailure::Read)?;
    let mut writer = layout.blob_writer()?;
    let (_, mut tar) = inflate::tar_reader(clone).map_err(LayerFailure::Read)?;
    let mut hasher = Hasher::new();
    let mut counted = Counted { inner: &mut tar, count: 0, progress };
    io::copy(&mut counted, &mut hasher).map_err(LayerFailure::Read)?;
    check_diff_id(diff_id, hasher.finish())?;
    let mut whole = blob.try_clone().map_err(LayerFailure::Read)?;
    io::Seek::rewind(&mut whole).map_err(LayerFailure::Read)?;
    io::copy(&mut whole, &mut writer).map_err(LayerFailure::Read)?;
    writer.commit(Some(old.digest)).map_err(|error| match error {
        StoreError::Digest { got, .. } => LayerFailure::Blob { got },
        other => LayerFailure::Store(other),
    })?;
    let blob = NewBlob { digest: old.digest, size: old.size, annotations: Some(annotations) };
    Ok(LayerOutcome { diff_id, blob, kept: Kept::Chunked })
}

fn recompress(
    layout: &Layout,
    work: &LayerWork,
    old: &Descriptor,
    blob: File,
    diff_id: Digest,
    progress: &mut dyn FnMut(u64),
) -> Result<LayerOutcome, LayerFailure> {
    let mut writer = layout.blob_writer()?;
    let mut start = [0; 8];
    let started = blob.read_at(&mut start, 0).map_err(LayerFailure::Read)?;
    let uncompressed = Compression::sniff(&start[..started]).map_err(LayerFailure::Read)? == Compression::None;
    let blob_digest = DigestSlot::default();
    let (_, tar) = if uncompressed {
        inflate::tar_reader(blob)
    } else {
        inflate::tar_reader(Digesting::new(blob, blob_digest.clone()))
    }
    .map_err(LayerFailure::Read)?;
    let encoded = encode::encode(tar, &mut writer, &work.settings, &mut |now| progress(now.read))?;
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
    writer.commit(Some(encoded.digest))?;
    let blob = NewBlob { digest: encoded.digest, size: encoded.size, annotations };
    records::remember(layout, &old.digest, &work.settings, diff_id, &blob, reason.as_deref())?;
    Ok(LayerOutcome { diff_id, blob, kept: reason.map_or(Kept::No, Kept::Plain) })
}

fn explain(why: &Unfaithful) -> String {
    why.to_string()
}

struct Counted<'a, R> {
    inner: R,
    count: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.count += count as u64;
        (self.progress)(self.count);
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
