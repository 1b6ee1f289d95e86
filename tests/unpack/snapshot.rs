//! What a tree is made of, as text that can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use crate::support::content::digest_of;

/// Objects by their path; `.` is the tree's own folder.
pub type Tree = BTreeMap<String, String>;

/// Everything below a folder, and the folder: type, mode, owner, time, content, links, attributes.
#[track_caller]
pub fn of(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut inodes = BTreeMap::new();
    visit(root, ".", &mut tree, &mut inodes);
    tree
}

fn visit(path: &Path, name: &str, tree: &mut Tree, inodes: &mut BTreeMap<u64, String>) {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = metadata.file_type();
    let mut facts = match () {
        () if kind.is_dir() => "folder".to_owned(),
        () if kind.is_symlink() => {
            format!("symlink to {}", String::from_utf8_lossy(fs::read_link(path).unwrap().as_os_str().as_bytes()))
        }
        () if kind.is_fifo() => "fifo".to_owned(),
        () if kind.is_char_device() => format!("char {}", device(metadata.rdev())),
        () if kind.is_block_device() => format!("block {}", device(metadata.rdev())),
        () => {
            let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            format!("file of {} bytes {}", bytes.len(), digest_of(&bytes))
        }
    };
    if !kind.is_symlink() {
        facts += &format!(", mode {:04o}", metadata.mode() & 0o7777);
    }
    facts += &format!(", owner {}:{}", metadata.uid(), metadata.gid());
    facts += &format!(", time {}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    if !kind.is_dir() && metadata.nlink() > 1 {
        let first = inodes.entry(metadata.ino()).or_insert_with(|| name.to_owned());
        facts += &format!(", one of {} like {first}", metadata.nlink());
    }
    for (key, value) in xattrs(path) {
        facts += &format!(", {key}={value}");
    }
    tree.insert(name.to_owned(), facts);
    if !kind.is_dir() {
        return;
    }
    let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    entries.sort();
    for entry in entries {
        let shown = entry.as_bytes().escape_ascii().to_string();
        let below = if name == "." { shown } else { format!("{name}/{shown}") };
        visit(&path.join(entry), &below, tree, inodes);
    }
}

fn device(number: u64) -> String {
    format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
}

/// The extended attributes of an object.
pub fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty() && *name != b"security.selinux");
    let mut found = BTreeMap::new();
    for name in names {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        found.insert(String::from_utf8_lossy(name).into_owned(), value[..len].escape_ascii().to_string());
    }
    found
}

/// The paths alone.
pub fn names(tree: &Tree) -> Vec<&str> {
    tree.keys().map(String::as_str).filter(|name| *name != ".").collect()
}

/// What differs, for people.
pub fn differences(one: &Tree, other: &Tree) -> Vec<String> {
    let nothing = "nothing".to_owned();
    let all: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let of = |tree: &Tree, name: &str| tree.get(name).unwrap_or(&nothing).clone();
    let differ = all.into_iter().filter(|name| one.get(*name) != other.get(*name));
    differ.map(|name| format!("{name}:\n   {}\n   {}", of(one, name), of(other, name))).collect()
}
