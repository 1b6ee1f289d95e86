//! Collection: blobs that no image needs, what interrupted runs left, and images beyond a number or a size.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::convert;
use crate::digest::Digest;
use crate::store::{Collecting, Layout, LeftoverKind, Named, StoreError};

use super::HousekeepingError;
use super::graph::{Graph, Unreadable};
use super::remove::{RemovedImage, take_out, with_attached};

/// What goes.
#[derive(Clone, Copy, Debug)]
pub struct GcOptions {
    /// Say what would go, and remove nothing.
    pub dry_run: bool,
    /// Leave this many images of each repository, those that got their names last.
    pub keep_last: Option<usize>,
    /// Remove the oldest images until the blobs of the others fit into so many bytes. The newest stays in any case.
    pub max_bytes: Option<u64>,
    /// Unfinished blobs and other leftovers go when nobody has written them for so long.
    pub leftovers_older_than: Duration,
}

/// What went, or would go.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Collected {
    /// Whether nothing was removed in truth.
    pub dry_run: bool,
    /// Images.
    pub images: Vec<RemovedImage>,
    /// Blobs.
    pub blobs: usize,
    /// Bytes of them.
    pub blob_bytes: u64,
    /// Unfinished blobs.
    pub partials: usize,
    /// Bytes that they took on disk.
    pub partial_bytes: u64,
    /// Other leftovers: temporary files, and indexes of blobs and notes on blobs that are gone.
    pub leftovers: usize,
    /// Bytes that they took on disk.
    pub leftover_bytes: u64,
    /// Bytes of blobs that no image needs and running processes do.
    pub in_use_bytes: u64,
    /// Bytes of blobs that stay.
    pub left_bytes: u64,
    /// The size that was asked for, when what stays is more than that.
    pub over: Option<u64>,
    /// Documents that cannot be read. As long as there are any, no blob is removed, since nobody knows what they need.
    pub unreadable: Vec<Unreadable>,
}

/// Collects.
///
/// # Errors
/// [`HousekeepingError`]. What was removed until then is gone, what is left is whole.
pub fn collect(layout: &Layout, options: &GcOptions) -> Result<Collected, HousekeepingError> {
    let collecting = match layout.collect() {
        Ok(collecting) => Some(collecting),
        // One can look at a store that cannot be changed.
        Err(StoreError::ReadOnly { .. }) if options.dry_run => None,
        Err(error) => return Err(error.into()),
    };
    let leased = collecting.as_ref().map(Collecting::leased).cloned().unwrap_or_default();
    let mut graph = Graph::new(layout);
    let plan = plan(layout, options, &leased, &mut graph)?;
    let mut collected = plan.collected;
    let leftovers = layout.leftovers()?.into_iter().filter(|leftover| {
        // The index of a blob that goes now goes with it, and that of a blob that is not here is only a cache.
        let cache = leftover.kind == LeftoverKind::FrameIndex;
        leftover.age >= options.leftovers_older_than || (cache && leftover.age >= Duration::from_secs(86_400))
    });
    let mut leftovers: Vec<_> = leftovers.collect();
    let here: BTreeSet<Digest> = layout.all_blobs()?.into_iter().map(|(digest, _)| digest).collect();
    leftovers.extend(convert::stale_records(layout, &|blob| here.contains(blob) && !plan.blobs.contains_key(blob))?);
    if let Some(collecting) = collecting.filter(|_| !options.dry_run) {
        collected.images = take_out(layout, &plan.images, &plan.goes)?;
        for digest in plan.blobs.keys() {
            collecting.remove_blob(digest)?;
        }
        collecting.finish()?;
        let mut taken_up = Vec::new();
        for leftover in &leftovers {
            taken_up.push(!layout.remove_leftover(leftover)?);
        }
        let mut taken_up = taken_up.into_iter();
        leftovers.retain(|_| !taken_up.next().unwrap_or(false));
    }
    for leftover in leftovers {
        let (count, bytes) = match leftover.kind {
            LeftoverKind::Partial => (&mut collected.partials, &mut collected.partial_bytes),
            _ => (&mut collected.leftovers, &mut collected.leftover_bytes),
        };
        *count += 1;
        *bytes += leftover.bytes;
    }
    Ok(collected)
}

/// What a collection will do.
struct Plan {
    images: Vec<Named>,
    goes: Vec<Option<String>>,
    blobs: BTreeMap<Digest, u64>,
    collected: Collected,
}

