//! The destination is whole or as it was.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::layer::Layer;
use crate::snapshot::names;
use crate::support::command::chunkify;
use crate::{Place, is_root, snapshot};

fn small() -> Place {
    Place::new(&[Layer::new().file("f", "x").done()])
}

#[test]
fn only_empty_folders_are_replaced() {
    let place = small();
    fs::create_dir(place.root()).unwrap();
    place.try_unpack(&[]).ok();
    assert_eq!(names(&snapshot::of(&place.root())), ["f"]);
    let ran = place.command(&[]).refused();
    assert!(ran.stderr.contains("is not empty: name a folder that is empty or does not exist"), "{}", ran.stderr);
    assert_eq!(names(&snapshot::of(&place.root())), ["f"]);
}

#[test]
fn other_places_are_refused_with_a_remedy() {
    let place = small();
    let image = format!("oci:{}", place.image().display());
    let at = |dir: &str| chunkify(&["unpack", "--rootless", "--no-sync", &image, dir]).refused().stderr;
    let secret = place.outside().join("secret").display().to_string();
    assert!(at(&secret).contains("is no folder"));
    assert!(at(&place.path().join("no/where").display().to_string()).contains("does not exist: make it first"));
    assert!(at("/proc").contains("is not empty"));
    assert!(at("/").contains("is not empty"));
    if !is_root() {
        let ran = chunkify(&["unpack", "--no-sync", &image, &place.root().display().to_string()]).refused();
        assert!(ran.stderr.contains("use --rootless"), "{}", ran.stderr);
    }
}

/// A symlink to an empty folder names that folder.
#[test]
fn a_symlink_names_its_folder() {
    let place = small();
    fs::create_dir(place.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", place.root()).unwrap();
    place.command(&[]).ok();
    assert!(fs::symlink_metadata(place.root()).unwrap().is_symlink());
    assert_eq!(names(&snapshot::of(&place.path().join("real"))), ["f"]);
}

/// What a killed run has left is removed by the next, unless somebody still works on it.
#[test]
fn leftovers_are_swept() {
    let place = small();
    let (dead, alive) = (place.path().join(".root.unpack-dead"), place.path().join(".root.unpack-alive"));
    for left in [&dead, &alive] {
        fs::create_dir_all(left.join("some/thing")).unwrap();
    }
    std::os::unix::fs::symlink(place.outside(), dead.join("evil")).unwrap();
    let lock = fs::File::open(&alive).unwrap();
    lock.lock().unwrap();
    let ran = place.command(&[]).ok();
    assert!(ran.stderr.contains("removed what an unpack that was killed has left"), "{}", ran.stderr);
    assert!(!dead.exists() && alive.join("some/thing").exists() && place.outside().join("secret").exists());
}

/// Stopped in the middle of its work, it undoes it.
#[test]
fn a_stopped_run_leaves_nothing() {
    let mut layer = Layer::new();
    for number in 0..60_000 {
        layer = layer.file(format!("folder-{}/file-{number}", number / 500), "x");
    }
    let place = Place::new(&[layer.done()]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
    command.args(["unpack", "--rootless", &format!("oci:{}", place.image().display())]).arg(place.root());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let staging = || {
        let entries = fs::read_dir(place.path()).unwrap().flatten();
        entries
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".root.unpack-")))
    };
    while staging().is_none_or(|path| !path.join("folder-1").exists()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it has not begun");
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(said.contains("what was unpacked so far was removed"), "{said}");
    assert!(staging().is_none() && !place.root().exists());
}
