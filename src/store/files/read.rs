//! Looking at files, which changes nothing.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Opens a file for reading.
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Opens a file that may be missing.
pub fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    if_there(File::open(path))
}

/// Whether there is something of that name.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Where large files may lie for a while: `TMPDIR`, else `/var/tmp`, because `/tmp` is in memory on many systems.
pub fn temporary_folder() -> PathBuf {
    let var = Path::new("/var/tmp");
    if std::env::var_os("TMPDIR").is_none() && var.is_dir() { var.into() } else { std::env::temp_dir() }
}

/// Whether it is a folder with anything in it.
pub fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Bytes of a file that may be missing.
pub fn len(path: &Path) -> io::Result<Option<u64>> {
    Ok(if_there(fs::metadata(path))?.map(|metadata| metadata.len()))
}

/// Reads a file that may be missing, but no more than `limit` bytes of it.
pub fn read_up_to(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_if_there(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A file in a folder.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Its bytes.
    pub len: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl Entry {
    /// For how long nobody has written it.
    pub fn age(&self) -> Duration {
        self.modified.elapsed().unwrap_or_default()
    }
}

/// The plain files in a folder that may be missing, in the order of their names.
pub fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let Some(entries) = if_there(fs::read_dir(folder))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // One that goes away meanwhile is not there.
        let Some(metadata) = if_there(entry.metadata())?.filter(fs::Metadata::is_file) else { continue };
        let allocated = metadata.blocks() * 512;
        found.push(Entry { name: entry.file_name(), len: metadata.len(), allocated, modified: metadata.modified()? });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
