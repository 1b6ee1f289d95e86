//! The product with a registries.conf: mirrors that have wrong bytes, what a pull through one will take, and a file that cannot be read.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::scenario::{MADE, Pair};
use crate::support::command::{Ran, run};
use crate::support::layout::{self, Form, Image};
use crate::support::made;
use crate::support::registry::{Fault, Mode, Registry};
use crate::support::report::Report;

/// A user's home with files of other tools.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::create_dir_all(home.path().join(".config/containers")).expect("made");
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn conf(&self, name: &str, text: &str) {
        std::fs::write(self.path(".config/containers").join(name), text).expect("written");
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
        command.args(arguments).env_clear().env("HOME", self.0.path()).env("XDG_RUNTIME_DIR", self.path("run"));
        run(command.env("PATH", std::env::var_os("PATH").expect("a PATH")))
    }

    fn pull(&self, primary: &Registry, tag: &str, more: &[&str]) -> Ran {
        let (image, store) = (format!("docker://{}/app:{tag}", primary.address()), self.text("store"));
        let report = self.text("report.json");
        let pull = ["pull", "--plain-http", "--prefer", "bytes", &image, "--store", &store, "--report", &report];
        self.run(&[&pull[..], more].concat()).ok()
    }
}

/// A home where `primary` has `mirror` before it.
fn mirrored(primary: &Registry, mirror: &Registry) -> Home {
    let home = Home::new();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        primary.address(),
        mirror.address()
    );
    home.conf("registries.conf", &conf);
    home
}

/// Both have the same image.
fn both(mode: Mode, dir: &Path, tags: &[&str]) -> [Registry; 2] {
    [Registry::with_mode(Mode::Go), Registry::with_mode(mode)].map(|registry| {
        tags.iter().for_each(|tag| registry.load("app", dir, tag, tag));
        registry
    })
}

fn of_pair(pair: &Pair, mode: Mode) -> [Registry; 2] {
    both(mode, pair.dir(), &["old", "new"])
}

/// The store has what the registry has, the ledger what both have sent, and the user was told which mirror it was.
#[track_caller]
fn check(home: &Home, ran: &Ran, [primary, mirror]: &[Registry; 2], marks: [usize; 2]) -> Report {
    layout::check_blobs(&home.path("store"));
    let report = Report::read(&home.path("report.json"));
    let sent = primary.count_after(marks[0]).body_bytes + mirror.count_after(marks[1]).body_bytes;
    assert_eq!(report.wire.body_bytes, sent, "{report:?}");
    let warned = format!("mirror {}/app", mirror.address());
    let told = ran.stderr.lines().filter(|line| line.contains("WARN") && line.contains(&warned)).count();
    assert!(told > 0, "nobody was told of {warned}:\n{}", ran.stderr);
    report
}

#[test]
fn a_whole_layer_that_a_mirror_has_wrong_comes_from_the_registry() {
    // One that comes in one request, one that comes in pieces.
    for (len, mode) in [(300_000, Mode::Go), ((16 << 20) + 12_345, Mode::Go), (300_000, Mode::NoRanges)] {
        let work = tempfile::tempdir().expect("a temporary folder can be made");
        layout::write_image(work.path(), "whole", &[made::noise(7, len)], Form::Tar);
        let registries = both(mode, work.path(), &["whole"]);
        let [primary, mirror] = &registries;
        mirror.inject(Fault::WrongFrom(1));
        let home = mirrored(primary, mirror);
        let ran = home.pull(primary, "whole", &[]);
        let report = check(&home, &ran, &registries, [0, 0]);
        let layer = &report.layers[0];
        assert_eq!((layer.by_cause.wasted, layer.by_cause.whole), (layer.size, layer.size), "{len}: {report:?}");
        let digest = Image::read(work.path(), "whole").layers()[0].clone();
        let asked = primary.log().iter().filter(|asked| asked.path.contains(&digest)).count();
        assert_eq!(asked, 1, "{len}: the last resort is one stream");
    }
}

#[test]
fn a_chunked_layer_that_a_mirror_has_wrong_comes_from_the_registry() {
    for fault in [Fault::WrongFrom(0), Fault::WrongRanges] {
        let registries = of_pair(&MADE, Mode::Go);
        let [primary, mirror] = &registries;
        let home = mirrored(primary, mirror);
        home.pull(primary, "old", &[]);
        mirror.inject(fault);
        let marks = [primary.log().len(), mirror.log().len()];
        let ran = home.pull(primary, "new", &[]);
        let report = check(&home, &ran, &registries, marks);
        assert!(report.layers.iter().any(|layer| layer.mode == "partial"), "{fault:?}: {report:?}");
        let wasted = report.wire.by_cause.wasted;
        assert!(wasted > 0 && wasted < report.size(), "{fault:?}: {report:?}");
        for layer in &report.layers {
            assert!(layer.fetched_bytes < layer.size * 2, "{fault:?}: a wrong frame is fetched once more: {layer:?}");
        }
    }
}

