//! The story that every registry is held against: push two images, pull the first, pull the second, pull it again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;

use crate::support::body::Exchange;
use crate::support::command::{Ran, chunkify, chunkify_with, zstd_decompressed};
use crate::support::content::digest_of;
use crate::support::layout::{self, Form, Image};
use crate::support::made;
use crate::support::registry::{Count, Registry};
use crate::support::report::Report;

/// A pair of images in one layout, converted, under the names `old` and `new`.
pub struct Pair {
    dir: PathBuf,
}

/// The pair in `fixtures/`.
pub static REAL: LazyLock<Pair> = LazyLock::new(|| {
    let dir = shared("real");
    for (source, tag) in layout::pair().iter().zip(["old", "new"]) {
        chunkify(&["convert", source, &format!("oci:{}:{tag}", dir.display())]).ok();
    }
    Pair { dir }
});

/// The made-up pair.
pub static MADE: LazyLock<Pair> = LazyLock::new(|| {
    let (source, dir) = (shared("made-source"), shared("made"));
    for (tars, tag) in made::tars().iter().zip(["old", "new"]) {
        layout::write_image(&source, tag, tars, Form::Gzip);
        let place = |dir: &Path| format!("oci:{}:{tag}", dir.display());
        chunkify(&["convert", &place(&source), &place(&dir)]).ok();
    }
    Pair { dir }
});

/// A folder that lives as long as this process; what ended processes left is removed.
fn shared(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in std::fs::read_dir(root).expect("cargo made the folder").flatten() {
        let owner = entry
            .file_name()
            .to_string_lossy()
            .strip_prefix("e2e-")
            .and_then(|rest| rest.split('-').next().map(str::to_owned));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    root.join(format!("e2e-{}-{name}", std::process::id()))
}

impl Pair {
    /// Where the layout is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `oci:DIR:TAG`.
    pub fn source(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.dir.display())
    }
}

/// What a registry's rules let a pull be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Layers come in part.
    Work,
    /// Layers can only come whole.
    Refused,
}

/// A registry, a repository in it, and a store to pull into.
pub struct Story<'a> {
    address: SocketAddr,
    /// The counter; `None` where none stands before the server.
    registry: Option<&'a Registry>,
    repository: String,
    store: TempDir,
    /// More arguments for push and pull.
    pub arguments: Vec<String>,
    /// Where what was learned about hosts is kept; nowhere unless it is set.
    pub memory: Option<PathBuf>,
}

/// A pull that succeeded.
pub struct Pulled {
    /// Its report.
    pub report: Report,
    /// What the registry counted meanwhile.
    count: Option<Count>,
    /// What was said.
    pub ran: Ran,
}

impl<'a> Story<'a> {
    /// An empty store before `registry`.
    pub fn new(registry: &'a Registry, repository: &str) -> Self {
        Self { registry: Some(registry), ..Self::uncounted(registry.address(), repository) }
    }

    /// The same before a server that nothing counts.
    pub fn uncounted(address: SocketAddr, repository: &str) -> Self {
        let store = tempfile::tempdir().expect("a temporary folder can be made");
        let arguments = vec!["--plain-http".to_owned()];
        Self { address, registry: None, repository: repository.to_owned(), store, arguments, memory: None }
    }

