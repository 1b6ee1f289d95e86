//! SHA-256 digests, the only names that blobs, frames and chunks have here.

mod hasher;
mod lanes;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use hasher::Hasher;

/// A SHA-256 digest, written `sha256:<64 lower-case hex digits>` as in the OCI image specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest that chunkify can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is one that nothing here computes (the specification also registers sha512).
    #[error("digest algorithm {0:?} is not supported, only sha256 is")]
    Algorithm(String),
    /// Not 64 lower-case hex digits after the colon, or no colon at all.
    #[error("{0:?} is not a digest: expected sha256: and 64 lower-case hex digits")]
    Form(String),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digests of several messages, computed two at a time; see [`Hasher::update_both`].
    pub fn of_each(messages: &[&[u8]]) -> Vec<Self> {
        let mut digests = vec![Self([0; 32]); messages.len()];
        let mut waiting = messages.iter().copied().zip(&mut digests).map(|(left, slot)| (Hasher::new(), left, slot));
        let (mut one, mut other) = (waiting.next(), waiting.next());
        while let (Some((hasher, left, _)), Some((other_hasher, other_left, _))) = (&mut one, &mut other) {
            let (now, later) = left.split_at(left.len().min(other_left.len()));
            let (other_now, other_later) = other_left.split_at(now.len());
            hasher.update_both(now, other_hasher, other_now);
            (*left, *other_left) = (later, other_later);
            for lane in [&mut one, &mut other] {
                if let Some((hasher, _, slot)) = lane.take_if(|(_, left, _)| left.is_empty()) {
                    *slot = hasher.finish();
                    *lane = waiting.next();
                }
            }
        }
        for (mut hasher, left, slot) in one.into_iter().chain(other) {
            hasher.update(left);
            *slot = hasher.finish();
        }
        digests
    }

    /// Wraps 32 bytes that are already a SHA-256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without the algorithm: a blob's file name in an OCI layout.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        text
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// Reads 64 lower-case hex digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let bytes = hex.as_bytes();
        if bytes.len() != 64 {
            return None;
        }
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut out = [0; 32];
        for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *slot = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(out))
    }
}

/// Whether SHA-256 is computed by the processor's own instructions, which is found out at run time. Without them a conversion spends
/// about as much on digests as on compression.
pub fn has_instructions() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("sha2")
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("sha256:{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Self::from_hex(hex).ok_or_else(|| DigestError::Form(text.into())),
            Some((algorithm @ ("sha384" | "sha512" | "blake3"), _)) => Err(DigestError::Algorithm(algorithm.into())),
            _ => Err(DigestError::Form(text.into())),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in ["", "sha256:", "sha256:00", "e3b0", "sha256:../../etc/passwd", &digest.to_string().to_uppercase()] {
            assert!(matches!(bad.parse::<Digest>(), Err(DigestError::Form(_))), "{bad}");
        }
        assert!(matches!("sha512:00".parse::<Digest>(), Err(DigestError::Algorithm(_))));
    }
}
