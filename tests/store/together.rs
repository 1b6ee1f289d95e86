//! Several processes in one store at once.

use std::process::{Child, Command, Output, Stdio};

use chunkify::digest::Digest;
use chunkify::housekeeping::{self, GcOptions};
use chunkify::store::Layout;

use crate::support::layout::{self, Form};
use crate::support::made;
use crate::world::{Run, World, check_whole, copy, folder};

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
    command.args(arguments).env("NO_PROXY", "*").env_remove("RUST_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn ends_well(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(status.success(), "{status}: {stdout}{stderr}");
    stderr
}

fn collect_all() -> GcOptions {
    GcOptions { dry_run: false, keep_last: None, max_bytes: None, leftovers_older_than: std::time::Duration::ZERO }
}

#[test]
fn pulls_conversions_servers_and_collections_leave_each_other_alone() {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    let (dir, reference) = (store.display().to_string(), format!("docker://{}/app:moving", world.registry.address()));
    copy(&world.before(Run::Convert), &store);
    let source = format!("oci:{}:new", world.source().display());
    let mut server = start(&["serve", &dir, "--listen", "127.0.0.1:0"]);
    for _ in 0..3 {
        let destinations = ["a", "b"].map(|name| format!("oci:{dir}:{name}"));
        let mut children = Vec::new();
        for _ in 0..2 {
            children.push(start(&["pull", "--plain-http", &reference, "--store", &dir]));
            children.extend(destinations.iter().map(|to| start(&["convert", &source, to, "--chunk-size", "4096"])));
            children.push(start(&["store", "gc", "--store", &dir, "--older-than", "0s"]));
        }
        children.into_iter().for_each(|child| drop(ends_well(child)));
        check_whole(&store, "after all at once");
        ends_well(start(&["store", "rm", "a", "b", "--store", &dir]));
    }
    assert!(server.try_wait().unwrap().is_none(), "the server still serves");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn pulls_of_one_image_at_once_fetch_each_blob_once() {
    let world = World::new();
    let [alone, together] = [(); 2].map(|()| folder());
    let store = |folder: &tempfile::TempDir| folder.path().join("store").display().to_string();
    let reference = format!("docker://{}/app:moving", world.registry.address());
    let pull = |store: &str| start(&["pull", "--plain-http", &reference, "--store", store]);
    let blobs = |mark: usize| {
        let log = world.registry.log();
        log[mark..]
            .iter()
            .filter(|exchange| exchange.path.contains("/blobs/"))
            .map(|exchange| exchange.sent())
            .sum::<u64>()
    };
    let mark = world.registry.log().len();
    ends_well(pull(&store(&alone)));
    let once = blobs(mark);
    let mark = world.registry.log().len();
    let children: Vec<_> = (0..4).map(|_| pull(&store(&together))).collect();
    children.into_iter().for_each(|child| drop(ends_well(child)));
    // The requests may be shaped otherwise, which moves the framing a little.
    let (came, margin) = (blobs(mark), once / 50);
    assert!(came.abs_diff(once) <= margin, "four pulls at once fetched {came} bytes of blobs, one alone {once}");
    check_whole(&together.path().join("store"), "after four at once");
}

/// Two pulls that each have what the other waits for would wait for ever.
#[test]
fn pulls_of_the_same_layers_in_another_order_do_not_wait_for_each_other() {
    let world = World::new();
    let folder = folder();
    let tars: Vec<_> = (0..4).map(|at| made::tars()[0][at % 2][..20_480 + 512 * at].to_vec()).collect();
    let tars: Vec<_> = tars
        .into_iter()
        .map(|mut tar| {
            tar.truncate(512 * 3);
            tar.extend([0; 1024]);
            tar
        })
        .collect();
    let reversed: Vec<_> = tars.iter().rev().cloned().collect();
    let source = folder.path().join("source");
    for (name, tars) in [("forth", &tars), ("back", &reversed)] {
        layout::write_image(&source, name, tars, Form::Gzip);
        let (from, to) =
            (format!("oci:{}:{name}", source.display()), format!("docker://{}/app:{name}", world.registry.address()));
        ends_well(start(&["push", "--plain-http", &from, &to]));
    }
    for _ in 0..5 {
        let store = tempfile::tempdir_in(folder.path()).unwrap();
        let dir = store.path().join("store").display().to_string();
        let children = ["forth", "back", "forth", "back"].map(|name| {
            let reference = format!("docker://{}/app:{name}", world.registry.address());
            start(&["pull", "--plain-http", &reference, "--store", &dir])
        });
        children.into_iter().for_each(|child| drop(ends_well(child)));
        check_whole(&store.path().join("store"), "after pulls in both orders");
    }
}

#[test]
fn a_collection_leaves_what_a_living_run_needs_and_takes_it_when_the_run_is_over() {
    let folder = folder();
    let layout = Layout::open_or_create(&folder.path().join("store")).unwrap();
    let run = layout.for_run();
    let blob = run.put_blob(b"not named yet").unwrap();
    let collected = housekeeping::collect(&layout, &collect_all()).unwrap();
    assert_eq!((collected.blobs, collected.in_use_bytes), (0, 13));
    assert_eq!(layout.read_blob(&blob, 99).unwrap(), b"not named yet");
    drop(run);
    let collected = housekeeping::collect(&layout, &collect_all()).unwrap();
    assert_eq!((collected.blobs, collected.blob_bytes, collected.in_use_bytes), (1, 13, 0));
    assert!(layout.open_blob(&blob).is_err());
}

#[test]
fn a_run_keeps_the_images_that_were_there_when_it_began() {
    let world = World::new();
    let layout = Layout::open(&world.before(Run::Convert)).unwrap();
    let run = layout.for_run();
    run.keep([Digest::of(b"anything")]).unwrap();
    housekeeping::remove(&layout, &["old".into()]).unwrap();
    assert_eq!(housekeeping::collect(&layout, &collect_all()).unwrap().blobs, 0, "frames may be copied from them");
    drop(run);
    assert_eq!(housekeeping::collect(&layout, &collect_all()).unwrap().blobs, 4);
}

#[test]
fn waits_are_told() {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    copy(&world.before(Run::PullUpdate), &store);
    let layout = Layout::open(&store).unwrap();
    let collecting = layout.collect().unwrap();
    let dir = store.display().to_string();
    let reference = format!("docker://{}/app:moving", world.registry.address());
    let mut child = start(&["pull", "--plain-http", &reference, "--store", &dir]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    // However slow the machine is, it cannot have passed the gate; what it says is read when it has.
    std::thread::sleep(std::time::Duration::from_millis(700));
    drop(collecting);
    let said = ends_well(child);
    assert!(said.contains("waiting for another process: store gc is at work"), "{said}");
}
