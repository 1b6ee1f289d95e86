//! The in-process registry's answers: the distribution API for pull and push, tokens, redirects and forwarding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::content::Unfit;
use super::message::{Asked, Reply};
use super::registry::{Door, State};
use super::{blobs, http, uploads};

/// The answer to a request.
pub fn answer(state: &State, asked: &Asked) -> Reply {
    let reply = match (state.options.forward, asked.door) {
        (Some(server), Door::Front) => return forward(server, asked),
        (_, Door::Target) => blobs::redirected(state, asked),
        (None, Door::Front) => front(state, asked),
    };
    if asked.method == "HEAD" { reply.for_head() } else { reply }
}

fn forward(server: std::net::SocketAddr, asked: &Asked) -> Reply {
    let hop = ["connection", "content-length", "transfer-encoding", "keep-alive", "expect"];
    let kept = |headers: &[(String, String)]| -> Vec<(String, String)> {
        headers.iter().filter(|(name, _)| !hop.contains(&name.to_lowercase().as_str())).cloned().collect()
    };
    match http::request(server, &asked.method, &asked.target, &kept(&asked.headers), &asked.body) {
        Ok(got) => {
            let reply = Reply { headers: kept(&got.headers), ..Reply::empty(got.status) };
            if asked.method == "HEAD" {
                let length = got.header("content-length").map(str::to_owned);
                return length.into_iter().fold(reply, |reply, length| reply.with("content-length", length));
            }
            reply.bytes(got.body.into())
        }
        Err(error) => Reply::text(502, &format!("{error}\n")),
    }
}

fn front(state: &State, asked: &Asked) -> Reply {
    if asked.path == "/token" {
        return token(state, asked);
    }
    if let Some(refusal) = too_busy(state) {
        return refusal;
    }
    let Some(rest) = asked.path.strip_prefix("/v2/") else { return Reply::text(404, "404 page not found\n") };
    let place = Place::read(rest);
    if let Some(refusal) = unauthorized(state, asked, &place) {
        return refusal;
    }
    match place {
        Place::Root => Reply::json(200, &json!({})).with("docker-distribution-api-version", "registry/2.0"),
        Place::Blob(name, digest) => blobs::answer(state, asked, name, digest),
        Place::Upload(name, upload) => uploads::answer(state, asked, name, upload),
        Place::Manifest(name, reference) => manifest(state, asked, name, reference),
        Place::Tags(name) => tags(state, asked, name),
        Place::Unknown => Reply::text(404, "404 page not found\n"),
    }
}

/// Every n-th request is too much.
fn too_busy(state: &State) -> Option<Reply> {
    let busy = state.options.busy?;
    let number = state.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
    if !number.is_multiple_of(busy.every) {
        return None;
    }
    let reply = Reply::error(busy.status, if busy.status == 429 { "TOOMANYREQUESTS" } else { "UNAVAILABLE" });
    Some(match busy.retry_after {
        Some(seconds) => reply.with("retry-after", seconds.to_string()),
        None => reply,
    })
}

/// What a path below `/v2/` means.
enum Place<'a> {
    Root,
    Blob(&'a str, &'a str),
    Upload(&'a str, &'a str),
    Manifest(&'a str, &'a str),
    Tags(&'a str),
    Unknown,
}

impl<'a> Place<'a> {
    fn read(rest: &'a str) -> Self {
        if rest.is_empty() {
            return Self::Root;
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Self::Tags(name);
        }
        if let Some((name, upload)) = rest.rsplit_once("/blobs/uploads/") {
            return Self::Upload(name, upload);
        }
        if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            return Self::Blob(name, digest);
        }
        rest.rsplit_once("/manifests/").map_or(Self::Unknown, |(name, reference)| Self::Manifest(name, reference))
    }

    fn repository(&self) -> Option<&'a str> {
        match *self {
            Self::Root | Self::Unknown => None,
            Self::Blob(name, _) | Self::Upload(name, _) | Self::Manifest(name, _) | Self::Tags(name) => Some(name),
        }
    }
}

