//! chunkify: zstd:chunked OCI layers, written fast, pulled in part, and metered truthfully.
//!
//! The command line is a thin front; everything it does is here. The parts below need no registry, no store and no async runtime.
//!
//! # Write a layer to any [`Write`](std::io::Write)
//!
//! [`encode::encode`] takes a tar from any reader. Beside the blob it gives what the layer's descriptor needs; a tar that has no
//! faithful form comes out as plain zstd, with the reason.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use chunkify::encode::{self, Form, Settings};
//!
//! let payload = b"Good morning.\n".repeat(20_000);
//! let mut header = tar::Header::new_gnu();
//! header.set_size(payload.len() as u64);
//! header.set_mode(0o644);
//! let mut tar = tar::Builder::new(Vec::new());
//! tar.append_data(&mut header, "etc/motd", &payload[..])?;
//! let tar = tar.into_inner()?;
//!
//! let mut blob = Vec::new();
//! let encoded = encode::encode(&tar[..], &mut blob, &Settings::default(), &mut |_| {})?;
//! assert_eq!(encoded.size, blob.len() as u64);
//!
//! // What goes on the layer's descriptor, beside `encoded.digest` and `encoded.size`; `encoded.diff_id` goes into the config.
//! let Form::Chunked(chunked) = &encoded.form else { panic!("this tar has a faithful form") };
//! let mut annotations = BTreeMap::new();
//! chunked.annotations.apply(&mut annotations);
//! assert!(annotations.contains_key("io.github.containers.zstd-chunked.manifest-checksum"));
//! assert!(annotations.contains_key("io.github.containers.zstd-chunked.manifest-position"));
//! assert!(annotations.contains_key("io.github.containers.zstd-chunked.tarsplit-position"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Read a layer's frames from any bytes
//!
//! A layer's tail (table of contents, tar-split, footer) is one span at the end of its blob. Whoever has the descriptor's annotations
//! can fetch it by any means, and [`format::frame_map::check_with`] proves it: digests, entries against tar headers, frames without holes.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use chunkify::format::annotations::Annotations;
//! use chunkify::format::frame_map;
//!
//! # use chunkify::encode::{self, Form, Settings};
//! # let mut header = tar::Header::new_gnu();
//! # header.set_size(13);
//! # let mut tar = tar::Builder::new(Vec::new());
//! # tar.append_data(&mut header, "etc/motd", &b"Good morning.\n"[..13])?;
//! # let tar = tar.into_inner()?;
//! # let mut blob = Vec::new();
//! # let encoded = encode::encode(&tar[..], &mut blob, &Settings::default(), &mut |_| {})?;
//! # let Form::Chunked(chunked) = &encoded.form else { panic!("this tar has a faithful form") };
//! # let mut of_the_descriptor: BTreeMap<String, String> = BTreeMap::new();
//! # chunked.annotations.apply(&mut of_the_descriptor);
//! // `of_the_descriptor` and the size come from the manifest, `blob` from wherever it is.
//! let annotations = Annotations::parse(&of_the_descriptor)?;
//! let tail = annotations.positions.check(blob.len() as u64)?;
//! let bytes = &blob[usize::try_from(tail.span().start())?..];
//!
//! let mut files = Vec::new();
//! let map = frame_map::check_with(&annotations, &tail, bytes, |file| {
//!     files.push((file.entry.name.clone(), file.entry.size, file.frames.len()));
//! })?;
//! assert_eq!(files, [("etc/motd".to_owned(), 13, 1)]);
//! // Headers, the payload, and the end of the archive: each decompresses alone, and together they are the tar.
//! assert_eq!(map.frames.len(), 3);
//! assert_eq!(map.frames.iter().map(|frame| frame.len).sum::<u64>(), tar.len() as u64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Plan without a network
//!
//! Two frame maps tell what an update costs: a frame of the new blob whose content and lengths are also in the old one is copied, the
//! rest is fetched. [`plan::missing::plan`] makes the plan, and [`plan::requests::shape`] the requests.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use chunkify::format::frame_map::{Frame, FrameMap};
//! use chunkify::plan::missing::{self, Known, Place};
//! use chunkify::plan::requests::{self, Form};
//!
//! # use chunkify::encode::{self, Settings};
//! # use chunkify::format::frame_map;
//! # fn frames_of(payloads: &[&[u8]]) -> Result<FrameMap, Box<dyn std::error::Error>> {
//! #     let mut tar = tar::Builder::new(Vec::new());
//! #     for (number, payload) in payloads.iter().enumerate() {
//! #         let mut header = tar::Header::new_gnu();
//! #         header.set_size(payload.len() as u64);
//! #         tar.append_data(&mut header, format!("file-{number}"), *payload)?;
//! #     }
//! #     let tar = tar.into_inner()?;
//! #     let mut blob = Vec::new();
//! #     let encoded = encode::encode(&tar[..], &mut blob, &Settings::default(), &mut |_| {})?;
//! #     let encode::Form::Chunked(chunked) = encoded.form else { panic!("this tar has a faithful form") };
//! #     let tail = chunked.annotations.positions.check(encoded.size)?;
//! #     Ok(frame_map::check(&chunked.annotations, &tail, &blob[usize::try_from(tail.span().start())?..])?)
//! # }
//! # let old: FrameMap = frames_of(&[b"the same", b"of yesterday"])?;
//! # let new: FrameMap = frames_of(&[b"the same", b"of today", b"added"])?;
//! // `old` and `new` are the frame maps of a layer before and after.
//! let key = |frame: &Frame| (frame.digest, frame.len, frame.span.len());
//! let here: BTreeMap<_, _> = old.frames.iter().map(|frame| (key(frame), frame.span.start())).collect();
//! let known: Vec<Known> = new.frames.iter().map(|frame| match here.get(&key(frame)) {
//!     Some(&offset) => Known::Local(Place { blob: 0, offset }),
//!     None => Known::Missing,
//! }).collect();
//!
//! let plan = missing::plan(&new, &known);
//! assert_eq!(plan.copied_bytes() + plan.missing_bytes(), new.data_end);
//! assert!(plan.copied_frames > 0 && plan.missing_frames > 0);
//!
//! // What a server that answers 16 ranges at a time would be asked.
//! let requests = requests::shape(&plan.missing, Form::of(16));
//! assert!(requests.iter().map(|request| request.bytes()).sum::<u64>() >= plan.missing_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The modules
//!
//! They stand in reading order, which is the order of their ranks: a module imports only from ranks above it in this list.
//! `spec-notes/` has the format in our words, the decisions and their reasons.

// Rank 0: words that everyone uses.
pub mod digest;
pub mod ledger;
pub mod limits;
pub mod span;

// Rank 1: other people's formats. Pure.
pub mod blob;
pub mod cut;
pub mod inflate;
pub mod tar;
pub mod zstd;

// Rank 2: zstd:chunked. Pure.
pub mod format;

// Rank 3: algorithms. Pure but for threads and one `Write`.
pub mod encode;
pub mod image;
pub mod plan;

// Rank 4: shells that know digests and bytes, not the format.
pub mod archive;
pub mod registry;
pub mod store;

// Rank 5: runs.
pub mod convert;
pub mod housekeeping;
pub mod inspect;
pub mod local;
pub mod pull;
pub mod push;
pub mod serve;
pub mod source;
pub mod unpack;
pub mod verify;

// Rank 6: people.
pub mod cli;
pub mod report;

// What must hold for every input. Only for tests and fuzzers.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
