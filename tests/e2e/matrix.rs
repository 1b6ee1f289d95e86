//! Every kind of server that is known, played in this process: a full pull, an update, and what the update costs. README.md has the table;
//! the last test here holds it against what happened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::scenario::{Pulled, REAL, Ranges, Story};
use crate::support::layout::Image;
use crate::support::registry::{Busy, Fault, Mode, Options, Redirect, Registry, Tokens};

/// One row.
struct Case {
    /// As README.md names it, and what it says of it.
    name: &'static str,
    what: &'static str,
    options: Options,
    fault: Option<Fault>,
    /// Whether the caches of the server are warm from the beginning.
    warm: bool,
    ranges: Ranges,
    /// Whether what came can be told cause by cause: nothing was broken off, nothing had to come twice.
    exact: bool,
}

impl Case {
    fn new(name: &'static str, what: &'static str, mode: Mode) -> Self {
        let options = Options::new(mode);
        Self { name, what, options, fault: None, warm: false, ranges: Ranges::Work, exact: true }
    }

    fn redirected(mut self, status: u16, uses: u64) -> Self {
        self.options.redirect = Some(Redirect { status, uses });
        self.options.tokens = Some(Tokens::default());
        self
    }

    fn busy(mut self, retry_after: Option<u32>) -> Self {
        self.options.busy = Some(Busy { status: 429, every: 5, retry_after });
        self
    }

    fn inexact(mut self) -> Self {
        self.exact = false;
        self
    }

    fn whole(mut self) -> Self {
        self.ranges = Ranges::Refused;
        self.inexact()
    }
}

fn cases() -> Vec<Case> {
    let case = Case::new;
    let mut warm = case("the same caches, warm", "any number of ranges", Mode::PullThrough3);
    warm.warm = true;
    let mut tokens = case("tokens that end during the pull", "a new one is fetched", Mode::Go);
    tokens.options.tokens = Some(Tokens { user: None, uses: Some(3) });
    let mut cut = case("connections that break in every third body", "the rest is asked for", Mode::Go);
    cut.fault = Some(Fault::TruncateEach(3));
    vec![
        case("distribution 2 and 3 on local storage, Harbor", "16 ranges, then up to 128", Mode::Go),
        case("zot 2.1.17 and later", "up to 16 ranges; the one try with more is 416", Mode::Zot2120),
        case("zot up to 2.1.16", "416 to several ranges, then single ones", Mode::Zot2116),
        case("S3, R2, MinIO: behind ECR, Docker Hub", "200 to several ranges, dropped; then single ones", Mode::S3)
            .redirected(307, 6)
            .inexact(),
        case("Google's storage and registries", "400 to several ranges, then single ones", Mode::Gcs)
            .redirected(302, 6),
        case("GHCR (Fastly, Azure)", "501 to several ranges, then single ones", Mode::Fastly).redirected(307, 6),
        case("Varnish", "416 to several ranges, then single ones", Mode::Varnish),
        case("Spegel", "404 to several ranges, then single ones", Mode::Spegel),
        case("Dragonfly, `crane registry`", "the first range only, then single ones", Mode::FirstOnly),
        case("Dragonfly of old", "part of the blob as 200: the layer comes whole", Mode::DragonflyOld).whole(),
        case("CloudFront (quay.io)", "ascending ranges", Mode::CloudFront).redirected(302, 6),
        case("Apache", "up to 200 ranges", Mode::Apache),
        case("Alibaba's storage", "up to 50 ranges; more is 416", Mode::Oss),
        case("nginx as cache, cold", "200 to several ranges, dropped; then single ones", Mode::NginxCache).inexact(),
        case("distribution 2.8 as cache, cold", "200; asked again a second later, in part", Mode::PullThrough2)
            .inexact(),
        case("distribution 3 as cache, cold", "200, twice: the layer comes whole", Mode::PullThrough3).whole(),
        warm,
        case("quay on local storage", "200 to everything: layers come whole", Mode::NoRanges).whole(),
        case("416 that announces the whole blob", "read by its headers only", Mode::LyingLength),
        case("redirects good for one request", "the registry is asked each time", Mode::Go).redirected(308, 1),
        tokens,
        case("429 with `Retry-After`", "waited for as long as it says", Mode::Go).busy(Some(1)),
        case("429 without", "waited for, longer each time", Mode::Go).busy(None),
        cut,
        case("parts in another order", "told apart by their `Content-Range`", Mode::Shuffled),
        case("multipart bodies with bare line feeds", "read all the same", Mode::LineFeeds),
        case("a wrong size in `Content-Range`", "not believed: layers come whole", Mode::WrongTotal).whole(),
        case("headers of no more than 1,000 bytes", "431 to 128 ranges, then 16", Mode::SmallHeaders),
    ]
}

/// What an update took.
struct Cost {
    requests: u64,
    bytes: u64,
}