fn plan(
    layout: &Layout,
    options: &GcOptions,
    leased: &BTreeSet<Digest>,
    graph: &mut Graph<'_>,
) -> Result<Plan, HousekeepingError> {
    let here: BTreeMap<Digest, u64> = layout.all_blobs()?.into_iter().collect();
    let images = layout.images()?;
    let mut goes = beyond_last(graph, &images, options.keep_last);
    goes = with_attached(graph, &images, goes);
    let mut over = None;
    if let Some(most) = options.max_bytes {
        (goes, over) = shrink(graph, &images, goes, &here, most);
    }
    let stays = images.iter().zip(&goes).filter(|(_, why)| why.is_none()).map(|(image, _)| &image.descriptor);
    let needed = graph.reach(stays);
    let in_use = graph.reach_leased(leased);
    let mut blobs = here.clone();
    blobs.retain(|digest, _| !needed.blobs.contains_key(digest));
    let in_use_bytes = blobs.iter().filter(|(digest, _)| in_use.contains(digest)).map(|(_, bytes)| bytes).sum();
    blobs.retain(|digest, _| !in_use.contains(digest));
    let unreadable: Vec<_> = needed.unreadable.into_iter().collect();
    if !unreadable.is_empty() {
        blobs.clear();
    }
    let removed = images.iter().zip(&goes).filter_map(|(image, why)| {
        let (image, digest) = (image.label(), image.descriptor.digest);
        why.clone().map(|why| RemovedImage { image, digest, why })
    });
    let blob_bytes: u64 = blobs.values().sum();
    let collected = Collected {
        dry_run: options.dry_run,
        images: removed.collect(),
        blobs: blobs.len(),
        blob_bytes,
        in_use_bytes,
        left_bytes: here.values().sum::<u64>() - blob_bytes,
        over,
        unreadable,
        ..Collected::default()
    };
    Ok(Plan { images, goes, blobs, collected })
}

/// For each image why it goes, if it is not among the last of its repository. Names without a repository belong to none and stay.
fn beyond_last(graph: &mut Graph<'_>, images: &[Named], keep: Option<usize>) -> Vec<Option<String>> {
    let mut goes = vec![None; images.len()];
    let Some(keep) = keep else { return goes };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (image, why) in images.iter().zip(&mut goes).rev() {
        let Some(repository) = image.name.as_deref().and_then(repository) else { continue };
        if graph.attached_to(image).is_some() {
            continue;
        }
        let seen = seen.entry(repository).or_default();
        *seen += 1;
        if *seen > keep {
            *why = Some(format!("{keep} newer of {repository} stay"));
        }
    }
    goes
}

/// The repository in a name: `host:5000/app:new` has `host:5000/app`, a bare `new` has none.
fn repository(name: &str) -> Option<&str> {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[last..].find(':') {
        Some(colon) => Some(&name[..last + colon]),
        None if last > 0 => Some(name),
        None => None,
    }
}

/// Lets the oldest images go until the others fit; and what they take if they never do.
fn shrink(
    graph: &mut Graph<'_>,
    images: &[Named],
    mut goes: Vec<Option<String>>,
    here: &BTreeMap<Digest, u64>,
    most: u64,
) -> (Vec<Option<String>>, Option<u64>) {
    loop {
        let stays: Vec<usize> = (0..images.len()).filter(|at| goes[*at].is_none()).collect();
        let reach = graph.reach(stays.iter().map(|at| &images[*at].descriptor));
        let bytes: u64 = reach.blobs.keys().filter_map(|digest| here.get(digest)).sum();
        if bytes <= most {
            return (goes, None);
        }
        let own: Vec<usize> = stays.into_iter().filter(|at| graph.attached_to(&images[*at]).is_none()).collect();
        let [oldest, _, ..] = own[..] else { return (goes, Some(most)) };
        goes[oldest] = Some("it is the oldest, and the store is to be smaller".into());
        goes = with_attached(graph, images, goes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_repositories_or_not() {
        for (name, expected) in [
            ("app:new", Some("app")),
            ("127.0.0.1:5000/app:new", Some("127.0.0.1:5000/app")),
            ("host:5000/team/app", Some("host:5000/team/app")),
            ("registry.example/app:new@sha256:00", Some("registry.example/app")),
            ("new", None),
            ("", None),
        ] {
            assert_eq!(repository(name), expected, "{name}");
        }
    }
}
