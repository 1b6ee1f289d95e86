//! What the tests stand on: servers to talk to, images to convert, the command to run, and readers that are not the product's.

#![allow(dead_code, reason = "each test binary uses its part of this")]
#![allow(clippy::disallowed_methods, reason = "tests read and write files")]

pub mod answers;
pub mod behind;
pub mod blobs;
pub mod body;
pub mod command;
pub mod content;
pub mod guarded;
pub mod http;
pub mod layout;
pub mod made;
pub mod message;
pub mod peers;
pub mod range_rules;
pub mod registry;
pub mod relay;
pub mod report;
pub mod second_reader;
pub mod tally;
pub mod uploads;
pub mod watched;
