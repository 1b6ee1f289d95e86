//! Archives that nobody should make: each is refused, with what is wrong and the member that it is wrong with.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use chunkify::archive::{Archive, Form};
use chunkify::limits;
use proptest::prelude::*;
use serde_json::json;

use crate::Place;
use crate::support::command::chunkify;
use crate::support::content::digest_of;

#[track_caller]
fn refuses(form: &str, path: &Path, why: &[&str]) {
    for command in ["verify", "inspect"] {
        let refused = chunkify(&[command, &format!("{form}:{}", path.display())]).refused();
        for why in why {
            assert!(refused.stderr.contains(why), "{command}: it says {:?} and not {why:?}", refused.stderr);
        }
    }
}

/// The members of a good archive, and one more at its end.
fn with(place: &Place, name: &str, content: &[u8]) -> std::path::PathBuf {
    let members = place.members();
    let mut all: Vec<_> = members.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    all.push((name, content));
    place.tar("hostile.tar", &all)
}

#[test]
fn names_that_lead_elsewhere_or_stand_there_twice() {
    let place = Place::made();
    for (name, why) in [
        ("../outside", "\"../outside\" leads out of the archive"),
        ("blobs/../../outside", "leads out of the archive"),
        ("a/../index.json", "leads out of the archive"),
        ("/etc/passwd", "\"/etc/passwd\" leads out of the archive"),
        ("index.json", "\"index.json\" stands there twice"),
        ("./index.json", "stands there twice"),
        ("blobs//sha256/../sha256/x", "leads out of the archive"),
    ] {
        refuses("oci-archive", &with(&place, name, b"{}"), &[why]);
    }
    let blob = place.members().pop().unwrap().0;
    refuses("oci-archive", &with(&place, &format!("./{blob}"), b""), &[&blob, "stands there twice"]);
}

#[test]
fn links_and_devices_in_the_place_of_files() {
    use tar::EntryType;
    let place = Place::made();
    let blob = place.members().pop().unwrap().0;
    for (replaced, kind, why) in [
        ("index.json", EntryType::Symlink, "\"index.json\" is a symlink, where a plain file is needed"),
        ("index.json", EntryType::Link, "\"index.json\" is a hard link"),
        ("oci-layout", EntryType::Fifo, "\"oci-layout\" is a pipe"),
        ("oci-layout", EntryType::Char, "\"oci-layout\" is a device"),
        (blob.as_str(), EntryType::Symlink, "is missing from"),
        ("blobs", EntryType::Symlink, "lies in \"blobs\", which is no folder"),
        ("blobs/sha256", EntryType::Symlink, "lies in \"blobs/sha256\", which is no folder"),
    ] {
        let path = place.path("hostile.tar");
        let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        tar.append_link(&mut header, replaced, "/etc/passwd").unwrap();
        for (name, content) in place.members().iter().filter(|(name, _)| name != replaced) {
            crate::put(&mut tar, name, content);
        }
        tar.finish().unwrap();
        let refused = chunkify(&["verify", &format!("oci-archive:{}", path.display())]).refused();
        assert!(refused.stderr.contains(why), "it says {:?} and not {why:?}", refused.stderr);
    }
}

#[test]
fn sizes_that_lie() {
    let place = Place::made();
    let good = place.tar("good.tar", &[("oci-layout", b"x"), ("index.json", b"y")]);
    let bytes = fs::read(good).unwrap();
    let path = place.path("lying.tar");
    for (size, why) in [
        (u64::from(u32::MAX), "should have 4294967295 bytes, but the archive ends after"),
        (i64::MAX.cast_unsigned(), "should have 9223372036854775807 bytes"),
    ] {
        let mut header = tar::Header::from_byte_slice(&bytes[1024..1536]).clone();
        header.set_size(size);
        header.set_cksum();
        let lying = [&bytes[..1024], header.as_bytes(), &bytes[1536..]].concat();
        fs::write(&path, lying).unwrap();
        refuses("oci-archive", &path, &["\"index.json\"", why]);
    }
    // Cut anywhere: in a header, in a payload, in its padding.
    for cut in [100, 513, 1023, 1300, 1537] {
        fs::write(&path, &bytes[..cut]).unwrap();
        refuses("oci-archive", &path, &["lying.tar"]);
    }
}

