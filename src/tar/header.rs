//! One 512-byte header block, and the entry that it and its extended headers make together.

use std::collections::BTreeMap;

use super::number::{self, Time};
use super::pax::Records;
use super::sparse::Sparse;

/// The size of every block of a tar.
pub const BLOCK: usize = 512;

/// What kind of file system object an entry is; the kinds that a table of contents can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, the only kind with a payload.
    Regular,
    /// Another name of an earlier regular file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One member of an archive, as Go's reader presents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The kind.
    pub kind: Kind,
    /// The name, not cleaned.
    pub name: Vec<u8>,
    /// The target of a link, or empty.
    pub link_name: Vec<u8>,
    /// Permission and mode bits, as the header has them.
    pub mode: i64,
    /// Payload bytes; zero for everything but regular files. Of a sparse file, the bytes that the archive has of it.
    pub size: i64,
    /// Where a sparse file's data lie; only a lenient scanner lets such entries through.
    pub sparse: Option<Sparse>,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Modification time.
    pub mtime: Time,
    /// Access time, where the header has one.
    pub atime: Option<Time>,
    /// Change time, where the header has one.
    pub ctime: Option<Time>,
    /// Device numbers.
    pub dev_major: i64,
    /// See `dev_major`.
    pub dev_minor: i64,
    /// Extended attributes (`SCHILY.xattr.` records).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A header block that Go's reader would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The checksum is wrong: not a tar header.
    #[error("checksum mismatch")]
    Checksum,
    /// A number is malformed or out of range.
    #[error("malformed number")]
    Number,
    /// The size is negative.
    #[error("negative size")]
    Size,
}

/// The fields of one block before extended headers are applied.
#[derive(Clone, Debug)]
pub struct Block {
    /// The type flag as it stands in the block.
    pub flag: u8,
    /// See [`Entry`].
    pub name: Vec<u8>,
    /// See [`Entry`].
    pub link_name: Vec<u8>,
    /// See [`Entry`].
    pub mode: i64,
    /// See [`Entry`]; never negative.
    pub size: u64,
    uid: i64,
    gid: i64,
    mtime: Time,
    atime: Option<Time>,
    ctime: Option<Time>,
    dev_major: i64,
    dev_minor: i64,
}

/// Which of the dialects a block's magic announces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Gnu,
    Star,
}

fn dialect(block: &[u8; BLOCK]) -> Dialect {
    match (&block[257..263], &block[263..265], &block[508..512]) {
        (b"ustar\0", _, b"tar\0") => Dialect::Star,
        (b"ustar\0", _, _) => Dialect::Ustar,
        (b"ustar ", b" \0", _) => Dialect::Gnu,
        _ => Dialect::V7,
    }
}

fn text(field: &[u8]) -> Vec<u8> {
    field.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    let Some(stated) = number::octal(&block[148..156]) else { return false };
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for (position, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&position) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(i8::from_ne_bytes([byte]));
    }
    stated == unsigned || stated == signed
}

impl Block {
    /// Reads one block.
    ///
    /// # Errors
    /// [`HeaderError`] where Go's reader refuses the block.
    pub fn parse(block: &[u8; BLOCK]) -> Result<Self, HeaderError> {
        if !checksum_holds(block) {
            return Err(HeaderError::Checksum);
        }
        let old = tar::Header::from_byte_slice(block).as_old();
        let number = |field: &[u8]| number::numeric(field).ok_or(HeaderError::Number);
        let size = number(&old.size)?;
        let mut read = Self {
            flag: old.linkflag[0],
            name: text(&old.name),
            link_name: text(&old.linkname),
            mode: number(&old.mode)?,
            size: u64::try_from(size).map_err(|_| HeaderError::Size)?,
            uid: number(&old.uid)?,
            gid: number(&old.gid)?,
            mtime: Time::seconds(number(&old.mtime)?),
            atime: None,
            ctime: None,
            dev_major: 0,
            dev_minor: 0,
        };
        let dialect = dialect(block);
        if dialect != Dialect::V7 {
            read.dev_major = number(&block[329..337])?;
            read.dev_minor = number(&block[337..345])?;
            let prefix = read.dialect_fields(dialect, block)?;
            if !prefix.is_empty() {
                read.name = [&prefix[..], b"/", &read.name].concat();
            }
        }
        Ok(read)
    }

