//! Every way in which podman's and docker's users have credentials, through the command line; and `login` and `logout` themselves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use crate::server::{Reply, Seen, Server};

/// A user's home, in which nothing is but what a test puts there.
pub struct Home {
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), env: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A credential helper on PATH; `script` is what it does.
    pub fn helper(&self, name: &str, script: &str) {
        let path = self.file(&format!("bin/docker-credential-{name}"), &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }

    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.env.push((name.to_owned(), value.to_string()));
    }

    pub async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_chunkify"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").expect("a PATH"));
        command.args(arguments).env_clear().env("PATH", path).env("HOME", self.folder.path());
        command.env("XDG_RUNTIME_DIR", self.path("run")).envs(self.env.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may end before it has read all.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.expect("it ends")
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const BASIC: &str = "Basic dXNlcjpwYTpzcw=="; // user:pa:ss

/// A registry that challenges with both schemes' names, and its token server, in one. It has no image at all.
async fn registry() -> Server {
    Server::start(|seen| {
        let host = seen.header("host").expect("a host").to_owned();
        if seen.target.starts_with("/token") {
            let by = match seen.method.as_str() {
                "POST" => String::from_utf8_lossy(&seen.body).split("refresh_token=").last().map(str::to_owned),
                _ => seen.header("authorization").map(str::to_owned),
            };
            let known = by.as_deref() == Some(BASIC) || by.as_deref() == Some("idt");
            return if known { Reply::new(200).body("{\"token\":\"given\"}") } else { Reply::new(401) };
        }
        match seen.header("authorization") {
            Some("Bearer given" | "Bearer own") if seen.target == "/v2/" => Reply::new(200),
            Some("Bearer given" | "Bearer own") => Reply::new(404),
            _ => Reply::new(401).with("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\",service=r")),
        }
    })
    .await
}

fn how(seen: &[Seen]) -> &'static str {
    let token = seen.iter().rfind(|seen| seen.target.starts_with("/token"));
    let own = seen.iter().any(|seen| seen.header("authorization") == Some("Bearer own"));
    match token {
        _ if own => "registry token",
        Some(seen) if seen.method == "POST" => "identity token",
        Some(seen) if seen.header("authorization") == Some(BASIC) => "password",
        Some(seen) if seen.header("authorization").is_none() => "anonymous",
        Some(_) => "wrong password",
        None => "not at all",
    }
}

/// Prepares a home, given the registry's address; says with which further arguments the command is run.
type Prepare = fn(&mut Home, &str) -> Vec<String>;

const LOGIN: &str = "{\"auth\": \"dXNlcjpwYTpzcw==\"}";
const GET: &str = "read host; printf '{\"ServerURL\":\"%s\",\"Username\":\"user\",\"Secret\":\"pa:ss\"}' \"$host\"";
const NOT_FOUND: &str = "echo 'credentials not found in native keychain'; exit 1";

