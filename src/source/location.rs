//! What people write for an image: `oci:DIR[:NAME]` or `docker://HOST/REPOSITORY[:TAG|@DIGEST]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::registry::{Reference, ReferenceError};

/// A place of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An image in an OCI layout; without a name, the only one there.
    Layout {
        /// The layout.
        dir: PathBuf,
        /// `org.opencontainers.image.ref.name` of the image.
        name: Option<String>,
    },
    /// An image in a registry.
    Registry(Reference),
}

/// Why a text is no place of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Neither of the two forms.
    #[error("{0:?} names no image: write oci:DIR[:NAME] or docker://HOST/REPOSITORY[:TAG|@DIGEST]")]
    Form(String),
    /// `docker://` and something that is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if let Some(reference) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(reference.parse()?));
        }
        let Some(rest) = text.strip_prefix("oci:") else { return Err(LocationError::Form(text.into())) };
        // As skopeo does: the first colon ends the folder, so that names may hold colons (127.0.0.1:5000/app:new).
        let (dir, name) = match rest.split_once(':') {
            Some((dir, name)) => (dir, Some(name)),
            None => (rest, None),
        };
        if dir.is_empty() || name == Some("") {
            return Err(LocationError::Form(text.into()));
        }
        Ok(Self::Layout { dir: dir.into(), name: name.map(str::to_owned) })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { dir, name: None } => write!(f, "oci:{}", dir.display()),
            Self::Layout { dir, name: Some(name) } => write!(f, "oci:{}:{name}", dir.display()),
            Self::Registry(reference) => write!(f, "docker://{reference}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_places() {
        for text in ["oci:dir", "oci:/a/b:old", "oci:store:127.0.0.1:5000/app:new", "docker://127.0.0.1:5000/app:new"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        for text in ["", "dir", "oci:", "oci::x", "oci:x:", "docker://", "docker://UPPER/case", "dir:/x"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
