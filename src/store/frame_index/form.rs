//! The form of an index file: a header, a column of fingerprints, a column of everything else. `spec-notes/frame-index.md` has it in words.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use crate::digest::Digest;

use super::{FrameKey, FrameRecord};

/// Magic and version; a change of the form changes it.
const MAGIC: &[u8; 8] = b"CHKFIDX2";
/// Bytes of the header.
pub const HEADER: usize = 64;
/// Bytes of a checksum.
const CHECK: usize = 8;
/// Fingerprints in a block: 16 KiB.
const FINGERPRINTS: u64 = 2048;
/// Bytes of what stands beside a fingerprint.
const DETAIL: usize = 48;
/// Records in a block of details: 3 KiB.
const DETAILS: u64 = 64;
/// No blob of 2^48 bytes has more; stops a count that makes sums overflow.
const MOST: u64 = 1 << 48;

/// A record's number in its file.
pub type Place = u64;

/// The head of a file that has the length it should have.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The blob.
    pub blob: Digest,
    /// Its bytes.
    pub size: u64,
    /// Records.
    pub count: u64,
}

impl Header {
    /// Reads a header and holds it against the length of its file.
    pub fn read(bytes: &[u8; HEADER], len: u64) -> Result<Self, &'static str> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err("it is of another version") };
        let (facts, _) = bytes.split_at(HEADER - CHECK);
        if checksum(0, facts) != number(bytes, HEADER - CHECK) {
            return Err("its header is damaged");
        }
        let digest = rest.first_chunk().ok_or("it is too short")?;
        let header = Self { blob: Digest::from_bytes(*digest), size: number(bytes, 40), count: number(bytes, 48) };
        match header.count <= MOST && header.file_len() == len {
            true => Ok(header),
            false => Err("it is cut short"),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.blob.as_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        let check = checksum(0, &bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Where the column of details begins.
    fn details_at(&self) -> u64 {
        HEADER as u64 + column(self.count, FINGERPRINTS, 8)
    }

    fn file_len(&self) -> u64 {
        self.details_at() + column(self.count, DETAILS, DETAIL as u64)
    }
}

/// Bytes of a column in blocks that each have a checksum.
fn column(count: u64, per_block: u64, item: u64) -> u64 {
    count * item + count.div_ceil(per_block) * CHECK as u64
}

/// A block's checksum; its number is part of it, so that a block in another's place does not check.
fn checksum(block: u64, bytes: &[u8]) -> u64 {
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    crc.update(&block.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Writes a whole file. The records are sorted and each is there once.
pub fn write(out: &mut impl Write, blob: &Digest, size: u64, records: &[FrameRecord]) -> io::Result<()> {
    let header = Header { blob: *blob, size, count: records.len() as u64 };
    out.write_all(&header.write())?;
    write_column(out, records, FINGERPRINTS, |record, block| {
        block.extend_from_slice(&record.key.fingerprint().to_le_bytes());
    })?;
    write_column(out, records, DETAILS, |record, block| {
        let FrameKey { digest, len, compressed } = &record.key;
        block.extend_from_slice(&digest.as_bytes()[8..]);
        for number in [*len, *compressed, record.offset] {
            block.extend_from_slice(&number.to_le_bytes());
        }
    })
}

fn write_column(
    out: &mut impl Write,
    records: &[FrameRecord],
    per_block: u64,
    item: impl Fn(&FrameRecord, &mut Vec<u8>),
) -> io::Result<()> {
    let per_block = usize::try_from(per_block).expect("a block is small");
    let mut block = Vec::new();
    for (number, records) in (0..).zip(records.chunks(per_block)) {
        block.clear();
        records.iter().for_each(|record| item(record, &mut block));
        out.write_all(&block)?;
        out.write_all(&checksum(number, &block).to_le_bytes())?;
    }
    Ok(())
}

/// Reads one block of a column into `buffer`, checked and without its checksum.
fn read_block<'b>(
    file: &File,
    start: u64,
    block: u64,
    (count, per_block, item): (u64, u64, u64),
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], &'static str> {
    let items = per_block.min(count - block * per_block);
    let bytes = usize::try_from(items * item).map_err(|_| "it is too large")?;
    buffer.resize(bytes + CHECK, 0);
    let at = start + block * (per_block * item + CHECK as u64);
    file.read_exact_at(buffer, at).map_err(|_| "it cannot be read")?;
    if checksum(block, &buffer[..bytes]) == number(buffer, bytes) { Ok(&buffer[..bytes]) } else { Err("it is damaged") }
}

/// Reads all fingerprints, in order.
pub fn fingerprints(
    file: &File,
    header: &Header,
    tell: &mut dyn FnMut(Place, u64) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut buffer = Vec::new();
    for block in 0..header.count.div_ceil(FINGERPRINTS) {
        let shape = (header.count, FINGERPRINTS, 8);
        let bytes = read_block(file, HEADER as u64, block, shape, &mut buffer)?;
        for (place, bytes) in (block * FINGERPRINTS..).zip(bytes.chunks_exact(8)) {
            tell(place, number(bytes, 0))?;
        }
    }
    Ok(())
}

/// Reads single records; those that stand together cost one read.
pub struct Details<'a> {
    file: &'a File,
    header: &'a Header,
    block: Option<u64>,
    buffer: Vec<u8>,
}

impl<'a> Details<'a> {
    /// Nothing is read yet.
    pub const fn new(file: &'a File, header: &'a Header) -> Self {
        Self { file, header, block: None, buffer: Vec::new() }
    }

    /// The record at a place whose fingerprint is known.
    pub fn read(&mut self, place: Place, fingerprint: u64) -> Result<FrameRecord, &'static str> {
        let block = place / DETAILS;
        if self.block != Some(block) {
            self.block = None;
            let shape = (self.header.count, DETAILS, DETAIL as u64);
            read_block(self.file, self.header.details_at(), block, shape, &mut self.buffer)?;
            self.block = Some(block);
        }
        let at = usize::try_from(place % DETAILS).expect("a block is small") * DETAIL;
        let detail = self.buffer.get(at..at + DETAIL).ok_or("it is cut short")?;
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&fingerprint.to_be_bytes());
        digest[8..].copy_from_slice(&detail[..24]);
        let key =
            FrameKey { digest: Digest::from_bytes(digest), len: number(detail, 24), compressed: number(detail, 32) };
        Ok(FrameRecord { key, offset: number(detail, 40) })
    }
}
