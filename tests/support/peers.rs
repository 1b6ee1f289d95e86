//! Real registries: started on loopback ports of the kernel's choice, ended by their own process.

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http;

/// A server that this test started; it ends with this value.
pub struct Server {
    address: SocketAddr,
    child: Child,
    work: tempfile::TempDir,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.work.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// distribution, as `make peers` builds it.
#[track_caller]
pub fn distribution() -> Server {
    plain_distribution(&distribution_program())
}

/// The distribution that `make peers` builds, or another one.
#[track_caller]
pub fn distribution_program() -> PathBuf {
    let program = std::env::var_os("CHUNKIFY_DISTRIBUTION").map_or_else(|| peers_dir().join("registry"), PathBuf::from);
    assert!(program.exists(), "there is no distribution at {}: run `make peers`", program.display());
    program
}

/// A distribution that asks nobody for anything.
#[track_caller]
pub fn plain_distribution(program: &Path) -> Server {
    let config = |work: &Path| {
        format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            work.join("data").display()
        )
    };
    start(program, "config.yml", config, port_of_distribution, answers)
}

/// The port that distribution's log tells.
pub fn port_of_distribution(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The port that zot's log tells.
pub fn port_of_zot(log: &str) -> Option<u16> {
    let line = log.lines().find(|line| line.contains("kernel chosen port"))?;
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    event["port"].as_u64().and_then(|port| port.try_into().ok())
}

/// Whether a registry without secrets answers.
pub fn answers(address: SocketAddr) -> bool {
    http::get(address, "/v2/", None).is_ok_and(|answer| answer.status < 500)
}

/// A tool that `make peers` builds.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    let program = peers_dir().join(name);
    assert!(program.exists(), "there is no {name} at {}: run `make peers`", program.display());
    program
}

/// The zot that was given.
#[track_caller]
pub fn zot() -> Server {
    let program = zot_program().expect(
        "no zot was given: set CHUNKIFY_ZOT=/path/to/zot or put zot on PATH (zot's release page and container image have binaries)",
    );
    let config = |work: &Path| {
        serde_json::json!({
            "distSpecVersion": "1.1.1",
            "storage": {"rootDirectory": work.join("data"), "dedupe": false, "gc": false},
            "http": {"address": "127.0.0.1", "port": "0"},
            "log": {"level": "info"},
        })
        .to_string()
    };
    start(&program, "config.json", config, port_of_zot, answers)
}

/// `CHUNKIFY_ZOT`, else `zot` on PATH.
pub fn zot_program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("CHUNKIFY_ZOT").filter(|given| !given.is_empty()) {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("zot")).find(|program| program.is_file())
}

/// The registry at `REGISTRY=host:port`, which speaks plain HTTP and takes pushes.
#[track_caller]
pub fn running() -> SocketAddr {
    let given = std::env::var("REGISTRY")
        .expect("set REGISTRY=host:port to a running registry that takes pushes over plain HTTP");
    let address = given.to_socket_addrs().ok().and_then(|mut found| found.next());
    address.unwrap_or_else(|| panic!("REGISTRY={given} is no host:port"))
}

/// Where `make peers` puts programs.
pub fn peers_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder holds the temporary one").join("peers")
}

/// Starts `program serve CONFIG`.
#[track_caller]
pub fn start(
    program: &Path,
    config_name: &str,
    config: impl Fn(&Path) -> String,
    port_in: impl Fn(&str) -> Option<u16>,
    answers: impl Fn(SocketAddr) -> bool,
) -> Server {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let config_file = work.path().join(config_name);
    std::fs::write(&config_file, config(work.path())).expect("the configuration can be written");
    let mut command = Command::new(program);
    command.arg("serve").arg(&config_file).env("OTEL_TRACES_EXPORTER", "none");
    launch(command, work, port_in, answers)
}

/// Starts a server whose files are in `work`, and waits until its log tells the port and it answers.
#[track_caller]
pub fn launch(
    mut command: Command,
    work: tempfile::TempDir,
    port_in: impl Fn(&str) -> Option<u16>,
    answers: impl Fn(SocketAddr) -> bool,
) -> Server {
    let program = PathBuf::from(command.get_program());
    let log_file = work.path().join("log");
    let mut log = std::fs::File::create(&log_file).expect("the log can be written");
    writeln!(log, "# {command:?}").expect("the log can be written");
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file has handles to spare"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut server = Server { address: ([127, 0, 0, 1], 0).into(), child, work };
    let begun = Instant::now();
    loop {
        let log = std::fs::read_to_string(&log_file).unwrap_or_default();
        if let Some(port) = port_in(&log) {
            server.address.set_port(port);
            if answers(server.address) {
                return server;
            }
        }
        let ended = server.child.try_wait().ok().flatten();
        assert!(ended.is_none(), "{} ended with {ended:?}:\n{log}", program.display());
        assert!(begun.elapsed() < Duration::from_secs(60), "{} does not answer:\n{log}", program.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}
