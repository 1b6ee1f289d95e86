//! Pushing: an image from a layout or an archive to a registry, blobs before manifests, children before their index, the name last.

mod referrers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::archive::{Archive, ArchiveError};
use crate::blob::Blob;
use crate::digest::Digest;
use crate::image::document::DocumentError;
use crate::image::{Descriptor, Index, Manifest, Referrer, media_type};
use crate::limits;
use crate::registry::{Client, Reference, RegistryError, Repository, Stored};
use crate::store::{Layout, StoreError};

pub use referrers::ReferrersError;

/// Blobs that are uploaded at once.
const BLOBS_AT_ONCE: usize = 4;

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The registry had it.
    There,
    /// It was mounted from another repository of the registry.
    Mounted,
    /// It was uploaded.
    Uploaded,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A blob is there.
    Blob {
        /// Which one.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// How it came there.
        sent: Sent,
    },
}

/// Told of everything that happens; called from any thread.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// A pushed image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pushed {
    /// Digest of the root document.
    pub digest: Option<Digest>,
    /// Bytes that were uploaded.
    pub uploaded_bytes: u64,
    /// Bytes that were there or were mounted.
    pub skipped_bytes: u64,
    /// Blobs that were uploaded.
    pub uploaded: usize,
    /// Blobs that were there.
    pub there: usize,
    /// Blobs that were mounted.
    pub mounted: usize,
}

/// Why an image was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The layout.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The registry refused a blob.
    #[error("blob {digest} was not pushed")]
    Blob {
        /// Which one.
        digest: Digest,
        /// Why.
        source: RegistryError,
    },
    /// The registry refused a manifest or index.
    #[error("manifest {digest} was not pushed")]
    Manifest {
        /// Which one.
        digest: Digest,
        /// Why.
        source: RegistryError,
    },
    /// The registry has the manifest, and nobody finds it by what it is about.
    #[error("manifest {digest} was pushed, but not listed among the referrers of {subject}")]
    Unlisted {
        /// Which one.
        digest: Digest,
        /// The digest of what it is about.
        subject: String,
        /// Why.
        source: ReferrersError,
    },
    /// A document of the image.
    #[error("{digest}: {source}")]
    Document {
        /// Which one.
        digest: Digest,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// Neither a manifest nor an index.
    #[error("{digest} is of type {media_type:?}, which is no image manifest or index")]
    Type {
        /// The document.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// Indexes inside indexes without end.
    #[error("indexes are nested more than {limit} deep", limit = limits::INDEX_DEPTH)]
    Depth,
}

/// Where the blobs are.
#[derive(Clone, Copy, Debug)]
pub enum Blobs<'a> {
    /// In a layout.
    Layout(&'a Layout),
    /// In an archive.
    Archive(&'a Archive),
}

impl<'a> From<&'a Layout> for Blobs<'a> {
    fn from(layout: &'a Layout) -> Self {
        Self::Layout(layout)
    }
}

impl<'a> From<&'a Archive> for Blobs<'a> {
    fn from(archive: &'a Archive) -> Self {
        Self::Archive(archive)
    }
}

impl Blobs<'_> {
    fn document(&self, digest: &Digest) -> Result<Vec<u8>, PushError> {
        Ok(match self {
            Self::Layout(layout) => layout.read_blob(digest, limits::MANIFEST)?,
            Self::Archive(archive) => archive.read_blob(digest, limits::MANIFEST)?,
        })
    }

    fn has(&self, digest: &Digest) -> Result<bool, PushError> {
        Ok(match self {
            Self::Layout(layout) => layout.blob_size(digest)?.is_some(),
            Self::Archive(archive) => archive.has(digest),
        })
    }

    fn open(&self, digest: &Digest) -> Result<Blob, PushError> {
        Ok(match self {
            Self::Layout(layout) => layout.blob(digest)?,
            Self::Archive(archive) => archive.blob(digest)?,
        })
    }
}

/// Pushes `root` of a layout or an archive under a name. Blobs that `mount_from` (a repository of the same registry) has are mounted. `sent` counts
/// uploaded bytes while they go.
///
/// # Errors
/// [`PushError`]. The name is untouched then; what was uploaded need not be uploaded again.
pub async fn push(
    client: &Client,
    blobs: impl Into<Blobs<'_>>,
    root: &Descriptor,
    reference: &Reference,
    mount_from: Option<&Repository>,
    sent: Arc<AtomicU64>,
    report: Report,
) -> Result<Pushed, PushError> {
    let repo = reference.repo();
    let mount_from = mount_from.filter(|from| from.host() == repo.host() && from.name() != repo.name());
    let mut run = Run {
        client,
        local: blobs.into(),
        repo,
        mount_from,
        sent,
        report,
        seen: BTreeSet::new(),
        pushed: Pushed::default(),
    };
    let bytes = run.document(root, 0).await?;
    // What is about another image is listed there before it gets a name of its own.
    if reference.tag().is_none() || Referrer::parse(&bytes).is_some() {
        run.put(root, &bytes).await?;
    }
    if let Some(tag) = reference.tag() {
        run.put_as(root, tag, &bytes).await?;
    }
    run.pushed.digest = Some(root.digest);
    Ok(run.pushed)
}

