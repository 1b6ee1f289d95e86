//! Layers that can only come whole, and are large.

use crate::support::body::Exchange;
use crate::support::command::chunkify;
use crate::support::layout::{self, Form, Image};
use crate::support::made::noise;
use crate::support::registry::{Mode, Registry};
use crate::support::report::Report;

/// Two pieces of the size that one request may have at most, and a bit: more than is worth several connections.
const LAYER: usize = (16 << 20) + 12_345;

/// Pulls one large layer that is not chunked; the report, and the requests for its blob.
fn pulled(mode: Mode) -> (Report, Vec<std::sync::Arc<Exchange>>) {
    let work = tempfile::tempdir().expect("a temporary folder can be made");
    let (dir, store, report) = (work.path().join("source"), work.path().join("store"), work.path().join("report.json"));
    layout::write_image(&dir, "large", &[noise(7, LAYER)], Form::Tar);
    let registry = Registry::with_mode(mode);
    registry.load("app", &dir, "large", "large");
    let image = format!("docker://{}/app:large", registry.address());
    let text = |path: &std::path::Path| path.display().to_string();
    chunkify(&["pull", "--plain-http", &image, "--store", &text(&store), "--report", &text(&report)]).ok();
    layout::check_blobs(&store);
    let (report, layer) = (Report::read(&report), Image::read(&dir, "large").layers()[0].clone());
    let asked: Vec<_> = registry.log().into_iter().filter(|asked| asked.path.contains(&layer)).collect();
    let sent: u64 = asked.iter().map(|asked| asked.sent()).sum();
    assert_eq!(sent, LAYER as u64, "each byte once");
    assert_eq!(report.layers[0].fetched_bytes, sent, "{report:?}");
    (report, asked)
}

#[test]
fn a_large_layer_comes_over_several_connections() {
    let (report, asked) = pulled(Mode::Go);
    assert_eq!(report.layers[0].mode, "whole", "{report:?}");
    assert!(asked.len() >= 8, "as many requests as may be under way: {}", asked.len());
    assert!(asked.iter().all(|asked| asked.status == 206), "{asked:?}");
    let mut parts: Vec<_> = asked.iter().flat_map(|asked| asked.parts()).collect();
    parts.sort_unstable_by_key(|part| part.start);
    assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, LAYER as u64));
    assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "one behind the other: {parts:?}");
}

#[test]
fn a_large_layer_comes_in_one_where_ranges_are_not_known() {
    let (report, asked) = pulled(Mode::NoRanges);
    assert_eq!((report.layers[0].mode.as_str(), asked.len()), ("whole", 1), "{report:?}");
    assert_eq!(asked[0].status, 200);
}
