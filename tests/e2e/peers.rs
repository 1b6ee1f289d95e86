//! The story with real servers, each behind a counter.

mod behind;
mod guarded;
mod referrers;

use std::net::SocketAddr;

use crate::rules;
use crate::scenario::{MADE, REAL, Ranges, Story};
use crate::support::guarded::{Asks, Kind, distribution_2_program};
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
fn distribution_with_passwords() {
    for kind in [Kind::Distribution3, Kind::Distribution2] {
        for tls in [false, true] {
            guarded::tell(kind, Asks::Password, tls);
        }
    }
}

#[test]
fn distribution_with_tokens() {
    for kind in [Kind::Distribution3, Kind::Distribution2] {
        for tls in [false, true] {
            guarded::tell(kind, Asks::Token, tls);
        }
    }
}

#[test]
fn distribution_for_certified_clients() {
    guarded::tell_with_a_client_certificate();
}

#[test]
fn distribution_has_no_list_of_referrers() {
    for program in [peers::distribution_program(), distribution_2_program()] {
        referrers::tell(peers::plain_distribution(&program).address(), false);
    }
}

#[test]
#[ignore = "needs a zot: CHUNKIFY_ZOT=/path/to/zot, or zot on PATH"]
fn zot_has_a_list_of_referrers() {
    referrers::tell(peers::zot().address(), true);
}

#[test]
fn distribution_through_a_proxy() {
    guarded::tell_through_a_proxy(Kind::Distribution3);
}

#[test]
fn distribution_takes_up_a_broken_push() {
    // At most what was on its way, and the piece that was cut.
    guarded::tell_of_a_broken_push(peers::distribution().address(), 34 << 20);
}

#[test]
fn distribution_2_takes_a_broken_push_from_the_start() {
    // It forgets an upload that broke within a piece.
    let server = peers::plain_distribution(&distribution_2_program());
    guarded::tell_of_a_broken_push(server.address(), 46 << 20);
}

#[test]
#[ignore = "needs a zot: CHUNKIFY_ZOT=/path/to/zot, or zot on PATH"]
fn zot_with_passwords_and_tokens() {
    for asks in [Asks::Password, Asks::Token] {
        for tls in [false, true] {
            guarded::tell(Kind::Zot, asks, tls);
        }
    }
}

#[test]
#[ignore = "needs a zot: CHUNKIFY_ZOT=/path/to/zot, or zot on PATH"]
fn zot_takes_a_broken_push_from_the_start() {
    // It removes an upload that broke within a piece.
    guarded::tell_of_a_broken_push(peers::zot().address(), 46 << 20);
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
