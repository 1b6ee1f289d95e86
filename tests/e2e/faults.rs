//! Faults on the way: what is pulled is right or there is an error, and nothing half-pulled has a name.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::scenario::{MADE, REAL, Story};
use crate::support::command::chunkify;
use crate::support::layout::{self, Image};
use crate::support::registry::{Busy, Fault, Mode, Options, Registry};
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
fn a_server_in_trouble_is_asked_again_and_given_up_in_the_end() {
    for status in [429, 502, 503, 504] {
        let busy = |every| Options { busy: Some(Busy { status, every, retry_after: None }), ..Options::new(Mode::Go) };
        let registry = Registry::start(busy(4));
        for tag in ["old", "new"] {
            registry.load("app", MADE.dir(), tag, tag);
        }
        let story = Story::new(&registry, "app");
        story.pull(&MADE, "old");
        let pulled = story.pull(&MADE, "new");
        assert!(pulled.report.wire.by_cause.protocol > 0, "{status} was answered: {:?}", pulled.report);

        let registry = Registry::start(busy(1));
        registry.load("app", MADE.dir(), "old", "old");
        let story = Story::new(&registry, "app");
        let refused = story.try_pull("old", &[]).refused();
        assert!(refused.stderr.contains(&status.to_string()), "{}", refused.stderr);
        let remedy = if status == 429 { "wait a while" } else { "try again later" };
        assert!(refused.stderr.contains(remedy), "the remedy: {}", refused.stderr);
        assert!(registry.log().len() <= 6, "not for ever: {}", registry.log().len());
        assert!(layout::names(&story.store()).is_empty());
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

#[test]
fn a_pull_that_was_killed_goes_on_where_it_was() {
    let (mut resumed, mut whole) = (0, 0);
    for body in 1..7 {
        let registry = Registry::with_mode(Mode::Zot2120);
        registry.load("app", REAL.dir(), "new", "new");
        let story = Story::new(&registry, "app");
        registry.inject(Fault::Hang(body));
        let mut child = Command::new(env!("CARGO_BIN_EXE_chunkify"))
            .args(["pull", "--plain-http", &format!("docker://{}", story.name("new")), "--store"])
            .arg(story.store())
            .env("XDG_CACHE_HOME", "/dev/null")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chunkify starts");
        wait_until(|| registry.faults_left() == 0 && is_quiet(&registry));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(layout::names(&story.store()).is_empty(), "nothing has a name yet");
        layout::check_blobs(&story.store());
        let pulled = story.pull(&REAL, "new").report;
        assert!(pulled.layers.iter().all(|layer| layer.mode != "present" || layer.reused_bytes == layer.size));
        resumed += pulled.reused();
        whole += pulled.size();
    }
    // How much had come depends on which answer hung; over all of them it is a good part.
    assert!(resumed > whole / 10, "{resumed} of {whole} bytes did not come again");
}

/// Nothing more is sent: all that can come has come.
fn is_quiet(registry: &Registry) -> bool {
    let sent = || registry.log().iter().map(|exchange| exchange.sent()).sum::<u64>();
    let before = sent();
    std::thread::sleep(Duration::from_millis(300));
    before == sent()
}

#[track_caller]
fn wait_until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to that");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let store = tempfile::tempdir().expect("a temporary folder can be made");
    let pull = |name: &str| {
        let store = store.path().display().to_string();
        chunkify(&["pull", "--plain-http", &format!("docker://{name}"), "--store", &store]).refused().stderr
    };
    let unresolved = pull("no-such-host.invalid/app:1");
    for words in ["no-such-host.invalid", "dns error", "check the host's name", "attempts"] {
        assert!(unresolved.contains(words), "{words}: {unresolved}");
    }
    let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let refused = pull(&format!("{unused}/app:1"));
    for words in [&unused.to_string(), "refused", "port"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert_eq!([&unresolved, &refused].map(|text| text.trim_end().lines().count()), [1, 1], "one line each");
}

#[test]
fn the_plan_is_told_and_held_against_what_happens() {
    for mode in [Mode::Go, Mode::Zot2120, Mode::S3, Mode::NoRanges] {
        let registry = Registry::with_mode(mode);
        for tag in ["old", "new"] {
            registry.load("app", REAL.dir(), tag, tag);
        }
        let mut story = Story::new(&registry, "app");
        let memory = tempfile::tempdir().expect("a temporary folder can be made");
        story.memory = Some(memory.path().into());
        story.pull(&REAL, "old");
        // An update into another store teaches what the host can do.
        let mut learner = Story::new(&registry, "app");
        learner.memory = story.memory.clone();
        learner.pull(&REAL, "old");
        learner.pull(&REAL, "new");
        let dry = story.try_pull("new", &["--dry-run"]).ok().stdout;
        let plan = Report::read_plan(&story.report_path());
        assert!(dry.contains("to fetch") && dry.contains("requests"), "{dry}");
        let done = story.pull(&REAL, "new").report;
        let planned = (done.predicted_bytes, done.predicted_requests);
        // The config is here since the dry run.
        let config = (plan.0 - planned.0, plan.1 - planned.1);
        assert!(config.0 < 2000 && config.1 == 1, "{mode:?}: a plan does not change: {plan:?}, then {planned:?}");
        let (bytes, requests) = (done.wire.body_bytes, done.wire.requests);
        assert!(bytes.abs_diff(planned.0) <= bytes / 50, "{mode:?}: {bytes} bytes came, {planned:?} were planned");
        // Whether a server has ranges now is asked once more before a layer is taken whole.
        let margin = if mode == Mode::NoRanges { 2 } else { 0 };
        assert!(requests.abs_diff(planned.1) <= margin, "{mode:?}: {requests} requests, {planned:?} were planned");
    }
}
