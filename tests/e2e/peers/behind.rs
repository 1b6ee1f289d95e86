//! The story with caches, proxies and object stores that are real.

use std::net::SocketAddr;
use std::time::Duration;

use crate::rules;
use crate::scenario::{Pulled, REAL, Ranges, Story};
use crate::support::behind::{Distribution, ObjectStore, nginx};
use crate::support::registry::{Mode, Registry};
use crate::support::report::Layer;

/// A registry with both images of the pair.
fn filled(server: SocketAddr) -> Story<'static> {
    let story = Story::uncounted(server, "behind/app");
    story.push(&REAL, "old");
    story.push(&REAL, "new");
    story
}

/// An update through `server`, whose caches may be cold.
fn update(story: &Story<'_>) -> Pulled {
    story.pull(&REAL, "old");
    story.pull(&REAL, "new")
}

#[track_caller]
fn all_came(pulled: &Pulled, how: &str) {
    assert!(pulled.report.modes().iter().all(|&mode| mode == how), "{:?}", pulled.report);
}

#[test]
fn distribution_of_debian() {
    let server = Distribution::of_debian().start();
    let counter = Registry::in_front_of(server.address());
    Story::new(&counter, "debian/app").tell(&REAL, Ranges::Work);
    rules::compare(server.address(), Mode::Go, "debian/rules");
}

#[test]
fn nginx_as_proxy() {
    let server = Distribution::newest().start();
    let proxy = nginx(server.address(), false);
    let counter = Registry::in_front_of(proxy.address());
    Story::new(&counter, "proxy/app").tell(&REAL, Ranges::Work);
}

#[test]
fn nginx_as_cache_cold_and_warm() {
    let server = Distribution::newest().start();
    let cache = nginx(server.address(), true);
    let story = filled(server.address()).at(cache.address());
    let cold = update(&story);
    all_came(&cold, "partial");
    let warm = update(&Story::uncounted(cache.address(), "behind/app"));
    all_came(&warm, "partial");
    assert_eq!(warm.report.wire.by_cause.wasted, 0, "{:?}", warm.report);
    assert!(warm.report.wire.by_cause.framing > 0, "several ranges at once: {:?}", warm.report);
}

#[test]
fn pull_through_cache_of_debian_cold_and_warm() {
    let (server, cache) = cached(Distribution::of_debian());
    // The cache fills although the first answer was dropped.
    all_came(&update(&Story::uncounted(cache.address(), "behind/app")), "partial");
    all_came(&update(&Story::uncounted(cache.address(), "behind/app")), "partial");
    drop(server);
}

#[test]
fn pull_through_cache_cold_and_warm() {
    let (server, cache) = cached(Distribution::newest());
    // The cache fills only while somebody reads: a small blob is through before it is dropped, a large one comes whole.
    let cold = update(&Story::uncounted(cache.address(), "behind/app"));
    let told = |layer: &Layer| layer.mode == "partial" || (layer.mode == "whole" && layer.reason.is_some());
    assert!(cold.report.layers.iter().all(told), "{:?}", cold.report);
    // What was read to its end is in the cache a moment later.
    let warm = (0..10).map(|_| {
        std::thread::sleep(Duration::from_millis(500));
        update(&Story::uncounted(cache.address(), "behind/app"))
    });
    let warm = warm.into_iter().find(|pulled| pulled.report.wire.by_cause.wasted == 0).expect("the cache gets warm");
    all_came(&warm, "partial");
    drop(server);
}

fn cached(cache: Distribution) -> (crate::support::peers::Server, crate::support::peers::Server) {
    let server = Distribution::newest().start();
    filled(server.address());
    let cache = cache.cache_of(server.address()).start();
    (server, cache)
}

#[test]
fn redirected_to_an_object_store() {
    let store = ObjectStore::start();
    for registry in [Distribution::newest(), Distribution::of_debian()] {
        let server = registry.stored_in(&store).start();
        let mut story = filled(server.address());
        story.arguments.push("-vvv".into());
        let pulled = update(&story);
        all_came(&pulled, "partial");
        assert_eq!(pulled.report.wire.by_cause.framing, 0, "the store knows one range: {:?}", pulled.report);
        let log = &pulled.ran.stderr;
        assert!(log.contains(" 307 ") && log.contains(" 206 "), "the log tells of redirects and ranges: {log}");
        assert!(
            !log.contains(ObjectStore::SIGNATURE) && !log.contains("Signature="),
            "the log shows no signature: {log}"
        );
        let several = log.lines().filter(|line| line.contains(" ranges of ")).count();
        assert_eq!(several, 1, "several ranges are tried once: {log}");
    }
}