fn auths(key: &str, value: &str) -> String {
    format!("{{\"auths\": {{\"{key}\": {value}}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_credentials_reaches_the_registry() {
    let table: &[(&str, Prepare, &str)] = &[
        ("nothing", |_, _| vec![], "anonymous"),
        ("--creds", |_, _| vec!["--creds".into(), "user:pa:ss".into()], "password"),
        (
            "CHUNKIFY_CREDS",
            |home, _| {
                home.set("CHUNKIFY_CREDS", "user:pa:ss");
                vec![]
            },
            "password",
        ),
        ("--password-stdin", |_, _| vec!["--username".into(), "user".into(), "--password-stdin".into()], "password"),
        (
            "podman's file",
            |home, host| {
                home.file("run/containers/auth.json", &auths(host, LOGIN));
                vec![]
            },
            "password",
        ),
        (
            "podman's second file",
            |home, host| {
                home.file(".config/containers/auth.json", &auths(host, LOGIN));
                vec![]
            },
            "password",
        ),
        (
            "docker's file",
            |home, host| {
                home.file(".docker/config.json", &auths(host, LOGIN));
                vec![]
            },
            "password",
        ),
        (
            "docker's old file",
            |home, host| {
                home.file(".dockercfg", &format!("{{\"https://{host}/v1/\": {LOGIN}}}"));
                vec![]
            },
            "password",
        ),
        (
            "a key with a scheme",
            |home, host| {
                home.file(".docker/config.json", &auths(&format!("https://{host}/v1/"), LOGIN));
                vec![]
            },
            "password",
        ),
        (
            "DOCKER_CONFIG",
            |home, host| {
                let file = home.file("d/config.json", &auths(host, LOGIN));
                home.set("DOCKER_CONFIG", file.parent().unwrap().display());
                vec![]
            },
            "password",
        ),
        (
            "DOCKER_AUTH_CONFIG",
            |home, host| {
                home.set("DOCKER_AUTH_CONFIG", auths(host, LOGIN));
                vec![]
            },
            "password",
        ),
        (
            "REGISTRY_AUTH_FILE",
            |home, host| {
                let file = home.file("a.json", &auths(host, LOGIN));
                home.set("REGISTRY_AUTH_FILE", file.display());
                vec![]
            },
            "password",
        ),
        (
            "--authfile",
            |home, host| vec!["--authfile".into(), home.file("a.json", &auths(host, LOGIN)).display().to_string()],
            "password",
        ),
        (
            "--authfile stands for all files",
            |home, host| {
                home.file("run/containers/auth.json", &auths(host, LOGIN));
                vec!["--authfile".into(), home.file("a.json", "{}").display().to_string()]
            },
            "anonymous",
        ),
        (
            "a namespace",
            |home, host| {
                let wrong = "{\"auth\": \"eDp5\"}";
                let text = format!(
                    "{{\"auths\": {{\"{host}\": {wrong}, \"{host}/team\": {LOGIN}, \"{host}/tea\": {wrong}}}}}"
                );
                home.file("run/containers/auth.json", &text);
                vec![]
            },
            "password",
        ),
        (
            "a wrong password",
            |home, host| {
                home.file("run/containers/auth.json", &auths(host, "{\"auth\": \"eDp5\"}"));
                vec![]
            },
            "wrong password",
        ),
        (
            "an identity token",
            |home, host| {
                home.file(".docker/config.json", &auths(host, "{\"auth\": \"dTo=\", \"identitytoken\": \"idt\"}"));
                vec![]
            },
            "identity token",
        ),
        (
            "a registry token",
            |home, host| {
                home.file(".docker/config.json", &auths(host, "{\"registrytoken\": \"own\"}"));
                vec![]
            },
            "registry token",
        ),
        (
            "credHelpers",
            |home, host| {
                home.helper("x", GET);
                home.file(".docker/config.json", &format!("{{\"credHelpers\": {{\"{host}\": \"x\"}}}}"));
                vec![]
            },
            "password",
        ),
        (
            "credsStore",
            |home, host| {
                home.helper("x", GET);
                home.file(
                    ".docker/config.json",
                    &format!("{{\"credsStore\": \"x\", \"auths\": {{\"{host}\": {{}}}}}}"),
                );
                vec![]
            },
            "password",
        ),
        (
            "credsStore that is not installed",
            |home, _| {
                home.file(".docker/config.json", "{\"credsStore\": \"gone\"}");
                vec![]
            },
            "anonymous",
        ),
        (
            "a helper without a login",
            |home, host| {
                home.helper("x", NOT_FOUND);
                home.file(".docker/config.json", &format!("{{\"credHelpers\": {{\"{host}\": \"x\"}}}}"));
                vec![]
            },
            "anonymous",
        ),
        (
            "a helper's token",
            |home, host| {
                home.helper("x", "echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}'");
                home.file(".docker/config.json", &format!("{{\"credHelpers\": {{\"{host}\": \"x\"}}}}"));
                vec![]
            },
            "identity token",
        ),
        (
            "registries.conf names a helper",
            |home, _| {
                home.helper("x", GET);
                home.file(".config/containers/registries.conf", "credential-helpers = [\"none\", \"x\"]");
                home.helper("none", NOT_FOUND);
                vec![]
            },
            "password",
        ),
        (
            "registries.conf: helper, then files",
            |home, host| {
                home.helper("none", NOT_FOUND);
                home.file(
                    ".config/containers/registries.conf",
                    "credential-helpers = [\"none\", \"containers-auth.json\"]",
                );
                home.file("run/containers/auth.json", &auths(host, LOGIN));
                vec![]
            },
            "password",
        ),
        (
            "a helper that fails",
            |home, host| {
                home.helper("x", "echo 'the vault is closed'; exit 1");
                home.file(".docker/config.json", &format!("{{\"credHelpers\": {{\"{host}\": \"x\"}}}}"));
                vec![]
            },
            "not at all",
        ),
        (
            "a helper that is a path",
            |home, host| {
                home.file(".docker/config.json", &format!("{{\"credHelpers\": {{\"{host}\": \"../x\"}}}}"));
                vec![]
            },
            "not at all",
        ),
        (
            "a broken file",
            |home, _| {
                home.file("run/containers/auth.json", "{\"auths\": ");
                vec![]
            },
            "not at all",
        ),
    ];
    for (form, prepare, expected) in table {
        let (server, mut home) = (registry().await, Home::new());
        let more = prepare(&mut home, &server.address);
        let image = format!("docker://{}/team/app:new", server.address);
        let arguments: Vec<_> =
            ["inspect", "--plain-http", &image].into_iter().chain(more.iter().map(String::as_str)).collect();
        let output = home.run(&arguments, "pa:ss\n").await;
        assert_eq!(how(&server.seen()), *expected, "{form}: {}", text(&output));
        let said = text(&output);
        let remedy = match *expected {
            "anonymous" => "wants credentials",
            "wrong password" => "does not take the credentials",
            "not at all" => "cannot use the credentials for",
            _ => "answered 404",
        };
        assert!(said.contains(remedy), "{form}: {said}");
        assert!(!said.contains("pa:ss") && !said.contains("dXNlcjpwYTpzcw"), "{form}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_checked_kept_and_forgotten() {
    let (server, home) = (registry().await, Home::new());
    let host = server.address.as_str();
    let login = ["login", "--plain-http", "--username", "user", "--password-stdin", host];
    let refused = home.run(&login, "wrong\n").await;
    assert!(!refused.status.success() && text(&refused).contains("not logged in"), "{}", text(&refused));
    assert!(!home.path("run/containers/auth.json").exists(), "a login that is refused is not kept");

    let kept = home.run(&login, "pa:ss\n").await;
    assert!(kept.status.success(), "{}", text(&kept));
    let file = home.path("run/containers/auth.json");
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
    };
    assert_eq!(json(&file)["auths"][host]["auth"], "dXNlcjpwYTpzcw==");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let who = home.run(&["login", "--get-login", host], "").await;
    assert_eq!(String::from_utf8_lossy(&who.stdout), "user\n");

    let compat = home.file("d/config.json", "{\"HttpHeaders\": {\"A\": \"b\"}}");
    let place = compat.display().to_string();
    let kept = home.run(&[&login[..], &["--compat-auth-file", &place]].concat(), "pa:ss").await;
    assert!(kept.status.success(), "{}", text(&kept));
    assert_eq!(json(&compat)["HttpHeaders"]["A"], "b");
    assert_eq!(json(&compat)["auths"][host]["auth"], "dXNlcjpwYTpzcw==");

    let forgotten = home.run(&["logout", host], "").await;
    assert!(forgotten.status.success(), "{}", text(&forgotten));
    assert_eq!(json(&file), serde_json::json!({ "auths": {} }));
    let again = home.run(&["logout", host], "").await;
    assert!(!again.status.success() && text(&again).contains("not logged in"), "{}", text(&again));
    let all = home.run(&["logout", "--all", "--compat-auth-file", &place], "").await;
    assert!(all.status.success() && json(&compat)["auths"] == serde_json::json!({}), "{}", text(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_keeps_the_login_where_one_is_named() {
    let (server, home) = (registry().await, Home::new());
    let host = server.address.as_str();
    home.helper("x", &format!("cat > '{}'.\"$1\"", home.path("told").display()));
    home.file("run/containers/auth.json", &format!("{{\"credHelpers\": {{\"{host}\": \"x\"}}}}"));
    let login = ["login", "--plain-http", "--username", "user", "--password-stdin", host];
    let kept = home.run(&login, "pa:ss\n").await;
    assert!(kept.status.success() && text(&kept).contains("docker-credential-x"), "{}", text(&kept));
    let told: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.path("told.store")).expect("it was told")).expect("JSON");
    assert_eq!(told, serde_json::json!({"ServerURL": host, "Username": "user", "Secret": "pa:ss"}));
    let forgotten = home.run(&["logout", host], "").await;
    assert!(forgotten.status.success(), "{}", text(&forgotten));
    assert_eq!(std::fs::read_to_string(home.path("told.erase")).expect("it was told"), host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lets_strangers_in_still_checks_a_login() {
    // As zot does where anybody may read: no refusal, only a word about how it would like to be asked.
    let server = Server::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(200),
        Some(_) => Reply::new(401).with("WWW-Authenticate", "basic realm=zot"),
        None => Reply::new(200).with("WWW-Authenticate", "basic realm=zot"),
    })
    .await;
    let open = Server::start(|_| Reply::new(200)).await;
    let home = Home::new();
    let login =
        |host: &str| ["login", "--plain-http", "--username", "user", "--password-stdin", host].map(str::to_owned);
    for (host, password, works, word) in [
        (&server.address, "pa:ss", true, "logged in"),
        (&server.address, "wrong", false, "not logged in"),
        (&open.address, "wrong", true, "were not checked"),
    ] {
        let arguments = login(host);
        let output = home.run(&arguments.each_ref().map(String::as_str), password).await;
        assert_eq!(output.status.success(), works, "{}", text(&output));
        assert!(text(&output).contains(word), "{}", text(&output));
    }
}
