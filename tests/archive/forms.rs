//! Archives as others write them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::command::{chunkify, run, zstd_decompressed};
use crate::support::content::digest_of;
use crate::support::layout::{self, Image};
use crate::{Place, gnu_tar, put};

/// What every command makes of an image must be what it makes of the same image in a layout.
#[track_caller]
fn same_image(place: &Place, archive: &str) {
    chunkify(&["verify", archive]).ok();
    let again = place.path("again");
    let said = place.convert(archive, &format!("oci:{}:again", again.display())).ok().stdout;
    assert!(said.starts_with(&place.converted()), "{archive}: {said}");
    fs::remove_dir_all(again).unwrap();
}

#[test]
fn layouts_that_tar_has_packed() {
    let place = Place::made();
    let (layout, file) = (place.path("converted"), place.path("packed.tar"));
    let (dir, tar) = (layout.display().to_string(), file.display().to_string());
    let archive = format!("oci-archive:{tar}:app:1");
    for form in ["--format=gnu", "--format=pax", "--format=ustar", "--format=v7"] {
        // With everything that lies in a store beside the layout.
        gnu_tar(&[form, "-cf", &tar, "-C", &dir, "."]);
        same_image(&place, &archive);
    }
    // Blobs first, and the index last.
    gnu_tar(&["-cf", &tar, "-C", &dir, "blobs", "oci-layout", "./index.json"]);
    same_image(&place, &archive);
    chunkify(&["inspect", &archive]).ok();
    for (program, name) in [("gzip", "packed.tar.gz"), ("zstd", "packed.tar.zst")] {
        run(Command::new(program).args(["-kqf", &tar])).ok();
        same_image(&place, &format!("oci-archive:{}", place.path(name).display()));
    }
    let root = place.path("root").display().to_string();
    chunkify(&["unpack", "--rootless", "--no-sync", &archive, &root]).ok();
    assert!(Path::new(&root).join("app/big").exists());
}

#[test]
fn an_archive_that_comes_through_a_pipe() {
    let place = Place::made();
    let (pipe, packed) = (place.path("pipe"), place.path("packed.tar"));
    gnu_tar(&["-cf", &packed.display().to_string(), "-C", &place.path("converted").display().to_string(), "."]);
    run(Command::new("mkfifo").arg(&pipe)).ok();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::copy(packed, pipe).unwrap()
    });
    chunkify(&["verify", &format!("oci-archive:{}:app:1", pipe.display())]).ok();
    writer.join().unwrap();
}

/// The image's parts, for archives that are put together here.
struct Parts {
    config: Vec<u8>,
    /// The tars.
    layers: Vec<Vec<u8>>,
}

fn parts(place: &Place) -> Parts {
    let layout = place.path("converted");
    let image = Image::read(&layout, "app:1");
    let blob = |digest: &str| layout::blob_path(&layout, digest);
    Parts {
        config: fs::read(blob(image.manifest["config"]["digest"].as_str().unwrap())).unwrap(),
        layers: image.layers().iter().map(|digest| zstd_decompressed(&blob(digest))).collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    digest_of(bytes).trim_start_matches("sha256:").to_owned()
}

/// The layers of an image of the archive are those that the made image has once it is converted.
#[track_caller]
fn same_layers(place: &Place, archive: &str) {
    chunkify(&["verify", archive]).ok();
    let again = place.path("again");
    place.convert(archive, &format!("oci:{}:again", again.display())).ok();
    let (had, has) = (Image::read(&place.path("converted"), "app:1"), Image::read(&again, "again"));
    assert_eq!(has.layers(), had.layers(), "{archive}");
    assert_eq!(has.config, had.config, "{archive}");
    fs::remove_dir_all(again).unwrap();
}

/// As skopeo and podman write it: layers by their digest, folders of an older version with links to them.
fn with_links(place: &Place, parts: &Parts) -> PathBuf {
    let path = place.path("links.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    let mut names = Vec::new();
    for (number, layer) in parts.layers.iter().enumerate() {
        put(&mut tar, &format!("{}.tar", hex(layer)), layer);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let target = format!("../{}.tar", hex(layer));
        tar.append_link(&mut header, format!("old-{number}/layer.tar"), target).unwrap();
        names.push(format!("old-{number}/layer.tar"));
    }
    let config = format!("{}.json", hex(&parts.config));
    put(&mut tar, &config, &parts.config);
    let list = json!([{"Config": config, "RepoTags": ["docker.io/library/app:1", "app:one"], "Layers": names}]);
    put(&mut tar, "manifest.json", list.to_string().as_bytes());
    tar.finish().unwrap();
    path
}

#[test]
fn what_docker_save_writes() {
    let place = Place::made();
    let parts = parts(&place);
    let path = with_links(&place, &parts).display().to_string();
    for name in ["", ":app:1", ":docker.io/library/app:1", ":app:one", ":@0"] {
        same_layers(&place, &format!("docker-archive:{path}{name}"));
    }
    run(Command::new("gzip").args(["-kq", &path])).ok();
    same_layers(&place, &format!("docker-archive:{path}.gz:app:1"));
    for name in [":app:2", ":@1", ":nothing"] {
        let refused = chunkify(&["verify", &format!("docker-archive:{path}{name}")]).refused();
        assert!(refused.stderr.contains("it holds docker.io/library/app:1, app:one"), "{}", refused.stderr);
    }
}

#[test]
fn layers_of_a_docker_archive_may_be_compressed() {
    let place = Place::made();
    let parts = parts(&place);
    let gzip = |tar: &Vec<u8>| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, tar).unwrap();
        encoder.finish().unwrap()
    };
    let layers: Vec<_> = parts.layers.iter().map(gzip).collect();
    let list = json!([{"Config": "config", "RepoTags": null, "Layers": ["one.tar.gz", "./folder/two"]}]).to_string();
    let members = [
        ("manifest.json", list.as_bytes()),
        ("config", &parts.config),
        ("one.tar.gz", &layers[0]),
        ("folder/two", &layers[1]),
    ];
    same_layers(&place, &format!("docker-archive:{}", place.tar("compressed.tar", &members).display()));
}

#[test]
fn several_images_in_one_archive() {
    let place = Place::made();
    let parts = parts(&place);
    let names: Vec<_> = parts.layers.iter().map(|layer| format!("{}.tar", hex(layer))).collect();
    let image = json!({"Config": "config.json", "RepoTags": ["app:1"], "Layers": names});
    let list = json!([{"Config": "gone.json", "RepoTags": null, "Layers": []}, image]).to_string();
    let mut members = vec![("manifest.json", list.as_bytes()), ("config.json", &parts.config[..])];
    members.extend(names.iter().map(String::as_str).zip(parts.layers.iter().map(Vec::as_slice)));
    let archive = format!("docker-archive:{}", place.tar("several.tar", &members).display());
    same_layers(&place, &format!("{archive}:app:1"));
    same_layers(&place, &format!("{archive}:@1"));
    let refused = chunkify(&["verify", &archive]).refused();
    assert!(refused.stderr.contains("holds several images, name one of @0, app:1"), "{}", refused.stderr);
}
