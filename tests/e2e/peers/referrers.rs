//! What is about an image, pushed beside another tool that does the same, and found by it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::scenario::MADE;
use crate::support::command::{chunkify, run};
use crate::support::content::digest_of;
use crate::support::layout::{self, Image};
use crate::support::peers;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Adds a manifest to a layout that is about `subject`, under its digest alone, and returns that.
fn attach(dir: &Path, subject: &Image, kind: &str) -> String {
    let put = |bytes: &[u8]| {
        std::fs::write(layout::blob_path(dir, &digest_of(bytes)), bytes).expect("written");
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(bytes), "size": bytes.len()})
    };
    let size = subject.manifest.to_string().len();
    let empty = put(b"{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
        "subject": {"mediaType": MANIFEST, "digest": subject.digest, "size": size}, "annotations": {"of": kind},
    });
    let mut listed = put(manifest.to_string().as_bytes());
    listed["mediaType"] = MANIFEST.into();
    let digest = listed["digest"].as_str().expect("a digest").to_owned();
    let mut index = layout::read_index(dir).expect("an index");
    index["manifests"].as_array_mut().expect("a list").push(listed);
    std::fs::write(dir.join("index.json"), index.to_string()).expect("written");
    digest
}

/// Before and after oras attaches something of its own.
#[track_caller]
pub fn tell(server: SocketAddr, keeps_a_list: bool) {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let source = format!("oci:{}:app", dir.path().display());
    chunkify(&["convert", &MADE.source("old"), &source]).ok();
    let image = Image::read(dir.path(), "app");
    let name = format!("{server}/team/app");
    let push = |digest: &str| {
        let source = format!("oci:{}:{digest}", dir.path().display());
        chunkify(&["push", "-v", "--plain-http", &source, &format!("docker://{name}@{digest}")]).ok()
    };
    chunkify(&["push", "--plain-http", &source, &format!("docker://{name}:app")]).ok();
    let oras = |arguments: &[&str]| {
        let mut command = Command::new(peers::tool("oras"));
        run(command.args(arguments).current_dir(dir.path()).env("HOME", dir.path())).ok().stdout
    };
    let first = push(&attach(dir.path(), &image, "application/x.first"));
    let tag = image.digest.replace(':', "-");
    assert_eq!(first.stderr.contains(&format!("under tag {tag}")), !keeps_a_list, "{}", first.stderr);
    std::fs::write(dir.path().join("note"), "theirs").expect("written");
    oras(&["attach", "--plain-http", "--artifact-type", "application/x.theirs", &format!("{name}:app"), "note"]);
    let last = attach(dir.path(), &image, "application/x.last");
    push(&last);
    push(&last);
    let found = oras(&["discover", "--plain-http", "--format", "json", &format!("{name}:app")]);
    let found: Value = serde_json::from_str(&found).expect("oras tells in JSON");
    let all = found["referrers"].as_array().or(found["manifests"].as_array());
    let all = all.unwrap_or_else(|| panic!("a list of referrers: {found}"));
    let mut kinds: Vec<_> = all.iter().map(|one| one["artifactType"].as_str().expect("a type")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["application/x.first", "application/x.last", "application/x.theirs"]);
    let ours = all.iter().find(|one| one["digest"] == last.as_str()).expect("it is there");
    assert_eq!(ours["annotations"]["of"], "application/x.last");
}
