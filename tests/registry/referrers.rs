//! What is about another image: listed by the registry, or by us under a tag, beside what others have listed there.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chunkify::digest::Digest;
use chunkify::image::{Descriptor, Index, document, media_type, referrer};
use chunkify::push::{self, PushError, Pushed, ReferrersError};
use chunkify::registry::Reference;
use chunkify::store::Layout;

use crate::client;
use crate::server::{Reply, Seen, Server};

/// What the layout's signature is about; the registry need not have it.
fn subject() -> Digest {
    Digest::of(b"the image")
}

/// A layout with one signature.
fn signature(folder: &Path) -> (Layout, Descriptor) {
    let layout = Layout::open_or_create(folder).expect("a layout");
    let empty = layout.put_blob(b"{}").expect("stored");
    let config = serde_json::json!({"mediaType": media_type::EMPTY, "digest": empty, "size": 2});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "application/x.signature",
        "config": config, "layers": [config], "annotations": {"by": "us"},
        "subject": {"mediaType": media_type::MANIFEST, "digest": subject(), "size": 9},
    });
    let bytes = document::to_bytes(&manifest);
    let digest = layout.put_blob(&bytes).expect("stored");
    (layout, Descriptor::new(media_type::MANIFEST, digest, bytes.len() as u64))
}

type Documents = Arc<Mutex<HashMap<String, (String, Vec<u8>)>>>;

/// A registry that has every blob and takes every manifest. `whim` may do something else, or something to the documents.
async fn registry(
    whim: impl Fn(&Seen, &mut HashMap<String, (String, Vec<u8>)>) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Documents) {
    let documents = Documents::default();
    let shared = documents.clone();
    let server = Server::start(move |seen| {
        let mut documents = shared.lock().expect("no handler panics");
        if let Some(reply) = whim(seen, &mut documents) {
            return reply;
        }
        let Some((_, name)) = seen.target.split_once("/manifests/") else { return Reply::new(200) };
        match (seen.method.as_str(), documents.get(name)) {
            ("PUT", _) => {
                let kind = seen.header("content-type").expect("a type").to_owned();
                documents.insert(name.to_owned(), (kind, seen.body.clone()));
                Reply::new(201)
            }
            (_, Some((kind, bytes))) => Reply::new(200).with("Content-Type", kind).body(bytes.clone()),
            _ => Reply::new(404),
        }
    })
    .await;
    (server, documents)
}

async fn push(server: &Server, name: &str) -> (Result<Pushed, PushError>, Descriptor) {
    let folder = tempfile::tempdir().expect("a folder");
    let (layout, root) = signature(folder.path());
    let reference: Reference = format!("{}/team/app{name}", server.address).parse().expect("a reference");
    let pushed = push::push(&client(), &layout, &root, &reference, None, Arc::default(), Arc::new(|_| {})).await;
    (pushed, root)
}

fn tag() -> String {
    format!("sha256-{}", subject().hex())
}

/// The list as it is in the registry.
fn list(documents: &Documents) -> Index {
    let documents = documents.lock().expect("no handler panics");
    let (kind, bytes) = documents.get(&tag()).expect("there is a list");
    assert_eq!(kind, media_type::INDEX);
    Index::parse(bytes).expect("an index")
}

fn listed(documents: &Documents) -> Vec<Digest> {
    list(documents).manifests.iter().map(|listed| listed.digest).collect()
}

/// Methods and names of the requests for manifests.
fn asked(server: &Server) -> Vec<(String, String)> {
    let ours = |seen: &Seen| Some((seen.method.clone(), seen.target.split_once("/manifests/")?.1.to_owned()));
    server.look(|all| all.iter().filter_map(ours).collect())
}

/// Another tool's referrer.
fn theirs(name: &[u8]) -> Descriptor {
    Descriptor::new(media_type::MANIFEST, Digest::of(name), 5)
}

/// Puts a list where ours should be.
fn put_list(documents: &mut HashMap<String, (String, Vec<u8>)>, listed: &[Descriptor]) {
    let mut index = Index::empty();
    index.manifests = listed.to_vec();
    index.annotations.insert("kept".into(), "by somebody".into());
    index.rest.insert("later".into(), true.into());
    documents.insert(tag(), (media_type::INDEX.into(), document::to_bytes(&index)));
}

