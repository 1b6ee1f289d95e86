//! How much disk an image may take.

use crate::limits;

use super::error::EntryFailure;

/// What is left for the content of files. Holes take none of it.
#[derive(Debug)]
pub struct Room {
    left: u64,
    limit: u64,
}

impl Room {
    /// So many bytes.
    pub const fn of(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    /// What an image may take whose blobs have so many bytes: far more than any honest one of that size does.
    pub const fn for_blobs(bytes: u64) -> Self {
        let many = bytes.saturating_mul(limits::UNPACKED_RATIO);
        Self::of(if many > limits::UNPACKED { many } else { limits::UNPACKED })
    }

    /// Takes room for bytes that are about to be written.
    ///
    /// # Errors
    /// [`EntryFailure::Room`] when there is not as much left.
    pub fn take(&mut self, bytes: usize) -> Result<(), EntryFailure> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or(EntryFailure::Room { limit: self.limit })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_image_has_room_enough_and_a_large_one_its_ratio() {
        for (blobs, limit) in [
            (0, limits::UNPACKED),
            (limits::UNPACKED / limits::UNPACKED_RATIO, limits::UNPACKED),
            (limits::UNPACKED, limits::UNPACKED * limits::UNPACKED_RATIO),
            (u64::MAX, u64::MAX),
        ] {
            let mut room = Room::for_blobs(blobs);
            room.take(usize::try_from(limit).unwrap()).unwrap();
            let refused = room.take(1).unwrap_err().to_string();
            assert!(refused.contains(&limit.to_string()), "{refused}");
        }
    }
}
