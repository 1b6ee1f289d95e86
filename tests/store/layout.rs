//! A layout by itself.

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, SystemTime};

use chunkify::digest::Digest;
use chunkify::image::{Descriptor, media_type};
use chunkify::store::{Layout, StoreError};

fn layout() -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    (folder, layout)
}

fn blobs(layout: &Layout) -> usize {
    fs::read_dir(layout.root().join("blobs/sha256")).unwrap().count()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::MANIFEST, Digest::of(bytes), bytes.len() as u64)
}

#[test]
fn a_blob_is_there_when_it_is_committed_and_not_before() {
    let (_folder, layout) = layout();
    let mut dropped = layout.blob_writer().unwrap();
    dropped.write_all(b"half").unwrap();
    drop(dropped);
    let mut wrong = layout.blob_writer().unwrap();
    wrong.write_all(b"other").unwrap();
    assert!(matches!(wrong.commit(Some(Digest::of(b"expected"))), Err(StoreError::Digest { .. })));
    assert_eq!(blobs(&layout), 0);
    assert_eq!(fs::read_dir(layout.private().join("tmp")).unwrap().count(), 0, "nothing is left behind");
    let mut writer = layout.blob_writer().unwrap();
    writer.write_all(b"whole").unwrap();
    assert_eq!(writer.commit(None).unwrap(), (Digest::of(b"whole"), 5));
    assert_eq!(layout.read_blob(&Digest::of(b"whole"), 5).unwrap(), b"whole");
    assert!(matches!(layout.read_blob(&Digest::of(b"whole"), 4), Err(StoreError::TooLarge { .. })));
}

#[test]
fn a_rotten_blob_is_not_read() {
    let (_folder, layout) = layout();
    let digest = layout.put_blob(b"good").unwrap();
    fs::write(layout.blob_path(&digest), b"evil").unwrap();
    assert!(matches!(layout.read_blob(&digest, 100), Err(StoreError::Digest { .. })));
}

#[test]
fn names_given_at_once_are_all_there() {
    let (_folder, layout) = layout();
    thread::scope(|scope| {
        for at in 0..16 {
            let layout = &layout;
            scope.spawn(move || layout.set_image(&format!("image:{at}"), descriptor(&[at])).unwrap());
        }
    });
    assert_eq!(layout.images().unwrap().len(), 16);
    layout.set_image("image:3", descriptor(b"newer")).unwrap();
    assert_eq!(layout.images().unwrap().len(), 16, "a name is given once");
    assert_eq!(layout.resolve(Some("image:3")).unwrap().digest, Digest::of(b"newer"));
    assert!(layout.remove_image("image:3").unwrap() && !layout.remove_image("image:3").unwrap());
    let Err(StoreError::NoImage { names, .. }) = layout.resolve(Some("image:3")) else { panic!("it is gone") };
    assert_eq!(names.len(), 15);
    assert!(matches!(layout.resolve(None), Err(StoreError::Ambiguous { .. })));
}

#[test]
fn an_unfinished_blob_outlives_its_process_and_is_finished_by_the_next() {
    let (_folder, layout) = layout();
    let whole = b"the whole blob";
    let digest = Digest::of(whole);
    let first = layout.partial(&digest, whole.len() as u64).unwrap();
    assert!(first.is_fresh());
    first.write_at(0, &whole[..5]).unwrap();
    assert!(matches!(first.commit(), Err(StoreError::Digest { .. })));
    drop(first);
    let second = layout.partial(&digest, whole.len() as u64).unwrap();
    assert!(!second.is_fresh());
    second.write_at(5, &whole[5..]).unwrap();
    assert_eq!(blobs(&layout), 0);
    second.commit().unwrap();
    assert_eq!(layout.read_blob(&digest, 100).unwrap(), whole);
    assert_eq!(fs::read_dir(layout.private().join("partial")).unwrap().count(), 0);
}

#[test]
fn who_waits_for_an_unfinished_blob_gets_it_finished() {
    let (_folder, layout) = layout();
    let digest = Digest::of(b"blob");
    let first = layout.partial(&digest, 4).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| layout.partial(&digest, 4).unwrap().is_finished());
        // Whether the waiter asks before or after, it must not work on the file that became the blob.
        thread::sleep(Duration::from_millis(50));
        first.write_at(0, b"blob").unwrap();
        first.commit().unwrap();
        drop(first);
        assert!(waiter.join().unwrap());
    });
    assert_eq!(layout.read_blob(&digest, 4).unwrap(), b"blob");
}

#[test]
fn what_dead_processes_left_is_swept_and_what_the_living_write_is_not() {
    let (folder, layout) = layout();
    let scratch = layout.private().join("tmp");
    let living = layout.blob_writer().unwrap();
    let old = SystemTime::now() - Duration::from_secs(3600);
    fs::write(scratch.join("orphan"), b"half a blob").unwrap();
    fs::write(scratch.join("young"), b"maybe not locked yet").unwrap();
    for entry in fs::read_dir(&scratch).unwrap().flatten().filter(|entry| entry.file_name() != "young") {
        fs::File::options().write(true).open(entry.path()).unwrap().set_modified(old).unwrap();
    }
    Layout::open_or_create(folder.path()).unwrap();
    assert!(!scratch.join("orphan").exists());
    assert!(scratch.join("young").exists());
    living.commit(None).unwrap();
}

#[test]
fn a_layout_that_several_make_at_once_or_one_left_half_made_is_made() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        thread::scope(|scope| {
            let makers: Vec<_> = (0..6).map(|_| scope.spawn(|| Layout::open_or_create(&store).map(|_| ()))).collect();
            makers.into_iter().for_each(|maker| maker.join().unwrap().unwrap());
        });
    }
    for steps in [&[".chunkify/tmp"][..], &[".chunkify/tmp", "blobs/sha256"]] {
        let folder = tempfile::tempdir().unwrap();
        steps.iter().for_each(|step| fs::create_dir_all(folder.path().join(step)).unwrap());
        assert!(Layout::open_or_create(folder.path()).unwrap().images().unwrap().is_empty());
    }
}

#[test]
fn what_is_no_layout_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), b"data").unwrap();
    let refused = Layout::open_or_create(folder.path()).unwrap_err();
    assert!(refused.to_string().contains("something else in it"), "{refused}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let (other, _) = layout();
    fs::write(other.path().join("oci-layout"), br#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Layout::open(other.path()), Err(StoreError::NotALayout { .. })));
}
