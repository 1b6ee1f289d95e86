//! What conversion changes in an image's documents, and nothing else.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::format::annotations::{self, Annotations};

use super::document::{Descriptor, Index, Manifest};
use super::media_type;

/// A layer's new blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Its annotations, unless it is plain zstd.
    pub annotations: Option<Annotations>,
    /// What made it, for [`ENCODER`].
    pub encoder: Option<String>,
}

/// The annotation that says what made a layer's blob, in the encoder's words, behind the blob's digest: who
/// recompresses the layer and leaves foreign annotations alone does not make it lie.
pub const ENCODER: &str = "io.github.chunkify.encoder";

/// The descriptor of a layer that has a new blob: OCI's zstd type; annotations about the old blob go, all others stay.
pub fn layer(old: &Descriptor, blob: &NewBlob) -> Descriptor {
    let mut new = old.clone();
    new.media_type = media_type::LAYER_ZSTD.into();
    new.digest = blob.digest;
    new.size = blob.size;
    match &blob.annotations {
        Some(annotations) => annotations.apply(&mut new.annotations),
        None => annotations::strip(&mut new.annotations),
    }
    match &blob.encoder {
        Some(encoder) => new.annotations.insert(ENCODER.into(), format!("{} {encoder}", blob.digest)),
        None => new.annotations.remove(ENCODER),
    };
    new
}

/// The manifest with new layers, all of its types OCI's, and its own type written out (some registries refuse it otherwise).
pub fn manifest(old: &Manifest, layers: Vec<Descriptor>) -> Manifest {
    let mut new = old.clone();
    new.media_type = Some(media_type::MANIFEST.into());
    new.config.media_type = media_type::to_oci(&old.config.media_type).into();
    new.layers = layers;
    new
}

/// Where an attestation's descriptor names the manifest that it is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// The index with its manifests replaced (old digest to new descriptor's digest, size and type), and all of its types OCI's.
pub fn index(old: &Index, replaced: &BTreeMap<Digest, Descriptor>) -> Index {
    let mut new = old.clone();
    new.media_type = Some(media_type::INDEX.into());
    for listed in &mut new.manifests {
        listed.media_type = media_type::to_oci(&listed.media_type).into();
        if let Some(by) = replaced.get(&listed.digest) {
            listed.digest = by.digest;
            listed.size = by.size;
            listed.media_type.clone_from(&by.media_type);
        }
        let about = listed.annotations.get(REFERENCE_DIGEST).and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(by) = about.and_then(|digest| replaced.get(&digest)) {
            listed.annotations.insert(REFERENCE_DIGEST.into(), by.digest.to_string());
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tail::{Position, Positions};

    #[test]
    fn a_layers_other_annotations_stay_and_stale_ones_go() {
        let mut old = Descriptor::new("application/vnd.docker.image.rootfs.diff.tar.gzip", Digest::of(b"old"), 3);
        for key in [annotations::ESTARGZ_TOC_DIGEST, annotations::OLD_TOC_DIGEST, ENCODER, "org.example.kept"] {
            old.annotations.insert(key.into(), "value".into());
        }
        let at = |offset| Position { offset, compressed: 1, uncompressed: 1 };
        let annotations =
            Annotations { toc_digest: Digest::of(b"toc"), positions: Positions { toc: at(8), tar_split: at(17) } };
        let encoder = Some("level=3".to_owned());
        let blob = NewBlob { digest: Digest::of(b"new"), size: 90, annotations: Some(annotations), encoder };
        let new = layer(&old, &blob);
        assert_eq!((new.media_type.as_str(), new.digest, new.size), (media_type::LAYER_ZSTD, blob.digest, 90));
        assert_eq!(new.annotations.len(), 5);
        assert_eq!(new.annotations[ENCODER], format!("{} level=3", blob.digest));
        assert_eq!(Annotations::parse(&new.annotations), Ok(annotations));
        let plain = layer(&new, &NewBlob { annotations: None, encoder: None, ..blob });
        assert_eq!(plain.annotations.into_keys().collect::<Vec<_>>(), ["org.example.kept"]);
    }
}
