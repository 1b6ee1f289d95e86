//! The power goes after any step of any run: nothing is broken afterwards, and the same run again completes.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use chunkify::store::Files;

use crate::disk::{Disk, Recorder, Survives};
use crate::world::{Run, World, check_whole, copy, folder};

/// Records a run once, then looks at every state that a disk could be in after each of its steps.
fn after_every_step(run: Run) {
    let world = World::new();
    let work = folder();
    let store = work.path().join("store");
    // The folder that holds the store is there before and after.
    if world.before(run).exists() {
        copy(&world.before(run), &store);
    }
    let mut disk = Disk::of(work.path());
    let recorder = Arc::new(Recorder::new(work.path()));
    world.run(run, &store, Files::watched(recorder.clone())).unwrap();
    world.check_done(run, &store);
    let steps = recorder.steps();
    let mut seen = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        disk.apply(step);
        for survives in Survives::ALL {
            // Most steps change nothing that lasts.
            if !seen.insert(disk.state(survives)) {
                continue;
            }
            let after = folder();
            disk.write(survives, after.path());
            let store = after.path().join("store");
            let when = format!("{run:?}, power lost after step {number} ({step:?}), {survives:?} survives");
            let when = when.get(..400).unwrap_or(&when);
            check_whole(&store, when);
            world.run(run, &store, Files::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
            check_whole(&store, when);
            world.check_done(run, &store);
        }
    }
    println!("{run:?}: the power went after each of {} steps, in {} different states", steps.len(), seen.len());
    assert!(steps.len() > 4, "{run:?} has only {} steps: they pass by the watch", steps.len());
    assert!(fs::read_dir(work.path()).unwrap().count() == 1);
}

#[test]
fn of_a_first_pull() {
    after_every_step(Run::PullFirst);
}

#[test]
fn of_a_pull_that_replaces_a_tag() {
    after_every_step(Run::PullUpdate);
}

#[test]
fn of_a_conversion_into_a_layout() {
    after_every_step(Run::Convert);
}

#[test]
fn of_a_removal() {
    after_every_step(Run::Remove);
}

#[test]
fn of_a_collection() {
    after_every_step(Run::Collect);
}
