//! The script that users run in their CI, run for real.

use std::path::Path;
use std::process::Command;

use crate::scenario::Story;
use crate::support::command::{Ran, run};
use crate::support::layout;
use crate::support::registry::{Mode, Registry};

/// Runs the script on the pair in `fixtures/` with a budget in bytes.
fn script(registry: &Registry, work: &Path, budget: &str) -> Ran {
    let [old, new] = layout::pair();
    let story = Story::new(registry, "budget/app");
    run(Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ci-budget.sh"))
        .args([&old, &new, story.name("").trim_end_matches(':'), budget])
        .env("CHUNKIFY", env!("CARGO_BIN_EXE_chunkify"))
        .env("CHUNKIFY_FLAGS", "--plain-http")
        .env("WORK", work)
        .env("GITHUB_STEP_SUMMARY", work.join("summary.md")))
}

#[test]
fn an_update_within_the_budget_passes() {
    let registry = Registry::with_mode(Mode::Zot2120);
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    script(&registry, work.path(), "50000000").ok();
    let summary = std::fs::read_to_string(work.path().join("summary.md")).expect("there is a summary");
    assert!(summary.contains("| partial |"), "the table tells how layers came:\n{summary}");
    assert!(work.path().join("report.json").exists(), "the report is there as an artifact");
}

#[test]
fn an_update_beyond_the_budget_fails() {
    let registry = Registry::with_mode(Mode::Zot2120);
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    script(&registry, work.path(), "20000").refused();
}
