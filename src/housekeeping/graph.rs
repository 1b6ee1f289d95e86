//! What needs what: from the entries of `index.json` down to every blob.
//!
//! Documents are read as loosely as can be: whatever looks like a descriptor is one. A collection must not lose what a document names in
//! a field that this program has never heard of.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::image::{Descriptor, media_type};
use crate::limits;
use crate::store::{Layout, Named, StoreError};

/// A document that cannot be read, so that nobody knows what it needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unreadable {
    /// The document.
    pub digest: Digest,
    /// Why.
    pub why: String,
}

/// What one document names.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Documents below it: manifests of an index, and the subject that it is about.
    pub documents: Vec<Descriptor>,
    /// Blobs that say nothing more: configs, layers, and whatever else.
    pub blobs: Vec<Descriptor>,
    /// What it is about, if it is a signature, an attestation or the like.
    pub subject: Option<Digest>,
}

/// What is reached from some entries.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Every blob and document, with what is said of it.
    pub blobs: BTreeMap<Digest, Descriptor>,
    /// Documents among them.
    pub documents: BTreeSet<Digest>,
    /// Documents that cannot be read.
    pub unreadable: BTreeSet<Unreadable>,
}

/// Reads each document once.
pub struct Graph<'a> {
    layout: &'a Layout,
    read: BTreeMap<Digest, Result<Document, Unreadable>>,
}

impl<'a> Graph<'a> {
    /// Nothing is read yet.
    pub const fn new(layout: &'a Layout) -> Self {
        Self { layout, read: BTreeMap::new() }
    }

    /// Everything that these need, themselves included.
    pub fn reach<'d>(&mut self, roots: impl IntoIterator<Item = &'d Descriptor>) -> Reach {
        let mut reach = Reach::default();
        let mut pending: Vec<Descriptor> = roots.into_iter().cloned().collect();
        while let Some(descriptor) = pending.pop() {
            let digest = descriptor.digest;
            if !reach.documents.insert(digest) {
                continue;
            }
            match self.document(&descriptor) {
                Ok(document) => {
                    pending.extend(document.documents.iter().cloned());
                    for blob in &document.blobs {
                        reach.blobs.entry(blob.digest).or_insert_with(|| blob.clone());
                    }
                }
                Err(unreadable) => {
                    reach.unreadable.insert(unreadable.clone());
                }
            }
            reach.blobs.insert(digest, descriptor);
        }
        reach
    }

    /// Everything that running processes count on: each may be a document or not.
    pub fn reach_leased(&mut self, leased: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        // Of what type they are is not noted, so each is tried; what is no document needs nothing more.
        let leased: Vec<_> = leased.iter().map(|digest| Descriptor::new("", *digest, 0)).collect();
        self.reach(&leased).blobs.into_keys().collect()
    }

    /// What an entry of the index is about, if it is no image of its own: the subject in it, or the digest in a name such as
    /// `app:sha256-….sig`, by which tools that know no subjects attach signatures.
    pub fn attached_to(&mut self, image: &Named) -> Option<Digest> {
        let tag = image.name.as_deref().and_then(|name| name.rsplit([':', '/']).next());
        let by_name = tag.and_then(|tag| Digest::from_hex(tag.strip_prefix("sha256-")?.get(..64)?));
        by_name.or_else(|| self.document(&image.descriptor).ok().and_then(|document| document.subject))
    }

    fn document(&mut self, descriptor: &Descriptor) -> Result<&Document, &Unreadable> {
        let layout = self.layout;
        let read = self.read.entry(descriptor.digest);
        read.or_insert_with(|| read_document(layout, descriptor)).as_ref()
    }
}

fn read_document(layout: &Layout, descriptor: &Descriptor) -> Result<Document, Unreadable> {
    let digest = descriptor.digest;
    let kind = &descriptor.media_type;
    let must_read = media_type::is_manifest(kind) || media_type::is_index(kind) || kind.ends_with("+json");
    let unreadable = |why: String| Unreadable { digest, why };
    let bytes = match layout.read_blob(&digest, limits::MANIFEST) {
        Ok(bytes) => bytes,
        // What is not here names nothing that is here for its sake: a sparse index, or a subject that lives elsewhere.
        Err(StoreError::Missing { .. }) => return Ok(Document::default()),
        Err(StoreError::TooLarge { .. }) if !must_read => return Ok(Document::default()),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) => Ok(names(&value)),
        Err(_) if !must_read => Ok(Document::default()),
        Err(error) => Err(unreadable(format!("it is no JSON: {error}"))),
    }
}

/// Everything that a document names, wherever it stands.
fn names(value: &Value) -> Document {
    let mut document = Document::default();
    if let Value::Object(fields) = value {
        for (field, value) in fields {
            let is_documents = matches!(field.as_str(), "manifests" | "subject");
            gather(value, is_documents, &mut document);
        }
        document.subject = fields.get("subject").and_then(as_descriptor).map(|subject| subject.digest);
    }
    document
}

fn gather(value: &Value, is_document: bool, found: &mut Document) {
    if let Some(descriptor) = as_descriptor(value) {
        let kind = &descriptor.media_type;
        let list = if is_document || media_type::is_manifest(kind) || media_type::is_index(kind) {
            &mut found.documents
        } else {
            &mut found.blobs
        };
        list.push(descriptor);
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| gather(item, is_document, found)),
        Value::Object(fields) => fields.values().for_each(|item| gather(item, is_document, found)),
        _ => {}
    }
}

/// A descriptor in the loosest sense: something with a digest.
fn as_descriptor(value: &Value) -> Option<Descriptor> {
    let digest: Digest = value.get("digest")?.as_str()?.parse().ok()?;
    if let Ok(descriptor) = serde_json::from_value(value.clone()) {
        return Some(descriptor);
    }
    let kind = value.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    Some(Descriptor::new(kind, digest, value.get("size").and_then(Value::as_u64).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_looks_like_a_descriptor_is_one() {
        let [config, layer, blob, child, subject, odd] = [1, 2, 3, 4, 5, 6_u8].map(|n| Digest::of(&[n]));
        let document = names(&json!({
            "schemaVersion": 2,
            "config": {"mediaType": "c", "digest": config, "size": 1},
            "layers": [{"mediaType": "l", "digest": layer, "size": 1, "annotations": {"k": "v"}}],
            "blobs": [{"digest": blob}],
            "manifests": [{"mediaType": "of a kind nobody knows", "digest": child, "size": 1}],
            "subject": {"mediaType": "m", "digest": subject, "size": 1},
            "deep": {"in": [{"a": {"mediaType": "x", "digest": odd, "size": "no number"}}]},
            "digest": "sha512:00",
        }));
        let digests = |list: &[Descriptor]| list.iter().map(|one| one.digest).collect::<BTreeSet<_>>();
        assert_eq!(digests(&document.documents), BTreeSet::from([child, subject]));
        assert_eq!(digests(&document.blobs), BTreeSet::from([config, layer, blob, odd]));
        assert_eq!(document.subject, Some(subject));
    }
}
