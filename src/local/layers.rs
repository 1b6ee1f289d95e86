//! Which blobs of a layout its images call zstd:chunked.

use std::collections::BTreeSet;

use crate::format::annotations::Annotations;
use crate::image::{Descriptor, Index, Manifest, media_type};
use crate::limits;
use crate::store::{Layout, StoreError};

/// The descriptors of all layers of all images that claim to be zstd:chunked, each blob once, the newest image's first.
///
/// # Errors
/// [`StoreError`] when `index.json` cannot be read. Documents that cannot be read are passed over.
pub fn chunked_layers(layout: &Layout) -> Result<Vec<Descriptor>, StoreError> {
    let mut layers = Vec::new();
    let (mut seen, mut listed) = (BTreeSet::new(), BTreeSet::new());
    // The last of a layout's images was named last, and the last of a stack is looked at first.
    let mut pending: Vec<(Descriptor, usize)> =
        layout.index()?.manifests.into_iter().map(|descriptor| (descriptor, 0)).collect();
    while let Some((descriptor, depth)) = pending.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        let Ok(bytes) = layout.read_blob(&descriptor.digest, limits::MANIFEST) else { continue };
        if media_type::is_index(&descriptor.media_type) && depth < limits::INDEX_DEPTH {
            let children = Index::parse(&bytes).map(|index| index.manifests).unwrap_or_default();
            pending.extend(children.into_iter().map(|child| (child, depth + 1)));
        } else if let Ok(manifest) = Manifest::parse(&bytes) {
            let chunked = manifest.layers.into_iter().filter(|layer| Annotations::parse(&layer.annotations).is_ok());
            layers.extend(chunked.filter(|layer| listed.insert(layer.digest)));
        }
    }
    Ok(layers)
}
