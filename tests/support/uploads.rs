//! How the in-process registry takes blobs: mount, one PUT, or PATCH by PATCH.

use super::content::digest_of;
use super::message::{Asked, Reply};
use super::registry::State;

/// An upload's start (`upload` is empty) or one of its steps.
pub fn answer(state: &State, asked: &Asked, name: &str, upload: &str) -> Reply {
    match asked.method.as_str() {
        "POST" if upload.is_empty() => start(state, asked, name),
        "PATCH" => more(state, asked, name, upload),
        "PUT" => finish(state, asked, name, upload),
        "GET" => match content(state).uploaded(upload) {
            Some(len) => Reply::empty(204).with("range", range(len)).with("location", location(name, upload)),
            None => Reply::error(404, "BLOB_UPLOAD_UNKNOWN"),
        },
        _ => Reply::error(405, "UNSUPPORTED"),
    }
}

fn content(state: &State) -> std::sync::MutexGuard<'_, super::content::Content> {
    state.content.lock().expect("no handler panics")
}

fn start(state: &State, asked: &Asked, name: &str) -> Reply {
    if let (Some(digest), Some(from)) = (asked.argument("mount"), asked.argument("from"))
        && content(state).mount(digest, from, name)
    {
        return Reply::empty(201)
            .with("location", format!("/v2/{name}/blobs/{digest}"))
            .with("docker-content-digest", digest);
    }
    // `?digest=` on POST is not taken, as the specification allows: the answer is an upload to go on with.
    let upload = content(state).start_upload();
    Reply::empty(202).with("location", location(name, &upload)).with("range", "0-0")
}

fn more(state: &State, asked: &Asked, name: &str, upload: &str) -> Reply {
    let Some(have) = content(state).uploaded(upload) else { return Reply::error(404, "BLOB_UPLOAD_UNKNOWN") };
    if !matches!(asked.chunk_start(), Ok(None)) && asked.chunk_start() != Ok(Some(have)) {
        return Reply::error(416, "RANGE_INVALID").with("range", range(have));
    }
    let len = content(state).append(upload, &asked.body).unwrap_or(have);
    Reply::empty(202).with("location", location(name, upload)).with("range", range(len))
}

fn finish(state: &State, asked: &Asked, name: &str, upload: &str) -> Reply {
    let Some(digest) = asked.argument("digest") else { return Reply::error(400, "DIGEST_INVALID") };
    let mut content = content(state);
    content.append(upload, &asked.body);
    match content.finish_upload(name, upload, digest) {
        Some(true) => Reply::empty(201)
            .with("location", format!("/v2/{name}/blobs/{digest}"))
            .with("docker-content-digest", digest),
        Some(false) => Reply::error(400, "DIGEST_INVALID"),
        None => Reply::error(404, "BLOB_UPLOAD_UNKNOWN"),
    }
}

/// Relative and with a query of its own, to which a client must append.
fn location(name: &str, upload: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{upload}?_state={}", &digest_of(upload.as_bytes())[7..23])
}

fn range(len: u64) -> String {
    format!("0-{}", len.saturating_sub(1))
}
