//! What a conversion will do, read off the source's documents before any layer is touched.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::image::document::Config;
use crate::image::{Descriptor, Index, Manifest, Platform, PlatformFilter, media_type};
use crate::limits;
use crate::source::Source;

use super::run::ConvertError;

/// The documents of an image, as they hang together, and the blobs that they name.
#[derive(Debug)]
pub struct Plan {
    /// The image.
    pub root: Node,
    /// Layers to convert, each once, in the order in which they are met.
    pub layers: Vec<PlannedLayer>,
    /// Blobs that go over as they are, each once.
    pub copies: Vec<Descriptor>,
}

/// A document.
#[derive(Debug)]
pub enum Node {
    /// An index, and the plans of what it lists.
    Index {
        /// As it is, without what is not wanted.
        index: Index,
        /// By digest.
        children: BTreeMap<Digest, Node>,
    },
    /// An image of layers.
    Image(Box<Image>),
    /// Something that is no image (an attestation, a chart): goes over as it is.
    Artifact {
        /// Its descriptor.
        old: Descriptor,
        /// Its bytes.
        bytes: Vec<u8>,
        /// The bytes of what it calls its config.
        config: Vec<u8>,
    },
}

/// An image of layers.
#[derive(Debug)]
pub struct Image {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's bytes.
    pub bytes: Vec<u8>,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// Of the layers, from the config.
    pub diff_ids: Vec<Digest>,
}

/// A layer to convert.
#[derive(Clone, Debug)]
pub struct PlannedLayer {
    /// The old blob.
    pub old: Descriptor,
    /// What its tar must be.
    pub diff_id: Digest,
    /// Its place among the image's layers, from 1.
    pub number: usize,
    /// Layers of that image.
    pub of: usize,
    /// The image that names it first.
    pub manifest: Digest,
}

/// What becomes of a descriptor that stands among an image's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Converted.
    Convert,
    /// Copied, because its type is none that we know.
    Copy,
    /// Left alone, because it lives elsewhere.
    Leave,
}

/// What becomes of a layer.
pub fn fate(layer: &Descriptor) -> Fate {
    if media_type::is_foreign_layer(&layer.media_type) {
        Fate::Leave
    } else if media_type::is_layer(&layer.media_type) {
        Fate::Convert
    } else {
        Fate::Copy
    }
}

/// Reads the documents and makes the plan.
///
/// # Errors
/// [`ConvertError`] when a document cannot be read, says too little, or has none of the wanted platforms.
pub async fn plan(source: &Source, platforms: &[PlatformFilter]) -> Result<Plan, ConvertError> {
    let root = source.root().await?;
    let mut planner = Planner { source, platforms, seen: BTreeSet::new(), layers: Vec::new(), copies: Vec::new() };
    let root = planner.document(&root.descriptor, root.bytes, 0).await?;
    Ok(Plan { root, layers: planner.layers, copies: planner.copies })
}

struct Planner<'a> {
    source: &'a Source,
    platforms: &'a [PlatformFilter],
    /// Blobs that are in one of the two.
    seen: BTreeSet<Digest>,
    layers: Vec<PlannedLayer>,
    copies: Vec<Descriptor>,
}

impl Planner<'_> {
    async fn document(&mut self, old: &Descriptor, bytes: Vec<u8>, depth: usize) -> Result<Node, ConvertError> {
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

    async fn index(&mut self, old: &Descriptor, bytes: &[u8], depth: usize) -> Result<Node, ConvertError> {
        let mut index = Index::parse(bytes).map_err(|source| ConvertError::Document { digest: old.digest, source })?;
        self.select(&mut index)?;
        if let ([only], false) = (&index.manifests[..], self.platforms.is_empty()) {
            let bytes = self.source.document(only).await?;
            return self.document(only, bytes, depth + 1).await;
        }
        let mut children = BTreeMap::new();
        for child in &index.manifests {
            let bytes = self.source.document(child).await?;
            children.insert(child.digest, self.document(child, bytes, depth + 1).await?);
        }
        Ok(Node::Index { index, children })
    }

    /// Leaves only the asked platforms.
    fn select(&self, index: &mut Index) -> Result<(), ConvertError> {
        let wanted = self.platforms;
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

    async fn manifest(&mut self, old: &Descriptor, bytes: Vec<u8>) -> Result<Node, ConvertError> {
        let wrong = |digest| move |source| ConvertError::Document { digest, source };
        let manifest = Manifest::parse(&bytes).map_err(wrong(old.digest))?;
        let config = self.source.document(&manifest.config).await?;
        if !media_type::is_image_config(&manifest.config.media_type) {
            for blob in &manifest.layers {
                self.copy(blob);
            }
            return Ok(Node::Artifact { old: old.clone(), bytes, config });
        }
        let diff_ids = Config::parse(&config).map_err(wrong(manifest.config.digest))?.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
            return Err(ConvertError::DiffIds { manifest: old.digest, layers, diff_ids });
        }
        let of = manifest.layers.len();
        for (at, (layer, diff_id)) in manifest.layers.iter().zip(&diff_ids).enumerate() {
            match fate(layer) {
                Fate::Convert => {
                    if self.seen.insert(layer.digest) {
                        let (diff_id, number, manifest) = (*diff_id, at + 1, old.digest);
                        self.layers.push(PlannedLayer { old: layer.clone(), diff_id, number, of, manifest });
                    }
                }
                Fate::Copy => {
                    tracing::warn!(layer = %layer.digest, media_type = layer.media_type, "a layer of unknown type is copied as it is");
                    self.copy(layer);
                }
                Fate::Leave => tracing::warn!(layer = %layer.digest, "a foreign layer is left where it is"),
            }
        }
        Ok(Node::Image(Box::new(Image { digest: old.digest, manifest, bytes, config, diff_ids })))
    }

    fn copy(&mut self, blob: &Descriptor) {
        if self.seen.insert(blob.digest) {
            self.copies.push(blob.clone());
        }
    }
}
