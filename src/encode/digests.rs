//! Digests that have to be taken in order: of the whole tar, and of files that are cut into several chunks.

use std::thread::Scope;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

use crate::digest::{Digest, Hasher};

/// Pieces that wait for a digest, at most.
const QUEUE: usize = 16;

/// Takes the tar in and gives its digest at the end.
pub struct TarDigest {
    queue: Sender<Option<Bytes>>,
    result: Receiver<Digest>,
}

impl TarDigest {
    /// Takes in the next bytes.
    pub fn push(&self, bytes: Bytes) {
        // The thread lives as long as this sender does.
        let _ = self.queue.send(Some(bytes));
    }

    /// The digest of all.
    pub fn finish(self) -> Digest {
        let _ = self.queue.send(None);
        self.result.recv().expect("the digest's thread answers the end")
    }
}

/// Starts the thread that digests the tar.
pub fn tar<'scope>(scope: &'scope Scope<'scope, '_>) -> TarDigest {
    let (queue, pieces) = crossbeam_channel::bounded::<Option<Bytes>>(QUEUE);
    let (done, result) = crossbeam_channel::bounded(1);
    scope.spawn(move || {
        let mut hasher = Hasher::new();
        while let Ok(Some(bytes)) = pieces.recv() {
            hasher.update(&bytes);
        }
        let _ = done.send(hasher.finish());
    });
    TarDigest { queue, result }
}

/// Digest and checksum of one file's payload.
#[derive(Clone, Copy, Debug)]
pub struct FileSums {
    /// SHA-256.
    pub digest: Digest,
    /// CRC-64/GO-ISO.
    pub crc: u64,
}

/// What the files' thread is told.
pub enum FilePart {
    /// The next bytes of the file.
    Bytes(Bytes),
    /// The file ends: its sums go there.
    End(Sender<FileSums>),
}

/// Starts the thread that digests large files, one after the other.
pub fn files<'scope>(scope: &'scope Scope<'scope, '_>) -> Sender<FilePart> {
    let (queue, parts) = crossbeam_channel::bounded(QUEUE);
    scope.spawn(move || {
        let mut hasher = Hasher::new();
        let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64GoIso);
        for part in parts {
            match part {
                FilePart::Bytes(bytes) => {
                    hasher.update(&bytes);
                    crc.update(&bytes);
                }
                FilePart::End(done) => {
                    let _ = done.send(FileSums { digest: hasher.finish_reset(), crc: crc.finalize_reset() });
                }
            }
        }
    });
    queue
}
