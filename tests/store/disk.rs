//! A disk that forgets: what a store's changes would have left when the power goes after any of them.
//!
//! A recorder hears of every change. A model replays them with two versions of everything: what programs see, and what a sync has put on
//! disk. It knows nothing of file systems that do better than they promise.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chunkify::store::{Change, Watch};

/// A change, kept.
#[derive(Clone, Debug)]
pub enum Step {
    MakeDir(PathBuf),
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLen(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Sync(PathBuf),
    SyncDir(PathBuf),
}

/// Keeps every change below a folder.
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
    steps: Mutex<Vec<Step>>,
}

impl Recorder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), steps: Mutex::default() }
    }

    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_path_buf)
    }

    fn step(&self, change: &Change<'_>) -> Option<Step> {
        Some(match change {
            Change::MakeDir(path) => Step::MakeDir(self.below(path)?),
            Change::Create(path) => Step::Create(self.below(path)?),
            Change::Write { path, offset, bytes } => Step::Write(self.below(path)?, *offset, bytes.to_vec()),
            Change::Copy { path, offset, from, from_offset, len } => {
                let mut bytes = vec![0; usize::try_from(*len).unwrap()];
                from.read_exact_at(&mut bytes, *from_offset).ok()?;
                Step::Write(self.below(path)?, *offset, bytes)
            }
            Change::SetLen { path, len } => Step::SetLen(self.below(path)?, *len),
            Change::Rename { from, to } => Step::Rename(self.below(from)?, self.below(to)?),
            Change::Remove(path) => Step::Remove(self.below(path)?),
            Change::Sync(path) => Step::Sync(self.below(path)?),
            Change::SyncDir(path) => Step::SyncDir(self.below(path)?),
            Change::Lock(_) => return None,
        })
    }
}

impl Watch for Recorder {
    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        if let Some(step) = self.step(change) {
            self.steps.lock().unwrap().push(step);
        }
        Ok(())
    }
}

/// What survives beside that which was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survives {
    /// Nothing: every write after the last sync is dropped.
    Nothing,
    /// All names, but no bytes: a file system that keeps its own tables in order and writes data later.
    Names,
    /// All bytes, but no names.
    Bytes,
    /// Everything: the process died, the machine did not.
    Everything,
}

impl Survives {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Names, Self::Bytes, Self::Everything];

    const fn names(self) -> bool {
        matches!(self, Self::Names | Self::Everything)
    }

    const fn bytes(self) -> bool {
        matches!(self, Self::Bytes | Self::Everything)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Folder,
    File(usize),
}

/// One of two: what programs see, what is on disk. Contents have a number that changes when they do.
#[derive(Clone, Debug, Default)]
struct Two<T> {
    seen: T,
    synced: T,
}

type Names = BTreeMap<String, Node>;

/// The model.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    folders: BTreeMap<PathBuf, Two<Names>>,
    files: Vec<Two<(u64, Vec<u8>)>>,
    changes: u64,
}

/// What a disk would hold, as far as telling states apart goes.
pub type State = Vec<(PathBuf, Option<(usize, u64)>)>;

