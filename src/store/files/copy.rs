//! Copying between files in the kernel, so that blocks are shared where the file system can.
//!
//! A file system with reflinks shares whole blocks only: both offsets must be multiples of the block size. Where they agree modulo the
//! block size, the part between the first and the last block boundary can be shared and its ends are copied; else all is copied.
//! `copy_file_range` shares by itself whenever it can, on XFS and on btrfs.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::io::Errno;

/// Copies `len` bytes. [`io::ErrorKind::UnexpectedEof`] when `from` is too short.
pub fn copy(from: &File, from_offset: u64, to: &File, offset: u64, len: u64) -> io::Result<()> {
    let block = to.metadata()?.blksize().max(1);
    let mut done = 0;
    for part in parts(from_offset, offset, len, block) {
        in_kernel(from, from_offset + done, to, offset + done, part)?;
        done += part;
    }
    Ok(())
}

/// The lengths of what is copied in one piece: the middle one of three can be shared.
fn parts(from_offset: u64, offset: u64, len: u64, block: u64) -> impl Iterator<Item = u64> {
    let head = offset.next_multiple_of(block) - offset;
    let parts = if from_offset % block == offset % block && head < len {
        let tail = (len - head) % block;
        [head, len - head - tail, tail]
    } else {
        [len, 0, 0]
    };
    parts.into_iter().filter(|part| *part > 0)
}

fn in_kernel(from: &File, from_offset: u64, to: &File, offset: u64, len: u64) -> io::Result<()> {
    let (mut source, mut target, end) = (from_offset, offset, offset + len);
    while target < end {
        let wanted = usize::try_from(end - target).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), wanted) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return by_hand(from, source, to, target, end - target);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn by_hand(from: &File, from_offset: u64, to: &File, offset: u64, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut done = 0;
    while done < len {
        let now = usize::try_from(len - done).unwrap_or(usize::MAX).min(buffer.len());
        from.read_exact_at(&mut buffer[..now], from_offset + done)?;
        to.write_all_at(&buffer[..now], offset + done)?;
        done += now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whole_blocks_are_one_part_and_every_byte_is_in_one(
            from in 0..20_000_u64, shift in -3..4_i64, odd in 0..2_u64, len in 1..50_000_u64,
        ) {
            const BLOCK: u64 = 4096;
            let to = from.saturating_add_signed(shift * 4096).saturating_add(odd);
            let parts: Vec<u64> = parts(from, to, len, BLOCK).collect();
            prop_assert_eq!(parts.iter().sum::<u64>(), len);
            let agree = from % BLOCK == to % BLOCK;
            let blocks = (to..to + len).filter(|at| agree && at % BLOCK == 0 && at + BLOCK <= to + len).count() as u64;
            let mut at = to;
            let mut shared = 0;
            for part in parts {
                if agree && at.is_multiple_of(BLOCK) && part.is_multiple_of(BLOCK) {
                    shared += part / BLOCK;
                }
                at += part;
            }
            prop_assert_eq!(shared, blocks);
        }
    }

    #[test]
    fn what_is_copied_is_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..40_000_u32).map(|at| ((at * 7) >> 3).to_le_bytes()[0]).collect();
        let file = |name: &str| {
            File::options().create(true).truncate(false).read(true).write(true).open(folder.path().join(name)).unwrap()
        };
        let (from, to) = (file("from"), file("to"));
        from.write_all_at(&bytes, 0).unwrap();
        for (from_offset, offset, len) in
            [(0, 0, 40_000), (5, 4101, 30_000), (5, 17, 39_995), (4096, 8192, 4096), (1, 1, 1)]
        {
            to.set_len(0).unwrap();
            copy(&from, from_offset, &to, offset, len).unwrap();
            let mut got = vec![0; usize::try_from(len).unwrap()];
            to.read_exact_at(&mut got, offset).unwrap();
            let start = usize::try_from(from_offset).unwrap();
            assert_eq!(got, bytes[start..start + got.len()]);
        }
        let beyond = copy(&from, 39_000, &to, 0, 2000).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }
}
