//! Challenges, tokens and redirects: who gets to see what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::registry::{Fault, RegistryError};

use crate::server::{Reply, Seen, Server};
use crate::{blob, client, client_with, fetch, kinds, repo, spans};

const BASIC: &str = "Basic dXNlcjpwYTpzcw=="; // user:pa:ss

/// A token server that gives `token-1`, `token-2`… to who knows the password.
async fn token_server() -> Server {
    let given = AtomicUsize::new(0);
    Server::start(move |seen| {
        if seen.header("authorization") != Some(BASIC) {
            return Reply::new(401).body("{\"details\":\"who?\"}");
        }
        let token = given.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::new(200).body(format!("{{\"token\":\"token-{token}\",\"expires_in\":300}}"))
    })
    .await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_is_refused() {
    let tokens = token_server().await;
    let challenge =
        format!("bearer realm=http://{}/token,service=\"r\",scope=\"repository:team/app:pull\"", tokens.address);
    let valid = Arc::new(AtomicUsize::new(1));
    let (bytes, needed) = (blob(1 << 20), valid.clone());
    let server = Server::start(move |seen| {
        let token = format!("Bearer token-{}", needed.load(Ordering::SeqCst));
        match seen.header("authorization") {
            Some(sent) if sent == token => kinds::zot_old(&bytes, seen),
            _ => Reply::new(401).with("WWW-Authenticate", &challenge).body("{\"code\":\"UNAUTHORIZED\"}"),
        }
    })
    .await;
    let client = client_with(|options| options.credentials = "user:pa:ss".parse().ok());
    let (ledger, missing) = (Ledger::new(), spans(20, 100, 40_000));
    fetch(&client, &server, &blob(1 << 20), &missing, &ledger).await.expect("all of it");
    assert_eq!(tokens.seen().len(), 1);
    let target = tokens.seen()[0].target.clone();
    assert_eq!(target, "/token?service=r&scope=repository%3Ateam%2Fapp%3Apull&account=user");
    valid.store(2, Ordering::SeqCst);
    fetch(&client, &server, &blob(1 << 20), &missing, &ledger).await.expect("all of it with a new token");
    assert_eq!(tokens.seen().len(), 2, "requests that are refused together fetch one token");
    assert_eq!(ledger.bytes().total(), server.sent() + tokens.sent());
}

#[tokio::test]
async fn wrong_credentials_are_an_error_that_keeps_them_secret() {
    let tokens = token_server().await;
    let challenge = format!("Bearer realm=\"http://{}/token?secret=1\"", tokens.address);
    let server = Server::start(move |_| Reply::new(401).with("WWW-Authenticate", &challenge)).await;
    let client = client_with(|options| options.credentials = "user:hunter2".parse().ok());
    let error = client.manifest(&repo(&server), "new", &Ledger::new()).await.expect_err("refused");
    assert!(matches!(error, RegistryError::Unauthorized { known: true, .. }), "{error:?}");
    let shown = format!("{error} {error:?} {client:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("secret="), "{shown}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_for_an_access_token() {
    let tokens = Server::start(|seen| {
        let form = "grant_type=refresh_token&service=r&client_id=chunkify&scope=repository%3Ateam%2Fapp%3Apull\
                    &refresh_token=idt";
        assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("POST", form.as_bytes()));
        Reply::new(200).body("{\"access_token\":\"access\"}")
    })
    .await;
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"r\"", tokens.address);
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Bearer access") => Reply::new(200).body("config"),
        _ => Reply::new(401).with("WWW-Authenticate", &challenge),
    })
    .await;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let auths = format!("{{\"auths\":{{\"{}/team\":{{\"identitytoken\":\"idt\"}}}}}}", server.address);
    std::io::Write::write_all(&mut file, auths.as_bytes()).expect("written");
    let files = ["/nowhere".into(), file.path().to_owned()].map(Into::into);
    let client = client_with(|options| options.keychain.files = files.to_vec());
    let config = Digest::of(b"config");
    let bytes = client.blob_bytes(&repo(&server), config, 6, &Ledger::new(), Cause::Metadata).await;
    assert_eq!(bytes.expect("the config"), b"config");
}

#[tokio::test]
async fn basic_is_sent_when_asked_for_and_not_before() {
    let server = Server::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(200).body("config"),
        Some(_) => Reply::new(403),
        None => Reply::new(401).with("WWW-Authenticate", "Basic realm=\"r\""),
    })
    .await;
    let client = client_with(|options| options.credentials = "user:pa:ss".parse().ok());
    let config = Digest::of(b"config");
    for _ in 0..2 {
        let bytes = client.blob_bytes(&repo(&server), config, 6, &Ledger::new(), Cause::Metadata).await;
        assert_eq!(bytes.expect("the config"), b"config");
    }
    let sent: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true]);
}

#[tokio::test]
async fn a_redirect_is_remembered_and_sees_no_credentials() {
    let bytes = blob(1 << 20);
    let signature = Arc::new(AtomicUsize::new(1));
    let valid = signature.clone();
    let store = Server::start(move |seen| match seen.header("authorization") {
        Some(_) => Reply::new(400).body("only one auth mechanism allowed"),
        None if seen.target != format!("/x?sig={}", valid.load(Ordering::SeqCst)) => Reply::new(403),
        None => kinds::go(&bytes, seen),
    })
    .await;
    let (address, valid) = (store.address.clone(), signature.clone());
    let server = Server::start(move |seen: &Seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(307)
            .with("Location", format!("http://{address}/x?sig={}", valid.load(Ordering::SeqCst)))
            .body("<a href=x>moved</a>"),
        _ => Reply::new(401).with("WWW-Authenticate", "Basic realm=r"),
    })
    .await;
    let client = client_with(|options| options.credentials = "user:pa:ss".parse().ok());
    let (ledger, missing) = (Ledger::new(), spans(100, 100, 900));
    fetch(&client, &server, &blob(1 << 20), &missing, &ledger).await.expect("all of it");
    assert_eq!(server.seen().len(), 2, "one challenge, one redirect");
    signature.store(2, Ordering::SeqCst);
    fetch(&client, &server, &blob(1 << 20), &missing[..1], &ledger).await.expect("an expired URL is asked for again");
    assert_eq!(server.seen().len(), 3);
    assert_eq!(ledger.bytes().total(), server.sent() + store.sent());
}

#[tokio::test]
async fn redirects_without_end_or_to_other_schemes_are_refused() {
    for (location, fault) in
        [("/again", Fault::Redirects), ("file:///etc/passwd", Fault::Location), ("http://", Fault::Location)]
    {
        let server = Server::start(move |_| Reply::new(302).with("Location", location)).await;
        let result = client().blob_bytes(&repo(&server), Digest::of(b""), 1, &Ledger::new(), Cause::Metadata).await;
        assert!(matches!(result, Err(RegistryError::Answer { fault: found, .. }) if found == fault), "{result:?}");
        assert!(server.seen().len() < 12);
    }
}
