//! The entries that chunkify reads in an archive are those that GNU tar and Python's tarfile list, but for the differences that are listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use chunkify::tar::header::{Entry, Kind};
use chunkify::tar::scan::{Event, Scanner};
use serde_json::{Value, json};

use crate::archives::{self, Archive};
use crate::support::command;
use crate::support::tally;

const GNU: &str = "GNU tar";
const PYTHON: &str = "tarfile";

/// Peers, archives, in what their entries differ from what we read, and why.
type Known = (&'static [&'static str], &'static [&'static str], &'static [&'static str], &'static str);

/// In what an archive's entries differ from what a peer lists, and why that is right. `members`: one reads more of them than the other.
/// Our reading is Go's `archive/tar`, because podman's is.
const KNOWN: &[Known] = &[
    (BOTH, &["contiguous"], &["kind"], "a contiguous file is a regular one for us, and a kind of its own in the lists"),
    (
        BOTH,
        &["directory-with-size", "symlink-with-size"],
        &["size"],
        "what has no payload has no size for us; the lists show what the header says",
    ),
    (&[PYTHON], &["hardlink-with-size"], &["size"], "the same"),
    (&[GNU], &["symlink-with-size"], &["members"], "GNU tar takes the next header for the link's payload"),
    (
        &[PYTHON],
        &["gnu-access-and-change-time"],
        &["name"],
        "tarfile takes the access time in a GNU header for the beginning of the name",
    ),
    (
        BOTH,
        &["gnu-volume-label", "unknown-type"],
        &["members"],
        "what cannot be unpacked ends our reading; they list it",
    ),
    (&[PYTHON], &["negative-size"], &["members"], "tarfile lists a file of -1 bytes"),
    (BOTH, &["pax-malformed-length"], &["members"], "Go refuses records that it cannot read; they go on without"),
    (BOTH, &["pax-nul-in-path"], &["members"], "Go refuses a NUL in a name; they cut the name there, or keep it"),
    (
        BOTH,
        &["pax-empty-value"],
        &["name"],
        "an empty PAX value takes back an earlier one in Go, and is a value for them",
    ),
    (BOTH, &["pax-global"], &["time"], "Go leaves it to its callers to apply global records, and podman does not"),
    (
        &[GNU],
        &["pax-path-over-gnu-long-name"],
        &["name"],
        "of two long names Go takes that of the GNU header, GNU tar that of the PAX record",
    ),
    (&[GNU], &["pax-times"], &["time", "nanos"], "GNU tar prints the fraction of a negative time from the wrong side"),
    (&[PYTHON], &["pax-twice"], &["name"], "of two extended headers Go takes the second alone, tarfile both"),
    (&[GNU], &["regular-with-slash"], &["kind"], "a file whose name ends in a slash is a folder for GNU tar"),
];

const BOTH: &[&str] = &[GNU, PYTHON];

