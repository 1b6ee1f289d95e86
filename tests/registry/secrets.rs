//! Servers that try to get at secrets, or to make us show them: nothing secret leaves for anyone else, and nothing secret is shown.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::logins::{Home, text};
use crate::server::{Reply, Seen, Server};

const PASSWORD: &str = "s3cr3t-p4ss/word+x";
const TOKEN: &str = "t0k3n-t0k3n-t0k3n";
const REFRESH: &str = "r3fr3sh-r3fr3sh";
const SIGNATURE: &str = "s1gn4tur3-s1gn4tur3";

/// Everything that must not be seen, in every form in which it may turn up.
fn secrets() -> Vec<String> {
    let basic = STANDARD.encode(format!("user:{PASSWORD}"));
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let all = [PASSWORD, TOKEN, REFRESH, SIGNATURE, &basic];
    all.iter().flat_map(|secret| [(*secret).to_owned(), encoded(secret)]).collect()
}

/// A registry that hands out the token, redirects its blobs to `target`, and answers everything else with `answer`.
async fn registry(answer: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |seen| {
        let host = seen.header("host").expect("a host").to_owned();
        if seen.target.starts_with("/token") {
            let knows = seen.header("authorization").is_some() || !seen.body.is_empty();
            return if knows { Reply::new(200).body(format!("{{\"token\":\"{TOKEN}\"}}")) } else { Reply::new(401) };
        }
        match seen.header("authorization") {
            Some(sent) if sent == format!("Bearer {TOKEN}") => answer(seen, &host),
            _ => Reply::new(401).with("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\"")),
        }
    })
    .await
}

/// Pulls with everything that can be said turned on; gives all that was said and written.
async fn everything_said(home: &mut Home, server: &Server) -> String {
    home.set("RUST_LOG", "trace");
    let image = format!("docker://{}/team/app:new", server.address);
    let (store, report) = (home.path("store").display().to_string(), home.path("report.json").display().to_string());
    let arguments = ["pull", "-vv", "--plain-http", &image, "--store", &store, "--report", &report];
    let output = home.run(&arguments, "").await;
    assert_ne!(output.status.code(), Some(101), "{}", text(&output));
    text(&output) + &std::fs::read_to_string(report).unwrap_or_default()
}

#[track_caller]
fn nothing_secret_in(said: &str, case: &str) {
    for secret in secrets() {
        let line = said.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{case}: {secret} is in: {}", line.unwrap_or_default());
    }
}

