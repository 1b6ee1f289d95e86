//! Running the product and the other commands that tests compare it with.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a finished command said.
#[derive(Debug)]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// Whether its exit code was 0.
    pub success: bool,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The same, after a test that the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.success, "{} failed with {:?}:\n{}{}", self.line, self.code, self.stdout, self.stderr);
        self
    }

    /// The same, after a test that the command said no by itself: with an exit code, and a word about why.
    #[track_caller]
    pub fn refused(self) -> Self {
        assert!(!self.success, "{} should have failed:\n{}{}", self.line, self.stdout, self.stderr);
        assert_ne!(self.code, Some(101), "{} panicked:\n{}", self.line, self.stderr);
        assert!(self.code.is_some(), "{} was killed", self.line);
        assert!(!self.stderr.trim().is_empty(), "{} failed without a word", self.line);
        self
    }
}

/// Variables by which a user's logins and registries would come in.
const OF_THE_USER: [&str; 7] = [
    "CHUNKIFY_CREDS",
    "CONTAINERS_REGISTRIES_CONF",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "REGISTRIES_CONFIG_PATH",
    "REGISTRY_AUTH_FILE",
    "XDG_CONFIG_HOME",
];

/// Runs `chunkify` with `arguments`, without the user's credentials and proxies.
#[track_caller]
pub fn chunkify<S: AsRef<OsStr>>(arguments: &[S]) -> Ran {
    chunkify_with(arguments, None)
}

/// The same; what is learned about hosts is kept in a folder. Without one it is forgotten, since the next server on a port is another.
#[track_caller]
pub fn chunkify_with<S: AsRef<OsStr>>(arguments: &[S], memory: Option<&Path>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
    command.args(arguments).env("NO_PROXY", "*").env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", "/nonexistent");
    for name in OF_THE_USER {
        command.env_remove(name);
    }
    run(command.env("XDG_CACHE_HOME", memory.unwrap_or(Path::new("/dev/null"))))
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let line = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { line, success: status.success(), code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// What the plain `zstd -dc` makes of a file.
#[track_caller]
pub fn zstd_decompressed(path: &Path) -> Vec<u8> {
    let output = Command::new("zstd")
        .arg("-dcq")
        .arg("--")
        .stdin(std::fs::File::open(path).expect("the blob is there"))
        .output();
    let output = output.expect("the zstd command is needed: install the zstd package");
    assert!(output.status.success(), "zstd -dc {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout
}