#[test]
fn list_the_same_entries() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let archives = archives::all();
    let listings = listings(&archives, folder.path());
    let (mut wrong, mut found) = (Vec::new(), BTreeMap::from([(GNU, 0), (PYTHON, 0)]));
    for archive in &archives {
        let ours = ours(&archive.tar);
        for peer in [GNU, PYTHON] {
            let theirs = &listings[&(archive.name.clone(), peer.to_owned())];
            let differences = differences(&ours, theirs, peer);
            let listed = KNOWN
                .iter()
                .filter(|(peers, names, ..)| peers.contains(&peer) && names.contains(&archive.name.as_str()));
            let listed: BTreeSet<&str> = listed.flat_map(|(_, _, aspects, _)| aspects.iter().copied()).collect();
            let aspects: BTreeSet<&str> = differences.keys().copied().collect();
            if aspects != listed {
                wrong.push(format!("{peer}, {}: {differences:?}, listed are {listed:?}", archive.name));
            }
            *found.get_mut(peer).expect("both are there") += usize::from(!aspects.is_empty());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let row = |peer, says| (says, archives.len(), found[peer]);
    tally::write("listings", &[row(GNU, "tar -tvv"), row(PYTHON, "Python's tarfile")]);
}

/// What the peers list of all archives, in one call.
fn listings(archives: &[Archive], folder: &Path) -> BTreeMap<(String, String), Vec<Value>> {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/listing.py"));
    for archive in archives {
        let file = folder.join(&archive.name);
        fs::write(&file, &archive.tar).expect("the folder can be written to");
        command.arg(file);
    }
    let printed = command::run(&mut command).ok().stdout;
    let line = |text: &str| {
        let value: Value = serde_json::from_str(text).expect("listing.py prints objects");
        let name = Path::new(value["archive"].as_str().expect("a path")).file_name().expect("a name");
        let key = (name.to_string_lossy().into_owned(), value["peer"].as_str().expect("a peer").to_owned());
        (key, value["members"].as_array().expect("a list").clone())
    };
    printed.lines().map(line).collect()
}

/// The entries as chunkify's scanner reads them, up to the first fault, in the peers' form.
fn ours(tar: &[u8]) -> Vec<Value> {
    let (mut scanner, mut input, mut members) = (Scanner::lenient(), tar, Vec::new());
    while let Ok(Some(event)) = scanner.next(&mut input) {
        if let Event::Entry { entry, .. } = event {
            members.push(member(&entry));
        }
    }
    members
}

fn member(entry: &Entry) -> Value {
    let kind = match entry.kind {
        Kind::Regular => "reg",
        Kind::HardLink => "hardlink",
        Kind::Symlink => "symlink",
        Kind::Char => "char",
        Kind::Block => "block",
        Kind::Directory => "dir",
        Kind::Fifo => "fifo",
    };
    let of_device = matches!(entry.kind, Kind::Char | Kind::Block);
    let device = if of_device { [entry.dev_major, entry.dev_minor] } else { [0, 0] };
    let size = entry.sparse.as_ref().map_or(entry.size, |sparse| i64::try_from(sparse.size).expect("it is small"));
    let xattrs: BTreeMap<String, String> = entry.xattrs.iter().map(|(name, value)| (hex(name), hex(value))).collect();
    json!({
        "kind": kind, "name": hex(&entry.name), "link": hex(&entry.link_name), "mode": entry.mode, "uid": entry.uid, "gid": entry.gid,
        "size": size, "time": entry.mtime.seconds, "nanos": entry.mtime.nanos, "device": device, "xattrs": xattrs,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In what two lists differ, with the first example of each.
fn differences(ours: &[Value], theirs: &[Value], peer: &str) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    if ours.len() != theirs.len() {
        found.insert("members", format!("we read {}, it reads {}", ours.len(), theirs.len()));
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        for aspect in ["kind", "name", "link", "mode", "uid", "gid", "size", "time", "nanos", "device", "xattrs"] {
            let (ours, theirs) = (comparable(&ours[aspect], aspect, peer), comparable(&theirs[aspect], aspect, peer));
            if ours != theirs {
                found.entry(aspect).or_insert_with(|| format!("{ours} and {theirs}"));
            }
        }
    }
    found
}

/// A field without what a peer does not show: GNU tar has permission bits alone, and lengths of attributes; tarfile takes a name's last slash away.
fn comparable(field: &Value, aspect: &str, peer: &str) -> Value {
    match (aspect, field) {
        ("mode", field) => json!(field.as_i64().unwrap_or(-1) & 0o7777),
        ("name", Value::String(name)) => json!(name.trim_end_matches("2f")),
        ("xattrs", Value::Object(map)) if peer == GNU => {
            let len = |value: &Value| value.as_str().map_or_else(|| value.clone(), |hex| json!(hex.len() / 2));
            map.iter().map(|(name, value)| (name.clone(), len(value))).collect::<serde_json::Map<_, _>>().into()
        }
        (_, field) => field.clone(),
    }
}
