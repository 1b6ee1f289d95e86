//! certs.d: a folder for each registry, with the authorities that it is believed by and the certificates that it may be shown
//! (containers-certs.d(5)).

#![expect(clippy::disallowed_methods, reason = "io shell: the files of other tools")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::limits;

/// Where the folders of registries are.
#[derive(Clone, Debug, Default)]
pub struct CertificateFolders {
    /// The folder for all registries, instead of one for each.
    pub given: Option<PathBuf>,
    /// Folders with a folder for each registry; the first that has one counts.
    pub roots: Vec<PathBuf>,
}

/// Why a registry's certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its name promises.
    #[error("{} holds no certificate or key in PEM form", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A key that TLS knows nothing to do with, or of another certificate.
    #[error("the key in {} is not that of its certificate", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("{} is missing: a client certificate NAME.cert and its key NAME.key come together, authorities are called NAME.crt", .0.display())]
    Half(PathBuf),
}

impl CertificateFolders {
    /// The folders that podman and docker look in. `env` looks up an environment variable; `given` is the folder that was asked for.
    pub fn of_user(env: &dyn Fn(&str) -> Option<String>, given: Option<PathBuf>) -> Self {
        let home = env("HOME").filter(|home| !home.is_empty());
        let own = home.map(|home| PathBuf::from(home).join(".config/containers/certs.d"));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        Self { given, roots: own.into_iter().chain(system).collect() }
    }

    /// The folder of a registry, `host[:port]` as it is written in names.
    pub(super) fn of(&self, host: &str) -> Option<PathBuf> {
        if let Some(given) = &self.given {
            return Some(given.clone());
        }
        // A host from a redirect must not lead out of the folder.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if host.is_empty() || host.starts_with('.') || !host.bytes().all(fits) {
            return None;
        }
        self.roots.iter().map(|root| root.join(host)).find(|folder| folder.is_dir())
    }
}

/// The authorities in a folder: all `*.crt`.
pub(super) fn authorities(folder: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let mut all = Vec::new();
    for path in files(folder, "crt")? {
        let found = certificates(&path)?;
        if found.is_empty() {
            tracing::warn!("{} holds no certificate in PEM form, and nothing is trusted for its sake", path.display());
        }
        all.extend(found);
    }
    Ok(all)
}

/// The client certificates in a folder: each `*.cert` with its `*.key`, by name.
pub(super) fn identities(folder: &Path) -> Result<Vec<Arc<CertifiedKey>>, CertificateError> {
    let (paths, keys) = (files(folder, "cert")?, files(folder, "key")?);
    if let Some(alone) = keys.iter().map(|key| key.with_extension("cert")).find(|path| !paths.contains(path)) {
        return Err(CertificateError::Half(alone));
    }
    let identity = |path: PathBuf| {
        let key_path = path.with_extension("key");
        if !keys.contains(&key_path) {
            return Err(CertificateError::Half(key_path));
        }
        let chain = certificates(&path)?;
        if chain.is_empty() {
            return Err(CertificateError::Form { path, source: pem::Error::NoItemsFound });
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?);
        let key = key.map_err(|source| CertificateError::Form { path: key_path.clone(), source })?;
        let certified = CertifiedKey::from_der(chain, key, &super::provider());
        certified.map(Arc::new).map_err(|source| CertificateError::Key { path: key_path, source })
    };
    paths.into_iter().map(identity).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>();
    found.map_err(|source| CertificateError::Form { path: path.into(), source })
}

/// The files of a folder with an extension, by name. A folder that is gone or closed to us has none.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, CertificateError> {
    let fault = |source| CertificateError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            tracing::debug!("{} is passed over: {error}", folder.display());
            return Ok(Vec::new());
        }
        Err(error) => return Err(fault(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(fault)?;
    let mut files: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let fault = |source| CertificateError::Read { path: path.to_owned(), source };
    fs::File::open(path).and_then(|file| limits::read(file, limits::CERTIFICATE_FILE)).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_counts_and_none_leads_out() {
        let root = tempfile::tempdir().expect("a folder");
        let [first, second] = ["first", "second"].map(|name| root.path().join(name));
        for folder in [first.join("b.example"), second.join("a.example:5000"), second.join("b.example")] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let folders = CertificateFolders { given: None, roots: vec![first.clone(), second.clone()] };
        assert_eq!(folders.of("a.example:5000"), Some(second.join("a.example:5000")));
        assert_eq!(folders.of("b.example"), Some(first.join("b.example")));
        for none in ["a.example", "", ".", "..", "../second/b.example", "b.example/", "b\0"] {
            assert_eq!(folders.of(none), None, "{none:?}");
        }
        let given = CertificateFolders { given: Some(root.path().into()), ..folders };
        assert_eq!(given.of("c.example"), Some(root.path().into()));
    }

    #[test]
    fn halves_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(identities(folder.path()).expect("no certificate").is_empty());
        fs::write(folder.path().join("client.cert"), "x").expect("written");
        let error = identities(folder.path()).expect_err("no key").to_string();
        assert!(error.contains("client.key is missing"), "{error}");
        fs::rename(folder.path().join("client.cert"), folder.path().join("other.key")).expect("renamed");
        let error = identities(folder.path()).expect_err("no certificate").to_string();
        assert!(error.contains("other.cert is missing"), "{error}");
    }
}
