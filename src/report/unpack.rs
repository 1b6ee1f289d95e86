//! What an unpack made, for people.

use std::fmt::Write as _;

use crate::unpack::Outcome;

use super::words::{bytes, seconds, thousands};

/// What there is, and what is not as the image has it.
pub fn unpacked(outcome: &Outcome, took: f64) -> String {
    let counted = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{} {many}", thousands(count))),
    };
    let layers = u64::try_from(outcome.layers).unwrap_or(u64::MAX);
    let files = counted(outcome.files, "file", "files").map(|files| match outcome.bytes {
        0 => files,
        size => format!("{files} ({})", bytes(size)),
    });
    let parts = [
        counted(layers, "layer", "layers"),
        files,
        counted(outcome.folders, "folder", "folders"),
        counted(outcome.symlinks, "symlink", "symlinks"),
        counted(outcome.hard_links, "hard link", "hard links"),
        counted(outcome.devices, "device node", "device nodes"),
        counted(outcome.pipes, "pipe", "pipes"),
        counted(outcome.whiteouts, "whiteout", "whiteouts"),
        Some(seconds(took)),
    ];
    let mut out = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    out.push('\n');
    if let Some(count) =
        counted(outcome.replaced_devices, "device node is an empty file", "device nodes are empty files")
    {
        let some = &outcome.some_replaced_devices;
        let more = if outcome.replaced_devices > some.len() as u64 { ", …" } else { "" };
        let _ = writeln!(out, "{count}: {}{more}", some.join(", "));
    }
    if let Some(count) = counted(outcome.reserved, "entry", "entries") {
        let _ = writeln!(out, "{count} of an old engine's own (.wh..wh.…) left out");
    }
    for ((name, why), count) in &outcome.left_out_xattrs {
        let objects = counted(*count, "object", "objects").unwrap_or_default();
        let _ = writeln!(out, "extended attribute {name:?} left out of {objects}: it {why}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_told() {
        let mut outcome = Outcome { layers: 2, files: 1, bytes: 1500, folders: 3, ..Outcome::default() };
        assert_eq!(unpacked(&outcome, 0.5), "2 layers, 1 file (1.5 kB), 3 folders, 0.50 s\n");
        outcome.replaced_devices = 1;
        outcome.some_replaced_devices = vec!["dev/null".into()];
        outcome.left_out_xattrs.insert(("security.selinux".into(), "belongs to a machine, not to an image"), 2);
        let text = unpacked(&outcome, 0.5);
        assert!(text.contains("\n1 device node is an empty file: dev/null\n"), "{text}");
        assert!(text.contains("\"security.selinux\" left out of 2 objects: it belongs to a machine"), "{text}");
    }
}
