//! Every cap on input that chunkify does not trust, each with the attack it stops.
//!
//! A number from outside meets one of these before it meets an allocator. `spec-notes/limits.md` has the same table for people.

/// An image manifest, index or config, in bytes. Stops a registry that answers a manifest request with an endless body.
/// Registries accept 4 MiB; configs of real images stay under 1 MiB.
pub const MANIFEST: u64 = 8 << 20;

/// Layers in one image. Stops a manifest of millions of descriptors that each cost a request.
pub const LAYERS: usize = 4096;

/// Manifests in one index, and how deep indexes may nest. Stops an index that lists itself or fans out without end.
pub const INDEX_MANIFESTS: usize = 4096;
/// See [`INDEX_MANIFESTS`].
pub const INDEX_DEPTH: usize = 4;

/// The compressed table of contents, in bytes; podman's own limit.
pub const TOC_COMPRESSED: u64 = 150 << 20;
/// The decompressed table of contents, in bytes; podman's own limit. Stops a ratio bomb: 9.6 KB has been made into 0.9 GB.
pub const TOC_UNCOMPRESSED: u64 = 150 << 20;

/// The compressed tar-split, in bytes. Stops the same bomb in the other frame.
pub const TAR_SPLIT_COMPRESSED: u64 = 256 << 20;
/// The decompressed tar-split, in bytes. 310 MB exist in the field (storage#2240).
pub const TAR_SPLIT_UNCOMPRESSED: u64 = 1 << 30;

/// One line of a tar-split. A line holds one segment (headers, padding) in base64; Go's reader caps one extended header at 1 MiB
/// and one entry has at most a handful. Stops one line that is the whole gigabyte.
pub const TAR_SPLIT_LINE: usize = 16 << 20;

/// A PAX or GNU long-name record block in a tar, in bytes; the limit of Go's `archive/tar` and of libarchive.
pub const TAR_SPECIAL: u64 = 1 << 20;

/// The zstd window that a frame may ask for, as a power of two: 128 MiB, the limit of plain `zstd -d`. Stops a 15-byte frame that
/// makes a decoder allocate gigabytes.
pub const ZSTD_WINDOW_LOG: u32 = 27;

/// The names of an archive's members, in bytes, each with 64 for itself: 120,000 blobs. Stops an archive of millions of empty members.
pub const ARCHIVE_NAMES: usize = 16 << 20;

/// Redirects followed for one request. Stops a loop.
pub const REDIRECTS: usize = 8;

/// The body of an error answer that is read and shown, in bytes. Stops an error page without end.
pub const ERROR_BODY: usize = 16 << 10;

/// The body of a token server's answer, in bytes.
pub const TOKEN_BODY: usize = 1 << 20;

/// A file with logins, in bytes. Stops a path that names something else.
pub const CREDENTIALS_FILE: u64 = 1 << 20;

/// What a credential helper answers, in bytes. Stops one that prints without end.
pub const HELPER_ANSWER: u64 = 1 << 20;

/// A file of registries.conf, in bytes. Stops a path that names something else.
pub const REGISTRIES_CONF: u64 = 4 << 20;

/// A file of certs.d, in bytes. A bundle of all public authorities has 0.3 MB.
pub const CERTIFICATE_FILE: u64 = 8 << 20;

/// The header lines of one part of a multipart body, in bytes; servers send under 300.
pub const PART_HEADER: usize = 8 << 10;

/// Bytes between the parts of a multipart body that belong to no part (preamble), before the body is refused.
pub const PART_PREAMBLE: usize = 64 << 10;

/// A path that is unpacked, in bytes with its end; the system's `PATH_MAX`. Stops names that no program could open, and what following
/// them costs.
pub const PATH: usize = 4096;

/// The file that remembers hosts, in bytes, and how many hosts it has. Stops a cache that grows for ever, or that somebody replaced.
pub const HOSTS_FILE: u64 = 1 << 20;
/// See [`HOSTS_FILE`].
pub const REMEMBERED_HOSTS: usize = 512;
