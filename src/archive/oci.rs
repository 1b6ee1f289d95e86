//! An OCI image layout in a tar.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::image::{Index, Manifest, media_type};
use crate::store;

use super::Form;
use super::error::{ArchiveError, MemberFault};
use super::open::{Chosen, Opened};

/// Where blobs lie.
pub const BLOBS: &str = "blobs/sha256/";

/// The member that a blob is.
pub fn member(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

/// The image that `name` means.
///
/// # Errors
/// [`ArchiveError`].
pub fn choose(archive: &Opened<'_>, name: Option<&str>) -> Result<Chosen, ArchiveError> {
    let not = |why| ArchiveError::Form { path: archive.path.into(), form: Form::Oci, why };
    let Some(marker) = archive.document("oci-layout")? else {
        return Err(not(if archive.has("manifest.json") {
            "it is one of docker save: name it docker-archive:FILE"
        } else {
            "it has no file oci-layout"
        }));
    };
    store::check_marker(&marker).map_err(not)?;
    let index = index(archive)?.ok_or_else(|| not("it has no index.json"))?;
    let images: Vec<_> = index.manifests.into_iter().map(store::Named::of).collect();
    let root = store::choose(&images, name, archive.path)?;
    Ok(Chosen { root, blobs: blobs(archive)?, made: BTreeMap::new() })
}

/// The image of that config, when the index lists its manifest.
///
/// # Errors
/// [`ArchiveError`].
pub fn of_config(archive: &Opened<'_>, config: &Digest) -> Result<Option<Chosen>, ArchiveError> {
    for root in index(archive)?.map(|index| index.manifests).unwrap_or_default() {
        if !media_type::is_manifest(&root.media_type) {
            continue;
        }
        let Some(bytes) = archive.document(&member(&root.digest))? else { continue };
        let is_it = |manifest: Manifest| manifest.config.digest == *config;
        if Digest::of(&bytes) == root.digest && Manifest::parse(&bytes).is_ok_and(is_it) {
            return Ok(Some(Chosen { root, blobs: blobs(archive)?, made: BTreeMap::new() }));
        }
    }
    Ok(None)
}

fn index(archive: &Opened<'_>) -> Result<Option<Index>, ArchiveError> {
    let unreadable = |source| ArchiveError::Document { path: archive.path.into(), name: "index.json".into(), source };
    archive.document("index.json")?.map(|bytes| Index::parse(&bytes).map_err(unreadable)).transpose()
}

fn blobs(archive: &Opened<'_>) -> Result<BTreeMap<Digest, super::members::Place>, ArchiveError> {
    let mut blobs = BTreeMap::new();
    for (hex, place) in archive.members.in_folder(BLOBS) {
        let Some(digest) = std::str::from_utf8(hex).ok().and_then(Digest::from_hex) else { continue };
        // Looked up once more by its name, which sees whether its folders are folders.
        let name = member(&digest);
        archive.members.file(&name).map_err(|fault: MemberFault| archive.refuse(&name, fault))?;
        blobs.insert(digest, place);
    }
    Ok(blobs)
}
