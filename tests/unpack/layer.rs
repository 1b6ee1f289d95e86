//! Tars written byte by byte, so that they can say what no writer of tars would.

/// When everything was made.
pub const MTIME: u64 = 1_700_000_000;

/// A layer on its way.
pub struct Layer {
    tar: Vec<u8>,
    mode: Option<u32>,
    owner: (u64, u64),
    mtime: u64,
    records: Vec<(String, Vec<u8>)>,
}

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self { tar: Vec::new(), mode: None, owner: (0, 0), mtime: MTIME, records: Vec::new() }
    }

    /// The mode of the next entry.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The owner and group of the next entry.
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// The time of the next entry.
    pub fn mtime(mut self, mtime: u64) -> Self {
        self.mtime = mtime;
        self
    }

    /// A PAX record of the next entry.
    pub fn record(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.records.push((key.into(), value.as_ref().to_vec()));
        self
    }

    /// A regular file.
    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.member(b'0', name.as_ref(), b"", content.as_ref(), 0o644, (0, 0))
    }

    /// A folder.
    pub fn folder(self, name: impl AsRef<[u8]>) -> Self {
        self.member(b'5', name.as_ref(), b"", b"", 0o755, (0, 0))
    }

    /// A symlink.
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.member(b'2', name.as_ref(), target.as_ref(), b"", 0o777, (0, 0))
    }

    /// A hard link.
    pub fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.member(b'1', name.as_ref(), target.as_ref(), b"", 0o644, (0, 0))
    }

    /// A pipe.
    pub fn fifo(self, name: &str) -> Self {
        self.member(b'6', name.as_bytes(), b"", b"", 0o644, (0, 0))
    }

    /// A character device.
    pub fn char(self, name: &str, major: u64, minor: u64) -> Self {
        self.member(b'3', name.as_bytes(), b"", b"", 0o644, (major, minor))
    }

    /// A block device.
    pub fn block(self, name: &str, major: u64, minor: u64) -> Self {
        self.member(b'4', name.as_bytes(), b"", b"", 0o644, (major, minor))
    }

    /// Any bytes.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.tar.extend(bytes);
        self
    }

    /// The archive.
    pub fn done(mut self) -> Vec<u8> {
        self.tar.extend([0; 1024]);
        self.tar
    }

    /// The archive without an end.
    pub fn cut(self, bytes: usize) -> Vec<u8> {
        let keep = self.tar.len() - bytes;
        self.tar[..keep].to_vec()
    }

    fn member(mut self, flag: u8, name: &[u8], link: &[u8], content: &[u8], mode: u32, device: (u64, u64)) -> Self {
        if name.len() > 100 {
            self.special(b'L', &[name, b"\0"].concat());
        }
        if link.len() > 100 {
            self.special(b'K', &[link, b"\0"].concat());
        }
        if !self.records.is_empty() {
            let records = std::mem::take(&mut self.records);
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
            self.special(b'x', &body);
        }
        let mode = self.mode.unwrap_or(mode);
        let header = header(flag, name, link, content.len(), mode, self.owner, self.mtime, device);
        self.tar.extend(header);
        self.padded(content);
        Self { mode: None, owner: (0, 0), mtime: MTIME, ..self }
    }

    fn special(&mut self, flag: u8, body: &[u8]) {
        self.tar.extend(header(flag, b"././@LongLink", b"", body.len(), 0o644, (0, 0), 0, (0, 0)));
        self.padded(body);
    }

    fn padded(&mut self, content: &[u8]) {
        self.tar.extend(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
    }
}

/// `length key=value\n`, where the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[allow(clippy::too_many_arguments, reason = "a header has that many fields")]
fn header(
    flag: u8,
    name: &[u8],
    link: &[u8],
    size: usize,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    device: (u64, u64),
) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, field: &[u8], width: usize| {
        let len = field.len().min(width);
        block[at..at + len].copy_from_slice(&field[..len]);
    };
    put(0, name, 100);
    put(100, format!("{mode:07o}").as_bytes(), 8);
    put(108, &number(owner.0, 8), 8);
    put(116, &number(owner.1, 8), 8);
    put(124, &number(size as u64, 12), 12);
    put(136, &number(mtime, 12), 12);
    put(148, b"        ", 8);
    put(156, &[flag], 1);
    put(157, link, 100);
    put(257, b"ustar\0", 6);
    put(263, b"00", 2);
    put(329, &number(device.0, 8), 8);
    put(337, &number(device.1, 8), 8);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Octal where it fits, base 256 where it does not.
fn number(value: u64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0width$o}", width = width - 1);
    if octal.len() < width {
        return octal.into_bytes();
    }
    let mut field = vec![0; width - 8];
    field.extend(value.to_be_bytes());
    field[0] |= 0x80;
    field
}
