//! The footer: 64 bytes at the end of a blob that say where its table of contents and tar-split are.
//!
//! Nothing trusts it; it makes a blob file without its manifest readable.

/// The footer's content, in bytes.
pub const LEN: usize = 64;

/// The same in 2023, for some months.
pub const SHORT_LEN: usize = 56;

/// The last eight bytes of the current dialect.
pub const MAGIC: [u8; 8] = *b"GNUlInUx";

/// The last eight bytes of the old dialect's 40-byte footer, which is recognised and never read.
pub const OLD_MAGIC: [u8; 8] = *b"GnUlInUx";

/// In an eStargz footer of 51 bytes, behind the offset of its table of contents; recognised and never read.
const ESTARGZ: (usize, [u8; 6]) = (32, *b"STARGZ");

/// The only type of table of contents.
pub const TYPE_CRFS: u64 = 1;

/// Where a frame's content is. `offset` points past the frame's own 8-byte header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Of the content's first byte in the blob.
    pub offset: u64,
    /// Bytes in the blob.
    pub compressed: u64,
    /// Bytes once decompressed, as claimed.
    pub uncompressed: u64,
}

/// Where the table of contents and the tar-split are, as some footer or annotation claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The table of contents.
    pub toc: Position,
    /// The tar-split.
    pub tar_split: Position,
}

/// What is wrong with the last bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// No magic: a plain zstd blob, or anything else.
    #[error("no zstd:chunked footer")]
    Absent,
    /// The dialect of 2021 to 2022 (`io.containers.zstd-chunked.*`), which has no tar-split.
    #[error("the footer of the old zstd:chunked dialect, which has no tar-split")]
    OldDialect,
    /// eStargz, a gzip layer with a table of contents of its own.
    #[error("the footer of eStargz, which has no tar-split")]
    Estargz,
    /// A type of table of contents that does not exist.
    #[error("the footer names a table of contents of type {0}, only 1 is known")]
    Type(u64),
}

/// The footer's content for these positions.
pub fn write(positions: &Positions) -> [u8; LEN] {
    let Positions { toc, tar_split } = positions;
    let words = [
        toc.offset,
        toc.compressed,
        toc.uncompressed,
        TYPE_CRFS,
        tar_split.offset,
        tar_split.compressed,
        tar_split.uncompressed,
        u64::from_le_bytes(MAGIC),
    ];
    let mut out = [0; LEN];
    for (slot, word) in out.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// Reads the footer from the last bytes of a blob. The positions are as claimed; [`Positions::check`](crate::format::tail) judges them.
///
/// # Errors
/// [`FooterError`] when `end` does not end in a footer of the current dialect.
pub fn read(end: &[u8]) -> Result<Positions, FooterError> {
    match end.last_chunk::<8>() {
        Some(&MAGIC) => {}
        Some(&OLD_MAGIC) => return Err(FooterError::OldDialect),
        _ if is_estargz(end) => return Err(FooterError::Estargz),
        _ => return Err(FooterError::Absent),
    }
    let footer = end.last_chunk::<LEN>().ok_or(FooterError::Absent)?;
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(footer.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().map_err(|_| FooterError::Absent)?);
    }
    let [offset, compressed, uncompressed, kind, split_offset, split_compressed, split_uncompressed, _] = words;
    if kind != TYPE_CRFS {
        return Err(FooterError::Type(kind));
    }
    Ok(Positions {
        toc: Position { offset, compressed, uncompressed },
        tar_split: Position { offset: split_offset, compressed: split_compressed, uncompressed: split_uncompressed },
    })
}

fn is_estargz(end: &[u8]) -> bool {
    let (at, word) = ESTARGZ;
    end.last_chunk::<51>().is_some_and(|footer| footer.starts_with(&[0x1f, 0x8b]) && footer[at..].starts_with(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hexdump in spec-notes/format.md is the vector.
    #[test]
    fn the_documented_footer_reads_and_writes() {
        let bytes = crate::format::vectors::hex("footer");
        let positions = read(&bytes).unwrap();
        assert_eq!(positions.toc, Position { offset: 0x1008, compressed: 0x200, uncompressed: 0x800 });
        assert_eq!(positions.tar_split, Position { offset: 0x1210, compressed: 0x100, uncompressed: 0x400 });
        assert_eq!(write(&positions)[..], bytes[..]);
    }

    #[test]
    fn foreign_ends_are_named() {
        assert_eq!(read(b"short"), Err(FooterError::Absent));
        assert_eq!(read(&MAGIC), Err(FooterError::Absent));
        assert_eq!(read(&[&[0; 32][..], &OLD_MAGIC].concat()), Err(FooterError::OldDialect));
        let gzip = [&[0x1f, 0x8b][..], &[0; 14], b"0000000000000123STARGZ", &[0; 13]].concat();
        assert_eq!(read(&[&[7; 13], &gzip[..]].concat()), Err(FooterError::Estargz));
        assert_eq!(read(&[&[7; 14], &gzip[..50]].concat()), Err(FooterError::Absent));
        assert_eq!(read(&[&[0; 56][..], &MAGIC].concat()), Err(FooterError::Type(0)));
    }
}
