//! The plain zstd command makes of every blob the tar that went in, and our own decoder does too.

use std::fs;
use std::process::Command;

use chunkify::zstd::codec;

use crate::archives::BLOBS;
use crate::support::{command, tally};

#[test]
fn makes_the_tar_of_every_blob() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new("zstd");
    command.current_dir(folder.path()).args(["-dq", "--"]);
    for (archive, blob) in &*BLOBS {
        let ours = codec::decompress(&blob.bytes, archive.tar.len() as u64).expect("it is zstd");
        assert!(ours == archive.tar, "{}: our decoder gives another tar", archive.name);
        let file = format!("{}.zst", archive.name);
        fs::write(folder.path().join(&file), &blob.bytes).expect("the folder can be written to");
        command.arg(file);
    }
    command::run(&mut command).ok();
    for (archive, _) in &*BLOBS {
        let tar = fs::read(folder.path().join(&archive.name)).expect("zstd has written it");
        assert!(tar == archive.tar, "{}: zstd -d gives another tar", archive.name);
    }
    tally::write("zstd", &[("zstd -d", BLOBS.len(), 0)]);
}
