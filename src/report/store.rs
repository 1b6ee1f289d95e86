//! What is in a store and what was done to it, for people.

use std::fmt::Write as _;

use crate::housekeeping::{Checked, Collected, Fault, FaultKind, Listing, Mended, Reindexed, RemovedImage, Stats};

use super::table::table;
use super::words::{bytes, count, percent, thousands};

/// The images of a store.
pub fn listing(listing: &Listing) -> String {
    let head = ["image", "digest", "blobs", "size", "unique", "shared"];
    let rows = listing.images.iter().map(|image| {
        let name = image.name.clone().unwrap_or_else(|| match image.attached_to {
            Some(subject) => format!("(attached to {})", subject.short()),
            None => "(no name)".into(),
        });
        let mut row = vec![name, image.digest.short(), image.blobs.to_string()];
        row.extend([image.size, image.unique, image.shared].map(bytes));
        row
    });
    let mut out = if listing.images.is_empty() { String::new() } else { table(2, &head, rows.collect()) };
    for image in listing.images.iter().filter(|image| image.missing > 0) {
        let name = image.name.clone().unwrap_or_else(|| image.digest.short());
        let _ = writeln!(out, "of {name} {} are not here", count(image.missing, "blob"));
    }
    if listing.blobs == 0 && listing.images.is_empty() {
        out.push_str("the store is empty\n");
    } else {
        let (size, blobs) = (bytes(listing.bytes), count(listing.blobs, "blob"));
        let _ = writeln!(out, "{size} in {blobs}, {}", count(listing.images.len(), "image"));
    }
    if listing.unreferenced > 0 {
        let (size, blobs) = (bytes(listing.unreferenced_bytes), count(listing.unreferenced, "blob"));
        let _ = writeln!(out, "{size} in {blobs} belong to no image: store gc frees what nothing needs");
    }
    if listing.unfinished_bytes > 0 {
        let _ = writeln!(out, "{} of unfinished blobs wait for the next attempt", bytes(listing.unfinished_bytes));
    }
    out
}

/// Images that were taken out.
pub fn removed(images: &[RemovedImage]) -> String {
    let mut out = String::new();
    for image in images {
        let _ = writeln!(out, "{} is no longer in the store: {}", image.image, image.why);
    }
    out.push_str("store gc frees what no other image needs\n");
    out
}

/// A collection.
pub fn collected(collected: &Collected) -> String {
    let (went, goes) = if collected.dry_run { ("would go", "would be freed") } else { ("went", "freed") };
    let mut out = String::new();
    for image in &collected.images {
        let _ = writeln!(out, "{} {went}: {}", image.image, image.why);
    }
    for (what, number, size) in [
        ("blob", collected.blobs, collected.blob_bytes),
        ("unfinished blob", collected.partials, collected.partial_bytes),
        ("other leftover", collected.leftovers, collected.leftover_bytes),
    ] {
        if number > 0 {
            let _ = writeln!(out, "{} {went}, {}", count(number, what), bytes(size));
        }
    }
    if collected.in_use_bytes > 0 {
        let size = bytes(collected.in_use_bytes);
        let _ = writeln!(out, "{size} that no image needs stay, because running processes count on them");
    }
    if let Some(most) = collected.over {
        let _ = writeln!(out, "what is left is more than {}, but the newest image stays", bytes(most));
    }
    let freed = collected.blob_bytes + collected.partial_bytes + collected.leftover_bytes;
    let freed = if freed == 0 { "nothing".into() } else { bytes(freed) };
    let _ = match collected.left_bytes {
        0 => writeln!(out, "{freed} {goes}, no blob stays"),
        left => writeln!(out, "{freed} {goes}, {} of blobs stay", bytes(left)),
    };
    out
}

/// What images share.
pub fn stats(stats: &Stats) -> String {
    let head = ["image", "nearest other", "frames", "bytes", "unique", "shared", "with nearest"];
    let rows = stats.images.iter().map(|image| {
        let has = |pair: &&crate::housekeeping::Pair| pair.a == image.image || pair.b == image.image;
        // Pairs come with the most first.
        let nearest = stats.pairs.iter().find(has);
        let other = nearest.map(|pair| if pair.a == image.image { &pair.b } else { &pair.a });
        let mut row = vec![image.image.clone(), other.map_or("-", String::as_str).to_owned(), thousands(image.frames)];
        row.extend([image.bytes, image.unique_bytes, image.shared_bytes].map(bytes));
        row.push(nearest.map_or_else(|| "-".into(), |pair| percent(pair.bytes, image.bytes)));
        row
    });
    let mut out = if stats.images.is_empty() { String::new() } else { table(2, &head, rows.collect()) };
    let unknown: u64 = stats.images.iter().map(|image| image.unknown_bytes).sum();
    if stats.frames == 0 {
        out.push_str("there are no frames: no image has zstd:chunked layers\n");
    } else {
        let (frames, size, stored) = (thousands(stats.frames), bytes(stats.bytes), bytes(stats.stored_bytes));
        let _ = writeln!(out, "{frames} different frames, {size}; {stored} with those that are stored more than once");
    }
    if unknown > 0 {
        let _ = writeln!(out, "{} of layers are not zstd:chunked and not counted", bytes(unknown));
    }
    out
}

/// Indexes that were made again.
pub fn reindexed(done: &Reindexed) -> String {
    let mut out = format!("{} indexed, {} frames\n", count(done.blobs, "blob"), thousands(done.frames));
    if done.removed > 0 {
        let _ = writeln!(out, "{} of blobs that are not here were removed", count(done.removed, "index"));
    }
    if done.failed > 0 {
        let _ = writeln!(out, "of {} the frames cannot be told", count(done.failed, "blob"));
    }
    out
}

/// A blob that came back.
pub fn mended(mended: &Mended) -> String {
    let Mended { digest, size, kept_bytes, fetched_bytes, requests, .. } = mended;
    let requests = count(usize::try_from(*requests).unwrap_or(usize::MAX), "request");
    format!(
        "{digest} is back: {} of {} were right, {} came over the wire in {requests}\n",
        bytes(*kept_bytes),
        bytes(*size),
        bytes(*fetched_bytes),
    )
}

/// What a check found.
pub fn checked(checked: &Checked) -> String {
    let mut out = String::new();
    for fault in &checked.faults {
        out.push_str(&self::fault(fault));
    }
    let looked_at = format!("{} in {}", bytes(checked.bytes), count(checked.blobs, "blob"));
    let _ = match checked.faults.len() {
        0 if checked.blobs == 0 => writeln!(out, "all is whole: the store is empty"),
        0 => writeln!(out, "all is whole: {looked_at}"),
        faults => writeln!(
            out,
            "{} ({looked_at}); --repair docker://… brings back what is damaged or missing",
            count(faults, "fault")
        ),
    };
    out
}

fn fault(fault: &Fault) -> String {
    let what = match fault.kind {
        FaultKind::Damaged => "is damaged: its bytes are not those of its name",
        FaultKind::Size => "is damaged: it has not the size that it should have",
        FaultKind::Missing => "is missing",
    };
    let whose = match &fault.images[..] {
        [] => "no image needs it, store gc removes it".to_owned(),
        [one] => format!("{one} needs it"),
        [one, rest @ ..] => format!("{one} and {} more need it", rest.len()),
    };
    format!("{} {what}; {whose}\n", fault.digest)
}
