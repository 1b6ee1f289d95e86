//! Reading the documents of images.

use std::fmt::Debug;

use serde::Serialize;
use serde_json::Value;

use crate::image::document::{Config, DocumentError, to_bytes};
use crate::image::platform::choose;
use crate::image::{Index, Manifest, PlatformFilter};
use crate::limits;

/// What is read as a manifest or an index is written without losing a field, and reads as the same; lists are within their limits; a
/// config's digests are those that stand there; and only what an index lists is chosen from it.
pub fn documents(data: &[u8]) {
    if let Some(manifest) = same_again(data, Manifest::parse) {
        assert!(manifest.layers.len() <= limits::LAYERS);
    }
    if let Some(index) = same_again(data, Index::parse) {
        assert!(index.manifests.len() <= limits::INDEX_MANIFESTS);
        let filter: PlatformFilter = "linux/amd64".parse().expect("a platform");
        let listed = index.manifests.clone();
        if let Ok(chosen) = choose(index, &filter) {
            assert!(listed.contains(&chosen));
        }
    }
    // A config's other members may hold what is no text; whoever keeps them refuses it.
    if let (Ok(config), Ok(value)) = (Config::parse(data), serde_json::from_slice::<Value>(data)) {
        let there = value["rootfs"]["diff_ids"].as_array().expect("a list").iter().map(|id| id.as_str().unwrap());
        assert!(config.rootfs.diff_ids.iter().map(ToString::to_string).eq(there));
    }
}

fn same_again<T>(data: &[u8], parse: fn(&[u8]) -> Result<T, DocumentError>) -> Option<T>
where
    T: Serialize + Debug + PartialEq,
{
    let read = parse(data).ok()?;
    let written = to_bytes(&read);
    assert_eq!(parse(&written).expect("what is written reads"), read);
    let value = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).expect("JSON") };
    let (mut before, mut after) = (value(data), value(&written));
    without_nothing(&mut before);
    without_nothing(&mut after);
    assert_eq!(before, after, "a field is lost or changed");
    Some(read)
}

/// Takes away members that say nothing, which a document may have or not.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(without_nothing);
            members.retain(|_, member| !member.is_null() && member.as_object().is_none_or(|object| !object.is_empty()));
        }
        Value::Array(items) => items.iter_mut().for_each(without_nothing),
        _ => {}
    }
}
