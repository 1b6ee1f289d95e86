//! A registry, an image in versions, and the runs that change a store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunkify::convert::{self, LayerWork};
use chunkify::cut::Policy;
use chunkify::encode::Settings;
use chunkify::housekeeping::{self, GcOptions};
use chunkify::image::PlatformFilter;
use chunkify::pull;
use chunkify::push;
use chunkify::registry::{self, Client, Reference};
use chunkify::report;
use chunkify::source::{Location, Source, SourceError};
use chunkify::store::{Files, Layout};
use chunkify::verify;
use tempfile::TempDir;

use crate::support::layout::{self, Form};
use crate::support::made::noise;
use crate::support::registry::{Mode, Registry};

/// A folder that does not wait for a real disk, where there is one.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            let _ = fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A run that changes a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// An image into a store that is not there yet.
    PullFirst,
    /// The new version of a tag whose old version is there: frames are copied, the name changes hands.
    PullUpdate,
    /// A conversion into a layout that has another image.
    Convert,
    /// An image goes.
    Remove,
    /// Blobs go that no image needs, and one image beyond the last.
    Collect,
    /// One layer has wrong bits, the other was cut short, and both come back.
    Repair,
}

impl Run {
    pub const ALL: [Self; 6] =
        [Self::PullFirst, Self::PullUpdate, Self::Convert, Self::Remove, Self::Collect, Self::Repair];

    pub fn called(name: &str) -> Self {
        *Self::ALL.iter().find(|run| format!("{run:?}") == name).unwrap()
    }
}

/// Everything that the runs need.
pub struct World {
    pub registry: Registry,
    folder: TempDir,
}

/// The name of the version of the image in the registry at that moment.
const TAG: &str = "app:moving";

impl World {
    /// An image in an old and a new version, as tars in a layout and converted in a registry, and a store before each run.
    pub fn new() -> Self {
        let registry = Registry::with_mode(Mode::Go);
        let world = Self { registry, folder: folder() };
        for (version, tag) in [(1, "old"), (2, "new")] {
            layout::write_image(&world.source(), tag, &tars(version), Form::Tar);
            world.convert(&world.converted(), tag, Files::default()).unwrap();
        }
        world.publish("old");
        world.run(Run::PullFirst, &world.before(Run::PullUpdate), Files::default()).unwrap();
        world.convert(&world.before(Run::Convert), "old", Files::default()).unwrap();
        for tag in ["old", "new"] {
            world.convert(&world.before(Run::Remove), tag, Files::default()).unwrap();
            world.convert(&world.before(Run::Collect), tag, Files::default()).unwrap();
        }
        let collect = Layout::open(&world.before(Run::Collect)).unwrap();
        for (tag, names) in [("old", &["app:1", "app:2"][..]), ("new", &["app:3"])] {
            let image = collect.resolve(Some(tag)).unwrap();
            names.iter().for_each(|name| collect.set_image(name, image.clone()).unwrap());
            collect.remove_image(tag).unwrap();
        }
        collect.put_blob(b"what nobody needs").unwrap();
        fs::write(collect.private().join("partial/unfinished"), b"half")
            .or_else(|_| {
                fs::create_dir_all(collect.private().join("partial"))?;
                fs::write(collect.private().join("partial/unfinished"), b"half")
            })
            .unwrap();
        world.damage();
        world.publish("new");
        world
    }

    fn damage(&self) {
        let store = self.before(Run::Repair);
        copy(&self.before(Run::PullUpdate), &store);
        let [base, app] = &self.damaged()[..] else { panic!("two layers") };
        let cut = fs::File::options().write(true).open(layout::blob_path(&store, base)).unwrap();
        cut.set_len(3000).unwrap();
        let app = layout::blob_path(&store, app);
        let mut bytes = fs::read(&app).unwrap();
        [10_000, 70_000].iter().for_each(|at| bytes[*at] ^= 0x10);
        fs::write(app, bytes).unwrap();
    }

    /// The layers that are damaged before [`Run::Repair`].
    fn damaged(&self) -> Vec<String> {
        let store = self.before(Run::Repair);
        layout::Image::read(&store, &layout::names(&store)[0]).layers()
    }

