//! The files that podman and docker keep logins in: `auth.json`, `config.json`, and the old `.dockercfg`.

#![expect(clippy::disallowed_methods, reason = "io shell: the files of other tools")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Credentials, CredentialsError, names_of};
use crate::limits;

/// A file with logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthPath {
    /// Where it is.
    pub path: PathBuf,
    /// `.dockercfg`: the file is what newer ones have below `auths`.
    pub legacy: bool,
}

impl From<PathBuf> for AuthPath {
    fn from(path: PathBuf) -> Self {
        Self { path, legacy: false }
    }
}

/// What such a file says. Everything else in it belongs to its owners.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthFile {
    auths: Option<BTreeMap<String, Auth>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthPath {
    /// Reads the file; `None` when there is none.
    pub(super) fn read(&self) -> Result<Option<AuthFile>, CredentialsError> {
        let Some(bytes) = read(&self.path)? else { return Ok(None) };
        AuthFile::parse(&bytes, self.legacy, &self.path).map(Some)
    }
}

impl AuthFile {
    /// `origin` is named in errors.
    pub(super) fn parse(bytes: &[u8], legacy: bool, origin: &Path) -> Result<Self, CredentialsError> {
        let json = |error: serde_json::Error| CredentialsError::Json { path: origin.to_owned(), line: error.line() };
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        if legacy {
            return Ok(Self { auths: serde_json::from_slice(bytes).map_err(json)?, ..Self::default() });
        }
        serde_json::from_slice(bytes).map_err(json)
    }

    /// The login for a repository (or, with an empty name, a registry). The longest key wins: `host/a/b` before `host/a` before `host`;
    /// docker's keys with a scheme count as their host.
    pub(super) fn login(&self, host: &str, name: &str) -> Option<Credentials> {
        let auths = self.auths.as_ref()?;
        let mut key = if name.is_empty() { host.to_owned() } else { format!("{host}/{name}") };
        while key.contains('/') {
            if let Some(found) = auths.get(&key).and_then(Auth::credentials) {
                return Some(found);
            }
            key.truncate(key.rfind('/')?);
        }
        let exact = names_of(host).into_iter().filter_map(|name| auths.get(name));
        let alike = auths.iter().filter(|(key, _)| names_of(host).contains(&host_of(key))).map(|(_, auth)| auth);
        exact.chain(alike).find_map(Auth::credentials)
    }

    /// The helper that keeps a registry's login, and the name that it knows the registry by.
    pub(super) fn helper<'a>(&'a self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let helpers = self.helpers.as_ref()?;
        names_of(host).into_iter().find_map(|name| Some((helpers.get(name)?.as_str(), name)))
    }

    /// The helper that keeps all other logins.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref().filter(|store| !store.is_empty())
    }
}

/// The host in a key with a scheme, such as `https://index.docker.io/v1/`; any other key as it is.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    bare.map_or(key, |rest| rest.split_once('/').map_or(rest, |(host, _)| host))
}

impl Auth {
    fn credentials(&self) -> Option<Credentials> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = set(&self.identitytoken) {
            return Some(Credentials::IdentityToken(token));
        }
        if let Some(token) = set(&self.registrytoken) {
            return Some(Credentials::RegistryToken(token));
        }
        if let Some(auth) = set(&self.auth) {
            let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            return text.trim_end_matches('\0').parse().ok();
        }
        Some(Credentials::Basic { username: set(&self.username)?, password: self.password.clone()? })
    }
}

/// Sets a registry's login. `true` when the file did not have it so already.
pub(super) fn set(path: &Path, key: &str, username: &str, password: &str) -> Result<(), CredentialsError> {
    edit(path, |file| {
        let auths = object(file, "auths");
        let auth = STANDARD.encode(format!("{username}:{password}"));
        auths.insert(key.to_owned(), serde_json::json!({ "auth": auth }));
        true
    })?;
    Ok(())
}

/// Removes logins by their keys. `true` when there was one.
pub(super) fn remove(path: &Path, keys: &[&str]) -> Result<bool, CredentialsError> {
    if read(path)?.is_none() {
        return Ok(false);
    }
    edit(path, |file| {
        let auths = object(file, "auths");
        let before = auths.len();
        auths.retain(|key, _| !keys.contains(&key.as_str()));
        auths.len() < before
    })
}

/// Removes every login. `true` when there was one.
pub(super) fn clear(path: &Path) -> Result<bool, CredentialsError> {
    if read(path)?.is_none() {
        return Ok(false);
    }
    edit(path, |file| {
        let auths = object(file, "auths");
        let some = !auths.is_empty();
        auths.clear();
        some
    })
}

/// A member that is an object, made when it is not there.
fn object<'a>(file: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let member = file.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    member.as_object_mut().expect("it was made an object")
}