    /// The same repository at another server, into the same store.
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address, registry: None, ..self }
    }

    fn log(&self) -> Vec<Arc<Exchange>> {
        self.registry.map(Registry::log).unwrap_or_default()
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.store.path().join("store")
    }

    /// The image's full name in the registry.
    pub fn name(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.address, self.repository)
    }

    /// Pushes an image of a pair.
    #[track_caller]
    pub fn push(&self, pair: &Pair, tag: &str) -> Ran {
        self.run(&["push", &pair.source(tag), &format!("docker://{}", self.name(tag))]).ok()
    }

    /// Pulls, whatever comes of it.
    pub fn try_pull(&self, tag: &str, more: &[&str]) -> Ran {
        let (name, store) = (format!("docker://{}", self.name(tag)), self.store().display().to_string());
        let report = self.report_path().display().to_string();
        let _ = std::fs::remove_file(self.report_path());
        // What is fetched must not depend on how fast the machine is.
        let fixed = ["pull", &name, "--prefer", "bytes", "--store", &store, "--report", &report];
        self.run(&[&fixed[..], more].concat())
    }

    /// Pulls and holds report, registry and store against each other.
    #[track_caller]
    pub fn pull(&self, pair: &Pair, tag: &str) -> Pulled {
        let mark = self.log().len();
        let ran = self.try_pull(tag, &[]).ok();
        let report = Report::read(&self.report_path());
        let count = self.registry.map(|registry| registry.count_after(mark));
        let pulled = Pulled { report, count, ran };
        pulled.check_wire();
        self.check_store(pair, tag, &pulled.report);
        for exchange in self.log().iter().skip(mark) {
            assert!(
                exchange.range.is_none() || !exchange.path.contains("/manifests/"),
                "no Range on manifests: {exchange:?}"
            );
        }
        pulled
    }

    /// Where pulls write their report.
    pub fn report_path(&self) -> PathBuf {
        self.store.path().join("report.json")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let more = self.arguments.iter().map(String::as_str);
        let arguments: Vec<_> = arguments.iter().copied().chain(more).collect();
        chunkify_with(&arguments, self.memory.as_deref())
    }

    /// The store holds the image, byte for byte what was pushed, and is a layout without a wrong blob.
    #[track_caller]
    fn check_store(&self, pair: &Pair, tag: &str, report: &Report) {
        layout::check_blobs(&self.store());
        let (pushed, stored) = (Image::read(pair.dir(), tag), Image::read(&self.store(), &self.name(tag)));
        assert_eq!(stored.digest, pushed.digest, "the manifest is the one that was pushed");
        assert_eq!((&report.digest, &report.reference), (&pushed.digest, &self.name(tag)));
        assert_eq!(report.layers.iter().map(|layer| layer.digest.clone()).collect::<Vec<_>>(), pushed.layers());
        for (layer, told) in pushed.layers().iter().zip(&report.layers) {
            let blob = std::fs::read(layout::blob_path(&self.store(), layer)).expect("the layer is in the store");
            let original = std::fs::read(layout::blob_path(pair.dir(), layer)).expect("the layer is in the layout");
            assert!(blob == original, "{layer} differs from what was pushed");
            assert_eq!(told.size, blob.len() as u64);
        }
    }

    /// The whole story.
    #[track_caller]
    pub fn tell(&self, pair: &Pair, ranges: Ranges) {
        self.push(pair, "old");
        self.push(pair, "new");
        let first = self.pull(pair, "old");
        assert_eq!(first.report.reused(), 0, "nothing was there: {:?}", first.report);
        let second = self.pull(pair, "new");
        self.check_update(&first, &second, ranges);
        self.check_diff_ids("new");
        let mark = self.log().len();
        let third = self.pull(pair, "new");
        assert!(third.report.layers.iter().all(|layer| layer.mode == "present"), "{:?}", third.report);
        for exchange in self.log().iter().skip(mark) {
            assert!(exchange.path.contains("/manifests/"), "a manifest and nothing else: {exchange:?}");
        }
        assert_eq!(third.report.wire.requests, 1, "{:?}", third.report.wire);
        let names = layout::names(&self.store());
        assert_eq!(names.len(), 2, "both images have their names: {names:?}");
    }

    #[track_caller]
    fn check_update(&self, first: &Pulled, second: &Pulled, ranges: Ranges) {
        let known: Vec<_> = first.report.layers.iter().map(|layer| &layer.digest).collect();
        let mut came = 0;
        for layer in &second.report.layers {
            if known.contains(&&layer.digest) {
                assert_eq!(layer.mode, "present", "{layer:?}");
            } else if ranges == Ranges::Work {
                assert_eq!(layer.mode, "partial", "{layer:?}");
                assert!(layer.reused_bytes > 0 && layer.fetched_bytes < layer.size, "{layer:?}");
                came += layer.size;
            } else {
                assert_eq!(layer.mode, "whole", "{layer:?}");
                assert!(layer.reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{layer:?}");
                came += layer.size;
            }
        }
        assert!(came > 0, "the pair differs");
        if ranges == Ranges::Work {
            let cost = second.report.wire.body_bytes;
            assert!(cost < came, "an update costs {cost} bytes, the changed layers have {came}");
        }
    }

    /// The plain zstd command makes of every layer what the config promises.
    #[track_caller]
    fn check_diff_ids(&self, tag: &str) {
        let image = Image::read(&self.store(), &self.name(tag));
        for (layer, diff_id) in image.layers().iter().zip(image.diff_ids()) {
            let tar = zstd_decompressed(&layout::blob_path(&self.store(), layer));
            assert_eq!(digest_of(&tar), diff_id, "layer {layer}");
        }
    }
}

impl Pulled {
    /// The report's total is what the registry sent. Of a body that the client abandoned the registry cannot know how much arrived.
    #[track_caller]
    fn check_wire(&self) {
        let (told, Some(counted)) = (&self.report.wire, self.count) else { return };
        assert_eq!(told.requests, counted.requests, "{told:?}");
        let least = counted.body_bytes - counted.abandoned_bytes;
        assert!(
            (least..=counted.body_bytes).contains(&told.body_bytes),
            "the report has {} bytes, the registry sent {counted:?}: {:?}",
            told.body_bytes,
            self.report
        );
    }
}
