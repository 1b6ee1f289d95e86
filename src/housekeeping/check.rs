//! Whether every blob is what its name says, and bringing back what is not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::digest::{Digest, Hasher};
use crate::image::{Descriptor, media_type};
use crate::ledger::{Bytes, Ledger};
use crate::pull;
use crate::registry::{Client, Repository};
use crate::store::Layout;

use super::HousekeepingError;
use super::graph::{Graph, Reach};

/// What is wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Its bytes are not those that it is named for.
    Damaged,
    /// It is shorter or longer than it should be.
    Size,
    /// It is not there.
    Missing,
}

/// A blob that is not as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// The blob.
    pub digest: Digest,
    /// What is wrong.
    pub kind: FaultKind,
    /// The images that need it; none need what the next collection removes.
    pub images: Vec<String>,
    /// Bytes that it should have, if anything says so.
    pub size: u64,
    /// What is said of it.
    #[serde(skip)]
    descriptor: Option<Descriptor>,
    #[serde(skip)]
    is_document: bool,
}

/// What was looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Checked {
    /// Blobs.
    pub blobs: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// A blob that came back.
#[derive(Clone, Debug, Serialize)]
pub struct Mended {
    /// The blob.
    pub digest: Digest,
    /// Bytes of it.
    pub size: u64,
    /// Bytes of it that were right.
    pub kept_bytes: u64,
    /// Response-body bytes that were received for it.
    pub fetched_bytes: u64,
    /// Requests.
    pub requests: u64,
    /// The received bytes by cause.
    pub by_cause: Bytes,
}

/// Reads every blob of a store and holds it against its name, and every document against what is there. Nothing is written.
///
/// # Errors
/// [`HousekeepingError`] when the store cannot be read.
pub fn check(layout: &Layout) -> Result<Checked, HousekeepingError> {
    let here = layout.all_blobs()?;
    let mut graph = Graph::new(layout);
    let images = layout.images()?;
    let mut needed: BTreeMap<Digest, Fault> = BTreeMap::new();
    for image in &images {
        let Reach { blobs, documents, .. } = graph.reach([&image.descriptor]);
        for (digest, descriptor) in blobs {
            let is_document = documents.contains(&digest);
            let kind = FaultKind::Missing;
            let size = descriptor.size;
            let fault = needed.entry(digest).or_insert_with(|| {
                let descriptor = Some(descriptor);
                Fault { digest, kind, images: Vec::new(), size, descriptor, is_document }
            });
            fault.images.push(image.label());
        }
    }
    let mut checked = Checked::default();
    for (digest, bytes) in here {
        checked.blobs += 1;
        checked.bytes += bytes;
        let known = needed.remove(&digest);
        let stated = known.as_ref().map(|fault| fault.size).filter(|size| *size > 0);
        let kind = match stated {
            Some(size) if size != bytes => FaultKind::Size,
            _ if hash(layout, &digest)? != digest => FaultKind::Damaged,
            _ => continue,
        };
        let (images, descriptor, is_document) = (Vec::new(), None, false);
        let nobodys = Fault { digest, kind, images, size: bytes, descriptor, is_document };
        checked.faults.push(Fault { kind, ..known.unwrap_or(nobodys) });
    }
    // What lives elsewhere, and the images of an index that were never pulled, are not missing.
    let roots: BTreeSet<Digest> = images.iter().map(|image| image.descriptor.digest).collect();
    checked.faults.extend(needed.into_values().filter(|fault| {
        let foreign = fault.descriptor.as_ref().is_some_and(|blob| media_type::is_foreign_layer(&blob.media_type));
        !foreign && (!fault.is_document || roots.contains(&fault.digest))
    }));
    Ok(checked)
}

fn hash(layout: &Layout, digest: &Digest) -> Result<Digest, HousekeepingError> {
    let mut hasher = Hasher::new();
    let mut file = layout.open_blob(digest)?;
    let read = std::io::copy(&mut file, &mut hasher);
    read.map_err(|source| HousekeepingError::Read { path: layout.blob_path(digest), source })?;
    Ok(hasher.finish())
}

/// Brings everything back from a repository that is wrong in a store; of layers in zstd:chunked only the frames that are wrong.
/// `tell` hears of each blob. What a document that comes back needs is looked at too.
///
/// # Errors
/// [`HousekeepingError`], at the first blob that the repository does not give. What is right of it is kept for the next attempt.
pub async fn repair(
    client: &Client,
    repo: &Repository,
    layout: &Layout,
    mut tell: impl FnMut(&Mended),
) -> Result<Checked, HousekeepingError> {
    let layout = &layout.for_run();
    let mut done = BTreeSet::new();
    loop {
        let for_check = layout.clone();
        let checked = tokio::task::spawn_blocking(move || check(&for_check)).await;
        let checked = checked.map_err(HousekeepingError::Worker)??;
        let mendable = |fault: &&Fault| fault.descriptor.is_some() && !done.contains(&fault.digest);
        // Documents first: what a layer's frames are is said in its manifest.
        let documents: Vec<_> = checked.faults.iter().filter(mendable).filter(|fault| fault.is_document).collect();
        let blobs: Vec<_> = checked.faults.iter().filter(mendable).collect();
        let faults = if documents.is_empty() { blobs } else { documents };
        if faults.is_empty() {
            return Ok(checked);
        }
        let mended: Vec<Digest> = faults.iter().map(|fault| fault.digest).collect();
        for fault in faults {
            tell(&mend(client, repo, layout, fault).await?);
        }
        done.extend(mended);
    }
}

async fn mend(client: &Client, repo: &Repository, layout: &Layout, fault: &Fault) -> Result<Mended, HousekeepingError> {
    let digest = fault.digest;
    if fault.is_document {
        let ledger = Ledger::new();
        let document = client.manifest(repo, &digest.to_string(), &ledger).await?;
        layout.put_blob(&document.bytes)?;
        let (by_cause, requests) = (ledger.bytes(), ledger.requests());
        let (size, fetched_bytes) = (document.bytes.len() as u64, by_cause.total());
        return Ok(Mended { digest, size, kept_bytes: 0, fetched_bytes, requests, by_cause });
    }
    if fault.kind != FaultKind::Missing {
        layout.demote(&digest)?;
    }
    let descriptor = fault.descriptor.as_ref().expect("only what something is said of is mended");
    let report = pull::restore(client, repo, layout, descriptor).await?;
    Ok(Mended {
        digest,
        size: report.size,
        kept_bytes: report.reused_bytes,
        fetched_bytes: report.fetched_bytes,
        requests: report.requests,
        by_cause: report.by_cause,
    })
}