/// Changes a file and keeps whatever else is in it. The new file takes the old one's place whole, is for its owner's eyes only, and two
/// that change it at once wait for each other.
fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<bool, CredentialsError> {
    let fault = |source| CredentialsError::Write { path: path.to_owned(), source };
    // A file that is a link stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder).map_err(fault)?;
    let lock = File::open(folder).map_err(fault)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|error| fault(error.into()))?;
    let bytes = read(path)?.unwrap_or_default();
    let mut file: Map<String, Value> = if bytes.trim_ascii().is_empty() {
        Map::new()
    } else {
        let json = |error: serde_json::Error| CredentialsError::Json { path: path.to_owned(), line: error.line() };
        serde_json::from_slice(&bytes).map_err(json)?
    };
    let changed = change(&mut file);
    if changed {
        write(path, folder, &file).map_err(fault)?;
    }
    Ok(changed)
}

/// As podman makes it: nobody else looks in.
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write(path: &Path, folder: &Path, file: &Map<String, Value>) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(file)?;
    text.push(b'\n');
    // Mode 0600 from the first moment.
    let mut new = tempfile::Builder::new().prefix(".auth-").tempfile_in(folder)?;
    new.write_all(&text)?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let fault = |source| CredentialsError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(missing) if matches!(missing.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(fault(error)),
    };
    limits::read(file, limits::CREDENTIALS_FILE).map(Some).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(json: &str, host: &str, name: &str) -> Option<Credentials> {
        AuthFile::parse(json.as_bytes(), false, Path::new("x")).expect("valid JSON").login(host, name)
    }

    fn basic(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic { username: username.into(), password: password.into() })
    }

    #[test]
    fn the_most_specific_key_wins() {
        // "u:p:q", then the same with NUL at the end.
        let json = r#"{"auths": {
            "r.example:5000": {"auth": "dTpwOnE="},
            "r.example:5000/team": {"username": "team", "password": "x"},
            "r.example:5000/team/app": {"identitytoken": "idt"},
            "https://index.docker.io/v1/": {"auth": "dTpwOnEA"},
            "https://old.example/v1/": {"auth": "dTpwOnE="},
            "empty.example": {}
        }, "credsStore": "desktop"}"#;
        assert_eq!(login(json, "r.example:5000", "other"), basic("u", "p:q"));
        assert_eq!(login(json, "r.example:5000", "teams/app"), basic("u", "p:q"));
        assert_eq!(login(json, "r.example:5000", "team/x/y"), basic("team", "x"));
        assert_eq!(login(json, "r.example:5000", "team/app"), Some(Credentials::IdentityToken("idt".into())));
        assert_eq!(login(json, "r.example:5000", ""), basic("u", "p:q"));
        assert_eq!(login(json, "docker.io", "library/a"), basic("u", "p:q"));
        assert_eq!(login(json, "old.example", "a"), basic("u", "p:q"));
        assert_eq!(login(json, "empty.example", "a"), None);
        assert_eq!(login(json, "r.example", "team/app"), None);
    }

    #[test]
    fn the_old_format_is_all_logins() {
        let file = AuthFile::parse(br#"{"https://r.example/v1/": {"auth": "dTpw"}}"#, true, Path::new("x"));
        assert_eq!(file.expect("valid JSON").login("r.example", "a"), basic("u", "p"));
    }

    #[test]
    fn an_edit_keeps_everything_else_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("new/auth.json"), folder.path().join("link.json"));
        set(&path, "a.example", "user", "pass").expect("a new file");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        fs::write(&path, r#"{"HttpHeaders":{"X":"1"},"auths":{"z.example":{"auth":"dTpw","email":"e"}},"a":1}"#)
            .expect("written");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        set(&link, "a.example", "user", "pass").expect("changed");
        let expected = r#"{"HttpHeaders":{"X":"1"},"auths":{"z.example":{"auth":"dTpw","email":"e"},"a.example":{"auth":"dXNlcjpwYXNz"}},"a":1}"#;
        let now: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        assert_eq!(now.to_string(), expected);
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink(), "a link stays a link");
        assert_eq!(mode(&path), 0o600);
        assert!(remove(&path, &["a.example"]).expect("changed"));
        assert!(!remove(&path, &["a.example"]).expect("nothing to change"));
        assert!(!remove(&folder.path().join("none"), &["a"]).expect("no file, no login"));
        let left: Vec<_> = fs::read_dir(path.parent().expect("a folder")).expect("listed").collect();
        assert_eq!(left.len(), 1, "no temporary file stays: {left:?}");
        fs::write(&path, "{\"auths\": hunter2").expect("written");
        let error = set(&path, "a.example", "user", "pass").expect_err("a broken file is not overwritten");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
