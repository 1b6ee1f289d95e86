//! Archives that others have collected, and those of fixtures/tars.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::judge::judge;
use crate::oracle::Oracle;
use crate::support::command::run;
use crate::tally::Tally;

/// The test data of Go's `archive/tar`, of tar-split's copy of it, and of tar-split itself. Go's come with every Go distribution, below
/// GOROOT; tar-split's with the module that tests/interop is built with.
#[test]
fn of_go_and_tar_split() {
    let mut oracle = Oracle::start("go-archives");
    let mut tally = Tally::new("go-archives");
    let tar_split = asked_go(&["list", "-m", "-f", "{{.Dir}}", "github.com/vbatts/tar-split"]);
    let folders = [
        ("go", PathBuf::from(asked_go(&["env", "GOROOT"])).join("src/archive/tar/testdata"), 40),
        ("tar-split-copy", Path::new(&tar_split).join("archive/tar/testdata"), 40),
        ("tar-split", Path::new(&tar_split).join("tar/asm/testdata"), 6),
    ];
    for (source, folder, at_least) in folders {
        let tars = test_data(&folder);
        assert!(
            tars.len() >= at_least,
            "{} holds {} archives, it should hold {at_least}: is this Go distribution whole, and the module there (`go mod download` in tests/interop)?",
            folder.display(),
            tars.len()
        );
        for from in tars {
            let name = from.file_name().expect("it is a file").to_string_lossy().into_owned();
            let to = oracle.work().join(format!("{source}-{name}.tar"));
            oracle.decode(&from, &to).unwrap_or_else(|no| panic!("{}: {}", from.display(), no.error));
            let verdict = judge(&mut oracle, &to);
            tally.add(&format!("{source}/{name}"), &verdict.compared, verdict.differences);
        }
    }
    tally.settle();
}

/// Our own archives. The facts that are committed beside them must be what the reference still says.
#[test]
fn of_the_fixtures() {
    let mut oracle = Oracle::start("fixtures");
    let mut tally = Tally::new("fixtures");
    let mut tars = test_data(Path::new("fixtures/tars"));
    tars.sort();
    assert!(tars.len() >= 70, "only {} archives", tars.len());
    for from in tars {
        let name = from.file_stem().expect("it is a file").to_string_lossy().into_owned();
        let to = oracle.work().join(format!("{name}.tar"));
        fs::copy(&from, &to).expect("an archive can be copied");
        let verdict = judge(&mut oracle, &to);
        let committed: Value = serde_json::from_slice(&fs::read(from.with_extension("json")).expect("it has facts"))
            .expect("facts are JSON");
        assert_eq!(verdict.facts, committed, "fixtures/tars/{name}.json is no longer what the reference says");
        tally.add(&name, &verdict.compared, verdict.differences);
    }
    tally.settle();
}

/// What a Go command in tests/interop prints.
#[track_caller]
fn asked_go(arguments: &[&str]) -> String {
    let ran = run(Command::new("go").args(arguments).current_dir("tests/interop")).ok();
    let said = ran.stdout.trim().to_owned();
    assert!(!said.is_empty(), "{} says nothing", ran.line);
    said
}

/// The archives of a folder, in the order of their names, whatever they are packed in.
fn test_data(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = found.map(|entry| entry.expect("a folder lists").path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".tar")));
    found.sort();
    found
}
