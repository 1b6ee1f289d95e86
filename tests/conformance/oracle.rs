//! The reference's own code, in a process that answers requests (tests/interop, `serve`).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::peers;

/// The process, and the folder that it works in.
pub struct Oracle {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    work: PathBuf,
}

/// What the reference said no with.
#[derive(Debug)]
pub struct Refusal {
    /// Its words.
    pub error: String,
    /// Whether podman would take the whole blob instead.
    pub fallback: bool,
}

/// A blob and its descriptor's annotations.
pub struct Written {
    pub blob: PathBuf,
    pub annotations: Value,
}

impl Oracle {
    /// Starts the reference for a suite.
    #[track_caller]
    pub fn start(suite: &str) -> Self {
        let program = program("interop");
        let work = work().join(suite);
        let _ = fs::remove_dir_all(&work); // of a run before
        fs::create_dir_all(&work).expect("a folder to work in can be made");
        let mut child = Command::new(&program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, requests, answers, work }
    }

    /// Where this suite's files are.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// What it reads in a tar: its members, the table of contents and the tar-split that it writes.
    pub fn facts(&mut self, tar: &Path) -> Value {
        self.ask(&json!({"op": "facts", "tar": tar})).unwrap_or_else(|no| panic!("{}: {}", tar.display(), no.error))
    }

    /// Its own blob of a tar.
    pub fn write(&mut self, tar: &Path, level: Option<i32>) -> Result<Written, Refusal> {
        let blob = tar.with_extension("reference");
        let value = self.ask(&json!({"op": "write", "tar": tar, "blob": blob, "level": level}))?;
        Ok(Written { blob, annotations: value["annotations"].clone() })
    }

    /// An eStargz blob of a tar, and the digest of the tar that is in it.
    pub fn estargz(&mut self, tar: &Path) -> Result<(Written, String), Refusal> {
        let blob = tar.with_extension("estargz");
        let value = self.ask(&json!({"op": "estargz", "tar": tar, "blob": blob}))?;
        let diff_id = value["diff_id"].as_str().expect("a digest").to_owned();
        Ok((Written { blob, annotations: value["annotations"].clone() }, diff_id))
    }

    /// The digest of the tar that tar-split's assembler makes of a blob's metadata and frames.
    pub fn rebuild(&mut self, blob: &Path, annotations: &Value) -> Result<Value, Refusal> {
        self.ask(&json!({"op": "rebuild", "blob": blob, "annotations": annotations}))
    }

    /// Pulls an image's layers (blob, annotations, diff_id) in part, into this suite's store; each must export as its diff_id. What is
    /// not kept leaves no trace for the next pull.
    pub fn pull(&mut self, layers: &[(&Path, &Value, &str)], keep: bool) -> Result<Value, Refusal> {
        let layer = |(blob, annotations, diff_id): &(&Path, &Value, &str)| json!({"blob": blob, "annotations": annotations, "diff_id": diff_id});
        let layers: Vec<Value> = layers.iter().map(layer).collect();
        let store = self.work.join("store");
        self.ask(&json!({"op": "pull", "store": store, "layers": layers, "keep": keep}))
    }

    /// Unpacks test data.
    pub fn decode(&mut self, from: &Path, to: &Path) -> Result<Value, Refusal> {
        self.ask(&json!({"op": "decode", "from": from, "to": to}))
    }

    fn ask(&mut self, request: &Value) -> Result<Value, Refusal> {
        let requests = self.requests.as_mut().expect("it is open as long as this value lives");
        writeln!(requests, "{request}").and_then(|()| requests.flush()).expect("the reference takes requests");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the reference answers in text");
        let mut answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the reference ended on {request}: {line:?}"));
        match answer["error"].as_str() {
            Some(error) => Err(Refusal { error: error.to_owned(), fallback: answer["fallback"] == true }),
            None => Ok(answer["value"].take()),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // At the end of its requests it unmounts its stores.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}

/// A program that `make reference` builds.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let program = folder().join(name);
    assert!(program.exists(), "there is no {name} at {}: run `make reference`", program.display());
    program
}

/// Where those programs are.
pub fn folder() -> PathBuf {
    peers::peers_dir().with_file_name("interop")
}

/// Where suites work. Its file system must carry overlay mounts.
pub fn work() -> PathBuf {
    let given = std::env::var_os("CONFORMANCE_WORK").map(PathBuf::from);
    given.unwrap_or_else(|| folder().with_file_name("conformance").join("work"))
}
