//! Inspection: what an image's layers are, from their tails alone.

use serde::Serialize;

use crate::blob::Blob;
use crate::digest::Digest;
use crate::format::annotations::Annotations;
use crate::format::footer;
use crate::format::frame_map::{self, FrameKind, FrameMap, LayerError};
use crate::format::tail::Positions;
use crate::image::document::DocumentError;
use crate::image::{Descriptor, Index, Manifest, Platform, media_type};
use crate::limits;
use crate::source::{Source, SourceError};
use crate::span::Span;

/// An image and all below it.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// Digest of the root.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// The images: one, or those of an index.
    pub manifests: Vec<ManifestFacts>,
}

/// One image.
#[derive(Clone, Debug, Serialize)]
pub struct ManifestFacts {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its platform, where an index says it.
    pub platform: Option<Platform>,
    /// Its layers, lowest first.
    pub layers: Vec<LayerFacts>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerFacts {
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Its type.
    pub media_type: String,
    /// Whether it is zstd:chunked and its tail is right.
    pub chunked: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// What the tail says.
    pub contents: Option<Contents>,
}

/// What a tail says of a layer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Contents {
    /// Members of the tar.
    pub entries: u64,
    /// Chunk frames, those of zeros included.
    pub chunks: u64,
    /// Chunk frames that are all zeros.
    pub zeros: u64,
    /// Header frames.
    pub header_frames: u64,
    /// Bytes of all header frames in the blob.
    pub header_bytes: u64,
    /// Bytes of the tar.
    pub tar_size: u64,
    /// Table of contents in the blob, in bytes.
    pub toc_compressed: u64,
    /// Table of contents, in bytes.
    pub toc_uncompressed: u64,
    /// tar-split in the blob, in bytes.
    pub tar_split_compressed: u64,
    /// tar-split, in bytes.
    pub tar_split_uncompressed: u64,
    /// Bytes of the tar for each byte of the blob.
    pub ratio: f64,
}

/// Why something cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A document of the image.
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
    /// A blob file.
    #[error("cannot read the blob file")]
    File(#[source] std::io::Error),
}

/// Inspects an image. From a registry only manifests and tails are fetched.
///
/// # Errors
/// [`InspectError`]; a layer that is not chunked is no error.
pub async fn image(source: &Source) -> Result<Image, InspectError> {
    let root = source.root().await?;
    let mut manifests = Vec::new();
    document(source, &root.descriptor, &root.bytes, 0, &mut manifests).await?;
    Ok(Image { digest: root.descriptor.digest, media_type: root.descriptor.media_type, manifests })
}

async fn document(
    source: &Source,
    descriptor: &Descriptor,
    bytes: &[u8],
    depth: usize,
    out: &mut Vec<ManifestFacts>,
) -> Result<(), InspectError> {
    let wrong = |source| InspectError::Document { digest: descriptor.digest, source };
    if media_type::is_index(&descriptor.media_type) {
        if depth >= limits::INDEX_DEPTH {
            return Err(InspectError::Depth);
        }
        for child in Index::parse(bytes).map_err(wrong)?.manifests {
            let bytes = source.document(&child).await?;
            Box::pin(document(source, &child, &bytes, depth + 1, out)).await?;
        }
        return Ok(());
    }
    let manifest = Manifest::parse(bytes).map_err(wrong)?;
    let mut layers = Vec::new();
    for blob in &manifest.layers {
        layers.push(layer(source, blob).await?);
    }
    out.push(ManifestFacts { digest: descriptor.digest, platform: descriptor.platform.clone(), layers });
    Ok(())
}

