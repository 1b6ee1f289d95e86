//! The tail: three skippable frames that adjoin at the end of a blob, fetched as one range.

use crate::limits;
use crate::span::Span;
use crate::zstd::frames::{SKIPPABLE_HEADER, skippable_content};

use super::footer;
pub use super::footer::{Position, Positions};

/// Why positions cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// A length above its limit.
    #[error("the {what} is {len} bytes, more than the {limit} that are accepted")]
    TooLarge {
        /// Which length.
        what: &'static str,
        /// As claimed, in bytes.
        len: u64,
        /// See [`limits`].
        limit: u64,
    },
    /// The three frames do not adjoin at the blob's end.
    #[error("table of contents, tar-split and footer do not adjoin at the end of the blob of {size} bytes")]
    Layout {
        /// The blob's size.
        size: u64,
    },
    /// The footer of the reference's versions 1.47 to 1.49, which says nothing of the tar-split and ends in zeros.
    #[error("the layer ends in the short zstd:chunked footer of 2023, which names no tar-split")]
    ShortFooter,
    /// The bytes there are no skippable frames of the stated lengths.
    #[error("the tail at byte {0} of the blob is not made of the three skippable frames that it should be")]
    Frames(u64),
    /// The footer inside the tail says something else than the annotations.
    #[error("the footer at the end of the blob contradicts the layer's annotations")]
    Footer,
}

/// A tail whose place in a blob makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    positions: Positions,
    size: u64,
}

/// The two contents of a tail, still compressed and unverified.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The compressed table of contents.
    pub toc: &'a [u8],
    /// The compressed tar-split.
    pub tar_split: &'a [u8],
}

impl Positions {
    /// Holds the positions against the limits and the blob's size.
    ///
    /// # Errors
    /// [`TailError`] when a length is too large or the frames do not adjoin at the end.
    pub fn check(self, size: u64) -> Result<Tail, TailError> {
        let Self { toc, tar_split } = self;
        for (what, len, limit) in [
            ("compressed table of contents", toc.compressed, limits::TOC_COMPRESSED),
            ("table of contents", toc.uncompressed, limits::TOC_UNCOMPRESSED),
            ("compressed tar-split", tar_split.compressed, limits::TAR_SPLIT_COMPRESSED),
            ("tar-split", tar_split.uncompressed, limits::TAR_SPLIT_UNCOMPRESSED),
        ] {
            if len > limit {
                return Err(TailError::TooLarge { what, len, limit });
            }
        }
        let next = |at: Position| at.offset.checked_add(at.compressed)?.checked_add(SKIPPABLE_HEADER);
        let adjoin = toc.offset >= SKIPPABLE_HEADER
            && toc.compressed > 0
            && tar_split.compressed > 0
            && next(toc) == Some(tar_split.offset)
            && next(tar_split).and_then(|at| at.checked_add(footer::LEN as u64)) == Some(size);
        let short = next(tar_split).and_then(|at| at.checked_add(footer::SHORT_LEN as u64)) == Some(size);
        if short && next(toc) == Some(tar_split.offset) {
            return Err(TailError::ShortFooter);
        }
        if adjoin { Ok(Tail { positions: self, size }) } else { Err(TailError::Layout { size }) }
    }
}

impl Tail {
    /// The bytes to fetch: from the first skippable frame's header to the end of the blob.
    pub fn span(&self) -> Span {
        Span::new(self.data_end(), self.size).expect("a checked tail is not empty")
    }

    /// Where the data frames end.
    pub fn data_end(&self) -> u64 {
        self.positions.toc.offset - SKIPPABLE_HEADER
    }

    /// The positions.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Takes the fetched bytes of [`Tail::span`] apart.
    ///
    /// # Errors
    /// [`TailError`] when they are not the three frames.
    pub fn split<'a>(&self, bytes: &'a [u8]) -> Result<Contents<'a>, TailError> {
        let framed = |len: u64| usize::try_from(len + SKIPPABLE_HEADER).unwrap_or(usize::MAX);
        let wrong = TailError::Frames(self.data_end());
        let (toc, rest) = bytes.split_at_checked(framed(self.positions.toc.compressed)).ok_or(wrong)?;
        let (tar_split, end) = rest.split_at_checked(framed(self.positions.tar_split.compressed)).ok_or(wrong)?;
        let toc = skippable_content(toc).ok_or(wrong)?;
        let tar_split = skippable_content(tar_split).ok_or(wrong)?;
        let footer = skippable_content(end).ok_or(wrong)?;
        match footer::read(footer) {
            Ok(positions) if positions == self.positions => Ok(Contents { toc, tar_split }),
            _ => Err(TailError::Footer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_frames_end_the_blob() {
        let at = |offset| Position { offset, compressed: 10, uncompressed: 20 };
        let positions = Positions { toc: at(100), tar_split: at(118) };
        assert_eq!(positions.check(200).unwrap().span(), Span::new(92, 200).unwrap());
        // As versions 1.47 to 1.49 of the reference end a blob.
        assert_eq!(positions.check(192), Err(TailError::ShortFooter));
        assert_eq!(positions.check(199), Err(TailError::Layout { size: 199 }));
        assert_eq!(Positions { toc: at(99), ..positions }.check(192), Err(TailError::Layout { size: 192 }));
    }
}