    /// What must be true of a store in the middle of a run, whatever ended it: nothing is other than its name says, but for what was damaged
    /// before.
    #[track_caller]
    pub fn check_between(&self, run: Run, store: &Path, when: &str) {
        if run != Run::Repair {
            return check_whole(store, when);
        }
        let damaged = self.damaged();
        let checked = housekeeping::check(&Layout::open(store).unwrap()).unwrap();
        for fault in checked.faults {
            assert!(damaged.contains(&fault.digest.to_string()), "{when}: {fault:?}");
        }
    }

    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub fn converted(&self) -> PathBuf {
        self.folder.path().join("converted")
    }

    /// The store as it is before a run; for [`Run::PullFirst`] there is none.
    pub fn before(&self, run: Run) -> PathBuf {
        self.folder.path().join(format!("before-{run:?}"))
    }

    fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.registry.address()).parse().unwrap()
    }

    /// Makes a version the one that the tag stands for.
    pub fn publish(&self, tag: &str) {
        self.push(&Layout::open(&self.converted()).unwrap(), tag);
    }

    /// Pushes a version from a layout to the tag.
    pub fn push(&self, layout: &Layout, tag: &str) {
        let root = layout.resolve(Some(tag)).unwrap();
        let reference = self.reference(TAG);
        let client = client();
        let pushed = push::push(&client, layout, &root, &reference, None, Arc::default(), Arc::new(|_| {}));
        wait(pushed).unwrap();
    }

    /// Does a run on a store whose changes are watched; what is said when it fails.
    pub fn run(&self, run: Run, store: &Path, files: Files) -> Result<(), String> {
        match run {
            Run::PullFirst | Run::PullUpdate => self.pull(store, files).map(|_| ()),
            Run::Convert => self.convert(store, "new", files),
            Run::Remove => {
                let layout = Layout::open_on(store, files).map_err(words)?;
                // The same again finds it gone.
                let there = layout.images().map_err(words)?.iter().any(|image| image.is_called("old"));
                if there { housekeeping::remove(&layout, &["old".into()]).map(|_| ()).map_err(words) } else { Ok(()) }
            }
            Run::Collect => {
                let layout = Layout::open_on(store, files).map_err(words)?;
                let (keep_last, leftovers_older_than) = (Some(1), std::time::Duration::ZERO);
                let options = GcOptions { dry_run: false, keep_last, max_bytes: None, leftovers_older_than };
                housekeeping::collect(&layout, &options).map(|_| ()).map_err(words)
            }
            Run::Repair => repair_from(&self.registry.address().to_string(), store, files),
        }
    }

    /// Pulls what the tag stands for.
    pub fn pull(&self, store: &Path, files: Files) -> Result<pull::Pulled, String> {
        pull_from(&self.registry.address().to_string(), store, files)
    }

    fn convert(&self, store: &Path, tag: &str, files: Files) -> Result<(), String> {
        convert_from(&self.source(), store, tag, files)
    }

    /// What must be true after a run was done to its end.
    pub fn check_done(&self, run: Run, store: &Path) {
        let name = self.reference(TAG).to_string();
        let names = layout::names(store);
        let blobs = |dir: &Path| fs::read_dir(dir.join("blobs/sha256")).unwrap().count();
        match run {
            Run::PullFirst | Run::PullUpdate => {
                assert_eq!(names, std::slice::from_ref(&name), "{run:?}");
                let new = Layout::open(&self.converted()).unwrap().resolve(Some("new")).unwrap();
                assert_eq!(Layout::open(store).unwrap().resolve(Some(&name)).unwrap().digest, new.digest);
            }
            Run::Convert => assert_eq!(names, ["old", "new"]),
            Run::Remove => assert_eq!(names, ["new"]),
            Run::Collect => {
                assert_eq!(names, ["app:3"]);
                assert_eq!(blobs(store), 4, "a manifest, a config, two layers");
                assert_eq!(fs::read_dir(store.join(".chunkify/partial")).unwrap().count(), 0);
            }
            Run::Repair => {
                assert_eq!(names, std::slice::from_ref(&name));
                assert_eq!(blobs(store), 4, "a manifest, a config, two layers");
                check_whole(store, "repaired");
            }
        }
    }
}

