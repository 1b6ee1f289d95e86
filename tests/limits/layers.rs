//! A layer's metadata, and tars.

use chunkify::format::tail::{Position, Positions};
use chunkify::format::tar_split::Reader;
use chunkify::limits;
use chunkify::tar::scan::{Event, Scanner};
use chunkify::zstd::codec::{FrameCompressor, Tables, decompress};
use tar::{EntryType, Header};

/// What the positions of a tail with these lengths are refused with. Larger ones than any layer's have to be declared only.
fn tail(toc: [u64; 2], tar_split: [u64; 2]) -> Result<(), String> {
    let toc = Position { offset: 8, compressed: toc[0], uncompressed: toc[1] };
    let tar_split = Position { offset: 16 + toc.compressed, compressed: tar_split[0], uncompressed: tar_split[1] };
    let size = tar_split.offset + tar_split.compressed + 72;
    Positions { toc, tar_split }.check(size).map(|_| ()).map_err(|error| error.to_string())
}

fn declared(limit: u64, refused: impl Fn(u64) -> Result<(), String>) {
    refused(limit).unwrap();
    let said = refused(limit + 1).unwrap_err();
    for number in [limit, limit + 1] {
        assert!(said.contains(&number.to_string()), "{said}");
    }
}

pub fn toc_compressed() {
    declared(limits::TOC_COMPRESSED, |len| tail([len, 1], [1, 1]));
}

pub fn toc_uncompressed() {
    declared(limits::TOC_UNCOMPRESSED, |len| tail([1, len], [1, 1]));
}

pub fn tar_split_compressed() {
    declared(limits::TAR_SPLIT_COMPRESSED, |len| tail([1, 1], [len, 1]));
}

pub fn tar_split_uncompressed() {
    declared(limits::TAR_SPLIT_UNCOMPRESSED, |len| tail([1, 1], [1, len]));
}

pub fn tar_split_line() {
    let line = |len: usize| {
        let mut text = b"{\"type\":2,\"payload\":\"\"}".to_vec();
        text.resize(len - 1, b' ');
        text.push(b'\n');
        let compressed = FrameCompressor::new().compress(&text, 1, Tables::Zstd);
        Reader::new(&compressed, len as u64).next_line().map(|_| ()).map_err(|error| error.to_string())
    };
    line(limits::TAR_SPLIT_LINE).unwrap();
    assert!(
        line(limits::TAR_SPLIT_LINE + 1)
            .unwrap_err()
            .contains("line 1 of the tar-split goes beyond the limit of 16777216")
    );
}

pub fn window() {
    // A frame by hand: a window of two to the power of `log`, and one byte.
    let frame = |log: u32| {
        let window = u8::try_from((log - 10) << 3).unwrap();
        decompress(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x09, 0x00, 0x00, b'x'], 10)
    };
    assert_eq!(frame(limits::ZSTD_WINDOW_LOG).unwrap(), b"x");
    let refused = frame(limits::ZSTD_WINDOW_LOG + 1).unwrap_err().to_string();
    assert!(refused.contains("2^27"), "{refused}");
}

fn header(kind: EntryType, name: &str, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(name).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A long name of so many bytes, in front of a member.
fn long_name(len: u64) -> Vec<u8> {
    let mut tar = header(EntryType::GNULongName, "long", len);
    tar.resize(tar.len() + usize::try_from(len).unwrap().next_multiple_of(512), b'n');
    tar
}

/// The names of the members that a scan finds, or what it is refused with.
fn scan(tar: &[u8], mut scanner: Scanner) -> Result<Vec<Vec<u8>>, String> {
    let (mut input, mut names) = (tar, Vec::new());
    while let Some(event) = scanner.next(&mut input).map_err(|fault| fault.to_string())? {
        if let Event::Entry { entry, .. } = event {
            names.push(entry.name);
        }
    }
    Ok(names)
}

/// The real number of members would take a tar of gigabytes, so the scanner can be told another.
pub fn entries() {
    let members =
        |count: usize| (0..count).flat_map(|at| header(EntryType::Regular, &at.to_string(), 0)).collect::<Vec<_>>();
    for (count, fits) in [(7, true), (8, false)] {
        for scanner in [Scanner::new(), Scanner::lenient()] {
            let scanned = scan(&members(count), scanner.of_at_most(7));
            assert_eq!(scanned.is_ok(), fits);
            assert!(
                fits || scanned
                    .unwrap_err()
                    .contains("more than 7 entries, which is the limit, at byte 4096 of the tar")
            );
        }
    }
    assert_eq!(scan(&members(8), Scanner::new()).unwrap().len(), 8);
}

pub fn tar_special() {
    let named = |len: u64| scan(&[long_name(len), header(EntryType::Regular, "x", 0)].concat(), Scanner::new());
    assert_eq!(named(limits::TAR_SPECIAL).unwrap()[0].len() as u64, limits::TAR_SPECIAL);
    let refused = named(limits::TAR_SPECIAL + 1).unwrap_err();
    assert!(refused.contains("1048577 bytes, more than the 1048576"), "{refused}");
}

pub fn tar_headers() {
    let named = |last: u64| {
        let mut tar: Vec<u8> = (0..7).flat_map(|_| long_name(limits::TAR_SPECIAL)).collect();
        tar.extend(long_name(last));
        tar.extend(header(EntryType::Regular, "x", 0));
        scan(&tar, Scanner::new())
    };
    let last = limits::TAR_HEADERS as u64 - 7 * (limits::TAR_SPECIAL + 512) - 512;
    named(last).unwrap();
    let refused = named(last + 1).unwrap_err();
    assert!(refused.contains("8388609 bytes, more than the 8388608"), "{refused}");
}