/// Inspects one layer of a source.
///
/// # Errors
/// [`InspectError`] when its tail cannot be fetched.
pub async fn layer(source: &Source, blob: &Descriptor) -> Result<LayerFacts, InspectError> {
    let facts = |reason: Option<String>, contents: Option<Contents>| LayerFacts {
        digest: blob.digest,
        size: blob.size,
        media_type: blob.media_type.clone(),
        chunked: contents.is_some(),
        reason,
        contents,
    };
    let annotations = match Annotations::parse(&blob.annotations) {
        Ok(annotations) => annotations,
        Err(why) => return Ok(facts(Some(why.to_string()), None)),
    };
    let tail = match annotations.positions.check(blob.size) {
        Ok(tail) => tail,
        Err(why) => return Ok(facts(Some(why.to_string()), None)),
    };
    let bytes = source.blob_span(blob, tail.span()).await?;
    Ok(match frame_map::check(&annotations, &tail, &bytes) {
        Ok(map) => facts(None, Some(contents(&annotations.positions, &map, blob.size))),
        Err(why) => facts(Some(why.to_string()), None),
    })
}

fn contents(positions: &Positions, map: &FrameMap, size: u64) -> Contents {
    let count = |kind| map.frames.iter().filter(|frame| frame.kind == kind).count() as u64;
    let headers = map.frames.iter().filter(|frame| frame.kind == FrameKind::Headers);
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a ratio for people")]
    let ratio = map.tar_size as f64 / size.max(1) as f64;
    Contents {
        entries: map.entries,
        chunks: count(FrameKind::Chunk) + count(FrameKind::Zeros),
        zeros: count(FrameKind::Zeros),
        header_frames: count(FrameKind::Headers),
        header_bytes: headers.map(|frame| frame.span.len()).sum(),
        tar_size: map.tar_size,
        toc_compressed: positions.toc.compressed,
        toc_uncompressed: positions.toc.uncompressed,
        tar_split_compressed: positions.tar_split.compressed,
        tar_split_uncompressed: positions.tar_split.uncompressed,
        ratio,
    }
}

/// The annotations that a blob file claims for itself. Without its manifest nothing proves them but each other.
///
/// # Errors
/// The outer error when the file cannot be read, the inner one when it is no zstd:chunked blob.
pub fn self_described(file: &Blob) -> Result<Result<(Annotations, u64), LayerProblem>, InspectError> {
    let size = file.len();
    let Some(end) = Span::new(size.saturating_sub(footer::LEN as u64), size) else {
        return Ok(Err(LayerProblem::Footer(footer::FooterError::Absent)));
    };
    let end = file.read_span(end).map_err(InspectError::File)?;
    let positions = match footer::read(&end) {
        Ok(positions) => positions,
        Err(why) => return Ok(Err(why.into())),
    };
    let tail = match positions.check(size) {
        Ok(tail) => tail,
        Err(why) => return Ok(Err(LayerError::from(why).into())),
    };
    let bytes = file.read_span(tail.span()).map_err(InspectError::File)?;
    Ok(match tail.split(&bytes) {
        Ok(parts) => Ok((Annotations { toc_digest: Digest::of(parts.toc), positions }, size)),
        Err(why) => Err(LayerError::from(why).into()),
    })
}

/// Why a blob file is not zstd:chunked.
#[derive(Debug, thiserror::Error)]
pub enum LayerProblem {
    /// Its end.
    #[error(transparent)]
    Footer(#[from] footer::FooterError),
    /// Its tail.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Inspects a blob file by its own footer.
///
/// # Errors
/// [`InspectError`] when the file cannot be read.
pub fn blob_file(file: &Blob) -> Result<LayerFacts, InspectError> {
    let size = file.len();
    let digest = file.digest().map_err(InspectError::File)?;
    let facts = |reason: Option<String>, contents: Option<Contents>| LayerFacts {
        digest,
        size,
        media_type: "unknown".into(),
        chunked: contents.is_some(),
        reason,
        contents,
    };
    let (annotations, size) = match self_described(file)? {
        Ok(claims) => claims,
        Err(why) => return Ok(facts(Some(why.to_string()), None)),
    };
    let checked = annotations
        .positions
        .check(size)
        .map_err(LayerError::from)
        .map(|tail| file.read_span(tail.span()).map(|bytes| frame_map::check(&annotations, &tail, &bytes)));
    Ok(match checked {
        Ok(read) => match read.map_err(InspectError::File)? {
            Ok(map) => facts(None, Some(contents(&annotations.positions, &map, size))),
            Err(why) => facts(Some(why.to_string()), None),
        },
        Err(why) => facts(Some(why.to_string()), None),
    })
}
