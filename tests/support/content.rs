//! What the in-process registry holds: blobs and manifests by repository, and uploads under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use serde_json::Value;
use sha2::Digest as _;

/// `sha256:` and hex, made without the product's digest type.
pub fn digest_of(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Everything in the registry.
#[derive(Default)]
pub struct Content {
    blobs: HashMap<String, Bytes>,
    repositories: BTreeMap<String, Repository>,
    uploads: HashMap<String, Vec<u8>>,
    started: u64,
}

/// One repository: which blobs it may serve, its manifests and tags.
#[derive(Default)]
struct Repository {
    blobs: BTreeSet<String>,
    manifests: BTreeMap<String, (String, Bytes)>,
    tags: BTreeMap<String, String>,
}

/// Why a manifest was not taken.
#[derive(Debug)]
pub enum Unfit {
    /// The body is not JSON, or its media type is not the header's.
    Invalid,
    /// It is not what its digest says.
    Digest,
    /// It names something that the repository does not have.
    Missing(String),
}

impl Content {
    /// A blob, if this repository has it.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.repositories.get(repository)?.blobs.get(digest).and_then(|digest| self.blobs.get(digest)).cloned()
    }

    /// A blob of whatever repository.
    pub fn any_blob(&self, digest: &str) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    /// The digests of all blobs.
    pub fn all_blobs(&self) -> Vec<String> {
        self.blobs.keys().cloned().collect()
    }

    /// A manifest by tag or digest: its digest, media type and bytes.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, String, Bytes)> {
        let repository = self.repositories.get(repository)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        repository.manifests.get(digest).map(|(kind, bytes)| (digest.to_owned(), kind.clone(), bytes.clone()))
    }

    /// The tags of a repository in order.
    pub fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(repository)?.tags.keys().cloned().collect())
    }

    /// Starts an upload and names it.
    pub fn start_upload(&mut self) -> String {
        self.started += 1;
        let name = format!("upload-{}", self.started);
        self.uploads.insert(name.clone(), Vec::new());
        name
    }

    /// How many bytes an upload has.
    pub fn uploaded(&self, upload: &str) -> Option<u64> {
        self.uploads.get(upload).map(|bytes| bytes.len() as u64)
    }

    /// Appends to an upload; the bytes that it has now.
    pub fn append(&mut self, upload: &str, more: &[u8]) -> Option<u64> {
        let bytes = self.uploads.get_mut(upload)?;
        bytes.extend_from_slice(more);
        Some(bytes.len() as u64)
    }

    /// Ends an upload: whether the bytes are what `digest` says. A wrong one is thrown away.
    pub fn finish_upload(&mut self, repository: &str, upload: &str, digest: &str) -> Option<bool> {
        let bytes = self.uploads.remove(upload)?;
        let right = digest_of(&bytes) == digest;
        if right {
            self.add_blob(repository, bytes.into());
        }
        Some(right)
    }

    /// Puts a blob into a repository.
    pub fn add_blob(&mut self, repository: &str, bytes: Bytes) -> String {
        let digest = digest_of(&bytes);
        self.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest.clone());
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    /// Lets `to` serve a blob of `from`; false when `from` has none.
    pub fn mount(&mut self, digest: &str, from: &str, to: &str) -> bool {
        let found = self.blob(from, digest).is_some();
        if found {
            self.repositories.entry(to.to_owned()).or_default().blobs.insert(digest.to_owned());
        }
        found
    }

    /// Lets a repository lose a blob that its manifests name.
    pub fn forget_blob(&mut self, repository: &str, digest: &str) {
        if let Some(repository) = self.repositories.get_mut(repository) {
            repository.blobs.remove(digest);
        }
    }

    /// Takes a manifest under a tag or its digest, if all that it names is there.
    pub fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        kind: &str,
        bytes: Bytes,
    ) -> Result<String, Unfit> {
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| Unfit::Invalid)?;
        if value.get("mediaType").is_some_and(|inner| inner.as_str() != Some(kind)) {
            return Err(Unfit::Invalid);
        }
        let digest = digest_of(&bytes);
        if reference.starts_with("sha256:") && reference != digest {
            return Err(Unfit::Digest);
        }
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        let named = |key: &str| value[key].as_array().cloned().unwrap_or_default();
        let blobs = named("layers").into_iter().chain(value.get("config").cloned());
        for (descriptor, is_blob) in
            blobs.map(|it| (it, true)).chain(named("manifests").into_iter().map(|it| (it, false)))
        {
            let wanted = descriptor["digest"].as_str().ok_or(Unfit::Invalid)?;
            let there =
                if is_blob { repository.blobs.contains(wanted) } else { repository.manifests.contains_key(wanted) };
            if !there {
                return Err(Unfit::Missing(wanted.to_owned()));
            }
        }
        repository.manifests.insert(digest.clone(), (kind.to_owned(), bytes));
        if !reference.starts_with("sha256:") {
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        Ok(digest)
    }
}
