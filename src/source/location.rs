//! What people write for an image: `oci:DIR[:NAME]`, `docker://HOST/REPOSITORY[:TAG|@DIGEST]`, `oci-archive:FILE[:NAME]` or
//! `docker-archive:FILE[:NAME]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::archive::Form;
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
    /// An image in an archive; without a name, the only one there.
    Archive {
        /// Which kind.
        form: Form,
        /// The archive.
        file: PathBuf,
        /// The image's name in it.
        name: Option<String>,
    },
}

/// Why a text is no place of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// None of the forms.
    #[error(
        "{0:?} names no image: write oci:DIR[:NAME], docker://HOST/REPOSITORY[:TAG|@DIGEST], oci-archive:FILE[:NAME] or \
         docker-archive:FILE[:NAME]"
    )]
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
        let Some((word, rest)) = text.split_once(':') else { return Err(LocationError::Form(text.into())) };
        // As skopeo does: the first colon ends the path, so that names may hold colons (127.0.0.1:5000/app:new).
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name)),
            None => (rest, None),
        };
        if path.is_empty() || name == Some("") {
            return Err(LocationError::Form(text.into()));
        }
        let name = name.map(str::to_owned);
        match word {
            "oci" => Ok(Self::Layout { dir: path.into(), name }),
            "oci-archive" => Ok(Self::Archive { form: Form::Oci, file: path.into(), name }),
            "docker-archive" => Ok(Self::Archive { form: Form::Docker, file: path.into(), name }),
            _ => Err(LocationError::Form(text.into())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { dir, name: None } => write!(f, "oci:{}", dir.display()),
            Self::Layout { dir, name: Some(name) } => write!(f, "oci:{}:{name}", dir.display()),
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::Archive { form, file, name: None } => write!(f, "{form}:{}", file.display()),
            Self::Archive { form, file, name: Some(name) } => write!(f, "{form}:{}:{name}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_places() {
        for text in [
            "oci:dir",
            "oci:/a/b:old",
            "oci:store:127.0.0.1:5000/app:new",
            "docker://127.0.0.1:5000/app:new",
            "oci-archive:a.tar",
            "oci-archive:/a/b.tar:new",
            "docker-archive:a.tar:127.0.0.1:5000/app:new",
            "docker-archive:a.tar:@0",
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "dir",
            "oci:",
            "oci::x",
            "oci:x:",
            "docker://",
            "docker://UPPER/case",
            "dir:/x",
            "oci-archive:",
            "docker-archive::x",
        ] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
