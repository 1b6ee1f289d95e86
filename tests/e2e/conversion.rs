//! Conversion, looked at from outside: with plain zstd, with a digest made elsewhere, and with another number of threads.

use std::path::Path;
use std::process::Command;

use chunkify::encode::{Recipe, Settings};
use serde_json::{Value, json};

use crate::scenario::{MADE, REAL, Story};
use crate::support::command::{chunkify, zstd_decompressed};
use crate::support::content::digest_of;
use crate::support::layout::{self, Form, Image};
use crate::support::made;
use crate::support::registry::{Mode, Registry};

fn place(dir: &Path, tag: &str) -> String {
    format!("oci:{}:{tag}", dir.display())
}

#[test]
fn plain_zstd_gives_the_tar_of_every_layer() {
    for (pair, tag) in [(&*REAL, "old"), (&*REAL, "new"), (&*MADE, "old"), (&*MADE, "new")] {
        layout::check_blobs(pair.dir());
        let image = Image::read(pair.dir(), tag);
        for (layer, diff_id) in image.layers().iter().zip(image.diff_ids()) {
            assert_eq!(digest_of(&zstd_decompressed(&layout::blob_path(pair.dir(), layer))), diff_id, "{tag} {layer}");
        }
        for layer in image.manifest["layers"].as_array().expect("layers") {
            assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
            for key in ["manifest-checksum", "manifest-position", "tarsplit-position"] {
                let key = format!("io.github.containers.zstd-chunked.{key}");
                assert!(layer["annotations"][&key].is_string(), "{key} in {layer}");
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_byte() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let source = &layout::pair()[0];
    for threads in ["1", "2", "5"] {
        let dir = work.path().join(threads);
        chunkify(&["convert", source, &place(&dir, "old"), "--threads", threads]).ok();
        assert_eq!(Image::read(&dir, "old").digest, Image::read(REAL.dir(), "old").digest, "{threads} threads");
    }
}

#[test]
fn the_form_of_the_source_does_not_matter() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let [tars, _] = made::tars();
    for form in [Form::Tar, Form::Gzip, Form::DockerGzip, Form::Zstd] {
        let (source, target) = (work.path().join(format!("{form:?}-in")), work.path().join(format!("{form:?}-out")));
        layout::write_image(&source, "old", &tars, form);
        chunkify(&["convert", &place(&source, "old"), &place(&target, "old")]).ok();
        assert_eq!(Image::read(&target, "old").layers(), Image::read(MADE.dir(), "old").layers(), "{form:?}");
    }
}

#[test]
fn what_is_unknown_survives() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let [tars, _] = made::tars();
    layout::write_image(work.path(), "old", &tars, Form::Gzip);
    let (before, after) = (Image::read(work.path(), "old"), Image::read(MADE.dir(), "old"));
    assert_eq!(
        before.manifest["config"]["digest"], after.manifest["config"]["digest"],
        "the config is kept byte for byte"
    );
    for key in ["annotations", "x-unknown"] {
        assert_eq!(before.manifest[key], after.manifest[key], "{key}");
    }
}

/// What `convert --json` says, line by line.
fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect()
}

#[test]
fn programs_are_told_of_every_layer_and_of_what_made_it() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let (source, target) = (&layout::pair()[0], place(work.path(), "old"));
    let told = events(&chunkify(&["convert", source, &target, "--json"]).ok().stdout);
    let image = Image::read(work.path(), "old");
    let of = |event: &str| told.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("planned")[0]["layers"], 2);
    assert_eq!((of("layer").len(), of("layer_done").len()), (2, 2));
    assert!(of("progress").iter().all(|line| line["tar_bytes"].as_u64() > Some(0)), "{told:?}");
    let last = told.last().expect("there are events");
    assert_eq!((&last["event"], &last["digest"]), (&json!("done"), &json!(image.digest)));
    for (layer, digest) in image.manifest["layers"].as_array().expect("layers").iter().zip(image.layers()) {
        let done = of("layer_done").into_iter().find(|line| line["new_digest"] == *digest).expect("it was told of");
        assert_eq!(
            (&done["form"], &done["from"], &done["new_size"]),
            (&json!("zstd:chunked"), &json!("encoded"), &layer["size"])
        );
        let words = layer["annotations"]["io.github.chunkify.encoder"].as_str().expect("what made it is noted");
        let (about, recipe) = words.split_once(' ').expect("a digest, and words");
        assert_eq!((about, recipe.parse()), (digest.as_str(), Ok(Recipe::of(&Settings::default()))));
    }
    let again = events(&chunkify(&["convert", source, &target, "--json"]).ok().stdout);
    let from: Vec<_> = again.iter().filter(|line| line["event"] == "layer_done").map(|line| &line["from"]).collect();
    assert_eq!(from, ["remembered", "remembered"]);
    assert_eq!(Image::read(work.path(), "old").digest, image.digest);
}

