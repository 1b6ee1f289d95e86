//! kill -9 at every step of a real process.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunkify::store::{Change, Files, Watch};
use rustix::process::{Signal, getpid, kill_process};

use crate::world::{Run, World, check_whole, convert_from, copy, folder, pull_from, repair_from};

/// Ends this process before its `at`th change.
#[derive(Debug)]
struct Ender {
    at: u64,
    changes: AtomicU64,
}

impl Watch for Ender {
    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        if !matches!(change, Change::Lock(_)) && self.changes.fetch_add(1, Ordering::SeqCst) == self.at {
            kill_process(getpid(), Signal::KILL)?;
            // A signal to oneself has come when the call returns; other threads may have to be waited for.
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }
}

/// The process that is ended: this program again, with a run in its environment. Without one it has nothing to do.
#[test]
fn child() {
    let Ok(run) = std::env::var("STORE_RUN") else { return };
    let value = |name: &str| std::env::var(name).unwrap();
    let (run, store) = (Run::called(&run), PathBuf::from(value("STORE")));
    let files = Files::watched(Arc::new(Ender { at: value("STOP_AT").parse().unwrap(), changes: AtomicU64::new(0) }));
    match run {
        Run::PullFirst | Run::PullUpdate => drop(pull_from(&value("REGISTRY_ADDRESS"), &store, files).unwrap()),
        Run::Convert => convert_from(Path::new(&value("SOURCE")), &store, "new", files).unwrap(),
        Run::Repair => repair_from(&value("REGISTRY_ADDRESS"), &store, files).unwrap(),
        Run::Remove | Run::Collect => panic!("they have no process of their own here"),
    }
}

fn at_every_step(run: Run) {
    let world = World::new();
    let mut killed = 0;
    loop {
        let work = folder();
        let store = work.path().join("store");
        if world.before(run).exists() {
            copy(&world.before(run), &store);
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kills::child", "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("STORE_RUN", format!("{run:?}")).env("STORE", &store).env("STOP_AT", killed.to_string());
        command.env("REGISTRY_ADDRESS", world.registry.address().to_string()).env("SOURCE", world.source());
        let status = command.status().unwrap();
        let when = format!("{run:?}, killed before change {killed}");
        world.check_between(run, &store, &when);
        if status.success() {
            break;
        }
        assert_eq!(status.signal(), Some(9), "{when}: {status}");
        killed += 1;
        world.run(run, &store, Files::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
        check_whole(&store, &when);
        world.check_done(run, &store);
    }
    println!("{run:?}: a process was killed at each of {killed} changes");
    assert!(killed > 10, "{run:?} has only {killed} changes: they pass by the watch");
}

#[test]
fn of_a_first_pull() {
    at_every_step(Run::PullFirst);
}

#[test]
fn of_a_pull_that_replaces_a_tag() {
    at_every_step(Run::PullUpdate);
}

#[test]
fn of_a_conversion_into_a_layout() {
    at_every_step(Run::Convert);
}

#[test]
fn of_a_repair() {
    at_every_step(Run::Repair);
}
