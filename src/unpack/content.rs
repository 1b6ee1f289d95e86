//! A file's content, with holes where there is nothing but zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::tar::sparse::{Expander, Sparse};

use super::error::EntryFailure;
use super::room::Room;

/// Zeros are looked for in pieces of this size, in bytes: a block of most file systems, below which a hole saves nothing.
const BLOCK: usize = 4 << 10;

/// The content of one file, as it comes.
pub struct Content {
    file: File,
    size: u64,
    /// Where the next bytes go, in a file that is not sparse.
    at: u64,
    /// Where the last byte that is not in a hole ends.
    written: u64,
    expander: Option<Expander>,
}

impl Content {
    /// Into a file that is empty, `size` bytes of it or what `sparse` says.
    pub fn new(file: File, size: u64, sparse: Option<&Sparse>) -> Self {
        let expander = sparse.map(Expander::new);
        Self { file, size: sparse.map_or(size, |sparse| sparse.size), at: 0, written: 0, expander }
    }

    /// Takes the next bytes of the payload.
    ///
    /// # Errors
    /// [`EntryFailure`] when there is no room for them, they cannot be written, or the map of a sparse file is wrong.
    pub fn take(&mut self, mut payload: &[u8], room: &mut Room) -> Result<(), EntryFailure> {
        let Some(mut expander) = self.expander.take() else {
            let at = self.at;
            self.at += payload.len() as u64;
            return self.write(at, payload, room);
        };
        while let Some((at, piece)) = expander.next(&mut payload)? {
            self.write(at, piece, room)?;
        }
        self.expander = Some(expander);
        Ok(())
    }

    /// The complete file, and its bytes.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn finish(self) -> Result<(File, u64), EntryFailure> {
        if let Some(expander) = self.expander {
            expander.finish()?;
        }
        if self.written != self.size {
            self.file.set_len(self.size).map_err(failed)?;
        }
        Ok((self.file, self.size))
    }

    /// Writes what is not zero. The file was empty and no place is written twice, so that what is left out reads as zeros.
    fn write(&mut self, at: u64, bytes: &[u8], room: &mut Room) -> Result<(), EntryFailure> {
        let mut from = 0;
        while from < bytes.len() {
            let zeros = run(at, bytes, from, true);
            let data = run(at, bytes, zeros, false);
            if zeros < data {
                room.take(data - zeros)?;
                self.file.write_all_at(&bytes[zeros..data], at + zeros as u64).map_err(failed)?;
                self.written = self.written.max(at + data as u64);
            }
            from = data;
        }
        Ok(())
    }
}

fn failed(source: io::Error) -> EntryFailure {
    EntryFailure::Io { doing: "write its content", source }
}

/// Where the blocks end that begin at `from` and are all zeros, or all not. Blocks are those of the file, in which `bytes` begin at `at`.
fn run(at: u64, bytes: &[u8], mut from: usize, zeros: bool) -> usize {
    while from < bytes.len() {
        let into_block = usize::try_from((at + from as u64) % BLOCK as u64).unwrap_or(0);
        let end = bytes.len().min(from + BLOCK - into_block);
        if is_zero(&bytes[from..end]) != zeros {
            break;
        }
        from = end;
    }
    from
}

/// Whether there is nothing but zeros. Most blocks tell it with their first bytes.
fn is_zero(block: &[u8]) -> bool {
    let (head, rest) = block.split_at(block.len().min(16));
    head.iter().all(|&byte| byte == 0) && rest.iter().fold(0, |all, &byte| all | byte) == 0
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn written(payload: &[u8], at_once: usize) -> (Vec<u8>, u64) {
        let file = tempfile::tempfile().unwrap();
        let mut content = Content::new(file.try_clone().unwrap(), payload.len() as u64, None);
        let mut room = Room::of(300_000);
        for piece in payload.chunks(at_once) {
            content.take(piece, &mut room).unwrap();
        }
        let (mut file, size) = content.finish().unwrap();
        assert_eq!(size, payload.len() as u64);
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        (read, file.metadata().unwrap().blocks() * 512)
    }

    #[test]
    fn zeros_become_holes_and_nothing_else_changes() {
        let mut payload = vec![0; 3 << 20];
        payload[5] = 1;
        payload[(1 << 20) + 4095] = 2;
        payload.extend(b"end");
        let zeros_at_the_end = [&payload[..], &vec![0; 1 << 20]].concat();
        for payload in [payload, zeros_at_the_end, vec![0; 100_000], vec![7; 10_000], Vec::new(), vec![0; 3]] {
            for at_once in [1000, 4096, 100_000, 1 << 20] {
                let (read, stored) = written(&payload, at_once);
                assert_eq!(read, payload, "{at_once} bytes at once");
                assert!(stored <= 256 << 10, "{stored} bytes are stored");
            }
        }
    }
}
