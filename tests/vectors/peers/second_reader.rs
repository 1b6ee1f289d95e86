//! Every blob is read by `reader.py`, which was written from spec-notes/format.md alone.

use crate::archives::{BLOBS, Blob};
use crate::support::{second_reader, tally};

#[test]
fn reads_every_blob_as_it_was_meant() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let jobs = BLOBS.iter().enumerate().map(|(at, (_, blob))| blob.job(&folder.path().join(at.to_string())));
    let jobs: Vec<_> = jobs.collect();
    let chunked = BLOBS.iter().filter(|(_, blob)| blob.is_chunked()).count();
    assert!(chunked > 70, "only {chunked} of {} are zstd:chunked", jobs.len());
    let said = second_reader::read(&jobs);
    assert_eq!(second_reader::assert_right(&said), chunked);
    let many = said.iter().filter(|one| one.frames > 8).count();
    assert!(many > 10, "only {many} blobs have more than a few frames");
    tally::write("second-reader", &[("tests/vectors/reader.py", jobs.len(), 0)]);
}

/// A reader that takes everything proves nothing: of a blob with one wrong bit it must say no, wherever the bit is.
#[test]
fn refuses_a_wrong_bit_anywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (_, whole) = BLOBS.iter().find(|(archive, _)| archive.name == "pax").expect("it is there");
    let mut jobs = Vec::new();
    for at in (0..whole.bytes.len()).step_by(whole.bytes.len().div_ceil(150)) {
        let mut bytes = whole.bytes.clone();
        bytes[at] ^= 0x40;
        let damaged = Blob { name: format!("byte {at}"), bytes, encoded: whole.encoded.clone() };
        let mut job = damaged.job(&folder.path().join(at.to_string()));
        // Without the digest of the whole, its parts must tell.
        job["digest"].take();
        job.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        jobs.push(job);
    }
    let said = second_reader::read(&jobs);
    let taken: Vec<_> = said.iter().filter(|one| one.fault.is_none()).map(|one| &one.name).collect();
    assert!(taken.is_empty() && said.len() > 50, "of {} damaged blobs it took {taken:?}", said.len());
}
