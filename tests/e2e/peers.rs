//! The story with real servers, each behind a counter.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::rules;
use crate::scenario::{MADE, REAL, Ranges, Story};
use crate::support::peers;
use crate::support::registry::{Mode, Registry};

#[track_caller]
fn tell(server: SocketAddr, prefix: &str) {
    let counter = Registry::in_front_of(server);
    Story::new(&counter, &format!("{prefix}/made")).tell(&MADE, Ranges::Work);
    Story::new(&counter, &format!("{prefix}/real")).tell(&REAL, Ranges::Work);
}

#[test]
fn distribution() {
    let server = peers::distribution();
    tell(server.address(), "e2e");
}

#[test]
fn distribution_has_the_rules_that_are_played() {
    let server = peers::distribution();
    rules::compare(server.address(), Mode::Go, "e2e/rules");
}

#[test]
#[ignore = "needs a zot: CHUNKIFY_ZOT=/path/to/zot, or zot on PATH"]
fn zot() {
    let server = peers::zot();
    tell(server.address(), "e2e");
}

#[test]
#[ignore = "needs a zot: CHUNKIFY_ZOT=/path/to/zot, or zot on PATH"]
fn zot_has_the_rules_that_are_played() {
    let server = peers::zot();
    let program = peers::zot_program().expect("peers::zot found one");
    rules::compare(server.address(), zot_mode(&program), "e2e/rules");
}

#[test]
#[ignore = "needs a running registry: REGISTRY=host:port"]
fn running_registry() {
    tell(peers::running(), &format!("chunkify-e2e-{}", std::process::id()));
}

/// The rules by the version that the program tells; a build without one counts as current.
fn zot_mode(program: &Path) -> Mode {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).output().expect("zot tells its version");
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let patch = said.split("v2.1.").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    match patch.and_then(|patch| patch.parse::<u32>().ok()) {
        Some(..17) => Mode::Zot2116,
        _ => Mode::Zot2120,
    }
}
