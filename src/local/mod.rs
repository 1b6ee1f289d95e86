//! What is here already: the frames of all zstd:chunked blobs of a store, and of the layouts beside it that were named as seeds.

mod layers;

pub use layers::chunked_layers;

use std::collections::BTreeSet;
use std::fs::File;

use crate::blob::Blob;
use crate::digest::Digest;
use crate::format::annotations::Annotations;
use crate::format::footer::{self, FooterError};
use crate::format::frame_map::{self, FrameMap, LayerError};
use crate::image::Descriptor;
use crate::plan::missing::Place;
use crate::span::Span;
use crate::store::{FrameIndex, FrameKey, FrameRecord, Layout, Shelf, StoreError, Wanted};

/// A blob that frames can be copied from.
#[derive(Debug)]
pub struct LocalBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes that are there: fewer than it should have when it was cut short behind our back.
    pub there: u64,
    /// Which of the layouts it is in.
    layout: usize,
    /// What a manifest says of it, if one does.
    claims: Option<Descriptor>,
}

impl LocalBlob {
    /// Whether a manifest says that it is zstd:chunked.
    pub fn is_claimed(&self) -> bool {
        self.claims.is_some()
    }
}

/// All blobs that frames can be copied from.
#[derive(Debug)]
pub struct LocalFrames {
    /// The store, then the seeds.
    layouts: Vec<Layout>,
    /// In the order in which they are looked into: the store's newest image first.
    pub blobs: Vec<LocalBlob>,
}