    /// Reads what only some dialects have; returns the prefix of the name.
    fn dialect_fields(&mut self, dialect: Dialect, block: &[u8; BLOCK]) -> Result<Vec<u8>, HeaderError> {
        match dialect {
            Dialect::V7 => Ok(Vec::new()),
            Dialect::Ustar => Ok(text(&block[345..500])),
            Dialect::Star => {
                let time = |field: &[u8]| number::numeric(field).map(Time::seconds).ok_or(HeaderError::Number);
                self.atime = Some(time(&block[476..488])?);
                self.ctime = Some(time(&block[488..500])?);
                Ok(text(&block[345..476]))
            }
            Dialect::Gnu => Ok(self.gnu_times_or_prefix(block)),
        }
    }

    /// Old writers put a ustar prefix where GNU has times; Go believes in times unless they do not parse.
    fn gnu_times_or_prefix(&mut self, block: &[u8; BLOCK]) -> Vec<u8> {
        let time = |field: &[u8]| match field.first() {
            Some(0) => Ok(None),
            _ => number::numeric(field).map(|seconds| Some(Time::seconds(seconds))).ok_or(()),
        };
        match (time(&block[345..357]), time(&block[357..369])) {
            (Ok(atime), Ok(ctime)) => {
                (self.atime, self.ctime) = (atime, ctime);
                Vec::new()
            }
            _ => {
                let prefix = text(&block[345..500]);
                if prefix.is_ascii() { prefix } else { Vec::new() }
            }
        }
    }

    /// The entry that this block makes with the extended headers in front of it: PAX records first, then GNU long names.
    ///
    /// Returns the entry with its flag's kind, or `None` as the kind when no table of contents can name it.
    ///
    /// # Errors
    /// [`HeaderError`] where Go's reader refuses a record's value.
    pub fn with_extensions(
        mut self,
        records: &Records,
        long_name: Vec<u8>,
        long_link: Vec<u8>,
    ) -> Result<(Option<Kind>, Entry), HeaderError> {
        let mut xattrs = BTreeMap::new();
        for (key, value) in records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                xattrs.insert(name.to_vec(), value.clone());
            }
            // An empty value means: keep what the block says.
            if !value.is_empty() {
                self.apply(key, value)?;
            }
        }
        if !long_name.is_empty() {
            self.name = long_name;
        }
        if !long_link.is_empty() {
            self.link_name = long_link;
        }
        let kind = self.kind();
        let entry = Entry {
            kind: kind.unwrap_or(Kind::Regular),
            name: self.name,
            link_name: self.link_name,
            mode: self.mode,
            size: i64::try_from(self.size).map_err(|_| HeaderError::Size)?,
            sparse: None,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            atime: self.atime,
            ctime: self.ctime,
            dev_major: self.dev_major,
            dev_minor: self.dev_minor,
            xattrs,
        };
        Ok((kind, entry))
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), HeaderError> {
        let decimal = || number::decimal(value).ok_or(HeaderError::Number);
        let time = || number::pax_time(value).ok_or(HeaderError::Number);
        match key {
            b"path" => self.name = value.to_vec(),
            b"linkpath" => self.link_name = value.to_vec(),
            b"uid" => self.uid = decimal()?,
            b"gid" => self.gid = decimal()?,
            b"mtime" => self.mtime = time()?,
            b"atime" => self.atime = Some(time()?),
            b"ctime" => self.ctime = Some(time()?),
            b"size" => self.size = u64::try_from(decimal()?).map_err(|_| HeaderError::Size)?,
            _ => {}
        }
        Ok(())
    }

    /// The kind that the flag names; a legacy NUL flag is a directory when the name ends in a slash.
    fn kind(&self) -> Option<Kind> {
        Some(match self.flag {
            0 if self.name.ends_with(b"/") => Kind::Directory,
            0 | b'0' => Kind::Regular,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return None,
        })
    }
}
