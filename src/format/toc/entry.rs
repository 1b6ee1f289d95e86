//! One entry, as the JSON has it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::tar::header::{Entry as TarEntry, Kind};

use super::no_form::NoForm;
use super::time::Timestamp;

/// What an entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A regular file (and its first chunk).
    Reg,
    /// A hard link.
    Hardlink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Dir,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A further chunk of the file before it.
    Chunk,
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Regular => Self::Reg,
            Kind::HardLink => Self::Hardlink,
            Kind::Symlink => Self::Symlink,
            Kind::Directory => Self::Dir,
            Kind::Char => Self::Char,
            Kind::Block => Self::Block,
            Kind::Fifo => Self::Fifo,
        }
    }
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkKind {
    /// Data.
    #[default]
    #[serde(rename = "")]
    Data,
    /// Nothing but zeros.
    #[serde(rename = "zeros")]
    Zeros,
}

/// An entry with the fields' names and order of the reference; zero values are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What it stands for.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// The member's name, not cleaned.
    pub name: String,
    /// The target of a link.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link_name: String,
    /// Mode bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: i64,
    /// Payload bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: i64,
    /// Owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: i64,
    /// Group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: i64,
    /// Modification time.
    #[serde(default, rename = "modtime", skip_serializing_if = "Option::is_none")]
    pub mod_time: Option<Timestamp>,
    /// Access time.
    #[serde(default, rename = "accesstime", skip_serializing_if = "Option::is_none")]
    pub access_time: Option<Timestamp>,
    /// Change time.
    #[serde(default, rename = "changetime", skip_serializing_if = "Option::is_none")]
    pub change_time: Option<Timestamp>,
    /// Device number, major.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_major: i64,
    /// Device number, minor.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dev_minor: i64,
    /// Extended attributes: name to value in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// Digest of the whole payload; none for empty files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where the (first) chunk's frame begins in the blob.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub offset: u64,
    /// Where the last chunk's frame ends in the blob.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub end_offset: u64,
    /// Payload bytes of this chunk; zero when the file is one chunk.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub chunk_size: u64,
    /// Where this chunk begins in the payload.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub chunk_offset: u64,
    /// Digest of this chunk's payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_digest: Option<Digest>,
    /// What the chunk holds.
    #[serde(default, skip_serializing_if = "is_data")]
    pub chunk_type: ChunkKind,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_data(kind: &ChunkKind) -> bool {
    *kind == ChunkKind::Data
}

impl Entry {
    /// What the table of contents says of a tar entry, before offsets and digests.
    ///
    /// # Errors
    /// [`NoForm`] when it cannot be said.
    pub fn from_tar(entry: &TarEntry) -> Result<Self, NoForm> {
        let text =
            |bytes: &[u8], what| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| NoForm::NotUtf8(what));
        let mut xattrs = BTreeMap::new();
        for (name, value) in &entry.xattrs {
            if name.is_empty() {
                return Err(NoForm::NoName);
            }
            xattrs.insert(text(name, "name of an extended attribute")?, BASE64.encode(value));
        }
        Ok(Self {
            kind: entry.kind.into(),
            name: text(&entry.name, "name")?,
            link_name: text(&entry.link_name, "link target")?,
            mode: entry.mode,
            size: entry.size,
            uid: entry.uid,
            gid: entry.gid,
            mod_time: Timestamp::from_tar(entry.mtime)?,
            access_time: entry.atime.map(Timestamp::from_tar).transpose()?.flatten(),
            change_time: entry.ctime.map(Timestamp::from_tar).transpose()?.flatten(),
            dev_major: entry.dev_major,
            dev_minor: entry.dev_minor,
            xattrs,
            ..Self::empty(entry.kind.into())
        })
    }

    /// A further chunk of the file `name`.
    pub fn further_chunk(name: String) -> Self {
        Self { name, ..Self::empty(EntryKind::Chunk) }
    }

    fn empty(kind: EntryKind) -> Self {
        Self {
            kind,
            name: String::new(),
            link_name: String::new(),
            mode: 0,
            size: 0,
            uid: 0,
            gid: 0,
            mod_time: None,
            access_time: None,
            change_time: None,
            dev_major: 0,
            dev_minor: 0,
            xattrs: BTreeMap::new(),
            digest: None,
            offset: 0,
            end_offset: 0,
            chunk_size: 0,
            chunk_offset: 0,
            chunk_digest: None,
            chunk_type: ChunkKind::Data,
        }
    }

    /// The first field in which this entry and what the tar's headers say (`other`) differ, compared as podman compares them.
    pub fn differs_from(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            ("type", self.kind == other.kind),
            ("name", self.name == other.name),
            ("linkName", self.link_name == other.link_name),
            ("mode", self.mode == other.mode),
            ("size", self.size == other.size),
            ("uid", self.uid == other.uid),
            ("gid", self.gid == other.gid),
            ("modtime", Timestamp::agree(self.mod_time, other.mod_time)),
            ("accesstime", Timestamp::agree(self.access_time, other.access_time)),
            ("changetime", Timestamp::agree(self.change_time, other.change_time)),
            ("devMajor", self.dev_major == other.dev_major),
            ("devMinor", self.dev_minor == other.dev_minor),
            ("xattrs", self.xattrs == other.xattrs),
        ];
        fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
    }
}
