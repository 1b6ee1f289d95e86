//! A file is put on disk while it still grows, so that its end has little to wait for.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Bytes that are written between two syncs, at least. Below that nothing is gained.
const STEP: u64 = 16 << 20;

/// The syncs of one file. Dropped, it waits for the one under way: until then the file's lock is held.
#[derive(Debug, Default)]
pub struct EarlySync {
    written: AtomicU64,
    worker: Mutex<Option<Worker>>,
}

#[derive(Debug)]
struct Worker {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl EarlySync {
    /// Takes note of bytes that were written to `file`, always the same.
    pub fn wrote(&self, file: &File, bytes: u64) {
        let step = (self.written.fetch_add(bytes, Ordering::Relaxed) % STEP).saturating_add(bytes);
        if step < STEP {
            return;
        }
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            // Without another handle or thread everything is left to the last sync.
            *worker = file.try_clone().ok().and_then(|file| Worker::start(file).ok());
        }
        if let Some(worker) = &*worker {
            // One that has not come to its last wake yet takes these bytes along.
            let _ = worker.wake.try_send(());
        }
    }

    /// Ends the syncs. The system tells of a failed write once, so what one of them met must not be lost.
    ///
    /// # Errors
    /// Of any of them.
    pub fn finish(&self) -> io::Result<()> {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        worker.map_or(Ok(()), |Worker { wake, thread }| {
            drop(wake);
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for EarlySync {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

impl Worker {
    fn start(file: File) -> io::Result<Self> {
        let (wake, wakes) = mpsc::sync_channel(1);
        let run = move || sync_at(&wakes, &file);
        Ok(Self { wake, thread: thread::Builder::new().name("sync".into()).spawn(run)? })
    }
}

fn sync_at(wakes: &Receiver<()>, file: &File) -> io::Result<()> {
    wakes.iter().try_for_each(|()| file.sync_data())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn syncs_begin_with_the_first_step_and_let_the_file_go() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let (mut file, early) = (named.reopen().unwrap(), EarlySync::default());
        file.lock().unwrap();
        let piece = vec![1; 1 << 20];
        for written in 1..=40_u64 {
            file.write_all(&piece).unwrap();
            early.wrote(&file, piece.len() as u64);
            assert_eq!(early.worker.lock().unwrap().is_some(), written << 20 >= STEP, "{written} MiB");
        }
        // As when a run fails: without an end, and the lock must not outlast it.
        drop(early);
        drop(file);
        named.reopen().unwrap().try_lock().unwrap();
    }

    #[test]
    fn a_sync_that_fails_is_told_at_the_end() {
        // A pipe cannot be put on disk.
        let (_reader, pipe) = std::io::pipe().unwrap();
        let (file, early) = (File::from(std::os::fd::OwnedFd::from(pipe)), EarlySync::default());
        early.wrote(&file, STEP);
        early.finish().unwrap_err();
        early.finish().unwrap();
    }
}
