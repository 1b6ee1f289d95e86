//! What the parts cost, each alone in one thread: `make bench` runs it, `cargo bench --bench parts` only this.
//!
//! The input is the largest layer of the new image in `fixtures/pair`, or the tar that `PARTS_TAR` names. Compare the parts of one run
//! with each other, and the same part before and after a change on one machine; nothing here asserts a time.

#![allow(clippy::disallowed_methods, reason = "benchmarks are shells")]

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use chunkify::cut::{Cutter, Piece};
use chunkify::digest::{Digest, Hasher};
use chunkify::encode::{self, Form, Pool, Settings};
use chunkify::format::annotations::Annotations;
use chunkify::format::tail::Tail;
use chunkify::format::{frame_map, tar_split, toc};
use chunkify::inflate;
use chunkify::plan::missing::{self, Known, Place};
use chunkify::plan::requests::{self, Form as RequestForm};
use chunkify::registry::multipart::{Multipart, MultipartError};
use chunkify::span::Span;
use chunkify::tar::scan::{Event, Scanner};
use chunkify::zstd::codec::{self, FrameCompressor};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use flate2::Compression;
use flate2::write::GzEncoder;

fn main() {
    divan::main();
}

/// The tar.
static TAR: LazyLock<Bytes> = LazyLock::new(|| {
    if let Some(path) = env::var_os("PARTS_TAR") {
        return fs::read(&path).unwrap_or_else(|error| panic!("PARTS_TAR={}: {error}", path.display())).into();
    }
    let blobs = Path::new("fixtures/pair/new/blobs/sha256");
    let largest = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| fs::metadata(path).unwrap().len()).expect("the fixture has blobs");
    let mut tar = Vec::new();
    inflate::tar_reader(File::open(largest).unwrap()).unwrap().1.read_to_end(&mut tar).unwrap();
    tar.into()
});

/// The same with gzip, at its usual level.
static GZIP: LazyLock<Bytes> = LazyLock::new(|| {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(&TAR).unwrap();
    gzip.finish().unwrap().into()
});

/// A layer at the default level.
struct Layer {
    blob: Vec<u8>,
    annotations: Annotations,
    tail: Tail,
}

static LAYER: LazyLock<Layer> = LazyLock::new(|| {
    let mut blob = Vec::new();
    let encoded = encode::encode(&TAR[..], &mut blob, &Settings::default(), &mut |_| {}).unwrap();
    let Form::Chunked(chunked) = encoded.form else { panic!("the tar has no faithful form") };
    let tail = chunked.annotations.positions.check(encoded.size).unwrap();
    Layer { blob, annotations: chunked.annotations, tail }
});

impl Layer {
    fn tail_bytes(&self) -> &[u8] {
        &self.blob[index(self.tail.span().start())..]
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.blob[index(span.start())..index(span.end())]
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a place in memory")
}

fn of_tar<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    LazyLock::force(&TAR);
    bencher
}

#[divan::bench]
fn inflate_gzip(bencher: Bencher) {
    LazyLock::force(&GZIP);
    of_tar(bencher).counter(BytesCount::new(TAR.len())).bench_local(|| {
        let mut tar = inflate::tar_reader(io::Cursor::new(GZIP.clone())).unwrap().1;
        io::copy(&mut tar, &mut io::sink()).unwrap()
    });
}

#[divan::bench]
fn inflate_zstd(bencher: Bencher) {
    LazyLock::force(&LAYER);
    of_tar(bencher).counter(BytesCount::new(TAR.len())).bench_local(|| {
        let mut tar = codec::Decoder::new(&LAYER.blob[..]);
        io::copy(&mut tar, &mut io::sink()).unwrap()
    });
}

#[divan::bench]
fn sha_256(bencher: Bencher) {
    of_tar(bencher).counter(BytesCount::new(TAR.len())).bench_local(|| {
        let mut hasher = Hasher::new();
        hasher.update(&TAR);
        hasher.finish()
    });
}

/// As workers take chunks.
#[divan::bench]
fn sha_256_two_at_a_time(bencher: Bencher) {
    let chunks: Vec<&[u8]> = TAR.chunks(32 << 10).collect();
    bencher.counter(BytesCount::new(TAR.len())).bench_local(|| Digest::of_each(&chunks));
}

#[divan::bench]
fn scan_the_tar(bencher: Bencher) {
    of_tar(bencher).counter(BytesCount::new(TAR.len())).bench_local(|| {
        let (mut scanner, mut input, mut entries) = (Scanner::new(), &TAR[..], 0);
        while let Some(event) = scanner.next(&mut input).unwrap() {
            entries += usize::from(matches!(event, Event::Entry { .. }));
        }
        entries
    });
}

