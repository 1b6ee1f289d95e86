//! The files of registries.conf: which there are, what they say, and how they add up.

#![expect(clippy::disallowed_methods, reason = "io shell: the files of other tools")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfFault, Entry, Mirror, Registries, RegistriesError, Serves};
use crate::limits;

/// As it is written. Whatever else is in a file is for others.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Wire {
    registry: Vec<WireRegistry>,
    credential_helpers: Option<Vec<String>>,
    /// Version 1.
    registries: Option<WireOld>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct WireRegistry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: Option<String>,
    mirror: Vec<WireMirror>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct WireMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireOld {
    insecure: WireList,
    block: WireList,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireList {
    registries: Vec<String>,
}

/// Reads the files that this user's tools read, later ones over earlier ones.
pub(super) fn load(env: &dyn Fn(&str) -> Option<String>) -> Result<Registries, RegistriesError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("HOME").map(|home| home.join(".config/containers"));
    let system = Path::new("/etc/containers");
    let given = set("CONTAINERS_REGISTRIES_CONF").or_else(|| set("REGISTRIES_CONFIG_PATH"));
    let of_user = own.as_ref().map(|own| own.join("registries.conf")).filter(|file| file.exists());
    // A user's file stands for the system's, drop-ins included; a file that was asked for must be there.
    let (file, must_be, folders) = match (given, of_user) {
        (Some(given), _) => (given, true, vec![Some(system), own.as_deref()]),
        (None, Some(file)) => (file, true, vec![own.as_deref()]),
        (None, None) => (system.join("registries.conf"), false, vec![Some(system), own.as_deref()]),
    };
    let mut registries = match read(&file) {
        Ok(text) => parse(&text, &file, false)?,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound && !must_be => Registries::default(),
        Err(source) => return Err(RegistriesError::Read { path: file, source }),
    };
    for folder in folders.into_iter().flatten() {
        for path in drop_ins(&folder.join("registries.conf.d"))? {
            match read(&path) {
                Ok(text) => registries.update(parse(&text, &path, true)?),
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(RegistriesError::Read { path, source }),
            }
        }
    }
    Ok(registries)
}

