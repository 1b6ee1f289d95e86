//! Making a layer of any bytes.

use crate::digest::Digest;
use crate::encode::{self, Form, Levels, Settings};
use crate::format::footer;
use crate::format::frame_map;
use crate::zstd::codec;

use super::agreement::tiles;
use super::frame_map::frame_by_frame;

/// Whatever is read as a tar becomes a layer that decompresses to the same bytes; if it has a table of contents, our own reader accepts
/// it and every frame holds what it should.
pub fn encode(data: &[u8]) {
    let metadata = Levels { long: 1, short: 1, short_below: 0 };
    let settings = Settings { metadata, ..Settings::at(1) };
    let mut blob = Vec::new();
    let made = encode::encode(data, &mut blob, &settings, &mut |_| {}).expect("memory takes and gives");
    assert_eq!((made.size, made.digest), (blob.len() as u64, Digest::of(&blob)));
    assert_eq!((made.tar_size, made.diff_id), (data.len() as u64, Digest::of(data)));
    assert!(codec::decompress(&blob, data.len() as u64).is_ok_and(|tar| tar == data), "another tar comes out");
    let Form::Chunked(chunked) = made.form else { return };
    assert_eq!(footer::read(&blob), Ok(chunked.annotations.positions));
    let tail = chunked.annotations.positions.check(made.size).expect("a tail that readers take");
    let bytes = &blob[usize::try_from(tail.data_end()).expect("it lies in the blob")..];
    let map = frame_map::check(&chunked.annotations, &tail, bytes).expect("a layer that readers take");
    tiles(&map);
    assert_eq!((map.tar_size, map.entries), (made.tar_size, chunked.entries));
    assert!(frame_by_frame(&map, &blob).is_some_and(|tar| tar == data), "frame by frame another tar comes out");
}
