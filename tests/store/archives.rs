//! An archive is there whole or as it was, whatever ends the program that writes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chunkify::archive::{Form, Writer};
use chunkify::store::{Files, Layout};
use rustix::io::Errno;

use crate::disk::{Disk, Recorder, Survives};
use crate::full::Refuser;
use crate::world::{World, folder};

fn write(world: &World, files: &Files, path: &Path) -> Result<u64, String> {
    let layout = Layout::open(&world.converted()).unwrap();
    let root = layout.resolve(Some("new")).unwrap();
    let writer = Writer::begin_on(files, Form::Oci, path, Some("new")).map_err(|error| error.to_string())?;
    writer.write(&layout, &root).map_err(|error| error.to_string())
}

#[test]
fn the_power_goes_at_any_step() {
    let world = World::new();
    let work = folder();
    let path = work.path().join("image.tar");
    fs::write(&path, "what was there").unwrap();
    let mut disk = Disk::of(work.path());
    let recorder = Arc::new(Recorder::new(work.path()));
    write(&world, &Files::watched(recorder.clone()), &path).unwrap();
    let whole = fs::read(&path).unwrap();
    let steps = recorder.steps();
    let mut seen = BTreeSet::new();
    for step in &steps {
        disk.apply(step);
        for survives in Survives::ALL {
            if seen.insert(disk.state(survives)) {
                let after = folder();
                disk.write(survives, after.path());
                let left = fs::read(after.path().join("image.tar")).unwrap();
                assert!(left == whole || left == b"what was there", "{step:?}, {survives:?} survives");
            }
        }
    }
    let after = folder();
    disk.write(Survives::Nothing, after.path());
    assert!(fs::read(after.path().join("image.tar")).unwrap() == whole, "it was told to be there");
    assert!(steps.len() > 3, "{steps:?}");
}

#[test]
fn the_disk_is_full_at_any_step() {
    let world = World::new();
    let work = folder();
    let path = work.path().join("image.tar");
    let mut refused = 0;
    for from in 0.. {
        fs::write(&path, "what was there").unwrap();
        match write(&world, &Refuser::files(from, Errno::NOSPC), &path) {
            Ok(_) => break,
            Err(error) => {
                assert!(error.contains("the disk is full; free some space"), "{error}");
                assert_eq!(fs::read(&path).unwrap(), b"what was there");
                assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1, "something is left beside it");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn what_a_killed_process_left_goes_with_the_next_one() {
    let world = World::new();
    let work = folder();
    let path = work.path().join("image.tar");
    let left = |name: &str, old: bool| {
        let file = fs::File::create(work.path().join(name)).unwrap();
        let age = std::time::Duration::from_secs(if old { 3600 } else { 0 });
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        file
    };
    left(".image.tar.unfinished-dead00", true);
    left(".image.tar.unfinished-young0", false);
    left(".other.tar.unfinished-dead00", true);
    let busy = left(".image.tar.unfinished-busy00", true);
    busy.lock().unwrap();
    write(&world, &Files::default(), &path).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected =
        [".image.tar.unfinished-busy00", ".image.tar.unfinished-young0", ".other.tar.unfinished-dead00", "image.tar"];
    assert_eq!(names, expected);
}
