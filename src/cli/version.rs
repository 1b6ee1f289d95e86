//! `chunkify --version`: what was built, and what this machine lends it.

use std::sync::LazyLock;

use crate::digest;
use crate::encode::Pool;
use crate::zstd::codec;

/// The version, the zstd library that shapes the frames, and how digests are computed here.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let sha256 = if digest::has_instructions() {
            "with the processor's instructions"
        } else {
            "in software: this processor has no instructions for it"
        };
        let (version, processors) = (env!("CARGO_PKG_VERSION"), Pool::processors());
        format!("{version}\nzstd {}\nSHA-256 {sha256}\n{processors} processors", codec::library_version())
    });
    &TEXT
}
