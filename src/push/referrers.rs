//! The list of what refers to an image, in registries that keep none: an index under a tag made of the image's digest, which every client
//! that pushes a referrer amends (distribution specification, "Referrers Tag Schema").

use crate::image::document::{self, DocumentError};
use crate::image::{Descriptor, Index, media_type, referrer};
use crate::limits;
use crate::registry::{Client, RegistryError, Repository};

/// Why a manifest is not in the list of its subject's referrers.
#[derive(Debug, thiserror::Error)]
pub enum ReferrersError {
    /// What the manifest says it is about is no digest.
    #[error("{0:?} is no digest, and so nothing can be listed under it")]
    Subject(String),
    /// The registry.
    #[error("the registry keeps no such list, and tag {tag} cannot be used as one")]
    Registry {
        /// Where the list is.
        tag: String,
        /// Why.
        source: RegistryError,
    },
    /// Something else has the list's tag.
    #[error(
        "the registry keeps no such list, and tag {tag} is of type {media_type:?}, which is no list either; it was left as it is"
    )]
    Type {
        /// Where the list should be.
        tag: String,
        /// What is there.
        media_type: String,
    },
    /// The list is none.
    #[error("the registry keeps no such list, and the one under tag {tag} cannot be amended; it was left as it is")]
    Document {
        /// Where the list is.
        tag: String,
        /// Why.
        source: DocumentError,
    },
    /// The list would be larger than any document may be.
    #[error("the list under tag {tag} would be {bytes} bytes, more than the {limit} that are read", limit = limits::MANIFEST)]
    Full {
        /// Where the list is.
        tag: String,
        /// As it would be.
        bytes: u64,
    },
    /// Others amend the list too, all the time.
    #[error("others have replaced the list under tag {tag} {times} times; push again")]
    Contended {
        /// Where the list is.
        tag: String,
        /// How often.
        times: u32,
    },
}

/// Puts `listed` into the list of `subject`'s referrers, and leaves everything else there as it is.
///
/// Registries have no way to replace a tag only if it is what it was. So the list is read again after it was written, and amended once more
/// when somebody else has put theirs in its place meanwhile.
///
/// # Errors
/// [`ReferrersError`]. What was in the list is there still.
pub async fn list(client: &Client, repo: &Repository, subject: &str, listed: Descriptor) -> Result<(), ReferrersError> {
    let tag = referrer::tag(subject).ok_or_else(|| ReferrersError::Subject(subject.into()))?;
    let failed = |source| ReferrersError::Registry { tag: tag.clone(), source };
    let mut written = 0;
    loop {
        let mut index = read(client, repo, &tag).await?;
        if index.manifests.iter().any(|other| other.digest == listed.digest) {
            tracing::info!("{} is listed among the referrers of {subject}, under tag {tag}", listed.digest);
            return Ok(());
        }
        if written >= limits::ATTEMPTS {
            return Err(ReferrersError::Contended { tag, times: written });
        }
        index.manifests.push(listed.clone());
        let bytes = document::to_bytes(&index);
        // A list that nobody could read any more would be lost to all.
        Index::parse(&bytes).map_err(|source| ReferrersError::Document { tag: tag.clone(), source })?;
        if bytes.len() as u64 > limits::MANIFEST {
            return Err(ReferrersError::Full { tag, bytes: bytes.len() as u64 });
        }
        client.put_manifest(repo, &tag, media_type::INDEX, &bytes).await.map_err(failed)?;
        written += 1;
    }
}

/// The list as it is now; empty when there is none.
async fn read(client: &Client, repo: &Repository, tag: &str) -> Result<Index, ReferrersError> {
    let found = match client.manifest_to_amend(repo, tag).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(Index::empty()),
        Err(source) => return Err(ReferrersError::Registry { tag: tag.into(), source }),
    };
    if found.media_type != media_type::INDEX {
        return Err(ReferrersError::Type { tag: tag.into(), media_type: found.media_type });
    }
    Index::parse(&found.bytes).map_err(|source| ReferrersError::Document { tag: tag.into(), source })
}