#[test]
fn of_many_layers_the_one_that_failed_is_named() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let (source, target) = (work.path().join("in"), work.path().join("out"));
    let tars: Vec<Vec<u8>> = (0..9).map(|number| made::one_file(&format!("file-{number}"), 400_000 + number)).collect();
    layout::write_image(&source, "right", &tars, Form::Tar);
    let mut diff_ids = Image::read(&source, "right").diff_ids();
    diff_ids[6] = digest_of(b"another tar");
    layout::write_lying_image(&source, "lie", &tars, &diff_ids);
    let refused = chunkify(&["convert", &place(&source, "lie"), &place(&target, "lie")]).refused();
    assert!(refused.stderr.contains("layer 7 of 9"), "{}", refused.stderr);
    assert!(layout::names(&target).is_empty(), "nothing has the name");
    chunkify(&["convert", &place(&source, "right"), &place(&target, "right")]).ok();
    layout::check_blobs(&target);
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let (source, target) = (work.path().join("in"), work.path().join("out"));
    let [mut tars, _] = made::tars();
    layout::write_image(&source, "other", &tars, Form::Tar);
    let promised = Image::read(&source, "other").diff_ids();
    tars[1][700] ^= 1;
    // The descriptor is right about the blob, the config is wrong about the tar.
    layout::write_lying_image(&source, "lie", &tars, &promised);
    let refused = chunkify(&["convert", &place(&source, "lie"), &place(&target, "lie")]).refused();
    for digest in [&promised[1], &digest_of(&tars[1])] {
        assert!(refused.stderr.contains(&digest[7..19]), "both digests are named, {digest} too: {}", refused.stderr);
    }
    assert!(layout::names(&target).is_empty(), "nothing has the name");
}

#[test]
fn whoever_closes_the_pipe_ends_nothing() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let (image, target) = (&layout::pair()[0], place(work.path(), "old"));
    for arguments in [&["inspect", image, "--json"][..], &["convert", image, &target, "--json"], &["inspect", &target]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
        let ended = command.args(arguments).stdout(writer).output().expect("it starts");
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn gzip_layers_come_whole() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let [tars, _] = made::tars();
    layout::write_image(work.path(), "plain", &tars, Form::Gzip);
    let registry = Registry::with_mode(Mode::Zot2120);
    let story = Story::new(&registry, "gzip");
    let name = format!("docker://{}", story.name("plain"));
    chunkify(&["push", &place(work.path(), "plain"), &name, "--plain-http"]).ok();
    let mark = registry.log().len();
    story.try_pull("plain", &[]).ok();
    let report = crate::support::report::Report::read(&story.report_path());
    assert_eq!(report.modes(), ["whole", "whole"]);
    assert!(
        report.layers.iter().all(|layer| layer.reason.as_ref().is_some_and(|reason| !reason.is_empty())),
        "{report:?}"
    );
    assert_eq!(report.wire.body_bytes, registry.count_after(mark).body_bytes);
    assert_eq!(Image::read(&story.store(), &story.name("plain")).digest, Image::read(work.path(), "plain").digest);
    layout::check_blobs(&story.store());
}

#[test]
fn a_download_is_told_of_while_it_goes_on() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let [tars, _] = made::tars();
    layout::write_image(work.path(), "plain", &tars, Form::Gzip);
    let registry = Registry::with_mode(Mode::Go);
    let story = Story::new(&registry, "fetched");
    let name = format!("docker://{}", story.name("plain"));
    chunkify(&["push", &place(work.path(), "plain"), &name, "--plain-http"]).ok();
    let told = events(&chunkify(&["convert", &name, &place(work.path(), "new"), "--plain-http", "--json"]).ok().stdout);
    let at =
        |event: &str, digest: &Value| told.iter().position(|line| line["event"] == event && line["digest"] == *digest);
    let layers: Vec<_> = told.iter().filter(|line| line["event"] == "layer").collect();
    assert_eq!(layers.len(), 2);
    for layer in layers {
        let digest = &layer["digest"];
        let fetching = at("fetching", digest).expect("the download is told of");
        assert!(fetching < at("progress", digest).expect("and the conversion"), "{told:?}");
        let fetched = told[fetching]["fetched_bytes"].as_u64();
        assert!(fetched > Some(0) && fetched <= layer["size"].as_u64(), "{layer} {:?}", told[fetching]);
    }
}

#[test]
fn what_is_there_is_not_pushed_again() {
    let registry = Registry::with_mode(Mode::Go);
    let story = Story::new(&registry, "twice");
    story.push(&MADE, "old");
    let mark = registry.log().len();
    story.push(&MADE, "old");
    let uploads =
        registry.log()[mark..].iter().filter(|exchange| matches!(exchange.method.as_str(), "POST" | "PATCH")).count();
    assert_eq!(uploads, 0);
}

mod peers {
    use super::*;
    use crate::support::{second_reader, tally};

    /// Every layer that `convert` writes, held against the format's description by a reader that is not ours.
    #[test]
    fn a_second_reader_takes_every_layer() {
        let said = second_reader::read_layouts(&[REAL.dir(), MADE.dir()]);
        let chunked = second_reader::assert_right(&said);
        assert_eq!((chunked, said.len()), (7, 7), "two images of two layers each, twice, with one layer in common");
        tally::write("second-reader-of-conversions", &[("tests/vectors/reader.py", said.len(), 0)]);
    }
}