#[test]
fn blobs_that_are_not_what_they_are_called() {
    let place = Place::made();
    let members = place.members();
    for (number, (name, content)) in members.iter().enumerate().filter(|(_, (name, _))| name.starts_with("blobs")) {
        let mut wrong = content.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        let mut all: Vec<_> = members.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
        all[number].1 = &wrong;
        let path = place.tar("wrong.tar", &all);
        let refused = chunkify(&["verify", &format!("oci-archive:{}", path.display())]).refused();
        let digest = name.trim_start_matches("blobs/sha256/");
        assert!(refused.stderr.contains(digest), "{name}: {}", refused.stderr);
        let to = format!("oci:{}", place.path("to").display());
        let refused = place.convert(&format!("oci-archive:{}", path.display()), &to).refused();
        assert!(refused.stderr.contains(digest), "{name}: {}", refused.stderr);
        // Shorter than its descriptor says.
        all[number].1 = &content[..middle];
        let path = place.tar("short.tar", &all);
        let refused = chunkify(&["verify", &format!("oci-archive:{}", path.display())]).refused();
        assert!(refused.stderr.contains(digest), "{name}: {}", refused.stderr);
        // Not there at all.
        all.remove(number);
        let path = place.tar("missing.tar", &all);
        refuses_missing(&path, digest);
    }
}

#[track_caller]
fn refuses_missing(path: &Path, digest: &str) {
    let refused = chunkify(&["verify", &format!("oci-archive:{}", path.display())]).refused();
    assert!(refused.stderr.contains(digest) && refused.stderr.contains("missing"), "{}", refused.stderr);
}

