//! Which tags of which repositories a layout's `index.json` names.

use crate::image::Descriptor;
use crate::store::{Layout, StoreError};

use super::route::is_tag;

/// An entry of `index.json` that can be asked for by tag.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The repository, or `None` when the entry is a bare tag that belongs to every one.
    repository: Option<String>,
    /// The tag.
    tag: String,
    /// The manifest or index.
    descriptor: Descriptor,
}

/// All such entries, in the order of `index.json`.
#[derive(Clone, Debug)]
pub struct Catalog(Vec<Entry>);

impl Catalog {
    /// Reads `index.json`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn read(layout: &Layout) -> Result<Self, StoreError> {
        let entries = layout.images()?.into_iter().filter_map(|image| {
            let (repository, tag) = repository_and_tag(image.name.as_deref()?)?;
            Some(Entry { repository, tag, descriptor: image.descriptor })
        });
        Ok(Self(entries.collect()))
    }

    /// What a tag of a repository stands for. A name with that repository goes before a bare tag; among equals the entry that was
    /// added last wins.
    pub fn find(&self, repository: &str, tag: &str) -> Option<&Descriptor> {
        let find = |repository: Option<&str>| {
            let is_it = |entry: &&Entry| entry.repository.as_deref() == repository && entry.tag == tag;
            self.0.iter().rev().find(is_it).map(|entry| &entry.descriptor)
        };
        find(Some(repository)).or_else(|| find(None))
    }

    /// The tags of a repository in lexical order, each once.
    pub fn tags(&self, repository: &str) -> Vec<&str> {
        let belongs = |entry: &&Entry| entry.repository.as_deref().is_none_or(|own| own == repository);
        let mut tags: Vec<&str> = self.0.iter().filter(belongs).map(|entry| &entry.tag[..]).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

/// Takes a name apart: `new`, `app:new`, `host:5000/team/app:new`. The host is dropped, a name without tag means `latest`, and a
/// name that goes on with a digest only has no tag.
fn repository_and_tag(name: &str) -> Option<(Option<String>, String)> {
    let (name, digest) = name.split_once('@').map_or((name, None), |(name, digest)| (name, Some(digest)));
    let (path, last) = name.rsplit_once('/').map_or(("", name), |(path, last)| (path, last));
    let (last, tag) = match last.split_once(':') {
        Some((last, tag)) => (last, tag),
        None if digest.is_some() => return None,
        None if path.is_empty() => return is_tag(name).then(|| (None, name.into())),
        None => (last, "latest"),
    };
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let is_host = first.contains(['.', ':']) || first == "localhost";
    let path = if is_host { rest } else { path };
    let repository = if path.is_empty() { last.into() } else { format!("{path}/{last}") };
    is_tag(tag).then(|| (Some(repository), tag.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_layouts_come_apart() {
        let some = |repository: &str, tag: &str| Some((Some(repository.to_owned()), tag.to_owned()));
        for (name, expected) in [
            ("new", Some((None, "new".to_owned()))),
            ("app:new", some("app", "new")),
            ("team/app:new", some("team/app", "new")),
            ("127.0.0.1:5000/app:new", some("app", "new")),
            ("[::1]:5000/app:new", some("app", "new")),
            ("localhost/team/app:new", some("team/app", "new")),
            ("registry.example/team/app", some("team/app", "latest")),
            ("registry.example/app:new@sha256:00", some("app", "new")),
            ("registry.example/app@sha256:00", None),
            ("app@sha256:00", None),
            ("app:", None),
            ("", None),
            ("no tag at all", None),
            ("app:a:b", None),
        ] {
            assert_eq!(repository_and_tag(name), expected, "{name}");
        }
    }
}