fn read(path: &Path) -> io::Result<String> {
    let text = limits::read(fs::File::open(path)?, limits::REGISTRIES_CONF)?;
    String::from_utf8(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The `*.conf` files of a folder, by name.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, RegistriesError> {
    let fault = |source| RegistriesError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(fault)?;
    let mut files: Vec<_> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf") && !path.is_dir())
        .collect();
    files.sort();
    Ok(files)
}

/// Reads one file.
pub(super) fn parse(text: &str, path: &Path, drop_in: bool) -> Result<Registries, RegistriesError> {
    let wire: Wire = toml::from_str(text).map_err(|error| syntax(text, path, &error))?;
    let fault = |fault| RegistriesError::Fault { path: path.to_owned(), fault };
    let tables = match wire.registries {
        Some(_) if drop_in => return Err(fault(ConfFault::OldDropIn)),
        Some(_) if !wire.registry.is_empty() || wire.credential_helpers.is_some() => {
            return Err(fault(ConfFault::Mixed));
        }
        Some(old) => from_old(old),
        None => wire.registry,
    };
    let mut entries: Vec<Entry> = Vec::new();
    for table in tables {
        entries.push(entry(table, path).map_err(fault)?);
    }
    check_conflicts(&entries).map_err(fault)?;
    // Of two entries with one prefix the first counts.
    let mut first = BTreeMap::new();
    for entry in entries {
        first.entry(entry.prefix.clone()).or_insert(entry);
    }
    let helper = |name: &String| name.parse().map_err(|_| fault(ConfFault::Helper(name.clone())));
    let helpers = wire.credential_helpers.map(|names| names.iter().map(helper).collect()).transpose()?;
    Ok(Registries { entries: first.into_values().collect(), helpers })
}

fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> RegistriesError {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
    let message = format!("line {line}: {}", error.message().replace('\n', " "));
    RegistriesError::Syntax { path: path.to_owned(), message }
}

fn from_old(old: WireOld) -> Vec<WireRegistry> {
    let mut by_location: BTreeMap<String, WireRegistry> = BTreeMap::new();
    for location in &old.insecure.registries {
        by_location.entry(location.clone()).or_default().insecure = true;
    }
    for location in &old.block.registries {
        by_location.entry(location.clone()).or_default().blocked = true;
    }
    by_location.into_iter().map(|(location, table)| WireRegistry { location, ..table }).collect()
}

fn entry(table: WireRegistry, path: &Path) -> Result<Entry, ConfFault> {
    let location = bare(&table.location)?;
    let prefix = if table.prefix.is_empty() { location.clone() } else { bare(&table.prefix)? };
    let wild = prefix.starts_with("*.");
    if prefix.is_empty() {
        return Err(ConfFault::Nameless);
    }
    if wild && prefix.contains(['/', '@', ':']) {
        return Err(ConfFault::Wildcard(prefix));
    }
    if location.is_empty() && !wild {
        return Err(ConfFault::NoLocation(prefix));
    }
    if table.pull_from_mirror.is_some() {
        return Err(ConfFault::PullFromMirror(prefix));
    }
    let mut mirrors = Vec::new();
    for mirror in table.mirror {
        mirrors.push(checked_mirror(mirror, &prefix, table.mirror_by_digest_only)?);
    }
    let (insecure, blocked) = (table.insecure, table.blocked);
    Ok(Entry { prefix, location, insecure, blocked, mirrors, file: path.to_owned() })
}

fn checked_mirror(mirror: WireMirror, prefix: &str, by_digest_only: bool) -> Result<Mirror, ConfFault> {
    let location = bare(&mirror.location)?;
    if location.is_empty() {
        return Err(ConfFault::MirrorLocation(prefix.to_owned()));
    }
    let serves = match mirror.pull_from_mirror.as_deref() {
        None | Some("") if by_digest_only => Serves::Digests,
        None | Some("") => Serves::All,
        Some("all") if !by_digest_only => Serves::All,
        Some("digest-only") if !by_digest_only => Serves::Digests,
        Some("tag-only") if !by_digest_only => Serves::Tags,
        Some(_) => return Err(ConfFault::PullFromMirror(location)),
    };
    Ok(Mirror { location, insecure: mirror.insecure, serves })
}

fn bare(text: &str) -> Result<String, ConfFault> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(ConfFault::Scheme(text.to_owned()));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Entries that lead to one place must agree on how far it is trusted.
fn check_conflicts(entries: &[Entry]) -> Result<(), ConfFault> {
    let mut seen: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for entry in entries {
        let place = if entry.location.is_empty() { &entry.prefix } else { &entry.location };
        let said = (entry.insecure, entry.blocked);
        if *seen.entry(place).or_insert(said) != said {
            return Err(ConfFault::Conflict(place.clone()));
        }
    }
    Ok(())
}

impl Registries {
    /// Takes in what a later file says: entries by their prefix, the rest as a whole.
    fn update(&mut self, later: Self) {
        for entry in later.entries {
            self.entries.retain(|old| old.prefix != entry.prefix);
            self.entries.push(entry);
        }
        if later.helpers.is_some() {
            self.helpers = later.helpers;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::reference::Repository;
    use crate::registry::sources::By;

    #[test]
    fn files_add_up_and_a_users_file_stands_for_the_systems() {
        let home = tempfile::tempdir().expect("a folder");
        let own = home.path().join(".config/containers");
        fs::create_dir_all(own.join("registries.conf.d/nested.conf")).expect("folders");
        let write = |name: &str, text: &str| fs::write(own.join(name), text).expect("written");
        write(
            "registries.conf",
            "credential-helpers = ['a']\n[[registry]]\nlocation = 'x.example'\n[[registry]]\nlocation = 'y.example'",
        );
        write("registries.conf.d/2.conf", "[[registry]]\nprefix = 'x.example'\nlocation = 'two.example'");
        write("registries.conf.d/1.conf", "[[registry]]\nprefix = 'x.example'\nlocation = 'one.example'");
        write("registries.conf.d/0.txt", "this is no TOML");
        let env = |name: &str| (name == "HOME").then(|| home.path().display().to_string());
        let registries = load(&env).expect("readable");
        let place = |name: &str| {
            let (host, path) = name.split_once('/').expect("host and path");
            let repo = Repository::new(host, path).expect("a name");
            registries.places(&repo, By::Tag).expect("places")[0].repo.to_string()
        };
        assert_eq!((place("x.example/a"), place("y.example/a")), ("two.example/a".into(), "y.example/a".into()));
        assert_eq!(registries.credential_sources().len(), 1);
        let asked = |name: &str| match name {
            "CONTAINERS_REGISTRIES_CONF" => Some("/nowhere/registries.conf".to_owned()),
            other => env(other),
        };
        assert!(matches!(load(&asked), Err(RegistriesError::Read { .. })), "a file that was asked for must be there");
    }
}
