//! Which manifests of a layout name another one as their subject.

use std::collections::{HashSet, VecDeque};

use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::digest::Digest;
use crate::image::{Descriptor, Index, Referrer, document, media_type};
use crate::limits;
use crate::store::{Layout, StoreError};

use super::answer::Answer;
use super::error::Refusal;
use super::route::parameter;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Answers with an index of the referrers, which is empty when there are none.
pub fn answer(layout: &Layout, subject: &Digest, query: Option<&str>) -> Result<Answer, Refusal> {
    let filter = parameter(query, "artifactType");
    let (mut index, subject) = (Index::empty(), subject.to_string());
    for (descriptor, bytes) in reachable(layout)? {
        let Some(referrer) = Referrer::parse(&bytes).filter(|referrer| referrer.subject() == subject) else {
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
