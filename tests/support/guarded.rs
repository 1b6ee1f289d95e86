//! Real registries that ask who one is, and show a certificate of an authority that only this test knows.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::command::run;
use super::peers::{self, Server};

/// The one user there is.
pub const USER: &str = "user";
/// That user's password; with a colon, as passwords may have one.
pub const PASSWORD: &str = "pa:ss-word";
/// What `htpasswd -nbB user pa:ss-word` made of it.
const HTPASSWD: &str = "user:$2y$05$3atcWSFNiiKOgFRxas8qoOW3kQfM8AxddcM5V2AP5lvoRKSHGX6h6\n";

/// How a registry asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// For user and password.
    Password,
    /// For a token of a token server.
    Token,
}

/// Which registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// distribution 3, as `make peers` builds it.
    Distribution3,
    /// distribution 2.8, as Debian has it.
    Distribution2,
    /// The zot that was given.
    Zot,
}

/// Who shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Off,
    Server,
    Mutual,
}

/// A registry with its authority and token server; they end with this value.
pub struct Guarded {
    server: Server,
    work: TempDir,
    _tokens: Option<Tokens>,
}

impl Guarded {
    /// Starts one.
    #[track_caller]
    pub fn start(kind: Kind, asks: Asks, tls: bool) -> Self {
        Self::with(kind, asks, if tls { Tls::Server } else { Tls::Off })
    }

    /// Starts a distribution 3 that talks only to who shows a certificate of its authority.
    #[track_caller]
    pub fn for_certified_clients() -> Self {
        Self::with(Kind::Distribution3, Asks::Password, Tls::Mutual)
    }

    fn with(kind: Kind, asks: Asks, tls: Tls) -> Self {
        let work = tempfile::tempdir().expect("a temporary folder can be made");
        make_certificates(work.path());
        std::fs::write(work.path().join("htpasswd"), HTPASSWD).expect("written");
        let tokens = (asks == Asks::Token).then(|| Tokens::start(work.path(), tls != Tls::Off));
        let realm = tokens.as_ref().map(|tokens| tokens.realm.clone());
        let answers = |address: SocketAddr| TcpStream::connect(address).is_ok();
        let server = match kind {
            Kind::Zot => peers::start(
                &peers::zot_program().expect("no zot was given: set CHUNKIFY_ZOT=/path/to/zot or put zot on PATH"),
                "config.json",
                |data| zot_config(work.path(), data, realm.as_deref(), tls != Tls::Off),
                peers::port_of_zot,
                answers,
            ),
            Kind::Distribution2 | Kind::Distribution3 => peers::start(
                &if kind == Kind::Distribution3 { peers::distribution_program() } else { distribution_2_program() },
                "config.yml",
                |data| distribution_config(work.path(), data, realm.as_deref(), tls),
                peers::port_of_distribution,
                answers,
            ),
        };
        Self { server, work, _tokens: tokens }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.work.path().join("ca.crt")
    }

    /// The client certificate that its authority signed, and its key.
    pub fn client(&self) -> [PathBuf; 2] {
        ["client.crt", "client.key"].map(|name| self.work.path().join(name))
    }

    /// A client certificate that another authority signed, and its key.
    pub fn stranger(&self) -> [PathBuf; 2] {
        ["stranger.crt", "stranger.key"].map(|name| self.work.path().join(name))
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

/// Debian's docker-registry.
#[track_caller]
pub fn distribution_2_program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("docker-registry")).find(|program| program.is_file());
    found.expect("there is no docker-registry (distribution 2.8) on PATH: apt-get install docker-registry")
}

fn distribution_config(work: &Path, data: &Path, realm: Option<&str>, tls: Tls) -> String {
    let at = |name: &str| work.join(name).display().to_string();
    let auth = match realm {
        None => format!("  htpasswd: {{realm: tests, path: {}}}\n", at("htpasswd")),
        Some(realm) => format!(
            "  token: {{realm: \"{realm}\", service: tests, issuer: tests, rootcertbundle: {}}}\n",
            at("token.crt")
        ),
    };
    let clients = if tls == Tls::Mutual { format!(", clientcas: [{}]", at("ca.crt")) } else { String::new() };
    let tls = if tls == Tls::Off {
        String::new()
    } else {
        format!(", tls: {{certificate: {}, key: {}{clients}}}", at("server.crt"), at("server.key"))
    };
    format!(
        "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"127.0.0.1:0\"{tls}}}\nauth:\n{auth}",
        data.join("data").display()
    )
}

fn zot_config(work: &Path, data: &Path, realm: Option<&str>, tls: bool) -> String {
    let auth = match realm {
        None => serde_json::json!({"htpasswd": {"path": work.join("htpasswd")}, "failDelay": 1}),
        Some(realm) => serde_json::json!({
            "bearer": {"realm": realm, "service": "tests", "cert": work.join("token.crt")},
        }),
    };
    let mut http = serde_json::json!({"address": "127.0.0.1", "port": "0", "realm": "zot", "auth": auth});
    if tls {
        http["tls"] = serde_json::json!({"cert": work.join("server.crt"), "key": work.join("server.key")});
    }
    serde_json::json!({
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": data.join("data"), "dedupe": false, "gc": false},
        "http": http,
        "log": {"level": "info"},
    })
    .to_string()
}

/// An authority, certificates of a server on loopback and of a client, and a key to sign tokens with.
fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .expect("written");
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        run(command.args(arguments.split(' ')).current_dir(folder)).ok();
    };
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for (name, subject) in [("ca", "tests"), ("other-ca", "others")] {
        openssl(&format!("req -x509 {curve} -keyout {name}.key -out {name}.crt -days 30 -subj /CN={subject}"));
    }
    for (name, subject, ca) in
        [("server", "localhost", "ca"), ("client", "somebody", "ca"), ("stranger", "somebody", "other-ca")]
    {
        openssl(&format!("req {curve} -keyout {name}.key -out {name}.csr -subj /CN={subject}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 30 -extfile extensions -out {name}.crt"
        ));
    }
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.crt -days 30 -subj /CN=tokens");
}

/// `token_server.py`, running.
struct Tokens {
    child: Child,
    realm: String,
}

impl Tokens {
    fn start(folder: &Path, tls: bool) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/token_server.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(folder).args(tls.then_some("tls")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is needed");
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut port).expect("it says its port");
        let scheme = if tls { "https" } else { "http" };
        Self { child, realm: format!("{scheme}://127.0.0.1:{}/token", port.trim()) }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
