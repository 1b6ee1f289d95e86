//! Writing an archive: a file that is there whole, under its name, or not at all.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::digest::{Digest, Hasher};
use crate::image::document::{self, DocumentError, REF_NAME};
use crate::image::{Descriptor, Index, Manifest, media_type};
use crate::limits;
use crate::registry::Reference;
use crate::store::{self, Files, Layout, Scratch, StoreError};

use super::Form;
use super::docker::{LIST, Listed};
use super::error::ArchiveError;
use super::oci::{BLOBS, member};

/// The annotation by which containerd and docker name an image of a layout.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An archive that is going to be written. Dropped without [`Writer::write`], it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    naming: Naming,
    scratch: Scratch,
    files: Files,
    path: PathBuf,
}

/// What the archive is, and how the image is called in it.
#[derive(Debug)]
enum Naming {
    Oci(Option<String>),
    Docker(Option<Reference>),
}

impl Writer {
    /// Begins an archive at `path`, in place of whatever file is there. What can be wrong with the place or the name is told now, before
    /// there is anything to write.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn begin(form: Form, path: &Path, name: Option<&str>) -> Result<Self, ArchiveError> {
        Self::begin_on(&Files::default(), form, path, name)
    }

    /// As [`Writer::begin`], with files that are watched.
    ///
    /// # Errors
    /// As [`Writer::begin`].
    pub fn begin_on(files: &Files, form: Form, path: &Path, name: Option<&str>) -> Result<Self, ArchiveError> {
        if path.exists() && !path.is_file() {
            return Err(ArchiveError::NotAFile(path.into()));
        }
        let naming = match form {
            Form::Oci => Naming::Oci(name.map(str::to_owned)),
            Form::Docker => Naming::Docker(name.map(reference).transpose()?),
        };
        Ok(Self { naming, scratch: files.scratch_for(path)?, files: files.clone(), path: path.into() })
    }

    /// Writes an image of a layout and all that it needs, and puts the archive in its place. The same image gives the same bytes. A
    /// [`Form::Docker`] archive is an OCI layout too, as docker's own are since version 25: its layers are those of the image, compressed
    /// as they are.
    ///
    /// # Errors
    /// [`ArchiveError`]; the place is as it was then.
    pub fn write(self, layout: &Layout, root: &Descriptor) -> Result<u64, ArchiveError> {
        let Self { naming, scratch, files, path } = self;
        let writing = |source| StoreError::io("write", &path, source);
        let content = Content::gather(layout, root, &naming)?;
        let mut tar = Builder::new(BufWriter::with_capacity(1 << 20, scratch));
        content.write(layout, &mut tar, &path)?;
        let written = tar.into_inner().and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error));
        let scratch = written.map_err(writing)?;
        let size = scratch.as_file().len().map_err(writing)?;
        files.publish(scratch, &path)?;
        Ok(size)
    }
}

/// What goes into an archive.
struct Content {
    /// Small files at its top.
    documents: Vec<(&'static str, Vec<u8>)>,
    /// In the order of their digests.
    blobs: BTreeSet<Digest>,
}

impl Content {
    fn gather(layout: &Layout, root: &Descriptor, naming: &Naming) -> Result<Self, ArchiveError> {
        let mut blobs = BTreeSet::new();
        below(layout, root, 0, &mut blobs)?;
        let mut listed = root.clone();
        listed.annotations.remove(REF_NAME);
        let mut name = |key: &str, name: &str| listed.annotations.insert(key.into(), name.into());
        let mut list = None;
        match naming {
            Naming::Oci(Some(own)) => {
                name(REF_NAME, own);
            }
            Naming::Oci(None) => {}
            Naming::Docker(reference) => {
                if let Some(reference) = reference {
                    name(IMAGE_NAME, &reference.to_string());
                    name(REF_NAME, reference.tag().unwrap_or("latest"));
                }
                list = Some(docker_list(layout, root, reference.as_ref())?);
            }
        }
        let index = document::to_bytes(&Index { manifests: vec![listed], ..Index::empty() });
        let mut documents = vec![("oci-layout", store::MARKER.to_vec()), ("index.json", index)];
        documents.extend(list.map(|list| (LIST, list)));
        Ok(Self { documents, blobs })
    }

