//! `tests/vectors/reader.py`, which shares nothing with the product.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/reader.py");

/// What it says of one blob.
#[derive(Debug)]
pub struct Said {
    /// The blob.
    pub name: String,
    /// The first thing that is wrong.
    pub fault: Option<String>,
    /// Whether it was read as zstd:chunked.
    pub chunked: bool,
    /// Zstd frames of the data part.
    pub frames: u64,
}

/// Reads blobs, given as its jobs (`blob`, `name`, `annotations`, `digest`, `size`, `diff_id`), all in one process.
#[track_caller]
pub fn read(jobs: &[Value]) -> Vec<Said> {
    let list: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    said(Command::new("python3").arg(READER), &list, jobs.len())
}

/// Reads every layer of layouts.
#[track_caller]
pub fn read_layouts(folders: &[&Path]) -> Vec<Said> {
    said(Command::new("python3").arg(READER).args(folders), "", folders.len())
}

#[track_caller]
fn said(command: &mut Command, input: &str, least: usize) -> Vec<Said> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("python3 is needed: install the python3 package");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads its list first");
    let output = child.wait_with_output().expect("it ends");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stderr.is_empty(), "reader.py: {stderr}");
    let said: Vec<Said> = stdout.lines().map(line).collect();
    assert!(said.len() >= least, "reader.py read {} of {least}", said.len());
    assert_eq!(output.status.success(), said.iter().all(|one| one.fault.is_none()), "its exit code says so too");
    said
}

fn line(text: &str) -> Said {
    let value: Value = serde_json::from_str(text).expect("reader.py prints objects");
    Said {
        name: value["name"].as_str().expect("a name").to_owned(),
        fault: value["fault"].as_str().map(str::to_owned),
        chunked: value["form"] == "chunked",
        frames: value["frames"].as_u64().unwrap_or(0),
    }
}

/// How many of them are zstd:chunked; none may have a fault.
#[track_caller]
pub fn assert_right(said: &[Said]) -> usize {
    let faults: Vec<_> = said.iter().filter_map(|one| Some(format!("{}: {}", one.name, one.fault.as_ref()?))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    said.iter().filter(|one| one.chunked).count()
}
