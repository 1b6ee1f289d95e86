//! Every form of a layer, and every archive of `fixtures/`, unpacked as GNU tar unpacks it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layer::Layer;
use crate::snapshot::{self, Tree, names};
use crate::support::command::{chunkify, run};
use crate::support::layout::{self, Form, Image};
use crate::{Place, is_root};

/// Unpacks an archive with GNU tar, into an empty folder.
#[track_caller]
fn gnu_tar(archive: &Path, into: &Path, more: &[&str]) {
    let mut command = Command::new("tar");
    command.args(more);
    command.args(["--extract", "--numeric-owner", "--same-permissions", "--xattrs", "--xattrs-include=*", "--file"]);
    command.arg(archive).arg("--directory").arg(into);
    run(&mut command);
}

fn without_root(mut tree: Tree) -> Tree {
    tree.remove(".");
    tree
}

#[test]
fn every_compression_gives_the_same() {
    let layers = [
        Layer::new().folder("d").file("d/big", crate::support::made::noise(1, 900_000)).file("gone", "").done(),
        Layer::new().file("d/more", vec![0; 700_000]).file(".wh.gone", "").done(),
    ];
    let expected = Place::new(&layers).unpack();
    assert_eq!(names(&expected), ["d", "d/big", "d/more"]);
    for form in [Form::Gzip, Form::DockerGzip, Form::Zstd] {
        let place = Place::empty();
        layout::write_image(&place.image(), "image", &layers, form);
        assert_eq!(place.unpack(), expected, "{form:?}");
    }
    for options in [&[][..], &["--chunk-size", "1024"]] {
        let tars = Place::new(&layers);
        let place = Place::empty();
        let (from, to) = (format!("oci:{}", tars.image().display()), format!("oci:{}:image", place.image().display()));
        chunkify(&[&["convert", &from, &to], options].concat()).ok();
        let manifest = Image::read(&place.image(), "image").manifest;
        assert!(
            manifest["layers"][0]["annotations"]["io.github.containers.zstd-chunked.manifest-checksum"].is_string()
        );
        assert_eq!(place.unpack(), expected, "zstd:chunked, {options:?}");
    }
}

#[test]
fn damaged_blobs_are_refused() {
    let tar = Layer::new().file("f", crate::support::made::noise(1, 300_000)).done();
    for form in [Form::Tar, Form::Gzip, Form::Zstd] {
        let place = Place::empty();
        layout::write_image(&place.image(), "image", std::slice::from_ref(&tar), form);
        let digest = &Image::read(&place.image(), "image").layers()[0];
        let blob = layout::blob_path(&place.image(), digest);
        let mut bytes = fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(&blob, bytes).unwrap();
        place.refuses("layer 1 of 1");
    }
}

/// Archives that are refused, and by which words.
const REFUSED: &[(&str, &str)] = &[
    ("absolute-and-dotted", "leads above the root"),
    ("bad-checksum", "checksum mismatch"),
    ("bad-octal", "malformed number"),
    ("gnu-volume-label", "entry type 'V'"),
    ("hardlink-before-target", "does not exist"),
    ("hardlink-to-nothing", "does not exist"),
    ("huge-size", "ends inside a payload"),
    ("negative-size", "negative size"),
    ("pax-malformed-length", "malformed pax record"),
    ("pax-nul-in-path", "malformed pax record"),
    ("random", "checksum mismatch"),
    ("text", "checksum mismatch"),
    ("truncated-header", "ends inside a header"),
    ("truncated-padding", "ends inside padding"),
    ("truncated-pax", "ends inside an extended header"),
    ("truncated-payload", "ends inside a payload"),
    ("unknown-type", "entry type 'Z' is none that can be unpacked"),
    ("zero-block-between", "a lone block of zeros"),
];

/// Archives in which GNU tar reads something else than Go does, or does something else with it.
const READ_OTHERWISE: &[&str] = &[
    // To Go an empty value is none.
    "pax-empty-value",
    // Go reads no records from a global header.
    "pax-global",
    // Go believes the GNU name.
    "pax-path-over-gnu-long-name",
    // To GNU tar the slash makes it a folder.
    "regular-with-slash",
    // GNU tar gives up before the content.
    "truncated-padding-whole",
    // To GNU tar they are files.
    "whiteouts",
];

const IMPLIED: &str = "folder, mode 0755, owner 0:0, time 0.000000000";

fn archives() -> Vec<PathBuf> {
    let folder = fs::read_dir("fixtures/tars").expect("fixtures are there");
    let mut all: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    all.sort();
    all
}

