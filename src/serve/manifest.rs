//! Manifests and indexes, by tag and by digest.

use hyper::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::image::media_type;
use crate::limits;
use crate::store::{Layout, StoreError};

use super::answer::{Answer, client_has, parse_digest};
use super::catalog::Catalog;
use super::error::Refusal;

/// Answers for a manifest.
pub fn answer(layout: &Layout, name: &str, reference: &str, headers: &HeaderMap) -> Result<Answer, Refusal> {
    let unknown = || Refusal::no_manifest(reference);
    let (digest, announced) = if reference.contains(':') {
        let digest = parse_digest(reference)?;
        let listed = layout.images()?.into_iter().find(|image| image.descriptor.digest == digest);
        (digest, listed.map(|image| image.descriptor.media_type))
    } else {
        let catalog = Catalog::read(layout)?;
        let descriptor = catalog.find(name, reference).ok_or_else(unknown)?;
        (descriptor.digest, Some(descriptor.media_type.clone()))
    };
    let bytes = match layout.read_blob(&digest, limits::MANIFEST) {
        Ok(bytes) => bytes,
        // What is too large for a manifest is a layer that somebody asks for by the wrong path.
        Err(StoreError::Missing { .. } | StoreError::TooLarge { .. }) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    let media_type = announced.or_else(|| own_type(&bytes)).as_deref().and_then(in_header).ok_or_else(unknown)?;
    if client_has(headers, &digest) {
        return Ok(Answer::not_modified(&digest));
    }
    Ok(Answer::bytes(media_type, bytes).with_digest(&digest))
}

/// A document's shape, as far as it tells what the document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

/// The media type of a document that is a manifest or an index; `None` when it is something else, such as a config.
fn own_type(bytes: &[u8]) -> Option<String> {
    let shape: Shape = serde_json::from_slice(bytes).ok()?;
    if shape.schema_version != 2 {
        return None;
    }
    let by_shape = match shape {
        Shape { manifests: Some(_), layers: None, .. } => Some(media_type::INDEX),
        Shape { config: Some(_), layers: Some(_), manifests: None, .. } => Some(media_type::MANIFEST),
        _ => None,
    };
    shape.media_type.or_else(|| by_shape.map(Into::into))
}

/// A media type from a document as a header's value: nothing that a browser would show, nothing that breaks the header.
fn in_header(media_type: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(media_type).ok().filter(|_| media_type.starts_with("application/"))
}
