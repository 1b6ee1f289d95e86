//! The real image pair of fixtures/, converted with and without frames on block boundaries: the reference pulls the old one, and then the
//! new one in part.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use chunkify::encode::{Form, Settings, encode};
use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::support::layout::{Image, blob_path};
use crate::tally::{Peer, Tally};

/// A layer of ours: its blob, annotations and diff_id.
struct Layer {
    blob: PathBuf,
    annotations: Value,
    diff_id: String,
}

#[test]
fn the_reference_pulls_an_update_of_ours_in_part() {
    let mut oracle = Oracle::start("pair");
    let mut tally = Tally::new("pair");
    let aligned = Settings { align: Some(64 << 10), ..Settings::default() };
    for (tag, settings) in
        [("old", Settings::default()), ("new", Settings::default()), ("old", aligned), ("new", aligned)]
    {
        let layers = layers(tag, &settings, oracle.work());
        let asked: Vec<(&Path, &Value, &str)> =
            layers.iter().map(|layer| (layer.blob.as_path(), &layer.annotations, layer.diff_id.as_str())).collect();
        let pulled = oracle.pull(&asked, true).unwrap_or_else(|no| panic!("{tag}: {}", no.error));
        for (layer, told) in layers.iter().zip(pulled.as_array().expect("it tells of each layer")) {
            assert_eq!(told["export"], layer.diff_id.as_str(), "{tag}");
            let bytes = |what: &str| told[what]["bytes"].as_u64().expect("bytes are counted");
            let (came, size) = (bytes("metadata") + bytes("payload"), told["size"].as_u64().expect("it has a size"));
            assert!(tag == "old" || came < size, "{came} of {size} bytes of a layer of {tag}");
            tally.compared(Peer::Puller);
        }
    }
    tally.settle();
}

fn layers(tag: &str, settings: &Settings, work: &Path) -> Vec<Layer> {
    let layout = Path::new("fixtures/pair").join(tag);
    let made = Image::read(&layout, tag).layers().into_iter().enumerate().map(|(number, digest)| {
        let gzip = fs::read(blob_path(&layout, &digest)).expect("the layout has its blobs");
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(&gzip[..]).read_to_end(&mut tar).expect("it is gzip");
        let mut bytes = Vec::new();
        let encoded = encode(&tar[..], &mut bytes, settings, &mut |_| {}).expect("memory does not fail");
        let Form::Chunked(chunked) = &encoded.form else { panic!("layer {number} of {tag} is plain") };
        let mut annotations = BTreeMap::new();
        chunked.annotations.apply(&mut annotations);
        let blob = work.join(format!("{tag}-{number}"));
        fs::write(&blob, bytes).expect("a blob can be written");
        Layer { blob, annotations: json!(annotations), diff_id: encoded.diff_id.to_string() }
    });
    made.collect()
}
