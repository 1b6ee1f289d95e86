//! Which manifests of a layout name another one as their subject.

use std::collections::{BTreeMap, HashSet, VecDeque};

use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::image::{Descriptor, Index, document, media_type};
use crate::limits;
use crate::store::{Layout, StoreError};

use super::answer::Answer;
use super::error::Refusal;
use super::route::parameter;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Answers with an index of the referrers, which is empty when there are none.
pub fn answer(layout: &Layout, subject: &Digest, query: Option<&str>) -> Result<Answer, Refusal> {
    let filter = parameter(query, "artifactType");
    let mut index = Index::empty();
    for (descriptor, bytes) in reachable(layout)? {
        let Some(referrer) = Referrer::parse(&bytes).filter(|referrer| referrer.names(subject)) else {
            continue;
        };
        let descriptor = referrer.describe(&descriptor);
        let artifact_type = descriptor.rest.get("artifactType").and_then(Value::as_str);
        if filter.is_none() || filter.as_deref() == artifact_type {
            index.manifests.push(descriptor);
        }
    }
    let answer = Answer::bytes(HeaderValue::from_static(media_type::INDEX), document::to_bytes(&index));
    Ok(match filter {
        Some(_) => answer.with(FILTERS_APPLIED, HeaderValue::from_static("artifactType")),
        None => answer,
    })
}

/// Every manifest and index that can be reached from `index.json` and is there, each once, one in memory at a time.
fn reachable(layout: &Layout) -> Result<impl Iterator<Item = (Descriptor, Vec<u8>)>, StoreError> {
    let mut queue: VecDeque<(Descriptor, usize)> =
        layout.images()?.into_iter().map(|image| (image.descriptor, 0)).collect();
    let mut seen = HashSet::new();
    Ok(std::iter::from_fn(move || {
        while let Some((descriptor, depth)) = queue.pop_front() {
            if seen.len() >= limits::INDEX_MANIFESTS || !seen.insert(descriptor.digest) {
                continue;
            }
            // A layout may lack what its indexes list, such as the images of other platforms.
            let Ok(bytes) = layout.read_blob(&descriptor.digest, limits::MANIFEST) else {
                continue;
            };
            if media_type::is_index(&descriptor.media_type) && depth < limits::INDEX_DEPTH {
                let listed = Index::parse(&bytes).map(|index| index.manifests).unwrap_or_default();
                queue.extend(listed.into_iter().map(|descriptor| (descriptor, depth + 1)));
            }
            return Some((descriptor, bytes));
        }
        None
    }))
}

/// What the list of referrers says about one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    subject: Option<Named>,
    artifact_type: Option<String>,
    config: Option<Typed>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Named {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
}

impl Referrer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn names(&self, subject: &Digest) -> bool {
        self.subject.as_ref().is_some_and(|named| named.digest == subject.to_string())
    }

    /// The descriptor for the list: the manifest's annotations, and its artifact type, which is the config's where it has none.
    fn describe(self, descriptor: &Descriptor) -> Descriptor {
        let mut described = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
        described.annotations = self.annotations;
        let own = self.artifact_type.filter(|own| !own.is_empty());
        if let Some(artifact_type) = own.or(self.config.map(|config| config.media_type)) {
            described.rest.insert("artifactType".into(), artifact_type.into());
        }
        described
    }
}
