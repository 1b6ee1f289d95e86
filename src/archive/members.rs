//! What stands in a tar, and where.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::limits;
use crate::store::StoreError;
use crate::tar::header::{Entry, Kind};
use crate::tar::path::clean;
use crate::tar::scan::{Event, Scanner};

use super::error::{ArchiveError, MemberFault};

/// Where a member's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the tar.
    pub start: u64,
    /// How many.
    pub len: u64,
}

/// What a member is. Folders are not kept: they say nothing.
#[derive(Clone, Debug)]
enum Member {
    File(Place),
    /// A symlink, and where it leads.
    Symlink(Vec<u8>),
    /// Nothing that could be part of an image.
    Other(&'static str),
}

/// All members of a tar, by their names without `.` and double slashes.
#[derive(Debug, Default)]
pub struct Members {
    members: BTreeMap<Vec<u8>, Member>,
    /// Bytes that the names take.
    names: usize,
}

/// What a member costs beside its name, roughly.
const OVERHEAD: usize = 64;
/// Bytes read at once while headers are looked for.
const PIECE: usize = 64 << 10;

impl Members {
    /// Walks a tar from header to header. Payloads are not read.
    ///
    /// # Errors
    /// [`ArchiveError`] when it is no tar, when it is cut short, or when a name is not acceptable.
    pub fn read(path: &Path, file: &File) -> Result<Self, ArchiveError> {
        let failed = |source| StoreError::io("read", path, source);
        let broken = |source| ArchiveError::Tar { path: path.into(), source };
        let len = file.metadata().map_err(failed)?.len();
        let mut members = Self::default();
        let mut scanner = Scanner::lenient();
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        'pieces: while at < len {
            let count = read_some(file, &mut buffer, at).map_err(failed)?;
            let mut input = &buffer[..count];
            while let Some(event) = scanner.next(&mut input).map_err(broken)? {
                let Event::Entry { entry, .. } = event else { continue };
                let place = Place { start: scanner.offset(), len: u64::try_from(entry.size).unwrap_or(0) };
                members.add(path, &entry, place, len)?;
                if place.len > 0 {
                    scanner.skip_payload();
                    at = scanner.offset();
                    continue 'pieces;
                }
            }
            if count == 0 {
                break;
            }
            at += count as u64;
        }
        scanner.finish().map_err(broken)?;
        Ok(members)
    }

    fn add(&mut self, path: &Path, entry: &Entry, place: Place, len: u64) -> Result<(), ArchiveError> {
        let refuse = |fault| Err(ArchiveError::member(path, &entry.name, fault));
        if place.len > len - place.start.min(len) {
            return refuse(MemberFault::Cut { stated: place.len, there: len - place.start.min(len) });
        }
        if leads_out(&entry.name) {
            return refuse(MemberFault::Outside);
        }
        let member = match entry.kind {
            Kind::Directory => return Ok(()),
            Kind::Regular if entry.sparse.is_some() => Member::Other("a sparse file"),
            Kind::Regular => Member::File(place),
            Kind::Symlink => Member::Symlink(entry.link_name.clone()),
            Kind::HardLink => Member::Other("a hard link"),
            Kind::Char | Kind::Block => Member::Other("a device"),
            Kind::Fifo => Member::Other("a pipe"),
        };
        let name = clean(&entry.name);
        if !self.has_room_for(name.len() + entry.link_name.len()) {
            return Err(ArchiveError::TooMany(path.into()));
        }
        match self.members.insert(name, member) {
            None => Ok(()),
            Some(_) => refuse(MemberFault::Twice),
        }
    }

    /// Counts names of so many bytes; whether that is acceptable.
    fn has_room_for(&mut self, name: usize) -> bool {
        self.names = self.names.saturating_add(name.saturating_add(OVERHEAD));
        self.names <= limits::ARCHIVE_NAMES
    }

    /// Every plain file in a folder, by what its name has behind it.
    pub fn in_folder<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a [u8], Place)> {
        let inside = self.members.range(folder.as_bytes().to_vec()..);
        let inside = inside.map_while(move |(name, member)| Some((name.strip_prefix(folder.as_bytes())?, member)));
        inside.filter_map(|(name, member)| match member {
            Member::File(place) => Some((name, *place)),
            _ => None,
        })
    }

    /// Where a plain file is, or `None` when there is nothing of that name.
    ///
    /// # Errors
    /// [`MemberFault`] when there is something else, or its folder is none.
    pub fn file(&self, name: &str) -> Result<Option<Place>, MemberFault> {
        match self.find(name.as_bytes())? {
            None => Ok(None),
            Some(Member::File(place)) => Ok(Some(*place)),
            Some(Member::Symlink(_)) => Err(MemberFault::Kind("a symlink")),
            Some(Member::Other(kind)) => Err(MemberFault::Kind(kind)),
        }
    }

    /// The same, also through one symlink that stays in the archive: how layers that are the same were stored once.
    ///
    /// # Errors
    /// [`MemberFault`].
    pub fn linked_file(&self, name: &str) -> Result<Option<Place>, MemberFault> {
        let Some(Member::Symlink(target)) = self.find(name.as_bytes())? else { return self.file(name) };
        let failed = || MemberFault::Link(String::from_utf8_lossy(target).into_owned());
        let folder = name.rfind('/').map_or("", |at| &name[..=at]);
        let leads = clean(&[folder.as_bytes(), target].concat());
        if target.starts_with(b"/") || leads_out(&leads) {
            return Err(MemberFault::Outside);
        }
        match self.find(&leads)? {
            Some(Member::File(place)) => Ok(Some(*place)),
            _ => Err(failed()),
        }
    }

    fn find(&self, name: &[u8]) -> Result<Option<&Member>, MemberFault> {
        if leads_out(name) {
            return Err(MemberFault::Outside);
        }
        let name = clean(name);
        for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if self.members.contains_key(&name[..at]) {
                return Err(MemberFault::NotAFolder(String::from_utf8_lossy(&name[..at]).into_owned()));
            }
        }
        Ok(self.members.get(&name))
    }
}

/// Whether whoever unpacked it could be led elsewhere.
fn leads_out(name: &[u8]) -> bool {
    name.starts_with(b"/") || name.split(|&byte| byte == b'/').any(|element| element == b"..")
}

fn read_some(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_meet_their_limit() {
        assert!(Members::default().has_room_for(limits::ARCHIVE_NAMES - OVERHEAD));
        assert!(!Members::default().has_room_for(limits::ARCHIVE_NAMES - OVERHEAD + 1));
        assert!(!Members::default().has_room_for(usize::MAX));
    }
}