fn play(case: &Case) -> Cost {
    let registry = Registry::start(case.options.clone());
    for tag in ["old", "new"] {
        registry.load("matrix/app", REAL.dir(), tag, tag);
    }
    if case.warm {
        registry.warm_all();
    }
    if let Some(fault) = case.fault {
        registry.inject(fault);
    }
    let story = Story::new(&registry, "matrix/app");
    let mut last = None;
    for tag in ["old", "new"] {
        let mark = registry.log().len();
        let pulled = story.pull(&REAL, tag);
        if case.options.mode != Mode::WrongTotal {
            check_parts(case, &registry, mark);
        }
        if case.exact {
            check_causes(case, &registry, mark, &Image::read(REAL.dir(), tag), &pulled);
        }
        last = Some(pulled);
    }
    let pulled = last.expect("two pulls");
    let expected = if case.ranges == Ranges::Work { "partial" } else { "whole" };
    let modes = pulled.report.modes();
    assert!(modes.iter().all(|&mode| mode == expected), "{}: layers came {modes:?}", case.name);
    if case.exact {
        assert_eq!(pulled.report.wire.by_cause.wasted, 0, "{}: {:?}", case.name, pulled.report.wire);
    }
    Cost { requests: pulled.report.wire.requests, bytes: pulled.report.wire.body_bytes }
}

/// No byte of a layer comes twice in answers to ranges.
fn check_parts(case: &Case, registry: &Registry, mark: usize) {
    let mut seen: BTreeMap<String, Vec<Range<u64>>> = BTreeMap::new();
    for exchange in registry.log().iter().skip(mark).filter(|it| it.status == 206 && !it.abandoned()) {
        seen.entry(digest_in(&exchange.path)).or_default().extend(exchange.parts());
    }
    for (digest, mut parts) in seen {
        parts.sort_by_key(|part| part.start);
        for pair in parts.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{}: {digest} {pair:?} came twice", case.name);
        }
    }
}

fn digest_in(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// The report's causes are what the server counted, as far as a server can tell them.
fn check_causes(case: &Case, registry: &Registry, mark: usize, image: &Image, pulled: &Pulled) {
    let tails: BTreeMap<String, u64> = image.layers().into_iter().zip(tail_starts(image)).collect();
    let [mut metadata, mut tail, mut data, mut framing, mut protocol] = [0; 5];
    for exchange in registry.log().iter().skip(mark) {
        let (sent, digest) = (exchange.sent(), digest_in(&exchange.path));
        match (exchange.status, tails.get(&digest)) {
            (206, Some(&start)) => {
                let parts = exchange.parts();
                let content: u64 = parts.iter().map(|part| part.end - part.start).sum();
                let of_tail: u64 = parts.iter().map(|part| part.end.saturating_sub(part.start.max(start))).sum();
                (tail, data, framing) = (tail + of_tail, data + content - of_tail, framing + sent - content);
            }
            (200 | 206, None) if exchange.path != "/token" => metadata += sent,
            (200, Some(_)) => panic!("{}: a whole layer: {exchange:?}", case.name),
            _ => protocol += sent,
        }
    }
    let told = &pulled.report.wire.by_cause;
    assert_eq!(
        (told.metadata, told.table_of_contents, told.payload + told.headers + told.gaps, told.framing, told.protocol),
        (metadata, tail, data, framing, protocol),
        "{}: metadata, tails, data, framing, protocol: {told:?}",
        case.name
    );
}

/// Where the metadata begins in each layer: eight bytes before the table of contents.
fn tail_starts(image: &Image) -> Vec<u64> {
    let layers = image.manifest["layers"].as_array().expect("layers");
    let position = |layer: &serde_json::Value| {
        let key = "io.github.containers.zstd-chunked.manifest-position";
        let text = layer["annotations"][key].as_str().expect("a position").to_owned();
        text.split(':').next().and_then(|start| start.parse::<u64>().ok()).expect("a number") - 8
    };
    layers.iter().map(position).collect()
}

fn row(case: &Case, cost: &Cost) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let megabytes = cost.bytes as f64 / 1e6;
    format!("| {} | {} | {} | {megabytes:.2} MB |", case.name, case.what, cost.requests)
}

/// The rows of README.md by server: what it says, requests, megabytes.
fn readme() -> BTreeMap<String, (String, u64, f64)> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, what, requests, bytes] = cells[..] else { return None };
        let megabytes = bytes.strip_suffix(" MB")?.parse().ok()?;
        Some((name.to_owned(), (what.to_owned(), requests.parse().ok()?, megabytes)))
    };
    text.lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

#[test]
fn every_kind_of_server_and_readme_tells_what_it_costs() {
    let told = readme();
    let (mut wanted, mut wrong) = (String::new(), Vec::new());
    for case in cases() {
        let cost = play(&case);
        wanted += &(row(&case, &cost) + "\n");
        // How much of a body comes before it is dropped, which ranges share a request, and how many requests meet an address or a token
        // that has just ended, differs a little from run to run.
        #[expect(clippy::cast_precision_loss, reason = "a comparison within percents")]
        let close = told.get(case.name).is_some_and(|(what, requests, megabytes)| {
            let bytes = cost.bytes as f64 / 1e6;
            let (requests, megabytes) = (requests.abs_diff(cost.requests), (megabytes - bytes).abs());
            what == case.what && requests <= 4 + cost.requests / 10 && megabytes <= 0.08 * bytes + 0.03
        });
        if !close {
            wrong.push(case.name);
        }
    }
    println!("{wanted}");
    assert!(wrong.is_empty(), "README.md has other rows for {wrong:?}; what was seen:\n{wanted}");
}
