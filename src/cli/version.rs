//! `chunkify --version`: what was built, and what this machine lends it.

use std::sync::LazyLock;

use crate::digest;
use crate::zstd::codec;

/// The version, the zstd library that shapes the frames, and how digests are computed here.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let sha256 = if digest::has_instructions() {
            "with the processor's instructions"
        } else {
            "in software: this processor has no instructions for it"
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let version = env!("CARGO_PKG_VERSION");
        format!("{version}\nzstd {}\nSHA-256 {sha256}\n{threads} processors", codec::library_version())
    });
    &TEXT
}
