//! The keys on a layer's descriptor. The only place where the keys' own words ("manifest" for the table of contents) are spoken.

use std::collections::BTreeMap;

use crate::digest::Digest;

use super::footer::TYPE_CRFS;
use super::tail::{Position, Positions};

/// Digest of the compressed table of contents.
pub const TOC_DIGEST: &str = "io.github.containers.zstd-chunked.manifest-checksum";
/// `offset:compressed:uncompressed:type` of the table of contents.
pub const TOC_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
/// `offset:compressed:uncompressed` of the tar-split.
pub const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";
/// Historical: the tar-split's digest is inside the table of contents now.
pub const TAR_SPLIT_DIGEST: &str = "io.github.containers.zstd-chunked.tarsplit-checksum";
/// The old dialect's digest of its table of contents.
pub const OLD_TOC_DIGEST: &str = "io.containers.zstd-chunked.manifest-checksum";
/// The old dialect's position of its table of contents.
pub const OLD_TOC_POSITION: &str = "io.containers.zstd-chunked.manifest-position";
/// eStargz's digest of its own table of contents, in gzip layers.
pub const ESTARGZ_TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// eStargz's other key.
pub const ESTARGZ_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// Every key that describes one particular compressed blob and is wrong for any other.
pub const OF_THE_BLOB: [&str; 8] = [
    TOC_DIGEST,
    TOC_POSITION,
    TAR_SPLIT_POSITION,
    TAR_SPLIT_DIGEST,
    OLD_TOC_DIGEST,
    OLD_TOC_POSITION,
    ESTARGZ_TOC_DIGEST,
    ESTARGZ_SIZE,
];

/// The annotations of a layer that can be pulled in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// Digest of the compressed table of contents.
    pub toc_digest: Digest,
    /// Where things are; not yet checked.
    pub positions: Positions,
}

/// Why a layer's annotations do not allow a partial pull.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationsError {
    /// None at all: an ordinary layer.
    #[error("the layer has no zstd:chunked annotations")]
    Absent,
    /// The dialect without tar-split.
    #[error("the layer is of the old zstd:chunked dialect, which has no tar-split")]
    OldDialect,
    /// The current keys, of the months before there was a tar-split.
    #[error("the layer was written before zstd:chunked had a tar-split")]
    NoTarSplit,
    /// An eStargz layer.
    #[error("the layer is eStargz, which has no tar-split")]
    Estargz,
    /// Both formats claimed at once: podman refuses such a layer.
    #[error("the layer claims to be zstd:chunked and eStargz at once")]
    Both,
    /// One key without the others.
    #[error("the annotation {0} is missing")]
    Missing(&'static str),
    /// A value that does not parse.
    #[error("the annotation {key} is {value:?}, which is malformed")]
    Malformed {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
}

impl Annotations {
    /// Reads a descriptor's annotations.
    ///
    /// # Errors
    /// [`AnnotationsError`]; `Absent` is the ordinary case.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, AnnotationsError> {
        let get = |key: &'static str| annotations.get(key);
        let chunked = get(TOC_DIGEST).is_some() || get(TOC_POSITION).is_some();
        match (chunked, get(ESTARGZ_TOC_DIGEST).is_some(), get(OLD_TOC_DIGEST).is_some()) {
            (true, true, _) => return Err(AnnotationsError::Both),
            (false, true, _) => return Err(AnnotationsError::Estargz),
            (false, false, true) => return Err(AnnotationsError::OldDialect),
            (false, false, false) => return Err(AnnotationsError::Absent),
            (true, false, _) => {}
        }
        let need = |key: &'static str| get(key).ok_or(AnnotationsError::Missing(key));
        let malformed = |key: &'static str, value: &String| AnnotationsError::Malformed { key, value: value.clone() };
        let digest = need(TOC_DIGEST)?;
        let toc_digest = digest.parse().map_err(|_| malformed(TOC_DIGEST, digest))?;
        let text = need(TOC_POSITION)?;
        let toc = match numbers(text)[..] {
            [Some(offset), Some(compressed), Some(uncompressed), Some(TYPE_CRFS)] => {
                Position { offset, compressed, uncompressed }
            }
            _ => return Err(malformed(TOC_POSITION, text)),
        };
        let text = get(TAR_SPLIT_POSITION).ok_or(AnnotationsError::NoTarSplit)?;
        let tar_split = match numbers(text)[..] {
            [Some(offset), Some(compressed), Some(uncompressed)] => Position { offset, compressed, uncompressed },
            _ => return Err(malformed(TAR_SPLIT_POSITION, text)),
        };
        Ok(Self { toc_digest, positions: Positions { toc, tar_split } })
    }

    /// Writes them into a descriptor's annotations, in place of any that described another blob.
    pub fn apply(&self, annotations: &mut BTreeMap<String, String>) {
        strip(annotations);
        let Positions { toc, tar_split } = &self.positions;
        annotations.insert(TOC_DIGEST.into(), self.toc_digest.to_string());
        annotations
            .insert(TOC_POSITION.into(), format!("{}:{}:{}:{TYPE_CRFS}", toc.offset, toc.compressed, toc.uncompressed));
        annotations.insert(
            TAR_SPLIT_POSITION.into(),
            format!("{}:{}:{}", tar_split.offset, tar_split.compressed, tar_split.uncompressed),
        );
    }
}

