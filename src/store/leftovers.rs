//! What interrupted runs left behind, beside the blobs.

use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Digest;

use super::files::{self, doing};
use super::frame_index::Shelf;
use super::{Layout, StoreError};

/// What a leftover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftoverKind {
    /// An unfinished blob that nobody works on.
    Partial,
    /// A temporary file of a process that died.
    Temporary,
    /// The frame index of a blob that is not here.
    FrameIndex,
    /// A note on a blob that is not here.
    Note,
}

/// A file that an interrupted run left.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes that it takes on disk; an unfinished blob has holes.
    pub bytes: u64,
    /// For how long nobody has written it.
    pub age: Duration,
}

impl Layout {
    /// What lies about and is in nobody's hands.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        let mut found = Vec::new();
        for (folder, kind) in [
            (self.partials(), LeftoverKind::Partial),
            (self.private().join("tmp"), LeftoverKind::Temporary),
            (self.private().join("work"), LeftoverKind::Temporary),
            (self.private().join(Shelf::Own.folder()), LeftoverKind::FrameIndex),
            (self.private().join(Shelf::Seeds.folder()), LeftoverKind::FrameIndex),
        ] {
            for entry in doing(files::list(&folder), "list", &folder)? {
                let path = folder.join(&entry.name);
                if kind == LeftoverKind::FrameIndex {
                    let blob = entry.name.to_str().and_then(Digest::from_hex);
                    if blob.is_some_and(|blob| files::exists(&self.blob_path(&blob))) {
                        continue;
                    }
                } else if !files::open(&path).is_ok_and(|file| files::is_free(&file)) {
                    continue;
                }
                found.push(Leftover { kind, path, bytes: entry.allocated, age: entry.age() });
            }
        }
        Ok(found)
    }

    /// Every small file of our own in `folder`, as a leftover; whether it is one, only those know who write them.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn notes(&self, folder: &str) -> Result<Vec<Leftover>, StoreError> {
        let folder = self.private().join(folder);
        let note = |entry: files::Entry| {
            let (path, age) = (folder.join(&entry.name), entry.age());
            Leftover { kind: LeftoverKind::Note, path, bytes: entry.allocated, age }
        };
        Ok(doing(files::list(&folder), "list", &folder)?.into_iter().map(note).collect())
    }

    /// Removes a leftover, unless somebody has taken it up meanwhile: then `false`.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        let path = &leftover.path;
        let Some(file) = doing(files::open_if_there(path), "open", path)? else { return Ok(false) };
        // Held until it is gone: whoever waits for it finds that its name leads elsewhere.
        if !files::is_free(&file) {
            return Ok(false);
        }
        self.files().remove(path)?;
        Ok(true)
    }
}
