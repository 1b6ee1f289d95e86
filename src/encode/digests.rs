//! Digests that have to be taken in order: of the whole tar, and of files that are cut into several chunks. A file's bytes are also the
//! tar's, so one thread takes both digests side by side.

use std::thread::Scope;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

use crate::digest::{Digest, Hasher};

/// Parts that wait for their digests, at most.
const QUEUE: usize = 16;

/// Digest and checksum of one file's payload.
#[derive(Clone, Copy, Debug)]
pub struct FileSums {
    /// SHA-256.
    pub digest: Digest,
    /// CRC-64/GO-ISO.
    pub crc: u64,
}

/// What the thread is told, in the order of the tar.
enum Part {
    /// The next bytes of the tar.
    Tar(Bytes),
    /// The next bytes of the tar and of a file that is cut.
    Payload(Bytes),
    /// The file ends: its sums go there.
    PayloadEnd(Sender<FileSums>),
}

/// Takes the tar in, and gives its digest at the end.
pub struct Digests {
    parts: Sender<Part>,
    result: Receiver<Digest>,
}

impl Digests {
    /// Takes in the next bytes of the tar, which no file has or one that stays whole.
    pub fn tar(&self, bytes: Bytes) {
        self.tell(Part::Tar(bytes));
    }

    /// Takes in the next bytes of the tar, which are the next of a file that is cut, too.
    pub fn payload(&self, bytes: Bytes) {
        self.tell(Part::Payload(bytes));
    }

    /// Ends the file; its sums will come from there.
    pub fn payload_end(&self) -> Receiver<FileSums> {
        let (done, sums) = crossbeam_channel::bounded(1);
        self.tell(Part::PayloadEnd(done));
        sums
    }

    fn tell(&self, part: Part) {
        // The thread lives as long as this sender does.
        let _ = self.parts.send(part);
    }

    /// The digest of all.
    pub fn finish(self) -> Digest {
        drop(self.parts);
        self.result.recv().expect("the digests' thread answers the end")
    }
}

/// Starts the thread.
pub fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Digests {
    let (parts, queue) = crossbeam_channel::bounded(QUEUE);
    let (done, result) = crossbeam_channel::bounded(1);
    scope.spawn(move || {
        let _ = done.send(run(&queue));
    });
    Digests { parts, result }
}

fn run(parts: &Receiver<Part>) -> Digest {
    let (mut tar, mut file) = (Hasher::new(), Hasher::new());
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64GoIso);
    for part in parts {
        match part {
            Part::Tar(bytes) => tar.update(&bytes),
            Part::Payload(bytes) => {
                tar.update_both(&bytes, &mut file, &bytes);
                crc.update(&bytes);
            }
            Part::PayloadEnd(done) => {
                let _ = done.send(FileSums { digest: file.finish_reset(), crc: crc.finalize_reset() });
            }
        }
    }
    tar.finish()
}
