//! What `convert` writes.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;

use chunkify::archive::{ArchiveError, Form, Writer};
use chunkify::store::Layout;
use serde_json::Value;

use crate::support::command::chunkify;
use crate::support::content::digest_of;
use crate::support::layout;
use crate::support::registry::{Mode, Registry};
use crate::{Place, gnu_tar};

/// Nothing unfinished lies about.
fn nothing_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().contains("unfinished"), "{name:?} was left");
    }
}

#[test]
fn an_archive_has_the_image_to_the_byte_and_gnu_tar_reads_it() {
    let place = Place::made();
    for form in ["oci-archive", "docker-archive"] {
        let file = place.path("image.tar");
        let destination = format!("{form}:{}:app:1", file.display());
        let said = place.convert(&place.image(), &destination).ok().stdout;
        assert!(said.starts_with(&format!("{}  {destination}", place.converted())), "{said}");
        let first = fs::read(&file).unwrap();
        // In place of the one that is there, and the same.
        place.convert(&place.image(), &destination).ok();
        assert!(fs::read(&file).unwrap() == first, "the same image makes another archive");
        nothing_unfinished(place.path("").as_path());

        let unpacked = place.path(form);
        fs::create_dir(&unpacked).unwrap();
        gnu_tar(&["-xf", &file.display().to_string(), "-C", &unpacked.display().to_string()]);
        chunkify(&["verify", &format!("oci:{}", unpacked.display())]).ok();
        let blobs = |dir: &Path| {
            let mut blobs: Vec<_> =
                crate::members_of(dir).into_iter().filter(|(name, _)| name.starts_with("b")).collect();
            blobs.sort();
            blobs
        };
        assert!(blobs(&unpacked) == blobs(&place.path("converted")), "{form}: other blobs");
    }
}

#[test]
fn docker_finds_its_list_in_a_docker_archive() {
    let place = Place::made();
    for (name, expected) in [(":app:1", Some("docker.io/library/app:1")), ("", None)] {
        let file = place.path("image.tar");
        place.convert(&place.image(), &format!("docker-archive:{}{name}", file.display())).ok();
        let unpacked = tempfile::tempdir().unwrap();
        gnu_tar(&["-xf", &file.display().to_string(), "-C", &unpacked.path().display().to_string()]);
        let list: Value = serde_json::from_slice(&fs::read(unpacked.path().join("manifest.json")).unwrap()).unwrap();
        let image = &list[0];
        assert_eq!(image["RepoTags"][0].as_str(), expected);
        let config: Value =
            serde_json::from_slice(&fs::read(unpacked.path().join(image["Config"].as_str().unwrap())).unwrap())
                .unwrap();
        let layers = image["Layers"].as_array().unwrap();
        assert_eq!(layers.len(), 2);
        for (layer, diff_id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
            let tar = crate::support::command::zstd_decompressed(&unpacked.path().join(layer.as_str().unwrap()));
            assert_eq!(digest_of(&tar), diff_id.as_str().unwrap());
        }
        let index: Value = serde_json::from_slice(&fs::read(unpacked.path().join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"].as_str(), expected);
    }
}

#[test]
fn an_image_that_is_converted_already_passes_through_unchanged() {
    let place = Place::made();
    for form in ["oci-archive", "docker-archive"] {
        let archive = format!("{form}:{}:app:1", place.path("image.tar").display());
        place.convert(&place.image(), &archive).ok();
        let again = format!("oci:{}:again", place.path(form).display());
        assert!(place.convert(&archive, &again).ok().stdout.starts_with(&place.converted()), "{form}");
        // Onto itself, too.
        assert!(place.convert(&archive, &archive).ok().stdout.starts_with(&place.converted()), "{form}");
        let verified = chunkify(&["verify", &archive]).ok().stdout;
        assert!(verified.contains("2 zstd:chunked"), "{verified}");
    }
}

#[test]
fn what_cannot_be_written_is_told_before_the_work() {
    let place = Place::made();
    let folder = place.path("folder");
    fs::create_dir(&folder).unwrap();
    for (destination, why) in [
        (format!("oci-archive:{}", folder.display()), "is no file"),
        (format!("oci-archive:{}/x.tar", place.path("nowhere").display()), "nowhere"),
        (format!("docker-archive:{}:UPPER", place.path("x.tar").display()), "no name for an image in a docker-archive"),
        ("oci-archive:/dev/null".to_owned(), "is no file"),
    ] {
        let refused = place.convert(&place.image(), &destination).refused();
        assert!(refused.stderr.contains(why), "{destination}: {}", refused.stderr);
        assert!(!refused.stdout.contains("layers"), "{destination}: {}", refused.stdout);
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    nothing_unfinished(place.path("").as_path());
}

#[test]
fn a_failure_leaves_the_archive_that_was_there() {
    let place = Place::made();
    let file = place.path("image.tar");
    fs::write(&file, "something else").unwrap();
    let layout = Layout::open(&place.path("converted")).unwrap();
    let root = layout.resolve(None).unwrap();
    let (blob, _) = layout.all_blobs().unwrap().into_iter().max_by_key(|(_, len)| *len).unwrap();
    let path = layout.blob_path(&blob);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let writer = Writer::begin(Form::Oci, &file, Some("app:1")).unwrap();
    let error = writer.write(&layout, &root).unwrap_err();
    assert!(matches!(error, ArchiveError::Store(_)) && error.to_string().contains(&blob.to_string()), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"something else");
    nothing_unfinished(place.path("").as_path());
}

#[test]
fn a_link_is_replaced_and_what_it_led_to_is_not() {
    let place = Place::made();
    let (target, link) = (place.path("target"), place.path("image.tar"));
    fs::write(&target, "mine").unwrap();
    symlink(&target, &link).unwrap();
    place.convert(&place.image(), &format!("oci-archive:{}", link.display())).ok();
    assert_eq!(fs::read(&target).unwrap(), b"mine");
    chunkify(&["verify", &format!("oci-archive:{}", link.display())]).ok();
}

#[test]
fn an_archive_is_pushed_from_where_it_lies() {
    let place = Place::made();
    let registry = Registry::with_mode(Mode::Go);
    let reference = format!("docker://{}/app:1", registry.address());
    let archive = place.path("image.tar");
    place.convert(&place.image(), &format!("oci-archive:{}:app:1", archive.display())).ok();
    // gzip's output is no place to read blobs from, so that this one goes through a temporary file.
    std::process::Command::new("gzip").args(["-kq"]).arg(&archive).status().unwrap();
    for archive in [format!("oci-archive:{}", archive.display()), format!("oci-archive:{}.gz:app:1", archive.display())]
    {
        let said = chunkify(&["push", "--plain-http", &archive, &reference]).ok().stdout;
        assert!(said.starts_with(&place.converted()), "{said}");
    }
    let store = place.path("store");
    chunkify(&["pull", "--plain-http", &reference, "--store", &store.display().to_string()]).ok();
    let name = layout::names(&store).pop().unwrap();
    assert_eq!(layout::Image::read(&store, &name).digest, place.converted());

    let docker = format!("docker-archive:{}", archive.display());
    let refused = chunkify(&["push", "--plain-http", &docker, &reference]).refused();
    assert!(refused.stderr.contains(&format!("chunkify convert {docker} {reference}")), "{}", refused.stderr);
    let refused = chunkify(&["pull", &docker, "--store", "x"]).refused();
    assert!(refused.stderr.contains("convert reads archives"), "{}", refused.stderr);
}
