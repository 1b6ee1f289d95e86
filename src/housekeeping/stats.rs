//! How much of the frames is shared between which images.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::digest::Digest;
use crate::image::media_type;
use crate::local::LocalFrames;
use crate::store::{FrameIndex, Layout};

use super::HousekeepingError;
use super::graph::Graph;

/// The frames of one image. Bytes are compressed bytes; a frame that an image has several times counts once.
#[derive(Clone, Debug, Serialize)]
pub struct ImageStats {
    /// Its name, or its digest.
    pub image: String,
    /// Its manifest or index.
    pub digest: Digest,
    /// Different frames.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of frames that no other image has.
    pub unique_bytes: u64,
    /// Bytes of frames that other images have too.
    pub shared_bytes: u64,
    /// Bytes of layers that are not zstd:chunked, of which nothing can be told.
    pub unknown_bytes: u64,
}

/// What two images have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// One image.
    pub a: String,
    /// The other.
    pub b: String,
    /// Different frames that both have.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// A whole store.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// In the order in which they got their names.
    pub images: Vec<ImageStats>,
    /// Pairs that have anything in common, the most first.
    pub pairs: Vec<Pair>,
    /// Different frames in all images.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of the frames of all blobs, each as often as it is stored.
    pub stored_bytes: u64,
}

/// A frame of a blob, as small as telling frames apart allows: two halves of its digest, its bytes, and which blob has it.
type Seen = (u64, u64, u64, u32);

/// Frames that are held in memory at once: 64 MB of them.
const AT_ONCE: u64 = 2 << 20;

/// Counts. Only missing indexes are written.
///
/// # Errors
/// [`HousekeepingError`] when the store cannot be read.
pub fn stats(layout: &Layout) -> Result<Stats, HousekeepingError> {
    let local = LocalFrames::gather(layout, &[])?;
    let mut graph = Graph::new(layout);
    let images = layout.images()?;
    let mut stats = Stats::default();
    let mut of_blob: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
    let chunked: BTreeSet<Digest> = local.blobs.iter().map(|blob| blob.digest).collect();
    for (at, image) in images.iter().enumerate() {
        let reach = graph.reach([&image.descriptor]);
        let layers = reach.blobs.values().filter(|blob| media_type::is_layer(&blob.media_type));
        let unknown_bytes = layers.filter(|layer| !chunked.contains(&layer.digest)).map(|layer| layer.size).sum();
        reach.blobs.keys().for_each(|digest| of_blob.entry(*digest).or_default().push(at));
        let (frames, bytes, unique_bytes, shared_bytes) = (0, 0, 0, 0);
        let digest = image.descriptor.digest;
        let image = image.label();
        stats.images.push(ImageStats { image, digest, frames, bytes, unique_bytes, shared_bytes, unknown_bytes });
    }
    let images_of: Vec<Vec<usize>> =
        local.blobs.iter().map(|blob| of_blob.get(&blob.digest).cloned().unwrap_or_default()).collect();
    let groups = groups(&local, &mut stats.stored_bytes)?;
    let mut common: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    for (blobs, (frames, bytes)) in groups {
        let owners: BTreeSet<usize> = blobs.iter().flat_map(|blob| &images_of[index(*blob)]).copied().collect();
        stats.frames += frames;
        stats.bytes += bytes;
        for a in &owners {
            let image = &mut stats.images[*a];
            image.frames += frames;
            image.bytes += bytes;
            *(if owners.len() == 1 { &mut image.unique_bytes } else { &mut image.shared_bytes }) += bytes;
            for b in owners.range(a + 1..) {
                let both = common.entry((*a, *b)).or_default();
                *both = (both.0 + frames, both.1 + bytes);
            }
        }
    }
    let name = |at: usize| stats.images[at].image.clone();
    let pairs = common.iter().map(|((a, b), (frames, bytes))| (name(*a), name(*b), *frames, *bytes));
    stats.pairs = pairs.map(|(a, b, frames, bytes)| Pair { a, b, frames, bytes }).collect();
    stats.pairs.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| (&a.a, &a.b).cmp(&(&b.a, &b.b))));
    Ok(stats)
}

/// Frames and bytes for each set of blobs that share them.
fn groups(local: &LocalFrames, stored_bytes: &mut u64) -> Result<BTreeMap<Vec<u32>, (u64, u64)>, HousekeepingError> {
    let mut indexes = Vec::new();
    let mut total = 0;
    for (at, blob) in (0..).zip(&local.blobs) {
        match local.index(blob) {
            Ok(index) => {
                total += index.len();
                indexes.push((at, blob));
            }
            Err(why) => tracing::warn!(blob = %blob.digest, "its frames are not counted: {why}"),
        }
    }
    // Fingerprints are spread evenly, so that equal parts of their range are equal parts of the frames.
    let passes = total.div_ceil(AT_ONCE).max(1);
    let width = u64::MAX / passes;
    let mut groups = BTreeMap::new();
    for pass in 0..passes {
        let end = if pass + 1 == passes { u64::MAX } else { (pass + 1) * width - 1 };
        let mut seen: Vec<Seen> = Vec::new();
        for (at, blob) in &indexes {
            let Ok(index) = local.index(blob) else { continue };
            read(&index, pass * width..=end, *at, &mut seen)?;
        }
        seen.sort_unstable();
        *stored_bytes += seen.iter().map(|(_, _, bytes, _)| bytes).sum::<u64>();
        for same in seen.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)) {
            let mut blobs: Vec<u32> = same.iter().map(|(_, _, _, blob)| *blob).collect();
            blobs.dedup();
            let group: &mut (u64, u64) = groups.entry(blobs).or_default();
            *group = (group.0 + 1, group.1 + same[0].2);
        }
    }
    Ok(groups)
}

fn read(
    index: &FrameIndex,
    range: std::ops::RangeInclusive<u64>,
    blob: u32,
    seen: &mut Vec<Seen>,
) -> Result<(), HousekeepingError> {
    index.each(range, |record| {
        let second = record.key.digest.as_bytes()[8..16].try_into().expect("eight bytes");
        seen.push((record.key.fingerprint(), u64::from_be_bytes(second), record.key.compressed, blob));
    })?;
    Ok(())
}

fn index(blob: u32) -> usize {
    usize::try_from(blob).expect("32 bits are an index")
}