/// The same without a world, for a process of its own.
pub fn pull_from(registry: &str, store: &Path, files: Files) -> Result<pull::Pulled, String> {
    let reference: Reference = format!("{registry}/{TAG}").parse().unwrap();
    let layout = Layout::open_or_create_on(store, files).map_err(words)?;
    let platform = PlatformFilter::host();
    let options =
        pull::Options { platform, all_platforms: false, max_wire_bytes: None, dry_run: false, seeds: Vec::new() };
    let client = client();
    let pulled = pull::pull(&client, &reference, &layout, &options, Arc::new(|_| {}));
    wait(pulled).map_err(words)
}

pub fn repair_from(registry: &str, store: &Path, files: Files) -> Result<(), String> {
    let reference: Reference = format!("{registry}/{TAG}").parse().unwrap();
    let layout = Layout::open_on(store, files).map_err(words)?;
    let client = client();
    let checked = wait(housekeeping::repair(&client, &reference.repo(), &layout, |_| {})).map_err(words)?;
    if checked.faults.is_empty() { Ok(()) } else { Err(format!("{:?}", checked.faults)) }
}

pub fn convert_from(source: &Path, store: &Path, tag: &str, files: Files) -> Result<(), String> {
    let layout = Layout::open_or_create_on(store, files).map_err(words)?;
    let location = Location::Layout { dir: source.into(), name: Some(tag.into()) };
    let source = wait(Source::open(&location, || Ok::<_, SourceError>(client()))).map_err(words)?;
    let cut = Policy::with_average(16 << 10).unwrap();
    let work = LayerWork { settings: Settings { cut, ..Settings::default() }, force: false, strict: false };
    let options = convert::Options { work, platforms: Vec::new(), threads: 2, memory: 16 << 20 };
    let converted = wait(convert::convert(&source, &layout, &options, Arc::new(|_| {}))).map_err(words)?;
    layout.set_image(tag, converted.root).map_err(words)
}

pub fn client() -> Client {
    Client::new(registry::Options { plain_http: true, ..registry::Options::default() }).unwrap()
}

pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn words(error: impl std::error::Error + 'static) -> String {
    report::chain(&error)
}

/// Nothing in the store is other than its name says, and every image that has a name is there to its last byte.
#[track_caller]
pub fn check_whole(store: &Path, when: &str) {
    whole(store).unwrap_or_else(|why| panic!("{when}: {why}"));
}

/// Why it is not so.
pub fn whole(store: &Path) -> Result<(), String> {
    if !store.join("oci-layout").exists() {
        return Ok(());
    }
    let checked = housekeeping::check(&Layout::open(store).map_err(words)?).map_err(words)?;
    if !checked.faults.is_empty() {
        return Err(format!("{:?}", checked.faults));
    }
    for name in layout::names(store) {
        let location = Location::Layout { dir: store.into(), name: Some(name) };
        let source = wait(Source::open(&location, || Ok::<_, SourceError>(client()))).map_err(words)?;
        wait(verify::image(&source)).map_err(words)?;
    }
    Ok(())
}

/// Two layers: one that stays, one that changes in part.
fn tars(version: u64) -> Vec<Vec<u8>> {
    let file = |tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    };
    let mut base = tar::Builder::new(Vec::new());
    (0..10).for_each(|at| file(&mut base, &format!("base/{at}"), &noise(at + 1, 900)));
    let mut app = tar::Builder::new(Vec::new());
    for at in 0..24 {
        let seed = if at % 4 == 0 { 100 * version + at } else { 50 + at };
        file(&mut app, &format!("app/{at}"), &noise(seed, 7000));
    }
    file(&mut app, "app/large", &[noise(7, 40_000), noise(7 + version, 9000), noise(8, 40_000)].concat());
    [base, app].map(|tar| tar.into_inner().unwrap()).into()
}
