//! The outside of zstd frames: magic numbers and skippable frames (RFC 8878, section 3.1).

/// The first four bytes of a frame of data.
pub const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The first four bytes of the skippable frames that zstd:chunked writes. Readers skip any of `50..=5f 2a 4d 18`.
pub const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// Magic and length in front of a skippable frame's content, in bytes.
pub const SKIPPABLE_HEADER: u64 = 8;

/// The header of a skippable frame with `len` bytes of content; `None` when the format cannot say that length.
pub fn skippable_header(len: u64) -> Option<[u8; 8]> {
    let len = u32::try_from(len).ok()?.to_le_bytes();
    let [a, b, c, d] = SKIPPABLE_MAGIC;
    Some([a, b, c, d, len[0], len[1], len[2], len[3]])
}

/// The content of the skippable frame that is exactly `frame`, or `None` when it is no such frame.
pub fn skippable_content(frame: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    let (len, content) = rest.split_first_chunk::<4>()?;
    let fits = *magic == SKIPPABLE_MAGIC && usize::try_from(u32::from_le_bytes(*len)) == Ok(content.len());
    fits.then_some(content)
}

/// Whether `bytes` begin like a zstd stream: a frame of data or a skippable one.
pub fn looks_like_zstd(bytes: &[u8]) -> bool {
    match bytes.first_chunk::<4>() {
        Some(&FRAME_MAGIC) => true,
        Some(&[first, 0x2a, 0x4d, 0x18]) => (0x50..=0x5f).contains(&first),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skippable_frames_are_exact() {
        let mut frame = skippable_header(3).unwrap().to_vec();
        frame.extend(b"abc");
        assert_eq!(skippable_content(&frame), Some(&b"abc"[..]));
        assert_eq!(skippable_content(&frame[..10]), None, "short");
        frame.push(0);
        assert_eq!(skippable_content(&frame), None, "long");
        assert_eq!(skippable_header(1 << 32), None);
        assert!(looks_like_zstd(&[0x5f, 0x2a, 0x4d, 0x18]) && !looks_like_zstd(&[0x1f, 0x8b, 8, 0]));
    }
}
