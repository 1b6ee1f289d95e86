//! The house stands as `src/lib.rs` says: every module imports only from modules of lower rank (or its own).

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The ranks, lowest first. Modules of one row know nothing of each other.
const RANKS: &[&[&str]] = &[
    &["digest", "ledger", "limits", "span"],
    &["blob", "zstd", "tar", "cut"],
    &["inflate"],
    &["format"],
    &["encode", "image", "plan"],
    &["registry", "store"],
    &["archive"],
    &["source", "serve"],
    &["local"],
    &["convert", "inspect", "pull", "push", "unpack"],
    &["housekeeping", "verify"],
    &["report"],
    &["cli"],
    &["fuzzing"],
];

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The module that a file belongs to: the first part of its path below `src`.
fn module(file: &Path) -> String {
    let below = file.strip_prefix("src").unwrap().components().next().unwrap();
    below.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The modules that a text names as `crate::…`.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = Vec::new();
    for line in code {
        for (_, rest) in line.match_indices("crate::").map(|(at, _)| line.split_at(at + "crate::".len())) {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn imports_point_down() {
    let rank: BTreeMap<&str, usize> =
        RANKS.iter().enumerate().flat_map(|(rank, row)| row.iter().map(move |module| (*module, rank))).collect();
    let mut all = Vec::new();
    files(Path::new("src"), &mut all);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in all {
        let own = module(&file);
        if own == "lib" || own == "main" {
            continue;
        }
        let Some(&own_rank) = rank.get(own.as_str()) else { panic!("{own} has no rank") };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            let Some(&import_rank) = rank.get(import.as_str()) else {
                panic!("{}: {import} has no rank", file.display())
            };
            seen += 1;
            if import != own && import_rank >= own_rank {
                wrong.push(format!("{} ({own}) imports {import}", file.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} imports were found: the test looks in the wrong place");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Code that is `unsafe`: one call, for what it spares (`spec-notes/measurements.md`), with its proof beside it. Everywhere else, tests and
/// fuzz targets included, a lint denies it; what needs it is in crates that are there for it.
const UNSAFE: &str = "src/digest/lanes/x86.rs";

#[test]
fn unsafe_code_has_one_place() {
    for (manifest, level) in [("Cargo.toml", "deny"), ("tests/fuzz/Cargo.toml", "forbid")] {
        let text = fs::read_to_string(manifest).unwrap();
        let (_, lints) = text.split_once("\n[lints.rust]\n").unwrap_or_else(|| panic!("{manifest} has no lints"));
        let lints = lints.split("\n[").next().unwrap();
        let lint = format!("unsafe_code = \"{level}\"");
        assert!(lints.lines().any(|line| line == lint), "{manifest} lets code be unsafe");
    }
    let mut all = Vec::new();
    files(Path::new("src"), &mut all);
    files(Path::new("tests"), &mut all);
    let lifted = |file: &PathBuf| {
        let lifts = ["expect", "allow", "warn"].map(|level| format!("{level}(unsafe_code"));
        let text = fs::read_to_string(file).unwrap();
        lifts.iter().map(|lift| text.matches(&**lift).count()).sum::<usize>()
    };
    let places: Vec<_> = all.iter().map(|file| (file.display().to_string(), lifted(file))).collect();
    let places: Vec<_> = places.iter().filter(|(_, lifted)| *lifted > 0).map(|(file, n)| (&**file, *n)).collect();
    assert_eq!(places, [(UNSAFE, 1)]);
    let text = fs::read_to_string(UNSAFE).unwrap();
    assert_eq!((text.matches("unsafe {").count(), text.matches("// SAFETY:").count()), (1, 1), "each has its proof");
}

/// Files stay rooms with one job; a longer one wants to be several.
#[test]
fn files_stay_readable() {
    let mut all = Vec::new();
    files(Path::new("src"), &mut all);
    let long = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        // Unit tests stand behind the code and do not count.
        let code = text.split("#[cfg(test)]").next().unwrap().lines().count();
        (code > 450).then(|| format!("{}: {code} lines", file.display()))
    };
    let long: Vec<_> = all.iter().filter_map(long).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
