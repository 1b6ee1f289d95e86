//! Reading: entry after entry, so that a hostile table costs no more memory than its text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::digest::Digest;

use super::Entry;

/// Why a text is not a table of contents.
#[derive(Debug, thiserror::Error)]
pub enum TocError<E> {
    /// Not JSON of the right shape.
    #[error("the table of contents does not parse: {0}")]
    Json(#[source] serde_json::Error),
    /// A version that does not exist.
    #[error("the table of contents has version {0}, only 1 is known")]
    Version(i64),
    /// Without the tar-split's digest nothing proves the tar-split.
    #[error("the table of contents names no tar-split")]
    NoTarSplit,
    /// The caller refused an entry.
    #[error(transparent)]
    Entry(E),
}

/// Reads `text`, hands every entry to `each`, and returns the digest of the compressed tar-split.
///
/// # Errors
/// [`TocError`]; its `Entry` variant holds what `each` refused with.
pub fn read<E>(text: &[u8], mut each: impl FnMut(Entry) -> Result<(), E>) -> Result<Digest, TocError<E>> {
    let mut refused = None;
    let mut take = |entry| match each(entry) {
        Ok(()) => true,
        Err(error) => {
            refused = Some(error);
            false
        }
    };
    let mut json = serde_json::Deserializer::from_slice(text);
    let head = json.deserialize_map(Toc { take: &mut take }).and_then(|head| json.end().map(|()| head));
    match (head, refused) {
        (_, Some(error)) => Err(TocError::Entry(error)),
        (Err(error), None) => Err(TocError::Json(error)),
        (Ok(Head { version: Some(1), tar_split: Some(digest) }), None) => Ok(digest),
        (Ok(Head { version: Some(1), tar_split: None }), None) => Err(TocError::NoTarSplit),
        (Ok(Head { version, .. }), None) => Err(TocError::Version(version.unwrap_or(0))),
    }
}

struct Head {
    version: Option<i64>,
    tar_split: Option<Digest>,
}

struct Toc<'a> {
    take: &'a mut dyn FnMut(Entry) -> bool,
}

impl<'de> Visitor<'de> for Toc<'_> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head { version: None, tar_split: None };
        let mut seen = false;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                "version" if head.version.is_some() => return Err(twice(&key)),
                "version" => head.version = Some(map.next_value()?),
                "tarSplitDigest" if head.tar_split.is_some() => return Err(twice(&key)),
                "tarSplitDigest" => head.tar_split = Some(map.next_value()?),
                "entries" if seen => return Err(twice(&key)),
                "entries" => {
                    seen = true;
                    map.next_value_seed(Entries { take: &mut *self.take })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(head)
    }
}

/// Readers differ in which of two equal keys they believe.
fn twice<E: serde::de::Error>(key: &str) -> E {
    E::custom(format_args!("the key {key:?} stands twice"))
}

struct Entries<'a> {
    take: &'a mut dyn FnMut(Entry) -> bool,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Go writes `null` for no entries at all.
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<Entry>()? {
            if !(self.take)(entry) {
                return Err(serde::de::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
