//! Made-up layers with what makes pulling in part hard: files that change in part, many small files, runs of zeros, links, odd names.

use tar::{Builder, EntryType, Header};

/// The tars of an image before and after an update.
pub fn tars() -> [Vec<Vec<u8>>; 2] {
    [vec![base(), app(false)], vec![base(), app(true)]]
}

/// A layer that does not change.
fn base() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.folder("etc/");
    for number in 0..200 {
        tar.file(&format!("etc/small-{number:03}"), format!("setting {number}\n").as_bytes());
    }
    tar.file("usr/lib/libbig.so", &noise(1, 700_000));
    tar.link(EntryType::hard_link(), "usr/lib/libbig.so.1", "usr/lib/libbig.so");
    tar.link(EntryType::symlink(), "lib", "usr/lib");
    tar.finish()
}

/// A layer that changes: many small files, the middle of a big one, something inserted.
fn app(new: bool) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut big = noise(2, 1_500_000);
    let mut zeros = [noise(3, 70_000), vec![0; 300_000], noise(4, 70_000)].concat();
    if new {
        big[700_000..700_400].fill(b'!');
        big.splice(1_200_000..1_200_000, *b"inserted");
        zeros.truncate(400_000);
    }
    tar.file("app/big", &big);
    tar.file("app/zeros", &zeros);
    tar.file("app/all-zeros", &vec![0; 1 << 20]);
    tar.file("app/empty", b"");
    for number in 0..300_u64 {
        // Every fifth file changes, so the missing frames are many and far apart.
        let seed = if new && number % 5 == 0 { 1000 + number } else { 100 + number };
        tar.file(&format!("app/data/{number:04}"), &noise(seed, 3000 + 37 * usize::try_from(number).unwrap_or(0)));
    }
    tar.file(&format!("app/{}/{}", "long".repeat(30), "name".repeat(30)), b"beyond what ustar can name\n");
    tar.file("app/n\u{e4}me", b"outside ASCII\n");
    if new {
        tar.file("app/.wh.gone", b"");
    }
    tar.finish()
}

/// A layer of one file.
pub fn one_file(name: &str, len: usize) -> Vec<u8> {
    let mut tar = Tar::new();
    tar.file(name, &noise(len as u64, len));
    tar.finish()
}

/// `len` bytes that do not compress, always the same for a seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn header(kind: EntryType, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(1_700_000_000);
        header
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        let mut header = Self::header(EntryType::Regular, content.len());
        self.0.append_data(&mut header, name, content).expect("memory takes all");
    }

    fn folder(&mut self, name: &str) {
        let mut header = Self::header(EntryType::dir(), 0);
        self.0.append_data(&mut header, name, &[][..]).expect("memory takes all");
    }

    fn link(&mut self, kind: EntryType, name: &str, target: &str) {
        let mut header = Self::header(kind, 0);
        self.0.append_link(&mut header, name, target).expect("memory takes all");
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("memory takes all")
    }
}
