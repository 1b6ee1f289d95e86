//! Other tools read a store after a pull in part, and every digest stays what it was.
//!
//! The others, which are no Go commands that can be built here, have their runs in `spec-notes/interop.md`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::scenario::{REAL, Story};
use crate::support::command::{Ran, run};
use crate::support::content::digest_of;
use crate::support::http;
use crate::support::layout::{self, Image};
use crate::support::registry::Registry;

/// A store whose second image came in part.
struct Store<'a> {
    story: Story<'a>,
    image: Image,
}

impl<'a> Store<'a> {
    #[track_caller]
    fn pulled(registry: &'a Registry, repository: &str) -> Self {
        let story = Story::new(registry, repository);
        for tag in ["old", "new"] {
            story.push(&REAL, tag);
            let modes: Vec<String> =
                story.pull(&REAL, tag).report.layers.iter().map(|layer| layer.mode.clone()).collect();
            assert_eq!(modes.iter().any(|mode| mode == "partial"), tag == "new", "{tag}: {modes:?}");
        }
        let image = Image::read(&story.store(), &story.name("new"));
        Self { story, image }
    }

    /// `STORE@DIGEST`, as oras names an image of a layout.
    fn by_digest(&self) -> String {
        format!("{}@{}", self.story.store().display(), self.image.digest)
    }
}

#[track_caller]
fn tool(program: &Path, arguments: &[&str]) -> Ran {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    run(Command::new(program).args(arguments).env("HOME", home.path()).env("NO_PROXY", "*"))
}

/// A repository has the very manifest, and every blob of it.
#[track_caller]
fn has(registry: SocketAddr, repository: &str, image: &Image) {
    let accept = ("Accept", "application/vnd.oci.image.manifest.v1+json");
    let get = |path: &str, header| http::get(registry, path, header).expect("the registry answers");
    let answer = get(&format!("/v2/{repository}/manifests/{}", image.digest), Some(accept));
    assert_eq!((answer.status, digest_of(&answer.body)), (200, image.digest.clone()), "{repository}");
    let config = image.manifest["config"]["digest"].as_str().expect("a digest").to_owned();
    for blob in image.layers().iter().chain([&config]) {
        let answer = get(&format!("/v2/{repository}/blobs/{blob}"), None);
        assert_eq!((answer.status, &digest_of(&answer.body)), (200, blob), "{repository}");
    }
}

mod peers {
    use super::*;
    use crate::support::peers;

    #[test]
    fn crane_pushes_and_validates_what_is_in_a_store() {
        let server = peers::distribution();
        let counter = Registry::in_front_of(server.address());
        let store = Store::pulled(&counter, "readers/crane");
        let crane = peers::tool("crane");
        let dir = store.story.store().display().to_string();
        // A layout with several images goes as an index of them, each with its digest.
        let to = format!("{}/readers/by-crane", server.address());
        tool(&crane, &["push", "--insecure", "--index", &dir, &format!("{to}:all")]).ok();
        has(server.address(), "readers/by-crane", &store.image);
        let pushed = format!("{to}@{}", store.image.digest);
        // Without --fast it takes every layer for gzip, whoever made it; `has` has seen to the layers.
        let validated = tool(&crane, &["validate", "--fast", "--insecure", "--remote", &pushed]).ok();
        assert!(format!("{}{}", validated.stdout, validated.stderr).contains("PASS"), "{validated:?}");
        let digest = tool(&crane, &["digest", "--insecure", &pushed]).ok();
        assert_eq!(digest.stdout.trim(), store.image.digest);
        // And what the registry gives crane is a layout that has the same blobs.
        let pulled = tempfile::tempdir().expect("a temporary folder can be made");
        let into = pulled.path().join("layout").display().to_string();
        tool(&crane, &["pull", "--insecure", "--format", "oci", &pushed, &into]).ok();
        for layer in store.image.layers() {
            assert!(layout::blob_path(Path::new(&into), &layer).exists(), "{layer}");
        }
    }

    #[test]
    fn oras_copies_what_is_in_a_store() {
        let server = peers::distribution();
        let counter = Registry::in_front_of(server.address());
        let store = Store::pulled(&counter, "readers/oras");
        let oras = peers::tool("oras");
        let from = store.by_digest();
        let fetched = tool(&oras, &["manifest", "fetch", "--oci-layout", &from]).ok();
        assert_eq!(digest_of(fetched.stdout.trim_end_matches('\n').as_bytes()), store.image.digest);
        let to = format!("{}/readers/by-oras:new", server.address());
        tool(&oras, &["copy", "--from-oci-layout", "--to-plain-http", &from, &to]).ok();
        has(server.address(), "readers/by-oras", &store.image);
        let other = tempfile::tempdir().expect("a temporary folder can be made");
        let layout_to = format!("{}:copied", other.path().join("layout").display());
        tool(&oras, &["copy", "--from-oci-layout", "--to-oci-layout", &from, &layout_to]).ok();
        assert_eq!(Image::read(&other.path().join("layout"), "copied").digest, store.image.digest);
        layout::check_blobs(&other.path().join("layout"));
    }
}
