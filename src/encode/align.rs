//! Where frames are put on block boundaries, so that file systems can share the blocks of two versions of a layer.
//!
//! A file system shares whole blocks, so bytes that two blobs have in common can be shared only where their offsets agree modulo the block
//! size. Behind the first change of a new version they do not. Now and then, chosen by content, a payload's first frame is therefore put
//! on a boundary, with a skippable frame of zeros before it: both versions choose the same frames, and from there on their offsets agree
//! until the next change.

use crate::digest::Digest;
use crate::zstd::frames::SKIPPABLE_HEADER;

/// The blocks of file systems that share them (XFS, btrfs), in bytes.
pub const BLOCK: u64 = 4096;

/// The content of the longest padding.
pub const ZEROS: [u8; 4096] = [0; 4096];

/// Decides before which frames there is padding.
#[derive(Debug)]
pub struct Aligner {
    /// See [`super::Settings::align`].
    spacing: Option<u64>,
    /// Where the last frame began that was chosen, in bytes.
    last: u64,
}

impl Aligner {
    /// One that has seen nothing.
    pub fn new(spacing: Option<u64>) -> Self {
        Self { spacing, last: 0 }
    }

    /// How long a skippable frame goes before a payload's first frame of `len` bytes, whose content has `digest` and which would begin at
    /// `position`; 0 for none.
    pub fn padding(&mut self, position: u64, len: u64, digest: &Digest) -> u64 {
        let Some(spacing) = self.spacing else { return 0 };
        if position - self.last < spacing / 4 || !chosen(digest, len, spacing) {
            return 0;
        }
        let padding = match position.next_multiple_of(BLOCK) - position {
            // No skippable frame is so short.
            short @ 1..SKIPPABLE_HEADER => short + BLOCK,
            padding => padding,
        };
        self.last = position + padding;
        padding
    }
}

/// By the digest alone, and the more probably the longer a frame is: as if each of its bytes were drawn.
fn chosen(digest: &Digest, len: u64, spacing: u64) -> bool {
    let [a, b, c, d, ..] = *digest.as_bytes();
    let drawn = u128::from(u32::from_be_bytes([a, b, c, d]));
    // A quarter of the spacing always passes before the next draw.
    drawn * u128::from(spacing) * 3 < (u128::from(len) * 4) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests() -> impl Iterator<Item = Digest> {
        (0_u32..).map(|n| Digest::of(&n.to_le_bytes()))
    }

    #[test]
    fn padding_ends_on_a_boundary_and_is_a_frame() {
        for at in (0..3 * BLOCK).chain([u64::from(u32::MAX) * 7 + 3]) {
            let mut aligner = Aligner::new(Some(0));
            let padding = aligner.padding(at, 1 << 20, &Digest::of(b""));
            assert_eq!((at + padding) % BLOCK, 0);
            assert!(padding == 0 || (SKIPPABLE_HEADER..BLOCK + SKIPPABLE_HEADER).contains(&padding), "{at}: {padding}");
        }
    }

    #[test]
    fn boundaries_lie_about_as_far_apart_as_was_asked() {
        for (spacing, len) in [(256 << 10, 2000), (256 << 10, 100_000), (1 << 20, 9000)] {
            let mut aligner = Aligner::new(Some(spacing));
            let (mut position, mut points) = (1, 0);
            for digest in digests().take(40_000) {
                let padding = aligner.padding(position, len, &digest);
                points += u64::from(padding > 0);
                position += padding + len;
            }
            let apart = position / points;
            assert!((spacing / 2..spacing * 2).contains(&apart), "{spacing}, frames of {len}: {apart}");
        }
        assert_eq!(Aligner::new(None).padding(1, u64::MAX, &Digest::of(b"")), 0);
    }

    /// Two streams that differ at first choose the same frames soon.
    #[test]
    fn after_a_change_the_same_frames_are_chosen() {
        let frames: Vec<_> = digests().take(20_000).collect();
        let chosen = |mut position: u64| {
            let mut aligner = Aligner::new(Some(64 << 10));
            let mut points = Vec::new();
            for (at, digest) in frames.iter().enumerate() {
                let padding = aligner.padding(position, 3001, digest);
                if padding > 0 {
                    points.push(at);
                }
                position += padding + 3001;
            }
            points
        };
        let (one, other) = (chosen(1), chosen(16_001));
        let same = one.iter().filter(|at| other.contains(at)).count();
        assert!(same * 10 > one.len() * 9, "{same} of {} and {}", one.len(), other.len());
    }
}
