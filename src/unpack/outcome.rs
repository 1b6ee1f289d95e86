//! What was unpacked, and what could not be as the image has it.

use std::collections::BTreeMap;

use crate::digest::Digest;

use super::error::shown;

/// An unpacked image.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The manifest.
    pub digest: Option<Digest>,
    /// Its layers.
    pub layers: usize,
    /// Regular files that were written, also those which a later layer has removed or replaced. The same holds for all counts.
    pub files: u64,
    /// Bytes of regular files, holes included.
    pub bytes: u64,
    /// Folders that have an entry.
    pub folders: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links.
    pub hard_links: u64,
    /// Device nodes.
    pub devices: u64,
    /// Named pipes.
    pub pipes: u64,
    /// Whiteouts, opaque ones among them.
    pub whiteouts: u64,
    /// Entries that old engines kept for themselves (`.wh..wh.aufs` and the like), left out.
    pub reserved: u64,
    /// Device nodes that became empty files.
    pub replaced_devices: u64,
    /// The first few of them.
    pub some_replaced_devices: Vec<String>,
    /// Extended attributes that were left out, with the reason and how many objects have them.
    pub left_out_xattrs: BTreeMap<(String, &'static str), u64>,
}

/// Different attributes that are told of by name. Stops an archive with a million of them.
const TOLD: usize = 16;

impl Outcome {
    pub(super) fn left_out(&mut self, xattr: &[u8], why: &'static str) {
        let mut key = (shown(xattr), why);
        if self.left_out_xattrs.len() >= TOLD && !self.left_out_xattrs.contains_key(&key) {
            key.0 = "others".into();
        }
        *self.left_out_xattrs.entry(key).or_default() += 1;
    }

    pub(super) fn device_replaced(&mut self, name: &[u8]) {
        self.replaced_devices += 1;
        if self.some_replaced_devices.len() < TOLD {
            self.some_replaced_devices.push(shown(name));
        }
    }
}
