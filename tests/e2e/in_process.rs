//! The story with every set of rules for ranges.

use crate::scenario::{MADE, REAL, Ranges, Story};
use crate::support::registry::{Mode, Options, Redirect, Registry, Tokens};

#[track_caller]
fn tell(mode: Mode, ranges: Ranges) {
    let registry = Registry::with_mode(mode);
    Story::new(&registry, "made/app").tell(&MADE, ranges);
    Story::new(&registry, "real/app").tell(&REAL, ranges);
}

#[test]
fn go() {
    tell(Mode::Go, Ranges::Work);
}

#[test]
fn zot_2_1_20() {
    tell(Mode::Zot2120, Ranges::Work);
}

#[test]
fn zot_2_1_16() {
    tell(Mode::Zot2116, Ranges::Work);
}

#[test]
fn s3() {
    tell(Mode::S3, Ranges::Work);
}

#[test]
fn only_the_first_range() {
    tell(Mode::FirstOnly, Ranges::Work);
}

#[test]
fn no_ranges() {
    tell(Mode::NoRanges, Ranges::Refused);
}

#[test]
fn many_missing_frames_stay_within_zots_sixteen_ranges() {
    let registry = Registry::with_mode(Mode::Zot2120);
    let story = Story::new(&registry, "app");
    story.push(&MADE, "old");
    story.push(&MADE, "new");
    story.pull(&MADE, "old");
    let mark = registry.log().len();
    story.pull(&MADE, "new");
    let log = registry.log();
    let asked = |exchange: &&_| -> usize {
        let exchange: &crate::support::body::Exchange = exchange;
        exchange.range.as_ref().map_or(0, |range| range.split(',').count())
    };
    let later: Vec<_> = log[mark..].iter().map(|exchange| &**exchange).collect();
    assert!(later.iter().map(asked).sum::<usize>() > 17, "this pair asks for more ranges than fit one request");
    let refused = later.iter().filter(|exchange| exchange.status == 416).count();
    assert!(refused <= 1, "one request too large is how the limit is learned, {refused} are too many");
    assert!(
        later.iter().any(|exchange| exchange.status == 206 && asked(exchange) > 1),
        "several ranges at once are used"
    );
}

#[test]
fn tokens_are_asked_for_and_renewed() {
    let secret = "pass:word-of-the-user";
    let tokens = Tokens { user: Some(("user".into(), secret.into())), uses: Some(3) };
    let registry = Registry::start(Options { tokens: Some(tokens), ..Options::new(Mode::Go) });
    let mut story = Story::new(&registry, "private/app");
    story.arguments.extend(["--creds".into(), format!("user:{secret}")]);
    for tag in ["old", "new"] {
        story.push(&MADE, tag);
        let pulled = story.pull(&MADE, tag);
        assert!(!pulled.ran.stderr.contains(secret) && !pulled.ran.stdout.contains(secret));
    }
    assert!(registry.log().iter().filter(|exchange| exchange.path == "/token").count() > 2, "tokens wore out");

    story.arguments.truncate(1);
    let refused = story.try_pull("old", &[]).refused();
    assert!(
        refused.stderr.contains("401") || refused.stderr.to_lowercase().contains("unauthorized"),
        "{}",
        refused.stderr
    );
    story.arguments.extend(["--creds".into(), "user:wrong".into()]);
    let refused = story.try_pull("old", &[]).refused();
    assert!(!refused.stderr.contains("user:wrong"), "{}", refused.stderr);
}

#[test]
fn redirects_get_no_credentials_and_show_no_signature() {
    use crate::support::blobs::SECRET;
    for mode in [Mode::Go, Mode::S3] {
        let options = Options {
            redirect: Some(Redirect { status: 307, uses: u64::MAX }),
            tokens: Some(Tokens::default()),
            ..Options::new(mode)
        };
        let registry = Registry::start(options);
        let mut story = Story::new(&registry, "far/app");
        story.arguments.push("-vvv".into());
        for tag in ["old", "new"] {
            story.push(&MADE, tag);
            let pulled = story.pull(&MADE, tag);
            assert!(!pulled.ran.stderr.contains(SECRET) && !pulled.ran.stdout.contains(SECRET));
        }
        let far: Vec<_> = registry.log().into_iter().filter(|exchange| exchange.path.starts_with("/sha256:")).collect();
        assert!(!far.is_empty() && far.iter().all(|exchange| !exchange.authorized), "{mode:?}: {far:?}");
    }
}
