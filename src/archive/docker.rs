//! What `docker save` writes: `manifest.json`, and the configs and layers that it names. Newer ones are an OCI layout beside, which has the
//! image's manifest. For others one is made here, of layers as they lie there.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::document::{self, Config, DocumentError};
use crate::image::{Descriptor, Manifest, media_type};
use crate::inflate::Compression;
use crate::limits;
use crate::registry::Reference;
use crate::store::StoreError;

use super::Form;
use super::error::{ArchiveError, MemberFault};
use super::oci::{self, BLOBS};
use super::open::{Chosen, Opened};

/// The member that lists the images.
pub const LIST: &str = "manifest.json";

/// An image in the list.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// The config's member.
    pub config: String,
    /// Names of the image.
    pub repo_tags: Option<Vec<String>>,
    /// The layers' members, lowest first.
    #[serde(default)]
    pub layers: Vec<String>,
}

impl Listed {
    fn names(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

/// The image that `name` means: one of its names, or `@` and its place in the list, from 0.
///
/// # Errors
/// [`ArchiveError`].
pub fn choose(archive: &Opened<'_>, name: Option<&str>) -> Result<Chosen, ArchiveError> {
    let Some(list) = archive.document(LIST)? else {
        let why = if archive.has("oci-layout") {
            "it is an OCI layout: name it oci-archive:FILE"
        } else {
            "it has no manifest.json"
        };
        return Err(ArchiveError::Form { path: archive.path.into(), form: Form::Docker, why });
    };
    let unreadable = |source| ArchiveError::Document { path: archive.path.into(), name: LIST.into(), source };
    let list: Vec<Listed> = serde_json::from_slice(&list)
        .map_err(|source| unreadable(DocumentError::Json { what: "list of images", source }))?;
    let too_many = |of, count, limit| unreadable(DocumentError::TooMany { what: "list of images", of, count, limit });
    if list.len() > limits::INDEX_MANIFESTS {
        return Err(too_many("images", list.len(), limits::INDEX_MANIFESTS));
    }
    let listed = find(archive, &list, name)?;
    if listed.layers.len() > limits::LAYERS {
        return Err(too_many("layers", listed.layers.len(), limits::LAYERS));
    }
    // The config names the tars of the layers, so that a manifest with the same config is the same image, whatever else it says.
    let config = in_name(&listed.config).filter(|_| archive.has("oci-layout"));
    match config.map(|config| oci::of_config(archive, &config)).transpose()?.flatten() {
        Some(chosen) => Ok(chosen),
        None => image(archive, listed),
    }
}

fn find<'a>(archive: &Opened<'_>, list: &'a [Listed], name: Option<&str>) -> Result<&'a Listed, ArchiveError> {
    let path = || archive.path.into();
    let names = || {
        let label = |(at, image): (usize, &Listed)| match image.names() {
            [] => vec![format!("@{at}")],
            names => names.to_vec(),
        };
        list.iter().enumerate().flat_map(label).collect()
    };
    let Some(name) = name else {
        return match list {
            [only] => Ok(only),
            [] => Err(StoreError::NoImage { name: String::new(), path: path(), names: names() }.into()),
            _ => Err(StoreError::Ambiguous { path: path(), names: names() }.into()),
        };
    };
    let at = name.strip_prefix('@').and_then(|at| at.parse::<usize>().ok());
    let found = match at {
        Some(at) => list.get(at),
        None => list.iter().find(|image| image.names().iter().any(|own| same(own, name))),
    };
    found.ok_or_else(|| StoreError::NoImage { name: name.into(), path: path(), names: names() }.into())
}

/// Whether two names mean the same image: `app` is `docker.io/library/app:latest`.
fn same(one: &str, other: &str) -> bool {
    let parse = |name: &str| name.parse::<Reference>().ok();
    one == other || parse(one).is_some_and(|one| Some(one) == parse(other))
}

fn image(archive: &Opened<'_>, listed: &Listed) -> Result<Chosen, ArchiveError> {
    let (name, refuse) = (&listed.config, |fault| archive.refuse(&listed.config, fault));
    let config = archive.document(name)?.ok_or_else(|| refuse(MemberFault::Missing))?;
    let digest = Digest::of(&config);
    if in_name(name).is_some_and(|named| named != digest) {
        return Err(refuse(MemberFault::Digest(digest)));
    }
    let unreadable = |source| ArchiveError::Document { path: archive.path.into(), name: name.clone(), source };
    let diff_ids = Config::parse(&config).map_err(unreadable)?.rootfs.diff_ids;
    let (layers, of) = (listed.layers.len(), diff_ids.len());
    if layers != of {
        return Err(ArchiveError::Layers { path: archive.path.into(), config: name.clone(), layers, diff_ids: of });
    }
    let mut chosen = Chosen {
        root: Descriptor::new(media_type::MANIFEST, digest, 0),
        blobs: BTreeMap::new(),
        made: BTreeMap::new(),
    };
    let mut layers = Vec::with_capacity(of);
    for (name, diff_id) in listed.layers.iter().zip(diff_ids) {
        layers.push(layer(archive, &mut chosen, name, diff_id)?);
    }
    let config_descriptor = Descriptor::new(media_type::CONFIG, digest, config.len() as u64);
    chosen.made.insert(digest, config);
    let manifest = document::to_bytes(&Manifest {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.into()),
        config: config_descriptor,
        layers,
        annotations: BTreeMap::new(),
        rest: serde_json::Map::new(),
    });
    chosen.root = Descriptor::new(media_type::MANIFEST, Digest::of(&manifest), manifest.len() as u64);
    chosen.made.insert(chosen.root.digest, manifest);
    Ok(chosen)
}

/// The descriptor of a layer. One that is not compressed is its own diff_id, which whoever reads it will see.
fn layer(archive: &Opened<'_>, chosen: &mut Chosen, name: &str, diff_id: Digest) -> Result<Descriptor, ArchiveError> {
    let refuse = |fault| archive.refuse(name, fault);
    let place = archive.members.linked_file(name).map_err(refuse)?.ok_or_else(|| refuse(MemberFault::Missing))?;
    let blob = archive.blob(place);
    let reading = |source| StoreError::io("read", archive.path, source);
    let mut start = Vec::with_capacity(8);
    blob.reader().take(8).read_to_end(&mut start).map_err(reading)?;
    let media_type = match Compression::sniff(&start).map_err(|error| refuse(MemberFault::Layer(error)))? {
        Compression::None => media_type::LAYER_TAR,
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
    };
    let digest = match (media_type, in_name(name)) {
        (media_type::LAYER_TAR, _) => diff_id,
        (_, Some(named)) => named,
        _ => blob.digest().map_err(reading)?,
    };
    chosen.blobs.entry(digest).or_insert(place);
    Ok(Descriptor::new(media_type, digest, place.len))
}

/// The digest that a member's name promises: `blobs/sha256/HEX`, `HEX.json`. Others are IDs of old, which are no digests.
fn in_name(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix(BLOBS).or_else(|| name.strip_suffix(".json"))?;
    Digest::from_hex(hex)
}
