//! The images of a layout: `index.json`, changed under a lock and replaced whole.

use std::path::Path;

use crate::image::document::{self, Descriptor, Index, REF_NAME};
use crate::limits;

use super::files::{self, doing};
use super::{Layout, StoreError};

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it is.
    pub descriptor: Descriptor,
}

impl Named {
    /// What an entry of an index names.
    pub fn of(descriptor: Descriptor) -> Self {
        Self { name: descriptor.annotations.get(REF_NAME).cloned(), descriptor }
    }

    /// What people call it: its name, or its digest.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.descriptor.digest.to_string())
    }

    /// Whether people mean it by `name`: its name or its digest.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) || self.descriptor.digest.to_string() == name
    }
}

impl Layout {
    /// The layout's index.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or does not parse.
    pub fn index(&self) -> Result<Index, StoreError> {
        let path = self.index_path();
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let bytes = files::read_up_to(&path, limits::MANIFEST + 1).and_then(|bytes| bytes.ok_or_else(missing));
        Index::parse(&doing(bytes, "read", &path)?).map_err(|source| StoreError::Document { path, source })
    }

    /// The images of the layout.
    ///
    /// # Errors
    /// As [`Layout::index`].
    pub fn images(&self) -> Result<Vec<Named>, StoreError> {
        Ok(self.index()?.manifests.into_iter().map(Named::of).collect())
    }

    /// Finds an image by its name or digest; without a name, the only one there is.
    ///
    /// # Errors
    /// [`StoreError::NoImage`] or [`StoreError::Ambiguous`], listing the names.
    pub fn resolve(&self, name: Option<&str>) -> Result<Descriptor, StoreError> {
        choose(&self.images()?, name, self.root())
    }

    /// Gives an image a name, which it takes from any other.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_image(&self, name: &str, mut descriptor: Descriptor) -> Result<(), StoreError> {
        descriptor.annotations.insert(REF_NAME.into(), name.into());
        self.change_index(|index| {
            index.manifests.retain(|listed| listed.annotations.get(REF_NAME).map(String::as_str) != Some(name));
            index.manifests.push(descriptor);
        })
    }

    /// Takes a name away; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_image(&self, name: &str) -> Result<bool, StoreError> {
        let gone = self.remove_images(|image| image.name.as_deref() == Some(name))?;
        Ok(!gone.is_empty())
    }

    /// Takes entries out of the index, all at once, and returns them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_images(&self, mut goes: impl FnMut(&Named) -> bool) -> Result<Vec<Named>, StoreError> {
        let mut gone = Vec::new();
        self.change_index(|index| {
            index.manifests.retain(|listed| {
                let image = Named::of(listed.clone());
                let goes = goes(&image);
                gone.extend(goes.then_some(image));
                !goes
            });
        })?;
        Ok(gone)
    }

    /// Changes the index under its lock. What does not change is not written.
    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let _lock = self.lock_index()?;
        let old = self.index()?;
        let mut index = old.clone();
        change(&mut index);
        if index == old {
            return Ok(());
        }
        self.files().replace(&self.index_path(), &document::to_bytes(&index), &scratch)
    }
}

/// The image that people mean by `name`, of those in `path`; without a name, the only one there is.
///
/// # Errors
/// [`StoreError::NoImage`] or [`StoreError::Ambiguous`], listing the names.
pub fn choose(images: &[Named], name: Option<&str>, path: &Path) -> Result<Descriptor, StoreError> {
    let names = || images.iter().map(Named::label).collect();
    let path = || path.into();
    let Some(name) = name else {
        return match images {
            [] => Err(StoreError::NoImage { name: String::new(), path: path(), names: names() }),
            [first, rest @ ..] if rest.iter().all(|image| image.descriptor.digest == first.descriptor.digest) => {
                Ok(first.descriptor.clone())
            }
            _ => Err(StoreError::Ambiguous { path: path(), names: names() }),
        };
    };
    match images.iter().find(|image| image.is_called(name)) {
        Some(image) => Ok(image.descriptor.clone()),
        None => Err(StoreError::NoImage { name: name.into(), path: path(), names: names() }),
    }
}