#[test]
fn store_verify_repairs_from_the_next_place_too() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    layout::write_image(work.path(), "whole", &[made::noise(7, 300_000)], Form::Tar);
    let registries = both(Mode::Go, work.path(), &["whole"]);
    let [primary, mirror] = &registries;
    let home = mirrored(primary, mirror);
    home.pull(primary, "whole", &[]);
    let blob = layout::blob_path(&home.path("store"), &Image::read(work.path(), "whole").layers()[0]);
    let mut permissions = std::fs::metadata(&blob).expect("it is there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&blob, permissions).expect("it is ours");
    std::fs::write(&blob, vec![0; 300_000]).expect("spoilt");
    mirror.inject(Fault::WrongFrom(0));
    let from = format!("docker://{}/app", primary.address());
    home.run(&["store", "verify", "--plain-http", "--store", &home.text("store"), "--repair", &from]).ok();
    layout::check_blobs(&home.path("store"));
}

#[test]
fn a_conversion_takes_what_a_mirror_has_wrong_from_the_registry() {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    layout::write_image(work.path(), "whole", &[made::one_file("a", 300_000)], Form::Gzip);
    let registries = both(Mode::Go, work.path(), &["whole"]);
    let [primary, mirror] = &registries;
    mirror.inject(Fault::WrongFrom(0));
    let home = mirrored(primary, mirror);
    let image = format!("docker://{}/app:whole", primary.address());
    let ran = home.run(&["convert", "--plain-http", &image, &format!("oci:{}:x", home.text("out"))]).ok();
    assert!(ran.stderr.contains(&format!("mirror {}/app", mirror.address())), "{}", ran.stderr);
    home.run(&["verify", &format!("oci:{}:x", home.text("out"))]).ok();
}

#[test]
fn a_prediction_is_of_the_mirror_that_will_be_asked() {
    // The registry would answer many ranges at once, its mirror answers one; and the other way round.
    for (of_primary, of_mirror) in [(Mode::Go, Mode::Zot2116), (Mode::Zot2116, Mode::Go)] {
        let registries = [of_primary, of_mirror].map(|mode| {
            let registry = Registry::with_mode(mode);
            ["old", "new"].iter().for_each(|tag| registry.load("app", MADE.dir(), tag, tag));
            registry
        });
        let [primary, mirror] = &registries;
        let home = mirrored(primary, mirror);
        // What each can do is learned from updates into stores of their own.
        let learn = Home::new();
        for registry in &registries {
            for tag in ["old", "new"] {
                learn.pull(registry, tag, &[]);
            }
            std::fs::remove_dir_all(learn.path("store")).expect("removed");
        }
        std::fs::rename(learn.path(".cache"), home.path(".cache")).expect("moved");
        home.pull(primary, "old", &[]);
        let asked = primary.log().len();
        home.pull(primary, "new", &["--dry-run"]);
        let (bytes, requests) = Report::read_plan(&home.path("report.json"));
        home.pull(primary, "new", &[]);
        let took = Report::read(&home.path("report.json")).wire;
        assert_eq!(primary.log().len(), asked, "all of it came from the mirror");
        // The look whether the mirror speaks HTTPS is told in both.
        assert!(took.requests.abs_diff(requests) <= 1, "{of_mirror:?}: {requests} requests planned, {took:?}");
        assert!(took.body_bytes.abs_diff(bytes) * 50 <= bytes, "{of_mirror:?}: {bytes} bytes planned, {took:?}");
    }
}

#[test]
fn what_stays_on_this_machine_needs_no_files_of_other_tools() {
    let home = Home::new();
    let old = MADE.source("old");
    for (name, broken) in [("registries.conf", "[[registry"), ("auth.json", "{")] {
        home.conf(name, broken);
        let out = |what: &str| home.text(&format!("{what}-{name}"));
        for arguments in [
            &["inspect", &old][..],
            &["verify", &old],
            &["unpack", "--rootless", "--no-sync", &old, &out("rootfs")],
            &["convert", &old, &format!("oci:{}:x", out("out"))],
            &["convert", &old, &format!("oci-archive:{}:x", out("out.tar"))],
            &["store", "ls", "--store", MADE.dir().to_str().expect("text")],
        ] {
            home.run(arguments).ok();
        }
        std::fs::remove_file(home.path(".config/containers").join(name)).expect("removed");
    }
}

#[test]
fn what_speaks_to_a_registry_is_stopped_by_a_file_that_cannot_be_followed() {
    let home = Home::new();
    let (old, store, nobody) = (MADE.source("old"), home.text("store"), "docker://127.0.0.1:1/app:new");
    home.conf("registries.conf", "[[registry");
    let out = format!("oci:{}:y", home.text("out"));
    for arguments in [
        &["inspect", nobody][..],
        &["pull", nobody, "--store", &store],
        &["push", &old, nobody],
        &["convert", &old, nobody],
        &["convert", nobody, &out],
    ] {
        let refused = home.run(arguments).refused();
        assert!(refused.stderr.contains("registries.conf"), "{arguments:?}: {}", refused.stderr);
    }
}