#[tokio::test]
async fn a_registry_that_lists_it_needs_no_help() {
    let (server, documents) =
        registry(|seen, _| (seen.method == "PUT").then(|| Reply::new(201).with("OCI-Subject", subject()))).await;
    let (pushed, root) = push(&server, ":signature").await;
    pushed.expect("pushed");
    let put = |name: &str| ("PUT".to_owned(), name.to_owned());
    assert_eq!(asked(&server), [put(&root.digest.to_string()), put("signature")]);
    assert!(documents.lock().expect("no handler panics").is_empty());
}

#[tokio::test]
async fn elsewhere_it_is_listed_under_a_tag_before_it_has_a_name() {
    let (server, documents) = registry(|_, _| None).await;
    let (pushed, root) = push(&server, ":signature").await;
    pushed.expect("pushed");
    let [described] = &list(&documents).manifests[..] else { panic!("one referrer") };
    assert_eq!(
        (described.digest, described.size, &*described.media_type),
        (root.digest, root.size, media_type::MANIFEST)
    );
    assert_eq!(described.rest["artifactType"], "application/x.signature");
    assert_eq!(described.annotations["by"], "us");
    let did = |method: &str, name: &str| (method.to_owned(), name.to_owned());
    let digest = root.digest.to_string();
    let expected =
        [did("PUT", &digest), did("GET", &tag()), did("PUT", &tag()), did("GET", &tag()), did("PUT", "signature")];
    assert_eq!(asked(&server), expected);
    // Once more, by its digest: it is in the list already, and nothing is written.
    let (pushed, _) = push(&server, &format!("@{digest}")).await;
    pushed.expect("pushed");
    assert_eq!(asked(&server)[expected.len()..], [did("PUT", &digest), did("GET", &tag())]);
    assert_eq!(listed(&documents), [root.digest]);
    assert_eq!(referrer::tag(&subject().to_string()), Some(tag()));
}

#[tokio::test]
async fn what_others_have_listed_stays() {
    let (server, documents) = registry(|_, _| None).await;
    put_list(&mut documents.lock().expect("no handler panics"), &[theirs(b"one"), theirs(b"two")]);
    let (pushed, root) = push(&server, ":signature").await;
    pushed.expect("pushed");
    assert_eq!(listed(&documents), [Digest::of(b"one"), Digest::of(b"two"), root.digest]);
    let list = list(&documents);
    assert_eq!((list.annotations["kept"].as_str(), &list.rest["later"]), ("by somebody", &true.into()));
}

#[tokio::test]
async fn a_list_that_somebody_replaces_meanwhile_is_amended_again() {
    // The other tool read the list before ours was in it, and writes after us.
    let (server, documents) = registry({
        let races = Mutex::new(2);
        move |seen, documents| {
            let mut races = races.lock().expect("no handler panics");
            if seen.method == "PUT" && seen.target.ends_with(&tag()) && *races > 0 {
                *races -= 1;
                put_list(documents, &[theirs(b"one"), theirs(&[*races])]);
                return Some(Reply::new(201));
            }
            None
        }
    })
    .await;
    let (pushed, root) = push(&server, ":signature").await;
    pushed.expect("pushed");
    assert_eq!(listed(&documents), [Digest::of(b"one"), Digest::of(&[0]), root.digest]);
}

#[tokio::test]
async fn what_cannot_be_amended_is_left_and_named() {
    let image = (media_type::MANIFEST.to_owned(), br#"{"schemaVersion":2}"#.to_vec());
    let broken = (media_type::INDEX.to_owned(), b"[]".to_vec());
    for (there, told) in [(image, "image.manifest"), (broken, "cannot be amended")] {
        let (server, documents) = registry(|_, _| None).await;
        documents.lock().expect("no handler panics").insert(tag(), there.clone());
        let error = push(&server, ":signature").await.0.expect_err("not listed");
        let PushError::Unlisted { source, subject: of, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*of, subject().to_string());
        assert!(source.to_string().contains(told) && source.to_string().contains(&tag()), "{source}");
        let documents = documents.lock().expect("no handler panics");
        assert_eq!(documents[&tag()], there);
        assert!(!documents.contains_key("signature"), "the name comes last");
    }
    // One that is never what we have written.
    let (server, _) = registry(|seen, documents| {
        let is_list = seen.method == "PUT" && seen.target.ends_with(&tag());
        is_list.then(|| {
            put_list(documents, &[theirs(b"one")]);
            Reply::new(201)
        })
    })
    .await;
    let error = push(&server, ":signature").await.0.expect_err("not listed");
    let PushError::Unlisted { source: ReferrersError::Contended { times, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(times, 5);
}
