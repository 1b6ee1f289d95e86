//! Real servers that stand before, or behind, a registry: caches, proxies, an object store.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::{Server, answers, launch, peers_dir};

/// A distribution to start: which program, with which storage.
pub struct Distribution {
    program: PathBuf,
    storage: Option<String>,
    remote: Option<SocketAddr>,
}

impl Distribution {
    /// Version 3, as `make peers` builds it.
    #[track_caller]
    pub fn newest() -> Self {
        Self::of(peers_dir().join("registry"), "run `make peers`")
    }

    /// Debian's version 2.8.
    #[track_caller]
    pub fn of_debian() -> Self {
        Self::of(PathBuf::from("/usr/bin/docker-registry"), "install the package docker-registry")
    }

    #[track_caller]
    fn of(program: PathBuf, remedy: &str) -> Self {
        assert!(program.exists(), "there is no {}: {remedy}", program.display());
        Self { program, storage: None, remote: None }
    }

    /// With the blobs in an object store, to which clients are redirected.
    pub fn stored_in(mut self, store: &ObjectStore) -> Self {
        self.storage = Some(format!(
            "s3: {{accesskey: {ACCESS}, secretkey: {SECRET}, region: us-east-1, regionendpoint: \"http://{}\", \
             forcepathstyle: true, secure: false, bucket: {BUCKET}}}",
            store.server.address()
        ));
        self
    }

    /// As a pull-through cache of another registry.
    pub fn cache_of(mut self, remote: SocketAddr) -> Self {
        self.remote = Some(remote);
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Server {
        let work = tempfile::tempdir().expect("a temporary folder can be made");
        let files = format!("filesystem: {{rootdirectory: {}}}", work.path().join("data").display());
        let storage = self.storage.unwrap_or(files);
        let proxy =
            self.remote.map(|remote| format!("proxy: {{remoteurl: \"http://{remote}\"}}\n")).unwrap_or_default();
        let port = free_port();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  {storage}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{proxy}"
        );
        let file = work.path().join("config.yml");
        std::fs::write(&file, config).expect("the configuration can be written");
        let mut command = Command::new(self.program);
        // 2.8 cannot take a bundle of authorities from the environment, which it does not need here either.
        command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none").env_remove("AWS_CA_BUNDLE");
        launch(command, work, move |_| Some(port), answers)
    }
}

const ACCESS: &str = "chunkify";
const SECRET: &str = "secret-of-the-store";
const BUCKET: &str = "registry";

/// Versity's S3 gateway over a folder: it checks signatures and their times, and has S3's rules for ranges.
pub struct ObjectStore {
    server: Server,
}

impl ObjectStore {
    /// Starts it, with one bucket.
    #[track_caller]
    pub fn start() -> Self {
        let program = peers_dir().join("versitygw");
        assert!(program.exists(), "there is no {}: run `make peers`", program.display());
        let work = tempfile::tempdir().expect("a temporary folder can be made");
        let (data, side) = (work.path().join("data"), work.path().join("side"));
        std::fs::create_dir_all(data.join(BUCKET)).expect("a folder can be made");
        std::fs::create_dir_all(&side).expect("a folder can be made");
        let port = free_port();
        let mut command = Command::new(program);
        command.env("ROOT_ACCESS_KEY", ACCESS).env("ROOT_SECRET_KEY", SECRET);
        command.args(["--port", &format!("127.0.0.1:{port}"), "posix", "--sidecar"]).arg(side).arg(data);
        Self { server: launch(command, work, move |_| Some(port), answers) }
    }

    /// What its addresses are signed with, which nobody may see.
    pub const SIGNATURE: &str = "X-Amz-Signature";
}

/// nginx before a registry: as a proxy that passes everything on, or as a cache.
#[track_caller]
pub fn nginx(before: SocketAddr, cache: bool) -> Server {
    let program = Path::new("/usr/sbin/nginx");
    assert!(program.exists(), "there is no {}: install the package nginx-light", program.display());
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let root = work.path().display();
    let port = free_port();
    let (zone, uses) = if cache {
        (
            format!("proxy_cache_path {root}/cache keys_zone=blobs:1m max_size=1g inactive=1h use_temp_path=off;"),
            "proxy_cache blobs;",
        )
    } else {
        (String::new(), "proxy_request_buffering off; proxy_buffering off;")
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {root}/{name};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {root}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{zone}\n\
         server {{ listen 127.0.0.1:{port}; client_max_body_size 0;\n\
         location / {{ proxy_pass http://{before}; proxy_http_version 1.1; proxy_set_header Host $http_host; {uses} }} }} }}\n"
    );
    let file = work.path().join("nginx.conf");
    std::fs::write(&file, config).expect("the configuration can be written");
    let mut command = Command::new(program);
    command.args(["-e", "stderr", "-p"]).arg(work.path()).arg("-c").arg(file);
    launch(command, work, move |_| Some(port), answers)
}

/// A port that is free now, for servers that do not tell which one they took.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
