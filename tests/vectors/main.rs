//! The format and the tars inside it, compared with what others make of the same bytes: a second reader of the format, the plain zstd command,
//! GNU tar and Python's tarfile. What was compared is counted in `target/conformance`.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

mod archives;
#[path = "../support/mod.rs"]
mod support;

mod peers {
    mod listings;
    mod second_reader;
    mod zstd;
}
