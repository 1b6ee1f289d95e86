//! The documents as values: typed where chunkify looks, verbatim everywhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::limits;

use super::media_type;

/// The annotation that names an image in a layout's `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Where a platform runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// CPU, in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// Operating system, in Go's words.
    pub os: String,
    /// Variant of the CPU: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Every other field.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Names a blob: type, digest, size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Only in indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Every other field.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
            rest: Map::new(),
        }
    }
}

/// The manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own type; older documents leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Every other field, such as `subject`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An index: of an image for several platforms, or of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own type; layouts may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it lists.
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Every other field.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The one part of a config that chunkify reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// The root file system.
    pub rootfs: RootFs,
}

/// The layers' digests before compression.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// One for each layer, lowest first.
    pub diff_ids: Vec<Digest>,
}

/// Why bytes are not the document that they should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON of the right shape.
    #[error("the {what} does not parse: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A list above its limit.
    #[error("the {what} lists {count} {of}, more than the {limit} that are accepted")]
    TooMany {
        /// Which document.
        what: &'static str,
        /// What it lists.
        of: &'static str,
        /// How many.
        count: usize,
        /// See [`limits`].
        limit: usize,
    },
    /// A layer above [`limits::LAYER`].
    #[error("the image manifest states that layer {digest} has {size} bytes, more than the {limit} that are accepted", limit = limits::LAYER)]
    Layer {
        /// The blob.
        digest: Digest,
        /// As stated.
        size: u64,
    },
    /// The document's own media type contradicts the one it was announced with.
    #[error("announced as {announced}, but the document says it is {own}")]
    MediaType {
        /// By the descriptor or the response's header.
        announced: String,
        /// By the document.
        own: String,
    },
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let what = "image manifest";
        let manifest: Self = serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { what, source })?;
        within(what, "layers", manifest.layers.len(), limits::LAYERS)?;
        if let Some(Descriptor { digest, size, .. }) = manifest.layers.iter().find(|layer| layer.size > limits::LAYER) {
            return Err(DocumentError::Layer { digest: *digest, size: *size });
        }
        own_type(manifest.media_type.as_deref(), media_type::is_manifest, "an image manifest")?;
        Ok(manifest)
    }
}

impl Index {
    /// An empty index.
    pub fn empty() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::INDEX.into()),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
            rest: Map::new(),
        }
    }

    /// Reads an index.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let what = "image index";
        let index: Self = serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { what, source })?;
        within(what, "manifests", index.manifests.len(), limits::INDEX_MANIFESTS)?;
        own_type(index.media_type.as_deref(), media_type::is_index, "an image index")?;
        Ok(index)
    }
}

impl Config {
    /// Reads what is needed of a config.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { what: "image config", source })
    }
}

/// The document as bytes, compact.
pub fn to_bytes(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have string keys and finite numbers")
}

fn within(what: &'static str, of: &'static str, count: usize, limit: usize) -> Result<(), DocumentError> {
    if count > limit { Err(DocumentError::TooMany { what, of, count, limit }) } else { Ok(()) }
}

fn own_type(own: Option<&str>, is_right: fn(&str) -> bool, announced: &str) -> Result<(), DocumentError> {
    match own {
        Some(own) if !is_right(own) => Err(DocumentError::MediaType { announced: announced.into(), own: own.into() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive() {
        let digest = Digest::of(b"");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{digest}","size":2,"x":[1]}},"layers":[{{"mediaType":"m","digest":"{digest}","size":7,"annotations":{{"k":"v"}},"urls":["u"]}}],"subject":{{"a":1}},"later":null}}"#,
            config = media_type::CONFIG
        );
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let before: Value = serde_json::from_str(&text).unwrap();
        let after: Value = serde_json::from_slice(&to_bytes(&manifest)).unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        assert!(Manifest::parse(b"[]").is_err());
        assert!(Manifest::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#).is_err());
        let index = to_bytes(&Index::empty());
        assert!(Index::parse(&index).is_ok());
        let confused =
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#;
        assert!(matches!(Index::parse(confused), Err(DocumentError::MediaType { .. })));
    }
}
