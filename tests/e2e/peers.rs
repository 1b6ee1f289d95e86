//! The story with real servers, each behind a counter.

mod behind;

use std::net::SocketAddr;

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
    rules::compare(server.address(), rules::zot_mode(server.address()), "e2e/rules");
}

#[test]
#[ignore = "needs a running registry: REGISTRY=host:port"]
fn running_registry() {
    tell(peers::running(), &format!("chunkify-e2e-{}", std::process::id()));
}
