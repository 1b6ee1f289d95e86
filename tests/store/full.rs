//! Disks that refuse: full at any step, read-only, without locks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunkify::store::{Change, Files, Layout, StoreError, Watch};
use rustix::io::Errno;

use crate::world::{Run, World, check_whole, copy, folder};

/// Refuses with an error of the system from a change on.
#[derive(Debug)]
pub struct Refuser {
    from: u64,
    with: Errno,
    changes: AtomicU64,
    locks: bool,
}

impl Refuser {
    pub fn files(from: u64, with: Errno) -> Files {
        Files::watched(Arc::new(Self { from, with, changes: AtomicU64::new(0), locks: false }))
    }
}

impl Watch for Refuser {
    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        let takes_room = match change {
            Change::Lock(_) => self.locks,
            // A full disk still takes names away, and says what it holds.
            Change::Remove(_) | Change::Rename { .. } | Change::Sync(_) | Change::SyncDir(_) => {
                self.with != Errno::NOSPC && !self.locks
            }
            _ => !self.locks,
        };
        let refuse = takes_room && self.changes.fetch_add(1, Ordering::SeqCst) >= self.from;
        if refuse { Err(self.with.into()) } else { Ok(()) }
    }
}

#[test]
fn a_disk_that_fills_up_at_any_step_leaves_the_store_whole_and_is_told() {
    let world = World::new();
    for run in Run::ALL {
        let mut refused = 0;
        for from in 0.. {
            let work = folder();
            let store = work.path().join("store");
            if world.before(run).exists() {
                copy(&world.before(run), &store);
            }
            let result = world.run(run, &store, Refuser::files(from, Errno::NOSPC));
            let when = format!("{run:?}, full from change {from}");
            world.check_between(run, &store, &when);
            match result {
                // The caches are not worth an error.
                Ok(()) => world.check_done(run, &store),
                Err(error) => {
                    assert!(error.contains("the disk is full; free some space"), "{when}: {error}");
                    refused += 1;
                }
            }
            let done = Refuser::files(u64::MAX, Errno::NOSPC);
            world.run(run, &store, done).unwrap_or_else(|error| panic!("{when}, then free again: {error}"));
            check_whole(&store, &when);
            world.check_done(run, &store);
            if from > refused + 20 {
                break;
            }
        }
        println!("{run:?}: the disk was full at each of {refused} changes");
        assert!(refused > 0 || run == Run::Collect, "{run:?} never met a full disk");
    }
}

#[test]
fn unfinished_blobs_are_kept_or_removed_as_wished() {
    let world = World::new();
    for discard in [false, true] {
        let work = folder();
        let store = work.path().join("store");
        copy(&world.before(Run::PullUpdate), &store);
        let mut kept = 0;
        for from in 6..20 {
            let mut layout = Layout::open_on(&store, Refuser::files(from, Errno::NOSPC)).unwrap();
            if discard {
                layout = layout.discarding_unfinished();
            }
            let partial = layout.partial(&chunkify::digest::Digest::of(b"blob"), 4);
            let Ok(partial) = partial else { continue };
            let _ = partial.write_at(0, b"bl");
            drop(partial);
            kept += std::fs::read_dir(store.join(".chunkify/partial")).unwrap().count();
        }
        assert_eq!(kept == 0, discard, "discard: {discard}");
    }
}

#[test]
fn read_only_stores_can_be_looked_at_and_say_what_they_are() {
    let world = World::new();
    let store = world.before(Run::PullUpdate);
    let layout = Layout::open_on(&store, Refuser::files(0, Errno::ROFS)).unwrap();
    chunkify::housekeeping::list(&layout).unwrap();
    assert!(chunkify::housekeeping::check(&layout).unwrap().faults.is_empty());
    let options = chunkify::housekeeping::GcOptions {
        dry_run: true,
        keep_last: None,
        max_bytes: None,
        leftovers_older_than: std::time::Duration::ZERO,
    };
    chunkify::housekeeping::collect(&layout, &options).unwrap();
    for run in [Run::PullUpdate, Run::Convert, Run::Remove, Run::Collect] {
        let error = world.run(run, &world.before(run), Refuser::files(0, Errno::ROFS)).unwrap_err();
        assert!(
            error.contains("read-only file system; it can be looked at and served, not changed"),
            "{run:?}: {error}"
        );
    }
}

#[test]
fn file_systems_without_locks_are_refused_in_words() {
    let world = World::new();
    for with in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
        let refuser = Refuser { from: 0, with, changes: AtomicU64::new(0), locks: true };
        let files = Files::watched(Arc::new(refuser));
        let layout = Layout::open_on(&world.before(Run::Remove), files.clone()).unwrap();
        assert!(matches!(layout.collect(), Err(StoreError::NoLocks { .. })));
        for run in [Run::PullUpdate, Run::Convert, Run::Remove, Run::Collect] {
            let error = world.run(run, &world.before(run), files.clone()).unwrap_err();
            assert!(error.contains("its file system has no locks"), "{run:?}: {error}");
        }
    }
}