#[test]
fn archives_unpack_as_gnu_tar_unpacks_them() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for archive in archives() {
        let name = archive.file_stem().unwrap().to_str().unwrap().to_owned();
        let place = Place::new(&[fs::read(&archive).unwrap()]);
        let ran = place.try_unpack(&[]);
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            if ran.success || !ran.stderr.contains(why) {
                wrong.push(format!("{name} should be refused because of {why}: {}", ran.stderr));
            }
            continue;
        }
        if !ran.success {
            wrong.push(format!("{name}: {}", ran.stderr));
            continue;
        }
        if READ_OTHERWISE.contains(&name.as_str()) || !is_root() {
            continue;
        }
        let theirs = place.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        gnu_tar(&archive, &theirs, &[]);
        let (ours, mut theirs) = (without_root(snapshot::of(&place.root())), without_root(snapshot::of(&theirs)));
        for (path, facts) in &ours {
            // A folder without an entry is as old as time here, and made just now there.
            if facts == IMPLIED
                && theirs.get(path).is_some_and(|facts| facts.starts_with("folder, mode 0755, owner 0:0"))
            {
                theirs.insert(path.clone(), facts.clone());
            }
        }
        let differences = snapshot::differences(&ours, &theirs);
        if !differences.is_empty() {
            wrong.push(format!("{name} (ours, then GNU tar's):\n{}", differences.join("\n")));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(compared > 40 || !is_root(), "only {compared} compared");
}

/// Whiteouts by hand, as simply as they can be done: what they name goes before the layer comes.
fn layers_by_hand(tars: &[Vec<u8>], root: &Path) {
    fs::create_dir(root).unwrap();
    for tar in tars {
        let mut archive = tempfile::NamedTempFile::new().unwrap();
        archive.write_all(tar).unwrap();
        let list = run(Command::new("tar").args(["--list", "--file"]).arg(archive.path())).ok().stdout;
        for whiteout in list.lines().filter(|name| name.contains(".wh.")) {
            let (folder, base) = whiteout.rsplit_once('/').unwrap_or((".", whiteout));
            let gone = match base.strip_prefix(".wh.").expect("a whiteout") {
                ".wh..opq" => format!("find {folder} -mindepth 1 -delete"),
                gone => format!("rm -rf {folder}/{gone}"),
            };
            run(Command::new("sh").args(["-c", &gone]).current_dir(root)).ok();
        }
        gnu_tar(archive.path(), root, &["--exclude=.wh.*"]);
    }
}

/// The real pair, whose folders each have an entry in every layer that changes something in them.
#[test]
fn real_images_unpack_as_gnu_tar_and_rm_unpack_them() {
    for (image, name) in layout::pair().iter().zip(["old", "new"]) {
        let place = Place::empty();
        let root = place.root().display().to_string();
        let rootless = if is_root() { &[][..] } else { &["--rootless"] };
        chunkify(&[&["unpack", image.as_str(), &root, "--no-sync"], rootless].concat()).ok();
        let ours = snapshot::of(&place.root());
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pair").join(name);
        let layers = Image::read(&dir, name).layers();
        let tars: Vec<Vec<u8>> = layers.iter().map(|digest| gunzipped(&layout::blob_path(&dir, digest))).collect();
        let by_hand = place.path().join("by-hand");
        layers_by_hand(&tars, &by_hand);
        let theirs = snapshot::of(&by_hand);
        let only_names = |tree: &Tree| names(tree).join("\n");
        assert_eq!(only_names(&ours), only_names(&theirs), "{name}");
        if is_root() {
            let differences = snapshot::differences(&without_root(ours), &without_root(theirs));
            assert!(differences.is_empty(), "{name} (ours, then by hand):\n{}", differences.join("\n"));
        }
    }
}

fn gunzipped(blob: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    let file = fs::File::open(blob).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut tar).unwrap();
    tar
}

#[test]
fn an_index_has_an_image_for_each_platform() {
    let place = Place::empty();
    let image = |architecture: &str| {
        let layer = Layer::new().file(architecture, "x").done();
        layout::write_image(&place.image(), architecture, &[layer], Form::Tar);
        let digest = Image::read(&place.image(), architecture).digest;
        let size = fs::metadata(layout::blob_path(&place.image(), &digest)).unwrap().len();
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let manifests = [image("s390x"), image("riscv64")];
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    let bytes = index.to_string().into_bytes();
    let digest = crate::support::content::digest_of(&bytes);
    fs::write(layout::blob_path(&place.image(), &digest), &bytes).unwrap();
    let mut top = layout::read_index(&place.image()).unwrap();
    top["manifests"].as_array_mut().unwrap().push(serde_json::json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": "image"}}));
    fs::write(place.image().join("index.json"), top.to_string()).unwrap();
    place.try_unpack(&["--platform", "riscv64"]).ok();
    assert_eq!(names(&snapshot::of(&place.root())), ["riscv64"]);
    fs::remove_dir_all(place.root()).unwrap();
    place.refuses("it has linux/s390x, linux/riscv64: choose one with --platform");
}