#[test]
fn lists_that_lie() {
    let place = Place::made();
    let config = json!({"rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))]}}).to_string();
    let wrong = format!("{}.json", "1".repeat(64));
    let list =
        |config: &str, layers: &[&str]| json!([{"Config": config, "RepoTags": null, "Layers": layers}]).to_string();
    let long = vec!["l"; 5000];
    for (list, why) in [
        (list("gone", &["l"]), "\"gone\" is missing"),
        (list("config", &["gone"]), "\"gone\" is missing"),
        (list("config", &[]), "lists 0 layers of the image, its config \"config\" has 1 diff_ids"),
        (list("config", &long), "lists 5000 layers, more than the 4096 that are accepted"),
        (list("../config", &["l"]), "\"../config\" leads out of the archive"),
        (list("/config", &["l"]), "\"/config\" leads out of the archive"),
        (list("config", &["../../etc/passwd"]), "leads out of the archive"),
        (list("config", &["to-passwd"]), "\"to-passwd\" leads out of the archive"),
        (list("config", &["to-above"]), "\"to-above\" leads out of the archive"),
        (list("config", &["to-itself"]), "\"to-itself\" is a link to \"to-itself\", which is no plain file"),
        (list("config", &["to-nothing"]), "is a link to \"nothing\", which is no plain file"),
        (list("to-nothing", &["l"]), "\"to-nothing\" is a symlink, where a plain file is needed"),
        (list("config", &["l/below"]), "lies in \"l\", which is no folder"),
        (list("config", &["bzip2"]), "\"bzip2\" cannot be a layer"),
        (list(&wrong, &["l"]), "which is not the one in its name"),
        (list("l", &["l"]), "\"l\" does not read"),
        ("[]".into(), "holds no image"),
        ("{}".into(), "\"manifest.json\" does not read"),
        ("[[[[".into(), "\"manifest.json\" does not read"),
    ] {
        let path = place.path("hostile.tar");
        let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
        for (name, content) in [
            ("config", config.as_str()),
            (&wrong, &config),
            ("l", "layer"),
            ("bzip2", "BZh91AY&SY"),
            ("manifest.json", &list),
        ] {
            crate::put(&mut tar, name, content.as_bytes());
        }
        for (name, target) in
            [("to-passwd", "/etc/passwd"), ("to-above", "../l"), ("to-itself", "to-itself"), ("to-nothing", "nothing")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, name, target).unwrap();
        }
        tar.finish().unwrap();
        refuses("docker-archive", &path, &["hostile.tar", why]);
    }
    // The layer is not the one that the config promises.
    let good = list("config", &["l"]);
    let members: [(&str, &[u8]); 3] =
        [("config", config.as_bytes()), ("l", b"layer"), ("manifest.json", good.as_bytes())];
    let archive = format!("docker-archive:{}", place.tar("lying.tar", &members).display());
    for ran in
        [chunkify(&["verify", &archive]), place.convert(&archive, &format!("oci:{}", place.path("to").display()))]
    {
        assert!(ran.refused().stderr.contains(&"0".repeat(64)));
    }
}

#[test]
fn what_is_no_archive_and_how_to_name_what_it_is() {
    let place = Place::made();
    let oci = place.path("oci.tar");
    place.convert(&place.image(), &format!("oci-archive:{}", oci.display())).ok();
    refuses("docker-archive", &oci, &["it is an OCI layout: name it oci-archive:FILE"]);
    let docker = place.tar("docker.tar", &[("manifest.json", b"[]")]);
    refuses("oci-archive", &docker, &["name it docker-archive:FILE"]);
    let neither = place.tar("neither.tar", &[("x", b"")]);
    refuses("oci-archive", &neither, &["it has no file oci-layout"]);
    refuses("docker-archive", &neither, &["it has no manifest.json"]);
    refuses(
        "oci-archive",
        &place.tar("version.tar", &[("oci-layout", br#"{"imageLayoutVersion":"2"}"#)]),
        &["is not 1.x"],
    );
    refuses("oci-archive", &place.path("nowhere"), &["nowhere"]);
    refuses("oci-archive", &place.path("image"), &["is no file", "oci:DIR"]);
    let text = place.path("text");
    fs::write(&text, "no tar at all".repeat(100)).unwrap();
    refuses("oci-archive", &text, &["cannot be read as a tar"]);
    fs::write(&text, b"").unwrap();
    refuses("oci-archive", &text, &["it has no file oci-layout"]);
    for start in [&b"BZh91AY&SY"[..], b"\xfd7zXZ\0\0"] {
        fs::write(&text, start).unwrap();
        refuses("oci-archive", &text, &["neither with gzip nor with zstd: decompress it first"]);
    }
    // Compressed, and cut short.
    fs::write(&text, b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    refuses("oci-archive", &text, &["cannot read"]);
}

#[test]
fn documents_without_end_and_members_without_number() {
    let place = Place::made();
    let path = place.path("large.tar");
    let file = fs::File::create(&path).unwrap();
    let mut tar = tar::Builder::new(file);
    crate::put(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    // 9 MiB of nothing in the place of an index.
    let mut header = tar::Header::new_gnu();
    header.set_size(9 << 20);
    header.set_mode(0o644);
    tar.append_data(&mut header, "index.json", std::io::Read::take(std::io::repeat(b' '), 9 << 20)).unwrap();
    tar.finish().unwrap();
    refuses("oci-archive", &path, &["\"index.json\" is 9437184 bytes, more than the 8388608 that are accepted"]);

    // Names that nobody needs, as many as a file of 150 MB holds.
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    let name = |number: u32| format!("{}{number:08}", "n".repeat(80));
    for number in 0..150_000 {
        let mut header = tar::Header::new_ustar();
        header.set_path(name(number)).unwrap();
        header.set_size(0);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    file.flush().unwrap();
    refuses("oci-archive", &path, &["has too many members"]);
}

/// A small archive that is both kinds at once.
fn small() -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("small.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    let layer = b"a layer";
    let config = json!({"rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}).to_string();
    let named = |bytes: &[u8]| format!("blobs/sha256/{}", digest_of(bytes).trim_start_matches("sha256:"));
    let descriptor =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest_of(bytes), "size": bytes.len()});
    let (kind, config_kind, layer_kind) = (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar",
    );
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": descriptor(config_kind, config.as_bytes()),
        "layers": [descriptor(layer_kind, layer)],
    });
    let manifest = manifest.to_string();
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(kind, manifest.as_bytes())]}).to_string();
    let list =
        json!([{"Config": named(config.as_bytes()), "RepoTags": ["app:1"], "Layers": [named(layer)]}]).to_string();
    for (name, bytes) in [
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice()),
        ("index.json", index.as_bytes()),
        ("manifest.json", list.as_bytes()),
        (&named(config.as_bytes()), config.as_bytes()),
        (&named(manifest.as_bytes()), manifest.as_bytes()),
        (&named(layer), layer),
    ] {
        crate::put(&mut tar, name, bytes);
    }
    tar.finish().unwrap();
    fs::read(path).unwrap()
}

/// Opens an archive as whoever reads images does; whatever it says of itself, nothing but errors may come of it.
fn read_all(path: &Path, size: u64) -> usize {
    let mut opened = 0;
    for form in [Form::Oci, Form::Docker] {
        let Ok(archive) = Archive::open(form, path, None) else { continue };
        opened += 1;
        let Ok(bytes) = archive.read_blob(&archive.root().digest, limits::MANIFEST) else { continue };
        let Ok(manifest) = chunkify::image::Manifest::parse(&bytes) else { continue };
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let _ = archive.read_blob(&blob.digest, limits::MANIFEST);
            if let Ok(blob) = archive.blob(&blob.digest) {
                assert!(blob.len() <= size);
                std::io::copy(&mut blob.reader(), &mut std::io::sink()).unwrap();
            }
        }
    }
    opened
}

#[test]
fn the_small_archive_is_both_kinds() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), small()).unwrap();
    assert_eq!(read_all(file.path(), small().len() as u64), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_damage_is_an_error_at_most(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        fix in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = small();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if fix {
            // Headers whose sums are right again, so that the damage gets further.
            for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        read_all(file.path(), bytes.len() as u64);
    }
}