/// The 401 for a request without a token of the right scope.
fn unauthorized(state: &State, asked: &Asked, place: &Place<'_>) -> Option<Reply> {
    state.options.tokens.as_ref()?;
    let action = if matches!(asked.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
    let bearer = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let mut tokens = state.tokens.lock().expect("no handler panics");
    let scope = place.repository().map(|name| format!("repository:{name}:"));
    if let Some((given, uses)) = bearer.and_then(|token| tokens.get_mut(token)) {
        let covered = scope.as_ref().is_none_or(|scope| {
            given
                .split(' ')
                .any(|one| one.strip_prefix(scope.as_str()).is_some_and(|it| it.split(',').any(|it| it == action)))
        });
        if covered && *uses > 0 {
            *uses -= 1;
            return None;
        }
    }
    let actions = if action == "pull" { "pull" } else { "pull,push" };
    let scope = scope.map(|scope| format!(",scope=\"{scope}{actions}\"")).unwrap_or_default();
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"test\"{scope}", state.address);
    Some(Reply::error(401, "UNAUTHORIZED").with("www-authenticate", challenge))
}

fn token(state: &State, asked: &Asked) -> Reply {
    let Some(rules) = &state.options.tokens else { return Reply::text(404, "404 page not found\n") };
    if let Some((user, password)) = &rules.user {
        let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        if asked.header("authorization") != Some(&wanted) {
            return Reply::error(401, "UNAUTHORIZED");
        }
    }
    let mut tokens = state.tokens.lock().expect("no handler panics");
    let name = format!("token-{}", tokens.len());
    let scope = asked.argument("scope").unwrap_or_default().to_owned();
    tokens.insert(name.clone(), (scope, rules.uses.unwrap_or(u64::MAX)));
    Reply::json(200, &json!({"token": name, "expires_in": 300}))
}

fn manifest(state: &State, asked: &Asked, name: &str, reference: &str) -> Reply {
    let mut content = state.content.lock().expect("no handler panics");
    if asked.method == "PUT" {
        let kind = asked.header("content-type").unwrap_or("");
        return match content.put_manifest(name, reference, kind, asked.body.clone()) {
            Ok(digest) => Reply::empty(201)
                .with("location", format!("/v2/{name}/manifests/{digest}"))
                .with("docker-content-digest", digest),
            Err(Unfit::Invalid) => Reply::error(400, "MANIFEST_INVALID"),
            Err(Unfit::Digest) => Reply::error(400, "DIGEST_INVALID"),
            Err(Unfit::Missing(_)) => Reply::error(404, "MANIFEST_BLOB_UNKNOWN"),
        };
    }
    // Some registries answer a ranged manifest with an error; nobody has reason to ask for one.
    if asked.header("range").is_some() {
        return Reply::error(400, "UNSUPPORTED");
    }
    match content.manifest(name, reference) {
        Some((digest, kind, bytes)) => {
            Reply::empty(200).with("content-type", kind).with("docker-content-digest", digest).bytes(bytes)
        }
        None => Reply::error(404, "MANIFEST_UNKNOWN"),
    }
}

fn tags(state: &State, asked: &Asked, name: &str) -> Reply {
    let Some(tags) = state.content.lock().expect("no handler panics").tags(name) else {
        return Reply::error(404, "NAME_UNKNOWN");
    };
    let last = asked.argument("last").unwrap_or("");
    let left: Vec<_> = tags.into_iter().filter(|tag| tag.as_str() > last).collect();
    let most = asked.argument("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let page = &left[..left.len().min(most)];
    let reply = Reply::json(200, &json!({"name": name, "tags": page}));
    match page.last() {
        Some(tag) if page.len() < left.len() => {
            reply.with("link", format!("</v2/{name}/tags/list?n={most}&last={tag}>; rel=\"next\""))
        }
        _ => reply,
    }
}
