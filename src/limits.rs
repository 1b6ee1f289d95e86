//! Every cap on input that chunkify does not trust, in one table.
//!
//! A number from outside meets one of these before it meets an allocator, a disk or a clock. `spec-notes/limits.md` has the same table
//! with the attack that each stops; a test holds the two against each other, and meets each limit at its number and one past it.

use std::io::{self, Read};
use std::time::Duration;

/// A limit's number, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Things.
    Count(u64),
    /// A power of two, of bytes.
    PowerOfTwo(u64),
    /// Bytes in a second.
    BytesPerSecond(u64),
    /// Time.
    Time(Duration),
}

/// Makes a constant of each row, and the table of all.
macro_rules! limits {
    ($($(#[$words:meta])* $unit:ident $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$words])* pub const $name: $type = $value;)*

        /// All of them, by name.
        pub const TABLE: &[(&str, Amount)] = &[$((stringify!($name), limits!(@ $unit $name))),*];
    };
    (@ Time $name:ident) => { Amount::Time($name) };
    (@ $unit:ident $name:ident) => { Amount::$unit($name as u64) };
}

limits! {
    // Documents.

    /// An image manifest, index or config. Registries accept 4 MiB; configs of real images stay under 1 MiB.
    Bytes MANIFEST: u64 = 8 << 20;
    /// Layers in one image.
    Count LAYERS: usize = 4096;
    /// A layer's blob, as its descriptor states it.
    Bytes LAYER: u64 = 1 << 40;
    /// Manifests in one index.
    Count INDEX_MANIFESTS: usize = 4096;
    /// Indexes inside indexes.
    Count INDEX_DEPTH: usize = 4;

    // A layer's metadata.

    /// The compressed table of contents; podman's own limit.
    Bytes TOC_COMPRESSED: u64 = 150 << 20;
    /// The decompressed table of contents; podman's own limit. 9.6 KB have been made into 0.9 GB.
    Bytes TOC_UNCOMPRESSED: u64 = 150 << 20;
    /// The compressed tar-split.
    Bytes TAR_SPLIT_COMPRESSED: u64 = 256 << 20;
    /// The decompressed tar-split. 310 MB exist in the field (storage#2240).
    Bytes TAR_SPLIT_UNCOMPRESSED: u64 = 1 << 30;
    /// One line of a tar-split: one segment (headers, padding) in base64.
    Bytes TAR_SPLIT_LINE: usize = 16 << 20;
    /// The window that a zstd frame may ask for; the limit of plain `zstd -d`.
    PowerOfTwo ZSTD_WINDOW_LOG: u32 = 27;

    // Tars.

    /// Members of one tar. The largest images have a million.
    Count ENTRIES: u64 = 16 << 20;
    /// A PAX or GNU long-name record block, and so each name, link target and extended attribute; the limit of Go's `archive/tar` and of
    /// libarchive.
    Bytes TAR_SPECIAL: u64 = 1 << 20;
    /// All headers of one member.
    Bytes TAR_HEADERS: usize = 8 << 20;
    /// The names of an archive's members, each with 64 bytes for itself: 120,000 blobs.
    Bytes ARCHIVE_NAMES: usize = 16 << 20;
    /// A path that is unpacked, with its end; the system's `PATH_MAX`.
    Bytes PATH: usize = 4096;

    // Disks.

    /// The content of all files of an image that is unpacked, holes not counted, unless more is allowed by [`UNPACKED_RATIO`] or by hand.
    Bytes UNPACKED: u64 = 4 << 30;
    /// The same, in bytes for each byte of the image's blobs. Text of logs comes to 50.
    Count UNPACKED_RATIO: u64 = 100;

    // Answers of registries.

    /// Redirects followed for one request.
    Count REDIRECTS: usize = 8;
    /// Tries of one request, unless said otherwise.
    Count ATTEMPTS: u32 = 5;
    /// The longest pause between two tries, whatever a server asks for.
    Time PAUSE: Duration = Duration::from_secs(60);
    /// Silence, unless said otherwise. A manifest may take ten times as long, because a mirror may be fetching the image.
    Time SILENCE: Duration = Duration::from_secs(60);
    /// A body that is slower than this over [`SILENCE`] counts as silence. A tenth of the slowest lines in use.
    BytesPerSecond SLOWEST: u64 = 100;
    /// The body of an error answer that is read and shown.
    Bytes ERROR_BODY: usize = 16 << 10;
    /// The body of a token server's answer.
    Bytes TOKEN_BODY: usize = 1 << 20;
    /// How long a token is used, whatever is said of it.
    Time TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
    /// Bytes of one answer that nobody asked for, beside as many as were asked for.
    Bytes SURPLUS: u64 = 1 << 20;
    /// Parts of one answer, beside four for each range that was asked for.
    Count PARTS: usize = 16;
    /// The boundary between the parts of a multipart body.
    Bytes PART_BOUNDARY: usize = 256;
    /// The header lines of one part; servers send under 300.
    Bytes PART_HEADER: usize = 8 << 10;
    /// Bytes of a multipart body that belong to no part.
    Bytes PART_PREAMBLE: usize = 64 << 10;
    /// Answers for one blob that bring next to nothing.
    Count POOR_ANSWERS: u32 = 16;
    /// Answers in a row that are complete and bring nothing at all.
    Count EMPTY_ANSWERS: u32 = 2;
    /// Refusals of several ranges, for one blob, before no more than one is asked for whatever the host has proved.
    Count RANGE_REFUSALS: u32 = 16;
    /// Frames of one layer that came, are wrong and are fetched once more, where an eighth of the layer is less.
    Bytes FETCHED_AGAIN: u64 = 1 << 20;

    // Names, logins and settings.

    /// Host and repository together; the limit of distribution.
    Bytes NAME: usize = 255;
    /// A tag; the limit of the distribution specification.
    Bytes TAG: usize = 128;
    /// A password that is typed or piped in.
    Bytes PASSWORD: u64 = 64 << 10;
    /// A file with logins.
    Bytes CREDENTIALS_FILE: u64 = 1 << 20;
    /// What a credential helper answers.
    Bytes HELPER_ANSWER: u64 = 1 << 20;
    /// How long a credential helper may take.
    Time HELPER_TIME: Duration = Duration::from_secs(60);
    /// A file of registries.conf.
    Bytes REGISTRIES_CONF: u64 = 4 << 20;
    /// A file of certs.d. A bundle of all public authorities has 0.3 MB.
    Bytes CERTIFICATE_FILE: u64 = 8 << 20;
    /// The file that remembers hosts.
    Bytes HOSTS_FILE: u64 = 1 << 20;
    /// Hosts that are remembered.
    Count REMEMBERED_HOSTS: usize = 512;

    // Requests to `serve`.

    /// The head of a request.
    Bytes REQUEST_HEAD: usize = 64 << 10;
    /// Its header lines.
    Count REQUEST_HEADERS: usize = 100;
    /// How long it may take to come.
    Time REQUEST_TIME: Duration = Duration::from_secs(60);
}

/// Reads `source` to its end.
///
/// # Errors
/// Those of `source`; [`io::ErrorKind::FileTooLarge`] when there are more than `limit` bytes.
pub fn read(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let why = format!("it has more than the {limit} bytes that are accepted");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}