impl LocalFrames {
    /// Gathers every zstd:chunked layer that the images of the store and of the seeds have, and every other blob that has an index.
    ///
    /// # Errors
    /// [`StoreError`] when a layout itself cannot be read.
    pub fn gather(store: &Layout, seeds: &[Layout]) -> Result<Self, StoreError> {
        let layouts: Vec<Layout> = std::iter::once(store).chain(seeds).cloned().collect();
        let mut blobs = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, layout) in layouts.iter().enumerate() {
            for layer in chunked_layers(layout)? {
                let Some(there) = layout.blob_size(&layer.digest)? else { continue };
                if there < layer.size {
                    damaged(layout, &layer.digest, &format!("it is {there} bytes and should be {}", layer.size));
                }
                if seen.insert(layer.digest) {
                    blobs.push(LocalBlob { digest: layer.digest, there, layout: at, claims: Some(layer) });
                }
            }
            for (digest, _) in FrameIndex::all(layout, Shelf::Own)? {
                let Some(there) = layout.blob_size(&digest)? else { continue };
                if seen.insert(digest) {
                    blobs.push(LocalBlob { digest, there, layout: at, claims: None });
                }
            }
        }
        Ok(Self { layouts, blobs })
    }

    /// Gathers every blob of a store, whatever it may be.
    ///
    /// # Errors
    /// [`StoreError`] when the store itself cannot be read.
    pub fn every_blob(store: &Layout) -> Result<Self, StoreError> {
        let mut all = Self::gather(store, &[])?;
        let seen: BTreeSet<Digest> = all.blobs.iter().map(|blob| blob.digest).collect();
        let others = store.all_blobs()?.into_iter().filter(|(digest, _)| !seen.contains(digest));
        all.blobs.extend(others.map(|(digest, there)| LocalBlob { digest, there, layout: 0, claims: None }));
        Ok(all)
    }

    /// Tells for every wanted frame that is here where it is. A blob whose frames cannot be told is left out, and the log says why: a pull
    /// fetches a little more then.
    pub fn find(&self, wanted: &mut Wanted<'_>, mut found: impl FnMut(usize, Place)) {
        for (at, blob) in self.blobs.iter().enumerate() {
            if wanted.missing() == 0 {
                return;
            }
            let mut one = |number: usize, record: &FrameRecord| {
                let whole = record.offset.checked_add(record.key.compressed).is_some_and(|end| end <= blob.there);
                if whole {
                    found(number, Place { blob: at, offset: record.offset });
                }
                whole
            };
            let result = self.index(blob).and_then(|index| match index.find(wanted, &mut one) {
                Err(StoreError::FrameIndex { path, why }) => {
                    tracing::info!("the frame index {} is made again: {why}", path.display());
                    Ok(self.rebuild(blob)?.find(wanted, &mut one)?)
                }
                other => Ok(other?),
            });
            if let Err(why) = result {
                tracing::warn!(blob = %blob.digest, "its frames are not reused: {why}");
            }
        }
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`StoreError`] when it is gone.
    pub fn open(&self, blob: usize) -> Result<File, StoreError> {
        let LocalBlob { digest, layout, .. } = &self.blobs[blob];
        self.layouts[*layout].open_blob(digest)
    }

    /// The layout that a blob is in.
    pub fn layout_of(&self, blob: usize) -> &Layout {
        &self.layouts[self.blobs[blob].layout]
    }

    /// The index of a blob's frames, made if it is missing, damaged or of another version.
    ///
    /// # Errors
    /// [`NoFrames`] when it cannot be made either.
    pub fn index(&self, blob: &LocalBlob) -> Result<FrameIndex, NoFrames> {
        for (layout, shelf) in self.shelves(blob) {
            match FrameIndex::open(layout, shelf, &blob.digest) {
                Ok(Some(index)) => return Ok(index),
                Ok(None) => {}
                Err(StoreError::FrameIndex { path, why }) => {
                    tracing::info!("the frame index {} is made again: {why}", path.display());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.rebuild(blob)
    }

    /// Makes the index of a blob's frames from its tail.
    ///
    /// # Errors
    /// [`NoFrames`].
    pub fn rebuild(&self, blob: &LocalBlob) -> Result<FrameIndex, NoFrames> {
        let layout = &self.layouts[blob.layout];
        let bytes = Blob::whole(layout.open_blob(&blob.digest)?)?;
        let annotations = match &blob.claims {
            Some(layer) => Annotations::parse(&layer.annotations)?,
            None => own_claims(&bytes)?,
        };
        let map = frames_of(&bytes, &annotations)?;
        let shelves = self.shelves(blob);
        let (home, shelf) = shelves.last().expect("there is one");
        FrameIndex::save(home, *shelf, &blob.digest, blob.there, records(&map))?;
        FrameIndex::open(home, *shelf, &blob.digest)?.ok_or(NoFrames::Gone)
    }

    /// Where the index of a blob may be; the last is where it is made. Other people's layouts are not written to.
    fn shelves(&self, blob: &LocalBlob) -> Vec<(&Layout, Shelf)> {
        let own = (&self.layouts[blob.layout], Shelf::Own);
        if blob.layout == 0 { vec![own] } else { vec![own, (&self.layouts[0], Shelf::Seeds)] }
    }
}

/// Says that a blob is not what its name says, and what to do.
pub fn damaged(layout: &Layout, blob: &Digest, what: &str) {
    let root = layout.root().display();
    tracing::warn!(
        "blob {blob} is damaged: {what}; chunkify store verify --store {root} --repair docker://… brings it back"
    );
}

/// Why a local blob's frames cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum NoFrames {
    /// The store, or the index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a manifest says of it.
    #[error(transparent)]
    Annotations(#[from] crate::format::annotations::AnnotationsError),
    /// Its end is not that of a zstd:chunked blob.
    #[error(transparent)]
    Footer(#[from] FooterError),
    /// Its tail.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Its file.
    #[error("its tail cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// The index went away as soon as it was made.
    #[error("its index was removed")]
    Gone,
}

/// The annotations that a blob claims for itself. An index needs no better proof than that the tail agrees with itself.
fn own_claims(blob: &Blob) -> Result<Annotations, NoFrames> {
    let size = blob.len();
    let end = Span::new(size.saturating_sub(footer::LEN as u64), size).ok_or(FooterError::Absent)?;
    let positions = footer::read(&blob.read_span(end)?)?;
    let tail = positions.check(size).map_err(LayerError::from)?;
    let bytes = blob.read_span(tail.span())?;
    let toc = tail.split(&bytes).map_err(LayerError::from)?.toc;
    Ok(Annotations { toc_digest: Digest::of(toc), positions })
}

fn frames_of(blob: &Blob, annotations: &Annotations) -> Result<FrameMap, NoFrames> {
    let tail = annotations.positions.check(blob.len()).map_err(LayerError::from)?;
    let bytes = blob.read_span(tail.span())?;
    Ok(frame_map::check(annotations, &tail, &bytes)?)
}

/// The frames of a map, for an index.
pub fn records(map: &FrameMap) -> Vec<FrameRecord> {
    map.frames.iter().map(|frame| FrameRecord { key: key(frame), offset: frame.span.start() }).collect()
}

/// By what a frame is found.
pub fn key(frame: &frame_map::Frame) -> FrameKey {
    FrameKey { digest: frame.digest, len: frame.len, compressed: frame.span.len() }
}
