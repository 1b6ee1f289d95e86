//! Reading an image's documents and blobs, wherever they are.

use std::io::{self, Write as _};

use crate::archive::{Archive, ArchiveError};
use crate::blob::Blob;
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::image::media_type;
use crate::ledger::{Cause, Ledger};
use crate::limits;
use crate::registry::{Client, Reference, RegistryError, Repository};
use crate::span::Span;
use crate::store::{self, Layout, StoreError};

use super::Location;

/// An image's root, manifest or index: its descriptor and its bytes.
#[derive(Clone, Debug)]
pub struct Document {
    /// Type, digest, size.
    pub descriptor: Descriptor,
    /// The bytes, verified.
    pub bytes: Vec<u8>,
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The layout.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A document that states a size above [`limits::MANIFEST`].
    #[error("document {digest} is {size} bytes, more than the {limit} that are accepted", limit = limits::MANIFEST)]
    TooLarge {
        /// The document.
        digest: Digest,
        /// As its descriptor says.
        size: u64,
    },
    /// The blob's size is not what its descriptor says.
    #[error("blob {digest} is {actual} bytes, its descriptor says {stated}")]
    Size {
        /// The blob.
        digest: Digest,
        /// As the descriptor says.
        stated: u64,
        /// As it is.
        actual: u64,
    },
    /// Reading a blob's file failed.
    #[error("cannot read bytes {span} of blob {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// Which bytes.
        span: Span,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] io::Error),
    /// No folder for blobs on their way.
    #[error("cannot make a temporary folder")]
    Temporary(#[source] io::Error),
}

/// An open source of one image.
pub enum Source {
    /// A layout on disk.
    Layout {
        /// The layout.
        layout: Layout,
        /// The image's name in it.
        name: Option<String>,
    },
    /// An archive.
    Archive(Box<Archive>),
    /// A registry. Whole blobs are kept in a temporary layout while the source is open.
    Registry(Box<RegistrySource>),
}

/// An image in a registry, open.
pub struct RegistrySource {
    /// The client.
    pub client: Client,
    /// The image.
    pub reference: Reference,
    /// Where blobs wait.
    pub spool: Spool,
    /// What crossed the wire.
    pub ledger: Ledger,
}

/// A temporary layout.
pub struct Spool {
    layout: Layout,
    _folder: tempfile::TempDir,
}