    fn write(&self, layout: &Layout, tar: &mut Builder<impl Write>, path: &Path) -> Result<(), ArchiveError> {
        let writing = |source| StoreError::io("write", path, source);
        for (name, bytes) in &self.documents {
            append(tar, name, EntryType::Regular, bytes.len() as u64, &bytes[..]).map_err(writing)?;
        }
        for folder in ["blobs/", BLOBS] {
            append(tar, folder, EntryType::Directory, 0, io::empty()).map_err(writing)?;
        }
        for digest in &self.blobs {
            let blob = layout.blob(digest)?;
            let reading = |source| StoreError::io("read", &layout.blob_path(digest), source);
            let mut source = Digesting { inner: blob.reader(), hasher: Hasher::new(), failed: false };
            let appended = append(tar, &member(digest), EntryType::Regular, blob.len(), &mut source);
            appended.map_err(|error| if source.failed { reading(error) } else { writing(error) })?;
            let got = source.hasher.finish();
            if got != *digest {
                return Err(StoreError::Digest { expected: *digest, got }.into());
            }
        }
        Ok(())
    }
}

/// Every blob that a document needs, itself included.
fn below(
    layout: &Layout,
    descriptor: &Descriptor,
    depth: usize,
    blobs: &mut BTreeSet<Digest>,
) -> Result<(), ArchiveError> {
    let digest = descriptor.digest;
    let unreadable = |source| unreadable(layout, &digest, source);
    let bytes = layout.read_blob(&digest, limits::MANIFEST)?;
    blobs.insert(digest);
    if media_type::is_index(&descriptor.media_type) && depth < limits::INDEX_DEPTH {
        for child in Index::parse(&bytes).map_err(unreadable)?.manifests {
            below(layout, &child, depth + 1, blobs)?;
        }
        return Ok(());
    }
    let manifest = Manifest::parse(&bytes).map_err(unreadable)?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        // A layer that lives elsewhere may be here all the same.
        if !media_type::is_foreign_layer(&blob.media_type) || layout.blob_size(&blob.digest)?.is_some() {
            blobs.insert(blob.digest);
        }
    }
    Ok(())
}

fn unreadable(layout: &Layout, digest: &Digest, source: DocumentError) -> ArchiveError {
    ArchiveError::Document { path: layout.root().into(), name: member(digest), source }
}

/// The name of an image in a docker-archive.
fn reference(name: &str) -> Result<Reference, ArchiveError> {
    let reference = name.parse::<Reference>().ok().filter(|reference| reference.digest().is_none());
    reference.ok_or_else(|| ArchiveError::Name(name.into()))
}

/// What `docker load` reads.
fn docker_list(layout: &Layout, root: &Descriptor, name: Option<&Reference>) -> Result<Vec<u8>, ArchiveError> {
    if !media_type::is_manifest(&root.media_type) {
        return Err(ArchiveError::Index);
    }
    let bytes = layout.read_blob(&root.digest, limits::MANIFEST)?;
    let manifest = Manifest::parse(&bytes).map_err(|source| unreadable(layout, &root.digest, source))?;
    let image = Listed {
        config: member(&manifest.config.digest),
        repo_tags: name.map(|name| vec![name.to_string()]),
        layers: manifest.layers.iter().map(|layer| member(&layer.digest)).collect(),
    };
    Ok(document::to_bytes(&[image]))
}

/// A member that says nothing of who wrote it, and when.
fn append(tar: &mut Builder<impl Write>, name: &str, kind: EntryType, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    tar.append_data(&mut header, name, content.take(size))
}

/// Digests what is read, and notes whether reading failed.
struct Digesting<R> {
    inner: R,
    hasher: Hasher,
    failed: bool,
}

impl<R: Read> Read for &mut Digesting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out);
        match &read {
            Ok(count) => self.hasher.update(&out[..*count]),
            Err(_) => self.failed = true,
        }
        read
    }
}
