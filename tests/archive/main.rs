//! `oci-archive:` and `docker-archive:`: written, read however others write them, and refused where they lie.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

#[path = "../support/mod.rs"]
mod support;

mod forms;
mod hostile;
mod written;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::command::{Ran, chunkify, run};
use support::layout::{self, Form};

/// A folder with a small image in it, as a layout, before and after conversion.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// With an image of two layers, `app:1`.
    #[track_caller]
    pub fn made() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let [old, _] = support::made::tars();
        layout::write_image(&folder.path().join("image"), "app:1", &old, Form::Gzip);
        let place = Self { folder };
        place.convert(&place.image(), &format!("oci:{}:app:1", place.path("converted").display())).ok();
        place
    }

    /// Something in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The image as it was made.
    pub fn image(&self) -> String {
        format!("oci:{}:app:1", self.path("image").display())
    }

    /// The digest of the image as it is after conversion.
    pub fn converted(&self) -> String {
        layout::Image::read(&self.path("converted"), "app:1").digest
    }

    /// Converts, from and to any place.
    pub fn convert(&self, from: &str, to: &str) -> Ran {
        chunkify(&["convert", from, to])
    }

    /// Writes a tar of these members.
    pub fn tar(&self, name: &str, members: &[(&str, &[u8])]) -> PathBuf {
        let path = self.path(name);
        let mut tar = tar::Builder::new(fs::File::create(&path).expect("a file can be made"));
        for (name, content) in members {
            put(&mut tar, name, content);
        }
        tar.finish().expect("a file can be written");
        path
    }

    /// Every file of the converted layout that belongs to it.
    pub fn members(&self) -> Vec<(String, Vec<u8>)> {
        members_of(&self.path("converted"))
    }
}

/// The files of a layout, and no others.
pub fn members_of(layout: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let content = fs::read(layout.join(&name)).expect("a file of the layout");
        (name, content)
    };
    let mut members: Vec<_> = ["oci-layout", "index.json"].into_iter().map(|name| read(name.into())).collect();
    for blob in fs::read_dir(layout.join("blobs/sha256")).expect("a layout has blobs") {
        let name = blob.expect("a folder can be read").file_name().into_string().expect("hex");
        members.push(read(format!("blobs/sha256/{name}")));
    }
    members
}

/// Puts one member into a tar, with its name as it is.
pub fn put(tar: &mut tar::Builder<fs::File>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    // The crate's own way refuses names that lead elsewhere.
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, content).expect("a tar can be written");
}

/// Runs GNU tar, which must succeed.
#[track_caller]
pub fn gnu_tar(arguments: &[&str]) -> Ran {
    run(Command::new("tar").args(arguments)).ok()
}
