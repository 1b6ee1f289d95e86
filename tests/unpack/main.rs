//! `chunkify unpack`: layers as people make them, and as nobody should.
//!
//! Tests below `as_root` make device nodes, owners and file systems; they are `#[ignore]`d so that cargo counts what was left out, and
//! `make test` runs them where it is run by root.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

#[path = "../support/mod.rs"]
mod support;

mod layer;
mod snapshot;

mod as_root;
mod forms;
mod hostile;
mod layers;
mod metadata;
mod staging;

use std::fs;
use std::path::{Path, PathBuf};

use support::command::{Ran, chunkify};
use support::layout::{self, Form};

/// A folder with an image in it, a place to unpack it to, and something beside that nobody may touch.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// With an image of these layers.
    #[track_caller]
    pub fn new(layers: &[Vec<u8>]) -> Self {
        let place = Self::empty();
        layout::write_image(&place.image(), "image", layers, Form::Tar);
        place
    }

    /// Without an image.
    #[track_caller]
    pub fn empty() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        let outside = place.outside();
        fs::create_dir_all(outside.join("folder")).expect("a folder can be made");
        fs::write(outside.join("secret"), "nobody's business").expect("a file can be written");
        fs::write(outside.join("folder/inner"), "nobody's business either").expect("a file can be written");
        place
    }

    /// The folder above everything.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The layout with the image.
    pub fn image(&self) -> PathBuf {
        self.path().join("image")
    }

    /// What lies outside of the destination.
    pub fn outside(&self) -> PathBuf {
        self.path().join("outside")
    }

    /// The destination.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// Runs `chunkify unpack`, and holds what must be true whatever comes of it.
    #[track_caller]
    pub fn try_unpack(&self, options: &[&str]) -> Ran {
        let before = snapshot::of(&self.outside());
        let ran = self.command(options);
        assert_eq!(snapshot::of(&self.outside()), before, "something outside was changed:\n{}", ran.stderr);
        let mut left: Vec<_> = fs::read_dir(self.path()).expect("the folder is there").collect();
        left.retain(|entry| {
            entry
                .as_ref()
                .is_ok_and(|entry| !["image", "outside", "root"].iter().any(|name| entry.file_name() == *name))
        });
        assert!(left.is_empty(), "{left:?} is left beside the destination");
        assert_eq!(
            self.root().exists(),
            ran.success,
            "the destination is there if and only if it is whole: {}",
            ran.stderr
        );
        ran
    }

    #[track_caller]
    fn command(&self, options: &[&str]) -> Ran {
        let image = format!("oci:{}:image", self.image().display());
        let root = self.root().display().to_string();
        let mut arguments = vec!["unpack", &image, &root, "--no-sync"];
        if !is_root() && !options.contains(&"--rootless") {
            arguments.push("--rootless");
        }
        arguments.extend(options);
        chunkify(&arguments)
    }

    /// Unpacks, which must succeed, and returns the tree.
    #[track_caller]
    pub fn unpack(&self) -> snapshot::Tree {
        self.try_unpack(&[]).ok();
        snapshot::of(&self.root())
    }

    /// Unpacks, which must fail and say `why`.
    #[track_caller]
    pub fn refuses(&self, why: &str) {
        let ran = self.try_unpack(&[]).refused();
        assert!(ran.stderr.contains(why), "it says {:?} and not {why:?}", ran.stderr);
    }
}

/// Whether the tests are run by root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
