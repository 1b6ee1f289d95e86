//! Every limit is met at its number and refused one past it, and the table for people says what the constants say.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

mod answers;
mod documents;
mod layers;
mod logins;
mod memory;
#[allow(dead_code, reason = "each test binary uses its part of this")]
#[path = "../registry/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use chunkify::limits::{self, Amount};

/// Where a limit is met.
enum Met {
    /// By this.
    Here(fn()),
    /// By the tests of a file, because it holds what nobody else sees.
    In(&'static str),
}

use Met::{Here, In};

const TESTS: &[(&str, Met)] = &[
    ("MANIFEST", Here(documents::manifest)),
    ("LAYERS", Here(documents::layers)),
    ("LAYER", Here(documents::layer)),
    ("INDEX_MANIFESTS", Here(documents::index_manifests)),
    ("INDEX_DEPTH", Here(documents::index_depth)),
    ("TOC_COMPRESSED", Here(layers::toc_compressed)),
    ("TOC_UNCOMPRESSED", Here(layers::toc_uncompressed)),
    ("TAR_SPLIT_COMPRESSED", Here(layers::tar_split_compressed)),
    ("TAR_SPLIT_UNCOMPRESSED", Here(layers::tar_split_uncompressed)),
    ("TAR_SPLIT_LINE", Here(layers::tar_split_line)),
    ("ZSTD_WINDOW_LOG", Here(layers::window)),
    ("ENTRIES", Here(layers::entries)),
    ("TAR_SPECIAL", Here(layers::tar_special)),
    ("TAR_HEADERS", Here(layers::tar_headers)),
    ("ARCHIVE_NAMES", In("src/archive/members.rs")),
    ("PATH", In("src/unpack/name.rs")),
    ("UNPACKED", In("src/unpack/room.rs")),
    ("UNPACKED_RATIO", In("src/unpack/room.rs")),
    ("REDIRECTS", Here(answers::redirects)),
    ("ATTEMPTS", Here(answers::attempts)),
    ("PAUSE", In("src/registry/http.rs")),
    ("SILENCE", In("tests/registry/slow.rs")),
    ("SLOWEST", In("tests/registry/slow.rs")),
    ("ERROR_BODY", Here(answers::error_body)),
    ("TOKEN_BODY", Here(answers::token_body)),
    ("TOKEN_LIFETIME", Here(answers::token_lifetime)),
    ("SURPLUS", Here(answers::surplus)),
    ("PARTS", Here(answers::parts)),
    ("PART_BOUNDARY", In("src/registry/multipart.rs")),
    ("PART_HEADER", In("src/registry/multipart.rs")),
    ("PART_PREAMBLE", In("src/registry/multipart.rs")),
    ("POOR_ANSWERS", In("src/registry/patience.rs")),
    ("EMPTY_ANSWERS", In("src/registry/patience.rs")),
    ("RANGE_REFUSALS", In("src/registry/patience.rs")),
    ("FETCHED_AGAIN", In("tests/lies/pulls.rs")),
    ("NAME", Here(logins::name)),
    ("TAG", Here(logins::tag)),
    ("PASSWORD", In("src/cli/secret.rs")),
    ("CREDENTIALS_FILE", Here(logins::credentials_file)),
    ("HELPER_ANSWER", Here(logins::helper_answer)),
    ("HELPER_TIME", In("src/registry/credentials/helper.rs")),
    ("REGISTRIES_CONF", Here(logins::registries_conf)),
    ("CERTIFICATE_FILE", Here(logins::certificate_file)),
    ("HOSTS_FILE", Here(logins::any_file)),
    ("REMEMBERED_HOSTS", In("src/registry/memory.rs")),
    ("REQUEST_HEAD", In("tests/serve.rs")),
    ("REQUEST_HEADERS", In("tests/serve.rs")),
    ("REQUEST_TIME", Here(answers::request_time)),
];

#[test]
fn each_is_met() {
    let names: Vec<_> = limits::TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(TESTS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "each limit has its test, in order");
    for (name, met) in TESTS {
        println!("{name}");
        match met {
            Here(test) => test(),
            In(file) => {
                let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
                let tests = if file.starts_with("src/") { text.split("#[cfg(test)]").nth(1) } else { Some(&*text) };
                let named = tests.is_some_and(|tests| tests.contains(&format!("limits::{name}")));
                assert!(named, "the tests of {file} do not speak of {name}");
            }
        }
    }
}

#[test]
fn the_notes_have_the_same_table() {
    let notes = include_str!("../../spec-notes/limits.md");
    let rows = notes.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let mut rows = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    for (name, amount) in limits::TABLE {
        let row = rows.next().unwrap_or_else(|| panic!("spec-notes/limits.md has no {name}"));
        let [noted, value, caps, attack] = row[..] else { panic!("{row:?} has not four columns") };
        assert_eq!((noted.trim_end_matches('`'), value), (*name, &*words(*amount)), "{row:?}");
        assert!(caps.len() > 3 && attack.len() > 3, "{row:?} says too little");
    }
    assert_eq!(rows.next(), None, "the notes have a limit that the code does not have");
}

/// A limit's number, as the notes have it.
fn words(amount: Amount) -> String {
    match amount {
        Amount::Bytes(bytes) => bytes_in_words(bytes),
        Amount::Count(count) => grouped(count),
        Amount::PowerOfTwo(log) => format!("{log} ({})", bytes_in_words(1 << log)),
        Amount::BytesPerSecond(bytes) => format!("{bytes} bytes/s"),
        Amount::Time(time) if time >= Duration::from_secs(3600) => format!("{} h", time.as_secs() / 3600),
        Amount::Time(time) => format!("{} s", time.as_secs()),
    }
}

fn bytes_in_words(bytes: u64) -> String {
    let unit = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(log, _)| bytes.is_multiple_of(1 << log));
    unit.map_or_else(|| format!("{} bytes", grouped(bytes)), |(log, unit)| format!("{} {unit}", grouped(bytes >> log)))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|three| std::str::from_utf8(three).unwrap()).collect();
    grouped.join(",")
}

/// Runs what waits for servers.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}