fn login(home: &Home, host: &str) {
    let auth = STANDARD.encode(format!("user:{PASSWORD}"));
    home.file("run/containers/auth.json", &format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_echo_is_not_shown() {
    type Answer = fn(&Seen, &str) -> Reply;
    let table: &[(&str, Answer)] = &[
        ("an error page", |seen, _| Reply::new(403).body(format!("who is {:?}?", seen.header("authorization")))),
        ("a JSON error", |seen, _| {
            let sent = seen.header("authorization").unwrap_or_default();
            Reply::new(400).body(format!("{{\"errors\":[{{\"code\":\"{sent}\",\"message\":\"no {sent}\"}}]}}"))
        }),
        ("a long error", |_, _| Reply::new(400).body(format!("{}{TOKEN}{TOKEN}", "x".repeat(290)))),
        ("a path", |_, host| Reply::new(307).with("Location", format!("http://{host}/leak/{TOKEN}/x?sig={SIGNATURE}"))),
        ("a loop", |seen, host| {
            let hop = seen.target.len();
            Reply::new(302).with("Location", format!("http://{host}/{TOKEN}/{hop}/y?X-Amz-Signature={SIGNATURE}"))
        }),
        ("a user in a URL", |_, host| {
            Reply::new(302).with("Location", format!("http://user:{TOKEN}@{host}/v2/x?{SIGNATURE}"))
        }),
        ("a challenge", |_, host| {
            let value = format!("Bearer realm=\"http://{host}/token?{TOKEN}\",error=\"{TOKEN}\"");
            Reply::new(401).with("WWW-Authenticate", value)
        }),
        ("a bad manifest", |_, _| {
            Reply::new(200)
                .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                .body(format!("{{\"mediaType\": {TOKEN}"))
        }),
        ("a strange type", |_, _| Reply::new(200).with("Content-Type", TOKEN).body("x")),
        ("busy", |_, _| Reply::new(503).with("Retry-After", "0").body(TOKEN)),
    ];
    for (case, answer) in table {
        let (server, mut home) = (registry(answer).await, Home::new());
        login(&home, &server.address);
        let said = everything_said(&mut home, &server).await;
        assert!(said.contains("chunkify: "), "{case}: {said}");
        assert!(server.seen().iter().any(|seen| seen.header("authorization").is_some()), "{case}: it was used");
        nothing_secret_in(&said, case);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_servers_that_echo_are_not_quoted() {
    let form = |seen: &Seen| String::from_utf8_lossy(&seen.body).into_owned();
    for (case, json) in [
        ("a password", format!("{{\"auth\":\"{}\"}}", STANDARD.encode(format!("user:{PASSWORD}")))),
        ("an identity token", format!("{{\"identitytoken\":\"{REFRESH}\"}}")),
    ] {
        for status in [200, 400, 401, 500] {
            let server = Server::start(move |seen| {
                let host = seen.header("host").expect("a host").to_owned();
                let sent = format!("{:?} {} {}", seen.header("authorization"), form(seen), seen.target);
                match seen.target.starts_with("/token") {
                    true => Reply::new(status).body(sent),
                    false => Reply::new(401).with("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\"")),
                }
            })
            .await;
            let mut home = Home::new();
            home.file("run/containers/auth.json", &format!("{{\"auths\":{{\"{}\":{json}}}}}", server.address));
            let said = everything_said(&mut home, &server).await;
            assert!(server.seen().iter().any(|seen| seen.target.starts_with("/token")), "{case}");
            nothing_secret_in(&said, case);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helpers_that_fail_with_the_secret_are_not_quoted() {
    for script in [
        format!("echo '{{\"Username\":\"user\",\"Secret\":\"{PASSWORD}\"}}'; exit 1"),
        format!("echo '{{\"Username\":\"user\",\"Secret\":\"{PASSWORD}\"'"),
        format!("echo '{{\"Username\":7,\"Secret\":\"{PASSWORD}\"}}'"),
    ] {
        let (server, mut home) = (registry(|_, _| Reply::new(404)).await, Home::new());
        home.helper("x", &script);
        home.file(".docker/config.json", "{\"credsStore\":\"x\"}");
        let said = everything_said(&mut home, &server).await;
        assert!(said.contains("docker-credential-x"), "{said}");
        nothing_secret_in(&said, &script);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_never_carry_credentials_elsewhere() {
    let target = Arc::new(Server::start(|_| Reply::new(404)).await);
    let address = target.address.clone();
    let server =
        registry(move |_, _| Reply::new(307).with("Location", format!("http://{address}/elsewhere?sig={SIGNATURE}")))
            .await;
    let mut home = Home::new();
    // The target is a registry that one is logged in to as well.
    let auth = STANDARD.encode(format!("user:{PASSWORD}"));
    let entry = |host: &str| format!("\"{host}\":{{\"auth\":\"{auth}\"}}");
    let auths = format!("{{\"auths\":{{{},{}}}}}", entry(&server.address), entry(&target.address));
    home.file("run/containers/auth.json", &auths);
    let said = everything_said(&mut home, &server).await;
    nothing_secret_in(&said, "a redirect");
    assert!(!target.seen().is_empty(), "{said}");
    for seen in target.seen() {
        for name in ["authorization", "cookie", "referer", "proxy-authorization"] {
            assert_eq!(seen.header(name), None, "{seen:?}");
        }
    }
}

/// A registry on the internet, as far as can be seen: it is behind a proxy, which this server is as well.
async fn public_registry(location: String) -> (Server, Home) {
    let server = Server::start(move |seen| match seen.target.starts_with("http://registry.test/") {
        true => Reply::new(307).with("Location", &location),
        false => Reply::new(500),
    })
    .await;
    let mut home = Home::new();
    home.set("HTTP_PROXY", format!("http://{}", server.address));
    home.set("http_proxy", format!("http://{}", server.address));
    home.set("NO_PROXY", "127.0.0.1,localhost");
    (server, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_registry_leads_nobody_into_a_private_network() {
    let inside = Server::start(|_| Reply::new(404)).await;
    let port = inside.address.split(':').next_back().expect("a port").to_owned();
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "127.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let (server, home) = public_registry(format!("http://{host}:{port}/latest/meta-data")).await;
        let arguments = ["inspect", "--plain-http", "docker://registry.test/team/app:new"];
        let output = home.run(&arguments, "").await;
        let said = text(&output);
        assert!(said.contains("sent us to an address on this machine"), "{host}: {said}");
        assert!(server.seen().len() == 1 && inside.seen().is_empty(), "{host}: {:?}", inside.seen());
    }
    let (_server, home) = public_registry(format!("http://localhost:{port}/meant")).await;
    let arguments = ["inspect", "--plain-http", "--allow-private-redirects", "docker://registry.test/team/app:new"];
    let output = home.run(&arguments, "").await;
    assert!(text(&output).contains("answered 404"), "{}", text(&output));
    assert_eq!(inside.seen().len(), 1, "unless it is allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_is_no_nearer_than_its_registry() {
    let inside = Server::start(|_| Reply::new(200).body("{\"token\":\"x\"}")).await;
    let realm = format!("http://{}/token", inside.address);
    let server =
        Server::start(move |_| Reply::new(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))).await;
    let mut home = Home::new();
    home.set("http_proxy", format!("http://{}", server.address));
    home.set("NO_PROXY", "127.0.0.1");
    login(&home, "registry.test");
    let output = home.run(&["inspect", "--plain-http", "docker://registry.test/team/app:new"], "").await;
    assert!(text(&output).contains("on this machine"), "{}", text(&output));
    assert!(inside.seen().is_empty());
}
