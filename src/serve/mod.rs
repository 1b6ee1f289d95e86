//! An OCI layout behind the pull half of the distribution API, so that a demo, a test and a laptop need no registry.
//!
//! | request (`GET` or `HEAD`) | answer |
//! |---|---|
//! | `/v2/` | `{}` |
//! | `/v2/<name>/manifests/<tag or digest>` | the manifest or index |
//! | `/v2/<name>/blobs/<digest>` | the blob; one or several ranges as Go's `http.ServeContent` answers them |
//! | `/v2/<name>/tags/list?n=&last=` | the tags in lexical order, paged by `Link` |
//! | `/v2/<name>/referrers/<digest>?artifactType=` | what names that manifest as its `subject` |
//!
//! A tag is found through the name that an entry of `index.json` has (`org.opencontainers.image.ref.name`): a full name such as
//! `127.0.0.1:5000/app:new` or `app:new` belongs to the repository `app`; a bare `new` belongs to every repository. By digest, every
//! blob and manifest is served under every repository name: a layout does not say what belongs to which.
//!
//! Bytes of blobs go out unverified, since the reader verifies them anyway; manifests are verified. Nothing is ever written.
//! There is neither TLS nor authentication, and a reader may take as long as it likes: this is no production registry, and it
//! refuses to listen beyond loopback unless it is told to ([`Options::public`]).

mod answer;
mod blob;
mod body;
mod catalog;
mod error;
mod manifest;
mod range;
mod referrers;
mod route;
mod server;
mod tags;

#[cfg(any(test, fuzzing))]
pub(crate) use range::{Selection, content_range, part_head, parts_end, select};

pub use body::Counters;
pub use server::{Options, ServeError, serve};
