//! What a run needs while no image names it yet, so that a collection going on at the same time leaves it alone.
//!
//! A run notes every blob that it counts on in a file of its own, *before* it looks whether the blob is there. It does so through a gate that
//! many runs pass at once and a collection passes alone: a collection sees every note that was made, and whoever notes something
//! afterwards sees what the collection has left. The file is locked for as long as the run lives, so the notes of a dead run count for nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::digest::Digest;

use super::files::{self, Lock, Scratch, doing};
use super::{FrameIndex, Layout, Shelf, StoreError};

/// The notes of one run.
#[derive(Debug, Default)]
pub(super) struct Lease(Mutex<Option<Notes>>);

#[derive(Debug)]
struct Notes {
    file: Scratch,
    kept: BTreeSet<Digest>,
}

/// One line of notes: a digest in hex and a line feed.
const LINE: usize = 65;

impl Lease {
    /// Notes digests. The first note also has all images that the layout names now: frames may be copied from any of them.
    pub(super) fn keep(&self, layout: &Layout, digests: &[Digest]) -> Result<(), StoreError> {
        let mut notes = self.0.lock().expect("nobody panics while they hold the notes");
        if let Some(notes) = &*notes
            && digests.iter().all(|digest| notes.kept.contains(digest))
        {
            return Ok(());
        }
        let _gate = layout.files().lock_shared(&gate(layout)?, "store gc is at work")?;
        if notes.is_none() {
            let folder = runs(layout);
            layout.files().make_dir(&folder)?;
            let mut first = Notes { file: layout.files().scratch(&folder)?, kept: BTreeSet::new() };
            first.note(layout.images()?.into_iter().map(|image| image.descriptor.digest))?;
            *notes = Some(first);
        }
        notes.as_mut().map_or(Ok(()), |notes| notes.note(digests.iter().copied()))
    }
}

impl Notes {
    fn note(&mut self, digests: impl IntoIterator<Item = Digest>) -> Result<(), StoreError> {
        let mut lines = String::new();
        for digest in digests {
            if self.kept.insert(digest) {
                lines.push_str(&digest.hex());
                lines.push('\n');
            }
        }
        let written = std::io::Write::write_all(self.file.as_file_mut(), lines.as_bytes());
        doing(written, "note what is needed in", self.file.path())
    }
}

fn runs(layout: &Layout) -> PathBuf {
    layout.private().join("runs")
}

fn gate(layout: &Layout) -> Result<PathBuf, StoreError> {
    layout.files().make_dir(&layout.private())?;
    Ok(layout.private().join("gc.lock"))
}

/// The right to remove blobs: no run begins to count on a blob while it is held.
#[derive(Debug)]
pub struct Collecting {
    layout: Layout,
    leased: BTreeSet<Digest>,
    _gate: Lock,
}

impl Collecting {
    pub(super) fn begin(layout: &Layout) -> Result<Self, StoreError> {
        let gate =
            layout.files().lock(&gate(layout)?, "a run is noting what it needs, or another store gc is at work")?;
        let leased = leased(layout)?;
        Ok(Self { layout: layout.clone(), leased, _gate: gate })
    }

    /// What running processes count on: blobs, and images with everything in them.
    pub fn leased(&self) -> &BTreeSet<Digest> {
        &self.leased
    }

    /// Removes a blob and the index of its frames. The caller has seen that nothing needs it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        debug_assert!(!self.leased.contains(digest), "a running process needs it");
        FrameIndex::remove(&self.layout, Shelf::Own, digest)?;
        self.layout.files().remove(&self.layout.blob_path(digest))
    }

    /// Puts the removals on disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn finish(self) -> Result<(), StoreError> {
        self.layout.files().sync_dir(&self.layout.blobs())
    }
}

/// Reads the notes of all living runs, and removes those of dead ones.
fn leased(layout: &Layout) -> Result<BTreeSet<Digest>, StoreError> {
    let folder = runs(layout);
    let mut leased = BTreeSet::new();
    for entry in doing(files::list(&folder), "list", &folder)? {
        let path = folder.join(&entry.name);
        let Some(file) = doing(files::open_if_there(&path), "open", &path)? else { continue };
        if files::is_free(&file) {
            layout.files().remove(&path)?;
            continue;
        }
        let text = doing(files::read_up_to(&path, u64::MAX), "read", &path)?.unwrap_or_default();
        let lines = text.chunks_exact(LINE).filter_map(|line| std::str::from_utf8(line).ok());
        leased.extend(lines.filter_map(|line| Digest::from_hex(line.trim_end())));
    }
    Ok(leased)
}
