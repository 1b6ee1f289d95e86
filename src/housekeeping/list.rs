//! What is in a store, and what of it belongs to one image alone.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;
use crate::store::{Layout, LeftoverKind};

use super::HousekeepingError;
use super::graph::Graph;

/// An image of a store. All sizes are bytes of blobs as they lie on disk.
#[derive(Clone, Debug, Serialize)]
pub struct ListedImage {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its manifest or index.
    pub digest: Digest,
    /// Blobs that it needs, documents included.
    pub blobs: usize,
    /// Bytes of them.
    pub size: u64,
    /// Bytes that no other entry needs: what its removal and a collection free.
    pub unique: u64,
    /// Bytes that others need too.
    pub shared: u64,
    /// Blobs that it needs and that are not here. An index may name images that were never pulled.
    pub missing: usize,
    /// What it is about, if it is a signature or the like.
    pub attached_to: Option<Digest>,
}

/// A whole store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Listing {
    /// In the order in which they got their names, the newest last.
    pub images: Vec<ListedImage>,
    /// Blobs.
    pub blobs: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Blobs that no image needs.
    pub unreferenced: usize,
    /// Bytes of them.
    pub unreferenced_bytes: u64,
    /// Bytes on disk of unfinished blobs that nobody works on.
    pub unfinished_bytes: u64,
}

/// Lists a store. Nothing is written.
///
/// # Errors
/// [`HousekeepingError`] when the store cannot be read.
pub fn list(layout: &Layout) -> Result<Listing, HousekeepingError> {
    let here: BTreeMap<Digest, u64> = layout.all_blobs()?.into_iter().collect();
    let mut graph = Graph::new(layout);
    let images = layout.images()?;
    let reaches: Vec<_> = images.iter().map(|image| graph.reach([&image.descriptor]).blobs).collect();
    let mut uses: BTreeMap<Digest, usize> = BTreeMap::new();
    reaches.iter().flat_map(BTreeMap::keys).for_each(|digest| *uses.entry(*digest).or_default() += 1);
    let mut listing = Listing { blobs: here.len(), bytes: here.values().sum(), ..Listing::default() };
    for (image, reach) in images.iter().zip(&reaches) {
        let sizes = |wanted: &dyn Fn(usize) -> bool| -> u64 {
            let of_use = reach.keys().filter(|digest| wanted(uses[digest]));
            of_use.filter_map(|digest| here.get(digest)).sum()
        };
        let (unique, shared) = (sizes(&|uses| uses == 1), sizes(&|uses| uses > 1));
        listing.images.push(ListedImage {
            name: image.name.clone(),
            digest: image.descriptor.digest,
            blobs: reach.len(),
            size: unique + shared,
            unique,
            shared,
            missing: reach.keys().filter(|digest| !here.contains_key(digest)).count(),
            attached_to: graph.attached_to(image),
        });
    }
    for (_, bytes) in here.iter().filter(|(digest, _)| !uses.contains_key(digest)) {
        listing.unreferenced += 1;
        listing.unreferenced_bytes += bytes;
    }
    let unfinished = layout.leftovers()?.into_iter().filter(|leftover| leftover.kind == LeftoverKind::Partial);
    listing.unfinished_bytes = unfinished.map(|leftover| leftover.bytes).sum();
    Ok(listing)
}