#[divan::bench]
fn cut_payloads(bencher: Bencher) {
    of_tar(bencher).counter(BytesCount::new(TAR.len())).bench_local(|| {
        let mut chunks = 0;
        let mut count = |piece: Piece| chunks += usize::from(matches!(piece, Piece::Data(_)));
        let mut cutter = Cutter::new(Settings::default().cut);
        // As one file, which is what large files come to.
        cutter.begin(TAR.len() as u64);
        for at in (0..TAR.len()).step_by(512 << 10) {
            cutter.push(TAR.slice(at..TAR.len().min(at + (512 << 10))), &mut count);
        }
        cutter.end(&mut count);
        chunks
    });
}

/// zstd frames by level and length, the tables being those that the encoder takes at that level.
#[divan::bench(args = [(1, 32), (3, 4), (3, 32), (3, 256), (6, 4), (6, 32), (6, 256), (9, 32)])]
fn compress_frames(bencher: Bencher, (level, kib): (i32, usize)) {
    let part = &TAR[..TAR.len().min(16 << 20)];
    let tables = Settings::at(level).tables;
    of_tar(bencher).counter(BytesCount::new(part.len())).bench_local(|| {
        let mut compressor = FrameCompressor::new();
        part.chunks(kib << 10).map(|chunk| compressor.compress(chunk, level, tables).len()).sum::<usize>()
    });
}

#[divan::bench(args = [3, 6])]
fn encode_in_one_thread(bencher: Bencher, level: i32) {
    let (pool, settings) = (Pool::new(1, Pool::memory(1)), Settings::at(level));
    of_tar(bencher)
        .counter(BytesCount::new(TAR.len()))
        .bench_local(|| pool.encode(&TAR[..], io::sink(), &settings, &mut |_| {}).unwrap().size);
}

#[divan::bench]
fn read_the_table_of_contents(bencher: Bencher) {
    let positions = &LAYER.annotations.positions;
    let span = Span::with_len(positions.toc.offset, positions.toc.compressed).unwrap();
    let text = codec::decompress(LAYER.at(span), positions.toc.uncompressed).unwrap();
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        let mut entries = 0;
        toc::read(&text, |_| {
            entries += 1;
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
        entries
    });
}

#[divan::bench]
fn read_the_tar_split(bencher: Bencher) {
    let position = &LAYER.annotations.positions.tar_split;
    let compressed = LAYER.at(Span::with_len(position.offset, position.compressed).unwrap());
    bencher.counter(BytesCount::new(position.uncompressed)).bench_local(|| {
        let (mut reader, mut lines) = (tar_split::Reader::new(compressed, position.uncompressed), 0);
        while reader.next_line().unwrap().is_some() {
            lines += 1;
        }
        lines
    });
}

/// What a pull does with a layer's tail before it plans.
#[divan::bench]
fn check_the_frame_map(bencher: Bencher) {
    let frames = frame_map::check(&LAYER.annotations, &LAYER.tail, LAYER.tail_bytes()).unwrap().frames.len();
    bencher
        .counter(ItemsCount::new(frames))
        .bench_local(|| frame_map::check(&LAYER.annotations, &LAYER.tail, LAYER.tail_bytes()).unwrap());
}

/// The plan and its requests when every third frame is missing.
#[divan::bench(args = [1, 16])]
fn plan_an_update(bencher: Bencher, ranges: usize) {
    let map = frame_map::check(&LAYER.annotations, &LAYER.tail, LAYER.tail_bytes()).unwrap();
    let known = |(at, frame): (usize, &frame_map::Frame)| match at % 3 {
        0 => Known::Missing,
        _ => Known::Local(Place { blob: 0, offset: frame.span.start() }),
    };
    let known: Vec<Known> = map.frames.iter().enumerate().map(known).collect();
    bencher.counter(ItemsCount::new(map.frames.len())).bench_local(|| {
        let plan = missing::plan(&map, &known);
        requests::shape(&plan.missing, RequestForm::of(ranges)).len()
    });
}

#[divan::bench(args = [4, 64])]
fn read_multipart(bencher: Bencher, kib: usize) {
    let (size, mut body) = (TAR.len().min(16 << 20), Vec::new());
    for (at, part) in TAR[..size].chunks(kib << 10).enumerate() {
        let start = at * (kib << 10);
        let end = start + part.len() - 1;
        write!(
            body,
            "\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {start}-{end}/{size}\r\n\r\n"
        )
        .unwrap();
        body.extend_from_slice(part);
    }
    body.extend_from_slice(b"\r\n--b--\r\n");
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let mut parser = Multipart::for_content_type("multipart/byteranges; boundary=b").unwrap().unwrap();
        let mut events = 0;
        for piece in body.chunks(16 << 10) {
            let told = parser.push(piece, &mut |_| {
                events += 1;
                Ok::<_, MultipartError>(())
            });
            told.unwrap();
        }
        assert!(parser.ended());
        events
    });
}
