//! The story with registries that ask who one is: logged in, pushed, pulled, updated, and refused where that is due.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::scenario::{MADE, Pair};
use crate::support::command::{Ran, chunkify};
use crate::support::guarded::{Asks, Guarded, Kind, PASSWORD, USER};
use crate::support::layout::{self, Image};
use crate::support::relay::Relay;
use crate::support::report::Report;

/// A user's home and what runs in it.
struct Home {
    folder: TempDir,
    more: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Home {
    fn new(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let more = if tls { Vec::new() } else { vec!["--plain-http".to_owned()] };
        Self { folder, more, env: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let file = self.path("input");
        std::fs::write(&file, input).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_chunkify"));
        // What is kept in a file is forgotten without a connection.
        let more = if arguments.contains(&"logout") { &[] } else { &self.more[..] };
        command.args(arguments).args(more).env_clear().env("HOME", self.folder.path());
        command.env("PATH", std::env::var_os("PATH").expect("a PATH")).env("XDG_RUNTIME_DIR", self.path("run"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(std::fs::File::open(file).expect("it was written")).stderr(Stdio::piped()).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (line, status) = (format!("{command:?}"), output.status);
        Ran {
            line,
            success: status.success(),
            code: status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Makes the authority known for a registry.
    fn trust(&self, host: &str, authority: &Path) {
        let folder = self.path(".config/containers/certs.d").join(host);
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder).expect("made");
        std::fs::copy(authority, folder.join("ca.crt")).expect("copied");
    }

    /// Pulls into a store, and holds the store against what was pushed.
    fn pull(&self, pair: &Pair, name: &str, tag: &str) -> Report {
        let (store, report) = (self.path("store"), self.path("report.json"));
        let image = format!("docker://{name}:{tag}");
        let (store_text, report_text) = (store.display().to_string(), report.display().to_string());
        self.run(&["pull", &image, "--store", &store_text, "--report", &report_text], "").ok();
        layout::check_blobs(&store);
        let (pushed, stored) = (Image::read(pair.dir(), tag), Image::read(&store, &format!("{name}:{tag}")));
        assert_eq!(pushed.digest, stored.digest);
        Report::read(&report)
    }
}

/// The whole story.
#[track_caller]
pub fn tell(kind: Kind, asks: Asks, tls: bool) {
    let registry = Guarded::start(kind, asks, tls);
    let home = Home::new(tls);
    let host = registry.address().to_string();
    let name = format!("{host}/team/app");
    let login = ["login", &host, "--username", USER, "--password-stdin"];
    if tls {
        let refused = home.run(&login, PASSWORD).refused();
        assert!(refused.stderr.contains(&format!("certs.d/{host}/ca.crt")), "{}", refused.stderr);
        home.trust(&host, &registry.authority());
    }
    let push = |tag: &str| home.run(&["push", &MADE.source(tag), &format!("docker://{name}:{tag}")], "");
    let refused = push("old").refused();
    assert!(refused.stderr.contains("401") && !refused.stderr.contains(PASSWORD), "{}", refused.stderr);
    let refused = home.run(&login, "wrong").refused();
    assert!(refused.stderr.contains("not logged in"), "{}", refused.stderr);
    home.run(&login, PASSWORD).ok();
    push("old").ok();
    push("new").ok();
    let first = home.pull(&MADE, &name, "old");
    assert_eq!(first.reused(), 0, "{first:?}");
    let second = home.pull(&MADE, &name, "new");
    assert!(second.layers.iter().any(|layer| layer.mode == "partial"), "{second:?}");
    // zot does not say in its log what it was spoken to in.
    if tls && kind != Kind::Zot {
        assert!(registry.log().contains("HTTP/2"), "HTTP/2 is spoken where it is offered:\n{}", registry.log());
    }
    if asks == Asks::Token {
        // An identity token instead of the password.
        let file = home.path("identity.json");
        std::fs::write(&file, format!("{{\"auths\":{{\"{host}\":{{\"identitytoken\":\"identity-token\"}}}}}}"))
            .expect("written");
        let image = format!("docker://{name}:new");
        home.run(&["inspect", &image, "--authfile", &file.display().to_string()], "").ok();
    }
    home.run(&["logout", &host], "").ok();
    home.run(&["inspect", &format!("docker://{name}:new")], "").refused();
}

/// A registry that talks only to who shows a certificate: the one in certs.d is shown, and its lack is named.
#[track_caller]
pub fn tell_with_a_client_certificate() {
    let registry = Guarded::for_certified_clients();
    let home = Home::new(true);
    let host = registry.address().to_string();
    let name = format!("{host}/team/app");
    let login = || home.run(&["login", &host, "--username", USER, "--password-stdin"], PASSWORD);
    home.trust(&host, &registry.authority());
    let refused = login().refused();
    assert!(refused.stderr.contains(&format!("certs.d/{host}/client.cert")), "the remedy: {}", refused.stderr);
    let folder = home.path(".config/containers/certs.d").join(&host);
    let show = |pair: [PathBuf; 2], name: &str| {
        for (from, extension) in pair.iter().zip(["cert", "key"]) {
            std::fs::copy(from, folder.join(format!("{name}.{extension}"))).expect("copied");
        }
    };
    // Of several certificates, the one that the registry believes is shown, wherever it stands.
    show(registry.stranger(), "another");
    login().refused();
    show(registry.client(), "client");
    login().ok();
    for tag in ["old", "new"] {
        home.run(&["push", &MADE.source(tag), &format!("docker://{name}:{tag}")], "").ok();
    }
    home.pull(&MADE, &name, "old");
    let update = home.pull(&MADE, &name, "new");
    assert!(update.layers.iter().any(|layer| layer.mode == "partial"), "{update:?}");
}

/// `SSL_CERT_FILE` instead of certs.d, and everything through a proxy.
#[track_caller]
pub fn tell_through_a_proxy(kind: Kind) {
    let registry = Guarded::start(kind, Asks::Password, true);
    let mut home = Home::new(true);
    let proxy = Relay::proxy();
    home.env.push(("SSL_CERT_FILE", registry.authority().display().to_string()));
    home.env.push(("HTTPS_PROXY", format!("http://proxy-user:proxy-pass@{}", proxy.address())));
    let name = format!("{}/team/app", registry.address());
    let creds = format!("{USER}:{PASSWORD}");
    home.env.push(("CHUNKIFY_CREDS", creds));
    let pushed = home.run(&["push", "-vv", &MADE.source("old"), &format!("docker://{name}:old")], "").ok();
    assert!(!pushed.stderr.contains("proxy-pass") && !pushed.stderr.contains(PASSWORD), "{}", pushed.stderr);
    home.pull(&MADE, &name, "old");
    let tunnels = proxy.heads();
    assert!(!tunnels.is_empty());
    for head in &tunnels {
        assert!(head.starts_with(&format!("CONNECT {} ", registry.address())), "{head}");
        assert!(head.to_lowercase().contains("proxy-authorization: basic"), "{head}");
    }
    home.env.push(("NO_PROXY", "127.0.0.0/8".to_owned()));
    home.run(&["inspect", &format!("docker://{name}:old")], "").ok();
    assert_eq!(proxy.heads().len(), tunnels.len(), "NO_PROXY is heeded");
}

/// A large blob whose connection breaks on the way. How much is sent again depends on what the registry kept.
#[track_caller]
pub fn tell_of_a_broken_push(registry: std::net::SocketAddr, at_most_again: u64) {
    const SIZE: u64 = 100 << 20;
    let layout = tempfile::tempdir().expect("a temporary folder can be made");
    let noise: Vec<u8> = (0..SIZE).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    layout::write_image(layout.path(), "large", &[noise], layout::Form::Tar);
    let relay = Relay::that_cuts(registry, 45 << 20);
    let image = format!("docker://{}/team/large:new", relay.address());
    let source = format!("oci:{}:large", layout.path().display());
    let pushed = chunkify(&["push", "-vv", "--plain-http", &source, &image]).ok();
    assert!(relay.was_cut(), "the connection was broken");
    let sent = relay.bytes_up();
    assert!(sent >= SIZE, "{sent} bytes");
    assert!(sent <= SIZE + at_most_again, "{sent} bytes went up for {SIZE}:\n{}", pushed.stderr);
    let store = layout.path().join("store");
    let pull = ["pull", "--plain-http", &image, "--store", &store.display().to_string()].map(str::to_owned);
    chunkify(&pull).ok();
    layout::check_blobs(&store);
}
