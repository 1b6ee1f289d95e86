//! Reading a table of contents.

use serde_json::Value;

use crate::digest::Digest;
use crate::format::toc::{self, Entry, TocError};

/// What is read is written, and reads as the same; a reader that knows nothing of tables of contents finds the same in the text.
pub fn toc(data: &[u8]) {
    let Some((entries, digest)) = read(data) else { return };
    let text = write(&entries, digest);
    assert_eq!(read(&text), Some((entries.clone(), digest)), "what is written reads otherwise");
    // A member that nobody knows may hold what is no text; whoever keeps it refuses it.
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    assert_eq!(value["version"], 1);
    assert_eq!(value["tarSplitDigest"], digest.to_string());
    let listed = value["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let again = listed.iter().map(|entry| serde_json::from_value::<Entry>(entry.clone()).expect("an entry"));
    assert!(again.eq(entries.iter().cloned()), "two readers of JSON differ");
    // A caller that refuses is asked no further.
    let mut seen = 0;
    let refused = toc::read(data, |_| {
        seen += 1;
        Err(())
    });
    assert_eq!((matches!(refused, Err(TocError::Entry(()))), seen), (!entries.is_empty(), entries.len().min(1)));
}

/// All entries and the tar-split's digest, if the text reads.
pub fn read(text: &[u8]) -> Option<(Vec<Entry>, Digest)> {
    let mut entries = Vec::new();
    let digest = toc::read::<()>(text, |entry| {
        entries.push(entry);
        Ok(())
    });
    Some((entries, digest.ok()?))
}

/// The writer's text.
pub fn write(entries: &[Entry], digest: Digest) -> Vec<u8> {
    let mut text = Vec::new();
    let mut writer = toc::Writer::begin(&mut text);
    entries.iter().for_each(|entry| writer.entry(&mut text, entry));
    writer.end(&mut text, digest);
    text
}
