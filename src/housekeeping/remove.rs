//! Taking images out of a store by name. Their blobs stay until a collection.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::digest::Digest;
use crate::store::{Layout, Named, StoreError};

use super::HousekeepingError;
use super::graph::Graph;

/// An entry that was taken out of the index.
#[derive(Clone, Debug, Serialize)]
pub struct RemovedImage {
    /// Its name, or its digest.
    pub image: String,
    /// Its manifest or index.
    pub digest: Digest,
    /// Why it went.
    pub why: String,
}

/// Removes images by their names or digests, and what is attached to them (signatures and the like) when nothing else has them.
///
/// # Errors
/// [`StoreError::NoImage`] when one is not there; none is removed then.
pub fn remove(layout: &Layout, names: &[String]) -> Result<Vec<RemovedImage>, HousekeepingError> {
    let images = layout.images()?;
    for name in names {
        if !images.iter().any(|image| image.is_called(name)) {
            let held = images.iter().map(Named::label).collect();
            let no_image = StoreError::NoImage { name: name.clone(), path: layout.root().into(), names: held };
            return Err(no_image.into());
        }
    }
    let is_meant = |image: &Named| names.iter().any(|name| image.is_called(name));
    let goes = images.iter().map(|image| is_meant(image).then(|| "you named it".to_owned())).collect();
    let goes = with_attached(&mut Graph::new(layout), &images, goes);
    take_out(layout, &images, &goes)
}

/// Adds what is attached to images that go. `goes` has for each image why it goes, if it does.
pub fn with_attached(graph: &mut Graph<'_>, images: &[Named], mut goes: Vec<Option<String>>) -> Vec<Option<String>> {
    let attached: Vec<_> = images.iter().map(|image| graph.attached_to(image)).collect();
    loop {
        let side = |gone: bool, graph: &mut Graph<'_>| -> BTreeSet<Digest> {
            // What is attached keeps nothing alive here, or a signature would keep what it signs.
            let own = images.iter().zip(&goes).zip(&attached);
            let own = own.filter(|((_, why), attached)| why.is_some() == gone && (gone || attached.is_none()));
            let descriptors: Vec<_> = own.map(|((image, _), _)| &image.descriptor).collect();
            graph.reach(descriptors).blobs.into_keys().collect()
        };
        let (gone, stays) = (side(true, graph), side(false, graph));
        let mut changed = false;
        for (why, subject) in goes.iter_mut().zip(&attached) {
            let Some(subject) = subject.filter(|subject| gone.contains(subject) && !stays.contains(subject)) else {
                continue;
            };
            if why.is_none() {
                *why = Some(format!("it is attached to {}, which goes", subject.short()));
                changed = true;
            }
        }
        if !changed {
            return goes;
        }
    }
}

/// Takes the entries out of the index that still are what they were.
pub fn take_out(
    layout: &Layout,
    images: &[Named],
    goes: &[Option<String>],
) -> Result<Vec<RemovedImage>, HousekeepingError> {
    let mut removed = Vec::new();
    if goes.iter().all(Option::is_none) {
        return Ok(removed);
    }
    let same = |a: &Named, b: &Named| a.name == b.name && a.descriptor.digest == b.descriptor.digest;
    let why_of = |image: &Named| {
        let of = images.iter().zip(goes).find(|(other, why)| why.is_some() && same(image, other));
        of.and_then(|(_, why)| why.clone())
    };
    for image in layout.remove_images(|image| why_of(image).is_some())? {
        let why = why_of(&image).unwrap_or_default();
        removed.push(RemovedImage { image: image.label(), digest: image.descriptor.digest, why });
    }
    Ok(removed)
}
