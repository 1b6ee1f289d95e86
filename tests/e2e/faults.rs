//! Faults on the way: what is pulled is right or there is an error, and nothing half-pulled has a name.

use crate::scenario::{MADE, Story};
use crate::support::layout::{self, Image};
use crate::support::registry::{Fault, Mode, Registry};
use crate::support::report::Report;

fn pushed(registry: &Registry) -> Story<'_> {
    let story = Story::new(registry, "app");
    story.push(&MADE, "old");
    story.push(&MADE, "new");
    story
}

#[test]
fn a_wrong_byte_is_fetched_again() {
    for mode in [Mode::Go, Mode::Zot2116] {
        let registry = Registry::with_mode(mode);
        let story = pushed(&registry);
        story.pull(&MADE, "old");
        registry.inject(Fault::WrongByte);
        let pulled = story.pull(&MADE, "new");
        assert_eq!(registry.faults_left(), 0, "the fault was played");
        assert!(pulled.report.wire.by_cause.wasted > 0, "{mode:?}: a wrong byte is no payload: {:?}", pulled.report);
    }
}

#[test]
fn a_body_that_ends_too_soon_is_completed() {
    for mode in [Mode::Go, Mode::Zot2116, Mode::NoRanges] {
        for body in 0..4 {
            let registry = Registry::with_mode(mode);
            let story = pushed(&registry);
            registry.inject(Fault::Truncate(body));
            story.pull(&MADE, "old");
            assert_eq!(registry.faults_left(), 0, "{mode:?}: the fault was played on body {body}");
            registry.inject(Fault::Truncate(body));
            story.pull(&MADE, "new");
        }
    }
}

#[test]
fn a_missing_blob_is_an_error_and_leaves_no_name() {
    let registry = Registry::with_mode(Mode::Go);
    let story = pushed(&registry);
    story.pull(&MADE, "old");
    let image = Image::read(MADE.dir(), "new");
    for layer in image.layers() {
        registry.content().forget_blob("app", &layer);
    }
    let refused = story.try_pull("new", &[]).refused();
    let missing = &image.layers()[1];
    assert!(refused.stderr.contains(&missing[7..19]), "the error names the layer {missing}: {}", refused.stderr);
    assert_eq!(layout::names(&story.store()), [story.name("old")]);
    layout::check_blobs(&story.store());
    // The same command again finishes it, once the registry is whole.
    story.push(&MADE, "new");
    story.pull(&MADE, "new");
}

#[test]
fn a_budget_is_kept() {
    let registry = Registry::with_mode(Mode::Go);
    let story = pushed(&registry);
    story.pull(&MADE, "old");
    let mark = registry.log().len();
    let budget = 100_000;
    let refused = story.try_pull("new", &["--max-wire-bytes", &budget.to_string()]).refused();
    assert!(refused.stderr.contains("100000") || refused.stderr.contains("100,000"), "{}", refused.stderr);
    let spent = registry.count_after(mark).body_bytes;
    assert!(spent <= budget, "{spent} bytes were sent, {budget} allowed");
    assert_eq!(layout::names(&story.store()), [story.name("old")]);

    story.pull(&MADE, "new");

    let [measured, other] = [(); 2].map(|()| Story::new(&registry, "app"));
    measured.pull(&MADE, "old");
    other.pull(&MADE, "old");
    let cost = measured.pull(&MADE, "new").report.wire.body_bytes;
    // Which ranges share a request depends on which answers came first; only the framing differs then.
    let margin = cost / 50;
    other.try_pull("new", &["--max-wire-bytes", &(cost + margin).to_string()]).ok();
    let again = Report::read(&other.report_path()).wire.body_bytes;
    assert!(again.abs_diff(cost) <= margin, "what an update costs can be repeated: {cost}, {again}");
}

#[test]
fn an_image_that_is_not_there_is_an_error() {
    let registry = Registry::with_mode(Mode::Go);
    let story = Story::new(&registry, "nothing");
    let refused = story.try_pull("none", &[]).refused();
    for word in [registry.address().to_string().as_str(), "nothing", "none", "404"] {
        assert!(refused.stderr.contains(word), "the error has {word}: {}", refused.stderr);
    }
    assert!(layout::names(&story.store()).is_empty());
}