impl Disk {
    /// A disk that holds a folder, all of it synced.
    pub fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.read(root, Path::new(""));
        disk
    }

    fn read(&mut self, root: &Path, below: &Path) {
        let mut names = Names::new();
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let (name, path) = (entry.file_name().into_string().unwrap(), below.join(entry.file_name()));
            if entry.path().is_dir() {
                self.read(root, &path);
                names.insert(name, Node::Folder);
            } else {
                names.insert(name, Node::File(self.files.len()));
                let content = (0, fs::read(entry.path()).unwrap());
                self.files.push(Two { seen: content.clone(), synced: content });
            }
        }
        self.folders.insert(below.into(), Two { seen: names.clone(), synced: names });
    }

    fn folder(&mut self, path: &Path) -> &mut Two<Names> {
        self.folders.entry(path.into()).or_default()
    }

    fn names(&mut self, path: &Path) -> (&mut Names, String) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (&mut self.folder(path.parent().unwrap()).seen, name)
    }

    fn file(&mut self, path: &Path) -> &mut Two<(u64, Vec<u8>)> {
        let (names, name) = self.names(path);
        let Some(Node::File(at)) = names.get(&name).copied() else { panic!("{} is no file", path.display()) };
        &mut self.files[at]
    }

    /// Makes a change.
    pub fn apply(&mut self, step: &Step) {
        self.changes += 1;
        let change = self.changes;
        match step {
            Step::MakeDir(path) => {
                let (names, name) = self.names(path);
                names.insert(name, Node::Folder);
                self.folder(path);
            }
            Step::Create(path) => {
                self.files.push(Two::default());
                let node = Node::File(self.files.len() - 1);
                let (names, name) = self.names(path);
                names.insert(name, node);
            }
            Step::Write(path, offset, bytes) => {
                let (number, content) = &mut self.file(path).seen;
                let start = usize::try_from(*offset).unwrap();
                content.resize(content.len().max(start + bytes.len()), 0);
                content[start..start + bytes.len()].copy_from_slice(bytes);
                *number = change;
            }
            Step::SetLen(path, len) => {
                let (number, content) = &mut self.file(path).seen;
                content.resize(usize::try_from(*len).unwrap(), 0);
                *number = change;
            }
            Step::Rename(from, to) => {
                let (names, name) = self.names(from);
                let node = names.remove(&name).unwrap_or_else(|| panic!("{} is not there", from.display()));
                let (names, name) = self.names(to);
                names.insert(name, node);
            }
            Step::Remove(path) => {
                let (names, name) = self.names(path);
                names.remove(&name);
            }
            Step::Sync(path) => {
                let file = self.file(path);
                file.synced = file.seen.clone();
            }
            Step::SyncDir(path) => {
                let folder = self.folder(path);
                folder.synced = folder.seen.clone();
            }
        }
    }

    /// Which files with which contents there would be.
    pub fn state(&self, survives: Survives) -> State {
        let mut state = State::new();
        self.walk(Path::new(""), survives, &mut |path, file| {
            let content = file.map(|at| (at, self.content(at, survives).0));
            state.push((path.into(), content));
        });
        state
    }

    /// Writes what there would be into an empty folder.
    pub fn write(&self, survives: Survives, root: &Path) {
        self.walk(Path::new(""), survives, &mut |path, file| match file {
            None => fs::create_dir_all(root.join(path)).unwrap(),
            Some(at) => fs::write(root.join(path), &self.content(at, survives).1).unwrap(),
        });
    }

    fn content(&self, file: usize, survives: Survives) -> &(u64, Vec<u8>) {
        let Two { seen, synced } = &self.files[file];
        if survives.bytes() { seen } else { synced }
    }

    fn walk(&self, below: &Path, survives: Survives, tell: &mut dyn FnMut(&Path, Option<usize>)) {
        let Some(Two { seen, synced }) = self.folders.get(below) else { return };
        tell(below, None);
        for (name, node) in if survives.names() { seen } else { synced } {
            let path = below.join(name);
            match node {
                Node::Folder => self.walk(&path, survives, tell),
                Node::File(at) => tell(&path, Some(*at)),
            }
        }
    }
}

/// The model forgets what it should and nothing else.
#[test]
fn what_was_not_synced_is_forgotten() {
    let path = |name: &str| PathBuf::from(name);
    let mut disk = Disk::default();
    let steps = [
        Step::MakeDir(path("d")),
        Step::Create(path("d/f")),
        Step::Write(path("d/f"), 2, b"ab".to_vec()),
        Step::Sync(path("d/f")),
        Step::Write(path("d/f"), 0, b"x".to_vec()),
    ];
    steps.iter().for_each(|step| disk.apply(step));
    let holds = |disk: &Disk, survives| {
        let folder = tempfile::tempdir().unwrap();
        disk.write(survives, folder.path());
        fs::read(folder.path().join("d/f")).ok()
    };
    let all = |disk: &Disk| Survives::ALL.map(|survives| holds(disk, survives));
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(all(&disk), [None, some(b"\0\0ab"), None, some(b"x\0ab")]);
    disk.apply(&Step::SyncDir(path("d")));
    assert_eq!(holds(&disk, Survives::Nothing), None, "a folder that is not on disk takes its files with it");
    disk.apply(&Step::SyncDir(path("")));
    assert_eq!(all(&disk), [some(b"\0\0ab"), some(b"\0\0ab"), some(b"x\0ab"), some(b"x\0ab")]);
    disk.apply(&Step::Rename(path("d/f"), path("d/g")));
    assert_eq!(all(&disk), [some(b"\0\0ab"), None, some(b"x\0ab"), None]);
}