/// Takes away every annotation that describes one compressed blob.
pub fn strip(annotations: &mut BTreeMap<String, String>) {
    annotations.retain(|key, _| !OF_THE_BLOB.contains(&key.as_str()));
}

fn numbers(text: &str) -> Vec<Option<u64>> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    text.split(':').take(5).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
    }

    #[test]
    fn reads_what_it_writes_and_replaces_what_was_there() {
        let digest = Digest::of(b"toc");
        let position = |offset| Position { offset, compressed: 5, uncompressed: 9 };
        let ours =
            Annotations { toc_digest: digest, positions: Positions { toc: position(8), tar_split: position(21) } };
        let mut annotations = of(&[("org.example.kept", "yes"), (ESTARGZ_TOC_DIGEST, "x"), (TAR_SPLIT_DIGEST, "x")]);
        ours.apply(&mut annotations);
        assert_eq!(Annotations::parse(&annotations), Ok(ours));
        assert_eq!(annotations.len(), 4);
        assert_eq!(annotations[TOC_POSITION], "8:5:9:1");
        strip(&mut annotations);
        assert_eq!(annotations, of(&[("org.example.kept", "yes")]));
    }

    #[test]
    fn names_what_is_wrong() {
        let digest = Digest::of(b"").to_string();
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], "no zstd:chunked annotations"),
            (&[(OLD_TOC_DIGEST, "x")], "old zstd:chunked dialect"),
            (&[(ESTARGZ_TOC_DIGEST, "x")], "eStargz"),
            (&[(ESTARGZ_TOC_DIGEST, "x"), (TOC_DIGEST, &digest)], "at once"),
            (&[(TOC_DIGEST, "sha256:zz"), (TOC_POSITION, "1:2:3:1")], "malformed"),
            (&[(TOC_DIGEST, &digest)], "manifest-position is missing"),
            (&[(TOC_DIGEST, &digest), (TOC_POSITION, "1:2:3")], "malformed"),
            (&[(TOC_DIGEST, &digest), (TOC_POSITION, "1:2:3:2")], "malformed"),
            (&[(TOC_DIGEST, &digest), (TOC_POSITION, "+1:2:3:1")], "malformed"),
            (&[(TOC_DIGEST, &digest), (TOC_POSITION, "1:2:3:1")], "before zstd:chunked had a tar-split"),
            (
                &[(TOC_DIGEST, &digest), (TOC_POSITION, "1:2:3:1"), (TAR_SPLIT_POSITION, "1:2:99999999999999999999")],
                "malformed",
            ),
        ];
        for (pairs, expected) in cases {
            let error = Annotations::parse(&of(pairs)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