impl Spool {
    /// An empty one, where large files may lie for a while (`TMPDIR`, else `/var/tmp`).
    ///
    /// # Errors
    /// [`SourceError::Temporary`].
    pub fn new() -> Result<Self, SourceError> {
        let folder = tempfile::Builder::new().prefix("chunkify-").tempdir_in(store::temporary_folder());
        let folder = folder.map_err(SourceError::Temporary)?;
        Ok(Self { layout: Layout::open_or_create(folder.path())?, _folder: folder })
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl Source {
    /// Opens a place. Only for a registry a client is asked for, so that what stays on this machine does not depend on what one needs.
    ///
    /// # Errors
    /// [`SourceError`] when a layout or an archive is none; whatever `client` says.
    pub async fn open<E: From<SourceError>>(
        location: &Location,
        client: impl FnOnce() -> Result<Client, E>,
    ) -> Result<Self, E> {
        Ok(match location {
            Location::Layout { dir, name } => {
                let layout = Layout::open(dir).map_err(SourceError::from)?;
                Self::Layout { layout, name: name.clone() }
            }
            Location::Archive { form, file, name } => {
                let (form, file, name) = (*form, file.clone(), name.clone());
                let opened = tokio::task::spawn_blocking(move || Archive::open(form, &file, name.as_deref())).await;
                let opened = opened.map_err(|error| SourceError::Worker(io::Error::other(error)))?;
                Self::Archive(Box::new(opened.map_err(SourceError::from)?))
            }
            Location::Registry(reference) => Self::Registry(Box::new(RegistrySource {
                client: client()?,
                reference: reference.clone(),
                spool: Spool::new()?,
                ledger: Ledger::new(),
            })),
        })
    }
    /// The image's root document.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn root(&self) -> Result<Document, SourceError> {
        match self {
            Self::Layout { layout, name } => {
                let descriptor = layout.resolve(name.as_deref())?;
                let bytes = self.document(&descriptor).await?;
                Ok(Document { descriptor, bytes })
            }
            Self::Archive(archive) => {
                let descriptor = archive.root().clone();
                let bytes = self.document(&descriptor).await?;
                Ok(Document { descriptor, bytes })
            }
            Self::Registry(registry) => {
                let RegistrySource { client, reference, ledger, .. } = &**registry;
                let manifest = client.manifest(&reference.repo(), &reference.manifest_name(), ledger).await?;
                let size = manifest.bytes.len() as u64;
                let descriptor = Descriptor::new(&manifest.media_type, manifest.digest, size);
                Ok(Document { descriptor, bytes: manifest.bytes })
            }
        }
    }

    /// A manifest, index or config, whole and verified.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let Descriptor { digest, size, .. } = descriptor;
        if *size > limits::MANIFEST {
            return Err(SourceError::TooLarge { digest: *digest, size: *size });
        }
        let bytes = match self {
            Self::Layout { layout, .. } => layout.read_blob(digest, limits::MANIFEST)?,
            Self::Archive(archive) => archive.read_blob(digest, limits::MANIFEST)?,
            Self::Registry(registry) => {
                let RegistrySource { client, reference, ledger, .. } = &**registry;
                let repo = reference.repo();
                let of_manifests = |kind: &str| media_type::is_manifest(kind) || media_type::is_index(kind);
                if of_manifests(&descriptor.media_type) {
                    client.manifest(&repo, &digest.to_string(), ledger).await?.bytes
                } else {
                    client.blob_bytes(&repo, *digest, *size, ledger, Cause::Metadata).await?
                }
            }
        };
        self.size_matches(descriptor, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// A blob, open. Its bytes are verified when it comes from a registry; a layout's are as they are.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, SourceError> {
        self.blob_watched(descriptor, &|_| {}).await
    }

    /// [`Source::blob`]; `fetched` is told how many bytes have come so far, should the blob come from a registry.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn blob_watched(
        &self,
        descriptor: &Descriptor,
        fetched: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Blob, SourceError> {
        let digest = &descriptor.digest;
        let blob = match self {
            Self::Layout { layout, .. } => layout.blob(digest)?,
            Self::Archive(archive) => archive.blob(digest)?,
            Self::Registry(registry) => {
                if registry.spool.layout.blob_size(digest)?.is_none() {
                    registry.spool_blob(descriptor, fetched).await?;
                }
                registry.spool.layout.blob(digest)?
            }
        };
        self.size_matches(descriptor, blob.len())?;
        Ok(blob)
    }

    /// Some bytes of a blob, unverified; from a registry as one ranged request.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn blob_span(&self, descriptor: &Descriptor, span: Span) -> Result<Vec<u8>, SourceError> {
        let digest = &descriptor.digest;
        match self {
            Self::Layout { .. } | Self::Archive(_) => {
                let blob = self.blob(descriptor).await?;
                blob.read_span(span).map_err(|source| SourceError::Read { digest: *digest, span, source })
            }
            Self::Registry(registry) => {
                let RegistrySource { client, reference, ledger, .. } = &**registry;
                let cause = Cause::TableOfContents;
                Ok(client.blob_range(&reference.repo(), *digest, descriptor.size, span, ledger, cause).await?)
            }
        }
    }

    /// The layout behind it, if it is one.
    pub fn layout(&self) -> Option<&Layout> {
        match self {
            Self::Layout { layout, .. } => Some(layout),
            Self::Registry(_) | Self::Archive(_) => None,
        }
    }

    /// The repository behind it, if it is one: blobs can be mounted from it within its registry.
    pub fn repository(&self) -> Option<Repository> {
        match self {
            Self::Layout { .. } | Self::Archive(_) => None,
            Self::Registry(registry) => Some(registry.reference.repo()),
        }
    }

    fn size_matches(&self, descriptor: &Descriptor, actual: u64) -> Result<(), SourceError> {
        let (digest, stated) = (descriptor.digest, descriptor.size);
        if stated == actual { Ok(()) } else { Err(SourceError::Size { digest, stated, actual }) }
    }
}

impl RegistrySource {
    async fn spool_blob(
        &self,
        descriptor: &Descriptor,
        fetched: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), SourceError> {
        let Self { client, reference, spool, ledger } = self;
        let Descriptor { digest, size, .. } = descriptor;
        let repo = reference.repo();
        loop {
            let mut writer = spool.layout.blob_writer()?;
            let mut come = 0;
            let mut sink = |bytes: &[u8]| {
                come += bytes.len() as u64;
                fetched(come);
                writer.write_all(bytes)
            };
            client.blob_from(&repo, *digest, *size, 0, ledger, Cause::Whole, &mut sink).await?;
            match writer.commit(Some(*digest)) {
                // A mirror's blob is wrong; the next place may have it right.
                Err(StoreError::Digest { .. }) if client.distrust(&repo, *digest) => {
                    ledger.reclassify(Cause::Whole, Cause::Wasted, *size);
                }
                committed => return Ok(committed.map(drop)?),
            }
        }
    }
}
