//! Names, logins and settings.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use chunkify::limits;
use chunkify::registry::Reference;

use crate::support::command::{Ran, run};

fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error| format!("{error}"))
}

pub fn name() {
    // Host, slash and repository.
    let named = |len: usize| reference(&format!("h.example/{}:1", "a".repeat(len - "h.example/".len())));
    named(limits::NAME).unwrap();
    named(limits::NAME + 1).unwrap_err();
}

pub fn tag() {
    let tagged = |len: usize| reference(&format!("h.example/app:{}", "t".repeat(len)));
    tagged(limits::TAG).unwrap();
    tagged(limits::TAG + 1).unwrap_err();
}

/// What every file is read with.
pub fn any_file() {
    let read = |len: u64| limits::read(&vec![b' '; usize::try_from(len).unwrap()][..], limits::HOSTS_FILE);
    assert_eq!(read(limits::HOSTS_FILE).unwrap().len() as u64, limits::HOSTS_FILE);
    let refused = read(limits::HOSTS_FILE + 1).unwrap_err();
    assert!(refused.to_string().contains("more than the 1048576 bytes"), "{refused}");
}

/// Writes a text with as many spaces behind it as make it so long.
fn padded(path: &Path, text: &str, len: u64) {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(usize::try_from(len).unwrap(), b' ');
    fs::write(path, bytes).unwrap();
}

/// Asks who is logged in at a registry.
fn get_login(folder: &Path, more: &[&str]) -> Ran {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
    command.args(["login", "h.example", "--get-login", "--authfile"]).arg(folder.join("auth.json")).args(more);
    run(command.env("PATH", path).env("HOME", "/nonexistent").env("XDG_CACHE_HOME", "/dev/null"))
}

pub fn credentials_file() {
    let folder = tempfile::tempdir().unwrap();
    for (len, fits) in [(limits::CREDENTIALS_FILE, true), (limits::CREDENTIALS_FILE + 1, false)] {
        padded(&folder.path().join("auth.json"), r#"{"auths":{"h.example":{"auth":"dXNlcjpwYXNz"}}}"#, len);
        let ran = get_login(folder.path(), &[]);
        assert_eq!(ran.success, fits, "{ran:?}");
        assert!(fits || ran.stderr.contains("more than the 1048576 bytes"), "{}", ran.stderr);
    }
}

pub fn helper_answer() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auth.json"), r#"{"credHelpers":{"h.example":"padded"}}"#).unwrap();
    let helper = folder.path().join("docker-credential-padded");
    fs::write(&helper, "#!/bin/sh\ncat >/dev/null\ncat \"$(dirname \"$0\")/answer\"\n").unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    for (len, fits) in [(limits::HELPER_ANSWER, true), (limits::HELPER_ANSWER + 1, false)] {
        padded(&folder.path().join("answer"), r#"{"ServerURL":"h.example","Username":"user","Secret":"word"}"#, len);
        let ran = get_login(folder.path(), &[]);
        assert_eq!(ran.success, fits, "{ran:?}");
        assert!(fits || ran.stderr.contains("more than the 1048576 bytes"), "{}", ran.stderr);
    }
}

/// A pull that fails at the file, or gets as far as the registry, which is not there.
fn pull(folder: &Path, conf: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
    command.args(["pull", "docker://127.0.0.1:1/app:1", "--store"]).arg(folder.join("store")).args(arguments);
    run(command.env("CONTAINERS_REGISTRIES_CONF", conf).env("HOME", "/nonexistent").env("XDG_CACHE_HOME", "/dev/null"))
        .refused()
        .stderr
}

pub fn registries_conf() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registries.conf");
    for (len, fits) in [(limits::REGISTRIES_CONF, true), (limits::REGISTRIES_CONF + 1, false)] {
        padded(&file, "", len);
        let said = pull(folder.path(), file.to_str().unwrap(), &["--plain-http"]);
        assert_eq!(said.contains("more than the 4194304 bytes"), !fits, "{said}");
    }
}

pub fn certificate_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    for (len, fits) in [(limits::CERTIFICATE_FILE, true), (limits::CERTIFICATE_FILE + 1, false)] {
        padded(&file, "", len);
        let said = pull(folder.path(), "/dev/null", &["--cert-dir", folder.path().to_str().unwrap()]);
        assert_eq!(said.contains("more than the 8388608 bytes"), !fits, "{said}");
    }
}
