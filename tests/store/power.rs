//! The power goes after any step of any run: nothing is broken afterwards, and the same run again completes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use chunkify::store::Files;

use crate::disk::{Disk, Recorder, Step, Survives};
use crate::support::layout;
use crate::world::{Run, World, check_whole, copy, folder, whole};

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
            world.check_between(run, &store, when);
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

#[test]
fn of_a_repair() {
    after_every_step(Run::Repair);
}

/// A kind of step that puts something on disk, or the order of it: what the store does for that the model must miss when it is left out.
struct Mutation {
    name: &'static str,
    /// The runs in which a store breaks without it.
    breaks: &'static [Run],
    change: fn(&[Step]) -> Vec<Step>,
}

fn without(steps: &[Step], goes: impl Fn(&Step) -> bool) -> Vec<Step> {
    steps.iter().filter(|step| !goes(step)).cloned().collect()
}

fn inside(path: &Path, folder: &str) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(folder))
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "files are not synced before they get their names",
        breaks: &[Run::PullFirst, Run::PullUpdate, Run::Convert, Run::Remove, Run::Collect],
        change: |steps| without(steps, |step| matches!(step, Step::Sync(path) if inside(path, ".chunkify/tmp"))),
    },
    Mutation {
        name: "rebuilt blobs are not synced before they get their names",
        breaks: &[Run::PullFirst, Run::PullUpdate, Run::Repair],
        change: |steps| without(steps, |step| matches!(step, Step::Sync(path) if inside(path, ".chunkify/partial"))),
    },
    Mutation {
        name: "names come before bytes",
        breaks: &[Run::PullFirst, Run::PullUpdate, Run::Convert, Run::Remove, Run::Collect],
        change: |steps| {
            let mut steps = steps.to_vec();
            for at in 0..steps.len() {
                let Step::Rename(from, to) = steps[at].clone() else { continue };
                let synced = steps[..at].iter().rposition(|step| matches!(step, Step::Sync(path) if *path == from));
                let Some(synced) = synced else { continue };
                // The sync moves behind the rename, with all that lies between them left where it is.
                steps[synced..=at].rotate_left(1);
                steps[at] = Step::Sync(to);
            }
            steps
        },
    },
    Mutation {
        name: "the folder of blobs is not synced",
        // What is repaired is the same file under its old name, so that a forgotten folder still has it.
        breaks: &[Run::PullFirst, Run::PullUpdate, Run::Convert],
        change: |steps| without(steps, |step| matches!(step, Step::SyncDir(path) if path.ends_with("blobs/sha256"))),
    },
    Mutation {
        name: "the folder of the index is not synced",
        breaks: &[Run::PullFirst, Run::PullUpdate, Run::Convert, Run::Remove, Run::Collect],
        change: |steps| without(steps, |step| matches!(step, Step::SyncDir(path) if path.ends_with("store"))),
    },
    Mutation {
        name: "the folder above blobs/sha256 is not synced",
        breaks: &[Run::PullFirst],
        change: |steps| without(steps, |step| matches!(step, Step::SyncDir(path) if path.ends_with("store/blobs"))),
    },
    Mutation {
        name: "the folder above the store is not synced",
        breaks: &[Run::PullFirst],
        change: |steps| without(steps, |step| matches!(step, Step::SyncDir(path) if path.as_os_str().is_empty())),
    },
];

/// Why a store would not be whole in some state after some step, or would not have at the end what the run has done.
fn broken(run: Run, mut disk: Disk, steps: &[Step], done: &Path) -> Option<String> {
    let mut seen = BTreeSet::new();
    // A repair begins with a store that is not whole; what it has put right must stay right.
    let damaged = |store: &Path| if run == Run::Repair { None } else { whole(store).err() };
    for (number, step) in steps.iter().enumerate() {
        disk.apply(step);
        for survives in Survives::ALL {
            if seen.insert(disk.state(survives)) {
                let after = folder();
                disk.write(survives, after.path());
                if let Some(why) = damaged(&after.path().join("store")) {
                    return Some(format!("after step {number} of {}, {survives:?} survives: {why}", steps.len()));
                }
            }
        }
    }
    for survives in Survives::ALL {
        let after = folder();
        disk.write(survives, after.path());
        let store = after.path().join("store");
        if let Err(why) = whole(&store) {
            return Some(format!("when the run is done, {survives:?} survives: {why}"));
        }
        if layout::names(&store) != layout::names(done) || digests(&store) != digests(done) {
            return Some(format!("when the run is done, {survives:?} survives: it is forgotten"));
        }
    }
    None
}

/// What the names of a store stand for.
fn digests(store: &Path) -> Vec<String> {
    layout::names(store).iter().map(|name| layout::Image::read(store, name).digest).collect()
}

/// Each thing that the store does so that nothing is lost is needed: without it the tests above would fail.
#[test]
fn every_sync_and_every_order_is_missed_when_it_is_left_out() {
    let mut wrong = Vec::new();
    for run in Run::ALL {
        let world = World::new();
        let work = folder();
        let store = work.path().join("store");
        if world.before(run).exists() {
            copy(&world.before(run), &store);
        }
        let disk = Disk::of(work.path());
        let recorder = Arc::new(Recorder::new(work.path()));
        world.run(run, &store, Files::watched(recorder.clone())).unwrap();
        let steps = recorder.steps();
        assert_eq!(broken(run, disk.clone(), &steps, &store), None, "{run:?}, as it is");
        for Mutation { name, breaks, change } in MUTATIONS {
            let found = broken(run, disk.clone(), &change(&steps), &store);
            println!("{run:?}, {name}: {}", found.as_deref().map_or("whole", |why| &why[..why.len().min(160)]));
            if found.is_some() != breaks.contains(&run) {
                wrong.push(format!("{run:?}, {name}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_push_changes_nothing_in_the_store() {
    let world = World::new();
    let recorder = Arc::new(Recorder::new(&world.converted()));
    let layout = chunkify::store::Layout::open_on(&world.converted(), Files::watched(recorder.clone())).unwrap();
    world.push(&layout, "old");
    assert!(recorder.steps().is_empty(), "{:?}", recorder.steps());
}