struct Run<'a> {
    client: &'a Client,
    local: Blobs<'a>,
    repo: Repository,
    mount_from: Option<&'a Repository>,
    sent: Arc<AtomicU64>,
    report: Report,
    seen: BTreeSet<Digest>,
    pushed: Pushed,
}

impl Run<'_> {
    /// Pushes everything below a document, and returns its bytes.
    async fn document(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Vec<u8>, PushError> {
        let wrong = |source| PushError::Document { digest: descriptor.digest, source };
        let bytes = self.local.document(&descriptor.digest)?;
        if media_type::is_manifest(&descriptor.media_type) {
            let manifest = Manifest::parse(&bytes).map_err(wrong)?;
            self.blobs(&manifest).await?;
        } else if media_type::is_index(&descriptor.media_type) {
            if depth >= limits::INDEX_DEPTH {
                return Err(PushError::Depth);
            }
            for child in Index::parse(&bytes).map_err(wrong)?.manifests {
                let bytes = Box::pin(self.document(&child, depth + 1)).await?;
                self.put(&child, &bytes).await?;
            }
        } else {
            return Err(PushError::Type { digest: descriptor.digest, media_type: descriptor.media_type.clone() });
        }
        Ok(bytes)
    }

    /// Stores a document under its digest, and lists it among the referrers of its subject where the registry does not.
    async fn put(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), PushError> {
        let stored = self.put_as(descriptor, &descriptor.digest.to_string(), bytes).await?;
        let Some(referrer) = Referrer::parse(bytes).filter(|_| !stored.listed) else { return Ok(()) };
        let (digest, subject) = (descriptor.digest, referrer.subject().to_owned());
        let listed = referrers::list(self.client, &self.repo, &subject, referrer.describe(descriptor)).await;
        listed.map_err(|source| PushError::Unlisted { digest, subject, source })
    }

    async fn put_as(&self, descriptor: &Descriptor, name: &str, bytes: &[u8]) -> Result<Stored, PushError> {
        let put = self.client.put_manifest(&self.repo, name, &descriptor.media_type, bytes).await;
        put.map_err(|source| PushError::Manifest { digest: descriptor.digest, source })
    }

    async fn blobs(&mut self, manifest: &Manifest) -> Result<(), PushError> {
        let mut wanted: Vec<Descriptor> = Vec::new();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let foreign = media_type::is_foreign_layer(&blob.media_type) && !self.local.has(&blob.digest)?;
            if !foreign && self.seen.insert(blob.digest) {
                wanted.push(blob.clone());
            }
        }
        let sends = wanted.iter().map(|blob| self.blob(blob));
        let sent: Vec<(u64, Sent)> = stream::iter(sends).buffer_unordered(BLOBS_AT_ONCE).try_collect().await?;
        for (size, sent) in sent {
            match sent {
                Sent::Uploaded => {
                    (self.pushed.uploaded_bytes, self.pushed.uploaded) =
                        (self.pushed.uploaded_bytes + size, self.pushed.uploaded + 1)
                }
                Sent::There => {
                    (self.pushed.skipped_bytes, self.pushed.there) =
                        (self.pushed.skipped_bytes + size, self.pushed.there + 1)
                }
                Sent::Mounted => {
                    (self.pushed.skipped_bytes, self.pushed.mounted) =
                        (self.pushed.skipped_bytes + size, self.pushed.mounted + 1)
                }
            }
        }
        Ok(())
    }

    async fn blob(&self, blob: &Descriptor) -> Result<(u64, Sent), PushError> {
        let Descriptor { digest, .. } = blob;
        let size = self.local.open(digest)?.len();
        let sent = self.send(digest, size).await.map_err(|source| PushError::Blob { digest: *digest, source })?;
        (self.report)(Event::Blob { digest: *digest, size, sent });
        Ok((size, sent))
    }

    async fn send(&self, digest: &Digest, size: u64) -> Result<Sent, RegistryError> {
        if self.client.has_blob(&self.repo, *digest).await? {
            return Ok(Sent::There);
        }
        if let Some(from) = self.mount_from
            && self.client.mount_blob(&self.repo, *digest, from.name()).await?
        {
            return Ok(Sent::Mounted);
        }
        let open = || self.local.open(digest).map_err(std::io::Error::other);
        self.client.upload_blob(&self.repo, *digest, size, open, self.sent.clone()).await?;
        Ok(Sent::Uploaded)
    }
}
