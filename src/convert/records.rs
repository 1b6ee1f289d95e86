//! What earlier runs made of a layer, so that an interrupted conversion goes on where it was.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::encode::Recipe;
use crate::format::annotations::Annotations;
use crate::image::rewrite::NewBlob;
use crate::store::{Layout, Leftover, StoreError};

/// A layer's conversion, as it is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    diff_id: Digest,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<String, String>,
    reason: Option<String>,
}

/// A remembered conversion.
#[derive(Debug)]
pub struct Remembered {
    /// Of the tar.
    pub diff_id: Digest,
    /// What was made.
    pub blob: NewBlob,
    /// Why it has no table of contents, if it has none.
    pub reason: Option<String>,
}

/// Where records lie among a layout's private files.
const FOLDER: &str = "converted";

/// The name of a record: whatever shapes the blob is in it.
fn name(layer: &Digest, recipe: &Recipe) -> String {
    format!("{FOLDER}/{}", shape(layer, recipe).hex())
}

/// Stands for one piece of work: two processes that would do the same know it by this.
pub fn shape(layer: &Digest, recipe: &Recipe) -> Digest {
    Digest::of(format!("{layer} {recipe}").as_bytes())
}

/// What is remembered of a layer, when its blob is still there.
pub fn recall(layout: &Layout, layer: &Digest, recipe: &Recipe) -> Option<Remembered> {
    let bytes = layout.read_private(&name(layer, recipe))?;
    let record: Record = serde_json::from_slice(&bytes).ok()?;
    let there = layout.claim(&record.digest).ok()?;
    if there != Some(record.size) {
        return None;
    }
    let annotations = Annotations::parse(&record.annotations).ok();
    let (digest, size, encoder) = (record.digest, record.size, Some(recipe.to_string()));
    let blob = NewBlob { digest, size, annotations, encoder };
    Some(Remembered { diff_id: record.diff_id, blob, reason: record.reason })
}

/// Remembers a conversion.
///
/// # Errors
/// [`StoreError`] when the record cannot be written.
pub fn remember(
    layout: &Layout,
    layer: &Digest,
    recipe: &Recipe,
    diff_id: Digest,
    blob: &NewBlob,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let mut annotations = BTreeMap::new();
    if let Some(own) = &blob.annotations {
        own.apply(&mut annotations);
    }
    let record =
        Record { diff_id, digest: blob.digest, size: blob.size, annotations, reason: reason.map(str::to_owned) };
    let bytes = serde_json::to_vec(&record).expect("a record has a form in JSON");
    layout.write_private(&name(layer, recipe), &bytes)
}

/// Records that remember a blob that `stays` does not name, and those that cannot be read.
///
/// # Errors
/// [`StoreError`].
pub fn stale(layout: &Layout, stays: &dyn Fn(&Digest) -> bool) -> Result<Vec<Leftover>, StoreError> {
    let remembers = |record: &Leftover| {
        let name = record.path.file_name()?.to_str()?;
        let record: Record = serde_json::from_slice(&layout.read_private(&format!("{FOLDER}/{name}"))?).ok()?;
        Some(record.digest)
    };
    let mut records = layout.notes(FOLDER)?;
    records.retain(|record| !remembers(record).is_some_and(|digest| stays(&digest)));
    Ok(records)
}
