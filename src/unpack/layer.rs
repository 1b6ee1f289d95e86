//! One layer: its blob is decompressed on one thread, its tar hashed on another and unpacked on a third.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use crossbeam_channel::Receiver;

use crate::blob::Blob;
use crate::digest::{Digest, Hasher};
use crate::inflate::{self, Pieces};
use crate::tar::scan::{Event, Scanner};

use super::error::{EntryFailure, LayerFailure, shown};
use super::outcome::Outcome;
use super::place::{self, Arriving};
use super::room::Room;
use super::tree::Tree;

/// Bytes of tar that go from thread to thread at once.
const PIECE: usize = 512 << 10;
/// Pieces that may wait to be hashed.
const WAITING: usize = 4;

/// Unpacks a layer into the tree. Whether its tar is the one that the config names is known only at its end.
///
/// # Errors
/// [`LayerFailure`]; the tree holds part of the layer then.
pub fn unpack(
    tree: &mut Tree,
    blob: &Blob,
    diff_id: Digest,
    room: &mut Room,
    out: &mut Outcome,
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<(), LayerFailure> {
    let (_, mut tar) = inflate::tar_reader(blob.reader()).map_err(LayerFailure::Read)?;
    let (queue, pieces) = crossbeam_channel::bounded(WAITING);
    let hashing = thread::spawn(move || digest_of(&pieces));
    let mut memory = Pieces::new(PIECE);
    let mut reading = Reading { tree, room, out, scanner: Some(Scanner::lenient()), arriving: None, read: 0 };
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(LayerFailure::Stopped);
        }
        let piece = memory.read(&mut tar).map_err(LayerFailure::Read)?;
        if piece.is_empty() {
            break;
        }
        // The hashing thread ends only when this end of the queue is gone.
        let _ = queue.send(piece.clone());
        reading.take(&piece)?;
        progress(reading.read);
    }
    reading.finish()?;
    drop(queue);
    let got = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if got == diff_id { Ok(()) } else { Err(LayerFailure::DiffId { expected: diff_id, got }) }
}

fn digest_of(pieces: &Receiver<Bytes>) -> Digest {
    let mut hasher = Hasher::new();
    for piece in pieces {
        hasher.update(&piece);
    }
    hasher.finish()
}

/// A tar that is being read.
struct Reading<'a> {
    tree: &'a mut Tree,
    room: &'a mut Room,
    out: &'a mut Outcome,
    /// Nothing behind the end of the archive.
    scanner: Option<Scanner>,
    arriving: Option<Arriving>,
    read: u64,
}

impl Reading<'_> {
    fn take(&mut self, piece: &Bytes) -> Result<(), LayerFailure> {
        self.read += piece.len() as u64;
        let mut input = &piece[..];
        // What follows the end of the archive is hashed, and nobody reads it: Go's reader does not either.
        while let Some(scanner) = &mut self.scanner {
            let Some(event) = scanner.next(&mut input)? else { break };
            match event {
                Event::Entry { entry, .. } => {
                    self.end()?;
                    let name = entry.name.clone();
                    self.arriving =
                        place::begin(self.tree, entry, self.out).map_err(|failure| in_entry(&name, failure))?;
                }
                Event::Payload(payload) => {
                    if let Some(arriving) = &mut self.arriving {
                        arriving.take(payload, self.room).map_err(|failure| in_entry(arriving.name(), failure))?;
                    }
                }
                Event::PayloadEnd => self.end()?,
                Event::Trailer(_) => self.scanner = None,
            }
        }
        Ok(())
    }

    /// Completes the file that was arriving; one without payload is complete when the next entry begins.
    fn end(&mut self) -> Result<(), LayerFailure> {
        let Some(arriving) = self.arriving.take() else { return Ok(()) };
        let name = arriving.name().to_owned();
        place::end(self.tree, arriving, self.out).map_err(|failure| in_entry(&name, failure))
    }

    fn finish(mut self) -> Result<(), LayerFailure> {
        if let Some(mut scanner) = self.scanner.take() {
            scanner.finish()?;
        }
        self.end()
    }
}

fn in_entry(name: &[u8], source: EntryFailure) -> LayerFailure {
    LayerFailure::Entry { name: shown(name), source }
}
